#ifndef PLANNER_TYPEMAP_INNER_H
#define PLANNER_TYPEMAP_INNER_H

/* Shared by typemap.c and typemap_edit.c. */

#include "planner/typemap.h"

enum {
    TYPEMAP_DEPTH_MAX = 32 /* of types in types */
};

/* pg_type.typtype, and some of ours. */
enum typemap_kinds {
    TYPEMAP_ARRAY = 'a',
    TYPEMAP_ROW = 'c',
    TYPEMAP_DOMAIN = 'd',
    TYPEMAP_RANGE = 'r',
    TYPEMAP_MULTIRANGE = 'm',
    TYPEMAP_REGCLASS = 'C',
    TYPEMAP_REGTYPE = 'T'
};

struct typemap_kind {
    uint32_t oid;   /* home's */
    uint32_t inner; /* element, base, subtype, range: home's; else 0 */
    char kind;
};

struct typemap_pair {
    uint32_t from, to;
};

struct typemap_pairs { /* by `from` */
    struct typemap_pair *items;
    size_t count;
};

struct typemap_shard {
    struct typelist *list;
    int differs;
    struct typemap_pairs to_home, to_shard, tables_home, tables_shard;
};

struct typemap {
    int refs;
    size_t count;
    struct typemap_shard *shards;
    struct typemap_kind *kinds; /* by oid */
    size_t kinds_count;
};

struct typemap_kind typemap_kind_of(const struct typemap *m, uint32_t type);
uint32_t typemap_table_to_shard(const struct typemap *m, size_t shard, uint32_t table); /* or 0 */

#endif
