/*
 * CREATE TABLE, CREATE TABLE AS, SELECT INTO, ALTER TABLE.
 */

#include <string.h>

#include "planner/unique.h"

static void home_step(struct build *b, struct plan *p)
{
    ddl_step(b, p, 1, (const char *)p->text.p);
}

int ddl_is_temporary(const PgQuery__RangeVar *v)
{
    return v->relpersistence[0] == 't' || strcmp(v->schemaname, "pg_temp") == 0;
}

/* A temporary table would hide a sharded one from the servers but not from us. 0: refused. */
int ddl_check_temporary(struct build *b, const PgQuery__RangeVar *v, struct plan *p)
{
    int taken = relation_name_taken(b, v->relname);
    if (taken) {
        refuse(p, "Choose another name.", "\"%s\" is the name of a sharded table", v->relname);
    }
    return !taken;
}

void plan_create_sequence(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__RangeVar *v = stmt->create_seq_stmt->sequence;
    if (!ddl_is_temporary(v) || ddl_check_temporary(b, v, p)) {
        plan_home(b, p);
    }
}

/* ---- CREATE TABLE -----------------------------------------------------------------------------
 */

static int check_shape(const PgQuery__CreateStmt *c, const struct ddl_table *t, struct plan *p)
{
    if (c->n_inh_relations > 0 || c->partbound != NULL || c->of_typename != NULL) {
        refuse(p, "A partition or child of a sharded table is created without SHARD BY.",
               "\"%s\": INHERITS, PARTITION OF and OF cannot be used in a declaration of its own",
               t->name);
        return 0;
    }
    for (size_t i = 0; i < t->keys_count; i++) {
        size_t k = 0;
        while (k < c->n_table_elts &&
               !(IS(c->table_elts[k], COLUMN_DEF) &&
                 strcmp(c->table_elts[k]->column_def->colname, t->keys[i]) == 0)) {
            k++;
        }
        if (k == c->n_table_elts) {
            refuse(p, "", "table \"%s\" has no column \"%s\" to shard by", t->name, t->keys[i]);
            p->err = ERR_NO_COLUMN;
            return 0;
        }
    }
    return 1;
}

static int check_elements(struct build *b, const PgQuery__CreateStmt *c, const struct ddl_table *t,
                          struct plan *p)
{
    for (size_t i = 0; i < c->n_table_elts; i++) {
        const tnode *n = c->table_elts[i];
        if (IS(n, COLUMN_DEF)) {
            if (!ddl_check_column(b, t, n->column_def, p)) {
                return 0;
            }
        } else if (IS(n, CONSTRAINT)) {
            if (!ddl_check_constraint(b, t, n->constraint, NULL, p)) {
                return 0;
            }
        } else {
            refuse(p, "Write the columns out.",
                   "\"%s\": LIKE cannot be used with tables on several shards", t->name);
            return 0;
        }
    }
    return 1;
}

static void fill_key_types(const PgQuery__CreateStmt *c, struct ddl_table *t)
{
    for (size_t i = 0; i < t->keys_count; i++) {
        for (size_t k = 0; k < c->n_table_elts; k++) {
            if (IS(c->table_elts[k], COLUMN_DEF) &&
                strcmp(c->table_elts[k]->column_def->colname, t->keys[i]) == 0) {
                t->key_types[i] = ddl_type_oid(c->table_elts[k]->column_def->type_name);
            }
        }
    }
}

/* Whether value k of split i is listed before it too. */
static int listed_before(const struct map_decl *d, uint32_t type, size_t i, size_t k)
{
    struct key_value v = {.bytes = slice_of(d->splits[i].values[k])};
    struct note note;
    int order;
    for (size_t j = 0; j <= i; j++) {
        for (size_t l = 0; l < (j == i ? k : d->splits[j].values_count); l++) {
            struct key_value other = {.bytes = slice_of(d->splits[j].values[l])};
            if (key_compare(type, &v, &other, &order, &note) == ERR_NONE && order == 0) {
                return 1;
            }
        }
    }
    return 0;
}

