/*
 * Goal: PgBouncer's userlist is read as PgBouncer reads it, and a broken line is named.
 * Method: bytes in memory, good and bad; secrets never come back in a message.
 */

#include <string.h>

#include <criterion/criterion.h>

#include "conf/reader.h"

struct users {
    struct conf conf;
    struct arena keep;
    struct note note;
};

static enum err read_users(struct users *u, const char *text, size_t n)
{
    *u = (struct users){.conf = {.path = "c.yaml"}};
    struct reader r = {.file = "users.txt", .note = &u->note, .keep = &u->keep, .conf = &u->conf};
    enum err e = users_read(&r, text, n);
    arena_free(&r.scratch);
    return e;
}

Test(users, every_form_of_a_line)
{
    static const char TEXT[] = "; comment\n"
                               "# comment\n"
                               "\n"
                               "  \t\n"
                               "\"zoe\" \"pass word\"\n"
                               "\t\"a\"\"b\"   \"say \"\"hi\"\"\" ignored \"all\" of it\r\n"
                               "\"md\" \"md5d41d8cd98f00b204e9800998ecf8427e\" ; comment\n"
                               "\"tight\"\"\"\n"
                               "\"empty\" \"\"\n"
                               "\"last\" \"no newline\"";
    struct users u;
    /* "tight""" is one text with a quote at its end: no secret follows. */
    cr_assert_eq(read_users(&u, TEXT, sizeof(TEXT) - 1), ERR_BAD_SETTING);
    cr_assert(strstr(u.note.text, "users.txt:8:") != NULL, "%s", u.note.text);
    arena_free(&u.keep);

    char good[sizeof(TEXT)];
    memcpy(good, TEXT, sizeof(TEXT));
    *strstr(good, "\"tight\"") = ';';
    cr_assert_eq(read_users(&u, good, sizeof(good) - 1), ERR_NONE, "%s", u.note.text);
    cr_assert_eq(u.conf.users_count, 5);
    cr_assert_str_eq(u.conf._first_user, "zoe");
    cr_assert_str_eq(conf_find_user(&u.conf, "zoe")->secret, "pass word");
    cr_assert_str_eq(conf_find_user(&u.conf, "a\"b")->secret, "say \"hi\"");
    cr_assert_str_eq(conf_find_user(&u.conf, "md")->secret, "md5d41d8cd98f00b204e9800998ecf8427e");
    cr_assert_str_eq(conf_find_user(&u.conf, "empty")->secret, "");
    cr_assert_str_eq(conf_find_user(&u.conf, "last")->secret, "no newline");
    cr_assert(conf_find_user(&u.conf, "z") == NULL);
    for (size_t i = 1; i < u.conf.users_count; i++) {
        cr_assert_lt(strcmp(u.conf.users[i - 1].name, u.conf.users[i].name), 0);
    }
    arena_free(&u.keep);
}

Test(users, a_second_line_of_a_name_is_the_newer_secret)
{
    static const char TEXT[] = "\"b\" \"old\"\n\"a\" \"x\"\n\"b\" \"new\"\n";
    struct users u;
    cr_assert_eq(read_users(&u, TEXT, sizeof(TEXT) - 1), ERR_NONE, "%s", u.note.text);
    cr_assert_eq(u.conf.users_count, 2);
    cr_assert_str_eq(u.conf._first_user, "b");
    cr_assert_str_eq(conf_find_user(&u.conf, "b")->secret, "new");
    cr_assert_str_eq(conf_find_user(&u.conf, "b")->older, "old");
    cr_assert(conf_find_user(&u.conf, "a")->older == NULL);
    arena_free(&u.keep);
}

Test(users, an_empty_file_has_no_users)
{
    struct users u;
    cr_assert_eq(read_users(&u, "", 0), ERR_NONE);
    cr_assert_eq(u.conf.users_count, 0);
    cr_assert(u.conf._first_user == NULL);
}

Test(users, broken_lines_are_named_without_their_secrets)
{
    static const struct {
        const char *text;
        size_t n;
        const char *words;
    } bad_files[] = {
#define BAD(text, words) {text, sizeof(text) - 1, words}
        BAD("app hunter2\n", "users.txt:1: the user name does not begin with a quote"),
        BAD("\n\"app\" hunter2\n", "users.txt:2: the secret does not begin with a quote"),
        BAD("\"app\"\n", "users.txt:1: the secret does not begin"),
        BAD("\"app\" \"hunter2\n\"\n", "users.txt:1: the secret has no closing quote"),
        BAD("\"app \n", "users.txt:1: the user name has no closing quote"),
        BAD("\"\" \"hunter2\"\n", "users.txt:1: a user has no name"),
        BAD("\"a\" \"hunter2\"\n\"b\" \"x\"\n\"a\" \"hunter3\"\n\"a\" \"hunter4\"\n",
            "users.txt:4: user \"a\" stands here a third time; it is on lines 1 and 3"),
        BAD("\"a\0b\" \"hunter2\"\n", "users.txt:1: the user name holds a zero byte"),
        BAD("\"a\" \"hunter2\0\"\n", "users.txt:1: the secret holds a zero byte"),
        BAD("\"a\tb\" \"hunter2\"\n", "control character"),
        BAD("\"0123456789012345678901234567890123456789012345678901234567890123\" \"hunter2\"\n",
            "has 64 bytes; PostgreSQL cuts names at 63"),
    };
    for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++) {
        struct users u;
        cr_expect_eq(read_users(&u, bad_files[i].text, bad_files[i].n), ERR_BAD_SETTING, "%s",
                     bad_files[i].words);
        cr_expect(strstr(u.note.text, bad_files[i].words) != NULL, "no '%s' in '%s'",
                  bad_files[i].words, u.note.text);
        cr_expect(strstr(u.note.text, "hunter") == NULL, "a secret in: %s", u.note.text);
        arena_free(&u.keep);
    }
}

Test(users, a_secret_may_have_2048_bytes_and_no_more)
{
    for (size_t bytes = 2048; bytes <= 2049; bytes++) {
        struct buf text = {0};
        buf_text(&text, "\"a\" \"");
        for (size_t i = 0; i < bytes; i++) {
            buf_u8(&text, 'x');
        }
        buf_u8(&text, '"');
        struct users u;
        cr_assert_eq(read_users(&u, (char *)text.p, text.n),
                     bytes == 2048 ? ERR_NONE : ERR_BAD_SETTING);
        arena_free(&u.keep);
        buf_free(&text);
    }
}
