/* Goal: an id that is given back says what was put into it; any other text is none. Method: there
 * and back, then cut and changed at every byte. */

#include <string.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "proxy/cdc/feed_id.h"

Test(feed_id, comes_back_as_it_went)
{
    struct feed_id id = {.who = 0x5f1c};
    struct feed_id back;
    struct buf text = {0};
    feed_id_note(&id, 0, 16);
    feed_id_note(&id, 3, 5);
    feed_id_note(&id, 0, 17);
    feed_id_put(&text, &id);
    buf_u8(&text, 0);
    cr_expect_str_eq((const char *)text.p, "5f1c-0:17,3:5");
    cr_assert(feed_id_read((const char *)text.p, &back));
    cr_expect(back.who == 0x5f1c && back.count == 2);
    cr_expect(back.places[0].partition == 0 && back.places[0].offset == 17);
    cr_expect(back.places[1].partition == 3 && back.places[1].offset == 5);
    feed_id_free(&back);
    feed_id_free(&id);
    buf_free(&text);
    cr_expect(feed_id_read("1-", &back) && back.count == 0);
    feed_id_free(&back);
}

Test(feed_id, what_is_none_is_refused)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "0-",
                                      "5",
                                      "5-1",
                                      "5-1:",
                                      "5-:1",
                                      "5-1:2,",
                                      "5-,1:2",
                                      "5-1:2 ",
                                      "5-65536:1",
                                      "5--1:1",
                                      "x-1:2",
                                      "5-1:18446744073709551615",
                                      "11111111111111111-1:2"};
    struct feed_id id;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect_not(feed_id_read(bad[i], &id), "%s", bad[i]);
        cr_expect_null(id.places);
    }
    char many[FEED_ID_PLACES_MAX * 4 + 16] = "1-1:1";
    for (size_t i = 1; i <= FEED_ID_PLACES_MAX; i++) {
        memcpy(many + 1 + 4 * i, ",1:1", 5);
    }
    cr_expect_not(feed_id_read(many, &id));
    many[strlen(many) - 4] = 0;
    cr_expect(feed_id_read(many, &id));
    feed_id_free(&id);
}

Test(feed_id, a_changed_text_is_read_or_refused_and_nothing_else)
{
    static const char good[] = "5f1c-0:17,3:5,1023:18446744073709551614";
    struct rng rng = rng_seeded(3);
    struct feed_id id;
    for (size_t n = 0; n + 1 < sizeof(good); n++) {
        char other[sizeof(good)];
        memcpy(other, good, sizeof(good));
        other[n] = (char)rng_next(&rng);
        if (feed_id_read(other, &id)) {
            feed_id_free(&id);
        }
        other[n] = 0;
        if (feed_id_read(other, &id)) {
            feed_id_free(&id);
        }
    }
}
