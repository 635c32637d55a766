#ifndef BASE_ERR_H
#define BASE_ERR_H

/*
 * Failure codes and the note that explains one failure to a person.
 *
 * Fallible functions return `enum err` and are MUST_CHECK. ERR_NONE is 0, so `if (e)` reads as
 * "on failure". A function with more to tell takes a `struct note *` last and may be given NULL.
 */

#include <stddef.h>

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum err {
#define ERR(name, sqlstate, blame, retry, text) ERR_##name,
#include "base/err.def"
    ERR_COUNT
};

enum err_blame {
    BLAME_PROXY,
    BLAME_CLIENT,
    BLAME_SHARD
};

/*
 * Text for a person, 0-terminated, cut to fit; each layer adds its own words in front. `hint` says
 * what to do instead and goes into field 'H' of an ErrorResponse; "" when there is none.
 * note_set() empties the hint, note_hint() sets it afterwards.
 */
struct note {
    char text[512];
    char hint[256];
};

const char *err_name(enum err e);     /* "SHARD_DOWN"; static storage */
const char *err_text(enum err e);     /* one plain sentence; static storage */
const char *err_sqlstate(enum err e); /* five characters, see PostgreSQL appendix A */
enum err_blame err_blame(enum err e);
int err_retry(enum err e); /* 1 when the same request may succeed later */

/* Replace the text and return `e`, so that a failure is one line: return note_set(n, ERR_IO, ...)
 */
enum err note_set(struct note *note, enum err e, const char *fmt, ...) PRINTF_LIKE(3, 4);
void note_hint(struct note *note, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Put "words: " in front of what the layer below said. */
enum err note_wrap(struct note *note, enum err e, const char *words);

#endif
