#ifndef SHARDMAP_KEY_H
#define SHARDMAP_KEY_H

/*
 * Inside shardmap/: a key value once read, whatever form the client sent it in. Everything that
 * hashes or compares works on a struct key_datum; only key.c, key_text.c and key_time.c know the
 * forms. Pure; any thread; nothing allocates.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "shardmap/shardmap.h"

/* The type oids of PostgreSQL's pg_type.dat that a key may have. */
enum key_oid {
    KEY_INT8 = 20,
    KEY_INT2 = 21,
    KEY_INT4 = 23,
    KEY_TEXT = 25,
    KEY_UNKNOWN = 705,
    KEY_VARCHAR = 1043,
    KEY_DATE = 1082,
    KEY_TIMESTAMP = 1114,
    KEY_TIMESTAMPTZ = 1184,
    KEY_UUID = 2950
};

/* Types whose equal values hash and compare alike. */
enum key_family {
    KEY_NONE, /* no key can have this type */
    KEY_NUMBER,
    KEY_BYTES,
    KEY_BYTES16, /* uuid */
    KEY_DAYS,
    KEY_MICROS,
    KEY_MICROS_UTC /* timestamptz */
};

struct key_datum {
    enum key_family family;
    int64_t number;     /* an int; days or microseconds since 2000-01-01 */
    struct slice bytes; /* KEY_BYTES: borrowed from the value */
    uint8_t bytes16[16];
};

enum {
    KEY_QUOTE_BYTES = 64
};

static inline enum key_family key_family(uint32_t type)
{
    switch (type) {
    case KEY_INT2:
    case KEY_INT4:
    case KEY_INT8: return KEY_NUMBER;
    case KEY_TEXT:
    case KEY_VARCHAR: return KEY_BYTES;
    case KEY_UUID: return KEY_BYTES16;
    case KEY_DATE: return KEY_DAYS;
    case KEY_TIMESTAMP: return KEY_MICROS;
    case KEY_TIMESTAMPTZ: return KEY_MICROS_UTC;
    default: return KEY_NONE;
    }
}

/* Errors as key_hash(). */
enum err key_read(uint32_t column_type, const struct key_value *value, struct key_datum *out,
                  struct note *note) MUST_CHECK;
uint64_t key_hash_datum(const struct key_datum *d);
int key_compare_datum(const struct key_datum *a, const struct key_datum *b); /* -1, 0, 1 */

/* Readers of text: ERR_NONE, or a failure with the words PostgreSQL would use. */
enum err key_text_int(uint32_t type, struct slice text, int64_t *out, struct note *note) MUST_CHECK;
enum err key_text_uuid(struct slice text, uint8_t out[16], struct note *note) MUST_CHECK;
enum err key_text_time(uint32_t type, struct slice text, int64_t *out,
                       struct note *note) MUST_CHECK; /* date, timestamp, timestamptz */
const char *key_quote(struct slice text, char out[KEY_QUOTE_BYTES]);

static inline int key_is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline int key_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

#endif
