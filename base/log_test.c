/*
 * Goal: an event becomes one line that a machine can read back, whatever its values hold, and no
 * disk makes a caller wait. Method: the renderers by hand; the queue over pipes and full devices.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/log.h"

static struct log_record record;
static struct log_line line;

PRINTF_LIKE(2, 3) static const char *rendered(enum log_format format, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    record.id = LOG_CLIENT_LOGIN;
    record.wall_us = INT64_C(1795174927123456);
    record.pid = 4711;
    log_read_fields(&record, fmt, args);
    va_end(args);
    log_render(format, &record, &line);
    line.p[line.n - 1] = '\0'; /* the line end */
    return line.p;
}

Test(log, the_words_of_the_format_are_pairs_and_values_are_quoted_when_they_must)
{
    cr_assert_str_eq(rendered(LOG_FORMAT_LOGFMT, "client=%llu user=%s why=\"%s\" hint=%s took=%d",
                              17ULL, "app", "gone away", "", -3),
                     "2026-11-20 11:42:07.123456 UTC [4711] INFO  CLIENT_LOGIN client=17 user=app "
                     "why=\"gone away\" took=-3");
}

Test(log, a_value_cannot_become_another_pair_or_line)
{
    cr_assert_str_eq(rendered(LOG_FORMAT_LOGFMT, "user=%s x=%d", "a b=\"c\"\\\nd\x01\xff", 1) + 56,
                     " user=\"a b=\\\"c\\\"\\\\\\nd\\u0001\\ufffd\" x=1");
}

Test(log, json_keeps_numbers_and_escapes_texts)
{
    cr_assert_str_eq(
        rendered(LOG_FORMAT_JSON, "n=%zu hex=%llx user=%s part=%.*s gid=%u_%u", (size_t)5, 255ULL,
                 "J\xC3\xBCrgen \"x\"\n\xC3", 2, "abc", 1u, 2u),
        "{\"time\":\"2026-11-20T11:42:07.123456Z\",\"pid\":4711,\"level\":\"info\",\"event\":"
        "\"CLIENT_LOGIN\",\"n\":5,\"hex\":\"ff\",\"user\":\"J\xC3\xBCrgen "
        "\\\"x\\\"\\n\\ufffd\",\"part\":\"ab\",\"gid\":\"1_2\"}");
}

Test(log, overlong_and_surrogate_bytes_are_no_utf8)
{
    cr_assert(strstr(rendered(LOG_FORMAT_JSON, "a=%s", "\xC0\xAF"), "\"\\ufffd\\ufffd\"") != NULL);
    cr_assert(strstr(rendered(LOG_FORMAT_JSON, "a=%s", "\xE0\x80\xAF"),
                     "\"\\ufffd\\ufffd\\ufffd\"") != NULL);
    cr_assert(strstr(rendered(LOG_FORMAT_JSON, "a=%s", "\xED\xA0\x80"), "\\ufffd") != NULL);
    cr_assert(strstr(rendered(LOG_FORMAT_JSON, "a=%s", "\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80") !=
              NULL);
}

Test(log, a_long_line_is_cut_and_still_whole)
{
    static char longer[3 * LOG_LINE_BYTES_MAX];
    memset(longer, '"', sizeof(longer) - 1);
    const char *text = rendered(LOG_FORMAT_JSON, "a=%s b=%d", longer, 1);
    size_t n = strlen(text);
    cr_assert_lt(n, LOG_LINE_BYTES_MAX);
    cr_assert_str_eq(text + n - 15, "\\\"\",\"cut\":true}");
    text = rendered(LOG_FORMAT_LOGFMT, "a=%s b=%d", longer, 1);
    cr_assert_str_eq(text + strlen(text) - 12, "\\\"\" cut=true");
}

Test(log, words_without_a_key_are_a_note_and_a_percent_sign_stays)
{
    cr_assert_str_eq(rendered(LOG_FORMAT_LOGFMT, "cpu=%d%% done", 5) + 56, " cpu=5% note=done");
}

Test(log, a_field_is_found_by_its_key)
{
    (void)rendered(LOG_FORMAT_JSON, "user=%s why=%s", "app", "because");
    cr_assert(slice_is(log_field(&record, "why"), "because"));
    cr_assert_eq(log_field(&record, "wh").n, 0);
}

/* ---- the queue ------------------------------------------------------------------------------- */

/* Our stderr becomes the writing end of a pipe that nobody reads. */
static int stuck_pipe(void)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_geq(dup2(ends[1], STDERR_FILENO), 0);
    (void)close(ends[1]);
    return ends[0];
}

