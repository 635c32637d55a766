/*
 * Goal: the log with its disk thread on the real disk: many writers share syncs, a killed process
 * loses nothing it was told is durable, one process owns a data_dir. Method: small logs in /tmp.
 */

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/data_dir.h"
#include "store/dir_testing.h"
#include "store/file.h"
#include "store/wal.h"

enum {
    THREADS = 64,
    PER_THREAD = 25
};

static char dir[TEST_DIR_BYTES];

static void make_dir(void)
{
    test_dir_make(dir, "wal");
}

static void remove_dir(void)
{
    test_dir_remove(dir);
}

struct seen {
    uint64_t next[THREADS]; /* next number expected of each thread */
    int is_cut;             /* the beginning was truncated: any number may be the first */
    size_t count;
};

/* A body is thread and number; the numbers of a thread come in order. */
static enum err replayed(void *arg, const struct wal_record *record, struct note *note)
{
    (void)note;
    struct seen *seen = arg;
    cr_assert_eq(record->body.n, 16);
    uint64_t thread = be64_at(record->body.p);
    cr_assert_lt(thread, THREADS);
    uint64_t number = be64_at(record->body.p + 8);
    cr_assert(number == seen->next[thread] || (seen->is_cut && seen->next[thread] == 0));
    seen->next[thread] = number + 1;
    seen->count++;
    return ERR_NONE;
}

static struct wal *open_log(struct seen *seen, uint32_t segment_bytes)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/wal", dir);
    *seen = (struct seen){.is_cut = seen->is_cut};
    struct wal_options options = {.fs = fs_disk(),
                                  .dir = path,
                                  .segment_bytes = segment_bytes,
                                  .measure = 1,
                                  .replay = replayed,
                                  .replay_arg = seen};
    struct wal *wal = NULL;
    struct note note = {0};
    cr_assert_eq(wal_open(&options, &wal, &note), ERR_NONE, "%s", note.text);
    return wal;
}

static enum err append(struct wal *wal, uint64_t thread, uint64_t number)
{
    struct buf b = {0};
    buf_be64(&b, thread);
    buf_be64(&b, number);
    enum err e = wal_append_sync(wal, 7, buf_slice(&b), NULL);
    buf_free(&b);
    return e;
}

struct writer {
    struct wal *wal;
    uint64_t thread;
    pthread_t id;
};

static void *write_some(void *arg)
{
    struct writer *w = arg;
    for (uint64_t i = 0; i < PER_THREAD; i++) {
        cr_assert_eq(append(w->wal, w->thread, i), ERR_NONE);
    }
    return NULL;
}

Test(wal, sixty_four_writers_share_syncs_and_keep_their_order, .init = make_dir, .fini = remove_dir)
{
    struct seen seen = {0};
    struct wal *wal = open_log(&seen, 4096); /* small: many changes of segment on the way */
    struct writer writers[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.wal = wal, .thread = i};
        cr_assert_eq(pthread_create(&writers[i].id, NULL, write_some, &writers[i]), 0);
    }
    for (uint64_t i = 0; i < THREADS; i++) {
        (void)pthread_join(writers[i].id, NULL);
    }
    struct wal_stats stats;
    wal_stats(wal, &stats);
    cr_assert_eq(stats.records, THREADS * PER_THREAD);
    cr_assert_lt(stats.syncs, stats.records / 2);
    cr_assert_gt(stats.segments, 10);
    cr_assert_geq(stats.sync_us_p50, 0);
    wal_needed_from(wal, WAL_OWNER_SOLE, stats.durable);
    wal_close(wal);
    seen.is_cut = 1;
    wal = open_log(&seen, 0);
    cr_assert_lt(seen.count, 4096 / 40);
    wal_stats(wal, &stats);
    cr_assert_eq(stats.segments, 1);
    wal_close(wal);
}

