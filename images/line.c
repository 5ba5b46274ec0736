// Measures the line between two guests, from inside: what it lets through, how long it takes, what it loses. UDP only: what
// TCP makes of a line depends on much else. Results are one line of JSON.
//   line serve PORT                              answers and counts, as a daemon
//   line time ADDRESS PORT COUNT PER_SECOND      round trips
//   line fill ADDRESS PORT COUNT BYTES PER_SECOND   numbered datagrams of BYTES; the other end says what came of them
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000, MILLISECOND = 1000000, HEADERS = 42, MOST = 1 << 20, LARGEST = 1472, BUFFER = 8 << 20, TRIES = 50 };
enum kind { ECHO = 1, NUMBERED = 2, QUESTION = 3, ANSWER = 4 };
struct message { uint32_t kind, flow, number; };
struct count { uint32_t flow, received, doubled, late, highest; uint64_t bytes; int64_t first, last; };

static _Noreturn void die(const char *what) {
  fprintf(stderr, "line: %s\n", what);
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static uint32_t number_of(const char *text, uint32_t most) {
  char *end;
  unsigned long n = strtoul(text, &end, 10);
  if (*text == 0 || *end != 0 || n < 1 || n > most) die("a number is missing, or too large");
  return (uint32_t)n;
}

static int udp_socket(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("no socket");
  int size = BUFFER;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  return fd;
}

// ---- The end that serves

static struct count counted;
static uint8_t seen[MOST / 8];

static void count_one(const struct message *m, size_t bytes) {
  if (counted.flow != m->flow) {
    counted = (struct count){ .flow = m->flow, .first = now_ns() };
    memset(seen, 0, sizeof seen);
  } else counted.bytes += bytes + HEADERS; // the first one only starts the clock
  counted.last = now_ns();
  if (m->number >= MOST) return;
  if (seen[m->number / 8] & (1 << m->number % 8)) counted.doubled++;
  else counted.received++;
  seen[m->number / 8] |= (uint8_t)(1 << m->number % 8);
  if (m->number < counted.highest) counted.late++;
  else counted.highest = m->number;
}

static void serve(uint32_t port) {
  int fd = udp_socket();
  struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
  if (bind(fd, (struct sockaddr *)&here, sizeof here) != 0) die("the port is taken");
  if (daemon(0, 0) != 0) die("no daemon");
  for (;;) {
    uint8_t bytes[LARGEST];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &length);
    struct message m;
    if (n < (ssize_t)sizeof m) continue;
    memcpy(&m, bytes, sizeof m);
    if (m.kind == NUMBERED) count_one(&m, (size_t)n);
    if (m.kind == ECHO) sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, length);
    if (m.kind == QUESTION && m.flow == counted.flow) {
      struct { struct message m; struct count count; } answer = { { ANSWER, m.flow, 0 }, counted };
      sendto(fd, &answer, sizeof answer, 0, (struct sockaddr *)&from, length);
    }
  }
}

// ---- The end that asks

static int to(const char *address, uint32_t port) {
  int fd = udp_socket();
  struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
  if (inet_pton(AF_INET, address, &there.sin_addr) != 1) die("no IPv4 address");
  if (connect(fd, (struct sockaddr *)&there, sizeof there) != 0) die("no way there");
  return fd;
}

static void wait_until(int64_t at) {
  struct timespec t = { at / SECOND, at % SECOND };
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0) {}
}

/** Waits for an answer of this kind until then; its bytes, or 0. */
static ssize_t answer(int fd, uint32_t kind, uint32_t flow, void *into, size_t size, int64_t until) {
  for (;;) {
    int64_t left = until - now_ns();
    struct pollfd p = { fd, POLLIN, 0 };
    if (left <= 0 || poll(&p, 1, (int)(left / MILLISECOND) + 1) <= 0) return 0;
    ssize_t n = recv(fd, into, size, MSG_DONTWAIT);
    struct message *m = into;
    if (n >= (ssize_t)sizeof *m && m->kind == kind && m->flow == flow) return n;
  }
}

static int by_size(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void time_it(int fd, uint32_t count, uint32_t per_second) {
  int64_t *took = calloc(count, sizeof *took);
  if (!took) die("no memory");
  uint32_t received = 0, flow = (uint32_t)now_ns();
  for (uint32_t i = 0; i < count; i++) {
    int64_t begun = now_ns();
    struct message m = { ECHO, flow + i, i }, back;
    send(fd, &m, sizeof m, 0);
    if (answer(fd, ECHO, flow + i, &back, sizeof back, begun + SECOND)) took[received++] = now_ns() - begun;
    wait_until(begun + SECOND / per_second);
  }
  qsort(took, received, sizeof *took, by_size);
  if (received == 0) die("nobody answers");
  printf("{\"sent\": %u, \"received\": %u, \"leastMs\": %.3f, \"medianMs\": %.3f, \"mostMs\": %.3f}\n", count, received,
    (double)took[0] / MILLISECOND, (double)took[received / 2] / MILLISECOND, (double)took[received - 1] / MILLISECOND);
}

static void fill(int fd, uint32_t count, uint32_t bytes, uint32_t per_second) {
  static uint8_t packet[LARGEST];
  uint32_t flow = (uint32_t)now_ns() | 1;
  int64_t interval = SECOND / per_second, next = now_ns();
  for (uint32_t i = 0; i < count; i++) {
    if (now_ns() - next > 20 * MILLISECOND) next = now_ns(); // what was not sent in time is not made up for: no bursts
    wait_until(next);
    next += interval;
    struct message m = { NUMBERED, flow, i };
    memcpy(packet, &m, sizeof m);
    for (int tries = 0; send(fd, packet, bytes, 0) < 0 && tries < TRIES; tries++) wait_until(now_ns() + MILLISECOND);
  }
  wait_until(now_ns() + 2ll * SECOND); // what is under way arrives
  struct { struct message m; struct count count; } got;
  struct message question = { QUESTION, flow, 0 };
  for (int tries = 0; tries < TRIES; tries++) {
    send(fd, &question, sizeof question, 0);
    if (answer(fd, ANSWER, flow, &got, sizeof got, now_ns() + SECOND / 2) < (ssize_t)sizeof got) continue;
    struct count *c = &got.count;
    double seconds = (double)(c->last - c->first) / SECOND;
    printf("{\"sent\": %u, \"received\": %u, \"doubled\": %u, \"late\": %u, \"seconds\": %.3f, \"bitsPerSecond\": %.0f}\n",
      count, c->received, c->doubled, c->late, seconds, seconds > 0 ? (double)c->bytes * 8 / seconds : 0);
    return;
  }
  die("the other end does not say what came");
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "serve") == 0) serve(number_of(argv[2], 65535));
  else if (argc == 6 && strcmp(argv[1], "time") == 0) {
    time_it(to(argv[2], number_of(argv[3], 65535)), number_of(argv[4], MOST - 1), number_of(argv[5], 1000));
  } else if (argc == 7 && strcmp(argv[1], "fill") == 0) {
    uint32_t bytes = number_of(argv[5], LARGEST);
    if (bytes < sizeof(struct message)) die("a datagram has 12 bytes at least");
    fill(to(argv[2], number_of(argv[3], 65535)), number_of(argv[4], MOST - 1), bytes, number_of(argv[6], 100000));
  } else die("line serve PORT | time ADDRESS PORT COUNT PER_SECOND | fill ADDRESS PORT COUNT BYTES PER_SECOND");
}
