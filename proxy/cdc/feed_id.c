/* Ids of answers: see feed_id.h. */

#include "proxy/cdc/feed_id.h"

#include <inttypes.h>

#include "base/mem.h"

static void add(struct feed_id *id, uint16_t partition, uint64_t offset)
{
    if (id->count == id->cap) {
        id->cap = id->cap == 0 ? 8 : id->cap * 2;
        id->places = mem_grow(id->places, id->cap * sizeof(id->places[0]));
    }
    id->places[id->count++] = (struct cdc_place){partition, offset};
}

void feed_id_note(struct feed_id *id, uint16_t partition, uint64_t offset)
{
    for (size_t i = id->count; i-- > 0;) { /* mostly the last one */
        if (id->places[i].partition == partition) {
            id->places[i].offset = offset;
            return;
        }
    }
    add(id, partition, offset);
}

void feed_id_put(struct buf *out, const struct feed_id *id)
{
    buf_printf(out, "%" PRIx64 "-", id->who);
    for (size_t i = 0; i < id->count; i++) {
        buf_printf(out, "%s%u:%" PRIu64, i > 0 ? "," : "", id->places[i].partition,
                   id->places[i].offset);
    }
}

static int digit_of(char c, unsigned base)
{
    int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    return d < (int)base ? d : -1;
}

/* 0: there is none, or it is more than `max`. */
static int take_number(const char **at, unsigned base, uint64_t max, uint64_t *out)
{
    const char *p = *at;
    uint64_t n = 0;
    for (int d = digit_of(*p, base); d >= 0; d = digit_of(*++p, base)) {
        if (n > (max - (unsigned)d) / base) {
            return 0;
        }
        n = n * base + (unsigned)d;
    }
    int any = p > *at;
    *at = p;
    *out = n;
    return any;
}

static int take(const char **at, char c)
{
    int is_there = **at == c;
    *at += is_there;
    return is_there;
}

int feed_id_read(const char *text, struct feed_id *out)
{
    const char *at = text;
    *out = (struct feed_id){0};
    int good = take_number(&at, 16, UINT64_MAX, &out->who) && out->who != 0 && take(&at, '-');
    while (good && *at != 0) {
        uint64_t partition = 0;
        uint64_t offset = 0;
        good = (out->count == 0 || take(&at, ',')) && out->count < FEED_ID_PLACES_MAX &&
               take_number(&at, 10, UINT16_MAX, &partition) && take(&at, ':') &&
               take_number(&at, 10, UINT64_MAX - 1, &offset);
        if (good) {
            add(out, (uint16_t)partition, offset);
        }
    }
    if (!good) {
        feed_id_free(out);
    }
    return good;
}

void feed_id_free(struct feed_id *id)
{
    mem_free(id->places);
    *id = (struct feed_id){0};
}
