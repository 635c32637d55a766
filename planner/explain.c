/*
 * EXPLAIN: the statement inside is planned as if it came alone; what PostgreSQL says of it follows
 * our own lines, which this file prints.
 */

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "planner/build.h"
#include "wire/numeric.h"

/* ---- EXPLAIN as a statement -------------------------------------------------------------------
 */

static size_t skip_space(struct slice s, size_t at)
{
    while (at < s.n) {
        if (isspace(s.p[at])) {
            at++;
        } else if (at + 1 < s.n && s.p[at] == '-' && s.p[at + 1] == '-') {
            const uint8_t *end = memchr(s.p + at, '\n', s.n - at);
            at = end == NULL ? s.n : (size_t)(end - s.p);
        } else if (at + 1 < s.n && s.p[at] == '/' && s.p[at + 1] == '*') {
            const uint8_t *end = memmem(s.p + at + 2, s.n - at - 2, "*/", 2);
            at = end == NULL ? s.n : (size_t)(end - s.p) + 2;
        } else {
            break;
        }
    }
    return at;
}

static size_t word_at(struct slice s, size_t at, const char *word)
{
    size_t n = strlen(word);
    if (at + n > s.n || strncasecmp((const char *)s.p + at, word, n) != 0 ||
        (at + n < s.n && (isalnum(s.p[at + n]) || s.p[at + n] == '_'))) {
        return 0;
    }
    return n;
}

/* "EXPLAIN (ANALYZE) SELECT 1" -> where SELECT begins; the options in brackets. */
static size_t inner_begin(struct build *b, struct slice text, struct plan *p)
{
    size_t at = skip_space(text, 0);
    at = skip_space(text, at + word_at(text, at, "explain"));
    p->explain_options = "";
    size_t after = skip_space(text, at + 1);
    if (at < text.n && text.p[at] == '(' && word_at(text, after, "select") == 0 &&
        word_at(text, after, "with") == 0 && word_at(text, after, "values") == 0 &&
        word_at(text, after, "table") == 0 && text.p[after] != '(') {
        const uint8_t *end = memchr(text.p + at, ')', text.n - at);
        size_t n = end == NULL ? text.n - at : (size_t)(end - text.p) + 1 - at;
        p->explain_options = arena_strndup(b->out, text.p + at, n);
        return skip_space(text, at + n);
    }
    int analyze = 0, verbose = 0;
    size_t n = word_at(text, at, "analyze");
    n = n > 0 ? n : word_at(text, at, "analyse");
    if (n > 0) {
        analyze = 1;
        at = skip_space(text, at + n);
    }
    n = word_at(text, at, "verbose");
    if (n > 0) {
        verbose = 1;
        at = skip_space(text, at + n);
    }
    p->explain_options = analyze && verbose ? "(ANALYZE, VERBOSE)"
                         : analyze          ? "(ANALYZE)"
                         : verbose          ? "(VERBOSE)"
                                            : "";
    return at;
}

/* The options that are fine without running the statement. */
static const char *plain_options(struct build *b, const PgQuery__ExplainStmt *e)
{
    static const char *const running[] = {"analyze", "timing", "wal", "buffers", "serialize"};
    struct buf out = {0};
    for (size_t i = 0; i < e->n_options; i++) {
        const PgQuery__DefElem *d = e->options[i]->def_elem;
        const char *value = tree_option_text(d, b->out);
        int runs = 0;
        for (size_t k = 0; k < sizeof(running) / sizeof(running[0]); k++) {
            runs |= strcasecmp(running[k], d->defname) == 0;
        }
        if (!runs) {
            buf_printf(&out, "%s%s%s%s", out.n == 0 ? "(" : ", ", d->defname,
                       value == NULL ? "" : " ", value == NULL ? "" : value);
        }
    }
    if (out.n > 0) {
        buf_u8(&out, ')');
    }
    const char *text = arena_strndup(b->out, out.n == 0 ? (const uint8_t *)"" : out.p, out.n);
    buf_free(&out);
    return text;
}

