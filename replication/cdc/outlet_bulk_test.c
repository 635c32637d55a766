/* Goal: what outlet_bulk.h promises. Method: answers as servers write them, cut at every byte. */

#include <criterion/criterion.h>

#include "replication/cdc/outlet_bulk.h"

static const char answer[] =
    "{ \"took\": 30, \"errors\": true, \"nested\": [[{\"items\":[1,\"]\"]}]], \"items\": [\n"
    " {\"index\":{\"_index\":\"a\",\"_id\":\"1\",\"status\":201,\"_shards\":{\"total\":2}}},\n"
    " {\"update\":{\"_id\":\"a\\\"}\",\"status\":404,\"error\":{\"type\":\"document_missing_exception\","
    "\"reason\":\"[7]: \\\"document\\\" missing\",\"caused_by\":{\"type\":\"x\",\"reason\":\"y\"}}}},\n"
    " {\"delete\":{\"error\":\"old\",\"status\":400}} ]}";

struct seen {
    struct cdc_bulk_item items[8];
    size_t count;
};

static void see(void *arg, const struct cdc_bulk_item *item)
{
    struct seen *s = arg;
    cr_assert_lt(s->count, 8);
    s->items[s->count++] = *item;
}

Test(cdc_bulk, every_item_has_its_status_and_its_error)
{
    struct seen s = {.count = 0};
    struct note note = {0};
    cr_assert_eq(cdc_bulk_read(slice_of(answer), see, &s, &note), ERR_NONE);
    cr_assert_eq(s.count, 3);
    cr_expect_eq(s.items[0].status, 201);
    cr_expect_eq(s.items[0].type.n, 0);
    cr_expect_eq(s.items[1].status, 404);
    cr_expect(slice_is(s.items[1].type, "document_missing_exception"));
    cr_expect(slice_is(s.items[1].reason, "[7]: \\\"document\\\" missing"));
    cr_expect_eq(s.items[2].status, 400);
    cr_expect(slice_is(s.items[2].reason, "old"));
}

Test(cdc_bulk, half_an_answer_is_none)
{
    struct note note = {0};
    for (size_t n = 0; n + 1 < sizeof(answer) - 1; n++) {
        struct seen s = {.count = 0};
        struct slice text = {(const uint8_t *)answer, n};
        cr_expect_eq(cdc_bulk_read(text, see, &s, &note), ERR_SHARD_PROTOCOL, "%zu bytes", n);
    }
    static const char *const wrong[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"items\":3}",
                                        "{\"items\":[{}]}",
                                        "{\"items\":[{\"index\":{\"status\":20100}}]}",
                                        "{\"items\":[{\"index\":{\"status\":\"201\"}}]}",
                                        "{\"took\":,\"items\":[]}"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct seen s = {.count = 0};
        cr_expect_eq(cdc_bulk_read(slice_of(wrong[i]), see, &s, &note), ERR_SHARD_PROTOCOL, "%s",
                     wrong[i]);
    }
}
