/*
 * A record as PgBouncer's log would say it, so that what reads PgBouncer's log reads ours:
 *
 *     2026-11-20 14:00:00.123 UTC [4711] LOG C-0x55d: app/bob@127.0.0.1:39976 closing because: ...
 *
 * The words are rows of log_pgbouncer.def; there is no code per event. Times are in the zone of the
 * machine, as PgBouncer's are. One event may be several lines.
 */

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/log.h"

enum words_level {
    WORDS_NONE,
    WORDS_DEBUG,
    WORDS_LOG,
    WORDS_WARNING,
    WORDS_ERROR
};

static const char *const level_words[] = {"", "DEBUG", "LOG", "WARNING", "ERROR"};

static const struct {
    enum words_level level;
    const char *pattern;
} words[LOG_COUNT] = {
#define WORDS(event, level_, pattern_) [LOG_##event] = {WORDS_##level_, pattern_},
#include "base/log_pgbouncer.def"
};

static const struct {
    const char *ours;
    const char *theirs;
} reasons[] = {
#define REASON(ours_, theirs_) {ours_, theirs_},
#include "base/log_pgbouncer.def"
};

enum {
    TAIL_BYTES = 2
};

static void put(struct log_line *out, const char *text, size_t n)
{
    size_t left = sizeof(out->p) - TAIL_BYTES - out->n;
    n = n < left ? n : left;
    memcpy(out->p + out->n, text, n);
    out->n += n;
}

static void put_text(struct log_line *out, const char *text)
{
    put(out, text, strlen(text));
}

static void put_head(struct log_line *out, const struct log_record *r, const char *level)
{
    char text[96];
    char zone[16];
    time_t seconds = (time_t)(r->wall_us / 1000000);
    struct tm tm;
    (void)localtime_r(&seconds, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    zone[strftime(zone, sizeof(zone) - 1, "%Z", &tm)] = '\0';
    n += (size_t)snprintf(text + n, sizeof(text) - n, ".%03d %s [%d] %s ",
                          (int)(r->wall_us % 1000000 / 1000), zone, r->pid, level);
    put(out, text, n);
}

/* A value in the words of PgBouncer; line ends and other control characters become blanks. */
static void put_value(struct log_line *out, struct slice v)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        size_t n = strlen(reasons[i].ours);
        if (v.n >= n && memcmp(v.p, reasons[i].ours, n) == 0) {
            put_text(out, reasons[i].theirs);
            v = slice_from(v, n);
            break;
        }
    }
    for (size_t i = 0; i < v.n; i++) {
        put(out, v.p[i] < ' ' || v.p[i] == 0x7F ? " " : (const char *)v.p + i, 1);
    }
}

static void put_hex(struct log_line *out, struct slice v)
{
    char text[32];
    uint64_t number = 0;
    for (size_t i = 0; i < v.n && isdigit(v.p[i]); i++) {
        number = number * 10 + (uint64_t)(v.p[i] - '0');
    }
    (void)snprintf(text, sizeof(text), "0x%012llx", (unsigned long long)number);
    put_text(out, text);
}

/* One {...} of a pattern; `p` stands behind the brace. Returns behind the closing one. */
static const char *put_field(struct log_line *out, const struct log_record *r, const char *p)
{
    char key[32];
    size_t n = strcspn(p, "}|#");
    const char *end = strchr(p, '}');
    check(n < sizeof(key) && end != NULL);
    memcpy(key, p, n);
    key[n] = '\0';
    struct slice v = log_field(r, key);
    if (p[n] == '#') {
        put_hex(out, v);
    } else if (v.n == 0 && p[n] == '|') {
        put(out, p + n + 1, (size_t)(end - (p + n + 1)));
    } else {
        put_value(out, v);
    }
    return end + 1;
}

/* A line of a pattern, up to '\n' or the end. */
static void put_line(struct log_line *out, const struct log_record *r, enum words_level level,
                     const char *p)
{
    if (p[0] == '{' && p[1] == '?') {
        char key[32];
        const char *end = strchr(p, '}');
        check(end != NULL && (size_t)(end - p) < sizeof(key));
        (void)snprintf(key, sizeof(key), "%.*s", (int)(end - (p + 2)), p + 2);
        if (log_field(r, key).n == 0) {
            return;
        }
        p = end + 1;
    }
    put_head(out, r, level_words[level]);
    while (*p != '\0' && *p != '\n') {
        if (*p == '{') {
            p = put_field(out, r, p + 1);
        } else {
            put(out, p++, 1);
        }
    }
    out->p[out->n++] = '\n'; /* put() keeps room for it */
}

/* An event that PgBouncer has no words for. */
static void put_pairs(struct log_line *out, const struct log_record *r)
{
    static const char *const levels[] = {"DEBUG", "LOG", "WARNING", "ERROR"};
    put_head(out, r, levels[log_level_of(r->id)]);
    put_text(out, log_name(r->id));
    put(out, ":", 1);
    for (size_t i = 0; i < r->fields_count; i++) {
        put(out, " ", 1);
        put(out, (const char *)r->fields[i].key.p, r->fields[i].key.n);
        put(out, "=", 1);
        put_value(out, r->fields[i].value);
    }
    out->p[out->n++] = '\n';
}

void log_render_pgbouncer(const struct log_record *r, struct log_line *out)
{
    const char *p = words[r->id].pattern;
    if (p == NULL) {
        put_pairs(out, r);
        return;
    }
    while (p != NULL && out->n + TAIL_BYTES < sizeof(out->p)) {
        put_line(out, r, words[r->id].level, p);
        p = strchr(p, '\n');
        p = p == NULL ? NULL : p + 1;
    }
    if (out->n == 0) { /* every line was left out */
        put_pairs(out, r);
    }
}
