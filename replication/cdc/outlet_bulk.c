/* Reading the answer to a _bulk request: see outlet_bulk.h. */

#include "replication/cdc/outlet_bulk.h"

#include <string.h>

enum {
    DEPTH_MAX = 64,
    STATUS_MAX = 999
};

struct reader {
    struct slice left;
    int bad;
};

/* The next character that is no blank, or 0. */
static uint8_t peek(struct reader *r)
{
    while (r->left.n > 0 && strchr(" \t\r\n", r->left.p[0]) != NULL && r->left.p[0] != 0) {
        r->left = slice_from(r->left, 1);
    }
    return r->left.n > 0 && !r->bad ? r->left.p[0] : 0;
}

static int takes(struct reader *r, uint8_t c)
{
    int is = peek(r) == c;
    r->left = is ? slice_from(r->left, 1) : r->left;
    return is;
}

static void want(struct reader *r, uint8_t c)
{
    r->bad |= !takes(r, c);
}

static struct slice take_text(struct reader *r)
{
    want(r, '"');
    size_t n = 0;
    while (!r->bad && n < r->left.n && r->left.p[n] != '"') {
        n += r->left.p[n] == '\\' ? 2 : 1;
    }
    if (r->bad || n >= r->left.n) {
        r->bad = 1;
        return (struct slice){0};
    }
    struct slice text = {r->left.p, n};
    r->left = slice_from(r->left, n + 1);
    return text;
}

/* A key with its colon; 0: the object has ended. `first`: no comma in front. */
static int next_key(struct reader *r, int first, struct slice *key)
{
    if (r->bad || takes(r, '}')) {
        return 0;
    }
    if (!first) {
        want(r, ',');
    }
    *key = take_text(r);
    want(r, ':');
    return !r->bad;
}

/* Without recursion: brackets are counted, their kinds not compared. */
static void skip_value(struct reader *r)
{
    int depth = 0;
    do {
        uint8_t c = peek(r);
        if (c == '"') {
            (void)take_text(r);
        } else if (c == '{' || c == '[') {
            r->bad |= ++depth > DEPTH_MAX;
            r->left = slice_from(r->left, 1);
        } else if (depth > 0 && (c == '}' || c == ']')) {
            depth--;
            r->left = slice_from(r->left, 1);
        } else if (depth > 0 && (c == ',' || c == ':')) {
            r->left = slice_from(r->left, 1);
        } else {
            size_t n = 0;
            while (n < r->left.n && r->left.p[n] > ' ' &&
                   strchr(",:{}[]\"", r->left.p[n]) == NULL) {
                n++;
            }
            r->bad |= n == 0;
            r->left = slice_from(r->left, n);
        }
    } while (depth > 0 && !r->bad);
}

static long take_status(struct reader *r)
{
    long n = 0;
    int any = 0;
    for (uint8_t c = peek(r); c >= '0' && c <= '9' && n <= STATUS_MAX;
         c = r->left.n > 0 ? r->left.p[0] : 0) {
        n = n * 10 + (c - '0');
        any = 1;
        r->left = slice_from(r->left, 1);
    }
    r->bad |= !any || n > STATUS_MAX;
    return n;
}

static void read_error(struct reader *r, struct cdc_bulk_item *item)
{
    struct slice key;
    if (peek(r) == '"') { /* of very old servers */
        item->reason = take_text(r);
        return;
    }
    if (peek(r) != '{') {
        skip_value(r); /* null */
        return;
    }
    want(r, '{');
    for (int first = 1; next_key(r, first, &key); first = 0) {
        if (slice_is(key, "type") && peek(r) == '"') {
            item->type = take_text(r);
        } else if (slice_is(key, "reason") && peek(r) == '"') {
            item->reason = take_text(r);
        } else {
            skip_value(r);
        }
    }
}

/* {"index":{...}} */
static void read_item(struct reader *r, struct cdc_bulk_item *item)
{
    struct slice key;
    want(r, '{');
    (void)take_text(r);
    want(r, ':');
    want(r, '{');
    for (int first = 1; next_key(r, first, &key); first = 0) {
        if (slice_is(key, "status")) {
            item->status = take_status(r);
        } else if (slice_is(key, "error")) {
            read_error(r, item);
        } else {
            skip_value(r);
        }
    }
    want(r, '}');
}

enum err cdc_bulk_read(struct slice text, cdc_bulk_fn *fn, void *arg, struct note *note)
{
    struct reader r = {.left = text};
    struct slice key;
    int has_items = 0;
    want(&r, '{');
    for (int first = 1; next_key(&r, first, &key); first = 0) {
        if (!slice_is(key, "items")) {
            skip_value(&r);
            continue;
        }
        has_items = 1;
        want(&r, '[');
        for (int any = 0; !r.bad && !takes(&r, ']'); any = 1) {
            struct cdc_bulk_item item = {0};
            if (any) {
                want(&r, ',');
            }
            read_item(&r, &item);
            if (!r.bad) {
                fn(arg, &item);
            }
        }
    }
    return r.bad || !has_items
               ? note_set(note, ERR_SHARD_PROTOCOL, "the answer to _bulk is not what it should be")
               : ERR_NONE;
}
