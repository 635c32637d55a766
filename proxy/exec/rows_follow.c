/* Rows that must meet on one shard because they are equal in some columns: plan_rows_step.follow.
 * Pure: no sockets. */

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "proxy/exec/rows.h"

struct followed {
    struct hnode node;
    uint64_t shards;
    size_t n;
    uint8_t bytes[];
};

void rows_followed_free(struct rows_followed *f)
{
    struct hnode *next = NULL;
    for (struct hnode *n = hmap_each(&f->seen, NULL); n != NULL; n = next) {
        next = hmap_each(&f->seen, n);
        mem_free(container_of(n, struct followed, node));
    }
    hmap_free(&f->seen);
    buf_free(&f->key);
}

/* The values as one text, with the number of the columns in front. 0: one is NULL. */
static int put_key(const struct plan_rows_step *step, size_t at, const struct slice *fields,
                   struct buf *out)
{
    const struct plan_rows_follow *follow = &step->follow[at];
    out->n = 0;
    buf_be32(out, (uint32_t)at);
    for (size_t i = 0; i < follow->count; i++) {
        struct slice v = fields[follow->columns[i]];
        if (v.p == NULL) {
            return 0;
        }
        buf_be32(out, (uint32_t)v.n);
        buf_add_slice(out, v);
    }
    return 1;
}

static struct followed *find(const struct rows_followed *f, uint64_t hash)
{
    for (struct hnode *n = hmap_find(&f->seen, hash); n != NULL; n = hmap_more(n)) {
        struct followed *one = container_of(n, struct followed, node);
        if (one->n == f->key.n && memcmp(one->bytes, f->key.p, one->n) == 0) {
            return one;
        }
    }
    return NULL;
}

static void keep(struct rows_followed *f, uint64_t hash, uint64_t shards)
{
    struct followed *one = mem_zero(sizeof(*one) + f->key.n);
    one->shards = shards;
    one->n = f->key.n;
    memcpy(one->bytes, f->key.p, f->key.n);
    hmap_add(&f->seen, &one->node, hash);
    f->bytes += sizeof(*one) + one->n;
}

enum err rows_follow(struct rows_followed *f, const struct plan_rows_step *step,
                     const struct slice *fields, uint64_t *shards, struct note *note)
{
    for (size_t i = 0; i < step->follow_count; i++) {
        if (!put_key(step, i, fields, &f->key)) {
            continue;
        }
        uint64_t hash = hash_bytes(f->key.p, f->key.n, hash_process_seed());
        const struct followed *one = find(f, hash);
        if (one == NULL) {
            keep(f, hash, *shards);
        } else if (step->follow_only && one->shards != *shards) {
            enum err e = note_set(note, ERR_UNSUPPORTED,
                                  "rows of this INSERT for several shards have the same value in a "
                                  "global unique index");
            note_hint(note, "Name its columns, ON CONFLICT (...), or insert the rows one by one.");
            return e;
        } else {
            *shards = one->shards;
        }
    }
    return ERR_NONE;
}
