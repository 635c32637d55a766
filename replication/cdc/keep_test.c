#include <criterion/criterion.h>

#include "replication/cdc/keep.h"

static enum cdc_keep look(struct cdc_keeping *k, uint64_t retained, int64_t safe)
{
    return cdc_keep_judge(k,
                          &(struct cdc_keep_look){.retained = retained, .safe = safe, .max = 1000});
}

Test(keep, more_than_the_setting_is_one_alarm_and_less_is_one_relief)
{
    struct cdc_keeping k = {0};
    cr_assert_eq(look(&k, 1000, -1), CDC_KEEP_SAME);
    cr_assert_eq(look(&k, 1001, -1), CDC_KEEP_ALARM);
    cr_assert_eq(look(&k, 5000, -1), CDC_KEEP_SAME);
    cr_assert(k.alarm);
    cr_assert_eq(look(&k, 10, -1), CDC_KEEP_RELIEF);
    cr_assert_eq(look(&k, 10, -1), CDC_KEEP_SAME);
}

Test(keep, the_alarm_comes_before_the_server_drops_what_the_slot_needs)
{
    struct cdc_keeping k = {0};
    cr_assert_eq(look(&k, 700, 300), CDC_KEEP_SAME);
    cr_assert_eq(look(&k, 750, 250), CDC_KEEP_ALARM);
    cr_assert_eq(look(&k, 990, 10), CDC_KEEP_SAME);
    cr_assert_eq(look(&k, 0, 1000), CDC_KEEP_RELIEF);
}

Test(keep, what_may_go_at_the_next_checkpoint_is_an_alarm)
{
    struct cdc_keeping k = {0};
    cr_assert_eq(cdc_keep_judge(&k, &(struct cdc_keep_look){.safe = 50, .unreserved = 1}),
                 CDC_KEEP_ALARM);
}

Test(keep, without_settings_nothing_is_an_alarm)
{
    struct cdc_keeping k = {0};
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(
            cdc_keep_judge(&k, &(struct cdc_keep_look){.retained = UINT64_MAX, .safe = -1}),
            CDC_KEEP_SAME);
    }
}

static enum cdc_keep over(struct cdc_keeping *k, uint64_t retained)
{
    return cdc_keep_judge(k,
                          &(struct cdc_keep_look){.retained = retained, .safe = -1, .limit = 1000});
}

Test(keep, a_slot_over_its_limit_is_given_up_when_it_does_not_catch_up)
{
    struct cdc_keeping k = {0};
    for (int i = 1; i < CDC_OVER_LOOKS; i++) {
        cr_assert_eq(over(&k, 2000 + (uint64_t)i), CDC_KEEP_SAME);
    }
    cr_assert_eq(over(&k, 2000), CDC_KEEP_SAME, "one less: it may be catching up");
    for (int i = 2; i < CDC_OVER_LOOKS; i++) {
        cr_assert_eq(over(&k, 2000), CDC_KEEP_SAME);
    }
    cr_assert_eq(over(&k, 2000), CDC_KEEP_GIVE_UP);
    cr_assert_eq(over(&k, 2000), CDC_KEEP_SAME, "the next slot begins anew");
}

Test(keep, a_slot_that_was_under_its_limit_once_is_counted_anew)
{
    struct cdc_keeping k = {0};
    for (int i = 0; i < 5 * CDC_OVER_LOOKS; i++) {
        cr_assert_eq(over(&k, i % (CDC_OVER_LOOKS - 1) == 0 ? 1000 : 1001), CDC_KEEP_SAME);
    }
}
