#ifndef BASE_LOG_H
#define BASE_LOG_H

/*
 * Log lines on stderr, one write(2) each: time, level, event, key=value pairs.
 *
 *     2026-11-20 11:42:07.123456 UTC [4711] INFO  CLIENT_LOGIN client=127.0.0.1:40312 user=app
 *
 * Any thread. Never put a password, a key or statement parameters into a line; statement text
 * belongs to DEBUG events only.
 */

#include "base/err.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR
};

enum log_id {
#define LOG(name, level, text) LOG_##name,
#include "base/log.def"
    LOG_COUNT
};

void log_set_level(enum log_level level); /* lowest level written; default INFO */
enum log_level log_level(void);
int log_level_parse(const char *name, enum log_level *out); /* "debug".."error"; 1 when known */
const char *log_name(enum log_id id);
void log_event(enum log_id id, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
