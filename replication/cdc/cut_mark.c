#include "replication/cdc/cut_mark.h"

#include <string.h>

#include "base/mem.h"

enum {
    SHARDS_MAX = 65536,
    PREPARED_MAX = 1 << 20
};

/* What is left; once something is not as it must be, `bad` stays. */
struct reading {
    struct slice left;
    int bad;
};

static int take(struct reading *r, const char *word)
{
    size_t n = strlen(word);
    if (r->bad || r->left.n < n || memcmp(r->left.p, word, n) != 0) {
        return 0;
    }
    r->left = slice_from(r->left, n);
    return 1;
}

static void need(struct reading *r, const char *word)
{
    r->bad |= !take(r, word);
}

static uint64_t need_number(struct reading *r, uint64_t max)
{
    uint64_t n = 0;
    size_t digits = 0;
    while (!r->bad && digits < r->left.n && r->left.p[digits] >= '0' && r->left.p[digits] <= '9') {
        uint64_t digit = (uint64_t)(r->left.p[digits++] - '0');
        r->bad |= n > (UINT64_MAX - digit) / 10;
        n = n * 10 + digit;
    }
    r->bad |= digits == 0 || n > max;
    r->left = r->bad ? r->left : slice_from(r->left, digits);
    return n;
}

static int hex_of(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a string, escapes undone; -1: none. */
static int take_char(struct reading *r)
{
    struct slice s = r->left;
    if (s.n < 1 || s.p[0] == '"' || s.p[0] < 0x20) {
        return -1;
    }
    if (s.p[0] != '\\') {
        r->left = slice_from(s, 1);
        return s.p[0];
    }
    if (s.n >= 2 && (s.p[1] == '"' || s.p[1] == '\\')) {
        r->left = slice_from(s, 2);
        return s.p[1];
    }
    if (s.n < 6 || memcmp(s.p, "\\u00", 4) != 0 || hex_of(s.p[4]) < 0 || hex_of(s.p[5]) < 0) {
        return -1;
    }
    r->left = slice_from(s, 6);
    return hex_of(s.p[4]) << 4 | hex_of(s.p[5]);
}

static void need_prepared(struct reading *r, struct cut_prepared *out)
{
    need(r, "{\"gid\":\"");
    for (int c = r->bad ? -1 : take_char(r); c >= 0; c = take_char(r)) {
        if (out->gid_bytes == CUT_GID_MAX) {
            r->bad = 1;
            return;
        }
        out->gid[out->gid_bytes++] = (char)c;
    }
    need(r, "\",\"lsn\":");
    out->lsn = need_number(r, UINT64_MAX);
    need(r, "}");
}

static void need_list(struct reading *r, struct cut_mark_shard *s)
{
    size_t cap = 0;
    while (!r->bad && !take(r, "]") && s->prepared_count < PREPARED_MAX) {
        if (s->prepared_count > 0) {
            need(r, ",");
        }
        if (s->prepared_count == cap) {
            cap = cap == 0 ? 4 : cap * 2;
            s->prepared = mem_grow(s->prepared, cap * sizeof(s->prepared[0]));
        }
        s->prepared[s->prepared_count] = (struct cut_prepared){0};
        need_prepared(r, &s->prepared[s->prepared_count++]);
    }
}

static void need_shard(struct reading *r, struct cut_mark_shard *s)
{
    need(r, "{\"source\":");
    s->source = (uint16_t)need_number(r, UINT16_MAX);
    need(r, ",\"lsn\":");
    s->lsn = need_number(r, UINT64_MAX);
    if (take(r, "}")) {
        return; /* of a version that kept no more */
    }
    need(r, ",\"epoch\":");
    s->epoch = (uint32_t)need_number(r, UINT32_MAX);
    need(r, ",\"place\":");
    s->place = need_number(r, UINT64_MAX);
    s->has_list = take(r, ",\"prepared\":[");
    if (s->has_list) {
        need_list(r, s);
    }
    need(r, "}");
}

enum err cut_mark_read(struct slice text, struct cut_mark *out, struct note *note)
{
    struct reading r = {.left = text};
    size_t cap = 0;
    *out = (struct cut_mark){0};
    need(&r, "{\"watermark\":");
    out->number = need_number(&r, UINT64_MAX);
    need(&r, ",\"shards\":[");
    while (!r.bad && !take(&r, "]") && out->count < SHARDS_MAX) {
        if (out->count > 0) {
            need(&r, ",");
        }
        if (out->count == cap) {
            cap = cap == 0 ? 4 : cap * 2;
            out->shards = mem_grow(out->shards, cap * sizeof(out->shards[0]));
        }
        out->shards[out->count] = (struct cut_mark_shard){0};
        need_shard(&r, &out->shards[out->count++]);
        r.bad |= out->count > 1 &&
                 out->shards[out->count - 1].source <= out->shards[out->count - 2].source;
    }
    need(&r, "}");
    if (r.bad || r.left.n > 0) {
        cut_mark_free(out);
        return note_set(note, ERR_CORRUPT, "change log: the record of a watermark is wrong");
    }
    return ERR_NONE;
}

void cut_mark_free(struct cut_mark *mark)
{
    for (size_t i = 0; i < mark->count; i++) {
        mem_free(mark->shards[i].prepared);
    }
    mem_free(mark->shards);
    *mark = (struct cut_mark){0};
}
