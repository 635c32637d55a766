/*
 * FOR UPDATE and its like over several shards. Each shard locks the rows it gives, so what is
 * locked is what one server would lock, but for LIMIT: every shard locks as many rows as the whole
 * asks for, and those that the answer leaves out are locked, too. That costs others a wait, never
 * an answer.
 *
 * A row of a reference table has a copy on every shard. Writes meet a lock on any of them, two
 * locks of different copies would not meet each other: so those are not locked shard by shard, nor
 * on the one shard that a key leads to. A statement without sharded tables locks those of the home
 * shard.
 */

#include <string.h>

#include "planner/spread_inner.h"
#include "planner/spread_ties.h"

/* A reference table among the rows of this level, or of what stands in its FROM. */
static int has_copies(const struct scope *s, const struct level *l)
{
    for (size_t i = 0; i < s->rels_count; i++) {
        if (s->rels[i]->kind == REL_REFERENCE && ties_within(s->rels[i]->level, l)) {
            return 1;
        }
    }
    return 0;
}

static int locks_copies(const struct scope *s, const struct level *l, const char *name)
{
    for (size_t i = 0; i < l->rels_count; i++) {
        const struct rel *r = l->rels[i];
        if (strcmp(r->alias, name) == 0) {
            return r->kind == REL_REFERENCE ||
                   (r->kind == REL_QUERY && r->query != NULL && has_copies(s, r->query));
        }
    }
    return 0; /* the servers say that there is no such relation */
}

int spread_locks(const struct scope *s)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        for (size_t i = 0; l->select != NULL && i < l->select->n_locking_clause; i++) {
            const PgQuery__LockingClause *c = l->select->locking_clause[i]->locking_clause;
            int copies = c->n_locked_rels == 0 && has_copies(s, l);
            for (size_t k = 0; k < c->n_locked_rels; k++) {
                const tnode *v = c->locked_rels[k];
                copies |= IS(v, RANGE_VAR) && locks_copies(s, l, v->range_var->relname);
            }
            if (copies) {
                return 0;
            }
        }
    }
    return 1;
}
