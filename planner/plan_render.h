#ifndef PLANNER_PLAN_RENDER_H
#define PLANNER_PLAN_RENDER_H

/* A plan as one line for the cases of plan_cases.def. For tests only. */

#include "planner/plan_testing.h"

static void render_shards(const struct plan *p, const struct test_db *db,
                          const struct plan_args *args, struct buf *out)
{
    struct note note;
    uint64_t shards = 0;
    int any = 0;
    enum err e = plan_shards(p, db->map, args, &shards, &any, &note);
    if (e) {
        buf_printf(out, " !%s", err_name(e));
        return;
    }
    buf_text(out, any ? " any" : " ");
    int first = 1;
    bits_each (i, any ? 0 : shards) {
        buf_printf(out, "%s%u", first ? "" : ",", (unsigned)i);
        first = 0;
    }
}

static void render_combine(const struct combine_spec *c, struct buf *out)
{
    static const char *const modes[] = {"concat", "merge", "unique", "group"};
    static const char *const kinds[] = {"",        "count",    "sum",    "min",     "max",
                                        "avg",     "and",      "or",     "bit-and", "bit-or",
                                        "bit-xor", "variance", "moments"};
    buf_printf(out, " %s", modes[c->mode]);
    if (c->mode == COMBINE_AGGREGATE) {
        buf_printf(out, "(");
        for (size_t i = 0; i < c->outputs_count; i++) {
            buf_printf(out, "%s%s%u",
                       i == 0            ? ""
                       : i == c->visible ? " | "
                                         : " ",
                       kinds[c->outputs[i].kind], c->outputs[i].column);
            if (c->outputs[i].set != 0) {
                buf_text(out, "distinct");
            }
        }
        buf_printf(out, " by");
        for (size_t i = 0; i < c->groups_count; i++) {
            buf_printf(out, " %u", c->groups[i]);
        }
        buf_text(out, ")");
    } else if (c->outputs_count > c->visible) {
        buf_printf(out, "+%d", c->outputs_count - c->visible);
    }
    static const char *const ops[] = {"=",  "<>",    "<",         "<=",   ">",
                                      ">=", " null", " not null", " true"};
    for (size_t i = 0; i < c->having_count; i++) {
        const struct combine_having *h = &c->having[i];
        buf_printf(out, " having %u%s%s", h->output, ops[h->op],
                   h->number == NULL ? "" : h->number);
    }
    for (size_t i = 0; i < c->sorts_count; i++) {
        buf_printf(out, " %u%s%s%s", c->sorts[i].output, c->sorts[i].desc ? "-" : "+",
                   c->sorts[i].nulls_first ? "nf" : "nl", c->sorts[i].bytewise ? "b" : "");
    }
    const struct combine_limit *limits[2] = {&c->limit, &c->offset};
    for (size_t i = 0; i < 2; i++) {
        if (limits[i]->kind == COMBINE_LIMIT_CONST) {
            buf_printf(out, " %s%u", i == 0 ? "limit " : "offset ", (unsigned)limits[i]->value);
        } else if (limits[i]->kind == COMBINE_LIMIT_PARAM) {
            buf_printf(out, " %s$%u", i == 0 ? "limit " : "offset ", limits[i]->param + 1u);
        }
    }
}

/* The statement of each shard, or how it fails. */
static void render_split(const struct plan *p, const struct test_db *db,
                         const struct plan_args *args, struct buf *out)
{
    uint8_t *shards = mem_zero(p->split->rows_count);
    struct note note;
    if (plan_split_rows(p, db->map, args, shards, &note) == ERR_NONE) {
        for (uint32_t i = 0; i < 3; i++) {
            if (memchr(shards, (int)i, p->split->rows_count) != NULL) {
                buf_printf(out, " %u {", i);
                plan_split_sql(p, shards, i, out);
                buf_text(out, "}");
            }
        }
    }
    mem_free(shards);
}

