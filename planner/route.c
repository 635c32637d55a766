/*
 * The rungs "pass" and "route": nothing sharded -> the home shard or any; every sharded relation
 * bound by its key -> the one shard of those keys. Whether the keys lie on one shard shows with the
 * values, so such a plan also says what to do otherwise.
 */

#include <stdarg.h>
#include <stdio.h>

#include "planner/reach.h"

void plan_set_fixed(struct build *b, struct plan *p, uint64_t shards)
{
    p->_where = arena_zero(b->out, sizeof(*p->_where));
    p->_where->fixed = shards;
}

void plan_home(struct build *b, struct plan *p)
{
    p->kind = PLAN_ONE;
    p->rung = "pass";
    plan_set_fixed(b, p, 1);
}

void plan_any(struct build *b, struct plan *p)
{
    plan_home(b, p);
    p->_where->fixed = map_all(b->env->map);
    p->_where->any = 1;
}

static int same_value(const struct value *a, const struct value *b)
{
    return a->kind == b->kind && a->param == b->param && a->literal == b->literal &&
           a->type == b->type && a->negative == b->negative && slice_eq(a->text, b->text);
}

/* Whether two bindings lead to the same shard whatever the values. */
static int same_binding(const struct binding *a, const struct binding *b)
{
    if (a->table->group != b->table->group || a->table->kind != b->table->kind ||
        (a->table->kind != MAP_HASH && a->table != b->table) || a->written != b->written ||
        a->low != b->low || a->high != b->high || a->keys[0].items == NULL ||
        b->keys[0].items == NULL || a->zipped != b->zipped ||
        (a->also == NULL) != (b->also == NULL) ||
        (a->also != NULL && !same_binding(a->also, b->also))) {
        return 0;
    }
    for (size_t i = 0; i < a->table->keys_count; i++) {
        if (a->keys[i].count != b->keys[i].count || a->chars_max[i] != b->chars_max[i]) {
            return 0;
        }
        for (size_t k = 0; k < a->keys[i].count; k++) {
            if (!same_value(&a->keys[i].items[k], &b->keys[i].items[k])) {
                return 0;
            }
        }
    }
    return 1;
}

static size_t drop_duplicates(struct binding *list, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (k < kept && !same_binding(&list[k], &list[i])) {
            k++;
        }
        if (k == kept) {
            list[kept++] = list[i];
        }
    }
    return kept;
}

/* Types that are read here exactly as the servers read them: dates have many more forms there. */
static int reads_all_forms(uint32_t type)
{
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8 || type == OID_TEXT ||
           type == OID_VARCHAR || type == OID_UUID;
}

/* One binding with one value per column can only lead to one shard. */
static int certainly_one(const struct binding *list, size_t count)
{
    if (count != 1 || list[0].keys[0].items == NULL) {
        return 0;
    }
    for (size_t i = 0; i < list[0].table->keys_count; i++) {
        if (list[0].keys[i].count != 1 || list[0].keys[i].items[0].kind == VALUE_ARRAY_PARAM ||
            list[0].keys[i].items[0].kind == VALUE_ARRAY_TEXT ||
            !reads_all_forms(list[0].table->key_types[i])) {
            return 0;
        }
    }
    return 1;
}

static int any_value_missing(const struct binding *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].keys[0].items == NULL && list[i].low == NULL && list[i].high == NULL) {
            return 1;
        }
    }
    return 0;
}

int route_mixes(const struct build *b, const struct scope *s)
{
    const struct survey *v = &b->survey;
    return s->err == ERR_NONE && s->sharded_count > 0 && (s->local_count > 0 || v->home) &&
           !v->session_change && v->bad_function == NULL && !v->server;
}

