/*
 * Readers of keys over any bytes: nothing is read outside the value, a refusal says why, and what
 * was accepted survives the way through its binary form.
 *
 *     clang -std=c11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined \
 *         shardmap/key_fuzz.c shardmap/key.c shardmap/key_text.c shardmap/key_time.c base/err.c \
 *         base/check.c -o /tmp/key_fuzz && /tmp/key_fuzz -max_total_time=60
 */

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "shardmap/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t columns[] = {KEY_INT2, KEY_INT4,      KEY_INT8,        KEY_TEXT, KEY_UUID,
                                   KEY_DATE, KEY_TIMESTAMP, KEY_TIMESTAMPTZ, 1700,     0};
enum {
    COLUMNS = sizeof(columns) / sizeof(columns[0])
};

static void expect_round_trip(uint32_t type, const struct key_datum *d)
{
    struct key_datum again;
    uint8_t bytes[8];
    if (d->family == KEY_BYTES || d->family == KEY_BYTES16) {
        return;
    }
    uint32_t as = d->family == KEY_NUMBER ? KEY_INT8 : type;
    size_t n = as == KEY_DATE ? 4 : 8;
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)((uint64_t)d->number >> (8 * (n - 1 - i)));
    }
    struct key_value v = {slice_bytes(bytes, n), as, 1};
    enum err e = key_read(type, &v, &again, NULL);
    check(!e);
    check(key_compare_datum(d, &again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct note note = {.text = ""};
    struct key_datum d;
    if (size < 2) {
        return 0;
    }
    uint32_t column = columns[data[0] % COLUMNS];
    uint32_t type = data[1] & 0x80 ? columns[(data[1] & 0x3F) % COLUMNS] : 0;
    size_t n = size - 2;
    uint8_t *exact = malloc(n + (n == 0)); /* so that a byte too far is seen */
    check(exact != NULL);
    memcpy(exact, data + 2, n);
    struct key_value v = {slice_bytes(exact, n), type, (int16_t)(data[1] & 0x40 ? 1 : 0)};
    enum err e = key_read(column, &v, &d, &note);
    check(e == ERR_NONE || note.text[0] != 0);
    check(e == ERR_NONE || e == ERR_BAD_KEY || e == ERR_NUMERIC_RANGE || e == ERR_BAD_DATETIME ||
          e == ERR_UNSUPPORTED);
    if (!e) {
        check(key_compare_datum(&d, &d) == 0);
        expect_round_trip(column, &d);
        if (key_type_hashable(column)) {
            (void)key_hash_datum(&d);
        }
    }
    free(exact);
    return 0;
}
