/*
 * Goal: trees come out of our own packer and copier as they went in. Method: every statement of the
 * planner's tables, against protobuf-c's packer.
 */

#include <string.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "planner/tree.h"

static const char *const statements[] = {
#define CASE(sql, plan) sql,
#include "planner/plan_cases.def"
#undef CASE
#define CASE(sql, plan) sql,
#include "planner/plan_cases_place.def"
#undef CASE
#define CASE(sql, plan) sql,
#include "planner/plan_cases_workspace.def"
    "SELECT -1.5e300, B'101', X'1F', E'\\n', NULL, true, $1",
};

static size_t pack(const PgQuery__ParseResult *tree, struct buf *out)
{
    tree_pack((const ProtobufCMessage *)tree, out);
    return out->n;
}

Test(tree, is_packed_as_protobuf_c_packs_it)
{
    size_t parsed = 0;
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        struct arena arena = {0};
        struct buf ours = {0};
        struct note note;
        PgQuery__ParseResult *tree = NULL;
        int position = 0;
        if (tree_parse(slice_of(statements[i]), &arena, &tree, &position, &note) == ERR_NONE) {
            size_t size = pg_query__parse_result__get_packed_size(tree);
            uint8_t *theirs = mem_zero(size + 1);
            pg_query__parse_result__pack(tree, theirs);
            cr_assert_eq(pack(tree, &ours), size, "%s", statements[i]);
            cr_assert_eq(memcmp(ours.p, theirs, size), 0, "%s", statements[i]);
            mem_free(theirs);
            parsed++;
        }
        buf_free(&ours);
        arena_free(&arena);
    }
    cr_assert_gt(parsed, 300u);
}

Test(tree, a_copy_is_equal_and_stays_so_when_the_first_changes)
{
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        struct arena arena = {0};
        struct note note;
        PgQuery__ParseResult *tree = NULL;
        int position = 0;
        if (tree_parse(slice_of(statements[i]), &arena, &tree, &position, &note) == ERR_NONE &&
            tree->n_stmts == 1 && IS(tree->stmts[0]->stmt, SELECT_STMT)) {
            tnode *stmt = tree->stmts[0]->stmt;
            tnode *copy = tree_copy(&arena, stmt);
            cr_assert(tree_equal(stmt, copy), "%s", statements[i]);
            stmt->select_stmt->all = !stmt->select_stmt->all;
            if (stmt->select_stmt->n_target_list > 0 &&
                IS(stmt->select_stmt->target_list[0], RES_TARGET)) {
                stmt->select_stmt->target_list[0]->res_target->val = NULL;
                cr_assert_not_null(copy->select_stmt->target_list[0]->res_target->val);
            }
            cr_assert(!tree_equal(stmt, copy), "%s", statements[i]);
        }
        arena_free(&arena);
    }
}
