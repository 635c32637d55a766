#ifndef PROXY_TYPING_H
#define PROXY_TYPING_H

/*
 * Types of users between a client, who knows the home shard's OIDs, and a server that has others;
 * see planner/typemap.h. What has no such types, or goes to the home shard, passes untouched:
 *
 *     Parse                 declared types                              -> the server's
 *     Bind                  binary arrays, rows, ranges: OIDs in them   -> the server's
 *     RowDescription,       types, tables                               -> home's
 *     ParameterDescription
 *     DataRow               binary arrays, rows, ranges: OIDs in them   -> home's
 *
 * What a statement's parameters and results are is asked once per plan, when a client first wants
 * binary values; from then on it is known whether there is anything to do.
 */

#include "planner/typemap.h"
#include "proxy/session/session.h"

/* Whether OIDs of this connection's server are not those that the client knows. */
static inline int typing_differs(const struct backend *b)
{
    const struct session *s = b->session;
    return s != NULL && s->sharded && s->db != NULL &&
           typemap_differs(catalog_types(s->db->catalog), b->pool->shard);
}

/* Parse with types in the server's OIDs. */
void typing_put_parse(struct backend *b, const char *name, struct slice text, const uint32_t *types,
                      size_t count);
/* The values of `bind` for this server: itself, or an edited one in *room and the arena. `types`:
 * of its parameters. */
const struct front_bind *typing_bind(struct backend *b, const struct front_bind *bind,
                                     const uint32_t *types, size_t count, struct front_bind *room);
/* A copy in the arena of a RowDescription's body, or of a ParameterDescription's, in home's OIDs;
 * `body` itself when there is nothing to do. */
struct slice typing_columns(struct backend *b, struct arena *arena, struct slice body);
struct slice typing_parameters(struct backend *b, struct arena *arena, struct slice body);
/* The same for a body of 'T' or 't' in place: nothing is allocated. */
void typing_turn(struct backend *b, uint8_t message, uint8_t *body, size_t n);
/*
 * Types (home's) of the result's columns whose values must be edited, 0 for the others; NULL: none.
 *   columns   body of a RowDescription in home's OIDs
 *   bind      says the formats; NULL: the description does
 */
uint32_t *typing_of_rows(struct backend *b, struct arena *arena, struct slice columns,
                         const struct front_bind *bind, size_t *count);
/* A row with home's OIDs, in `scratch`. */
struct slice typing_row(struct backend *b, const uint32_t *types, size_t count, struct slice body,
                        struct buf *scratch);

/* Whole tuples of COPY BINARY (also its header, its trailer) in this server's OIDs: `data` itself,
 * or a copy in `scratch`. */
struct slice typing_tuples(struct backend *b, const uint32_t *types, size_t count,
                           struct slice data, struct buf *scratch);

/* ---- relayed statements ---------------------------------------------------------------------- */

/* Whether a statement of one shard with this Bind must be looked at; it may be that it must be
 * described first (gather_learn()). */
int typing_concerns(struct session *s, const struct plan *plan, uint32_t shard,
                    const struct front_bind *bind);
int typing_declared(const struct stmt *stmt); /* types of users among its parameters */
/* Describe the plan's text, so that plan->described is known: STEP_WAIT, then come again. */
enum step gather_learn(struct session *s, struct plan *plan, const struct stmt *stmt,
                       uint32_t shard);
/* The next Execute's rows are to be edited; 0: wait until the one before has been answered. */
int typing_expect_rows(struct backend *b, const uint32_t *types, size_t count);

#endif
