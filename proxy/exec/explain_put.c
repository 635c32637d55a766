/* What EXPLAIN tells the client: lines, or one document. */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/explain.h"
#include "proxy/exec/explain_doc.h"

enum {
    OID_OF_TEXT = 25,
    OID_OF_JSON = 114,
    OID_OF_XML = 142
};

uint32_t explain_column_type(const struct plan *plan)
{
    return plan->explain_format == EXPLAIN_JSON  ? OID_OF_JSON
           : plan->explain_format == EXPLAIN_XML ? OID_OF_XML
                                                 : OID_OF_TEXT;
}

static const char *name_of(const struct explain *x, uint32_t place)
{
    return session_shard_name(x->w.g.op.session, place);
}

static void put_names(const struct explain *x, uint64_t places, struct buf *out)
{
    int first = 1;
    bits_each (place, places) {
        buf_printf(out, "%s%s", first ? "" : ", ", name_of(x, (uint32_t)place));
        first = 0;
    }
}

/* "to all", "by key as orders (user_id)". */
static void put_target(const struct explain *x, const struct workspace_move *m, struct buf *out)
{
    if (m->move->to == MOVE_TO_SHARDS && (m->slots & (m->slots - 1)) != 0) {
        const struct map_table *like = m->move->like;
        buf_printf(out, "by key as %s (", like->name);
        for (size_t i = 0; i < like->keys_count; i++) {
            buf_printf(out, "%s%s", i > 0 ? ", " : "", like->keys[i]);
        }
        buf_u8(out, ')');
    } else {
        buf_text(out, "to ");
        put_names(x, m->slots, out);
    }
}

/* In one line. */
static void put_part_sql(const struct explain *x, const struct plan *plan, uint32_t place,
                         struct buf *out)
{
    size_t from = out->n;
    explain_sql(x, plan, place, out);
    for (size_t i = from; i < out->n; i++) {
        out->p[i] = out->p[i] == '\n' || out->p[i] == '\r' ? ' ' : out->p[i];
    }
}

static const char *table_of(const struct plan_rows_step *step)
{
    return step->table == NULL ? "" : step->table->name;
}

