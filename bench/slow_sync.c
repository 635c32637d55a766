/*
 * A disk whose syncs take time, for bench/writes.py: preloaded into PostgreSQL and pgbraid, so that
 * fsync() and fdatasync() last SLOW_SYNC_US longer. What a machine with a very fast disk cannot
 * show otherwise: how many commits share one sync.
 */

#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int slowly(const char *name, int fd)
{
    const char *us = getenv("SLOW_SYNC_US");
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (us != NULL) {
        struct timespec pause = {.tv_nsec = strtol(us, NULL, 10) * 1000};
        (void)nanosleep(&pause, NULL);
    }
    return real(fd);
}

int fsync(int fd)
{
    return slowly("fsync", fd);
}

int fdatasync(int fd)
{
    return slowly("fdatasync", fd);
}
