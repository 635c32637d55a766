/* Goal: what a replication stream says of a transaction. Method: items by hand, texts whole. */

#include <criterion/criterion.h>

#include "replication/cdc/output.h"

static void expect_text(const struct cdc_tx_item *item, const char *text)
{
    struct buf out = {0};
    cdc_output_put(CDC_OUTPUT_JSON, &out, item);
    buf_u8(&out, 0);
    cr_expect_str_eq((const char *)out.p, text);
    buf_free(&out);
}

Test(cdc_output, a_plugin_is_known_by_its_name)
{
    cr_expect_eq(cdc_output_of("braid_json"), CDC_OUTPUT_JSON);
    cr_expect_eq(cdc_output_of("BRAID_JSON"), CDC_OUTPUT_NONE);
    cr_expect_eq(cdc_output_of(""), CDC_OUTPUT_NONE);
    cr_expect_str_eq(cdc_output_name(CDC_OUTPUT_JSON), "braid_json");
}

Test(cdc_output, a_transaction_has_a_begin_and_an_end)
{
    struct cdc_tx_item item = {.step = CDC_TX_BEGIN,
                               .place = 7,
                               .count = 2,
                               .shard = "s\"1",
                               .tx = {.xid = 743, .lsn = 22021560, .time_us = 1795221330123456}};
    expect_text(&item,
                "{\"status\":\"BEGIN\",\"place\":7,\"id\":\"743:22021560\",\"shard\":\"s\\\"1\","
                "\"epoch\":0,\"lsn\":22021560,\"ts_ms\":1795221330123,\"snapshot\":false}");
    item.step = CDC_TX_END;
    expect_text(&item,
                "{\"status\":\"END\",\"place\":7,\"id\":\"743:22021560\",\"event_count\":2}");
    item.step = CDC_TX_NOTHING;
    expect_text(&item, "");
}

Test(cdc_output, pieces_of_a_two_phase_commit_of_ours_have_one_id)
{
    struct cdc_tx_item item = {.step = CDC_TX_END,
                               .tx = {.gid = SLICE("pgbraid_00c0ffee12345678_2f_1a94_3")}};
    static const char ours[] =
        "{\"status\":\"END\",\"place\":0,\"id\":\"pgbraid_00c0ffee12345678_2f_1a94\","
        "\"event_count\":0}";
    expect_text(&item, ours);
    item.tx.gid = SLICE("pgbraid_00c0ffee12345678_2f_1a94_12_5eed0042");
    expect_text(&item, ours);
    item.tx.gid = SLICE("pgbraid_mine_1"); /* anybody's is what it is */
    expect_text(&item,
                "{\"status\":\"END\",\"place\":0,\"id\":\"pgbraid_mine_1\",\"event_count\":0}");
}