/* Bounds must be values of the key's type and ascend, list values must differ. Checked before they
 * are kept: a declaration that cannot be read would stop the map from being built. */
int ddl_check_splits(const struct map_decl *d, uint32_t type, struct plan *p)
{
    const char *before = NULL;
    struct note note;
    int order;
    for (size_t i = 0; i < d->splits_count; i++) {
        const struct map_decl_split *s = &d->splits[i];
        for (size_t k = 0; k < s->values_count; k++) {
            struct key_value v = {.bytes = slice_of(s->values[k])};
            if (key_compare(type, &v, &v, &order, &note)) {
                refuse(p, "Write it as the key's type.", "'%s' is no value of the sharding key",
                       s->values[k]);
                return 0;
            }
            if (listed_before(d, type, i, k)) {
                refuse(p, "List each value once.", "value '%s' is listed twice", s->values[k]);
                return 0;
            }
        }
        if (s->below == NULL) {
            continue;
        }
        struct key_value low = {.bytes = slice_of(before)}, high = {.bytes = slice_of(s->below)};
        if (key_compare(type, before == NULL ? &high : &low, &high, &order, &note) ||
            (before != NULL && order >= 0)) {
            refuse(p, "Write bounds of the key's type in ascending order.",
                   "BELOW (%s) does not follow the bound before it", s->below);
            return 0;
        }
        before = s->below;
    }
    return 1;
}

int ddl_check_colocate(struct build *b, const struct map_decl *d, struct ddl_table *t,
                       struct plan *p)
{
    if (d->colocate == NULL) {
        return 1;
    }
    const char *dot = strchr(d->colocate, '.');
    struct relation with;
    relation_find(b, arena_strndup(&b->scratch, d->colocate, (size_t)(dot - d->colocate)), dot + 1,
                  &with);
    int same = with.table != NULL && with.table->kind == MAP_HASH &&
               with.table->keys_count == d->keys_count;
    for (size_t i = 0; same && i < d->keys_count; i++) {
        same = with.table->key_types[i] == t->key_types[i];
    }
    if (!same) {
        refuse(p, "Name a table sharded by hash with keys of the same types.",
               "\"%s\" cannot be colocated with \"%s\"", d->name, d->colocate);
        return 0;
    }
    t->colocate = with.table;
    return 1;
}

static int check_suffix(struct build *b, const PgQuery__CreateStmt *c, struct ddl_table *t,
                        struct plan *p)
{
    const struct map_decl *d = b->suffix_decl;
    *t = (struct ddl_table){.schema = d->schema,
                            .name = d->name,
                            .kind = d->kind,
                            .keys_count = d->keys_count,
                            .keys = d->keys,
                            .group = UINT32_MAX};
    fill_key_types(c, t);
    return ddl_check_colocate(b, d, t, p);
}

/* 1: there is one of that name already, and the plan says what becomes of that. */
static int exists_already(struct build *b, const PgQuery__CreateStmt *c, const struct relation *r,
                          struct plan *p)
{
    if (relation_changed(b, r)) {
        refuse(
            p, "Commit first.",
            "table \"%s\" was changed in this transaction and cannot be changed again before COMMIT",
            r->name);
        return 1;
    }
    if (r->table == NULL && (r->known == NULL || !c->if_not_exists)) {
        return 0; /* should there be one on the home shard, that server says so */
    }
    if (r->known == NULL && b->suffix_decl == NULL) {
        return 0;
    }
    if (r->table == NULL) {
        refuse(p, "Leave out SHARD BY, or choose another name.",
               "table \"%s\" exists already and is not sharded", r->name);
    } else if (r->known == NULL) {
        refuse(p, "Leave out SHARD BY, or take the table out of the configuration.",
               "how table \"%s\" is sharded is said in the configuration", r->name);
    } else if (c->if_not_exists) { /* the servers say that it is skipped */
        ddl_step(b, p, ddl_shards(b, r), (const char *)p->text.p);
    } else {
        refuse(p, "", "relation \"%s\" already exists", r->name);
        p->err = ERR_DUP_TABLE;
    }
    return 1;
}

