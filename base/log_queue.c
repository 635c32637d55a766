/*
 * The way of a line to the disk: a ring that any thread adds to without waiting, and one thread
 * that writes.
 *
 *     ring  | line | line | ......free (all zero)...... | line |
 *             ^ tail: the writer                          ^ head: the next line goes here
 *
 * A line is a word of length and its bytes, padded to 8, never across the end of the ring. Room is
 * taken by moving head; the length is stored last and tells the writer that the bytes are there.
 * The writer zeroes what it has taken before it moves tail, so free room always reads as "no line".
 *
 * A disk that is slow, full or gone stops the writer, never its callers: lines that find no room
 * are counted, and so are those a write failed for. LOG_DROPPED tells when it goes on.
 */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    RING_BYTES = 256 * 1024,
    BATCH_BYTES = 64 * 1024,
    WORD_BYTES = 8,
    IS_PAD = 1 << 30, /* no line: the rest up to the end of the ring is left out */
    RETRY_MS = 100    /* after a write that failed */
};

static_assert(RING_BYTES % WORD_BYTES == 0, "every line begins at a word");

static struct {
    _Atomic int running;
    _Atomic int stopping;
    _Atomic uint64_t head, tail; /* bytes ever */
    _Atomic uint64_t dropped;    /* lines ever */
    _Atomic(char *) reopen;      /* path to open next; "": stderr */
    uint64_t dropped_told;       /* writer only, as are the next ones */
    int fd;
    int stderr_too;
    int syslog;
    int facility;
    char *ident; /* syslog keeps the pointer */
    int midline; /* a line was written in part: end it before the next */
    int failing;
    pthread_t thread;
    sem_t wake;
    _Alignas(WORD_BYTES) uint8_t ring[RING_BYTES];
} q = {.fd = STDERR_FILENO};

/* ---- adding: any thread ---------------------------------------------------------------------- */

static _Atomic uint64_t *word_at(uint64_t at)
{
    return (_Atomic uint64_t *)(void *)(q.ring + at % RING_BYTES);
}

static void write_now(const char *line, size_t n)
{
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written; /* nowhere to tell */
}

void log_put_line(const char *line, size_t n)
{
    check(n > 0 && n <= LOG_LINE_BYTES_MAX);
    if (!atomic_load_explicit(&q.running, memory_order_acquire)) {
        write_now(line, n);
        return;
    }
    uint64_t need = (WORD_BYTES + n + WORD_BYTES - 1) / WORD_BYTES * WORD_BYTES;
    uint64_t head = atomic_load_explicit(&q.head, memory_order_relaxed);
    uint64_t pad = 0;
    do {
        uint64_t to_end = RING_BYTES - head % RING_BYTES;
        pad = to_end < need ? to_end : 0;
        uint64_t used = head - atomic_load_explicit(&q.tail, memory_order_acquire);
        if (used + pad + need > RING_BYTES) {
            atomic_fetch_add_explicit(&q.dropped, 1, memory_order_relaxed);
            return;
        }
    } while (!atomic_compare_exchange_weak_explicit(&q.head, &head, head + pad + need,
                                                    memory_order_relaxed, memory_order_relaxed));
    if (pad > 0) {
        atomic_store_explicit(word_at(head), pad | IS_PAD, memory_order_release);
        head += pad;
    }
    memcpy(q.ring + head % RING_BYTES + WORD_BYTES, line, n);
    atomic_store_explicit(word_at(head), n, memory_order_release);
    (void)sem_post(&q.wake);
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&q.dropped, memory_order_relaxed);
}

/* ---- writing: the thread --------------------------------------------------------------------- */

static uint64_t count_lines(const uint8_t *p, size_t n)
{
    uint64_t lines = 0;
    for (size_t i = 0; i < n; i++) {
        lines += p[i] == '\n';
    }
    return lines;
}

