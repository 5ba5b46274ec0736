/* Laid before the C library (LD_PRELOAD): calls of a process fail when a test says so. FOLDER/armed is one byte, looked at through memory,
   so that nothing costs anything while it is 0. FOLDER/PID says what fails: the kind of call (sync, name, sink), a file that must be there
   for it to begin, and for sink how many bytes are taken before. Each failure is a line in FOLDER/PID.hits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *folder;
static volatile const char *armed;
static long taken;

__attribute__((constructor)) static void begin(void) {
  char path[512];
  folder = getenv("VIOLIN_FAILING");
  if (!folder) return;
  snprintf(path, sizeof path, "%s/armed", folder);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  void *page = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) armed = page;
  close(fd);
}

static ssize_t plain_write(int fd, const void *data, size_t bytes) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "write");
  return real(fd, data, bytes);
}

static int fails(const char *kind, long more) {
  char path[512], text[700], wanted[16], trigger[500];
  long after = 0;
  if (!armed || !*armed) return 0;
  int kept = errno;
  snprintf(path, sizeof path, "%s/%d", folder, (int)getpid());
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[n < 0 ? 0 : n] = 0;
  int begun = n > 0 && sscanf(text, "%15s %499s %ld", wanted, trigger, &after) >= 2 && !strcmp(wanted, kind) && access(trigger, F_OK) == 0;
  errno = kept;
  if (!begun) return 0;
  if (more && __atomic_add_fetch(&taken, more, __ATOMIC_SEQ_CST) <= after) return 0;
  strcat(path, ".hits");
  fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd >= 0) {
    plain_write(fd, kind, strlen(kind));
    plain_write(fd, "\n", 1);
    close(fd);
  }
  return 1;
}

static int is_sink(int fd) {
  char path[64], target[512];
  if (!armed || !*armed) return 0;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(path, target, sizeof target - 1);
  if (n < 0) return 0;
  target[n] = 0;
  return strstr(target, ".memory.part") != NULL;
}

#define REAL(type, name, parameters) \
  static type(*real) parameters;     \
  if (!real) real = dlsym(RTLD_NEXT, name)
#define FAIL(with) \
  do {             \
    errno = with;  \
    return -1;     \
  } while (0)

int fsync(int fd) {
  REAL(int, "fsync", (int));
  if (fails("sync", 0)) FAIL(EIO);
  return real(fd);
}

int fdatasync(int fd) {
  REAL(int, "fdatasync", (int));
  if (fails("sync", 0)) FAIL(EIO);
  return real(fd);
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", (const char *, const char *));
  if (fails("name", 0)) FAIL(EIO);
  return real(from, to);
}

int link(const char *from, const char *to) {
  REAL(int, "link", (const char *, const char *));
  if (fails("name", 0)) FAIL(EIO);
  return real(from, to);
}

ssize_t write(int fd, const void *data, size_t bytes) {
  if (is_sink(fd) && fails("sink", (long)bytes)) FAIL(EPIPE);
  return plain_write(fd, data, bytes);
}

static long sum(const struct iovec *parts, int count) {
  long bytes = 0;
  for (int i = 0; i < count; i++) bytes += (long)parts[i].iov_len;
  return bytes;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(ssize_t, "writev", (int, const struct iovec *, int));
  if (is_sink(fd) && fails("sink", sum(parts, count))) FAIL(EPIPE);
  return real(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) {
  REAL(ssize_t, "pwrite64", (int, const void *, size_t, off64_t));
  if (is_sink(fd) && fails("sink", (long)bytes)) FAIL(EPIPE);
  return real(fd, data, bytes, at);
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at) { return pwrite64(fd, data, bytes, at); }

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  REAL(ssize_t, "pwritev64", (int, const struct iovec *, int, off64_t));
  if (is_sink(fd) && fails("sink", sum(parts, count))) FAIL(EPIPE);
  return real(fd, parts, count, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return pwritev64(fd, parts, count, at); }