/* A step everywhere, or one on the home shard and one without sequences. 0: refused. */
static int create_steps(struct build *b, const tnode *stmt, struct plan *p)
{
    struct note note;
    const char *elsewhere = NULL;
    uint64_t all = map_all(b->env->map);
    if (!ddl_create_elsewhere(b, stmt, &elsewhere, &note)) {
        refuse_note(p, ERR_UNSUPPORTED, &note);
        return 0;
    }
    ddl_step(b, p, elsewhere == NULL ? all : 1, (const char *)p->text.p);
    if (elsewhere != NULL) {
        ddl_step(b, p, all & ~UINT64_C(1), elsewhere);
    }
    return 1;
}

static void create_sharded(struct build *b, const tnode *stmt, const struct relation *r,
                           struct plan *p)
{
    const PgQuery__CreateStmt *c = stmt->create_stmt;
    struct ddl_table t;
    if (exists_already(b, c, r, p)) {
        return;
    }
    if (b->suffix_decl != NULL) {
        b->suffix_decl->schema = r->schema;
        b->suffix_decl->name = r->name;
        if (!check_suffix(b, c, &t, p)) {
            return;
        }
    } else {
        ddl_table_of(r->table, &t);
        fill_key_types(c, &t);
    }
    t.created = 1;
    if (!check_shape(c, &t, p) || !check_elements(b, c, &t, p)) {
        return;
    }
    if (b->suffix_decl != NULL && t.kind != MAP_HASH && t.kind != MAP_REFERENCE &&
        !ddl_check_splits(b->suffix_decl, t.key_types[0], p)) {
        return;
    }
    p->changes_table = arena_printf(b->out, "%s.%s", r->schema, r->name);
    p->touches_sharded = 1;
    if (create_steps(b, stmt, p) && b->suffix_decl != NULL) {
        ddl_declare(b, p, b->suffix_decl);
    }
}

/* Where CREATE makes it: the schema named, else the first of the path that is known to exist. */
void ddl_created(struct build *b, const PgQuery__RangeVar *v, struct relation *out)
{
    if (v->schemaname[0] != 0) {
        relation_of(b, v, out);
        return;
    }
    relation_of(b, v, out); /* reads the path */
    const char *schema = NULL;
    for (size_t i = 0; i < b->path_count && schema == NULL; i++) {
        const char *user = relation_user(b);
        int users = user != NULL && strcmp(b->path[i], user) == 0;
        if (strcmp(b->path[i], "pg_catalog") != 0 && !users) {
            schema = b->path[i];
        }
    }
    relation_find(b, schema == NULL ? "public" : schema, v->relname, out);
}

static int local_is_safe(struct build *b, const PgQuery__CreateStmt *c, struct plan *p)
{
    for (size_t i = 0; i < c->n_inh_relations; i++) {
        struct relation parent;
        relation_of(b, c->inh_relations[i]->range_var, &parent);
        if (parent.table != NULL || relation_hides_sharded(b, &parent) != NULL) {
            refuse(p, "Create a plain table.",
                   "a partition or child of sharded table \"%s\" cannot be created", parent.name);
            return 0;
        }
    }
    for (size_t i = 0; i < c->n_table_elts; i++) {
        const tnode *n = c->table_elts[i];
        if (IS(n, CONSTRAINT) && !ddl_check_local_constraint(b, n->constraint, p)) {
            return 0;
        }
        for (size_t k = 0; IS(n, COLUMN_DEF) && k < n->column_def->n_constraints; k++) {
            if (IS(n->column_def->constraints[k], CONSTRAINT) &&
                !ddl_check_local_constraint(b, n->column_def->constraints[k]->constraint, p)) {
                return 0;
            }
        }
    }
    return 1;
}

