// What the two daemons of bank.c stand on: the tally of a numbered flow, sockets, becoming a daemon, and the control socket.
// It is apart so that bank.c tells only what the bank does.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LISTED = 64, SECOND = 1000000000, RECEIVE_BUFFER = 8 << 20, MAX_REQUEST = 32 };

static _Noreturn void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("bank: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  exit(1);
}

static const char *setting(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value ? value : otherwise;
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

// ---- What came in of one numbered flow. The lists are bounded; `received` and `doubled.count` stay exact up to the
// moment when more than MAX_LISTED gaps are open, after which a late message of an unlisted gap counts as doubled.

struct numbers { uint32_t count; int listed; uint32_t list[MAX_LISTED]; };

struct tally {
  uint32_t last, received, early;
  int missing_count;
  uint32_t missing[MAX_LISTED][2];
  struct numbers doubled;
};

static void add_number(struct numbers *n, uint32_t number) {
  n->count++;
  if (n->listed < MAX_LISTED) n->list[n->listed++] = number;
}

static void add_missing(struct tally *t, uint32_t from, uint32_t to) {
  if (from > to || t->missing_count == MAX_LISTED) return;
  t->missing[t->missing_count][0] = from;
  t->missing[t->missing_count++][1] = to;
}

static bool fill_missing(struct tally *t, uint32_t number) {
  for (int i = 0; i < t->missing_count; i++) {
    uint32_t from = t->missing[i][0], to = t->missing[i][1];
    if (number < from || number > to) continue;
    memmove(t->missing[i], t->missing[i + 1], sizeof t->missing[0] * (size_t)(t->missing_count - i - 1));
    t->missing_count--;
    if (from < number) add_missing(t, from, number - 1);
    add_missing(t, number + 1, to);
    return true;
  }
  return false;
}

static bool count_number(struct tally *t, uint32_t number) { // true when it had not come before
  if (number > t->last) {
    add_missing(t, t->last + 1, number - 1);
    t->last = number;
  } else if (fill_missing(t, number)) {
    t->early++; // a later one had come before it
  } else {
    add_number(&t->doubled, number);
    return false;
  }
  t->received++;
  return true;
}

static int by_start(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static void print_missing(FILE *out, struct tally *t) {
  qsort(t->missing, (size_t)t->missing_count, sizeof t->missing[0], by_start);
  fputs("\"missing\":[", out);
  for (int i = 0; i < t->missing_count; i++) {
    fprintf(out, "%s[%u,%u]", i ? "," : "", t->missing[i][0], t->missing[i][1]);
  }
  fputc(']', out);
}

static void print_numbers(FILE *out, const char *name, const struct numbers *n) {
  fprintf(out, "\"%s\":[", name);
  for (int i = 0; i < n->listed; i++) fprintf(out, "%s%u", i ? "," : "", n->list[i]);
  fprintf(out, "],\"%sCount\":%u", name, n->count);
}

// ---- Sockets, daemons and their control sockets

static int udp_socket(struct in_addr address, int port) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = RECEIVE_BUFFER;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
  struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = address };
  if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0) die("cannot bind UDP port %d: %s", port, strerror(errno));
  return fd;
}

static struct sockaddr_un unix_address(const char *path) {
  struct sockaddr_un at = { .sun_family = AF_UNIX };
  if (strlen(path) >= sizeof at.sun_path) die("the socket path %s is too long", path);
  strcpy(at.sun_path, path);
  return at;
}

static int control_socket(const char *path) {
  struct sockaddr_un at = unix_address(path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  unlink(path);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 16) < 0) {
    die("cannot listen on %s: %s", path, strerror(errno));
  }
  chmod(path, 0666);
  return fd;
}

static int connect_control(const char *path) { // -1 when nobody listens
  struct sockaddr_un at = unix_address(path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) return fd;
  close(fd);
  return -1;
}

static int ask(const char *path, const char *request) {
  int fd = connect_control(path);
  if (fd < 0) die("it is not running (nobody listens on %s): start it first", path);
  struct timeval patience = { .tv_sec = 8 };
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  dprintf(fd, "%s\n", request);
  char buffer[4096], end = 0;
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) {
    fwrite(buffer, 1, (size_t)n, stdout);
    end = buffer[n - 1];
  }
  if (n < 0 || end != '\n') die("the daemon did not answer %s in full", request);
  return 0;
}

// Answers one request. The peer is a `bank` command on the same machine, which writes and reads at once: the short
// time-outs are there so that nothing else that connects can hold up the loop for long.
static void serve(int listener, void (*answer)(const char *request, FILE *out)) {
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) return;
  struct timeval read_patience = { .tv_usec = 200000 }, write_patience = { .tv_sec = 1 };
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &read_patience, sizeof read_patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &write_patience, sizeof write_patience);
  char request[MAX_REQUEST], *text = NULL;
  size_t size = 0;
  ssize_t n = recv(fd, request, sizeof request - 1, 0);
  if (n > 0) {
    request[n] = 0;
    request[strcspn(request, "\n")] = 0;
    FILE *out = open_memstream(&text, &size);
    if (out) {
      answer(request, out);
      fclose(out);
      for (size_t done = 0; done < size && (n = send(fd, text + done, size - done, MSG_NOSIGNAL)) > 0;) done += (size_t)n;
      free(text);
    }
  }
  close(fd);
}

static void become_daemon(void) { // the sockets are bound by now, so what can go wrong has been said on stderr
  fflush(NULL);
  pid_t child = fork();
  if (child < 0) die("cannot fork: %s", strerror(errno));
  if (child > 0) _exit(0);
  setsid();
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  if (chdir("/") < 0) _exit(1);
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd <= 2; fd++) dup2(null, fd);
  if (null > 2) close(null);
}

static void wait_for(struct pollfd *fds, nfds_t count, int64_t until) {
  int64_t left = until - now_ns();
  if (left < 0) left = 0;
  struct timespec t = { .tv_sec = left / SECOND, .tv_nsec = left % SECOND };
  if (ppoll(fds, count, &t, NULL) <= 0) for (nfds_t i = 0; i < count; i++) fds[i].revents = 0;
}
