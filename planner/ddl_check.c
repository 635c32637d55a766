/*
 * What a sharded or reference table may not have: constraints that would have to look at other
 * shards, and values that a shard would make up for itself.
 */

#include <string.h>

#include "planner/ddl_inner.h"

void ddl_table_of(const struct map_table *t, struct ddl_table *out)
{
    *out = (struct ddl_table){.schema = t->schema,
                              .name = t->name,
                              .kind = t->kind,
                              .keys_count = t->keys_count,
                              .keys = t->keys,
                              .group = t->group};
    for (size_t i = 0; i < t->keys_count; i++) {
        out->key_types[i] = t->key_types[i];
    }
}

int ddl_is_key(const struct ddl_table *t, const char *column)
{
    for (size_t i = 0; i < t->keys_count; i++) {
        if (strcmp(t->keys[i], column) == 0) {
            return 1;
        }
    }
    return 0;
}

uint32_t ddl_type_oid(const PgQuery__TypeName *t)
{
    static const struct {
        const char *name;
        uint32_t oid;
    } types[] = {
        {"int2", OID_INT2},      {"int4", OID_INT4},           {"int8", OID_INT8},
        {"text", OID_TEXT},      {"varchar", OID_VARCHAR},     {"uuid", OID_UUID},
        {"date", OID_DATE},      {"timestamp", OID_TIMESTAMP}, {"timestamptz", OID_TIMESTAMPTZ},
        {"numeric", OID_NUMERIC}};
    const char *schema = NULL;
    const char *serial = ddl_serial_type(t);
    const char *name = serial != NULL ? serial
                       : t == NULL    ? ""
                                      : tree_name(t->names, t->n_names, &schema);
    if (t == NULL || t->n_array_bounds != 0 || t->setof ||
        (schema != NULL && strcmp(schema, "pg_catalog") != 0)) {
        return 0; /* a user's own type may have any name */
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, name) == 0) {
            return types[i].oid;
        }
    }
    return 0;
}

/* ---- values -----------------------------------------------------------------------------------
 */

static int see_clock_text(const ProtobufCMessage *m, void *arg)
{
    const PgQuery__AConst *c = MESSAGE_IS(m, a__const) ? (const PgQuery__AConst *)m : NULL;
    *(int *)arg |= c != NULL && !c->isnull && c->val_case == PG_QUERY__A__CONST__VAL_SVAL &&
                   clock_word_in_text(c->sval->sval);
    return 1;
}

/* What every shard computes by itself for the rows it has: of a reference table, for each copy. */
int ddl_check_filled(struct build *b, const struct ddl_table *t, const char *column,
                     const PgQuery__TypeName *type, const tnode *expr, struct plan *p)
{
    struct survey v;
    int named = 0;
    uint32_t oid = ddl_type_oid(type);
    if (t->kind != MAP_REFERENCE || t->created || t->filled_later || expr == NULL) {
        return 1;
    }
    survey_node(b, expr, &v);
    tree_walk_node(expr, see_clock_text, &named);
    if (v.immutable && !v.clock && !v.unknown_functions && !v.home && !v.regcast &&
        v.bad_function == NULL && (!named || oid == OID_TEXT || oid == OID_VARCHAR)) {
        return 1;
    }
    refuse(p, "Add the column without a default; then UPDATE gives all copies the same values.",
           "the values of column \"%s\" would differ between the copies of reference table \"%s\"",
           column, t->name);
    return 0;
}

/* ---- columns ----------------------------------------------------------------------------------
 */

static int refuse_sequence(struct plan *p, const char *column)
{
    refuse(p, "Declare it in CREATE TABLE, or let the application give the value.",
           "column \"%s\": serial, identity and nextval() cannot be added to tables that are on "
           "several shards",
           column);
    return 0;
}

static int check_key_column(const struct ddl_table *t, const PgQuery__ColumnDef *c, struct plan *p)
{
    uint32_t type = ddl_type_oid(c->type_name);
    int fits = t->kind == MAP_HASH ? key_type_hashable(type) : key_type_orderable(type);
    if (type == 0 || !fits) {
        refuse(p, "Use int, bigint, text, varchar or uuid (for ranges also date and timestamp).",
               "column \"%s\" has a type that cannot be a sharding key", c->colname);
        return 0;
    }
    if (c->coll_clause != NULL) {
        const char *name = tree_name(c->coll_clause->collname, c->coll_clause->n_collname, NULL);
        if (strcmp(name, "C") != 0 && strcmp(name, "POSIX") != 0) {
            refuse(p, "Use COLLATE \"C\" or none.",
                   "sharding key \"%s\" cannot have this collation", c->colname);
            return 0;
        }
    }
    return 1;
}