void plan_create_table(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__CreateStmt *c = stmt->create_stmt;
    struct relation r;
    ddl_created(b, c->relation, &r);
    if (ddl_is_temporary(c->relation)) {
        if (b->suffix_decl != NULL) {
            refuse(p, "Leave out SHARD BY.", "temporary tables cannot be sharded");
        } else if (ddl_check_temporary(b, c->relation, p)) {
            plan_home(b, p);
            p->pins |= PIN_TEMP;
        }
    } else if (b->suffix_decl != NULL || r.table != NULL) {
        create_sharded(b, stmt, &r, p);
    } else if (!ddl_create_child(b, c, &r, p) && local_is_safe(b, c, p)) {
        home_step(b, p);
    }
}

/* ---- ALTER TABLE ------------------------------------------------------------------------------
 */

/* Subcommands that need no look at other shards and change no key. */
static int is_harmless(PgQuery__AlterTableType type)
{
#define AT(name) PG_QUERY__ALTER_TABLE_TYPE__AT_##name
    static const PgQuery__AlterTableType types[] = {AT(DropNotNull),
                                                    AT(SetNotNull),
                                                    AT(SetStatistics),
                                                    AT(SetOptions),
                                                    AT(ResetOptions),
                                                    AT(SetStorage),
                                                    AT(SetCompression),
                                                    AT(ValidateConstraint),
                                                    AT(DropConstraint),
                                                    AT(ChangeOwner),
                                                    AT(ClusterOn),
                                                    AT(DropCluster),
                                                    AT(SetLogged),
                                                    AT(SetUnLogged),
                                                    AT(SetRelOptions),
                                                    AT(ResetRelOptions),
                                                    AT(ReplicaIdentity),
                                                    AT(EnableRowSecurity),
                                                    AT(DisableRowSecurity),
                                                    AT(ForceRowSecurity),
                                                    AT(NoForceRowSecurity),
                                                    AT(DropExpression),
                                                    AT(EnableTrig),
                                                    AT(EnableAlwaysTrig),
                                                    AT(EnableReplicaTrig),
                                                    AT(DisableTrig),
                                                    AT(EnableTrigAll),
                                                    AT(AlterConstraint),
                                                    AT(SetTableSpace),
                                                    AT(SetAccessMethod),
                                                    AT(EnableRule),
                                                    AT(EnableAlwaysRule),
                                                    AT(EnableReplicaRule),
                                                    AT(DisableRule),
                                                    AT(DropOf),
                                                    AT(DropOids),
                                                    AT(DisableTrigAll),
                                                    AT(EnableTrigUser),
                                                    AT(DisableTrigUser)};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i] == type) {
            return 1;
        }
    }
    return 0;
}

static int check_key_change(const struct ddl_table *t, const PgQuery__AlterTableCmd *c,
                            struct plan *p)
{
    if (ddl_is_key(t, c->name)) {
        refuse(p, "Make a new table and copy the rows.",
               "column \"%s\" is the sharding key of \"%s\" and cannot be changed", c->name,
               t->name);
        return 0;
    }
    return 1;
}

static int check_command(struct build *b, const struct relation *r, const struct ddl_table *t,
                         const PgQuery__AlterTableCmd *c, struct relation *leaves, struct plan *p)
{
    if (!unique_check_command(r->known, c, p)) {
        return 0;
    }
    if (is_harmless(c->subtype)) {
        return 1;
    }
    switch ((int)c->subtype) {
    case AT(AddColumn):
        return IS(c->def, COLUMN_DEF) && ddl_check_column(b, t, c->def->column_def, p);
    case AT(AddConstraint):
        return IS(c->def, CONSTRAINT) && ddl_check_constraint(b, t, c->def->constraint, NULL, p);
    case AT(AttachPartition):
    case AT(DetachPartition):
    case AT(AddInherit):
    case AT(DropInherit): return ddl_check_family(b, r, c, leaves, p);
    case AT(AddIdentity):
    case AT(SetIdentity):
    case AT(DropIdentity): return 1;
    case AT(AlterColumnType):
        return check_key_change(t, c, p) &&
               (!IS(c->def, COLUMN_DEF) ||
                ddl_check_filled(b, t, c->name, c->def->column_def->type_name,
                                 c->def->column_def->raw_default, p));
    case AT(DropColumn): return check_key_change(t, c, p);
    case AT(ColumnDefault): {
        PgQuery__Constraint probe = PG_QUERY__CONSTRAINT__INIT;
        probe.contype = PG_QUERY__CONSTR_TYPE__CONSTR_DEFAULT;
        probe.raw_expr = c->def;
        struct ddl_table later = *t;
        later.filled_later = 1;
        return ddl_check_constraint(b, &later, &probe, c->name, p);
    }
    default: break;
    }
    refuse(p, "Run it on every server.",
           "this form of ALTER TABLE cannot be run on \"%s\", which is on several shards", t->name);
    return 0;
}

