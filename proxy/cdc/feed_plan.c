/* braid.changes() as a statement of the extended protocol: its plan, and what Describe tells. */

#include "base/mem.h"
#include "proxy/cdc/feed.h"
#include "proxy/worker.h"

enum {
    OID_INT8 = 20,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_JSON = 114
};

void feed_put_columns(struct buf *out, const int16_t *formats)
{
    static const struct {
        const char *name;
        uint32_t type;
        int16_t size;
    } columns[FEED_COLUMNS] = {{"topic", OID_TEXT, -1}, {"partition", OID_INT4, 4},
                               {"offset", OID_INT8, 8}, {"op", OID_TEXT, -1},
                               {"shard", OID_TEXT, -1}, {"key", OID_JSON, -1},
                               {"value", OID_JSON, -1}};
    struct back_column list[FEED_COLUMNS];
    for (size_t i = 0; i < FEED_COLUMNS; i++) {
        list[i] = (struct back_column){.name = slice_of(columns[i].name),
                                       .type_oid = columns[i].type,
                                       .type_size = columns[i].size,
                                       .type_mod = -1,
                                       .format = (int16_t)(formats == NULL ? 0 : formats[i])};
    }
    back_put_columns(out, list, FEED_COLUMNS);
}

/* One for all, one for each, or none: text. */
void feed_formats(const struct front_bind *bind, int16_t *out)
{
    size_t n = bind == NULL ? 0 : bind->results_count;
    for (size_t i = 0; i < FEED_COLUMNS; i++) {
        size_t at = n == 1 ? 0 : i;
        out[i] = (int16_t)(at < n && be16_at(bind->results + 2 * at) == 1);
    }
}

enum err feed_plan(struct session *s, struct slice text, const uint32_t *types, size_t types_count,
                   struct plan_batch **out, struct note *note)
{
    struct worker *w = s->worker;
    struct plan_batch *batch = mem_zero(sizeof(*batch));
    struct feed_call call;
    uint32_t *all = NULL;
    size_t count = 0;
    batch->refs = 1;
    list_init(&batch->_lru);
    enum err e = feed_read(text, &batch->memory, &call, note);
    e = e ? e : feed_types(&call, types, types_count, &batch->memory, &all, &count, note);
    if (e) {
        plan_batch_unref(batch);
        return e;
    }
    struct plan *plan = arena_zero(&batch->memory, sizeof(*plan));
    plan->kind = PLAN_CHANGES;
    plan->text = slice_bytes(arena_strndup(&batch->memory, text.p, text.n), text.n);
    plan->tag = "SELECT";
    plan->reads_only = 1;
    plan->returns_rows = 1;
    plan->any_params = count > 0;
    plan->described_types = all;
    plan->described_types_count = count;
    batch->plans = arena_zero(&batch->memory, sizeof(*batch->plans));
    batch->plans[0] = plan;
    batch->count = 1;
    batch->map_epoch = s->db->map->epoch;
    batch->catalog_version = s->db->catalog == NULL ? 0 : catalog_version(s->db->catalog);
    plan_batch_unref(w->changes);
    w->changes = *out = batch;
    return ERR_NONE;
}

enum step feed_describe(struct session *s, const struct plan *plan, uint8_t kind,
                        const struct front_bind *bind)
{
    struct buf *out = session_out(s);
    int16_t formats[FEED_COLUMNS];
    if (kind == 'S') {
        back_put_parameters(out, plan->described_types, plan->described_types_count);
    }
    feed_formats(bind, formats);
    feed_put_columns(out, formats);
    return STEP_DONE;
}
