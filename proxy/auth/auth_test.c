/*
 * Goal: what could let a user in is found and ordered, one exchange checks as many secrets as can
 * be, those who do not exist look like those who do, and what was learnt is kept, bounded, and
 * forgotten with its secret. Method: a users file in memory; keys made with few iterations.
 */

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <criterion/criterion.h>

#include "base/mem.h"
#include "proxy/auth/auth.h"

static const uint8_t SECRET[32] = {1, 2, 3};
static const char MD5[] = "md5d41d8cd98f00b204e9800998ecf8427e";

static char *verifier_of(const char *password, uint8_t salt, uint32_t iterations)
{
    struct scram_verifier v;
    struct buf text = {0};
    uint8_t bytes[16];
    memset(bytes, salt, sizeof(bytes));
    scram_verifier_make(password, bytes, sizeof(bytes), iterations, &v, NULL);
    scram_verifier_print(&v, &text);
    buf_u8(&text, 0);
    return (char *)text.p;
}

static struct conf conf_of(struct conf_user *users, size_t count)
{
    return (struct conf){.users = users, .users_count = count};
}

static struct auth_secrets find(const struct conf *conf, const char *user)
{
    struct auth_secrets out;
    auth_secrets_find(conf, SECRET, user, &out);
    cr_assert(out.count >= 1 && out.count <= 2);
    return out;
}

/* ---- secrets --------------------------------------------------------------------------------- */

Test(auth, the_newest_secret_of_the_file_comes_first)
{
    struct conf_user users[] = {{"ann", "new", "old"}, {"bob", "", NULL}};
    struct conf conf = conf_of(users, 2);
    struct auth_secrets s = find(&conf, "ann");
    cr_expect_eq(s.count, 2);
    cr_expect_str_eq(s.s[0].text, "new");
    cr_expect_str_eq(s.s[1].text, "old");
    cr_expect_not(s.fake);
    auth_secrets_wipe(&s);
    s = find(&conf, "zoe");
    cr_expect(s.fake);
    auth_secrets_wipe(&s);
    s = find(&conf, "bob");
    cr_expect(s.fake, "who has no password in the file has none");
    auth_secrets_wipe(&s);
}

Test(auth, who_does_not_exist_looks_as_those_who_do_and_the_same_each_time)
{
    char *hashed = verifier_of("pw", 1, 777);
    char *older = verifier_of("pw", 2, 777);
    struct conf_user users[] = {{"ann", hashed, older}, {"bob", hashed, older}};
    struct conf conf = conf_of(users, 2);
    struct auth_secrets a = find(&conf, "nobody");
    struct auth_secrets b = find(&conf, "nobody");
    struct auth_secrets other = find(&conf, "nobody2");
    struct scram_verifier v;
    struct note note;
    cr_expect(a.fake && a.count == 2);
    cr_expect_eq(scram_verifier_parse(a.s[0].text, &v, &note), ERR_NONE);
    cr_expect_eq(v.iterations, 777);
    cr_expect_eq(v.salt_bytes, 16);
    cr_expect_str_eq(a.s[0].text, b.s[0].text);
    cr_expect_str_neq(a.s[0].text, a.s[1].text);
    cr_expect_str_neq(a.s[0].text, other.s[0].text);
    auth_secrets_wipe(&a);
    auth_secrets_wipe(&b);
    auth_secrets_wipe(&other);
    users[0] = users[1] = (struct conf_user){"ann", "plain", NULL};
    a = find(&conf, "nobody");
    cr_expect(a.count == 1 && a.s[0].kind == SECRET_PLAIN);
    auth_secrets_wipe(&a);
    users[0] = users[1] = (struct conf_user){"ann", MD5, NULL};
    a = find(&conf, "nobody");
    cr_expect(a.count == 1 && a.s[0].kind == SECRET_MD5);
    auth_secrets_wipe(&a);
    mem_free(hashed);
    mem_free(older);
}

Test(auth, whom_a_query_does_not_know_looks_as_the_last_one_it_knew)
{
    char *hashed = verifier_of("pw", 1, 777);
    struct auth_secrets s;
    struct scram_verifier v;
    struct note note;
    auth_secrets_of_answer(SECRET, "nobody", NULL, &s);
    cr_expect(s.fake && s.s[0].kind == SECRET_SCRAM);
    cr_assert_eq(scram_verifier_parse(s.s[0].text, &v, &note), ERR_NONE);
    cr_expect_eq(v.iterations, SCRAM_ITERATIONS);
    auth_secrets_wipe(&s);
    auth_secrets_of_answer(SECRET, "ann", hashed, &s);
    cr_expect(!s.fake && strcmp(s.s[0].text, hashed) == 0);
    auth_secrets_wipe(&s);
    auth_secrets_of_answer(SECRET, "nobody", NULL, &s);
    cr_assert_eq(scram_verifier_parse(s.s[0].text, &v, &note), ERR_NONE);
    cr_expect_eq(v.iterations, 777);
    auth_secrets_wipe(&s);
    auth_secrets_of_answer(SECRET, "bob", MD5, &s);
    auth_secrets_wipe(&s);
    auth_secrets_of_answer(SECRET, "nobody", NULL, &s);
    cr_expect(s.fake && s.s[0].kind == SECRET_MD5);
    auth_secrets_wipe(&s);
    mem_free(hashed);
}

