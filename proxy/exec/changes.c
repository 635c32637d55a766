/* The list of schema changes that go shard by shard; see changes.h. */

#include "proxy/exec/changes.h"

#include <stdio.h>

#include "base/clock.h"

static struct schema_change *find(struct changes *c, uint64_t id)
{
    for (int i = 0; i < CHANGES_KEPT; i++) {
        if (c->all[i].state != CHANGE_NONE && c->all[i].id == id) {
            return &c->all[i];
        }
    }
    return NULL;
}

static int is_over(const struct schema_change *x)
{
    return x->state != CHANGE_RUNNING && x->state != CHANGE_UNDOING;
}

/* A free place, else the oldest that ended well, else the oldest that ended. */
static struct schema_change *place(struct changes *c)
{
    struct schema_change *best = NULL;
    for (int i = 0; i < CHANGES_KEPT; i++) {
        struct schema_change *x = &c->all[i];
        if (x->state == CHANGE_NONE) {
            return x;
        }
        int well = x->state == CHANGE_DONE;
        if (is_over(x) && (best == NULL || well > (best->state == CHANGE_DONE) ||
                           (well == (best->state == CHANGE_DONE) && x->id < best->id))) {
            best = x;
        }
    }
    return best;
}

uint64_t change_begin(struct changes *c, const char *database, const char *statement,
                      uint64_t shards)
{
    uint64_t id = 0;
    (void)pthread_mutex_lock(&c->lock);
    struct schema_change *x = place(c);
    if (x != NULL) {
        id = ++c->last_id;
        *x = (struct schema_change){.id = id,
                                    .state = CHANGE_RUNNING,
                                    .shards = shards,
                                    .began_wall_us = clock_wall_us(),
                                    .changed_us = clock_now_us()};
        (void)snprintf(x->database, sizeof(x->database), "%s", database);
        (void)snprintf(x->statement, sizeof(x->statement), "%s", statement);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return id;
}

void change_set(struct changes *c, uint64_t id, enum change_state state, uint32_t shard,
                uint64_t done, const char *error)
{
    (void)pthread_mutex_lock(&c->lock);
    struct schema_change *x = id == 0 ? NULL : find(c, id);
    if (x != NULL) {
        x->state = state;
        x->shard = shard;
        x->done = done;
        x->changed_us = clock_now_us();
        if (error != NULL) {
            (void)snprintf(x->error, sizeof(x->error), "%s", error);
        }
    }
    (void)pthread_mutex_unlock(&c->lock);
}

int changes_list(struct changes *c, struct schema_change *out)
{
    int count = 0;
    (void)pthread_mutex_lock(&c->lock);
    for (int i = 0; i < CHANGES_KEPT; i++) {
        if (c->all[i].state == CHANGE_NONE) {
            continue;
        }
        int at = count++;
        for (; at > 0 && out[at - 1].id > c->all[i].id; at--) {
            out[at] = out[at - 1];
        }
        out[at] = c->all[i];
    }
    (void)pthread_mutex_unlock(&c->lock);
    return count;
}

const char *change_state_name(enum change_state state)
{
    static const char *const names[] = {"", "RUNNING", "UNDOING", "UNDONE", "FAILED", "DONE"};
    return names[state];
}