static int option_is_on(const PgQuery__ExplainStmt *e, const char *name)
{
    const PgQuery__DefElem *d = tree_option(e->options, e->n_options, name);
    return d != NULL && tree_option_on(d);
}

static enum plan_explain_format format_of(struct build *b, const PgQuery__ExplainStmt *e)
{
    static const char *const names[] = {[EXPLAIN_TEXT] = "text",
                                        [EXPLAIN_JSON] = "json",
                                        [EXPLAIN_YAML] = "yaml",
                                        [EXPLAIN_XML] = "xml"};
    const char *text = tree_option_text(tree_option(e->options, e->n_options, "format"), b->out);
    for (size_t i = 0; text != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(names[i], text) == 0) {
            return (enum plan_explain_format)i;
        }
    }
    return EXPLAIN_TEXT; /* what is wrong with another one the servers say */
}

static int can_be_explained(const struct plan *inner)
{
    return inner->kind == PLAN_ONE || inner->kind == PLAN_MANY || inner->kind == PLAN_WRITE ||
           inner->kind == PLAN_WORKSPACE ||
           (inner->kind == PLAN_ROWS && inner->rows->current == NULL);
}

void plan_explain_statement(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__ExplainStmt *e = stmt->explain_stmt;
    size_t at = inner_begin(b, p->text, p);
    if (at >= p->text.n) {
        refuse(p, "Write EXPLAIN (options) statement.", "this EXPLAIN cannot be read");
        return;
    }
    if (IS(e->query, EXECUTE_STMT)) {
        (void)plan_execute(b, stmt, p);
        return;
    }
    struct plan *inner = plan_new(b, slice_from(p->text, at));
    inner->any_params = p->any_params;
    plan_statement(b, e->query, inner);
    if (inner->kind == PLAN_REFUSE) {
        refuse_note(p, inner->err, &inner->note);
        return;
    }
    if (!can_be_explained(inner)) {
        refuse(p, "Explain the SELECT inside.",
               "EXPLAIN of this statement cannot be run in a database of several shards");
        return;
    }
    p->kind = PLAN_EXPLAIN;
    p->rung = inner->rung;
    p->explained = inner;
    p->explain_format = format_of(b, e);
    p->explain_plain = plain_options(b, e);
    p->explain_analyze = option_is_on(e, "analyze") ? 1 : 0;
    p->explain_verbose = option_is_on(e, "verbose") ? 1 : 0;
    p->explain_untimed =
        tree_option(e->options, e->n_options, "timing") != NULL && !option_is_on(e, "timing");
    p->touches_sharded = inner->touches_sharded;
    p->returns_rows = 1;
}

/* ---- what we print ----------------------------------------------------------------------------
 */

static const char *shard_name(const struct map *map, uint64_t i)
{
    return i < map->shards_count ? map->shard_names[i] : "?";
}

static void print_value(const struct plan *p, const struct value *v, const struct plan_args *args,
                        struct key_value *kv, struct buf *out)
{
    *kv = (struct key_value){.type_oid = v->type};
    if (v->kind == VALUE_PARAM && args != NULL && v->param < args->params_count) {
        kv->bytes = args->params[v->param].bytes;
        kv->format = args->params[v->param].format;
    } else if (v->kind == VALUE_TEXT) {
        kv->bytes = v->text;
    }
    (void)p;
    if (v->kind == VALUE_NULL) {
        buf_text(out, "NULL");
    } else if (kv->bytes.p != NULL && kv->format == 0) {
        buf_add_slice(out, kv->bytes);
    } else {
        buf_printf(out, "$%u", v->param + 1u);
    }
}

