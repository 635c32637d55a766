/*
 * Goal: no text breaks the planner, and what it promises of a plan holds. Method: bytes are SQL for
 * the database of plan_testing.h (first byte: simple or extended protocol, one shard or three);
 * every plan is asked for its shards and explained.
 */

#include <stddef.h>

#include "planner/plan_testing.h"

static void check_plan(const struct plan *p, const struct test_db *db,
                       const struct plan_args *args);

/* Whatever a workspace is told to run, parses. */
static void check_workspace(const struct plan *p, const struct test_db *db,
                            const struct plan_args *args)
{
    const struct plan *rests[2] = {p->rest, p->rest_apart};
    for (size_t i = 0; i < p->moves_count; i++) {
        enum plan_kind kind = p->moves[i].source->kind;
        check(kind == PLAN_ONE || kind == PLAN_MANY);
        check_plan(p->moves[i].source, db, args);
    }
    for (size_t i = 0; i < 2; i++) {
        if (rests[i] != NULL) {
            struct arena arena = {0};
            PgQuery__ParseResult *parsed = NULL;
            struct note note;
            int position = 0;
            check_plan(rests[i], db, args);
            enum err e = tree_parse(rests[i]->text, &arena, &parsed, &position, &note);
            check(e == ERR_NONE || e == ERR_TOO_DEEP);
            arena_free(&arena);
        }
    }
}

static void check_plan(const struct plan *p, const struct test_db *db, const struct plan_args *args)
{
    struct note note;
    struct buf text = {0};
    uint64_t shards = 0;
    int any = 0;
    if (p->kind == PLAN_REFUSE) {
        check(p->err != ERR_NONE && p->note.text[0] != 0);
        return;
    }
    if (p->kind == PLAN_MANY) {
        check(p->combine != NULL && p->shard_sql != NULL);
        check(p->combine->visible <= p->combine->outputs_count);
        for (size_t i = 0; i < p->combine->outputs_count; i++) {
            check(p->combine->outputs[i].column < p->combine->columns_count);
        }
        for (size_t i = 0; i < p->combine->sorts_count; i++) {
            check(p->combine->sorts[i].output < p->combine->outputs_count);
        }
    }
    check(p->kind != PLAN_DDL || p->steps_count > 0);
    check(p->kind != PLAN_EXPLAIN || p->explained != NULL);
    if (p->kind == PLAN_EXPLAIN) { /* goes where the statement inside goes */
        check_plan(p->explained, db, args);
        return;
    }
    if (p->kind == PLAN_WORKSPACE) {
        check_workspace(p, db, args);
        buf_free(&text);
        return;
    }
    enum err e = plan_shards(p, db->map, args, &shards, &any, &note);
    check(e != ERR_AGAIN || p->otherwise != NULL);
    if (e == ERR_NONE) {
        check(shards != 0 && (shards & ~map_all(db->map)) == 0);
        check(p->kind != PLAN_ONE || any || (shards & (shards - 1)) == 0);
        plan_explain(p, db->map, args, shards, &text);
    }
    if (p->otherwise != NULL) {
        check_plan(p->otherwise, db, args);
    }
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct test_db several, single;
    static const struct front_value values[4] = {
        {SLICE("5"), 0, 0}, {SLICE("{1,2}"), 0, 0}, {SLICE("\0\0\0\7"), 1, 0}, {{0}, 0, 1}};
    if (several.map == NULL) {
        test_db_open(&several, 3);
        test_db_open(&single, 1);
    }
    if (size < 1 || memchr(data + 1, 0, size - 1) != NULL) {
        return 0; /* a protocol text ends at its first 0 byte */
    }
    const struct test_db *db = (data[0] & 1) != 0 ? &single : &several;
    struct slice sql = slice_bytes(data + 1, size - 1);
    struct plan_env env = {.map = db->map,
                           .catalog = db->catalog,
                           .user = "joe",
                           .extended = (data[0] & 2) != 0,
                           .standard_strings_off = (data[0] & 4) != 0,
                           .workspace = data[0] >> 3 & 7};
    struct plan_batch *batch = NULL;
    struct note note;
    int position = 0;
    if (plan_make(&env, sql, &batch, &position, &note) == ERR_NONE) {
        struct lex lex = {0};
        lex_shape(&lex, sql);
        struct plan_args args = {
            .params = values, .params_count = 4, .lex = env.extended ? NULL : &lex};
        for (size_t i = 0; i < batch->count; i++) {
            check_plan(batch->plans[i], db, &args);
        }
        plan_batch_unref(batch);
        lex_free(&lex);
    } else {
        check(note.text[0] != 0);
    }
    return 0;
}
