/* Assignment of partitions to the members of a group: see group.h. */

#include "replication/cdc/group.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void cdc_group_init(struct cdc_group *g, uint16_t partitions, int64_t session_us)
{
    *g = (struct cdc_group){.parts_count = partitions, .session_us = session_us};
    g->parts = mem_zero(partitions * sizeof(g->parts[0]));
}

void cdc_group_free(struct cdc_group *g)
{
    mem_free(g->parts);
    mem_free(g->members);
    *g = (struct cdc_group){0};
}

static struct cdc_group_member *find(const struct cdc_group *g, uint64_t id)
{
    for (size_t i = 0; i < g->members_count; i++) {
        if (g->members[i].id == id) {
            return &g->members[i];
        }
    }
    return NULL;
}

static size_t count_wanted(const struct cdc_group *g, uint64_t id)
{
    size_t n = 0;
    for (uint16_t p = 0; p < g->parts_count; p++) {
        n += g->parts[p].wanted == id;
    }
    return n;
}

static void give(struct cdc_group *g, struct cdc_group_part *part, uint64_t owner)
{
    if (part->owner != owner) {
        part->owner = owner;
        part->generation = g->generation;
    }
}

/* How many the i-th member shall have. */
static size_t share(const struct cdc_group *g, size_t i)
{
    return g->parts_count / g->members_count + (i < g->parts_count % g->members_count);
}

/* Who has too many lets go of the last ones; what nobody is to have goes to who has too few. */
static void balance(struct cdc_group *g)
{
    for (uint16_t p = 0; p < g->parts_count; p++) {
        struct cdc_group_part *part = &g->parts[p];
        part->wanted = find(g, part->wanted) == NULL ? 0 : part->wanted;
    }
    for (size_t i = 0; i < g->members_count; i++) {
        size_t has = count_wanted(g, g->members[i].id);
        for (uint16_t p = g->parts_count; p > 0 && has > share(g, i); p--) {
            if (g->parts[p - 1].wanted == g->members[i].id) {
                g->parts[p - 1].wanted = 0;
                has--;
            }
        }
    }
    for (size_t i = 0; i < g->members_count; i++) {
        size_t has = count_wanted(g, g->members[i].id);
        for (uint16_t p = 0; p < g->parts_count && has < share(g, i); p++) {
            if (g->parts[p].wanted == 0) {
                g->parts[p].wanted = g->members[i].id;
                has++;
            }
        }
    }
}

static void rebalance(struct cdc_group *g)
{
    g->generation++;
    balance(g);
    for (uint16_t p = 0; p < g->parts_count; p++) {
        struct cdc_group_part *part = &g->parts[p];
        if (part->owner == 0 || find(g, part->owner) == NULL) {
            give(g, part, part->wanted);
        }
    }
}

enum err cdc_group_join(struct cdc_group *g, int64_t now_us, uint64_t *member, struct note *note)
{
    if (g->members_count == CDC_MEMBERS_MAX) {
        return note_set(note, ERR_TOO_MANY, "the group has %d members already", CDC_MEMBERS_MAX);
    }
    if (g->members_count == g->members_cap) {
        g->members_cap = g->members_cap == 0 ? 4 : g->members_cap * 2;
        g->members = mem_grow(g->members, g->members_cap * sizeof(g->members[0]));
    }
    *member = ++g->last_id;
    g->members[g->members_count++] =
        (struct cdc_group_member){.id = *member, .until_us = now_us + g->session_us};
    rebalance(g);
    return ERR_NONE;
}

static void remove_at(struct cdc_group *g, size_t i)
{
    memmove(g->members + i, g->members + i + 1, (g->members_count - i - 1) * sizeof(g->members[0]));
    g->members_count--;
}

void cdc_group_leave(struct cdc_group *g, uint64_t member)
{
    struct cdc_group_member *m = find(g, member);
    if (m != NULL) {
        remove_at(g, (size_t)(m - g->members));
        rebalance(g);
    }
}

void cdc_group_expire(struct cdc_group *g, int64_t now_us)
{
    size_t before = g->members_count;
    for (size_t i = g->members_count; i > 0; i--) {
        if (g->members[i - 1].until_us <= now_us) {
            remove_at(g, i - 1);
        }
    }
    if (g->members_count < before) {
        rebalance(g);
    }
}

int cdc_group_poll(struct cdc_group *g, uint64_t member, int64_t now_us)
{
    cdc_group_expire(g, now_us);
    struct cdc_group_member *m = find(g, member);
    if (m == NULL) {
        return 0;
    }
    m->until_us = now_us + g->session_us;
    for (uint16_t p = 0; p < g->parts_count; p++) {
        struct cdc_group_part *part = &g->parts[p];
        if (part->owner == member && part->wanted != member) {
            give(g, part, part->wanted);
        }
    }
    return 1;
}

void cdc_group_stay(struct cdc_group *g, uint64_t member)
{
    struct cdc_group_member *m = find(g, member);
    if (m != NULL) {
        m->until_us = INT64_MAX;
    }
}

int cdc_group_has(const struct cdc_group *g, uint64_t member)
{
    return find(g, member) != NULL;
}

int cdc_group_owns(const struct cdc_group *g, uint64_t member, uint16_t partition)
{
    return partition < g->parts_count && member != 0 && g->parts[partition].owner == member;
}