static struct explain_figures figures_of(const struct workspace_move *m)
{
    return (struct explain_figures){.rows = m->rows, .bytes = m->bytes, .time_us = m->time_us};
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void put_figures(const struct explain *x, const struct explain_figures *f, struct buf *out)
{
    buf_printf(out, " (rows=%llu bytes=%llu", (unsigned long long)f->rows,
               (unsigned long long)f->bytes);
    if (!x->plan->explain_untimed) {
        buf_printf(out, " time=%.3f ms", (double)f->time_us / 1000);
    }
    buf_u8(out, ')');
}

static void add_lines(struct buf *out, struct slice lines, int level)
{
    while (lines.n > 0) {
        const uint8_t *end = memchr(lines.p, '\n', lines.n);
        size_t n = end == NULL ? lines.n : (size_t)(end - lines.p);
        buf_printf(out, "%*s", 2 * level, "");
        buf_add(out, lines.p, n);
        buf_u8(out, '\n');
        lines = slice_from(lines, end == NULL ? n : n + 1);
    }
}

/* Its rows of an INSERT. */
static void add_part_sql(const struct explain *x, const struct plan *plan, uint32_t place,
                         int level, struct buf *out)
{
    struct buf sql = {0};
    put_part_sql(x, plan, place, &sql);
    buf_printf(out, "%*sSQL: ", 2 * level, "");
    buf_add_slice(out, buf_slice(&sql));
    buf_u8(out, '\n');
    buf_free(&sql);
}

/* What each place said. A single one needs no name: the line above has it. */
static void add_results(const struct explain *x, const struct explain_part *part, int level,
                        int named, struct buf *out)
{
    bits_each (place, part->results == NULL ? 0 : part->places) {
        const struct explain_result *r = &part->results[place];
        if (named) {
            buf_printf(out, "%*sOn %s:", 2 * level, "", name_of(x, (uint32_t)place));
            if (r->ran) {
                put_figures(x, &r->figures, out);
            }
            buf_u8(out, '\n');
        }
        if (part->plan->split != NULL) {
            add_part_sql(x, part->plan, (uint32_t)place, level + named, out);
        }
        add_lines(out, buf_slice(&r->text), level + named);
    }
}

static void add_sql(const struct plan *plan, int level, struct buf *out)
{
    buf_printf(out, "%*sSQL: ", 2 * level, "");
    plan_explain_sql(plan, out);
    buf_u8(out, '\n');
}

/* Over the workspace's own servers: their numbers are no shards'. */
static void add_over(const struct explain *x, const struct explain_part *part, int level,
                     const struct plan_args *args, struct buf *out)
{
    struct buf steps = {0};
    const struct map *map = x->w.g.op.session->db->map;
    int inside =
        part->plan->kind == PLAN_ONE ? 0 : plan_explain_steps(part->plan, map, args, 0, &steps);
    add_lines(out, buf_slice(&steps), level);
    buf_free(&steps);
    add_sql(part->plan, level + inside, out);
    add_results(x, part, level + inside, (part->places & (part->places - 1)) != 0, out);
}

static void add_plan(const struct explain *x, const struct explain_part *part, int level,
                     const struct plan_args *args, struct buf *out)
{
    struct buf lines = {0};
    plan_explain(part->plan, x->w.g.op.session->db->map, args, part->places, &lines);
    add_lines(out, buf_slice(&lines), level);
    buf_free(&lines);
}

static void add_move(const struct explain *x, size_t i, const struct plan_args *args,
                     struct buf *out)
{
    const struct workspace_move *m = &x->w.at.moves[i];
    buf_printf(out, "  Move %s ", m->move->table);
    put_target(x, m, out);
    if (m->move->why != NULL && m->move->why[0] != '\0') {
        buf_printf(out, ": %s", m->move->why);
    }
    if (x->plan->explain_analyze) {
        const struct explain_figures f = figures_of(m);
        put_figures(x, &f, out);
    }
    buf_u8(out, '\n');
    const struct explain_part *part = &x->parts[i];
    if (part->over) {
        add_over(x, part, 2, args, out);
        return;
    }
    add_plan(x, part, 2, args, out);
    if (part->plan->kind == PLAN_ONE) {
        add_sql(part->plan, 3, out);
    }
    add_results(x, part, 3, part->plan->kind != PLAN_ONE, out);
}

static void add_rest(const struct explain *x, const struct plan_args *args, struct buf *out)
{
    buf_text(out, "  Rest on ");
    put_names(x, x->rest->places, out);
    buf_u8(out, '\n');
    add_over(x, x->rest, 2, args, out);
}

static void add_workspace(const struct explain *x, const struct plan_args *args, struct buf *out)
{
    buf_text(out, "Workspace on ");
    put_names(x, x->rest->places, out);
    if (x->plan->explain_analyze) {
        const struct explain_figures f = {x->w.rows, x->w.bytes, x->answer.time_us};
        put_figures(x, &f, out);
    }
    const char *why = plan_explain_why(x->inner);
    buf_printf(out, "\n%s%s%s", why[0] == '\0' ? "" : "  Reason: ", why,
               why[0] == '\0' ? "" : "\n");
    for (size_t i = 0; i < x->w.at.moves_count; i++) {
        add_move(x, i, args, out);
    }
    add_rest(x, args, out);
}

static void add_read(const struct explain *x, const struct plan_args *args, struct buf *out)
{
    if (x->rest != NULL) {
        add_workspace(x, args, out);
        return;
    }
    const struct explain_part *part = &x->parts[0];
    const char *why = plan_explain_why(x->inner);
    int many = (part->places & (part->places - 1)) != 0;
    add_plan(x, part, 0, args, out);
    if (x->plan->explain_verbose && why[0] != '\0') {
        buf_printf(out, "  Reason: %s\n", why);
    }
    if (x->write != NULL && part->plan->kind == PLAN_ONE) {
        add_sql(part->plan, 1, out);
    }
    if (x->ran) {
        buf_text(out, "  Answer:");
        put_figures(x, &x->answer, out);
        buf_u8(out, '\n');
    }
    add_results(x, part, 1, many, out);
}

static void add_write(const struct plan_rows_step *step, struct buf *out)
{
    const char *only = plan_explain_only(step);
    buf_printf(out, "  Write %s%s", table_of(step), step->table == NULL ? "" : " ");
    plan_explain_target(step, out);
    buf_printf(out, "%s%s\n    SQL: ", only[0] == '\0' ? "" : ": ", only);
    plan_explain_step_sql(step, out);
    buf_u8(out, '\n');
}

static void add_text(const struct explain *x, const struct plan_args *args, struct buf *out)
{
    struct buf source = {0};
    if (x->write == NULL) {
        add_read(x, args, out);
        return;
    }
    buf_printf(out, "Write of rows\n  Reason: %s\n", plan_explain_why(x->write));
    for (size_t i = 0; i < x->write->rows->steps_count; i++) {
        add_write(&x->write->rows->steps[i], out);
    }
    buf_text(out, "  Source\n");
    add_read(x, args, &source);
    add_lines(out, buf_slice(&source), 2);
    buf_free(&source);
}

/* ---- a document ------------------------------------------------------------------------------ */

static void doc_count(struct explain_doc *d, const char *name, uint64_t count)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
    doc_number(d, name, text);
}

