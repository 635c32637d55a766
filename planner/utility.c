/*
 * Transactions, settings and the other statements that read and write no rows.
 */

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "planner/build.h"

enum {
    NOTIFY_PAYLOAD_MAX = 8000 /* NOTIFY_PAYLOAD_MAX_LENGTH of PostgreSQL's async.c */
};

/* ---- transactions -----------------------------------------------------------------------------
 */

static enum plan_level level_named(const char *name)
{
    return name == NULL                               ? PLAN_LEVEL_DEFAULT
           : strcasecmp(name, "repeatable read") == 0 ? PLAN_LEVEL_REPEATABLE_READ
           : strcasecmp(name, "read committed") == 0 || strcasecmp(name, "read uncommitted") == 0
               ? PLAN_LEVEL_READ_COMMITTED
               : PLAN_LEVEL_SERIALIZABLE; /* also what we cannot tell: it promises most */
}

/* The isolation level, and READ ONLY or READ WRITE. */
static void see_modes(tnode *const *options, size_t count, struct plan *p)
{
    struct arena scratch = {0};
    const PgQuery__DefElem *access = tree_option(options, count, "transaction_read_only");
    if (access != NULL) {
        p->tx_access = tree_option_on(access) ? PLAN_ACCESS_READ_ONLY : PLAN_ACCESS_READ_WRITE;
    }
    p->tx_level = level_named(
        tree_option_text(tree_option(options, count, "transaction_isolation"), &scratch));
    arena_free(&scratch);
}

/* PREPARE TRANSACTION and its ends. */
static void plan_prepared(struct build *b, const PgQuery__TransactionStmt *t, struct plan *p)
{
    int prepares = t->kind == PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_PREPARE;
    int commits = t->kind == PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT_PREPARED;
    if (!b->several) {
        p->tag = "PREPARE TRANSACTION";
        plan_any(b, p);
        return;
    }
    p->kind = PLAN_TX;
    p->tx = prepares ? TX_PREPARE : commits ? TX_COMMIT_PREPARED : TX_ROLLBACK_PREPARED;
    p->tag = prepares ? "PREPARE TRANSACTION" : commits ? "COMMIT PREPARED" : "ROLLBACK PREPARED";
    p->name = arena_strdup(b->out, t->gid);
    p->not_in_tx = prepares ? 0 : 1;
}

void plan_transaction(struct build *b, tnode *stmt, struct plan *p)
{
    static const struct {
        PgQuery__TransactionStmtKind kind;
        enum plan_tx tx;
        const char *tag;
    } kinds[] = {
        {PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN, TX_BEGIN, "BEGIN"},
        {PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START, TX_BEGIN, "START TRANSACTION"},
        {PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT, TX_COMMIT, "COMMIT"},
        {PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK, TX_ROLLBACK, "ROLLBACK"},
        {PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_SAVEPOINT, TX_SAVEPOINT, "SAVEPOINT"},
        {PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_RELEASE, TX_RELEASE, "RELEASE"},
        {PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO, TX_ROLLBACK_TO, "ROLLBACK"}};
    const PgQuery__TransactionStmt *t = stmt->transaction_stmt;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].kind == t->kind) {
            p->kind = PLAN_TX;
            p->tx = kinds[i].tx;
            p->tag = kinds[i].tag;
            p->name = t->savepoint_name[0] == 0 ? NULL : arena_strdup(b->out, t->savepoint_name);
            p->tx_chain = t->chain ? 1 : 0;
            see_modes(t->options, t->n_options, p);
            return;
        }
    }
    plan_prepared(b, t, p);
}

/* ---- SET --------------------------------------------------------------------------------------
 */

static void put_quoted(struct buf *out, const char *text)
{
    int escape = strchr(text, '\\') != NULL;
    buf_text(out, escape ? "E'" : "'");
    for (; *text != 0; text++) {
        if (*text == '\'' || *text == '\\') {
            buf_u8(out, (uint8_t)*text);
        }
        buf_u8(out, (uint8_t)*text);
    }
    buf_u8(out, '\'');
}

