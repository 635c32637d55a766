/*
 * PREPARE and EXECUTE of SQL. In a database of one shard, and of several for statements over what
 * the home shard has (catalogs, local and reference tables; pg_dump asks so), the statement gets a
 * name of the proxy's on servers, so the plan says where in the text the client's name stands and
 * what follows it. Other statements are kept as text and written out for each EXECUTE (execute.c).
 *
 *     PREPARE q (int) AS SELECT $1          EXPLAIN EXECUTE q(1)
 *             ^-^------suffix-----          name_at: ^
 *                        ^--query--
 */

#include "planner/prepare.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "planner/build.h"

enum token_kind {
    TOKEN_END,
    TOKEN_WORD, /* identifier or keyword, quoted or not */
    TOKEN_OTHER
};

struct scan {
    struct slice text;
    size_t at; /* behind the token */
    size_t begin;
    int depth; /* open parentheses */
};

static int is_word(uint8_t c)
{
    return isalnum(c) || c == '_' || c == '$' || c >= 128;
}

static size_t skip_comment(const struct slice *t, size_t i)
{
    int depth = 0;
    do {
        if (i + 1 < t->n && t->p[i] == '/' && t->p[i + 1] == '*') {
            depth++;
            i += 2;
        } else if (i + 1 < t->n && t->p[i] == '*' && t->p[i + 1] == '/') {
            depth--;
            i += 2;
        } else {
            i++;
        }
    } while (depth > 0 && i < t->n);
    return i < t->n ? i : t->n;
}

static size_t skip_space(const struct slice *t, size_t i)
{
    while (i < t->n) {
        if (isspace(t->p[i])) {
            i++;
        } else if (i + 1 < t->n && t->p[i] == '-' && t->p[i + 1] == '-') {
            while (i < t->n && t->p[i] != '\n') {
                i++;
            }
        } else if (i + 1 < t->n && t->p[i] == '/' && t->p[i + 1] == '*') {
            i = skip_comment(t, i);
        } else {
            break;
        }
    }
    return i;
}

static size_t skip_quoted(const struct slice *t, size_t i)
{
    uint8_t quote = t->p[i++];
    while (i < t->n && (t->p[i] != quote || (i + 1 < t->n && t->p[i + 1] == quote))) {
        i += t->p[i] == quote ? 2 : 1;
    }
    return i < t->n ? i + 1 : t->n;
}

static enum token_kind next(struct scan *s)
{
    const struct slice *t = &s->text;
    size_t i = skip_space(t, s->at);
    s->begin = i;
    if (i >= t->n) {
        s->at = i;
        return TOKEN_END;
    }
    uint8_t c = t->p[i];
    if (c == '"' || c == '\'') {
        s->at = skip_quoted(t, i);
        return c == '"' ? TOKEN_WORD : TOKEN_OTHER;
    }
    if (is_word(c) && c != '$' && !isdigit(c)) {
        while (i < t->n && is_word(t->p[i])) {
            i++;
        }
        s->at = i;
        return TOKEN_WORD;
    }
    s->depth += (c == '(') - (c == ')');
    s->at = i + 1;
    return TOKEN_OTHER;
}

static int is_keyword(const struct scan *s, const char *word)
{
    size_t n = s->at - s->begin;
    return strlen(word) == n && strncasecmp((const char *)s->text.p + s->begin, word, n) == 0;
}

/* The word outside of parentheses that reads `word`. */
static int find_word(struct scan *s, const char *word)
{
    enum token_kind kind;
    while ((kind = next(s)) != TOKEN_END) {
        if (kind == TOKEN_WORD && s->depth == 0 && is_keyword(s, word)) {
            return 1;
        }
    }
    return 0;
}

static void unreadable(struct plan *p)
{
    refuse(p, "Write PREPARE or EXECUTE, then the plain name.",
           "the name of the prepared statement cannot be found in the text");
}

void plan_prepare(struct build *b, tnode *stmt, struct plan *p)
{
    struct scan s = {.text = p->text};
    if (!find_word(&s, "prepare") || next(&s) != TOKEN_WORD) {
        unreadable(p);
        return;
    }
    size_t suffix = s.at;
    if (!find_word(&s, "as")) {
        unreadable(p);
        return;
    }
    plan_any(b, p);
    p->kind = PLAN_PREPARE;
    p->name = arena_strdup(b->out, stmt->prepare_stmt->name);
    p->prepare_suffix = slice_from(p->text, suffix);
    p->prepare_query = slice_from(p->text, skip_space(&p->text, s.at));
    p->pins = 0; /* what its functions leave, EXECUTE leaves */
    p->unpins = 0;
    p->asks_sequence = 0;
    p->functions_count = 0;
    p->config_names_count = 0;
}

size_t prepare_query_at(struct slice prepare)
{
    struct scan s = {.text = prepare};
    return find_word(&s, "as") ? skip_space(&prepare, s.at) : prepare.n;
}

const PgQuery__ExecuteStmt *prepare_execute_in(const tnode *stmt)
{
    switch ((int)stmt->node_case) {
    case NODE(EXECUTE_STMT): return stmt->execute_stmt;
    case NODE(EXPLAIN_STMT):
        return stmt->explain_stmt->query == NULL ? NULL
                                                 : prepare_execute_in(stmt->explain_stmt->query);
    case NODE(CREATE_TABLE_AS_STMT):
        return stmt->create_table_as_stmt->query == NULL
                   ? NULL
                   : prepare_execute_in(stmt->create_table_as_stmt->query);
    default: return NULL;
    }
}

int plan_execute(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__ExecuteStmt *e = prepare_execute_in(stmt);
    struct scan s = {.text = p->text};
    if (e == NULL) {
        return 0;
    }
    if ((IS(stmt, CREATE_TABLE_AS_STMT) && !find_word(&s, "as")) || !find_word(&s, "execute")) {
        unreadable(p);
        return 1;
    }
    size_t at = s.begin;
    if (next(&s) != TOKEN_WORD) {
        unreadable(p);
        return 1;
    }
    plan_any(b, p);
    p->execute_at = (uint32_t)at;
    p->kind = PLAN_EXECUTE;
    p->name = arena_strdup(b->out, e->name);
    p->execute_name_at = (uint32_t)s.begin;
    p->execute_name_bytes = (uint32_t)(s.at - s.begin);
    return 1;
}

/* ---- several shards ---------------------------------------------------------------------------
 */

int plan_is_for_home(const struct plan *plan)
{
    const struct plan_where *w = plan->_where;
    return plan->kind == PLAN_ONE && w != NULL && w->bindings_count == 0 && (w->fixed & 1) != 0;
}

void plan_prepare_home(struct build *b, tnode *stmt, struct plan *p)
{
    struct plan *inner = plan_new(b, p->text);
    plan_statement(b, stmt->prepare_stmt->query, inner); /* what is refused now EXECUTE may do */
    plan_prepare(b, stmt, p);
    p->touches_sharded = inner->touches_sharded;
}

void plan_execute_home(struct build *b, tnode *stmt, struct plan *p)
{
    (void)plan_execute(b, stmt, p);
}