int ddl_check_column(struct build *b, const struct ddl_table *t, const PgQuery__ColumnDef *c,
                     struct plan *p)
{
    int sequence = ddl_serial_type(c->type_name) != NULL || ddl_uses_sequence(c->raw_default);
    if (sequence && !t->created) {
        return refuse_sequence(p, c->colname);
    }
    if (ddl_is_key(t, c->colname) && !check_key_column(t, c, p)) {
        return 0;
    }
    for (size_t i = 0; i < c->n_constraints; i++) {
        const PgQuery__Constraint *k =
            IS(c->constraints[i], CONSTRAINT) ? c->constraints[i]->constraint : NULL;
        if (k == NULL) {
            continue;
        }
        if (!ddl_check_constraint(b, t, k, c->colname, p) ||
            (k->contype == PG_QUERY__CONSTR_TYPE__CONSTR_DEFAULT &&
             !ddl_check_filled(b, t, c->colname, c->type_name, k->raw_expr, p))) {
            return 0;
        }
    }
    return 1;
}

/* ---- constraints ------------------------------------------------------------------------------
 */

static int names_column(tnode *const *names, size_t count, const char *column)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = tree_string(names[i]);
        if (name != NULL && strcmp(name, column) == 0) {
            return 1;
        }
    }
    return 0;
}

static int check_unique(const struct ddl_table *t, const PgQuery__Constraint *c, const char *column,
                        struct plan *p)
{
    if (c->indexname[0] != 0 && t->keys_count > 0) {
        refuse(p, "Add the constraint with its columns.",
               "a constraint USING INDEX cannot be added to a sharded table");
        return 0;
    }
    for (size_t i = 0; i < t->keys_count; i++) {
        int has = c->n_keys > 0 ? names_column(c->keys, c->n_keys, t->keys[i])
                                : column != NULL && strcmp(column, t->keys[i]) == 0;
        if (!has) {
            refuse(p,
                   "Add the sharding key to the columns of the constraint, or make a global "
                   "unique index instead: CREATE UNIQUE INDEX ... /* braid: global */.",
                   "a PRIMARY KEY or UNIQUE constraint on \"%s\" must contain its sharding key "
                   "\"%s\"",
                   t->name, t->keys[i]);
            return 0;
        }
    }
    return 1;
}

/* Rows that exclude each other are on one shard when they must be equal in its key. */
static int excludes_by(const PgQuery__Constraint *c, const char *key)
{
    for (size_t i = 0; i < c->n_exclusions; i++) {
        tnode *const *pair = IS(c->exclusions[i], LIST) && c->exclusions[i]->list->n_items == 2
                                 ? c->exclusions[i]->list->items
                                 : NULL;
        if (pair == NULL || !IS(pair[0], INDEX_ELEM) || !IS(pair[1], LIST)) {
            continue;
        }
        const char *op = tree_name(pair[1]->list->items, pair[1]->list->n_items, NULL);
        if (strcmp(pair[0]->index_elem->name, key) == 0 && strcmp(op, "=") == 0) {
            return 1;
        }
    }
    return 0;
}

static int check_exclusion(const struct ddl_table *t, const PgQuery__Constraint *c, struct plan *p)
{
    for (size_t i = 0; i < t->keys_count; i++) {
        if (!excludes_by(c, t->keys[i])) {
            refuse(p, "Add the sharding key WITH = to the constraint.",
                   "an EXCLUDE constraint on \"%s\" must contain its sharding key \"%s\" WITH =",
                   t->name, t->keys[i]);
            return 0;
        }
    }
    return 1;
}

/* Name of the i-th column that a foreign key refers to; without a list that is the primary key. */
static const char *referred_column(const PgQuery__Constraint *c, const struct relation *target,
                                   size_t i)
{
    if (c->n_pk_attrs > 0) {
        return i < c->n_pk_attrs ? tree_string(c->pk_attrs[i]) : NULL;
    }
    for (size_t u = 0; target->known != NULL && u < target->known->uniques_count; u++) {
        const struct catalog_unique *x = &target->known->uniques[u];
        if (!x->primary || i >= x->columns_count) {
            continue;
        }
        for (size_t k = 0; k < target->known->columns_count; k++) {
            if (target->known->columns[k].number == x->columns[i]) {
                return target->known->columns[k].name;
            }
        }
    }
    return NULL;
}

