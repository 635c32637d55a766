#include "replication/cdc/cut_mark.h"

#include <string.h>

#include "base/mem.h"
#include "replication/cdc/own_text.h"

enum {
    SHARDS_MAX = 65536,
    PREPARED_MAX = 1 << 20
};

static void need_prepared(struct own_text *r, struct cut_prepared *out)
{
    own_text_need(r, "{\"gid\":\"");
    for (int c = r->bad ? -1 : own_text_char(r); c >= 0; c = own_text_char(r)) {
        if (out->gid_bytes == CUT_GID_MAX) {
            r->bad = 1;
            return;
        }
        out->gid[out->gid_bytes++] = (char)c;
    }
    own_text_need(r, "\",\"lsn\":");
    out->lsn = own_text_number(r, UINT64_MAX);
    own_text_need(r, "}");
}

static void need_list(struct own_text *r, struct cut_mark_shard *s)
{
    size_t cap = 0;
    while (!r->bad && !own_text_take(r, "]") && s->prepared_count < PREPARED_MAX) {
        if (s->prepared_count > 0) {
            own_text_need(r, ",");
        }
        if (s->prepared_count == cap) {
            cap = cap == 0 ? 4 : cap * 2;
            s->prepared = mem_grow(s->prepared, cap * sizeof(s->prepared[0]));
        }
        s->prepared[s->prepared_count] = (struct cut_prepared){0};
        need_prepared(r, &s->prepared[s->prepared_count++]);
    }
}

static void need_shard(struct own_text *r, struct cut_mark_shard *s)
{
    own_text_need(r, "{\"source\":");
    s->source = (uint16_t)own_text_number(r, UINT16_MAX);
    own_text_need(r, ",\"lsn\":");
    s->lsn = own_text_number(r, UINT64_MAX);
    if (own_text_take(r, "}")) {
        return; /* of a version that kept no more */
    }
    own_text_need(r, ",\"epoch\":");
    s->epoch = (uint32_t)own_text_number(r, UINT32_MAX);
    own_text_need(r, ",\"place\":");
    s->place = own_text_number(r, UINT64_MAX);
    s->has_list = own_text_take(r, ",\"prepared\":[");
    if (s->has_list) {
        need_list(r, s);
    }
    own_text_need(r, "}");
}

enum err cut_mark_read(struct slice text, struct cut_mark *out, struct note *note)
{
    struct own_text r = {.left = text};
    size_t cap = 0;
    *out = (struct cut_mark){0};
    own_text_need(&r, "{\"watermark\":");
    out->number = own_text_number(&r, UINT64_MAX);
    own_text_need(&r, ",\"shards\":[");
    while (!r.bad && !own_text_take(&r, "]") && out->count < SHARDS_MAX) {
        if (out->count > 0) {
            own_text_need(&r, ",");
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
    own_text_need(&r, "}");
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