static size_t read_lines(int fd, size_t *drops)
{
    static char text[1 << 20];
    size_t n = 0;
    ssize_t got = 0;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int quiet = 0; quiet < 50 && n < sizeof(text);) {
        got = read(fd, text + n, sizeof(text) - n);
        quiet = got > 0 ? 0 : quiet + 1;
        n += got > 0 ? (size_t)got : 0;
        if (got <= 0) {
            struct timespec pause = {.tv_nsec = 10000000};
            (void)nanosleep(&pause, NULL);
        }
    }
    size_t lines = 0;
    for (size_t i = 0; i < n; i++) {
        lines += text[i] == '\n';
    }
    text[n < sizeof(text) ? n : n - 1] = '\0';
    const char *told = strstr(text, "LOG_DROPPED lines=");
    *drops = 0;
    while (told != NULL) {
        size_t more = 0;
        cr_assert_eq(sscanf(told, "LOG_DROPPED lines=%zu", &more), 1);
        *drops += more;
        lines--;
        told = strstr(told + 1, "LOG_DROPPED lines=");
    }
    return lines;
}

Test(log, a_reader_that_stands_still_stops_no_caller_and_every_line_is_counted)
{
    enum {
        LINES = 10000
    };
    int fd = stuck_pipe();
    struct note note;
    cr_assert_eq(log_start(NULL, &note), ERR_NONE);
    int64_t began_us = clock_now_us();
    for (int i = 0; i < LINES; i++) {
        log_event(LOG_START, "line=%d padding=%s", i, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    }
    cr_assert_lt(clock_now_us() - began_us, 5000000);
    cr_assert_gt(log_dropped(), 0);
    size_t told = 0;
    size_t lines = read_lines(fd, &told);
    log_event(LOG_STOP, "the=end"); /* if drops came after the last batch, they are told now */
    size_t told_late = 0;
    lines += read_lines(fd, &told_late) - 1;
    cr_assert_eq(lines + log_dropped(), LINES, "%zu written, %llu dropped", lines,
                 (unsigned long long)log_dropped());
    cr_assert_eq(told + told_late, log_dropped());
    log_stop(1000);
}

Test(log, a_full_disk_costs_lines_and_nothing_else)
{
    struct note note;
    char path[] = "/tmp/pgbraid_log_XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(log_start("/dev/full", &note), ERR_NONE);
    log_event(LOG_START, "a=%d", 1);
    log_event(LOG_START, "a=%d", 2);
    log_flush(2000);
    log_reopen(path);
    for (int i = 0; i < 1000 && log_dropped() < 2; i++) {
        struct timespec pause = {.tv_nsec = 10000000};
        (void)nanosleep(&pause, NULL);
    }
    cr_assert_eq(log_dropped(), 2);
    log_event(LOG_START, "a=%d", 3);
    log_stop(2000);
    char text[1000] = "";
    cr_assert_gt(pread(fd, text, sizeof(text) - 1, 0), 0);
    cr_assert(strstr(text, "a=3\n") != NULL && strstr(text, "a=1") == NULL, "%s", text);
    cr_assert(strstr(text, "LOG_DROPPED lines=2\n") != NULL, "%s", text);
    (void)close(fd);
    (void)unlink(path);
}

Test(log, a_line_cut_by_a_full_disk_is_ended_before_the_next_one)
{
    struct note note;
    struct rlimit limit;
    char path[] = "/tmp/pgbraid_log_XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    cr_assert_eq(log_start(path, &note), ERR_NONE);
    limit.rlim_cur = 100;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_event(LOG_START, "a=%d b=%s", 1,
              "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    for (int i = 0; i < 1000 && log_dropped() < 1; i++) {
        struct timespec pause = {.tv_nsec = 10000000};
        (void)nanosleep(&pause, NULL);
    }
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_event(LOG_START, "a=%d", 2);
    log_stop(2000);
    char text[1000] = "";
    cr_assert_gt(pread(fd, text, sizeof(text) - 1, 0), 100);
    cr_assert_eq(text[99], 'x', "%s", text);
    cr_assert_eq(text[100], '\n', "%s", text);
    cr_assert(strstr(text + 100, "a=2\n") != NULL, "%s", text);
    cr_assert(strstr(text + 100, "LOG_DROPPED lines=1\n") != NULL, "%s", text);
    (void)close(fd);
    (void)unlink(path);
}

Test(log, a_file_that_was_moved_away_is_made_anew)
{
    struct note note;
    char path[64];
    char old[80];
    (void)snprintf(path, sizeof(path), "/tmp/pgbraid_log_%d", (int)getpid());
    (void)snprintf(old, sizeof(old), "%s.1", path);
    cr_assert_eq(log_start(path, &note), ERR_NONE);
    log_event(LOG_START, "a=%d", 1);
    log_flush(2000);
    cr_assert_eq(rename(path, old), 0);
    log_reopen(path);
    log_event(LOG_START, "a=%d", 2);
    log_stop(2000);
    char text[1000] = "";
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0);
    cr_assert_gt(read(fd, text, sizeof(text) - 1), 0);
    cr_assert(strstr(text, "a=2\n") != NULL && strstr(text, "a=1") == NULL, "%s", text);
    (void)close(fd);
    (void)unlink(path);
    (void)unlink(old);
}

Test(log, a_file_that_cannot_be_opened_is_refused_with_what_to_do)
{
    struct note note;
    cr_assert_eq(log_start("/nonexistent/x.log", &note), ERR_IO);
    cr_assert_str_eq(note.text,
                     "log.file: cannot open /nonexistent/x.log: No such file or directory");
    cr_assert_neq(note.hint[0], '\0');
}