/* One value, quoted for SQL and as SHOW prints it. 0: not a plain value. */
static int put_setting(const tnode *n, struct buf *sql, struct buf *plain)
{
    if (!IS(n, A_CONST)) {
        return 0;
    }
    const PgQuery__AConst *c = n->a_const;
    if (c->val_case == PG_QUERY__A__CONST__VAL_SVAL) {
        put_quoted(sql, c->sval->sval);
        buf_text(plain, c->sval->sval);
    } else if (c->val_case == PG_QUERY__A__CONST__VAL_IVAL) {
        buf_printf(sql, "%d", c->ival->ival);
        buf_printf(plain, "%d", c->ival->ival);
    } else if (c->val_case == PG_QUERY__A__CONST__VAL_FVAL) {
        buf_text(sql, c->fval->fval);
        buf_text(plain, c->fval->fval);
    } else if (c->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL) {
        buf_text(sql, c->boolval->boolval ? "true" : "false");
        buf_text(plain, c->boolval->boolval ? "true" : "false");
    } else {
        return 0;
    }
    return 1;
}

static int set_values(struct build *b, tnode *const *args, size_t count, struct plan *p)
{
    struct buf sql = {0}, plain = {0};
    int ok = count > 0;
    for (size_t i = 0; i < count && ok; i++) {
        buf_text(&sql, i > 0 ? ", " : "");
        buf_text(&plain, i > 0 ? ", " : "");
        ok = put_setting(args[i], &sql, &plain);
    }
    if (ok) {
        p->set_value = arena_strndup(b->out, sql.p, sql.n);
        p->set_plain = arena_strndup(b->out, plain.n == 0 ? (const uint8_t *)"" : plain.p, plain.n);
    }
    buf_free(&sql);
    buf_free(&plain);
    return ok;
}