static void render_pins(const struct plan *p, struct buf *out)
{
    static const char *const names[] = {"listen", "temp", "cursor", "lock", "load", "set"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((p->pins & 1U << i) != 0) {
            buf_printf(out, " pins-%s", names[i]);
        }
        if ((p->unpins & 1U << i) != 0) {
            buf_printf(out, " unpins-%s", names[i]);
        }
    }
    for (size_t i = 0; i < p->functions_count; i++) {
        buf_printf(out, " calls-%s", p->functions[i]);
    }
    for (size_t i = 0; i < p->config_names_count; i++) {
        buf_printf(out, " sets-%s", p->config_names[i]);
    }
    buf_text(out, p->asks_sequence ? " asks-sequence" : "");
}

static void render_plan(const struct plan *p, const struct test_db *db,
                        const struct plan_args *args, struct buf *out);

static void render_moves(const struct plan_move *moves, size_t count, const struct test_db *db,
                         const struct plan_args *args, struct buf *out)
{
    static const char *const to[] = {"", " to all", " to shards"};
    for (size_t i = 0; i < count; i++) {
        const struct plan_move *m = &moves[i];
        buf_printf(out, "\n  %s%s%s%s", m->table, to[m->to], m->only_apart ? " apart" : "",
                   m->over     ? " over"
                   : m->writes ? " writes"
                               : "");
        if (m->to == MOVE_TO_SHARDS) {
            buf_printf(out, " like %s by", m->like->name);
            for (size_t k = 0; k < m->like->keys_count; k++) {
                buf_printf(out, " %u", m->keys[k]);
            }
        }
        buf_printf(out, ": ");
        render_plan(m->source, db, args, out);
        if (m->source->kind == PLAN_ONE ||
            m->source->shard_sql == (const char *)m->source->text.p) {
            buf_printf(out, " {" SLICE_FMT "}", SLICE_ARG(m->source->text));
        }
        if (m->primary_key != NULL) {
            buf_printf(out, " key %s", m->primary_key);
        }
        if (m->index != NULL) {
            buf_printf(out, " index %s", m->index);
        }
    }
}

static void render_rest(const char *word, const struct plan *p, const struct test_db *db,
                        const struct plan_args *args, struct buf *out)
{
    if (p != NULL) {
        buf_printf(out, "\n  %s: ", word);
        render_plan(p, db, args, out);
        if (p->kind == PLAN_ONE || p->shard_sql == (const char *)p->text.p) {
            buf_printf(out, " {" SLICE_FMT "}", SLICE_ARG(p->text));
        }
    }
}

static void render_workspace(const struct plan *p, const struct test_db *db,
                             const struct plan_args *args, struct buf *out)
{
    render_moves(p->moves, p->moves_count, db, args, out);
    render_rest("rest", p->rest, db, args, out);
    render_moves(p->moves_apart, p->moves_apart_count, db, args, out);
    render_rest("apart", p->rest_apart, db, args, out);
}

static void render_columns(const char *word, const struct plan_rows_step *s, const uint16_t *keys,
                           struct buf *out)
{
    if (keys != NULL) {
        buf_printf(out, " %s", word);
        for (size_t k = 0; k < s->table->keys_count; k++) {
            buf_printf(out, " %u", keys[k]);
        }
    }
}

static void render_step(const struct plan_rows_step *s, struct buf *out)
{
    static const char *const to[] = {"to shards", "to all", "to home"};
    static const char *const only[] = {"", " stay", " leave"};
    buf_printf(out, "\n  %s%s%s%s%s%s%s%s", to[s->to], s->table == NULL ? "" : " like ",
               s->table == NULL ? "" : s->table->name, only[s->only], s->counts ? " counts" : "",
               s->returns ? " returns" : "", s->exact ? " exact" : "",
               s->whole  ? " whole"
               : s->left ? " left"
                         : "");
    render_columns("by", s, s->keys, out);
    render_columns("and", s, s->other_keys, out);
    if (s->when >= 0) {
        buf_printf(out, " when %d is %d", s->when_column, (int)s->when);
    }
    buf_printf(out, ": {" SLICE_FMT "rows" SLICE_FMT "}%s", SLICE_ARG(s->head), SLICE_ARG(s->tail),
               s->copy ? " copy" : "");
}

