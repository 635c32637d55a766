/* Log lines: formatted on the stack, cut to fit, written by one write(2). */

#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

enum {
    LINE_MAX_BYTES = 2048
};

static const struct {
    const char *name;
    enum log_level level;
} rows[] = {
#define LOG(name_, level_, text_) [LOG_##name_] = {#name_, LOG_LEVEL_##level_},
#include "base/log.def"
};

static_assert(sizeof(rows) / sizeof(rows[0]) == LOG_COUNT, "one row per event");

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_words[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
static _Atomic int lowest = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&lowest, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&lowest, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *out)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return 1;
        }
    }
    return 0;
}

const char *log_name(enum log_id id)
{
    check(id < LOG_COUNT);
    return rows[id].name;
}

static size_t add_prefix(char *line, enum log_id id)
{
    int64_t now = clock_wall_us();
    time_t seconds = (time_t)(now / 1000000);
    struct tm tm;
    (void)gmtime_r(&seconds, &tm);
    size_t n = strftime(line, LINE_MAX_BYTES, "%Y-%m-%d %H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, LINE_MAX_BYTES - n, ".%06d UTC [%d] %s %s ",
                          (int)(now % 1000000), (int)getpid(), level_words[rows[id].level],
                          rows[id].name);
    return n;
}

/* A statement or a peer's message may hold line ends: one event stays one line. */
static void flatten(char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < ' ') {
            text[i] = ' ';
        }
    }
}

void log_event(enum log_id id, const char *fmt, ...)
{
    check(id < LOG_COUNT);
    if (rows[id].level < log_level()) {
        return;
    }
    char line[LINE_MAX_BYTES];
    size_t prefix = add_prefix(line, id);
    va_list args;
    va_start(args, fmt);
    int wanted = vsnprintf(line + prefix, sizeof(line) - prefix - 1, fmt, args);
    va_end(args);
    size_t n = wanted < 0 ? 0 : (size_t)wanted;
    n = prefix + n > sizeof(line) - 2 ? sizeof(line) - 2 - prefix : n;
    flatten(line + prefix, n);
    line[prefix + n] = '\n';
    ssize_t written = write(STDERR_FILENO, line, prefix + n + 1);
    (void)written; /* nowhere to tell */
}
