/*
 * The shape of a statement as people read it: every literal is a parameter, so no value of anybody
 * can be in it. The lexer does it for nearly all; what it leaves alone is parsed.
 */

#include <pg_query.h>

#include "base/mem.h"
#include "planner/planner.h"

/* The highest n of $n. */
static unsigned last_parameter(struct slice shape)
{
    unsigned last = 0;
    for (size_t i = 0; i + 1 < shape.n; i++) {
        unsigned n = 0;
        for (size_t d = i + 1; shape.p[i] == '$' && d < shape.n && d < i + 6 && shape.p[d] >= '0' &&
                               shape.p[d] <= '9';
             d++) {
            n = n * 10 + (shape.p[d] - '0');
        }
        last = n > last ? n : last;
    }
    return last;
}

static void put_marks(struct slice shape, struct buf *out)
{
    unsigned n = last_parameter(shape);
    for (size_t i = 0; i < shape.n; i++) {
        if (shape.p[i] < 8) {
            buf_printf(out, "$%u", ++n);
        } else {
            buf_u8(out, shape.p[i]);
        }
    }
}

static int put_parsed(struct slice text, struct buf *out)
{
    char *copy = mem_alloc(text.n + 1);
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    PgQueryNormalizeResult result = pg_query_normalize(copy);
    int ok = result.error == NULL && strlen(copy) == text.n;
    if (ok) {
        buf_text(out, result.normalized_query);
    }
    pg_query_free_normalize_result(result);
    mem_free(copy);
    return ok;
}

int plan_shape_text(struct lex *lex, struct slice text, int standard_strings_off, struct buf *out)
{
    if (standard_strings_off && memchr(text.p, '\'', text.n) != NULL) {
        return 0; /* a backslash may quote a quote: nobody here knows where strings end */
    }
    lex_shape(lex, text);
    if (lex->usable) {
        put_marks(buf_slice(&lex->shape), out);
        return 1;
    }
    return put_parsed(text, out);
}