static void render_source(const struct plan_rows *r, const struct test_db *db,
                          const struct plan_args *args, struct buf *out)
{
    const struct plan *source = r->source;
    if (r->current != NULL) {
        buf_printf(out, "row of %s in %s as %s {" SLICE_FMT "}", r->current->cursor,
                   r->current->name, r->current->alias, SLICE_ARG(source->text));
        return;
    }
    render_plan(source, db, args, out);
    if (source->kind == PLAN_ONE ||
        (source->kind == PLAN_MANY && source->shard_sql == (const char *)source->text.p)) {
        buf_printf(out, " {" SLICE_FMT "}", SLICE_ARG(source->text));
    }
}

static void render_around(const char *when, const struct plan_rows_around *s, struct buf *out)
{
    buf_printf(out, "\n  %s%s%s: {%s}", when, s->takes_params ? " with parameters" : "",
               s->decides ? " decides" : "", s->sql);
}

static void render_rows(const struct plan *p, const struct test_db *db,
                        const struct plan_args *args, struct buf *out)
{
    const struct plan_rows *r = p->rows;
    buf_printf(out, "%s%s%s\n  of ", r->in_order ? " in order" : "", r->alone ? " alone" : "",
               r->draws ? " draws" : "");
    render_source(r, db, args, out);
    for (size_t i = 0; i < r->before_count; i++) {
        render_around("before", &r->before[i], out);
    }
    for (size_t i = 0; i < r->steps_count; i++) {
        render_step(&r->steps[i], out);
    }
    for (size_t i = 0; i < r->after_count; i++) {
        render_around("after", &r->after[i], out);
    }
}

