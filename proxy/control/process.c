/* User, terminal and pid file of the process; see process.h. */

#include "proxy/control/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

/* ---- user ------------------------------------------------------------------------------------ */

enum err process_become(const char *name, struct note *note)
{
    errno = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    const struct passwd *user = getpwnam(name);
    if (user == NULL) {
        return note_set(note, ERR_BAD_SETTING, "user: the system has no user \"%.60s\"", name);
    }
    uid_t uid = user->pw_uid;
    gid_t gid = user->pw_gid;
    if (geteuid() == uid && getuid() == uid) {
        return ERR_NONE;
    }
    if (geteuid() != 0) {
        return note_set(note, ERR_BAD_SETTING,
                        "user: only root can become \"%.60s\"; start as root, or as that user",
                        name);
    }
    if (initgroups(name, gid) != 0 || setgid(gid) != 0 || setuid(uid) != 0) {
        return note_set(note, ERR_IO, "user: cannot become \"%.60s\": %s", name,
                        strerrordesc_np(errno));
    }
    check(setuid(0) != 0 || uid == 0); /* there is no way back */
    return ERR_NONE;
}

/* ---- terminal -------------------------------------------------------------------------------- */

static int ready_pipe = -1; /* of the child: closed without a byte is a failure */

static void leave_descriptor(int fd, int flags)
{
    int null = open("/dev/null", flags | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, fd);
        (void)close(null);
    }
}

/* The parent: waits for the word of the child. */
static void wait_for_child(int fd, pid_t child, int failed)
{
    char byte = 0;
    ssize_t n = 0;
    do {
        n = read(fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    if (n != 1) {
        (void)waitpid(child, NULL, 0);
    }
    _exit(n == 1 ? 0 : failed);
}

enum err process_detach(int failed, struct note *note)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return note_set(note, ERR_IO, "cannot go to the background: %s", strerrordesc_np(errno));
    }
    pid_t child = fork();
    if (child < 0) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        return note_set(note, ERR_IO, "cannot go to the background: %s", strerrordesc_np(errno));
    }
    if (child > 0) {
        (void)close(fds[1]);
        wait_for_child(fds[0], child, failed);
    }
    (void)close(fds[0]);
    ready_pipe = fds[1];
    (void)setsid();
    leave_descriptor(STDIN_FILENO, O_RDONLY);
    leave_descriptor(STDOUT_FILENO, O_WRONLY);
    return ERR_NONE;
}

void process_detached(void)
{
    if (ready_pipe < 0) {
        return;
    }
    leave_descriptor(STDERR_FILENO, O_WRONLY);
    ssize_t told = write(ready_pipe, "", 1);
    (void)told; /* the parent may have been killed */
    (void)close(ready_pipe);
    ready_pipe = -1;
}

/* ---- pid file -------------------------------------------------------------------------------- */

/* The number in the file, 0 when there is none. */
static int read_number(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    long pid = n <= 0 ? 0 : strtol(text, NULL, 10);
    return pid > 0 && pid <= INT32_MAX ? (int)pid : 0;
}

/* The id in the file while that process runs, else 0. */
static int running_pid(const char *path)
{
    int pid = read_number(path);
    int runs = pid != 0 && pid != (int)getpid() && (kill(pid, 0) == 0 || errno == EPERM);
    return runs ? pid : 0;
}

enum err process_pid_file(const char *path, int replace, struct note *note)
{
    int other = replace ? 0 : running_pid(path);
    if (other != 0) {
        enum err e =
            note_set(note, ERR_IO, "pid_file: %.300s holds %d, which is running", path, other);
        note_hint(note, "stop that process, or use -R to take over from it");
        return e;
    }
    char text[32];
    char next[4096];
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    (void)snprintf(next, sizeof(next), "%.4000s.%d", path, (int)getpid());
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    int failed = fd < 0 || write(fd, text, (size_t)n) != n ? errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (failed == 0 && rename(next, path) != 0) {
        failed = errno;
    }
    if (failed != 0) {
        (void)unlink(next);
        return note_set(note, ERR_IO, "pid_file: cannot write %.300s: %s; make its folder writable",
                        path, strerrordesc_np(failed));
    }
    return ERR_NONE;
}

void process_pid_file_remove(const char *path)
{
    if (path != NULL && read_number(path) == (int)getpid()) {
        (void)unlink(path);
    }
}
