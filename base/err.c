/* Tables generated from err.def, and the small text helpers for notes. */

#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"

static const struct {
    const char *name;
    const char *sqlstate;
    const char *text;
    enum err_blame blame;
    int retry;
} rows[] = {
#define ERR(name_, sqlstate_, blame_, retry_, text_) \
    [ERR_##name_] = {#name_, sqlstate_, text_, BLAME_##blame_, retry_},
#include "base/err.def"
};

static_assert(sizeof(rows) / sizeof(rows[0]) == ERR_COUNT, "one row per code");

const char *err_name(enum err e)
{
    check(e < ERR_COUNT);
    return rows[e].name;
}

const char *err_text(enum err e)
{
    check(e < ERR_COUNT);
    return rows[e].text;
}

const char *err_sqlstate(enum err e)
{
    check(e < ERR_COUNT);
    return rows[e].sqlstate;
}

enum err_blame err_blame(enum err e)
{
    check(e < ERR_COUNT);
    return rows[e].blame;
}

int err_retry(enum err e)
{
    check(e < ERR_COUNT);
    return rows[e].retry;
}

enum err note_set(struct note *note, enum err e, const char *fmt, ...)
{
    if (note != NULL) {
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(note->text, sizeof(note->text), fmt, args);
        va_end(args);
        note->hint[0] = '\0';
    }
    return e;
}

void note_hint(struct note *note, const char *fmt, ...)
{
    if (note != NULL) {
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(note->hint, sizeof(note->hint), fmt, args);
        va_end(args);
    }
}

enum err note_wrap(struct note *note, enum err e, const char *words)
{
    if (note != NULL) {
        struct note below = *note;
        (void)snprintf(note->text, sizeof(note->text), "%.100s: %.400s", words, below.text);
    }
    return e;
}
