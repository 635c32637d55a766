#ifndef PLANNER_TYPEMAP_H
#define PLANNER_TYPEMAP_H

/*
 * Types that users make (enums, domains, composites, those of extensions, arrays of them) have
 * another OID on every server; so have tables. Clients look OIDs up in the catalog of the home
 * shard, so everything that goes to them speaks of types by the home shard's OIDs, and everything
 * that goes to a shard by that shard's. What belongs together is known by schema and name.
 *
 *     typelist    what one server has: rows of typelist_query
 *     typemap     the lists of all shards, matched
 *
 * Both are immutable once built, refcounted (atomic), any thread. Values are edited in place: an
 * OID has four bytes wherever it stands.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct typelist;
struct typemap;

/* Run on every server; one query, a row per type. */
extern const char *const typelist_query;
struct typelist *typelist_new(void);
enum err typelist_row(struct typelist *l, const struct slice *values, size_t count,
                      struct note *note) MUST_CHECK;
struct typelist *typelist_ref(struct typelist *l);
void typelist_unref(struct typelist *l); /* NULL is fine */
int typelist_same(const struct typelist *a, const struct typelist *b);

/* `lists`, one per shard, the first is home's; NULL: could not be read. Takes references. */
struct typemap *typemap_new(struct typelist *const *lists, size_t count);
struct typemap *typemap_ref(struct typemap *m);
void typemap_unref(struct typemap *m);                                /* NULL is fine */
struct typelist *typemap_list(const struct typemap *m, size_t shard); /* borrowed, or NULL */
int typemap_same(const struct typemap *a, const struct typemap *b);

/* Whether this shard's OIDs are not the home shard's; NULL: 0. */
int typemap_differs(const struct typemap *m, size_t shard);

enum {
    TYPEMAP_USER_OID = 16384, /* what is below is the same on every server */
    TYPEMAP_UNKNOWN = 705     /* a type that home does not know: clients read it as text */
};
uint32_t typemap_to_home(const struct typemap *m, size_t shard, uint32_t type);
/* 0 when the shard has no such type, or home has not: the server infers it. */
uint32_t typemap_to_shard(const struct typemap *m, size_t shard, uint32_t type);
uint32_t typemap_table_to_home(const struct typemap *m, size_t shard, uint32_t table); /* or 0 */

/* Whether values of a type (home's OID) hold OIDs in binary format: arrays, rows, ranges of such.
 */
int typemap_holds_oids(const struct typemap *m, uint32_t type);

/* From a shard to home, or from home to a shard. */
struct typemap_way {
    const struct typemap *map;
    size_t shard;
    int to_home;
};
/* OIDs in a binary value of `type` (home's OID). Broken values are left for the reader to refuse.
 */
void typemap_edit_value(const struct typemap_way *way, uint32_t type, uint8_t *value, size_t n);
/* ... in a row: body of a DataRow, or the values of a Bind behind their count. `types`: home's
 * OIDs of the `count` values; 0: leave this one as it is. */
void typemap_edit_values(const struct typemap_way *way, const uint32_t *types, size_t count,
                         uint8_t *values, size_t n);
/* Types and tables in the body of a RowDescription, types in that of a ParameterDescription. */
void typemap_edit_columns(const struct typemap_way *way, uint8_t *body, size_t n);
void typemap_edit_parameters(const struct typemap_way *way, uint8_t *body, size_t n);

#endif
