/*
 * Columns of sub-selects, views and arms of UNION that show the clock. Every shard has its own
 * now(), so such columns must not be compared where rows of several shards come together.
 */

#include "planner/build.h"

static int shows(struct build *b, const struct level *l)
{
    for (size_t i = 0; l->select != NULL && i < l->select->n_target_list; i++) {
        struct survey v;
        const tnode *n = l->select->target_list[i];
        survey_message(b, (const ProtobufCMessage *)n->res_target, &v);
        if (v.clock) {
            return 1;
        }
    }
    return 0;
}

static int is_below(const struct level *l, const struct level *q)
{
    while (l != NULL && l != q) {
        l = l->parent;
    }
    return l == q;
}

int scope_shows_clock(const struct scope *s, const struct level *q)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (is_below(l, q) && shows(s->build, l)) {
            return 1;
        }
    }
    return 0;
}

int scope_view_shows_clock(const struct scope *s, const struct level *q)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l->view && is_below(l, q) && scope_shows_clock(s, l)) {
            return 1;
        }
    }
    return 0;
}

int scope_below_shows_clock(const struct scope *s)
{
    for (const struct level *l = s->levels; l != NULL; l = l->next) {
        if (l != s->top && shows(s->build, l)) {
            return 1;
        }
    }
    return 0;
}