/* What no plan over sharded tables may hold, wherever it runs. 1: refused. */
static int refuse_unsafe(struct build *b, struct scope *s, struct plan *p)
{
    const struct survey *v = &b->survey;
    if (v->session_change) {
        refuse(p, "Use SET, which pgbraid carries to every shard.",
               "set_config() cannot be used in a database of several shards");
    } else if (v->bad_function != NULL && b->env->map->tables_count > 0) {
        refuse(p,
               "Functions may be used that read no tables, or reference tables, or sharded tables "
               "whose key is one of their arguments.",
               "function \"%s\" may read or write tables that are on other shards%s%s",
               v->bad_function, v->bad_why == NULL ? "" : ": ",
               v->bad_why == NULL ? "" : v->bad_why);
    } else if (s->sharded_count + s->calls_count == 0) {
        return 0;
    } else if (v->home) {
        refuse(p, "Call it in a statement of its own.",
               "function \"%s\" works on the home shard only and cannot be used together with a "
               "sharded table",
               v->home_function);
    } else if (s->local_count > 0) {
        refuse(p, "Make the small table a reference table, or ask in two statements.",
               "a statement cannot use sharded tables together with tables that are only on the "
               "home shard");
    } else {
        return 0;
    }
    return 1;
}

static void route_unsharded(struct build *b, struct scope *s, struct plan *p)
{
    if (s->local_count > 0 || b->survey.home || b->survey.pins != 0 || b->survey.locking ||
        b->survey.regcast || !b->survey.reads_only || b->survey.bad_function != NULL) {
        plan_home(b, p);
    } else {
        plan_any(b, p);
    }
}

static int names_unknown(const struct scope *s)
{
    for (size_t i = 0; i < s->rels_count; i++) {
        const struct rel *r = s->rels[i];
        if (r->kind == REL_LOCAL && r->known == NULL && r->var != NULL) {
            return 1;
        }
    }
    return 0;
}

void route(struct build *b, struct scope *s, struct plan *p)
{
    if (s->err) {
        refuse_note(p, s->err, &s->note);
        return;
    }
    if (refuse_unsafe(b, s, p)) {
        return;
    }
    p->unknown_tables = names_unknown(s) != 0;
    if (s->sharded_count + s->calls_count == 0) {
        route_unsharded(b, s, p);
        return;
    }
    p->touches_sharded = 1;
    if (b->several && b->survey.locking && !spread_locks(s)) {
        refuse(p, "Name the sharded tables: FOR UPDATE OF ...",
               "rows of reference tables cannot be locked together with rows of sharded tables");
        return;
    }
    struct binding *list;
    size_t count;
    int bound;
    keys_bind(s, &list, &count, &bound);
    for (const struct reach_call *c = s->calls; c != NULL; c = c->next) {
        if (!bound) {
            refuse(p,
                   "Give the argument a constant or a parameter, and every sharded table in the "
                   "statement the same key.",
                   "function \"%s\" uses sharded tables and can only be called where its sharding "
                   "key is known beforehand",
                   c->name);
            return;
        }
    }
    if (!bound || any_value_missing(list, count)) {
        p->kind = PLAN_MANY; /* not for one shard: the caller goes on with the next rung */
        return;
    }
    p->kind = PLAN_ONE;
    p->rung = "route";
    p->_where = arena_zero(b->out, sizeof(*p->_where));
    p->_where->one = 1;
    p->_where->bindings = list;
    p->_where->bindings_count = drop_duplicates(list, count);
    p->_where->any = !certainly_one(list, p->_where->bindings_count); /* `otherwise` is needed */
}

/* After route() gave PLAN_ONE by keys: whether other values may lead to several shards. Clears the
 * mark. */
int route_needs_otherwise(struct plan *p)
{
    int needs = p->kind == PLAN_ONE && p->_where != NULL && p->_where->one && p->_where->any;
    if (p->_where != NULL && p->_where->one) {
        p->_where->any = 0;
    }
    return needs;
}

/* ---- refusals ---------------------------------------------------------------------------------
 */

void refuse(struct plan *p, const char *hint, const char *fmt, ...)
{
    char text[sizeof(p->note.text)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    p->kind = PLAN_REFUSE;
    p->rung = "refuse";
    p->err = note_set(&p->note, ERR_UNSUPPORTED, "%s", text);
    note_hint(&p->note, "%s", hint);
}

void refuse_note(struct plan *p, enum err e, const struct note *note)
{
    p->kind = PLAN_REFUSE;
    p->rung = "refuse";
    p->err = e;
    p->note = *note;
}