static void print_binding(const struct plan *p, const struct map *map, const struct binding *bind,
                          const struct plan_args *args, struct buf *out)
{
    struct key_value values[KEY_COLUMNS_MAX];
    int whole = bind->keys[0].items != NULL;
    for (size_t i = 0; i < bind->table->keys_count && whole; i++) {
        buf_printf(out, "%s%s.%s = ", i > 0 ? ", " : "", bind->relation, bind->table->keys[i]);
        whole = bind->keys[i].count == 1 && bind->keys[i].items[0].kind != VALUE_ARRAY_PARAM &&
                bind->keys[i].items[0].kind != VALUE_ARRAY_TEXT;
        if (whole) {
            print_value(p, &bind->keys[i].items[0], args, &values[i], out);
            whole = values[i].bytes.p != NULL;
        } else {
            buf_printf(out, "one of %zu", bind->keys[i].count);
        }
    }
    if (whole) {
        buf_text(out, ", ");
        size_t before = out->n;
        map_describe_key(map, bind->table, values, out);
        if (out->n == before) {
            out->n -= 2;
        }
    } else if (bind->keys[0].items == NULL) {
        buf_printf(out, "%s.%s in a range", bind->relation, bind->table->keys[0]);
    }
}

static void print_shards(const struct map *map, uint64_t shards, struct buf *out)
{
    size_t count = 0;
    bits_each (i, shards) {
        buf_printf(out, "%s%s", count > 0 ? ", " : "", shard_name(map, i));
        count++;
    }
    buf_printf(out, " (%zu of %zu)", count, map->shards_count);
}

static void print_limit(const char *word, const struct combine_limit *l, struct buf *out)
{
    if (l->kind == COMBINE_LIMIT_CONST) {
        buf_printf(out, "%s: %llu\n", word, (unsigned long long)l->value);
    } else if (l->kind == COMBINE_LIMIT_PARAM) {
        buf_printf(out, "%s: $%u\n", word, l->param + 1u);
    }
}

static void print_sorts(const struct combine_spec *c, struct buf *out)
{
    buf_text(out, " (key:");
    for (size_t i = 0; i < c->sorts_count; i++) {
        buf_printf(out, "%s column %u%s", i > 0 ? "," : "", c->sorts[i].output + 1u,
                   c->sorts[i].desc ? " DESC" : "");
        if (c->sorts[i].nulls_first != c->sorts[i].desc) {
            buf_text(out, c->sorts[i].nulls_first ? " NULLS FIRST" : " NULLS LAST");
        }
    }
    buf_u8(out, ')');
}

static const char *aggregate_name(const struct combine_output *o)
{
    static const char *const kinds[] = {[COMBINE_AS_IS] = "",
                                        [COMBINE_COUNT] = "count",
                                        [COMBINE_SUM] = "sum",
                                        [COMBINE_MIN] = "min",
                                        [COMBINE_MAX] = "max",
                                        [COMBINE_AVG] = "avg",
                                        [COMBINE_BOOL_AND] = "bool_and",
                                        [COMBINE_BOOL_OR] = "bool_or",
                                        [COMBINE_BIT_AND] = "bit_and",
                                        [COMBINE_BIT_OR] = "bit_or",
                                        [COMBINE_BIT_XOR] = "bit_xor",
                                        [COMBINE_VARIANCE] = "variance",
                                        [COMBINE_MOMENTS] = "regression"};
    static const char *const spreads[] = {[NUMERIC_VAR_POP] = "var_pop",
                                          [NUMERIC_VAR_SAMP] = "var_samp",
                                          [NUMERIC_STDDEV_POP] = "stddev_pop",
                                          [NUMERIC_STDDEV_SAMP] = "stddev_samp"};
    static const char *const moments[] = {
        [MOMENT_COUNT] = "regr_count",    [MOMENT_AVGX] = "regr_avgx",
        [MOMENT_AVGY] = "regr_avgy",      [MOMENT_SXX] = "regr_sxx",
        [MOMENT_SYY] = "regr_syy",        [MOMENT_SXY] = "regr_sxy",
        [MOMENT_COVAR_POP] = "covar_pop", [MOMENT_COVAR_SAMP] = "covar_samp",
        [MOMENT_CORR] = "corr",           [MOMENT_R2] = "regr_r2",
        [MOMENT_SLOPE] = "regr_slope",    [MOMENT_INTERCEPT] = "regr_intercept"};
    return o->kind == COMBINE_VARIANCE  ? spreads[o->detail]
           : o->kind == COMBINE_MOMENTS ? moments[o->detail]
                                        : kinds[o->kind];
}

