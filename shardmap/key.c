/*
 * Key values: which types may be keys, PostgreSQL's partition hash of a value, and order.
 *
 * The hash must equal PostgreSQL's to the last bit, for rows are placed by it and any server can
 * check the place in SQL: lookup3 (Bob Jenkins, public domain) with PostgreSQL's start values,
 * src/common/hashfn.c; which bytes of a type are hashed, src/backend/access/hash/hashfunc.c and
 * utils/adt/uuid.c; how columns combine, src/include/common/hashfn.h hash_combine64() and
 * src/backend/partitioning/partbounds.c compute_partition_hash_value().
 *
 * Hot path: one key is a few dozen instructions, no allocation, no division.
 */

#include "shardmap/key.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"

/* HASH_PARTITION_SEED of PostgreSQL. */
#define SEED    UINT64_C(0x7A5B22367996DCFD)
#define SEED_HI ((uint32_t)(SEED >> 32))
#define SEED_LO ((uint32_t)SEED)

static_assert((BUCKETS & (BUCKETS - 1)) == 0, "the bucket is the low bits of the hash");

struct lanes {
    uint32_t a, b, c;
};

static inline uint32_t rotate(uint32_t v, int bits)
{
    return v << bits | v >> (32 - bits);
}

/* Written out: as a loop over the turns it is three times slower, and start() no constant. */
static inline struct lanes mix(struct lanes l)
{
    l.a = (l.a - l.c) ^ rotate(l.c, 4);
    l.c += l.b;
    l.b = (l.b - l.a) ^ rotate(l.a, 6);
    l.a += l.c;
    l.c = (l.c - l.b) ^ rotate(l.b, 8);
    l.b += l.a;
    l.a = (l.a - l.c) ^ rotate(l.c, 16);
    l.c += l.b;
    l.b = (l.b - l.a) ^ rotate(l.a, 19);
    l.a += l.c;
    l.c = (l.c - l.b) ^ rotate(l.b, 4);
    l.b += l.a;
    return l;
}

static inline uint64_t finish(struct lanes l)
{
    l.c = (l.c ^ l.b) - rotate(l.b, 14);
    l.a = (l.a ^ l.c) - rotate(l.c, 11);
    l.b = (l.b ^ l.a) - rotate(l.a, 25);
    l.c = (l.c ^ l.b) - rotate(l.b, 16);
    l.a = (l.a ^ l.c) - rotate(l.c, 4);
    l.b = (l.b ^ l.a) - rotate(l.a, 14);
    l.c = (l.c ^ l.b) - rotate(l.b, 24);
    return (uint64_t)l.b << 32 | l.c;
}

static inline struct lanes start(uint32_t length)
{
    uint32_t v = 0x9E3779B9u + length + 3923095u;
    return mix((struct lanes){v + SEED_HI, v + SEED_LO, v});
}

static inline uint64_t hash_word(uint32_t word)
{
    struct lanes l = start(sizeof(word));
    l.a += word;
    return finish(l);
}

