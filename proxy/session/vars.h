#ifndef PROXY_VARS_H
#define PROXY_VARS_H

/*
 * The settings (SET ...) of a session as an immutable, interned set, so that "has this backend the
 * settings of that session" is a comparison of two pointers. One table per worker; sets that nobody
 * refers to are freed.
 *
 * A transaction remembers the set at its begin and at each savepoint: PostgreSQL takes settings
 * back on rollback, and so do we by putting the pointer back.
 */

#include "base/buf.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/slice.h"

struct var {
    const char *name;  /* lower case */
    const char *value; /* SQL text behind "SET name TO " */
};

/* A pool on whose server these settings were accepted, with the ParameterStatus messages that
 * setting them gave. */
struct varset_proof {
    const void *pool;
    struct buf statuses;
    struct list of_set;
    struct list of_pool; /* the pool's own, so that its proofs go with it */
};

struct varset {
    struct hnode node;
    int refs;
    uint64_t reading; /* hash of what may change how a statement is read: see stmt_settings() */
    size_t count;
    struct var *vars; /* sorted by name */
    struct list proofs;
};

struct varset_table {
    struct hmap map;
    struct varset *empty;
};

void varset_table_init(struct varset_table *t);
void varset_table_free(struct varset_table *t);
struct varset *varset_ref(struct varset *v);
void varset_unref(struct varset_table *t, struct varset *v);
/* `from` with one setting changed (value != NULL) or removed. Gives a new reference. */
struct varset *varset_with(struct varset_table *t, const struct varset *from, const char *name,
                           const char *value);
/* For a journey between workers: a set of no table, which the receiver exchanges for its own. */
struct varset *varset_copy(const struct varset *v);
struct varset *varset_exchange(struct varset_table *t, struct varset *copy); /* frees `copy` */
const char *varset_get(const struct varset *v, const char *name);            /* SQL text, or NULL */
/* SQL that leads from one set to the other: "RESET a; SET b TO c"; nothing when equal. */
void varset_print_change(const struct varset *from, const struct varset *to, struct buf *out);
void var_put_setting_name(const char *name, struct buf *sql); /* "custom"."setting" */
void var_put_name(const char *name, struct buf *sql);         /* "na""me" */
void var_put_literal(struct slice text, struct buf *sql);     /* 'text', E'te\\xt' */
/* Lists of names (search_path): literals as in SET, 'a', 'B' <-> the setting's own text, "a", "B",
 * where PostgreSQL quotes each name by itself. */
int var_is_list(const char *name);
void var_list_to_setting(const char *sql, struct buf *out);
/* Whether PostgreSQL would read the setting as a list of names. */
int var_list_is_good(struct slice setting);
void var_list_from_setting(struct slice setting, struct buf *sql);
struct varset_proof *varset_proof(struct varset *v, const void *pool); /* NULL: not proved yet */
struct varset_proof *varset_prove(struct varset *v, const void *pool);
void varset_disprove(struct varset_proof *proof); /* frees it */

#endif