static int is_colocated(const struct ddl_table *t, const struct map_table *target)
{
    if (t->kind != MAP_HASH || target->kind != MAP_HASH || t->keys_count != target->keys_count) {
        return 0;
    }
    if (t->group != UINT32_MAX) {
        return t->group == target->group;
    }
    if (t->colocate != NULL) {
        return t->colocate->group == target->group;
    }
    return 0; /* grouped by types when the map is built: not known yet */
}

static int sets_columns(const PgQuery__Constraint *c)
{
    char del = c->fk_del_action[0], upd = c->fk_upd_action[0];
    return del == 'n' || del == 'd' || upd == 'n' || upd == 'd';
}

static int refuse_foreign(struct plan *p, const struct ddl_table *t)
{
    refuse(
        p,
        "Refer to a reference table, or to a table declared COLOCATE with this one, sharding key "
        "included.",
        "this foreign key of \"%s\" would have to look at other shards", t->name);
    return 0;
}

static int check_foreign(struct build *b, const struct ddl_table *t, const PgQuery__Constraint *c,
                         const char *column, struct plan *p)
{
    struct relation target;
    relation_of(b, c->pktable, &target);
    size_t count = c->n_fk_attrs > 0 ? c->n_fk_attrs : 1;
    size_t keys_found = 0, keys_named = 0;
    int self = strcmp(target.name, t->name) == 0 && strcmp(target.schema, t->schema) == 0;
    for (size_t i = 0; i < count; i++) {
        const char *mine = c->n_fk_attrs > 0 ? tree_string(c->fk_attrs[i]) : column;
        const char *theirs = referred_column(c, &target, i);
        for (size_t k = 0; k < t->keys_count; k++) {
            const char *their_key = self ? t->keys[k]
                                    : target.table != NULL && k < target.table->keys_count
                                        ? target.table->keys[k]
                                        : NULL;
            int named = mine != NULL && strcmp(mine, t->keys[k]) == 0;
            keys_named += named;
            keys_found +=
                named && theirs != NULL && their_key != NULL && strcmp(theirs, their_key) == 0;
        }
    }
    if (keys_named > 0 && (sets_columns(c) || (c->fk_upd_action[0] == 'c' && target.table != NULL &&
                                               target.table->kind == MAP_REFERENCE))) {
        refuse(p, "Use NO ACTION, RESTRICT or ON DELETE CASCADE.",
               "a foreign key of \"%s\" must not change its sharding key", t->name);
        return 0;
    }
    if (!self && target.table != NULL && target.table->kind == MAP_REFERENCE) {
        return 1;
    }
    if (t->kind == MAP_REFERENCE) {
        return self ? 1 : refuse_foreign(p, t);
    }
    if ((self || (target.table != NULL && is_colocated(t, target.table))) &&
        keys_found == t->keys_count) {
        return 1;
    }
    return refuse_foreign(p, t);
}

int ddl_check_constraint(struct build *b, const struct ddl_table *t, const PgQuery__Constraint *c,
                         const char *column, struct plan *p)
{
    switch ((int)c->contype) {
    case PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY:
    case PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE: return check_unique(t, c, column, p);
    case PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN: return check_foreign(b, t, c, column, p);
    case PG_QUERY__CONSTR_TYPE__CONSTR_EXCLUSION: return check_exclusion(t, c, p);
    case PG_QUERY__CONSTR_TYPE__CONSTR_IDENTITY:
        return t->created || refuse_sequence(p, column == NULL ? "" : column);
    case PG_QUERY__CONSTR_TYPE__CONSTR_DEFAULT:
        return t->created || t->filled_later || !ddl_uses_sequence(c->raw_expr) ||
               refuse_sequence(p, column == NULL ? "" : column);
    case PG_QUERY__CONSTR_TYPE__CONSTR_GENERATED:
        if (column != NULL && ddl_is_key(t, column)) {
            refuse(p, "Let the application compute it.",
                   "sharding key \"%s\" cannot be a generated column", column);
            return 0;
        }
        return 1;
    default: return 1;
    }
}

int ddl_check_local_constraint(struct build *b, const PgQuery__Constraint *c, struct plan *p)
{
    if (c->contype != PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN || c->pktable == NULL) {
        return 1;
    }
    struct relation target;
    relation_of(b, c->pktable, &target);
    if (target.table != NULL) {
        refuse(p, "Refer to a table on the home shard, or leave the foreign key out.",
               "a table on the home shard cannot have a foreign key to \"%s\", which is on several "
               "shards",
               target.name);
        return 0;
    }
    return 1;
}