Test(wal, what_many_wrote_is_replayed_whole, .init = make_dir, .fini = remove_dir)
{
    struct seen seen = {0};
    struct wal *wal = open_log(&seen, 65536);
    struct writer writers[4];
    for (uint64_t i = 0; i < 4; i++) {
        writers[i] = (struct writer){.wal = wal, .thread = i};
        cr_assert_eq(pthread_create(&writers[i].id, NULL, write_some, &writers[i]), 0);
    }
    for (uint64_t i = 0; i < 4; i++) {
        (void)pthread_join(writers[i].id, NULL);
    }
    wal_close(wal);
    wal = open_log(&seen, 0);
    cr_assert_eq(seen.count, 4 * PER_THREAD);
    wal_close(wal);
}

struct lazy {
    struct wal_request request;
    _Atomic int is_done;
};

static void lazy_done(struct wal_request *request, enum err e)
{
    struct lazy *lazy = request->arg;
    cr_assert_eq(e, ERR_NONE);
    atomic_store(&lazy->is_done, 1);
}

Test(wal, a_lazy_record_is_written_soon_without_company, .init = make_dir, .fini = remove_dir)
{
    struct seen seen = {0};
    struct wal *wal = open_log(&seen, 65536);
    uint8_t body[16] = {0};
    struct lazy lazy = {.request = {.body = {body, 16}, .type = 1, .is_lazy = 1}};
    lazy.request.done = lazy_done;
    lazy.request.arg = &lazy;
    wal_append(wal, &lazy.request);
    for (int ms = 0; ms < 10000 && !atomic_load(&lazy.is_done); ms++) {
        (void)usleep(1000);
    }
    cr_assert(atomic_load(&lazy.is_done));
    wal_close(wal);
}

/* The child says each number through the pipe once it is durable, until it is killed. */
static void child(int pipe_fd, uint64_t from)
{
    struct seen seen = {0};
    struct wal *wal = open_log(&seen, 8192);
    for (uint64_t i = from;; i++) {
        if (append(wal, 0, i) != ERR_NONE || write(pipe_fd, &i, sizeof(i)) != sizeof(i)) {
            _exit(1);
        }
    }
}

Test(wal, a_killed_process_loses_nothing_it_was_told_is_durable, .init = make_dir,
     .fini = remove_dir)
{
    struct rng rng = rng_seeded(5);
    uint64_t next = 0;
    for (int round = 0; round < 15; round++) {
        int fds[2];
        cr_assert_eq(pipe(fds), 0);
        pid_t pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
            (void)close(fds[0]);
            child(fds[1], next);
        }
        (void)close(fds[1]);
        uint64_t last = 0;
        uint64_t got = 0;
        uint64_t wanted = 1 + rng_below(&rng, 100);
        while (got < wanted && read(fds[0], &last, sizeof(last)) == sizeof(last)) {
            got++;
        }
        (void)kill(pid, SIGKILL);
        while (read(fds[0], &last, sizeof(last)) == sizeof(last)) {
            got++;
        }
        (void)close(fds[0]);
        (void)waitpid(pid, NULL, 0);
        cr_assert_geq(got, wanted);
        struct seen seen = {0};
        wal_close(open_log(&seen, 0));
        cr_assert_gt(seen.next[0], last, "told %llu, found %llu", (unsigned long long)last,
                     (unsigned long long)seen.next[0]);
        cr_assert_leq(seen.next[0], last + 2); /* and at most the one that was on its way */
        next = seen.next[0];
    }
}

Test(wal, the_default_segment_is_16_mib_and_fully_there, .init = make_dir, .fini = remove_dir)
{
    struct seen seen = {0};
    struct wal *wal = open_log(&seen, 0);
    char path[128];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/wal/wal-0000000000000001", dir);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_size, 16 << 20);
    cr_assert_geq(st.st_blocks * 512, 16 << 20);
    cr_assert_eq(st.st_mode & 0777, 0600);
    wal_close(wal);
}

