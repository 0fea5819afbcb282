/* Preloaded into a process of a test: does what happens to machines.

   - Notes how long each write-ahead log (`…-wal`) was when it was last on the disk, in a file beside it (`…-wal.synced`): what
     lies beyond that may be gone after the power was.
   - Puts the wall clock forward by so many seconds as SEAWALL_SKEW says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int synced(const char *name, int fd) {
    char link[64], path[4096], beside[4200];
    struct stat found;
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int measured = fstat(fd, &found), result = real(fd);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (result != 0 || measured != 0 || length < 4 || memcmp(path + length - 4, "-wal", 4) != 0) return result;
    path[length] = 0;
    snprintf(beside, sizeof beside, "%s.synced", path);
    int out = open(beside, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (out >= 0) {
        dprintf(out, "%lld", (long long)found.st_size);
        close(out);
    }
    return result;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *skew = getenv("SEAWALL_SKEW");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && skew != NULL) now->tv_sec += atol(skew);
    return result;
}