static void print_having(const struct combine_spec *c, int level, struct buf *out)
{
    static const char *const ops[] = {
        [HAVING_EQUAL] = " =",      [HAVING_UNEQUAL] = " <>",
        [HAVING_LESS] = " <",       [HAVING_LESS_EQUAL] = " <=",
        [HAVING_GREATER] = " >",    [HAVING_GREATER_EQUAL] = " >=",
        [HAVING_NULL] = " IS NULL", [HAVING_NOT_NULL] = " IS NOT NULL",
        [HAVING_TRUE] = ""};
    for (size_t i = 0; i < c->having_count; i++) {
        const struct combine_having *h = &c->having[i];
        if (i == 0) {
            buf_printf(out, "%*sFilter:", 2 * level, "");
        }
        buf_printf(out, "%s %s", i > 0 ? " AND" : "", aggregate_name(&c->outputs[h->output]));
        buf_printf(out, "%s%s%s", ops[h->op], h->number == NULL ? "" : " ",
                   h->number == NULL ? "" : h->number);
    }
    if (c->having_count > 0) {
        buf_text(out, "\n");
    }
}

static int print_combine(const struct combine_spec *c, struct buf *out)
{
    int level = 0;
    print_limit(c->with_ties ? "Limit with ties" : "Limit", &c->limit, out);
    print_limit("Offset", &c->offset, out);
    if (c->mode == COMBINE_AGGREGATE) {
        if (c->sorts_count > 0) {
            buf_text(out, "Sort");
            print_sorts(c, out);
            buf_text(out, "\n");
            level++;
        }
        buf_printf(out, "%*sAggregate (groups: %u", 2 * level, "", (unsigned)c->groups_count);
        for (size_t i = 0; i < c->outputs_count; i++) {
            if (c->outputs[i].kind != COMBINE_AS_IS) {
                buf_printf(out, ", %s%s", aggregate_name(&c->outputs[i]),
                           c->outputs[i].set != 0 ? "(DISTINCT)" : "");
            }
        }
        buf_text(out, ")\n");
        print_having(c, level + 1, out);
    } else if (c->sorts_count > 0) {
        buf_text(out, c->mode == COMBINE_DISTINCT ? "Merge Unique" : "Merge Sort");
        print_sorts(c, out);
        buf_text(out, "\n");
    } else {
        buf_text(out, "Append\n");
    }
    return level + 1;
}

static void explain_one(const struct plan *plan, const struct map *map,
                        const struct plan_args *args, uint64_t shards, struct buf *out)
{
    const struct plan_where *w = plan->_where;
    uint64_t shard = shards == 0 ? 0 : (uint64_t)__builtin_ctzll(shards);
    buf_printf(out, "Route to %s", shard_name(map, shard));
    if (w != NULL && w->bindings_count > 0) {
        buf_text(out, " (");
        print_binding(plan, map, &w->bindings[0], args, out);
        buf_text(out, ")");
    } else {
        buf_text(out, w != NULL && w->any ? " (the same on every shard)"
                                          : " (home of tables that are not sharded)");
    }
    buf_text(out, "\n");
}

