/* The ring in figures, for braidctl ring: what each shard holds, and what a change would move. */

#include <string.h>

#include "shardmap/map.h"

enum {
    GONE = 0xFF
};

struct members {
    struct ring_shard list[SHARDS_MAX];
    uint8_t was[SHARDS_MAX]; /* index before the changes, or GONE for a new one */
    size_t count;
};

static enum err bad_name(const char *text, size_t n, struct note *note)
{
    return note_set(note, ERR_BAD_SETTING, "\"%.*s\" cannot be a shard: a name has 1 to %d bytes",
                    n < RING_NAME_BYTES ? (int)n : RING_NAME_BYTES, text, RING_NAME_BYTES - 1);
}

enum err ring_change_add(const char *text, struct ring_change *out, struct note *note)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon == NULL ? strlen(text) : (size_t)(colon - text);
    if (n == 0 || n >= RING_NAME_BYTES) {
        return bad_name(text, n, note);
    }
    uint64_t weight = colon == NULL ? 1 : 0;
    for (const char *p = colon == NULL ? "" : colon + 1; *p != 0; p++) {
        if (!key_is_digit((uint8_t)*p) || weight > UINT32_MAX) {
            weight = 0;
            break;
        }
        weight = weight * 10 + (uint64_t)(*p - '0');
    }
    if (weight == 0 || weight > UINT32_MAX) {
        return note_set(note, ERR_BAD_SETTING, "\"%s\": a weight is a whole number from 1", text);
    }
    *out = (struct ring_change){.weight = (uint32_t)weight};
    memcpy(out->name, text, n);
    return ERR_NONE;
}

enum err ring_change_remove(const char *name, struct ring_change *out, struct note *note)
{
    size_t n = strlen(name);
    if (n == 0 || n >= RING_NAME_BYTES) {
        return bad_name(name, n, note);
    }
    *out = (struct ring_change){.weight = 0};
    memcpy(out->name, name, n);
    return ERR_NONE;
}

static size_t find_member(const struct members *m, const char *name)
{
    size_t i = 0;
    while (i < m->count && strcmp(m->list[i].name, name) != 0) {
        i++;
    }
    return i;
}

/* A shard that is removed and added again keeps its buckets: that is how a weight is changed. */
static enum err change_members(const struct members *from, struct members *m,
                               const struct ring_change *c, struct note *note)
{
    size_t at = find_member(m, c->name);
    if (c->weight == 0) {
        if (at == m->count) {
            return note_set(note, ERR_BAD_SETTING, "there is no shard \"%s\" to remove", c->name);
        }
        m->count--;
        memmove(&m->list[at], &m->list[at + 1], (m->count - at) * sizeof(m->list[0]));
        memmove(&m->was[at], &m->was[at + 1], m->count - at);
        return ERR_NONE;
    }
    if (at != m->count) {
        return note_set(note, ERR_BAD_SETTING, "there is a shard \"%s\" already", c->name);
    }
    if (m->count == SHARDS_MAX) {
        return note_set(note, ERR_BAD_SETTING, "a database has at most %d shards", SHARDS_MAX);
    }
    m->list[m->count] = (struct ring_shard){c->name, c->weight};
    size_t old = find_member(from, c->name);
    m->was[m->count++] = old < from->count ? (uint8_t)old : GONE;
    return ERR_NONE;
}

static int name_width(const struct members *m)
{
    int width = 5;
    for (size_t i = 0; i < m->count; i++) {
        int n = (int)strlen(m->list[i].name);
        width = n > width ? n : width;
    }
    return width;
}

static void print_balance(const struct members *m, const uint8_t *buckets, struct buf *out)
{
    uint32_t counts[SHARDS_MAX] = {0}, most = 0;
    int width = name_width(m);
    for (size_t b = 0; b < BUCKETS; b++) {
        uint32_t n = ++counts[buckets[b]];
        most = n > most ? n : most;
    }
    buf_printf(out, "%-*s  weight  buckets    share\n", width, "shard");
    for (size_t i = 0; i < m->count; i++) {
        buf_printf(out, "%-*s  %6u  %7u  %5.2f %%  ", width, m->list[i].name,
                   m->list[i].weight == 0 ? 1 : m->list[i].weight, counts[i],
                   100.0 * counts[i] / BUCKETS);
        map_print_bar(counts[i], most, out);
        buf_u8(out, '\n');
    }
}

/* Buckets that change shards, one line for each pair. */
static void print_moves(const struct members *from, const uint8_t *before, const struct members *to,
                        const uint8_t *after, struct buf *out)
{
    uint32_t moves[SHARDS_MAX][SHARDS_MAX] = {{0}}, all = 0;
    for (size_t b = 0; b < BUCKETS; b++) {
        if (to->was[after[b]] != before[b]) {
            moves[before[b]][after[b]]++;
            all++;
        }
    }
    buf_printf(out, "%u of %d buckets move (%.2f %%)\n", all, BUCKETS, 100.0 * all / BUCKETS);
    for (size_t i = 0; i < from->count; i++) {
        for (size_t k = 0; k < to->count; k++) {
            if (moves[i][k] > 0) {
                buf_printf(out, "  %s -> %s  %u\n", from->list[i].name, to->list[k].name,
                           moves[i][k]);
            }
        }
    }
}

/* The index of each bucket's shard among the members after the change. */
static void renumber(const struct members *to, const uint8_t *before, uint8_t *out)
{
    uint8_t now[SHARDS_MAX];
    memset(now, GONE, sizeof(now));
    for (size_t k = 0; k < to->count; k++) {
        if (to->was[k] != GONE) {
            now[to->was[k]] = (uint8_t)k;
        }
    }
    for (size_t b = 0; b < BUCKETS; b++) {
        out[b] = now[before[b]];
    }
}

enum err ring_print(const struct ring_shard *shards, size_t count,
                    const struct ring_change *changes, size_t changes_count, struct buf *out,
                    struct note *note)
{
    struct members from = {.count = 0}, to;
    uint8_t before[BUCKETS], standing[BUCKETS], after[BUCKETS];
    for (size_t i = 0; i < count; i++) {
        from.list[i] = shards[i];
        from.was[i] = (uint8_t)i;
    }
    from.count = count;
    to = from;
    for (size_t i = 0; i < changes_count; i++) {
        enum err e = change_members(&from, &to, &changes[i], note);
        if (e) {
            return e;
        }
    }
    if (to.count == 0) {
        return note_set(note, ERR_BAD_SETTING, "no shard would be left");
    }
    ring_assign(from.list, from.count, before);
    print_balance(&from, before, out);
    if (changes_count > 0) {
        renumber(&to, before, standing);
        ring_reassign(to.list, to.count, standing, after);
        buf_text(out, "\nafter the change\n");
        print_balance(&to, after, out);
        buf_u8(out, '\n');
        print_moves(&from, before, &to, after, out);
    }
    return ERR_NONE;
}