static const char *lower(struct build *b, const char *name)
{
    char *copy = arena_strdup(b->out, name);
    for (char *c = copy; *c != 0; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    return copy;
}

/* What we cannot carry from backend to backend. */
static void set_elsewhere(struct build *b, struct plan *p, const char *what)
{
    if (b->several) {
        refuse(p, "Use the plain form, SET name TO value.",
               "%s cannot be used in a database of several shards", what);
    } else {
        plan_any(b, p);
        p->pins |= PIN_SET;
    }
}

/* SET SESSION CHARACTERISTICS AS TRANSACTION ...: the default_ setting of one property. */
static void set_characteristics(struct build *b, const PgQuery__VariableSetStmt *v, struct plan *p)
{
    const PgQuery__DefElem *d =
        v->n_args == 1 && IS(v->args[0], DEF_ELEM) ? v->args[0]->def_elem : NULL;
    if (d == NULL || d->arg == NULL) {
        set_elsewhere(b, p, "SET SESSION CHARACTERISTICS with several properties");
        return;
    }
    p->kind = PLAN_SET;
    p->name = arena_printf(b->out, "default_%s", d->defname);
    if (IS(d->arg, A_CONST) && d->arg->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL) {
        p->set_plain = d->arg->a_const->ival->ival != 0 ? "on" : "off";
        p->set_value = p->set_plain;
    } else if (!set_values(b, &d->arg, 1, p)) {
        set_elsewhere(b, p, "this form of SET SESSION CHARACTERISTICS");
    }
}

static void set_multi(struct build *b, const PgQuery__VariableSetStmt *v, struct plan *p)
{
    if (strcmp(v->name, "TRANSACTION") == 0) {
        p->kind = PLAN_TX;
        p->tx = TX_SET;
        see_modes(v->args, v->n_args, p);
    } else if (strcmp(v->name, "SESSION CHARACTERISTICS") == 0) {
        set_characteristics(b, v, p);
    } else if (b->several) {
        refuse(p,
               "Read what must fit together in one transaction, with BEGIN ISOLATION LEVEL "
               "REPEATABLE READ.",
               "SET TRANSACTION SNAPSHOT cannot be used in a database of several shards");
    } else {
        p->kind = PLAN_TX;
        p->tx = TX_SET;
    }
}

void plan_set(struct build *b, tnode *stmt, struct plan *p)
{
    const PgQuery__VariableSetStmt *v = stmt->variable_set_stmt;
    if (v->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI) {
        set_multi(b, v, p);
        return;
    }
    p->kind = PLAN_SET;
    p->no_snapshot = 1;
    p->set_local = v->is_local ? 1 : 0;
    p->name = lower(b, v->name);
    if (v->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL) {
        p->name = NULL;
        p->set_reset = 1;
        p->tag = "RESET";
    } else if (v->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET) {
        p->set_reset = 1;
        p->tag = "RESET";
    } else if (v->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT) {
        p->set_reset = 1;
    } else if (v->kind != PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE ||
               !set_values(b, v->args, v->n_args, p)) {
        set_elsewhere(b, p, "this form of SET");
    }
    if (p->kind == PLAN_SET && (strcmp(v->name, "transaction_isolation") == 0 ||
                                strcmp(v->name, "transaction_read_only") == 0 ||
                                strcmp(v->name, "transaction_deferrable") == 0)) {
        p->kind = PLAN_TX; /* as SET TRANSACTION: of this transaction only */
        p->tx = TX_SET;
        if (strcmp(v->name, "transaction_isolation") == 0) {
            p->tx_level = level_named(p->set_plain == NULL ? "" : p->set_plain);
        }
        p->tx_access = PLAN_ACCESS_READ_WRITE; /* whatever it says: the primary can do both */
    }
}

/* ---- small ones -------------------------------------------------------------------------------
 */

void plan_show(struct build *b, tnode *stmt, struct plan *p)
{
    const char *name = stmt->variable_show_stmt->name;
    p->no_snapshot = 1;
    if (strncasecmp(name, "braid.", 6) == 0) {
        p->kind = PLAN_SHOW;
        p->name = lower(b, name);
    } else {
        plan_any(b, p);
    }
    p->reads_only = 1;
    p->returns_rows = 1;
}

void plan_discard(struct build *b, tnode *stmt, struct plan *p)
{
    if (stmt->discard_stmt->target == PG_QUERY__DISCARD_MODE__DISCARD_ALL) {
        p->kind = PLAN_DISCARD_ALL;
        p->tag = "DISCARD ALL";
    } else {
        plan_home(b, p);
    }
}

void plan_deallocate(struct build *b, tnode *stmt, struct plan *p)
{
    const char *name = stmt->deallocate_stmt->name;
    p->kind = PLAN_DEALLOCATE;
    p->name = name[0] == 0 ? NULL : arena_strdup(b->out, name);
    p->tag = name[0] == 0 ? "DEALLOCATE ALL" : "DEALLOCATE";
}

/* LISTEN, UNLISTEN, NOTIFY. */
void plan_listen(struct build *b, tnode *stmt, struct plan *p)
{
    const char *payload = IS(stmt, NOTIFY_STMT) ? stmt->notify_stmt->payload : "";
    plan_home(b, p);
    if (strlen(payload) >= NOTIFY_PAYLOAD_MAX) { /* home would say so after the commit */
        refuse(p, NULL, "payload string too long");
        p->err = ERR_BAD_SETTING;
        return;
    }
    p->after_commit = 1;
}

/* A constraint of a local table is known to home only. */
static const char *where_it_exists(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__ConstraintsSetStmt *c = stmt->constraints_set_stmt;
    size_t count = c->n_constraints;
    tnode **all = c->constraints;
    struct note note;
    const char *sql = "DO $braid$BEGIN ";
    for (size_t i = 0; i < count; i++) {
        const char *one = NULL;
        c->constraints = &all[i];
        c->n_constraints = 1;
        enum err e = tree_deparse(stmt, b->out, &one, &note);
        c->constraints = all;
        c->n_constraints = count;
        if (e) {
            refuse_note(p, ERR_INTERNAL, &note);
            return NULL;
        }
        sql = arena_printf(b->out, "%sBEGIN %s; EXCEPTION WHEN undefined_object THEN NULL; END; ",
                           sql, one);
    }
    return arena_printf(b->out, "%sEND$braid$", sql);
}

void plan_constraints(struct build *b, tnode *stmt, struct plan *p)
{
    p->kind = PLAN_TX;
    p->tx = TX_CONSTRAINTS;
    p->no_snapshot = 1;
    p->shard_sql = (const char *)p->text.p;
    if (stmt->constraints_set_stmt->n_constraints > 0) {
        p->name = "named";
        p->shard_sql = where_it_exists(b, stmt, p);
    }
}

void plan_on_home(struct build *b, tnode *stmt, struct plan *p)
{
    (void)stmt;
    plan_home(b, p);
}

/* ---- LOCK, VACUUM, ANALYZE --------------------------------------------------------------------
 */

/* Shards that hold a relation; the home shard for those in no map. */
static uint64_t shards_of(struct build *b, const PgQuery__RangeVar *v, struct plan *p)
{
    struct relation r;
    relation_of(b, v, &r);
    relation_expect(b, &r);
    const char *hides = relation_hides_sharded(b, &r);
    if (hides != NULL) {
        refuse(p, "Name the sharded tables themselves.", "\"%s\" cannot be used: %s", r.name,
               hides);
    }
    p->touches_sharded |= relation_is_everywhere(b, &r) ? 1 : 0;
    return ddl_shards(b, &r);
}

/* One relation after the other, in the order of the statement, when they are not in one place. */
static void lock_each(struct build *b, tnode *stmt, const uint64_t *shards, struct plan *p)
{
    PgQuery__LockStmt *l = stmt->lock_stmt;
    tnode **all = l->relations;
    size_t count = l->n_relations;
    for (size_t i = 0; i < count; i++) {
        const char *sql = NULL;
        struct note note;
        l->relations = &all[i];
        l->n_relations = 1;
        if (tree_deparse(stmt, b->out, &sql, &note)) {
            refuse_note(p, ERR_INTERNAL, &note);
            return;
        }
        ddl_step(b, p, shards[i], sql);
    }
}

void plan_lock(struct build *b, tnode *stmt, struct plan *p)
{
    p->no_snapshot = 1;
    p->only_in_tx = 1;
    const PgQuery__LockStmt *l = stmt->lock_stmt;
    uint64_t *shards = arena_zero(&b->scratch, (l->n_relations + 1) * sizeof(*shards));
    int differ = 0;
    for (size_t i = 0; i < l->n_relations; i++) {
        shards[i] =
            IS(l->relations[i], RANGE_VAR) ? shards_of(b, l->relations[i]->range_var, p) : 1;
        if (p->kind == PLAN_REFUSE) {
            return;
        }
        differ |= shards[i] != shards[0];
    }
    if (differ) {
        lock_each(b, stmt, shards, p);
    } else if (p->touches_sharded) {
        ddl_step(b, p, shards[0], (const char *)p->text.p);
    } else {
        plan_home(b, p);
    }
}

void plan_vacuum(struct build *b, tnode *stmt, struct plan *p)
{
    PgQuery__VacuumStmt *v = stmt->vacuum_stmt;
    p->tag = v->is_vacuumcmd ? "VACUUM" : "ANALYZE";
    p->not_in_tx = v->is_vacuumcmd ? 1 : 0;
    if (v->n_rels == 0) {
        ddl_step(b, p, map_all(b->env->map), (const char *)p->text.p);
        p->one_by_one = v->is_vacuumcmd ? 1 : 0;
        return;
    }
    size_t count = v->n_rels;
    tnode **all = v->rels;
    for (size_t i = 0; i < count; i++) {
        uint64_t shards = IS(all[i], VACUUM_RELATION) && all[i]->vacuum_relation->relation != NULL
                              ? shards_of(b, all[i]->vacuum_relation->relation, p)
                              : 1;
        if (p->kind == PLAN_REFUSE) {
            return;
        }
        const char *sql = (const char *)p->text.p;
        struct note note;
        v->rels = &all[i];
        v->n_rels = 1;
        if (count > 1 && tree_deparse(stmt, b->out, &sql, &note)) {
            refuse_note(p, ERR_INTERNAL, &note);
            return;
        }
        ddl_step(b, p, shards, sql);
        p->one_by_one = v->is_vacuumcmd ? 1 : 0;
    }
}