Test(auth, what_fakes_are_made_of_stays_the_same_on_one_machine)
{
    uint8_t a[SCRAM_KEY_BYTES];
    uint8_t b[SCRAM_KEY_BYTES];
    auth_process_secret(a);
    auth_process_secret(b);
    struct stat st;
    int known = stat("/etc/machine-id", &st) == 0 && st.st_size >= 32;
    cr_expect(!known || memcmp(a, b, sizeof(a)) == 0);
}

Test(auth, a_secret_that_a_method_cannot_use_is_replaced_by_one_that_nobody_knows)
{
    struct conf_user users[] = {
        {"ann", MD5, "plain"}, {"bob", MD5, NULL}, {"eve", "SCRAM-SHA-256$x", NULL}};
    struct conf conf = conf_of(users, 3);
    struct auth_secrets s = find(&conf, "ann");
    cr_expect(auth_secrets_keep(&s, 1, SECRET, "ann"));
    cr_expect(s.count == 1 && s.s[0].kind == SECRET_PLAIN && !s.fake);
    auth_secrets_wipe(&s);
    static const char *const unusable[] = {"bob", "eve"};
    for (size_t i = 0; i < 2; i++) {
        s = find(&conf, unusable[i]);
        cr_expect(auth_secrets_keep(&s, 1, SECRET, unusable[i]));
        cr_expect(s.count == 1 && s.s[0].kind == SECRET_SCRAM && s.fake);
        auth_secrets_wipe(&s);
    }
    s = find(&conf, "bob");
    cr_expect_not(auth_secrets_keep(&s, 0, SECRET, "bob"), "md5 can use it");
    auth_secrets_wipe(&s);
}

/* ---- what one exchange checks ---------------------------------------------------------------- */

static size_t checks_of(const char *newest, const char *older, unsigned turn,
                        struct auth_check out[2], int *alternate)
{
    struct conf_user users[] = {{"ann", newest, older}};
    struct conf conf = conf_of(users, 1);
    struct auth_secrets s = find(&conf, "ann");
    *alternate = auth_checks_alternate(&s);
    size_t count = auth_checks_make(&s, SECRET, "ann", turn, out);
    for (size_t i = 0; i < count; i++) {
        out[i].plain = out[i].plain == NULL ? NULL : ""; /* goes away with the secrets */
    }
    auth_secrets_wipe(&s);
    return count;
}

Test(auth, one_exchange_checks_two_secrets_when_they_can_share_a_salt)
{
    struct auth_check c[2];
    int alternate = 0;
    char *a = verifier_of("a", 1, 5);
    char *same = verifier_of("b", 1, 5);
    char *other = verifier_of("b", 2, 5);
    char *longer = verifier_of("b", 1, 6);
    cr_expect_eq(checks_of("a", "b", 0, c, &alternate), 2);
    cr_expect(c[0].plain != NULL && c[1].plain != NULL && !alternate);
    cr_expect_eq(memcmp(c[0].verifier.salt, c[1].verifier.salt, 16), 0);
    cr_expect_eq(checks_of(a, "b", 0, c, &alternate), 2);
    cr_expect(c[0].plain == NULL && c[1].plain != NULL && !alternate);
    cr_expect(c[1].verifier.iterations == 5 && c[1].verifier.salt[0] == 1, "the verifier's salt");
    cr_expect_eq(checks_of("a", same, 0, c, &alternate), 2);
    cr_expect(c[0].verifier.iterations == 5 && c[0].verifier.salt[0] == 1);
    cr_expect_eq(checks_of(a, same, 1, c, &alternate), 2);
    cr_expect_not(alternate);
    for (unsigned turn = 0; turn < 3; turn++) {
        cr_expect_eq(checks_of(a, other, turn, c, &alternate), 1);
        cr_expect(alternate && c[0].index == turn % 2);
        cr_expect_eq(c[0].verifier.salt[0], turn % 2 == 0 ? 1 : 2);
    }
    cr_expect_eq(checks_of(a, longer, 0, c, &alternate), 1);
    cr_expect(alternate);
    mem_free(a);
    mem_free(same);
    mem_free(other);
    mem_free(longer);
}

