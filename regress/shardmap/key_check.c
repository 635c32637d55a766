/*
 * Reads key values from stdin and prints what shardmap makes of them, for hash_check.py to compare
 * with a server. A line is: id, operation, types, and one value in hex per type, tab separated.
 *
 *     17  hash     int8,text  3432  616263     ->  17  <hash of the first column>  <bucket>
 *     18  read     date       ...              ->  18  <binary form in hex, or "-">
 *     19  compare  uuid       ...  ...         ->  19  <-1, 0 or 1, or "-">
 *
 * Everything that has a binary form is hashed and compared in that form as well; a difference
 * stops the program with exit code 1.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shardmap/key.h"

enum {
    LINE_BYTES = 1 << 20,
    FIELDS_MAX = 3 + KEY_COLUMNS_MAX
};

static char line[LINE_BYTES];
static uint8_t room[LINE_BYTES];
static size_t room_used;

static void stop(const char *id, const char *why)
{
    (void)fprintf(stderr, "key_check: line %s: %s\n", id, why);
    (void)fflush(stdout);
    _Exit(1);
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = strchr(digits, c);
    return c == 0 || at == NULL ? -1 : (int)(at - digits);
}

static struct key_value value_of(const char *id, const char *hex)
{
    uint8_t *start = room + room_used;
    size_t n = strlen(hex);
    for (size_t i = 0; i + 1 < n; i += 2) {
        int high = hex_digit(hex[i]), low = hex_digit(hex[i + 1]);
        if (high < 0 || low < 0) {
            stop(id, "not hex");
        }
        room[room_used++] = (uint8_t)(high << 4 | low);
    }
    return (struct key_value){.bytes = slice_bytes(start, n / 2)};
}

/* The binary form of a datum as a client would bind it; `out` holds its bytes. */
static struct key_value binary_of(const struct key_datum *d, uint32_t type, uint8_t out[16])
{
    size_t n = type == KEY_INT2 ? 2 : type == KEY_INT4 || type == KEY_DATE ? 4 : 8;
    if (d->family == KEY_BYTES) {
        return (struct key_value){.bytes = d->bytes, .type_oid = type, .format = 1};
    }
    if (d->family == KEY_BYTES16) {
        n = 16;
        memcpy(out, d->bytes16, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            out[i] = (uint8_t)((uint64_t)d->number >> (8 * (n - 1 - i)));
        }
    }
    return (struct key_value){.bytes = slice_bytes(out, n), .type_oid = type, .format = 1};
}

static void print_hex(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        (void)printf("%02x", s.p[i]);
    }
}

static void do_hash(const char *id, const uint32_t *types, struct key_value *values, size_t count)
{
    struct note note;
    struct key_value binary[KEY_COLUMNS_MAX];
    uint8_t bytes[KEY_COLUMNS_MAX][16];
    uint64_t hash = 0;
    uint32_t bucket = 0, again = 0;
    if (key_hash(types[0], &values[0], &hash, &note) ||
        key_bucket(types, values, count, &bucket, &note)) {
        stop(id, note.text);
    }
    for (size_t i = 0; i < count; i++) {
        struct key_datum d;
        if (key_read(types[i], &values[i], &d, &note)) {
            stop(id, note.text);
        }
        binary[i] = binary_of(&d, types[i], bytes[i]);
    }
    if (key_bucket(types, binary, count, &again, &note) || again != bucket) {
        stop(id, "text and binary hash differently");
    }
    (void)printf("%s\t%" PRId64 "\t%u\n", id, (int64_t)hash, bucket);
}

static void do_read(const char *id, uint32_t type, struct key_value *value)
{
    struct note note;
    struct key_datum d, again;
    uint8_t bytes[16];
    if (key_read(type, value, &d, &note)) {
        (void)printf("%s\t-\n", id);
        return;
    }
    struct key_value binary = binary_of(&d, type, bytes);
    if (key_read(type, &binary, &again, &note) || key_compare_datum(&d, &again) != 0) {
        stop(id, "text and binary read differently");
    }
    (void)printf("%s\t", id);
    print_hex(binary.bytes);
    (void)printf("\n");
}

static void do_compare(const char *id, uint32_t type, struct key_value *values)
{
    struct note note;
    int order = 0, mirrored = 0;
    if (key_compare(type, &values[0], &values[1], &order, &note)) {
        (void)printf("%s\t-\n", id);
        return;
    }
    if (key_compare(type, &values[1], &values[0], &mirrored, &note) || mirrored != -order) {
        stop(id, "a < b and b > a differ");
    }
    (void)printf("%s\t%d\n", id, order);
}

static size_t split(char *text, const char *separator, char **out, size_t max)
{
    size_t n = 0;
    for (char *rest = text; rest != NULL && n < max; n++) {
        out[n] = strsep(&rest, separator);
    }
    return n;
}

static void do_line(void)
{
    char *fields[FIELDS_MAX], *names[KEY_COLUMNS_MAX];
    uint32_t types[KEY_COLUMNS_MAX] = {0};
    struct key_value values[KEY_COLUMNS_MAX];
    line[strcspn(line, "\n")] = 0;
    room_used = 0;
    size_t n = split(line, "\t", fields, FIELDS_MAX);
    if (n < 4) {
        stop(fields[0], "too short");
    }
    size_t count = split(fields[2], ",", names, KEY_COLUMNS_MAX);
    for (size_t i = 0; i < count; i++) {
        types[i] = key_type_parse(names[i]);
        if (types[i] == 0) {
            stop(fields[0], "unknown type");
        }
    }
    for (size_t i = 3; i < n; i++) {
        values[i - 3] = value_of(fields[0], fields[i]);
    }
    if (strcmp(fields[1], "hash") == 0 && n == 3 + count) {
        do_hash(fields[0], types, values, count);
    } else if (strcmp(fields[1], "read") == 0 && n == 4) {
        do_read(fields[0], types[0], values);
    } else if (strcmp(fields[1], "compare") == 0 && n == 5) {
        do_compare(fields[0], types[0], values);
    } else {
        stop(fields[0], "unknown operation");
    }
}

int main(void)
{
    while (fgets(line, sizeof(line), stdin) != NULL) {
        do_line();
    }
    return ferror(stdin) || fflush(stdout) != 0;
}
