/*
 * INSERT ... VALUES of several rows that belong to different shards: the text is kept in pieces
 * (what is in front of the rows, each row, what is behind them), and each shard gets a statement of
 * its own rows.
 */

#include <string.h>

#include "planner/write_inner.h"

/* Stands for the rows while the statement is turned into text; then the text is cut there. */
#define MARK "pgbraid_rows_go_here"

static tnode *row_of(struct arena *arena, tnode **items, size_t count)
{
    PgQuery__List *list = arena_alloc(arena, sizeof(*list));
    pg_query__list__init(list);
    list->items = items;
    list->n_items = count;
    return tree_new(arena, NODE(LIST), list);
}

static tnode *mark(struct arena *arena)
{
    PgQuery__String *text = arena_alloc(arena, sizeof(*text));
    pg_query__string__init(text);
    text->sval = (char *)MARK;
    PgQuery__ColumnRef *ref = arena_alloc(arena, sizeof(*ref));
    pg_query__column_ref__init(ref);
    ref->fields = arena_alloc(arena, sizeof(tnode *));
    ref->fields[0] = tree_new(arena, NODE(STRING), text);
    ref->n_fields = 1;
    return tree_new(arena, NODE(COLUMN_REF), ref);
}

/* The statement with `rows` in place of its own. */
static const char *text_with(struct build *b, tnode *stmt, PgQuery__SelectStmt *source,
                             tnode **rows, size_t count)
{
    tnode **kept = source->values_lists;
    size_t kept_count = source->n_values_lists;
    const char *text = NULL;
    struct note note;
    source->values_lists = rows;
    source->n_values_lists = count;
    if (tree_deparse(stmt, &b->scratch, &text, &note) != ERR_NONE) {
        text = NULL;
    }
    source->values_lists = kept;
    source->n_values_lists = kept_count;
    return text;
}

/* The one row between head and tail. */
static int cut_row(struct build *b, const char *text, const struct plan_split *split,
                   struct slice *out)
{
    size_t n = text == NULL ? 0 : strlen(text);
    if (n <= split->head.n + split->tail.n || memcmp(text, split->head.p, split->head.n) != 0 ||
        memcmp(text + n - split->tail.n, split->tail.p, split->tail.n) != 0) {
        return 0;
    }
    *out = arena_copy(b->out, slice_bytes(text + split->head.n, n - split->head.n - split->tail.n));
    return 1;
}

/* A shard would not see that the rows of the others have more values or fewer. */
static int rows_are_even(const PgQuery__SelectStmt *source)
{
    for (size_t i = 0; i < source->n_values_lists; i++) {
        if (!IS(source->values_lists[i], LIST) ||
            source->values_lists[i]->list->n_items != source->values_lists[0]->list->n_items) {
            return 0;
        }
    }
    return 1;
}

int split_insert(struct build *b, tnode *stmt, const struct catalog_table *known, struct plan *p)
{
    PgQuery__InsertStmt *q = stmt->insert_stmt;
    PgQuery__SelectStmt *source = q->select_stmt->select_stmt;
    if (source->n_values_lists < (b->splits_all ? 1 : 2) || q->with_clause != NULL ||
        source->n_sort_clause > 0 || source->limit_count != NULL || source->limit_offset != NULL ||
        insert_loses_order(q, known) || !rows_are_even(source)) {
        return 0;
    }
    tnode *item = mark(&b->scratch);
    tnode *row = row_of(&b->scratch, &item, 1);
    const char *text = text_with(b, stmt, source, &row, 1);
    const char *at = text == NULL ? NULL : strstr(text, "(" MARK ")");
    if (at == NULL) {
        return 0;
    }
    struct plan_split *split = arena_zero(b->out, sizeof(*split));
    split->head = arena_copy(b->out, slice_bytes(text, (size_t)(at - text)));
    split->tail = arena_copy(b->out, slice_of(at + strlen("(" MARK ")")));
    struct slice *rows = arena_alloc(b->out, source->n_values_lists * sizeof(*rows));
    for (size_t i = 0; i < source->n_values_lists; i++) {
        if (!cut_row(b, text_with(b, stmt, source, &source->values_lists[i], 1), split, &rows[i])) {
            return 0;
        }
    }
    split->rows = rows;
    split->rows_count = source->n_values_lists;
    split->arrays = split_arrays(b, stmt, known);
    p->split = split;
    p->kind = PLAN_WRITE;
    return 1;
}

enum err plan_split_rows(const struct plan *plan, const struct map *map,
                         const struct plan_args *args, uint8_t *shards, struct note *note)
{
    for (size_t i = 0; i < plan->split->rows_count; i++) {
        uint64_t set = 0;
        enum err e = shards_of_binding(plan, map, args, i, &set, note);
        if (e) {
            return e;
        }
        shards[i] = (uint8_t)__builtin_ctzll(set);
    }
    return ERR_NONE;
}

void plan_split_sql(const struct plan *plan, const uint8_t *shards, uint32_t shard, struct buf *out)
{
    const struct plan_split *split = plan->split;
    const char *comma = "";
    buf_add_slice(out, split->head);
    for (size_t i = 0; i < split->rows_count; i++) {
        if (shards[i] == shard) {
            buf_text(out, comma);
            buf_add_slice(out, split->rows[i]);
            comma = ", ";
        }
    }
    buf_add_slice(out, split->tail);
}
