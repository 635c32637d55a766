#ifndef PROXY_ADMIN_PARSE_H
#define PROXY_ADMIN_PARSE_H

/* Words of console statements. Pure. */

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    ADMIN_WORDS_MAX = 16
};

struct admin_statement {
    const char *words[ADMIN_WORDS_MAX]; /* quotes undone; as written */
    size_t count;
};

/*
 * Take the next statement off the front of *sql; empty ones are skipped.
 *   found   0: there is none left
 * Words are separated by white space and comments; '=' and ',' are words. 'it''s' and "a ""b""" are
 * words with their quotes undone. Texts are in `arena`.
 * Errors: ERR_SYNTAX (a quote or comment without an end), ERR_TOO_BIG (too many words).
 */
enum err admin_next(struct slice *sql, struct arena *arena, struct admin_statement *out, int *found,
                    struct note *note) MUST_CHECK;

/* Whether the statement begins with `command` ("SHOW POOLS"), in any case. Returns how many words
 * that are, or 0. */
size_t admin_begins(const struct admin_statement *s, const char *command);

#endif
