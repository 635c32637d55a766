/*
 * What shows the clock. Every shard has its own now(), so such values must not be compared where
 * rows of several shards come together: in columns of sub-selects, views and arms of UNION, and
 * where a word like 'now' stands for a time.
 */

#include <string.h>
#include <strings.h>

#include "planner/build.h"

/* ---- words ----------------------------------------------------------------------------------- */

static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};

static const char *constant_of(const tnode *n)
{
    while (IS(n, TYPE_CAST)) {
        n = n->type_cast->arg;
    }
    return IS(n, A_CONST) && !n->a_const->isnull &&
                   n->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL
               ? n->a_const->sval->sval
               : NULL;
}

/* Arrays and ranges may hold them: '{now}', '[today,)'. */
int clock_word_in_text(const char *text)
{
    for (size_t i = 0; text != NULL && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasestr(text, words[i]) != NULL) {
            return 1;
        }
    }
    return 0;
}

int clock_word_inside(const tnode *n)
{
    return clock_word_in_text(constant_of(n));
}

/* A bare constant, whose type is that of what it stands beside. */
static int is_word(const tnode *n)
{
    const char *text = IS(n, A_CONST) ? constant_of(n) : NULL;
    if (text != NULL) {
        text += strspn(text, " \t\r\n");
    }
    for (size_t i = 0; text != NULL && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strncasecmp(text, words[i], strlen(words[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

struct arms {
    int word, other; /* one that is no bare string: it may make a time of the words */
};

static void see_arm(struct arms *a, const tnode *n)
{
    a->word |= is_word(n);
    a->other |= !(IS(n, A_CONST) && (n->a_const->isnull || constant_of(n) != NULL));
}

static int are_times(struct arms *a, tnode *const *args, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        see_arm(a, args[i]);
    }
    return a->word && a->other;
}

static int case_is_time(const PgQuery__CaseExpr *c)
{
    struct arms a = {0, 0};
    for (size_t i = 0; i < c->n_args; i++) {
        if (IS(c->args[i], CASE_WHEN)) {
            see_arm(&a, c->args[i]->case_when->result);
        }
    }
    return are_times(&a, &c->defresult, c->defresult != NULL);
}

/* Operators that keep or move a time; comparisons only filter. */
static int moves_time(const PgQuery__AExpr *e)
{
    const char *name = e->n_name == 0 ? "" : tree_name(e->name, e->n_name, NULL);
    struct arms a = {0, 0};
    if (strcmp(name, "+") != 0 && strcmp(name, "-") != 0) {
        return 0;
    }
    see_arm(&a, e->lexpr);
    see_arm(&a, e->rexpr);
    return a.word;
}

static int call_reads_word(const PgQuery__FuncCall *f)
{
    for (size_t i = 0; i < f->n_args; i++) {
        if (clock_word_inside(f->args[i])) {
            const char *name = tree_name(f->funcname, f->n_funcname, NULL);
            return is_word(f->args[i]) || strstr(name, "time") != NULL ||
                   strstr(name, "date") != NULL;
        }
    }
    return 0;
}

/* timestamptz('now'), date_trunc('day', 'now'), coalesce(at, 'now') */
int clock_words_in(const ProtobufCMessage *m)
{
    struct arms a = {0, 0};
    if (MESSAGE_IS(m, func_call)) {
        return call_reads_word((const PgQuery__FuncCall *)m);
    }
    if (MESSAGE_IS(m, a__expr)) {
        return moves_time((const PgQuery__AExpr *)m);
    }
    if (MESSAGE_IS(m, case_expr)) {
        return case_is_time((const PgQuery__CaseExpr *)m);
    }
    if (MESSAGE_IS(m, coalesce_expr)) {
        const PgQuery__CoalesceExpr *c = (const PgQuery__CoalesceExpr *)m;
        return are_times(&a, c->args, c->n_args);
    }
    if (MESSAGE_IS(m, min_max_expr)) {
        const PgQuery__MinMaxExpr *c = (const PgQuery__MinMaxExpr *)m;
        return are_times(&a, c->args, c->n_args);
    }
    return 0;
}

/* ---- columns --------------------------------------------------------------------------------- */

static int shows(struct build *b, const struct level *l)
{
    for (size_t i = 0; l->select != NULL && i < l->select->n_target_list; i++) {
        struct survey v;
        const tnode *n = l->select->target_list[i];
        survey_message(b, (const ProtobufCMessage *)n->res_target, &v);
        if (v.clock) {
            return 1;
        }
    }
    return 0;
}

static int is_below(const struct level *l, const struct level *q)
{
    while (l != NULL && l != q) {
        l = l->parent;
    }
    return l == q;
}

int scope_shows_clock(const struct scope *s, const struct level *q)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (is_below(l, q) && shows(s->build, l)) {
            return 1;
        }
    }
    return 0;
}

int scope_view_shows_clock(const struct scope *s, const struct level *q)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->view && is_below(l, q) && scope_shows_clock(s, l)) {
            return 1;
        }
    }
    return 0;
}

int scope_below_shows_clock(const struct scope *s)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l != s->top && shows(s->build, l)) {
            return 1;
        }
    }
    return 0;
}
