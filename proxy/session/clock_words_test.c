#include <criterion/criterion.h>

#include "proxy/session/clock_words.h"

static int reads(const char *text)
{
    return text_reads_clock(slice_of(text));
}

Test(clock_words, literals_that_mean_a_time_are_found)
{
    cr_expect(reads("SELECT 'now'::timestamptz"));
    cr_expect(reads("SELECT * FROM t WHERE d = 'TODAY'"));
    cr_expect(reads("SELECT * FROM t WHERE d < timestamp 'tomorrow 12:00'"));
    cr_expect(reads("INSERT INTO t VALUES (' yesterday')"));
    cr_expect(reads("SELECT $$now$$::timestamptz"));
    cr_expect(reads("SELECT date 'today' -- the last word, today"));
    cr_expect(reads("today"));
}

Test(clock_words, the_function_and_longer_names_are_not)
{
    cr_expect_not(reads("SELECT now(), known, today_is, nowhere FROM tomorrow2"));
    cr_expect_not(reads("SELECT NOW ( ) - interval '1 day'"));
    cr_expect_not(reads("SELECT snow FROM t WHERE no = 'no w'"));
    cr_expect_not(reads(""));
}

Test(clock_words, now_of_a_literal_is_found_behind_a_call_of_the_function)
{
    cr_expect(reads("SELECT now() > 'now'"));
}

Test(clock_words, escapes_may_hide_any_word)
{
    cr_expect(reads("SELECT E'\\156ow'::timestamptz"));
    cr_expect(reads("SELECT U&'\\006eow'::timestamptz"));
    cr_expect_not(reads("SELECT '\\d+'"), "a plain literal has no escapes");
}
