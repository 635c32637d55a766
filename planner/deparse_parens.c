/*
 * Parentheses that libpg_query's deparser forgets: it writes `(a OR b) IS TRUE` as `a OR b IS
 * TRUE`, which is another expression. So what stands in such a place is taken out of the tree, a
 * name put there instead, and its own text comes back in parentheses when the whole is written.
 *
 *   tree   IS TRUE ( OR (a, b) )   ->   IS TRUE ( braid_paren_0000_ ),   OR (a, b)
 *   text   "braid_paren_0000_ IS TRUE", "a OR b"   ->   "(a OR b) IS TRUE"
 *
 * The places are those where an operator, a test, a cast, COLLATE, AT TIME ZONE or a subscript has
 * something of several words as its argument. What is forgotten beside these, the caller finds: it
 * reads the text back.
 */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "planner/tree_deparse.h"

#define PLACE "braid_paren_"
enum {
    PLACE_DIGITS = 4, /* and a "_" behind them */
    PLACES_MAX = 10000
};

/* Whether a deparser that forgets parentheses could make something else of it inside of others. */
static int is_compound(const tnode *n)
{
    switch (n == NULL ? 0 : (int)n->node_case) {
    case NODE(A_EXPR):
    case NODE(BOOL_EXPR):
    case NODE(NULL_TEST):
    case NODE(BOOLEAN_TEST):
    case NODE(COLLATE_CLAUSE):
    case NODE(XML_EXPR): return 1;
    case NODE(SUB_LINK): return n->sub_link->testexpr != NULL;
    case NODE(FUNC_CALL):
        return n->func_call->funcformat == PG_QUERY__COERCION_FORM__COERCE_SQL_SYNTAX;
    default: return 0;
    }
}

static void take(struct parens *p, tnode **slot)
{
    if (p->count == PLACES_MAX) {
        return;
    }
    if (p->count == p->room) {
        size_t room = p->room == 0 ? 8 : 2 * p->room;
        struct paren *items = arena_alloc(p->arena, room * sizeof(*items));
        if (p->count > 0) {
            memcpy(items, p->items, p->count * sizeof(*items));
        }
        p->items = items;
        p->room = room;
    }
    p->items[p->count] = (struct paren){.slot = slot, .kept = *slot};
    *slot = tree_column(p->arena, NULL, arena_printf(p->arena, PLACE "%04zu_", p->count));
    p->count++;
}

/* The argument in a slot: a list's items one by one. */
static void take_compound(struct parens *p, tnode **slot)
{
    if (IS(*slot, LIST)) {
        for (size_t i = 0; i < (*slot)->list->n_items; i++) {
            take_compound(p, &(*slot)->list->items[i]);
        }
    } else if (is_compound(*slot)) {
        take(p, slot);
    }
}

static void take_all(struct parens *p, tnode **slots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        take_compound(p, &slots[i]);
    }
}

/* An operator writes the parentheses of operators and of AND, OR, NOT and IS NULL itself. */
static void take_operand(struct parens *p, tnode **slot)
{
    if (!IS(*slot, A_EXPR) && !IS(*slot, BOOL_EXPR) && !IS(*slot, NULL_TEST)) {
        take_compound(p, slot);
    }
}

/* LIMIT coalesce(1, 2) is a tree that the deparser does not take. */
static void take_limit(struct parens *p, tnode **slot)
{
    if (IS(*slot, COALESCE_EXPR) || IS(*slot, MIN_MAX_EXPR) ||
        (is_compound(*slot) && !IS(*slot, A_EXPR))) {
        take(p, slot);
    }
}

/* Beside an operator 't'::bool would be written as true, which is another tree. */
static void spell_boolean(PgQuery__TypeCast *c)
{
    PgQuery__AConst *value = IS(c->arg, A_CONST) ? c->arg->a_const : NULL;
    if (value == NULL || value->val_case != PG_QUERY__A__CONST__VAL_SVAL ||
        strcmp(tree_name(c->type_name->names, c->type_name->n_names, NULL), "bool") != 0) {
        return;
    }
    static char words[2][6] = {"false", "true"};
    if (strcmp(value->sval->sval, "t") == 0 || strcmp(value->sval->sval, "f") == 0) {
        value->sval->sval = words[value->sval->sval[0] == 't'];
    }
}

