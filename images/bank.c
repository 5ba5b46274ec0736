// The bank: the workload in every guest that makes damage by a snapshot visible. Each VM holds coins and sends numbered
// coin messages to all others; one paced TCP stream of numbered records goes to the next neighbour; a counter on the disk
// keeps step with one in memory. If a cut of the slice is not consistent, a message is lost, doubled or received without
// having been sent, the stream breaks, or disk and memory differ, and the reports of all VMs together name it.
// All state is in this daemon's memory, so that a rollback of the VM rolls it back. One thread, one ppoll loop: what the
// bank does between two instants is easy to reason about, and it needs next to nothing of an emulated CPU.
//   bank start | stop | go | report        bank sink PORT | sink-report (counts numbered datagrams of tests)
#include "bank-common.h"
#include <ifaddrs.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

enum {
  COIN_PORT = 7001, STREAM_PORT = 7002, COINS_AT_START = 1000000, COINS_PER_SECOND = 320, RECORDS_PER_SECOND = 50,
  WRITES_PER_SECOND = 20, HELLOS_PER_SECOND = 5, CATCH_UP = 10, MAX_PEERS = 256, MAX_ERRORS = 16, MAX_FLOWS = 256, HISTORY = 1024,
  RECORD = 64, BLOCK = 4096, BATCH = 1024,
};
static const uint32_t MAGIC = 0x42414e4b;
static const uint64_t DISK_MAGIC = 0x56494f4c42414e4b;
enum kind { HELLO = 1, HELLO_ACK = 2, COIN = 3 };
struct message { uint32_t magic, kind, from, to, number, amount, time[2]; }; // big-endian on the wire; time: the sender's

// ---- The bank's state

struct pace { int64_t interval, next; };

static struct {
  int count, self, turn, acked_count, udp, control;
  struct in_addr peers[MAX_PEERS];
  struct tally in[MAX_PEERS];
  struct { uint32_t number; uint64_t time; } history[MAX_PEERS][HISTORY]; // when the last coins were sent
  struct numbers orphaned[MAX_PEERS];
  uint32_t sent[MAX_PEERS];
  bool acked[MAX_PEERS], heard[MAX_PEERS], stopped;
  int64_t coins, started;
  uint64_t rcvbuf_errors_before;
  struct pace coin, hello, record, write;
} bank;

static struct {
  int listener, out, in; // -1: none
  bool connecting;
  int64_t retry_at;
  uint32_t sent, received, expected, broken;
  size_t out_done, in_done;
  bool out_pending;
  uint8_t out_record[RECORD], in_record[RECORD];
  char errors[MAX_ERRORS][120];
  int error_count;
} tcp = { .out = -1, .in = -1, .expected = 1 };

static struct { int fd; off_t offset; uint64_t done, intent, failures; uint8_t *block; } disk;

static bool everyone_answered(void) { return bank.acked_count == bank.count - 1; }
static bool running(void) { return everyone_answered() && !bank.stopped; }

static int due(struct pace *p, int64_t now) { // how many are due; after a long delay no more than CATCH_UP of them
  if (now < p->next) return 0;
  int64_t n = (now - p->next) / p->interval + 1;
  if (n > CATCH_UP) {
    p->next = now + p->interval;
    return CATCH_UP;
  }
  p->next += n * p->interval;
  return (int)n;
}

static void start_pacing(void) {
  int64_t now = now_ns();
  bank.coin = (struct pace){ SECOND / COINS_PER_SECOND, now };
  bank.record = (struct pace){ SECOND / RECORDS_PER_SECOND, now };
  bank.write = (struct pace){ SECOND / WRITES_PER_SECOND, now };
}