static void render_plan(const struct plan *p, const struct test_db *db,
                        const struct plan_args *args, struct buf *out)
{
    static const char *const kinds[] = {
        [PLAN_EMPTY] = "empty",
        [PLAN_ONE] = "one",
        [PLAN_MANY] = "many",
        [PLAN_WRITE] = "write",
        [PLAN_TX] = "tx",
        [PLAN_SET] = "set",
        [PLAN_DEALLOCATE] = "deallocate",
        [PLAN_DISCARD_ALL] = "discard",
        [PLAN_DDL] = "ddl",
        [PLAN_COPY_IN] = "copy-in",
        [PLAN_COPY_OUT] = "copy-out",
        [PLAN_PREPARE] = "prepare",
        [PLAN_EXECUTE] = "execute",
        [PLAN_EXPLAIN] = "explain",
        [PLAN_DECLARE] = "declare",
        [PLAN_SHOW] = "show",
        [PLAN_WORKSPACE] = "workspace",
        [PLAN_ROWS] = "rows",
        [PLAN_CHANGES] = "changes",
        [PLAN_REFUSE] = "refuse",
    };
    buf_text(out, kinds[p->kind]);
    if (p->kind == PLAN_REFUSE) {
        buf_printf(out, ": %s", p->note.text);
        return;
    }
    if (p->kind == PLAN_WORKSPACE) {
        render_workspace(p, db, args, out);
        return;
    }
    if (p->kind == PLAN_ROWS) {
        render_rows(p, db, args, out);
        return;
    }
    if (p->kind == PLAN_DECLARE && p->explained->ids != NULL) {
        buf_printf(out, " ids %u ", p->explained->ids->columns);
        render_plan(p->explained, db, args, out);
        buf_printf(out, " {" SLICE_FMT "}", SLICE_ARG(p->explained->text));
        return;
    }
    if (p->kind == PLAN_EXPLAIN) {
        buf_printf(out, "%s ", p->explain_options);
        render_plan(p->explained, db, args, out);
        return;
    }
    if (p->kind == PLAN_SET) {
        buf_printf(out, "%s%s %s", p->set_local ? " local" : "", p->set_reset ? " reset" : "",
                   p->name == NULL ? "ALL" : p->name);
        buf_printf(out, " = %s", p->set_value == NULL ? "-" : p->set_value);
    } else if (p->kind == PLAN_TX) {
        static const char *const txs[] = {"begin",
                                          "commit",
                                          "rollback",
                                          "savepoint",
                                          "release",
                                          "rollback-to",
                                          "set",
                                          "constraints",
                                          "prepare",
                                          "commit-prepared",
                                          "rollback-prepared"};
        buf_printf(out, " %s%s%s%s%s", txs[p->tx],
                   p->tx_level >= PLAN_LEVEL_REPEATABLE_READ ? " isolated" : "",
                   p->tx_chain ? " chain" : "", p->name == NULL ? "" : " ",
                   p->name == NULL ? "" : p->name);
    } else if (p->kind == PLAN_PREPARE) {
        buf_printf(out, " %s {" SLICE_FMT "} {" SLICE_FMT "}", p->name,
                   SLICE_ARG(p->prepare_suffix), SLICE_ARG(p->prepare_query));
    } else if (p->kind == PLAN_EXECUTE) {
        buf_printf(out, " %s {%.*s}", p->name, (int)p->execute_name_bytes,
                   (const char *)p->text.p + p->execute_name_at);
    } else if (p->kind == PLAN_DDL) {
        for (size_t i = 0; i < p->steps_count; i++) {
            buf_printf(out, "%s", i == 0 ? "" : ";");
            int first = 1;
            bits_each (k, p->steps[i].shards) {
                buf_printf(out, "%s%u", first ? " " : ",", (unsigned)k);
                first = 0;
            }
            if (strcmp(p->steps[i].sql, (const char *)p->text.p) != 0) {
                buf_printf(out, " {%s}", p->steps[i].sql);
            }
        }
    } else if (p->_where != NULL) {
        render_shards(p, db, args, out);
    }
    render_pins(p, out);
    buf_printf(out, "%s%s%s", p->keeps_unique ? " keeps" : "", p->lookup != NULL ? " by " : "",
               p->lookup != NULL ? p->lookup->index : "");
    buf_printf(out, "%s%s", p->not_in_tx ? " not-in-tx" : "", p->same_counts ? " same" : "");
    if (p->kind == PLAN_MANY) {
        render_combine(p->combine, out);
        if (strcmp(p->shard_sql, (const char *)p->text.p) != 0) {
            buf_printf(out, " {%s}", p->shard_sql);
        }
    }
    if (p->kind == PLAN_COPY_OUT && p->copy_out->rows != NULL) {
        buf_text(out, " of ");
        render_plan(p->copy_out->rows, db, args, out);
    }
    if (p->kind == PLAN_COPY_IN && p->copy->draws_count != 0) {
        buf_printf(out, " {%s} draws {%s} %s", p->copy->shard_sql, p->copy->draw_sql,
                   p->copy->drawn_header == NULL ? "" : p->copy->drawn_header);
    }
    if (p->split != NULL) {
        render_split(p, db, args, out);
    }
    if (p->otherwise != NULL) {
        buf_text(out, " else ");
        if (p->otherwise->kind == PLAN_REFUSE) {
            buf_text(out, "refuse");
        } else {
            render_plan(p->otherwise, db, args, out);
        }
    }
}

/* Every plan of the text, " & " between them; failures as "error NAME". */
static void render_text(const struct test_db *db, const char *sql, int workspace, struct buf *out)
{
    static const struct front_value values[3] = {
        {SLICE("5"), 0, 0}, {SLICE("6"), 0, 0}, {SLICE("7"), 0, 0}};
    int extended = strstr(sql, "$1") != NULL;
    struct plan_env env = {
        .map = db->map, .catalog = db->catalog, .user = "joe", .extended = (unsigned)extended & 1};
    env.workspace = (unsigned)workspace & 7;
    struct plan_batch *batch = NULL;
    struct note note;
    struct lex lex = {0};
    int position = 0;
    lex_shape(&lex, slice_of(sql));
    struct plan_args args = {.params = values, .params_count = 3, .lex = extended ? NULL : &lex};
    enum err e = plan_make(&env, slice_of(sql), &batch, &position, &note);
    if (e) {
        buf_printf(out, "error %s", err_name(e));
    }
    for (size_t i = 0; e == ERR_NONE && i < batch->count; i++) {
        buf_text(out, i > 0 ? " & " : "");
        render_plan(batch->plans[i], db, &args, out);
    }
    buf_u8(out, 0);
    plan_batch_unref(batch);
    lex_free(&lex);
}

#endif
