/*
 * bit_and, bit_or, bit_xor: of integers, and of bit strings. A bit string is 4 bytes with its
 * length in bits, then the bits, the first one on top.
 *
 * Source: PostgreSQL src/backend/utils/adt/varbit.c.
 */

#include "planner/combine_inner.h"

static void mix(enum combine_kind kind, uint8_t *a, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        a[i] = kind == COMBINE_BIT_AND  ? a[i] & b[i]
               : kind == COMBINE_BIT_OR ? a[i] | b[i]
                                        : a[i] ^ b[i];
    }
}

/* A bit string is its length in bits, 4 bytes, and its bits. */
static enum err add_bit_string(const struct combine_agg *agg, struct combine_state *s,
                               struct slice value, struct arena *arena, struct note *note)
{
    static const char *const words[] = {"AND", "OR", "XOR"};
    if (value.n < 4 || value.n != 4 + ((size_t)be32_at(value.p) + 7) / 8) {
        return note_set(note, ERR_SHARD_PROTOCOL, "a bit string has the wrong size");
    }
    if (!s->seen) {
        return combine_keep_bytes(s, value, arena, note);
    }
    if (be32_at(value.p) != be32_at(s->best.p)) {
        return note_set(note, ERR_BIT_LENGTH, "cannot %s bit strings of different sizes",
                        words[agg->kind - COMBINE_BIT_AND]);
    }
    mix(agg->kind, s->best.p + 4, value.p + 4, value.n - 4);
    return ERR_NONE;
}

enum err combine_bits_add(const struct combine_agg *agg, struct combine_state *s,
                          const struct combine_column *column, struct slice value,
                          struct arena *arena, struct note *note)
{
    if (agg->type_oid == OID_BIT) {
        return add_bit_string(agg, s, value, arena, note);
    }
    int64_t v = 0;
    enum err e = value_read_int(agg->type_oid, column->format, value, &v, note);
    switch (s->seen ? (int)agg->kind : -1) {
    case COMBINE_BIT_AND: s->whole &= v; break;
    case COMBINE_BIT_OR: s->whole |= v; break;
    case COMBINE_BIT_XOR: s->whole ^= v; break;
    default: s->whole = v; break;
    }
    s->seen = 1;
    return e;
}

int combine_bits_compare(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = memcmp(a.p + 4, b.p + 4, n - 4);
    return order != 0 ? order : be32_at(a.p) < be32_at(b.p) ? -1 : be32_at(a.p) > be32_at(b.p);
}

void combine_bits_put(const struct combine_agg *agg, struct slice bits, struct buf *out)
{
    if (agg->out_format == FORMAT_BINARY) {
        buf_add_slice(out, bits);
        return;
    }
    for (uint32_t i = 0; i < be32_at(bits.p); i++) {
        buf_u8(out, bits.p[4 + i / 8] >> (7 - i % 8) & 1 ? '1' : '0');
    }
}