static void take_arguments(struct parens *p, ProtobufCMessage *m)
{
    if (MESSAGE_IS(m, a__expr)) {
        PgQuery__AExpr *e = (PgQuery__AExpr *)m;
        if (e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP) {
            take_operand(p, &e->lexpr);
            take_operand(p, &e->rexpr);
        } else if (e->kind != PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF) {
            take_compound(p, &e->lexpr);
            take_compound(p, &e->rexpr);
        }
        if (e->kind == PG_QUERY__A__EXPR__KIND__AEXPR_SIMILAR && IS(e->rexpr, FUNC_CALL)) {
            take_all(p, e->rexpr->func_call->args, e->rexpr->func_call->n_args);
        }
    } else if (MESSAGE_IS(m, null_test)) {
        take_compound(p, &((PgQuery__NullTest *)m)->arg);
    } else if (MESSAGE_IS(m, boolean_test)) {
        take_compound(p, &((PgQuery__BooleanTest *)m)->arg);
    } else if (MESSAGE_IS(m, collate_clause)) {
        take_compound(p, &((PgQuery__CollateClause *)m)->arg);
    } else if (MESSAGE_IS(m, type_cast)) {
        take_compound(p, &((PgQuery__TypeCast *)m)->arg);
        spell_boolean((PgQuery__TypeCast *)m);
    } else if (MESSAGE_IS(m, sub_link)) {
        take_compound(p, &((PgQuery__SubLink *)m)->testexpr);
    } else if (MESSAGE_IS(m, a__indirection)) {
        tnode **arg = &((PgQuery__AIndirection *)m)->arg;
        if (*arg != NULL && !IS(*arg, COLUMN_REF) && !IS(*arg, PARAM_REF)) {
            take(p, arg);
        }
    } else if (MESSAGE_IS(m, func_call) &&
               ((PgQuery__FuncCall *)m)->funcformat == PG_QUERY__COERCION_FORM__COERCE_SQL_SYNTAX) {
        take_all(p, ((PgQuery__FuncCall *)m)->args, ((PgQuery__FuncCall *)m)->n_args);
    } else if (MESSAGE_IS(m, select_stmt)) {
        PgQuery__SelectStmt *select = (PgQuery__SelectStmt *)m;
        take_limit(p, &select->limit_count);
        take_limit(p, &select->limit_offset);
        if (select->limit_option != PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES) {
            select->limit_option = select->limit_count == NULL && select->limit_offset == NULL
                                       ? PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_DEFAULT
                                       : PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_COUNT; /* as parsed */
        }
    } else if (MESSAGE_IS(m, xml_expr)) {
        take_all(p, ((PgQuery__XmlExpr *)m)->args, ((PgQuery__XmlExpr *)m)->n_args);
    }
}

static int visit(const ProtobufCMessage *m, void *arg)
{
    struct parens *p = arg;
    size_t before = p->count;
    take_arguments(p, (ProtobufCMessage *)m); /* the tree is ours, and put together again */
    for (size_t i = before, end = p->count; i < end; i++) {
        tree_walk_node(p->items[i].kept, visit, p);
    }
    return 1;
}

void parens_take(struct parens *p, tnode *stmt, struct arena *arena)
{
    *p = (struct parens){.arena = arena};
    tree_walk_node(stmt, visit, p);
}

void parens_put_back(struct parens *p)
{
    for (size_t i = p->count; i > 0; i--) {
        *p->items[i - 1].slot = p->items[i - 1].kept;
    }
}

/* Deep nesting is bounded with the statement's own (tree.h). */
void parens_write(const struct parens *p, const char *text, struct buf *out)
{
    const char *place;
    while (p->count > 0 && (place = strstr(text, PLACE)) != NULL) {
        char *end;
        size_t k = strtoul(place + strlen(PLACE), &end, 10);
        if (end != place + strlen(PLACE) + PLACE_DIGITS || *end != '_' || k >= p->count) {
            buf_add(out, text, (size_t)(end - text));
        } else {
            buf_add(out, text, (size_t)(place - text));
            buf_text(out, "(");
            parens_write(p, p->items[k].text, out);
            buf_text(out, ")");
            end++;
        }
        text = end;
    }
    buf_text(out, text);
}