static int local_command_is_safe(struct build *b, const PgQuery__AlterTableCmd *c, struct plan *p)
{
    const PgQuery__RangeVar *other = NULL;
    if (c->subtype == AT(AddConstraint) && IS(c->def, CONSTRAINT)) {
        return ddl_check_local_constraint(b, c->def->constraint, p);
    }
    if (IS(c->def, COLUMN_DEF)) {
        for (size_t i = 0; i < c->def->column_def->n_constraints; i++) {
            if (IS(c->def->column_def->constraints[i], CONSTRAINT) &&
                !ddl_check_local_constraint(b, c->def->column_def->constraints[i]->constraint, p)) {
                return 0;
            }
        }
    }
    if (IS(c->def, PARTITION_CMD)) {
        other = c->def->partition_cmd->name;
    } else if (IS(c->def, RANGE_VAR)) {
        other = c->def->range_var;
    }
    struct relation r = {0};
    if (other != NULL) {
        relation_of(b, other, &r);
    }
    if (r.table != NULL || relation_hides_sharded(b, &r) != NULL) {
        refuse(p, "Keep them apart.",
               "a table on the home shard cannot be parent or child of sharded table \"%s\"",
               r.name);
        return 0;
    }
    return 1;
}

/* As create_steps(). */
static int alter_steps(struct build *b, const tnode *stmt, const struct ddl_object *o,
                       struct plan *p)
{
    struct note note;
    const char *elsewhere = NULL;
    if (o->relation.table != NULL && !ddl_alter_elsewhere(b, stmt, &elsewhere, &note)) {
        refuse_note(p, ERR_UNSUPPORTED, &note);
        return 0;
    }
    ddl_step(b, p, elsewhere == NULL ? o->shards : 1, (const char *)p->text.p);
    if (elsewhere != NULL && elsewhere[0] != 0) {
        ddl_step(b, p, o->shards & ~UINT64_C(1), elsewhere);
    }
    return 1;
}

void plan_alter_table(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__AlterTableStmt *a = stmt->alter_table_stmt;
    struct ddl_object o;
    if (b->suffix_decl != NULL) {
        ddl_shard_by(b, a, p);
        return;
    }
    p->tag = arena_printf(b->out, "ALTER %s", object_words(a->objtype));
    if (a->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_TYPE) { /* attributes of a composite type */
        plan_everywhere(b, stmt, p);
        return;
    }
    if (!ddl_object(b, a->relation->schemaname, a->relation->relname, stmt, &o, p)) {
        return;
    }
    struct ddl_table t;
    struct relation leaves = {0};
    if (o.relation.table != NULL) {
        ddl_table_of(o.relation.table, &t);
    }
    for (size_t i = 0; i < a->n_cmds; i++) {
        const PgQuery__AlterTableCmd *c =
            IS(a->cmds[i], ALTER_TABLE_CMD) ? a->cmds[i]->alter_table_cmd : NULL;
        if (c == NULL ||
            !(o.relation.table != NULL ? check_command(b, &o.relation, &t, c, &leaves, p)
                                       : local_command_is_safe(b, c, p))) {
            if (p->kind != PLAN_REFUSE) {
                refuse(p, "Run it on every server.", "this form of ALTER TABLE is not known");
            }
            return;
        }
    }
    ddl_changes(b, p, &o.relation);
    if (!alter_steps(b, stmt, &o, p)) {
        return;
    }
    if (leaves.name != NULL) {
        ddl_declare_left(b, p, &leaves);
    }
}
