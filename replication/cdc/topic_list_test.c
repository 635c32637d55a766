#include <criterion/criterion.h>

#include "replication/cdc/topic_list.h"

Test(topic_list, names_are_whole_and_blanks_do_not_count)
{
    const char *list = " shop.public.users,  shop.public.events ,x.y.z";
    cr_expect(topic_list_has(list, "shop.public.users"));
    cr_expect(topic_list_has(list, "shop.public.events"));
    cr_expect(topic_list_has(list, "x.y.z"));
    cr_expect_not(topic_list_has(list, "shop.public.user"));
    cr_expect_not(topic_list_has(list, "shop.public.users2"));
    cr_expect_not(topic_list_has(list, ""));
}

Test(topic_list, a_star_stands_for_any_end_but_not_for_topics_of_our_own)
{
    cr_expect(topic_list_has("shop.*", "shop.public.users"));
    cr_expect_not(topic_list_has("shop.*", "other.public.users"));
    cr_expect_not(topic_list_has("shop.*", "shop.braid.messages"));
    cr_expect(topic_list_has("*", "shop.public.users"));
    cr_expect(topic_list_has("shop.braid.messages", "shop.braid.messages"));
}

Test(topic_list, a_list_that_is_not_there_or_empty_names_none)
{
    cr_expect_not(topic_list_has(NULL, "shop.public.users"));
    cr_expect_not(topic_list_has("", "shop.public.users"));
    cr_expect_not(topic_list_has(" , ,", "shop.public.users"));
}
