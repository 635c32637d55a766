#ifndef PLANNER_TREE_H
#define PLANNER_TREE_H

/*
 * libpg_query's parse tree as the planner uses it: text -> tree, a walk that knows no node types,
 * tree -> text. Private to the room; the only files that call libpg_query are tree.c and deparse.c.
 *
 * Trees live in an arena and are bounded in depth before they are built (depth.c), so walks may
 * recurse.
 */

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

typedef PgQuery__Node tnode;

#define NODE(name)     PG_QUERY__NODE__NODE_##name
#define IS(node, name) ((node) != NULL && (node)->node_case == NODE(name))

enum {
    STATEMENT_BYTES_MAX = 64 << 20, /* planned at most; longer ones are ERR_TOO_BIG */
    DEPTH_MAX = 500                 /* see depth.c */
};

/*
 * Bound on the depth of the tree that the text would parse to, without parsing.
 * Errors: ERR_TOO_DEEP.
 */
enum err depth_check(struct slice sql, struct note *note) MUST_CHECK;

/* Errors: ERR_SYNTAX (note.text is PostgreSQL's message, *position 1-based), ERR_TOO_DEEP. `sql` is
 * 0-terminated behind its end. */
enum err tree_parse(struct slice sql, struct arena *arena, PgQuery__ParseResult **out,
                    int *position, struct note *note) MUST_CHECK;
/* CREATE FUNCTION of one in PL/pgSQL -> libpg_query's JSON, in the arena. Errors: ERR_SYNTAX. */
enum err tree_parse_plpgsql(const char *definition, struct arena *arena, const char **json,
                            struct note *note) MUST_CHECK;
/* Text of one statement. Errors: ERR_INTERNAL. */
enum err tree_deparse(tnode *stmt, struct arena *arena, const char **out,
                      struct note *note) MUST_CHECK;

/* The same, when a statement comes again and again: it is written and read back once. All of `seen`
 * is in this one arena, and so are the texts. */
struct tree_written;
enum err tree_deparse_again(struct tree_written **seen, tnode *stmt, struct arena *arena,
                            const char **out, struct note *note) MUST_CHECK;

/* A message as bytes of Protocol Buffers (tree_pack.c). */
void tree_pack(const ProtobufCMessage *m, struct buf *out);
/* Whether such bytes are this message, but for places in the text. */
int tree_packed_says(const ProtobufCMessage *m, struct slice packed);
/* Whether the text is read as this statement. It is 0-terminated. */
int tree_reads_as(const char *text, tnode *stmt);
/* Calls `visit` for every message but the Node wrappers, outermost first; 0 from it: not inside. */
typedef int tree_visit_fn(const ProtobufCMessage *m, void *arg);
void tree_walk(const ProtobufCMessage *m, tree_visit_fn *visit, void *arg);
void tree_walk_node(const tnode *n, tree_visit_fn *visit, void *arg);
void tree_walk_nodes(tnode *const *nodes, size_t count, tree_visit_fn *visit, void *arg);
/* A constant: 1 or 0; -1: it is something else. */
int tree_boolean(const tnode *n);
/* Same tree but for locations. */
int tree_equal(const tnode *a, const tnode *b);

#define MESSAGE_IS(m, name) ((m)->descriptor == &pg_query__##name##__descriptor)

const char *tree_string(const tnode *n); /* of a String node, else NULL */
/* Last word of a list of String nodes ("pg_catalog.lower" -> "lower"), and the one before or NULL.
 */
const char *tree_name(tnode *const *names, size_t count, const char **schema);
/* The operator of an A_Expr when it is a plain or pg_catalog one, else "". */
const char *tree_operator(const PgQuery__AExpr *e);
/* Column name `name` that stands alone: an unqualified ColumnRef of one field; else NULL. */
const char *tree_bare_column(const tnode *n);
/* An option `name` of a DefElem list, or NULL. */
const PgQuery__DefElem *tree_option(tnode *const *options, size_t count, const char *name);
/* Text of a DefElem argument: a string, a type name's last word or a number; NULL without one. */
const char *tree_option_text(const PgQuery__DefElem *d, struct arena *arena);
/* Whether a boolean option is on: no argument, true, on, 1. */
int tree_option_on(const PgQuery__DefElem *d);

/* A tree of its own; strings are shared. */
tnode *tree_copy(struct arena *arena, const tnode *n);

/* A text between quotes: \" makes a name of it, ' a literal, E'...'. */
void sql_put_quoted(struct buf *out, char quote, const char *text);

/* New nodes for deparsing. */
tnode *tree_new(struct arena *arena, PgQuery__Node__NodeCase kind, void *message);
tnode *tree_string_new(struct arena *arena, const char *text); /* a name, see tree_string() */
tnode *tree_int(struct arena *arena, int64_t v);
tnode *tree_target(struct arena *arena, tnode *value, const char *name);
tnode *tree_call(struct arena *arena, const char *name, tnode *arg);
tnode *tree_cast(struct arena *arena, tnode *arg, const char *type);
tnode *tree_bytewise(struct arena *arena, tnode *arg); /* arg COLLATE pg_catalog."C" */
tnode *tree_plus(struct arena *arena, tnode *a, tnode *b);
tnode *tree_and(struct arena *arena, tnode *a, tnode *b); /* either may be NULL */
tnode *tree_compare(struct arena *arena, tnode *a, const char *op, tnode *b);
tnode *tree_column(struct arena *arena, const char *table,
                   const char *column); /* table may be NULL */
tnode *tree_range_var(struct arena *arena, const char *schema, const char *name);
tnode *tree_text(struct arena *arena, const char *text); /* a string literal */
tnode *tree_select(struct arena *arena, tnode **targets, size_t targets_count, tnode *from,
                   tnode *where);
tnode *tree_sort(struct arena *arena, tnode *expr);

#endif