/* All of it, or as much as the disk takes. Returns how many bytes were written. */
static size_t write_bytes(const uint8_t *p, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t wrote = write(q.fd, p + done, n - done);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0 && errno == EAGAIN) { /* a pipe that its reader made non-blocking */
            struct timespec pause = {.tv_nsec = 10000000};
            (void)nanosleep(&pause, NULL);
            continue;
        }
        if (wrote <= 0) {
            break;
        }
        done += (size_t)wrote;
    }
    return done;
}

/* Each line by itself. Blocks as long as the system's log does. */
static void send_to_syslog(const uint8_t *p, size_t n)
{
    while (n > 0) {
        const uint8_t *end = memchr(p, '\n', n);
        size_t line = end == NULL ? n : (size_t)(end - p);
        /* The system's log has its own time and process id in front. */
        const uint8_t *head = isdigit(*p) ? memmem(p, line, "] ", 2) : NULL;
        const uint8_t *text = head == NULL ? p : head + 2;
        syslog(q.facility | LOG_INFO, "%.*s", (int)(p + line - text), (const char *)text);
        line += end != NULL;
        p += line;
        n -= line;
    }
}

static void write_batch(const uint8_t *p, size_t n)
{
    if (q.syslog) {
        send_to_syslog(p, n);
    }
    if (q.stderr_too && q.fd != STDERR_FILENO) {
        ssize_t written = write(STDERR_FILENO, p, n);
        (void)written; /* the file is what counts */
    }
    if (q.midline && write_bytes((const uint8_t *)"\n", 1) == 1) {
        q.midline = 0;
    }
    size_t done = q.midline ? 0 : write_bytes(p, n);
    q.failing = done < n;
    if (done < n) {
        q.midline |= done > 0 && p[done - 1] != '\n';
        atomic_fetch_add_explicit(&q.dropped, count_lines(p + done, n - done),
                                  memory_order_relaxed);
    }
}

/* Take whole lines off the ring, as many as fit. */
static size_t take_lines(uint8_t *out, size_t cap)
{
    uint64_t tail = atomic_load_explicit(&q.tail, memory_order_relaxed);
    size_t n = 0;
    for (;;) {
        uint64_t word = atomic_load_explicit(word_at(tail), memory_order_acquire);
        size_t bytes = (size_t)(word & ~(uint64_t)IS_PAD);
        uint64_t whole = bytes;
        if (word == 0) {
            break;
        }
        if (!(word & IS_PAD)) {
            if (bytes > cap - n) {
                break;
            }
            memcpy(out + n, q.ring + tail % RING_BYTES + WORD_BYTES, bytes);
            n += bytes;
            whole = (WORD_BYTES + bytes + WORD_BYTES - 1) / WORD_BYTES * WORD_BYTES;
        }
        atomic_store_explicit(word_at(tail), 0, memory_order_relaxed);
        memset(q.ring + tail % RING_BYTES + WORD_BYTES, 0, (size_t)whole - WORD_BYTES);
        tail += whole;
        atomic_store_explicit(&q.tail, tail, memory_order_release);
        if (tail == atomic_load_explicit(&q.head, memory_order_relaxed)) {
            break;
        }
    }
    return n;
}