static uint64_t rcvbuf_errors(void) { // Udp: RcvbufErrors of /proc/net/snmp, found by its column's name
  char names[1024], values[1024];
  uint64_t found = 0;
  FILE *f = fopen("/proc/net/snmp", "re");
  if (!f) return 0;
  while (fgets(names, sizeof names, f)) {
    if (strncmp(names, "Udp:", 4) != 0 || !fgets(values, sizeof values, f)) continue;
    char *n = names, *v = values, *name, *value;
    while ((name = strsep(&n, " \n")) && (value = strsep(&v, " \n"))) {
      if (strcmp(name, "RcvbufErrors") == 0) found = strtoull(value, NULL, 10);
    }
    break;
  }
  fclose(f);
  return found;
}

// ---- Coins

static bool send_message(int peer, enum kind kind, uint32_t number) {
  struct message m = { htonl(MAGIC), htonl(kind), htonl((uint32_t)bank.self), htonl((uint32_t)peer), htonl(number), htonl(kind == COIN), { 0 } };
  uint64_t time = (uint64_t)now_ns();
  m.time[0] = htonl((uint32_t)(time >> 32));
  m.time[1] = htonl((uint32_t)time);
  struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(COIN_PORT), .sin_addr = bank.peers[peer] };
  // MSG_CONFIRM: we have heard from it, so the kernel need not ask by ARP whether it is still there.
  int flags = bank.heard[peer] ? MSG_CONFIRM : 0;
  bank.heard[peer] = false;
  return sendto(bank.udp, &m, sizeof m, flags, (struct sockaddr *)&to, sizeof to) == sizeof m;
}

static void send_coins(int64_t now) {
  for (int n = due(&bank.coin, now); n > 0 && bank.count > 1; n--) {
    bank.turn = (bank.turn + 1) % bank.count;
    if (bank.turn == bank.self) bank.turn = (bank.turn + 1) % bank.count;
    if (!send_message(bank.turn, COIN, bank.sent[bank.turn] + 1)) continue; // not sent: the number is used next time
    bank.sent[bank.turn]++;
    bank.coins--;
  }
}

static void send_hellos(int64_t now) {
  if (due(&bank.hello, now) == 0) return;
  for (int i = 0; i < bank.count; i++) if (i != bank.self && !bank.acked[i]) send_message(i, HELLO, 0);
}

// A number that comes again with another send time is no copy: the sender was set back to before it had sent it, and sends
// it anew. So what we have of it comes from a future that its sender does not know: an orphan.
static void receive_coin(uint32_t peer, const struct message *m) {
  uint32_t number = ntohl(m->number);
  uint64_t time = (uint64_t)ntohl(m->time[0]) << 32 | ntohl(m->time[1]);
  typeof(&bank.history[0][0]) known = &bank.history[peer][number % HISTORY];
  if (known->number == number && known->time != time) add_number(&bank.orphaned[peer], number);
  else if (count_number(&bank.in[peer], number)) bank.coins += ntohl(m->amount);
  else return;
  known->number = number;
  known->time = time;
}

static void receive_messages(void) {
  struct message m;
  struct sockaddr_in from;
  for (int n = 0; n < BATCH; n++) {
    socklen_t length = sizeof from;
    ssize_t size = recvfrom(bank.udp, &m, sizeof m, MSG_TRUNC, (struct sockaddr *)&from, &length);
    if (size < 0) return;
    uint32_t peer = ntohl(m.from);
    if (size != sizeof m || ntohl(m.magic) != MAGIC || ntohl(m.to) != (uint32_t)bank.self) continue;
    if (peer >= (uint32_t)bank.count || peer == (uint32_t)bank.self || from.sin_addr.s_addr != bank.peers[peer].s_addr) continue;
    bank.heard[peer] = true;
    switch (ntohl(m.kind)) {
      case HELLO: send_message((int)peer, HELLO_ACK, 0); break;
      case HELLO_ACK:
        if (bank.acked[peer]) break;
        bank.acked[peer] = true;
        if (++bank.acked_count == bank.count - 1) start_pacing();
        break;
      case COIN: receive_coin(peer, &m);
    }
  }
}

