/* An event becomes a record, a line, and goes to the queue. */

#include "base/log.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

static const struct {
    const char *name;
    enum log_level level;
} rows[] = {
#define LOG(name_, level_, text_) [LOG_##name_] = {#name_, LOG_LEVEL_##level_},
#include "base/log.def"
};

static_assert(sizeof(rows) / sizeof(rows[0]) == LOG_COUNT, "one row per event");

static _Atomic int lowest = LOG_LEVEL_INFO;
static _Atomic int format_in_force = LOG_FORMAT_LOGFMT;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&lowest, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&lowest, memory_order_relaxed);
}

void log_set_format(enum log_format format)
{
    check(format < LOG_FORMAT_COUNT);
    atomic_store_explicit(&format_in_force, (int)format, memory_order_relaxed);
}

const char *log_name(enum log_id id)
{
    check(id < LOG_COUNT);
    return rows[id].name;
}

enum log_level log_level_of(enum log_id id)
{
    check(id < LOG_COUNT);
    return rows[id].level;
}

static void make_line(struct log_line *out, enum log_id id, const char *fmt, va_list args)
{
    struct log_record record;
    record.id = id;
    record.wall_us = clock_wall_us();
    record.pid = (int)getpid();
    log_read_fields(&record, fmt, args);
    log_render((enum log_format)atomic_load_explicit(&format_in_force, memory_order_relaxed),
               &record, out);
}

void log_make_line(struct log_line *out, enum log_id id, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    make_line(out, id, fmt, args);
    va_end(args);
}

void log_event(enum log_id id, const char *fmt, ...)
{
    check(id < LOG_COUNT);
    if (rows[id].level < log_level()) {
        return;
    }
    struct log_line line;
    va_list args;
    va_start(args, fmt);
    make_line(&line, id, fmt, args);
    va_end(args);
    log_put_line(line.p, line.n);
}