Test(auth, a_verifier_made_like_another_shares_its_salt)
{
    struct buf first = {0};
    struct buf second = {0};
    struct note note;
    struct scram_verifier a;
    struct scram_verifier b;
    cr_assert_eq(auth_secret_make("one", NULL, &first, &note), ERR_NONE);
    buf_u8(&first, 0);
    cr_assert_eq(auth_secret_make("two", (char *)first.p, &second, &note), ERR_NONE);
    buf_u8(&second, 0);
    cr_assert_eq(scram_verifier_parse((char *)first.p, &a, &note), ERR_NONE);
    cr_assert_eq(scram_verifier_parse((char *)second.p, &b, &note), ERR_NONE);
    cr_expect(a.iterations == b.iterations && memcmp(a.salt, b.salt, 16) == 0);
    cr_expect_neq(memcmp(a.stored_key, b.stored_key, SCRAM_KEY_BYTES), 0);
    cr_expect_eq(auth_secret_make("two", "junk", &second, &note), ERR_BAD_SETTING);
    cr_expect_eq(auth_secret_make("", NULL, &second, &note), ERR_BAD_SETTING);
    buf_free(&first);
    buf_free(&second);
}

Test(auth, turns_belong_to_a_user_and_a_place)
{
    unsigned before = auth_turn("ann", "10.0.0.1");
    unsigned elsewhere = auth_turn("ann", "10.0.0.2");
    auth_turn_over("ann", "10.0.0.1");
    cr_expect_neq(auth_turn("ann", "10.0.0.1"), before);
    cr_expect_eq(auth_turn("ann", "10.0.0.2"), elsewhere);
    auth_turn_over("ann", "10.0.0.1");
    cr_expect_eq(auth_turn("ann", "10.0.0.1"), before);
}

/* ---- what was learnt ------------------------------------------------------------------------- */

Test(creds, a_key_is_found_for_the_secret_that_it_was_proved_for)
{
    uint8_t key[SCRAM_KEY_BYTES] = {9};
    uint8_t found[SCRAM_KEY_BYTES];
    creds_learn("", "ann", "one", key, 0);
    key[0] = 8;
    creds_learn("", "ann", "two", key, 0);
    creds_learn("app", "ann", "three", NULL, 1);
    cr_expect(creds_key("", "ann", "one", found) && found[0] == 9);
    cr_expect(creds_key("", "ann", "two", found) && found[0] == 8);
    cr_expect_not(creds_key("", "ann", "three", found));
    cr_expect_not(creds_key("app", "ann", "one", found), "another source");
    cr_expect_not(creds_key("app", "ann", "three", found), "no key was proved");
    char *secret = creds_secret("app", "ann");
    cr_expect_str_eq(secret, "three");
    mem_free(secret);
    creds_learn("app", "ann", "four", key, 1);
    creds_learn("app", "ann", "four", NULL, 1);
    cr_expect(creds_key("app", "ann", "four", found), "a key is not unlearnt");
    secret = creds_secret("app", "ann");
    cr_expect_str_eq(secret, "four");
    mem_free(secret);
    creds_learn("", "ann", "five", key, 0);
    cr_expect_not(creds_key("", "ann", "one", found), "two at most");
    cr_expect(creds_key("", "ann", "two", found));
    creds_free();
    cr_expect_eq(creds_count(), 0);
}

Test(creds, a_secret_that_left_the_users_file_takes_its_key_along)
{
    uint8_t key[SCRAM_KEY_BYTES] = {9};
    uint8_t found[SCRAM_KEY_BYTES];
    creds_learn("", "ann", "old", key, 0);
    creds_learn("", "ann", "new", key, 0);
    creds_learn("", "bob", "pw", key, 0);
    creds_learn("app", "zoe", "queried", key, 1);
    struct conf_user users[] = {{"ann", "new", NULL}};
    struct conf conf = conf_of(users, 1);
    creds_keep(&conf);
    cr_expect(creds_key("", "ann", "new", found));
    cr_expect_not(creds_key("", "ann", "old", found));
    cr_expect_not(creds_key("", "bob", "pw", found));
    cr_expect(creds_key("app", "zoe", "queried", found), "the file says nothing about it");
    cr_expect_eq(creds_count(), 2);
    creds_free();
}

Test(creds, the_longest_unused_gives_way)
{
    char name[16];
    uint8_t key[SCRAM_KEY_BYTES] = {0};
    uint8_t found[SCRAM_KEY_BYTES];
    for (unsigned i = 0; i < CREDS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "u%u", i);
        creds_learn("", name, "s", key, 0);
    }
    cr_expect(creds_key("", "u0", "s", found), "used now");
    creds_learn("", "one more", "s", key, 0);
    cr_expect_eq(creds_count(), CREDS_MAX);
    cr_expect(creds_key("", "u0", "s", found));
    cr_expect_not(creds_key("", "u1", "s", found));
    creds_free();
}
