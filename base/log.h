#ifndef BASE_LOG_H
#define BASE_LOG_H

/*
 * Log lines: one event of log.def each, with key=value pairs.
 *
 *     log_event(LOG_CLIENT_LOGIN, "client=%llu user=%s", id, user)
 *       -> struct log_record: time, event, pairs (log_fields.c)
 *       -> the renderer of the format in force (log_render.c)
 *     2026-11-20 11:42:07.123456 UTC [4711] INFO  CLIENT_LOGIN client=17 user=app
 *       -> a bounded queue -> the writer's thread -> stderr or a file (log_queue.c)
 *
 * The words of `fmt` are the pairs: a key, '=', and a value of text and conversions, in double
 * quotes when its own text holds blanks. Renderers quote what needs it. A pair whose value comes
 * out empty is left out.
 *
 * Any thread. No caller ever waits for a disk: when the queue is full a line is dropped and
 * counted, and LOG_DROPPED tells when there is room again. Before log_start() (tests, braidctl)
 * lines are written at once. Never put a password, a key or statement parameters into a line;
 * statement text belongs to DEBUG events only, the shape of a statement to none below INFO.
 */

#include <stdarg.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR
};

enum log_format {
    LOG_FORMAT_LOGFMT,
    LOG_FORMAT_JSON,
    LOG_FORMAT_PGBOUNCER,
    LOG_FORMAT_COUNT
};

enum log_id {
#define LOG(name, level, text) LOG_##name,
#include "base/log.def"
    LOG_COUNT
};

void log_set_level(enum log_level level); /* lowest level written; default INFO */
enum log_level log_level(void);
void log_set_format(enum log_format format);
const char *log_name(enum log_id id);
enum log_level log_level_of(enum log_id id);
void log_event(enum log_id id, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- the queue -------------------------------------------------------------------------------
 */

/* Lines go to the file from now on, by a thread of their own; NULL: stderr. Once per process.
 * Errors: ERR_IO (the file cannot be opened), nothing has changed then. */
enum err log_start(const char *path, struct note *note) MUST_CHECK;
/* Beside the file: stderr too, as PgBouncer does unless -q; and the system's log, under this name
 * and facility ("daemon", "local0", ...; an unknown one is "daemon"). Before log_start(). */
void log_also_stderr(int on);
void log_also_syslog(const char *ident, const char *facility);
/* Open the file anew (rotation), or another one: done by the writer's thread. When it cannot be
 * opened the old one stays and LOG_FILE_FAILED says why. Control thread only. */
void log_reopen(const char *path);
/* Wait until what was logged so far is written, at most so long. Any thread. */
void log_flush(int wait_ms);
void log_stop(int wait_ms); /* flush; later lines are written at once again */
uint64_t log_dropped(void); /* lines, ever: queue full, disk full, write failed */

/* ---- renderers: for base/log_*.c and tests ---------------------------------------------------
 */

enum {
    LOG_LINE_BYTES_MAX = 4096, /* with its line end */
    LOG_FIELDS_MAX = 32
};

struct log_field {
    struct slice key;
    struct slice value;
    int is_number; /* made by one integer conversion: JSON writes it without quotes */
};

/* One event. Views live as long as the call. */
struct log_record {
    enum log_id id;
    int64_t wall_us;
    int pid;
    struct log_field fields[LOG_FIELDS_MAX];
    size_t fields_count;
    char _text[LOG_LINE_BYTES_MAX]; /* of values that are not just one %s */
    size_t _text_bytes;
};

/* A line being made: what does not fit is cut, the end of the line always fits. */
struct log_line {
    char p[LOG_LINE_BYTES_MAX];
    size_t n;
};

void log_read_fields(struct log_record *record, const char *fmt, va_list list);
/* The value of a pair; empty when there is none. */
struct slice log_field(const struct log_record *record, const char *key);
/* One whole line, with its line end. */
void log_render(enum log_format format, const struct log_record *record, struct log_line *out);
void log_render_logfmt(const struct log_record *record, struct log_line *out);
void log_render_json(const struct log_record *record, struct log_line *out);
void log_render_pgbouncer(const struct log_record *record, struct log_line *out); /* 1 or 2 lines */

/* Between log.c and log_queue.c: queue a whole line; make one in the format in force. */
void log_put_line(const char *line, size_t n);
void log_make_line(struct log_line *out, enum log_id id, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
