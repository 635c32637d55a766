/*
 * Where a statement calls currval() and lastval(), so that the proxy can put in their places what
 * it has remembered for the session:
 *
 *     SELECT currval('s') AS id        at 7, 12 bytes; its argument at 15, 3 bytes
 *
 * Only where a sub-select may stand as well, and only when every call is found: else the server is
 * asked, which knows what was drawn in the same transaction.
 */

#include <ctype.h>
#include <string.h>

#include "planner/build.h"

enum {
    ASKS_MAX = 32
};

struct asks {
    struct build *build;
    struct slice text; /* of the statement, in that of all statements */
    size_t from;       /* where it begins there */
    struct plan_ask items[ASKS_MAX];
    size_t count;
    unsigned lost : 1;
};

/* The end of a string or a quoted name that begins at `at`; 0: it has none that is plain. */
static size_t quoted_end(struct slice text, size_t at)
{
    uint8_t quote = text.p[at];
    for (size_t i = at + 1; i < text.n; i++) {
        if (text.p[i] == '\\') {
            return 0;
        }
        if (text.p[i] == quote) {
            if (i + 1 < text.n && text.p[i + 1] == quote) {
                i++;
            } else {
                return i;
            }
        }
    }
    return 0;
}

/* The ')' of the '(' at `open`; 0: the text in between is not simple enough. */
static size_t closing(struct slice text, size_t open)
{
    int depth = 0;
    for (size_t i = open; i < text.n; i++) {
        uint8_t c = text.p[i];
        uint8_t next = i + 1 < text.n ? text.p[i + 1] : 0;
        if (c == '\'' || c == '"') {
            i = quoted_end(text, i);
            if (i == 0) {
                return 0;
            }
        } else if ((c == '$' && !isdigit(next)) || (c == '-' && next == '-') ||
                   (c == '/' && next == '*')) {
            return 0;
        }
        depth += c == '(';
        depth -= c == ')';
        if (depth == 0) {
            return i;
        }
    }
    return 0;
}

/* The '(' behind a name. */
static size_t opening(struct slice text, size_t at)
{
    while (at < text.n &&
           (isalnum(text.p[at]) || text.p[at] == '_' || text.p[at] == '.' || text.p[at] == ' ')) {
        at++;
    }
    return at < text.n && text.p[at] == '(' ? at : 0;
}

static int is_plain_call(const struct build *b, const PgQuery__FuncCall *f, const char *name,
                         const char *schema)
{
    return (schema == NULL || strcmp(schema, "pg_catalog") == 0) &&
           catalog_function(b->env->catalog, name) == NULL && f->agg_order == NULL &&
           f->agg_filter == NULL && f->over == NULL && !f->agg_within_group && !f->agg_star &&
           !f->agg_distinct && !f->func_variadic;
}

static void add(struct asks *a, const PgQuery__FuncCall *f, int lastval)
{
    size_t at = (size_t)f->location - a->from;
    size_t open = f->location < 0 || at >= a->text.n ? 0 : opening(a->text, at);
    size_t close = open == 0 ? 0 : closing(a->text, open);
    if (close == 0 || a->count == ASKS_MAX || f->n_args != (size_t)!lastval ||
        (!lastval && IS(f->args[0], NAMED_ARG_EXPR))) {
        a->lost = 1;
        return;
    }
    struct plan_ask *ask = &a->items[a->count++];
    *ask = (struct plan_ask){.at = (uint32_t)at, .bytes = (uint32_t)(close + 1 - at)};
    if (!lastval) {
        ask->argument_at = (uint32_t)open + 1;
        ask->argument_bytes = (uint32_t)(close - open - 1);
    }
}

static int see(const ProtobufCMessage *m, void *arg)
{
    struct asks *a = arg;
    if (MESSAGE_IS(m, range_function)) { /* a function, and nothing else, may stand there */
        struct survey v;
        survey_message(a->build, m, &v);
        a->lost |= v.asks_sequence;
    } else if (MESSAGE_IS(m, func_call)) {
        const PgQuery__FuncCall *f = (const PgQuery__FuncCall *)m;
        const char *schema;
        const char *name = tree_name(f->funcname, f->n_funcname, &schema);
        int lastval = strcmp(name, "lastval") == 0;
        if (lastval || strcmp(name, "currval") == 0) {
            a->lost |= !is_plain_call(a->build, f, name, schema);
            if (!a->lost) {
                add(a, f, lastval);
            }
        }
    }
    return !a->lost;
}

static void sort(struct plan_ask *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct plan_ask one = items[i];
        size_t k = i;
        for (; k > 0 && items[k - 1].at > one.at; k--) {
            items[k] = items[k - 1];
        }
        items[k] = one;
    }
}

/* currval(currval('a')) */
static int overlap(const struct plan_ask *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (items[i].at < items[i - 1].at + items[i - 1].bytes) {
            return 1;
        }
    }
    return 0;
}

void asks_of_statement(struct build *b, const tnode *stmt, struct plan *p)
{
    struct asks a = {.build = b, .text = p->text, .from = b->text_at};
    if (!b->survey.asks_sequence || b->text_at == SIZE_MAX || b->env->catalog == NULL ||
        b->env->standard_strings_off ||
        !(IS(stmt, SELECT_STMT) || IS(stmt, INSERT_STMT) || IS(stmt, UPDATE_STMT) ||
          IS(stmt, DELETE_STMT))) {
        return;
    }
    tree_walk_node(stmt, see, &a);
    sort(a.items, a.count);
    if (a.lost || a.count == 0 || overlap(a.items, a.count)) {
        return;
    }
    struct plan_ask *kept = arena_alloc(b->out, a.count * sizeof(*kept));
    memcpy(kept, a.items, a.count * sizeof(*kept));
    p->asks = kept;
    p->asks_count = a.count;
}
