/* A disk that takes long to write, for what is loaded before a program: cc -shared -fPIC slow_disk.c -o slow_disk.so -ldl

While the variable SLOW_UNDER names a folder, each call that writes a file below it comes in two halves with up to 50 ms between them,
and each one that flushes, renames, cuts or removes a file takes up to half a second before it is done. Most calls take little and a few
take long, as on a network drive that others use too. A kill may find a file with half of what was being written.

It does not slow what is read, what is written through a map of memory (SQLite's index of a journal) or by calls to the kernel that go
around the C library; and it loses nothing that was written and not flushed, as a machine without power would. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static const char *SPARED[] = {"asked.txt", "kept.txt", "said.txt"};    /* what chaos.py itself notes */

static int is_slow(const char *path) {
    const char *folder = getenv("SLOW_UNDER");
    if (!folder || !*folder || strncmp(path, folder, strlen(folder))) return 0;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < sizeof SPARED/sizeof *SPARED; i++)
        if (!strcmp(name, SPARED[i])) return 0;
    return 1;
}

static int is_slow_file(int fd) {
    char link[40], path[PATH_MAX];
    if (!getenv("SLOW_UNDER")) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return is_slow(path);
}

/* Up to `most` seconds; little in most calls, for a share of 0 to 1 is taken to the power of four. */
static void wait_up_to(double most) {
    static __thread unsigned int seed;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!seed) seed = (unsigned int)(now.tv_nsec ^ getpid());
    double share = rand_r(&seed)/(double)RAND_MAX, seconds = most*share*share*share*share;
    struct timespec pause = {(time_t)seconds, (long)((seconds - (time_t)seconds)*1e9)};
    nanosleep(&pause, NULL);
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t n) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (n < 2 || !is_slow_file(fd)) return real(fd, data, n);
    ssize_t half = real(fd, data, n/2);
    if (half != (ssize_t)(n/2)) return half;
    wait_up_to(.05);
    ssize_t rest = real(fd, (const char *)data + half, n - half);
    return rest < 0 ? half : half + rest;
}

#define AT_A_PLACE(name, place) \
    ssize_t name(int fd, const void *data, size_t n, place at) { \
        REAL(ssize_t, name, int, const void *, size_t, place); \
        if (n < 2 || !is_slow_file(fd)) return real(fd, data, n, at); \
        ssize_t half = real(fd, data, n/2, at); \
        if (half != (ssize_t)(n/2)) return half; \
        wait_up_to(.05); \
        ssize_t rest = real(fd, (const char *)data + half, n - half, at + half); \
        return rest < 0 ? half : half + rest; \
    }
AT_A_PLACE(pwrite, off_t)
AT_A_PLACE(pwrite64, off64_t)

#define FLUSH(name) \
    int name(int fd) { \
        REAL(int, name, int); \
        if (is_slow_file(fd)) wait_up_to(.5); \
        return real(fd); \
    }
FLUSH(fsync)
FLUSH(fdatasync)

#define CUT(name, place) \
    int name(int fd, place size) { \
        REAL(int, name, int, place); \
        if (is_slow_file(fd)) wait_up_to(.5); \
        return real(fd, size); \
    }
CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)

int rename(const char *old, const char *new) {
    REAL(int, rename, const char *, const char *);
    if (is_slow(old) || is_slow(new)) wait_up_to(.5);
    return real(old, new);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    if (is_slow(path)) wait_up_to(.5);
    return real(path);
}