static inline uint32_t word_at(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

/* The first n bytes, at most four, the rest 0. */
static inline uint32_t word_upto(const uint8_t *p, size_t n)
{
    if (n >= 4) {
        return word_at(p);
    }
    if (n == 0) {
        return 0;
    }
    /* First, middle and last of 1 to 3 bytes; those that coincide coincide in place too. */
    return p[0] | (uint32_t)p[n >> 1] << (8 * (n >> 1)) | (uint32_t)p[n - 1] << (8 * (n - 1));
}

static uint64_t hash_run(const uint8_t *p, size_t n)
{
    struct lanes l = start((uint32_t)n);
    for (; n >= 12; n -= 12, p += 12) {
        l.a += word_at(p);
        l.b += word_at(p + 4);
        l.c += word_at(p + 8);
        l = mix(l);
    }
    l.a += word_upto(p, n);
    l.b += n > 4 ? word_upto(p + 4, n - 4) : 0;
    /* The lowest byte of c belongs to the length, so the last bytes stand one higher there. */
    l.c += n > 8 ? word_upto(p + 8, n - 8) << 8 : 0;
    return finish(l);
}

uint64_t key_hash_datum(const struct key_datum *d)
{
    if (d->family == KEY_NUMBER) {
        /* Equal numbers hash alike in every width: the high half folds to 0 for small ones. */
        uint32_t low = (uint32_t)d->number;
        uint32_t high = (uint32_t)((uint64_t)d->number >> 32);
        return hash_word(low ^ (d->number >= 0 ? high : ~high));
    }
    if (d->family == KEY_BYTES) {
        return hash_run(d->bytes.p, d->bytes.n);
    }
    check(d->family == KEY_BYTES16);
    return hash_run(d->bytes16, sizeof(d->bytes16));
}

uint64_t key_hash_combine(uint64_t a, uint64_t b)
{
    return a ^ (b + UINT64_C(0x49A0F4DD15E5A8E3) + (a << 54) + (a >> 7));
}

int key_compare_datum(const struct key_datum *a, const struct key_datum *b)
{
    check(a->family == b->family);
    if (a->family == KEY_BYTES) {
        size_t n = a->bytes.n < b->bytes.n ? a->bytes.n : b->bytes.n;
        int order = n == 0 ? 0 : memcmp(a->bytes.p, b->bytes.p, n);
        if (order == 0) {
            return (a->bytes.n > b->bytes.n) - (a->bytes.n < b->bytes.n);
        }
        return order < 0 ? -1 : 1;
    }
    if (a->family == KEY_BYTES16) {
        int order = memcmp(a->bytes16, b->bytes16, sizeof(a->bytes16));
        return (order > 0) - (order < 0);
    }
    return (a->number > b->number) - (a->number < b->number);
}

/* ---- types ----------------------------------------------------------------------------------- */

/* Names as PostgreSQL's own messages have them, and other spellings of the same type. */
static const struct type_name {
    uint32_t type;
    const char *name;
} type_names[] = {
    {KEY_INT2, "smallint"},
    {KEY_INT4, "integer"},
    {KEY_INT8, "bigint"},
    {KEY_TEXT, "text"},
    {KEY_VARCHAR, "character varying"},
    {KEY_UUID, "uuid"},
    {KEY_DATE, "date"},
    {KEY_TIMESTAMP, "timestamp"},
    {KEY_TIMESTAMPTZ, "timestamp with time zone"},
    {KEY_INT2, "int2"},
    {KEY_INT4, "int4"},
    {KEY_INT4, "int"},
    {KEY_INT8, "int8"},
    {KEY_VARCHAR, "varchar"},
    {KEY_TIMESTAMP, "timestamp without time zone"},
    {KEY_TIMESTAMPTZ, "timestamptz"},
};

const char *key_type_name(uint32_t type)
{
    for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
        if (type_names[i].type == type) {
            return type_names[i].name;
        }
    }
    return "unknown";
}

uint32_t key_type_parse(const char *name)
{
    for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
        if (strcmp(type_names[i].name, name) == 0) {
            return type_names[i].type;
        }
    }
    return 0;
}

int key_type_hashable(uint32_t column_type)
{
    enum key_family f = key_family(column_type);
    return f == KEY_NUMBER || f == KEY_BYTES || f == KEY_BYTES16;
}

int key_type_orderable(uint32_t column_type)
{
    return key_family(column_type) != KEY_NONE;
}