Test(data_dir, a_second_owner_is_refused_and_told_the_pid, .init = make_dir, .fini = remove_dir)
{
    char path[128];
    struct data_dir *first = NULL;
    struct data_dir *second = NULL;
    struct note note = {0};
    char pid[32];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/wal", dir);
    (void)snprintf(pid, sizeof(pid), "process %d", (int)getpid());
    cr_assert_eq(data_dir_open(fs_disk(), path, &first, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0700);
    cr_assert_eq(data_dir_open(fs_disk(), path, &second, &note), ERR_IO);
    cr_assert_not_null(strstr(note.text, pid), "%s", note.text);
    data_dir_close(first);
    cr_assert_eq(data_dir_open(fs_disk(), path, &second, &note), ERR_NONE);
    data_dir_close(second);
}

Test(data_dir, a_missing_parent_or_a_file_in_the_way_is_said, .init = make_dir, .fini = remove_dir)
{
    char path[128];
    struct data_dir *out = NULL;
    struct note note = {0};
    (void)snprintf(path, sizeof(path), "%s/no/data", dir);
    cr_assert_eq(data_dir_open(fs_disk(), path, &out, &note), ERR_IO);
    cr_assert_not_null(strstr(note.text, "No such file"), "%s", note.text);
    (void)snprintf(path, sizeof(path), "%s/file", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    (void)close(fd);
    cr_assert_eq(data_dir_open(fs_disk(), path, &out, &note), ERR_IO);
    cr_assert_not_null(strstr(note.text, "not a folder"), "%s", note.text);
    cr_assert_eq(data_dir_open(fs_disk(), "", &out, &note), ERR_BAD_SETTING);
}

/* ---- what a sync costs, and when there is one ------------------------------------------------ */

static struct wal *open_mode(struct seen *seen, enum wal_sync_mode sync, unsigned interval_ms)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/wal", dir);
    struct wal_options options = {.fs = fs_disk(),
                                  .dir = path,
                                  .segment_bytes = 65536,
                                  .sync = sync,
                                  .interval_ms = interval_ms,
                                  .replay = replayed,
                                  .replay_arg = seen};
    struct wal *wal = NULL;
    struct note note = {0};
    cr_assert_eq(wal_open(&options, &wal, &note), ERR_NONE, "%s", note.text);
    return wal;
}

static struct wal_stats stats_of(struct wal *wal)
{
    struct wal_stats stats;
    wal_stats(wal, &stats);
    return stats;
}

Test(wal, always_syncs_once_per_record, .init = make_dir, .fini = remove_dir)
{
    struct seen seen = {0};
    struct wal *wal = open_mode(&seen, WAL_SYNC_ALWAYS, 0);
    struct lazy lazy[20];
    uint8_t body[16] = {0};
    for (int i = 0; i < 20; i++) {
        lazy[i] = (struct lazy){.request = {.body = {body, 16}, .type = 1, .done = lazy_done}};
        lazy[i].request.arg = &lazy[i];
        wal_append(wal, &lazy[i].request);
    }
    cr_assert_eq(wal_sync(wal, NULL), ERR_NONE);
    cr_assert_eq(stats_of(wal).syncs, 20);
    wal_close(wal);
}

Test(wal, none_syncs_only_when_it_is_asked_to, .init = make_dir, .fini = remove_dir)
{
    struct seen seen = {0};
    struct wal *wal = open_mode(&seen, WAL_SYNC_NONE, 0);
    uint64_t durable = stats_of(wal).durable;
    for (uint64_t i = 0; i < 20; i++) {
        cr_assert_eq(append(wal, 1, i), ERR_NONE);
    }
    cr_assert_eq(stats_of(wal).syncs, 0);
    cr_assert_eq(stats_of(wal).durable, durable);
    cr_assert_eq(wal_sync(wal, NULL), ERR_NONE);
    cr_assert_eq(stats_of(wal).syncs, 1);
    cr_assert_gt(stats_of(wal).durable, durable);
    cr_assert_eq(wal_sync(wal, NULL), ERR_NONE); /* nothing new: nothing to sync */
    cr_assert_eq(stats_of(wal).syncs, 1);
    wal_close(wal);
    wal = open_mode(&seen, WAL_SYNC_NONE, 0);
    cr_assert_eq(seen.count, 20);
    wal_close(wal);
}

Test(wal, interval_syncs_by_itself, .init = make_dir, .fini = remove_dir)
{
    struct seen seen = {0};
    struct wal *wal = open_mode(&seen, WAL_SYNC_INTERVAL, 20);
    for (int round = 0; round < 3; round++) {
        uint64_t durable = stats_of(wal).durable;
        for (uint64_t i = 0; i < 10; i++) {
            cr_assert_eq(append(wal, 1, (uint64_t)round * 10 + i), ERR_NONE);
        }
        uint64_t written = stats_of(wal).bytes;
        cr_assert_gt(written, 0);
        for (int ms = 0; ms < 10000 && stats_of(wal).durable < durable + 10 * 40; ms++) {
            (void)usleep(1000);
        }
        cr_assert_eq(stats_of(wal).durable, durable + 10 * 40);
    }
    wal_close(wal);
}

struct mixed {
    struct wal *wal;
    _Atomic int done;
};

static void mixed_done(struct wal_request *request, enum err e)
{
    struct mixed *mixed = request->arg;
    cr_assert_eq(e, ERR_NONE);
    atomic_fetch_add(&mixed->done, 1);
    mem_free(request);
}

static void *append_some(void *arg)
{
    static const uint8_t body[16];
    struct mixed *mixed = arg;
    for (int i = 0; i < 200; i++) {
        struct wal_request *request = mem_zero(sizeof(*request));
        *request = (struct wal_request){
            .body = {body, 16}, .done = mixed_done, .arg = mixed, .type = 1, .is_lazy = i % 3 == 0};
        wal_append(mixed->wal, request);
    }
    return NULL;
}

/* Some wait for their own record, an event loop does not: all are served, none by the wrong one. */
Test(wal, waiting_callers_and_event_loops_share_a_log, .init = make_dir, .fini = remove_dir)
{
    struct seen seen = {.is_cut = 1};
    struct mixed mixed = {.wal = open_mode(&seen, WAL_SYNC_GROUP, 0)};
    struct writer writers[8];
    pthread_t loops[2];
    for (uint64_t i = 0; i < 8; i++) {
        writers[i] = (struct writer){.wal = mixed.wal, .thread = i};
        cr_assert_eq(pthread_create(&writers[i].id, NULL, write_some, &writers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&loops[i], NULL, append_some, &mixed), 0);
    }
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(loops[i], NULL);
    }
    for (int i = 0; i < 8; i++) {
        (void)pthread_join(writers[i].id, NULL);
    }
    wal_close(mixed.wal);
    cr_assert_eq(atomic_load(&mixed.done), 400);
}

/* Nobody but the disk thread gives segments back: it gets its turn although there is always
 * somebody who could lead. */
Test(wal, the_disk_thread_gets_its_turn_among_waiting_callers, .init = make_dir, .fini = remove_dir)
{
    struct seen seen = {.is_cut = 1};
    struct wal *wal = open_log(&seen, 4096);
    struct writer writers[8];
    for (uint64_t i = 0; i < 8; i++) {
        writers[i] = (struct writer){.wal = wal, .thread = i};
        cr_assert_eq(pthread_create(&writers[i].id, NULL, write_some, &writers[i]), 0);
    }
    for (int i = 0; i < 50; i++) {
        wal_needed_from(wal, WAL_OWNER_SOLE, stats_of(wal).durable);
        (void)usleep(500);
    }
    for (int i = 0; i < 8; i++) {
        (void)pthread_join(writers[i].id, NULL);
    }
    wal_needed_from(wal, WAL_OWNER_SOLE, stats_of(wal).durable);
    for (int ms = 0; ms < 10000 && stats_of(wal).segments > 1; ms++) {
        (void)usleep(1000);
    }
    cr_assert_eq(stats_of(wal).segments, 1);
    wal_close(wal);
}