static void doc_figures(struct explain_doc *d, const struct explain *x,
                        const struct explain_figures *f)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%.3f", (double)f->time_us / 1000);
    doc_count(d, "Actual Rows", f->rows);
    doc_count(d, "Actual Bytes", f->bytes);
    if (!x->plan->explain_untimed) {
        doc_number(d, "Actual Total Time", text);
    }
}

static void doc_places(struct explain_doc *d, const struct explain *x, uint64_t places)
{
    doc_open_list(d, "Shards");
    bits_each (place, places) {
        doc_text(d, "Item", slice_of(name_of(x, (uint32_t)place)));
    }
    doc_close(d);
}

static void doc_results(struct explain_doc *d, const struct explain *x,
                        const struct explain_part *part)
{
    if (part->results == NULL) {
        return;
    }
    doc_open_list(d, "Parts");
    bits_each (place, part->places) {
        const struct explain_result *r = &part->results[place];
        doc_open(d, "Part");
        doc_text(d, "Shard", slice_of(name_of(x, (uint32_t)place)));
        if (r->ran) {
            doc_figures(d, x, &r->figures);
        }
        if (part->plan->split != NULL) {
            struct buf sql = {0};
            put_part_sql(x, part->plan, (uint32_t)place, &sql);
            doc_text(d, "SQL", buf_slice(&sql));
            buf_free(&sql);
        }
        doc_server(d, "Explain", buf_slice(&r->text));
        doc_close(d);
    }
    doc_close(d);
}

static void doc_plan(struct explain_doc *d, const struct explain *x,
                     const struct explain_part *part, const struct plan_args *args)
{
    struct buf text = {0};
    if (!part->over && part != x->rest) {
        (void)plan_explain_steps(part->plan, x->w.g.op.session->db->map, args, part->places, &text);
    } else if (part->plan->kind != PLAN_ONE) {
        (void)plan_explain_steps(part->plan, x->w.g.op.session->db->map, args, 0, &text);
    }
    doc_lines(d, "Steps", buf_slice(&text));
    doc_places(d, x, part->places);
    text.n = 0;
    if (part->plan->split == NULL) { /* else each part has its own */
        plan_explain_sql(part->plan, &text);
        doc_text(d, "SQL", buf_slice(&text));
    }
    buf_free(&text);
    doc_results(d, x, part);
}

static void doc_move(struct explain_doc *d, const struct explain *x, size_t i,
                     const struct plan_args *args)
{
    const struct workspace_move *m = &x->w.at.moves[i];
    struct buf target = {0};
    put_target(x, m, &target);
    doc_open(d, "Move");
    doc_text(d, "Table", slice_of(m->move->table));
    doc_text(d, "Target", buf_slice(&target));
    buf_free(&target);
    if (x->plan->explain_analyze) {
        const struct explain_figures f = figures_of(m);
        doc_figures(d, x, &f);
    }
    doc_plan(d, x, &x->parts[i], args);
    doc_close(d);
}

