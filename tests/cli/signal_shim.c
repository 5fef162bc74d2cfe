// SPDX-License-Identifier: Apache-2.0
// Loaded before libc: raises $SIGNAL before ($PLACE even) or after ($PLACE odd) the ($PLACE / 2)-th
// call that changes files.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int calls;

static int place(void) {
  const char* text = getenv("PLACE");
  return text == NULL ? -1 : atoi(text);
}

static void at(int moment) {
  if (moment == place()) raise(atoi(getenv("SIGNAL")));
}

// Wraps a call: its number is taken before it, for the place behind it, too.
#define WRAP(result, name, parameters, arguments)                                     \
  result name parameters {                                                            \
    result(*const theirs) parameters = (result(*) parameters)dlsym(RTLD_NEXT, #name); \
    const int number = atomic_fetch_add(&calls, 1);                                   \
    at(2 * number);                                                                   \
    const result value = theirs arguments;                                            \
    at(2 * number + 1);                                                               \
    return value;                                                                     \
  }

WRAP(ssize_t, pwrite, (int fd, const void* from, size_t count, off_t offset),
     (fd, from, count, offset))
WRAP(ssize_t, pwrite64, (int fd, const void* from, size_t count, off64_t offset),
     (fd, from, count, offset))
WRAP(int, ftruncate, (int fd, off_t size), (fd, size))
WRAP(int, posix_fallocate, (int fd, off_t offset, off_t size), (fd, offset, size))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, rename, (const char* from, const char* to), (from, to))
WRAP(int, unlink, (const char* name), (name))
WRAP(int, unlinkat, (int folder, const char* name, int flags), (folder, name, flags))
WRAP(int, mkdir, (const char* name, mode_t mode), (name, mode))
WRAP(int, rmdir, (const char* name), (name))
WRAP(int, flock, (int fd, int operation), (fd, operation))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))

int openat(int folder, const char* name, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  int (*const theirs)(int, const char*, int, ...) =
      (int (*)(int, const char*, int, ...))dlsym(RTLD_NEXT, "openat");
  if (!(flags & O_CREAT)) return theirs(folder, name, flags, mode);
  const int number = atomic_fetch_add(&calls, 1);
  at(2 * number);
  const int fd = theirs(folder, name, flags, mode);
  at(2 * number + 1);
  return fd;
}
