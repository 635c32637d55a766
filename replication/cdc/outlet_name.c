/* Names for where they are not free: see outlet_name.h. */

#include "replication/cdc/outlet_name.h"

#include <string.h>

#include "base/crc32c.h"

enum {
    SUM_BYTES = 9, /* "-1c3f9a52" */
    INDEX_BYTES = 255,
    INDEX_TOPIC_BYTES = 200, /* of it, before the checksum */
    KAFKA_BYTES = 249,
    KAFKA_PREFIX_BYTES = 100
};

static int is_small(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static int is_large(char c)
{
    return c >= 'A' && c <= 'Z';
}

static int is_mark(char c)
{
    return c == '.' || c == '-' || c == '_';
}

/* Of the forms that this file gives to what it has to change. */
static int ends_like_a_sum(const char *name)
{
    size_t n = strlen(name);
    return n >= SUM_BYTES && name[n - SUM_BYTES] == '-' &&
           strspn(name + n - SUM_BYTES + 1, "0123456789abcdef") == SUM_BYTES - 1;
}

static void end_name(struct buf *out, const char *topic, int changed)
{
    if (changed || ends_like_a_sum(topic)) {
        buf_printf(out, "-%08x", (unsigned)crc32c(0, topic, strlen(topic)));
    }
    buf_u8(out, 0);
}

void cdc_index_name(struct buf *out, const char *prefix, const char *topic)
{
    int is_first = prefix == NULL || prefix[0] == 0;
    int changed = strlen(topic) > INDEX_TOPIC_BYTES;
    buf_text(out, is_first ? "" : prefix);
    for (size_t i = 0; topic[i] != 0 && i < INDEX_TOPIC_BYTES; i++) {
        char c = topic[i];
        int fine = is_small(c) || (is_mark(c) && !(is_first && i == 0));
        changed |= !fine;
        buf_u8(out, is_large(c) ? (uint8_t)(c - 'A' + 'a') : fine ? (uint8_t)c : 'x');
    }
    end_name(out, topic, changed);
}

void cdc_kafka_name(struct buf *out, const char *prefix, const char *topic)
{
    size_t room = KAFKA_BYTES - SUM_BYTES - (prefix == NULL ? 0 : strlen(prefix));
    int changed = strlen(topic) > room;
    buf_text(out, prefix == NULL ? "" : prefix);
    for (size_t i = 0; topic[i] != 0 && i < room; i++) {
        char c = topic[i];
        int fine = is_small(c) || is_large(c) || is_mark(c);
        changed |= !fine;
        buf_u8(out, fine ? (uint8_t)c : '_');
    }
    end_name(out, topic, changed);
}

enum err cdc_index_check_prefix(const char *prefix, struct note *note)
{
    size_t n = 0;
    while (is_small(prefix[n]) || (n > 0 && is_mark(prefix[n]))) {
        n++;
    }
    if (prefix[n] != 0 || n > INDEX_BYTES - INDEX_TOPIC_BYTES - SUM_BYTES) {
        return note_set(note, ERR_BAD_SETTING,
                        "the name of an index begins with a small letter or a digit, then has "
                        "these and . _ - only; as a prefix, at most %d of them",
                        INDEX_BYTES - INDEX_TOPIC_BYTES - SUM_BYTES);
    }
    return ERR_NONE;
}

enum err cdc_kafka_check_prefix(const char *prefix, struct note *note)
{
    size_t n = 0;
    while (is_small(prefix[n]) || is_large(prefix[n]) || is_mark(prefix[n])) {
        n++;
    }
    if (prefix[n] != 0 || n > KAFKA_PREFIX_BYTES) {
        return note_set(note, ERR_BAD_SETTING,
                        "the name of a topic has letters, digits, . _ and - only; as a prefix, at "
                        "most %d of them",
                        KAFKA_PREFIX_BYTES);
    }
    return ERR_NONE;
}