static int open_path(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

static void use_fd(int fd)
{
    if (q.fd != STDERR_FILENO) {
        (void)close(q.fd);
    }
    q.fd = fd;
    q.midline = 0;
}

static void open_again(void)
{
    char *path = atomic_exchange(&q.reopen, NULL);
    if (path == NULL) {
        return;
    }
    int fd = path[0] == '\0' ? STDERR_FILENO : open_path(path);
    if (fd >= 0) {
        use_fd(fd);
    } else {
        char words[128];
        log_event(LOG_LOG_FILE_FAILED, "file=%s error=%s note=\"lines go where they went before\"",
                  path, strerror_r(errno, words, sizeof(words)));
    }
    mem_free(path);
}

static void tell_dropped(void)
{
    uint64_t dropped = log_dropped();
    if (dropped != q.dropped_told && !q.failing) {
        struct log_line line;
        log_make_line(&line, LOG_LOG_DROPPED, "lines=%llu",
                      (unsigned long long)(dropped - q.dropped_told));
        size_t done = write_bytes((const uint8_t *)line.p, line.n);
        q.dropped_told = done == line.n ? dropped : q.dropped_told;
        q.midline = done > 0 && done < line.n;
    }
}

static void *writer(void *arg)
{
    static uint8_t batch[BATCH_BYTES];
    (void)arg;
    for (;;) {
        int stopping = atomic_load(&q.stopping);
        open_again();
        size_t n = take_lines(batch, sizeof(batch));
        if (n > 0) {
            write_batch(batch, n);
            tell_dropped();
            if (q.failing && !stopping) {
                struct timespec pause = {.tv_nsec = RETRY_MS * 1000L * 1000L};
                (void)nanosleep(&pause, NULL);
            }
            continue;
        }
        if (stopping) {
            return NULL;
        }
        while (sem_wait(&q.wake) != 0) {
        }
        while (sem_trywait(&q.wake) == 0) { /* one look serves all that came */
        }
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

void log_also_stderr(int on)
{
    check(!atomic_load(&q.running));
    q.stderr_too = on;
}

void log_also_syslog(const char *ident, const char *facility)
{
    static const struct {
        const char *name;
        int number;
    } known[] = {{"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"daemon", LOG_DAEMON},
                 {"user", LOG_USER},     {"local0", LOG_LOCAL0},     {"local1", LOG_LOCAL1},
                 {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3},     {"local4", LOG_LOCAL4},
                 {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6},     {"local7", LOG_LOCAL7}};
    check(!atomic_load(&q.running));
    q.facility = LOG_DAEMON;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        q.facility = strcmp(known[i].name, facility) == 0 ? known[i].number : q.facility;
    }
    mem_free(q.ident);
    q.ident = mem_strdup(ident);
    q.syslog = 1;
    openlog(q.ident, LOG_PID | LOG_NDELAY, q.facility);
}

enum err log_start(const char *path, struct note *note)
{
    check(!atomic_load(&q.running));
    char words[128];
    int fd = path == NULL ? STDERR_FILENO : open_path(path);
    if (fd < 0) {
        enum err e = note_set(note, ERR_IO, "log.file: cannot open %s: %s", path,
                              strerror_r(errno, words, sizeof(words)));
        note_hint(note, "make its folder and let the user that pgbraid runs as write there");
        return e;
    }
    use_fd(fd);
    q.dropped_told = log_dropped();
    atomic_store(&q.stopping, 0);
    check(sem_init(&q.wake, 0, 0) == 0);
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the control thread's */
    check(pthread_create(&q.thread, NULL, writer, NULL) == 0);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    atomic_store_explicit(&q.running, 1, memory_order_release);
    return ERR_NONE;
}

void log_reopen(const char *path)
{
    if (!atomic_load(&q.running)) {
        return;
    }
    mem_free(atomic_exchange(&q.reopen, mem_strdup(path == NULL ? "" : path)));
    (void)sem_post(&q.wake);
}

void log_flush(int wait_ms)
{
    uint64_t head = atomic_load(&q.head);
    int64_t until_us = clock_now_us() + (int64_t)wait_ms * 1000;
    while (atomic_load(&q.running) && atomic_load(&q.tail) < head && clock_now_us() < until_us) {
        struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
    }
}

void log_stop(int wait_ms)
{
    if (!atomic_load(&q.running)) {
        return;
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000 + 1;
    atomic_store(&q.running, 0);
    atomic_store(&q.stopping, 1);
    (void)sem_post(&q.wake);
    if (pthread_timedjoin_np(q.thread, NULL, &until) != 0) {
        return; /* its disk hangs: the process ends without it */
    }
    use_fd(STDERR_FILENO);
    mem_free(atomic_exchange(&q.reopen, NULL));
    (void)sem_destroy(&q.wake);
}