int key_types_agree(uint32_t column_type, uint32_t value_type)
{
    enum key_family f = key_family(column_type);
    return f != KEY_NONE &&
           (value_type == 0 || value_type == KEY_UNKNOWN || key_family(value_type) == f);
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum err bad_size(uint32_t type, size_t n, struct note *note)
{
    return note_set(note, ERR_BAD_KEY, "incorrect binary data format: %zu bytes for type %s", n,
                    key_type_name(type));
}

static size_t binary_size(uint32_t type)
{
    switch (type) {
    case KEY_INT2: return 2;
    case KEY_INT4:
    case KEY_DATE: return 4;
    case KEY_INT8:
    case KEY_TIMESTAMP:
    case KEY_TIMESTAMPTZ: return 8;
    default: return 16;
    }
}

/*
 * The type of untyped binary bytes. PostgreSQL takes an untyped parameter for the type of the
 * first thing it is compared with: another int type shows in the size; a timestamp of the other
 * kind does not, so those are not guessed. 0: cannot be told.
 */
static uint32_t binary_type(uint32_t column_type, size_t n)
{
    switch (key_family(column_type)) {
    case KEY_NUMBER: return n == 2 ? KEY_INT2 : n == 4 ? KEY_INT4 : KEY_INT8;
    case KEY_MICROS:
    case KEY_MICROS_UTC:
    case KEY_NONE: return 0;
    case KEY_BYTES:
    case KEY_BYTES16:
    case KEY_DAYS: return column_type;
    }
    return 0;
}

static enum err read_binary(uint32_t type, struct slice bytes, struct key_datum *out,
                            struct note *note)
{
    if (type == 0) {
        enum err e = note_set(note, ERR_BAD_KEY, "a binary sharding key without a type");
        note_hint(note, "Name the parameter's type in Parse, or cast it.");
        return e;
    }
    size_t n = binary_size(type);
    if (bytes.n != n) {
        return bad_size(type, bytes.n, note);
    }
    if (n == 2) {
        out->number = (int16_t)be16_at(bytes.p);
    } else if (n == 4) {
        out->number = (int32_t)be32_at(bytes.p);
    } else if (n == 8) {
        out->number = (int64_t)be64_at(bytes.p);
    } else {
        memcpy(out->bytes16, bytes.p, sizeof(out->bytes16));
    }
    return ERR_NONE;
}

static enum err read_text(uint32_t column_type, struct slice bytes, struct key_datum *out,
                          struct note *note)
{
    if (out->family == KEY_NUMBER) {
        return key_text_int(column_type, bytes, &out->number, note);
    }
    if (out->family == KEY_BYTES16) {
        return key_text_uuid(bytes, out->bytes16, note);
    }
    return key_text_time(column_type, bytes, &out->number, note);
}

enum err key_read(uint32_t column_type, const struct key_value *value, struct key_datum *out,
                  struct note *note)
{
    if (value->bytes.p == NULL) {
        return note_set(note, ERR_NULL_KEY, "the sharding key is null");
    }
    out->family = key_family(column_type);
    int same = out->family != KEY_NONE && (value->type_oid == column_type || value->type_oid == 0);
    if (!same && !key_types_agree(column_type, value->type_oid)) {
        return note_set(note, ERR_BAD_KEY, "a value of type %u is no sharding key of type %s",
                        value->type_oid, key_type_name(column_type));
    }
    if (out->family == KEY_BYTES) {
        out->bytes = value->bytes; /* text and binary are the same bytes */
        return ERR_NONE;
    }
    if (value->format == 0) {
        return read_text(column_type, value->bytes, out, note);
    }
    int untyped = value->type_oid == 0 || value->type_oid == KEY_UNKNOWN;
    uint32_t type = untyped ? binary_type(column_type, value->bytes.n) : value->type_oid;
    return read_binary(type, value->bytes, out, note);
}

enum err key_hash(uint32_t column_type, const struct key_value *value, uint64_t *out,
                  struct note *note)
{
    struct key_datum d;
    enum err e = key_read(column_type, value, &d, note);
    if (e) {
        return e;
    }
    *out = key_hash_datum(&d); /* checks that the type is hashable */
    return ERR_NONE;
}

enum err key_bucket(const uint32_t *column_types, const struct key_value *values, size_t count,
                    uint32_t *bucket, struct note *note)
{
    uint64_t whole = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t part;
        enum err e = key_hash(column_types[i], &values[i], &part, note);
        if (e) {
            return e;
        }
        whole = key_hash_combine(whole, part);
    }
    *bucket = (uint32_t)(whole % BUCKETS);
    return ERR_NONE;
}

enum err key_compare(uint32_t column_type, const struct key_value *a, const struct key_value *b,
                     int *out, struct note *note)
{
    struct key_datum x = {.family = KEY_NONE}, y = x;
    enum err e = key_read(column_type, a, &x, note);
    if (!e) {
        e = key_read(column_type, b, &y, note);
    }
    if (e) {
        return e;
    }
    *out = key_compare_datum(&x, &y);
    return ERR_NONE;
}