static void doc_rung(struct explain_doc *d, const struct plan *plan)
{
    const char *why = plan_explain_why(plan);
    doc_text(d, "Rung", slice_of(plan->rung));
    if (why[0] != '\0') {
        doc_text(d, "Reason", slice_of(why));
    }
}

static void doc_write(struct explain_doc *d, const struct plan_rows_step *step)
{
    const char *only = plan_explain_only(step);
    struct buf text = {0};
    doc_open(d, "Write");
    if (step->table != NULL) {
        doc_text(d, "Table", slice_of(table_of(step)));
    }
    plan_explain_target(step, &text);
    doc_text(d, "Target", buf_slice(&text));
    doc_text(d, "Rows", slice_of(only[0] == '\0' ? "all" : only));
    text.n = 0;
    plan_explain_step_sql(step, &text);
    doc_text(d, "SQL", buf_slice(&text));
    buf_free(&text);
    doc_close(d);
}

static void doc_read(struct explain_doc *d, const struct explain *x, const struct plan_args *args)
{
    doc_rung(d, x->inner);
    if (x->ran) {
        doc_figures(d, x, &x->answer);
    }
    if (x->rest == NULL) {
        doc_plan(d, x, &x->parts[0], args);
    } else {
        doc_open_list(d, "Moves");
        for (size_t i = 0; i < x->w.at.moves_count; i++) {
            doc_move(d, x, i, args);
        }
        doc_close(d);
        doc_open(d, "Rest");
        doc_plan(d, x, x->rest, args);
        doc_close(d);
    }
}

static void add_document(const struct explain *x, const struct plan_args *args, struct buf *out)
{
    struct explain_doc doc;
    struct explain_doc *d = &doc;
    doc_begin(d, x->plan->explain_format, out);
    doc_open(d, "Plan");
    doc_text(d, "Node Type", SLICE("Distributed"));
    if (x->write == NULL) {
        doc_read(d, x, args);
    } else {
        doc_rung(d, x->write);
        doc_open_list(d, "Writes");
        for (size_t i = 0; i < x->write->rows->steps_count; i++) {
            doc_write(d, &x->write->rows->steps[i]);
        }
        doc_close(d);
        doc_open(d, "Source");
        doc_read(d, x, args);
        doc_close(d);
    }
    doc_close(d);
    doc_end(d);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* One line each, or all of it in one. */
static void put_rows(struct session *s, struct slice text, int lines)
{
    struct buf *out = session_out(s);
    while (text.n > 0) {
        const uint8_t *end = lines ? memchr(text.p, '\n', text.n) : NULL;
        size_t n = end == NULL ? text.n : (size_t)(end - text.p);
        size_t mark = back_begin_row(out, 1);
        back_put_value(out, slice_bytes(text.p, n));
        frame_end(out, mark);
        text = slice_from(text, end == NULL ? n : n + 1);
    }
}

void explain_put(struct explain *x)
{
    struct session *s = x->w.g.op.session;
    struct front_bind msg;
    struct plan_args args;
    struct buf text = {0};
    const struct back_column column = {.name = SLICE("QUERY PLAN"),
                                       .type_oid = explain_column_type(x->plan),
                                       .type_size = -1,
                                       .type_mod = -1};
    exec_args(s, gather_bind(&x->w.g, &msg), &args);
    if (!s->in_extended) {
        back_put_columns(session_out(s), &column, 1);
    }
    if (x->plan->explain_format == EXPLAIN_TEXT) {
        add_text(x, &args, &text);
    } else if (x->write == NULL && x->rest == NULL && !x->inner->touches_sharded &&
               x->parts[0].results != NULL) {
        uint32_t place = (uint32_t)__builtin_ctzll(x->parts[0].places);
        buf_add_slice(&text, buf_slice(&x->parts[0].results[place].text));
    } else {
        add_document(x, &args, &text);
    }
    put_rows(s, buf_slice(&text), x->plan->explain_format == EXPLAIN_TEXT);
    buf_free(&text);
}