// ---- The TCP stream

static void __attribute__((format(printf, 1, 2))) stream_error(const char *format, ...) {
  tcp.broken++;
  if (tcp.error_count == MAX_ERRORS) return;
  va_list args;
  va_start(args, format);
  vsnprintf(tcp.errors[tcp.error_count++], sizeof tcp.errors[0], format, args);
  va_end(args);
}

static void drop_out(const char *why) {
  stream_error("the stream to the next neighbour broke after record %u: %s", tcp.sent, why);
  close(tcp.out);
  tcp.out = -1;
  tcp.out_done = 0; // a record half sent is sent whole on the next connection
  tcp.retry_at = now_ns() + SECOND;
}

static void drop_in(const char *why) {
  stream_error("the stream from the previous neighbour broke after record %u: %s", tcp.expected - 1, why);
  close(tcp.in);
  tcp.in = -1;
  tcp.in_done = 0;
}

static void connect_stream(void) {
  struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr = bank.peers[bank.self] };
  struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(STREAM_PORT), .sin_addr = bank.peers[(bank.self + 1) % bank.count] };
  int one = 1;
  tcp.out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(tcp.out, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  tcp.connecting = true;
  if (bind(tcp.out, (struct sockaddr *)&from, sizeof from) < 0) drop_out(strerror(errno));
  else if (connect(tcp.out, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) drop_out(strerror(errno));
}

static void flush_stream(void) { // goes on after `stop` until the record in hand is complete
  while (tcp.out >= 0 && !tcp.connecting && tcp.out_pending) {
    ssize_t n = send(tcp.out, tcp.out_record + tcp.out_done, RECORD - tcp.out_done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) drop_out(strerror(errno));
    if (n < 0) return;
    tcp.out_done += (size_t)n;
    if (tcp.out_done < RECORD) continue;
    tcp.out_done = 0;
    tcp.out_pending = false;
    tcp.sent++;
  }
}

static void make_record(uint8_t *record, uint32_t number) {
  for (int i = 0; i < RECORD; i++) record[i] = (uint8_t)(number + (uint32_t)i);
  uint32_t head[2] = { htonl(MAGIC), htonl(number) };
  memcpy(record, head, sizeof head);
}

static void send_records(int64_t now) {
  if (bank.count < 2) return;
  if (tcp.out < 0 && now >= tcp.retry_at) connect_stream();
  for (int n = due(&bank.record, now); n > 0 && tcp.out >= 0 && !tcp.connecting && !tcp.out_pending; n--) {
    make_record(tcp.out_record, tcp.sent + 1);
    tcp.out_pending = true;
    flush_stream();
  }
}

static void outgoing_ready(short events) {
  int error = 0;
  socklen_t length = sizeof error;
  char byte;
  if (tcp.connecting && (events & (POLLOUT | POLLERR | POLLHUP))) {
    getsockopt(tcp.out, SOL_SOCKET, SO_ERROR, &error, &length);
    tcp.connecting = false;
    if (error) drop_out(strerror(error));
  } else if (events & (POLLIN | POLLERR | POLLHUP)) { // the neighbour never writes: readable means the end
    ssize_t n = recv(tcp.out, &byte, 1, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    drop_out(n < 0 ? strerror(errno) : n == 0 ? "it was closed" : "it answered, which it never should");
  }
  flush_stream();
}

static void receive_records(void) {
  uint8_t good[RECORD];
  for (int i = 0; i < BATCH && tcp.in >= 0; i++) {
    ssize_t n = recv(tcp.in, tcp.in_record + tcp.in_done, RECORD - tcp.in_done, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      drop_in(n < 0 ? strerror(errno) : "end of stream");
      return;
    }
    if ((tcp.in_done += (size_t)n) < RECORD) continue;
    tcp.in_done = 0;
    tcp.received++;
    uint32_t number;
    memcpy(&number, tcp.in_record + 4, sizeof number);
    number = ntohl(number);
    make_record(good, number);
    if (memcmp(good, tcp.in_record, RECORD) != 0) stream_error("garbage instead of record %u", tcp.expected++);
    else {
      if (number != tcp.expected) stream_error("record %u came instead of %u", number, tcp.expected);
      tcp.expected = number + 1;
    }
  }
}

static void accept_stream(void) {
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  int fd = accept4(tcp.listener, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  if (bank.count < 2 || from.sin_addr.s_addr != bank.peers[(bank.self + bank.count - 1) % bank.count].s_addr) {
    close(fd);
    return;
  }
  receive_records(); // what the old connection still holds comes first
  if (tcp.in >= 0) drop_in("the neighbour connected anew");
  tcp.in = fd;
}

// ---- The counter on the disk

static void open_disk(const char *path) {
  struct stat s;
  uint64_t size = 0;
  disk.fd = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
  if (disk.fd < 0 || fstat(disk.fd, &s) < 0) die("cannot open the disk %s: %s", path, strerror(errno));
  if (S_ISBLK(s.st_mode)) ioctl(disk.fd, BLKGETSIZE64, &size);
  else size = (uint64_t)s.st_size;
  if (size < 2 << 20) die("the disk %s is smaller than 2 MiB", path);
  disk.offset = (off_t)((size - (1 << 20)) & ~(uint64_t)(BLOCK - 1));
  if (posix_memalign((void **)&disk.block, BLOCK, BLOCK) != 0) die("no memory for a disk block");
}

static uint64_t checksum(const uint64_t *words) { // FNV-1a over all but the last word
  uint64_t sum = 0xcbf29ce484222325;
  for (size_t i = 0; i < BLOCK / 8 - 1; i++) sum = (sum ^ words[i]) * 0x100000001b3;
  return sum;
}

static bool write_counter(uint64_t counter) { // the counter fills the block, so that a torn write shows
  uint64_t *words = (uint64_t *)disk.block;
  for (size_t i = 0; i < BLOCK / 8; i++) words[i] = counter;
  words[0] = DISK_MAGIC;
  words[BLOCK / 8 - 1] = checksum(words);
  return pwrite(disk.fd, disk.block, BLOCK, disk.offset) == BLOCK;
}

static int64_t read_counter(void) { // -1 when it cannot be read or is not whole
  uint64_t *words = (uint64_t *)disk.block;
  if (pread(disk.fd, disk.block, BLOCK, disk.offset) != BLOCK) return -1;
  return words[0] == DISK_MAGIC && words[BLOCK / 8 - 1] == checksum(words) ? (int64_t)words[1] : -1;
}

static void write_disk(int64_t now) {
  if (due(&bank.write, now) == 0) return;
  disk.intent = disk.done + 1;
  if (write_counter(disk.intent)) disk.done = disk.intent;
  else disk.failures++;
}

// ---- The report, the loop and the commands

static void report(FILE *out) {
  int64_t on_disk = read_counter();
  bool good = on_disk >= 0 && disk.failures == 0 && ((uint64_t)on_disk == disk.done || (uint64_t)on_disk == disk.intent);
  fprintf(out, "{\"index\":%d,\"peers\":[", bank.self);
  for (int i = 0; i < bank.count; i++) fprintf(out, "%s\"%s\"", i ? "," : "", inet_ntoa(bank.peers[i]));
  fprintf(out, "],\"state\":\"%s\",\"coins\":%" PRId64 ",\"channels\":[",
    bank.stopped ? "stopped" : everyone_answered() ? "running" : "waiting", bank.coins);
  const char *comma = "";
  for (int i = 0; i < bank.count; i++) {
    struct tally *t = &bank.in[i];
    if (i == bank.self) continue;
    fprintf(out, "%s{\"peer\":%d,\"sent\":%u,\"received\":%u,\"last\":%u,", comma, i, bank.sent[i], t->received, t->last);
    print_missing(out, t);
    fputc(',', out);
    print_numbers(out, "doubled", &t->doubled);
    fputc(',', out);
    print_numbers(out, "orphaned", &bank.orphaned[i]);
    fprintf(out, ",\"early\":%u}", t->early);
    comma = ",";
  }
  fprintf(out, "],\"tcp\":{\"sent\":%u,\"received\":%u,\"broken\":%u,\"errors\":[", tcp.sent, tcp.received, tcp.broken);
  for (int i = 0; i < tcp.error_count; i++) fprintf(out, "%s\"%s\"", i ? "," : "", tcp.errors[i]);
  fprintf(out, "]},\"disk\":{\"done\":%" PRIu64 ",\"intent\":%" PRIu64 ",\"onDisk\":%" PRId64 ",\"ok\":%s},", disk.done,
    disk.intent, on_disk, good ? "true" : "false");
  fprintf(out, "\"rcvbufErrors\":%" PRIu64 ",\"uptimeMs\":%" PRId64 "}\n", rcvbuf_errors() - bank.rcvbuf_errors_before,
    (now_ns() - bank.started) / 1000000);
}

static void answer_bank(const char *request, FILE *out) {
  if (strcmp(request, "report") == 0) {
    report(out);
  } else if (strcmp(request, "stop") == 0) {
    bank.stopped = true;
    fputs("stopped\n", out);
  } else if (strcmp(request, "go") == 0) {
    if (bank.stopped) start_pacing();
    bank.stopped = false;
    fputs("going\n", out);
  } else {
    fprintf(out, "unknown request\n");
  }
}

static _Noreturn void run_bank(void) {
  for (;;) {
    struct pollfd fds[] = {
      { bank.udp, POLLIN, 0 }, { bank.control, POLLIN, 0 }, { tcp.listener, POLLIN, 0 }, { tcp.in, POLLIN, 0 },
      { tcp.out, (short)(POLLIN | (tcp.connecting || tcp.out_pending ? POLLOUT : 0)), 0 },
    };
    int64_t wake = everyone_answered() ? INT64_MAX : bank.hello.next;
    if (running()) {
      if (bank.coin.next < wake) wake = bank.coin.next;
      if (bank.record.next < wake) wake = bank.record.next;
      if (bank.write.next < wake) wake = bank.write.next;
    }
    wait_for(fds, sizeof fds / sizeof fds[0], wake);
    if (fds[0].revents) receive_messages();
    if (fds[3].revents) receive_records();
    if (fds[4].revents) outgoing_ready(fds[4].revents);
    if (fds[2].revents) accept_stream();
    if (fds[1].revents) serve(bank.control, answer_bank);
    int64_t now = now_ns();
    if (!everyone_answered()) send_hellos(now);
    if (!running()) continue;
    send_coins(now);
    send_records(now);
    write_disk(now);
  }
}

static bool is_local(struct ifaddrs *list, struct in_addr address) {
  for (struct ifaddrs *i = list; i; i = i->ifa_next) {
    if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET) continue;
    if (((struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr == address.s_addr) return true;
  }
  return false;
}

static void read_peers(const char *path) {
  char line[64];
  struct ifaddrs *list = NULL;
  FILE *f = fopen(path, "re");
  if (!f) die("cannot read %s: %s", path, strerror(errno));
  if (getifaddrs(&list) < 0) die("cannot list the interfaces: %s", strerror(errno));
  bank.self = -1;
  while (fgets(line, sizeof line, f)) {
    line[strcspn(line, " \t\r\n")] = 0;
    if (!line[0]) continue;
    if (bank.count == MAX_PEERS) die("%s names more than %d peers", path, MAX_PEERS);
    if (inet_pton(AF_INET, line, &bank.peers[bank.count]) != 1) die("%s: %s is not an IPv4 address", path, line);
    if (bank.self < 0 && is_local(list, bank.peers[bank.count])) bank.self = bank.count;
    bank.count++;
  }
  fclose(f);
  freeifaddrs(list);
  if (bank.self < 0) die("no address in %s is bound to an interface of this machine", path);
}

static int start_bank(const char *path) {
  int fd = connect_control(path), one = 1;
  if (fd >= 0) {
    puts("the bank is already running");
    return 0;
  }
  read_peers(setting("BANK_PEERS", "/etc/violin/peers"));
  open_disk(setting("BANK_DISK", "/dev/vda"));
  bank.udp = udp_socket(bank.peers[bank.self], COIN_PORT);
  tcp.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(tcp.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(STREAM_PORT), .sin_addr = bank.peers[bank.self] };
  if (bind(tcp.listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(tcp.listener, 8) < 0) {
    die("cannot listen on TCP port %d: %s", STREAM_PORT, strerror(errno));
  }
  if (!write_counter(0)) die("cannot write to the disk: %s", strerror(errno));
  bank.control = control_socket(path);
  bank.coins = COINS_AT_START;
  bank.rcvbuf_errors_before = rcvbuf_errors();
  become_daemon();
  bank.started = now_ns();
  bank.hello = (struct pace){ SECOND / HELLOS_PER_SECOND, bank.started };
  start_pacing();
  run_bank();
}

// ---- The sink

static struct { int count; uint32_t ids[MAX_FLOWS]; struct tally flows[MAX_FLOWS]; } sink;

static void answer_sink(const char *request, FILE *out) {
  if (strcmp(request, "sink-report") != 0) return;
  fputs("{\"flows\":[", out);
  for (int i = 0; i < sink.count; i++) {
    struct tally *t = &sink.flows[i];
    fprintf(out, "%s{\"flow\":%u,\"received\":%u,\"doubled\":%u,\"last\":%u,", i ? "," : "", sink.ids[i], t->received, t->doubled.count, t->last);
    print_missing(out, t);
    fputc('}', out);
  }
  fputs("]}\n", out);
}

static int start_sink(const char *path, const char *port) {
  if (atoi(port) < 1 || atoi(port) > 65535) die("%s is not a port", port);
  int fd = connect_control(path);
  if (fd >= 0) {
    puts("the sink is already running");
    return 0;
  }
  struct pollfd fds[2] = { { udp_socket((struct in_addr){ 0 }, atoi(port)), POLLIN, 0 }, { control_socket(path), POLLIN, 0 } };
  become_daemon();
  for (;;) {
    wait_for(fds, 2, INT64_MAX);
    uint32_t head[2];
    for (int n = 0; n < BATCH && recv(fds[0].fd, head, sizeof head, MSG_TRUNC) >= (ssize_t)sizeof head; n++) {
      int i = 0;
      while (i < sink.count && sink.ids[i] != ntohl(head[0])) i++;
      if (i == MAX_FLOWS) continue;
      if (i == sink.count) sink.ids[sink.count++] = ntohl(head[0]);
      count_number(&sink.flows[i], ntohl(head[1]));
    }
    if (fds[1].revents) serve(fds[1].fd, answer_sink);
  }
}

int main(int count, char **words) {
  const char *path = setting("BANK_SOCK", "/run/bank.sock"), *sink_path = setting("BANK_SINK_SOCK", "/run/bank-sink.sock");
  const char *word = count > 1 ? words[1] : "";
  if (count == 2 && strcmp(word, "start") == 0) return start_bank(path);
  if (count == 2 && (strcmp(word, "stop") == 0 || strcmp(word, "go") == 0 || strcmp(word, "report") == 0)) return ask(path, word);
  if (count == 3 && strcmp(word, "sink") == 0) return start_sink(sink_path, words[2]);
  if (count == 2 && strcmp(word, "sink-report") == 0) return ask(sink_path, word);
  fputs("usage: bank start|stop|go|report, or bank sink PORT, or bank sink-report\n", stderr);
  return 2;
}