int plan_explain_steps(const struct plan *plan, const struct map *map, const struct plan_args *args,
                       uint64_t shards, struct buf *out)
{
    if (plan->lookup != NULL) {
        buf_printf(out, "Look up in %s: one shard, or all when that gives no row\n",
                   plan->lookup->index);
    }
    if (plan->kind == PLAN_ONE) {
        explain_one(plan, map, args, shards, out);
        return 1;
    }
    if (plan->kind == PLAN_REFUSE) {
        buf_printf(out, "Refused: %s\n", plan->note.text);
        return 1;
    }
    if (plan->kind == PLAN_WRITE) {
        buf_text(out, plan->same_counts ? "Write on every shard" : "Write shard by shard");
        buf_text(out,
                 plan->keeps_unique ? ", then in lookup tables of global unique indexes\n" : "\n");
        return 1;
    }
    return plan->combine == NULL ? 0 : print_combine(plan->combine, out);
}

static void print_line(struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        buf_u8(out, text.p[i] == '\n' || text.p[i] == '\r' ? ' ' : text.p[i]);
    }
}

void plan_explain_sql(const struct plan *plan, struct buf *out)
{
    const char *sql = plan->shard_sql != NULL ? plan->shard_sql : (const char *)plan->text.p;
    print_line(slice_of(plan->split != NULL ? "" : sql), out);
}

/* ---- rows that are read, then written ----------------------------------------------------------
 */

void plan_explain_target(const struct plan_rows_step *step, struct buf *out)
{
    if (step->to != ROWS_BY_KEY) {
        buf_text(out, step->to == ROWS_TO_ALL ? "to every shard" : "to the home shard");
        return;
    }
    buf_text(out, "by key (");
    for (size_t i = 0; i < step->table->keys_count; i++) {
        buf_printf(out, "%s%s", i > 0 ? ", " : "", step->table->keys[i]);
    }
    buf_u8(out, ')');
}

const char *plan_explain_only(const struct plan_rows_step *step)
{
    return step->left                 ? "rows that were left, when some were"
           : step->only == ROWS_STAY  ? "rows that stay on their shard"
           : step->only == ROWS_LEAVE ? "rows that go to another shard"
           : step->when_column >= 0   ? "rows that the statement takes so"
                                      : "";
}

void plan_explain_step_sql(const struct plan_rows_step *step, struct buf *out)
{
    print_line(step->head, out);
    buf_text(out, step->copy ? "" : "(rows)");
    print_line(step->tail, out);
}

static int is_bound(const struct plan_where *w)
{
    for (size_t i = 0; w != NULL && i < w->bindings_count; i++) {
        if (w->bindings[i].keys[0].items != NULL || w->bindings[i].low != NULL ||
            w->bindings[i].high != NULL) {
            return 1;
        }
    }
    return 0;
}

const char *plan_explain_why(const struct plan *plan)
{
    if (plan->why_not != NULL) {
        return plan->why_not;
    }
    if (plan->kind != PLAN_MANY && plan->kind != PLAN_WRITE) {
        return "";
    }
    return plan->same_counts        ? "a reference table has the same rows on every shard"
           : is_bound(plan->_where) ? "the values of the sharding key may lie on several shards"
                                    : "no condition binds the sharding key to a value";
}

void plan_explain(const struct plan *plan, const struct map *map, const struct plan_args *args,
                  uint64_t shards, struct buf *out)
{
    if (plan->kind == PLAN_EXPLAIN) {
        plan_explain(plan->explained, map, args, shards, out);
        return;
    }
    int level = plan_explain_steps(plan, map, args, shards, out);
    if (plan->kind == PLAN_ONE || plan->kind == PLAN_REFUSE) {
        return;
    }
    buf_printf(out, "%*sShards: ", 2 * level, "");
    print_shards(map, shards, out);
    buf_text(out, "\n");
    if (plan->shard_sql != NULL) {
        buf_printf(out, "%*sSQL: ", 2 * level, "");
        plan_explain_sql(plan, out);
        buf_text(out, "\n");
    }
}
