/* Goal: the console reads what people and tools send. Method: words of statements, found or not. */

#include <criterion/criterion.h>

#include "proxy/admin/admin_parse.h"

static struct arena arena;

static enum err next(struct slice *sql, struct admin_statement *s, int *found)
{
    struct note note;
    return admin_next(sql, &arena, s, found, &note);
}

Test(admin, words_of_a_statement_are_split_at_white_space_and_comments)
{
    struct slice sql = SLICE("  SHOW\t/* all */ pools -- of it\n ;");
    struct admin_statement s;
    int found = 0;
    cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
    cr_assert(found);
    cr_assert_eq(s.count, 2);
    cr_assert_str_eq(s.words[1], "pools");
    cr_assert_eq(admin_begins(&s, "SHOW POOLS"), 2);
    cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
    cr_assert_not(found);
    arena_free(&arena);
}

Test(admin, several_statements_come_one_after_the_other_and_empty_ones_are_skipped)
{
    struct slice sql = SLICE(";;reload;; show stats");
    struct admin_statement s;
    int found = 0;
    cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
    cr_assert_eq(s.count, 1);
    cr_assert_eq(admin_begins(&s, "RELOAD"), 1);
    cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
    cr_assert(found);
    cr_assert_eq(admin_begins(&s, "SHOW STATS"), 2);
    cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
    cr_assert_not(found);
    arena_free(&arena);
}

Test(admin, nothing_but_blanks_is_no_statement)
{
    const char *const texts[] = {"", " ", ";", " ; ;", "-- only words", "/* nothing */ ;"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct slice sql = slice_of(texts[i]);
        struct admin_statement s;
        int found = 1;
        cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
        cr_assert_not(found, "%s", texts[i]);
    }
    arena_free(&arena);
}

Test(admin, quotes_are_undone_and_keep_semicolons)
{
    struct slice sql = SLICE("KILL \"my \"\"db\"\"; x\" 'it''s';");
    struct admin_statement s;
    int found = 0;
    cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
    cr_assert_eq(s.count, 3);
    cr_assert_str_eq(s.words[1], "my \"db\"; x");
    cr_assert_str_eq(s.words[2], "it's");
    arena_free(&arena);
}

Test(admin, equal_signs_and_commas_are_words)
{
    struct slice sql = SLICE("set client_encoding='UTF8'");
    struct admin_statement s;
    int found = 0;
    cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
    cr_assert_eq(s.count, 4);
    cr_assert_str_eq(s.words[1], "client_encoding");
    cr_assert_str_eq(s.words[2], "=");
    cr_assert_str_eq(s.words[3], "UTF8");
    arena_free(&arena);
}

Test(admin, what_does_not_end_is_a_syntax_error)
{
    const char *const texts[] = {"SHOW 'x", "SHOW \"x", "SHOW /* x", "'", "\"\"\""};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct slice sql = slice_of(texts[i]);
        struct admin_statement s;
        int found = 1;
        cr_assert_eq(next(&sql, &s, &found), ERR_SYNTAX, "%s", texts[i]);
    }
    arena_free(&arena);
}

Test(admin, words_past_the_most_that_a_command_has_are_left_out)
{
    struct slice sql = SLICE("a b c d e f g h i j k l m n o p q r; s");
    struct admin_statement s;
    int found = 0;
    cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
    cr_assert_eq(s.count, ADMIN_WORDS_MAX);
    cr_assert_str_eq(s.words[ADMIN_WORDS_MAX - 1], "p");
    cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
    cr_assert_eq(s.count, 1);
    cr_assert_str_eq(s.words[0], "s");
    arena_free(&arena);
}

Test(admin, a_longer_or_shorter_word_is_another_command)
{
    struct admin_statement s = {.words = {"show", "stats_totals"}, .count = 2};
    cr_assert_eq(admin_begins(&s, "SHOW STATS"), 0);
    cr_assert_eq(admin_begins(&s, "SHOW STATS_TOTALS"), 2);
    s = (struct admin_statement){.words = {"show"}, .count = 1};
    cr_assert_eq(admin_begins(&s, "SHOW STATS"), 0);
}

Test(admin, zero_bytes_inside_do_not_stop_it)
{
    struct slice sql = slice_bytes("show\0pools", 10);
    struct admin_statement s;
    int found = 0;
    cr_assert_eq(next(&sql, &s, &found), ERR_NONE);
    cr_assert_eq(s.count, 2);
    arena_free(&arena);
}
