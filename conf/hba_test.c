/*
 * Goal: a rules file lets in whom PostgreSQL would let in by the same file, the first rule that
 * fits decides, and what cannot be done the same way is an error with its line; maps give the
 * users that pg_ident.conf gives. Method: bytes in memory, clients made by hand.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "conf/hba_in.h"

struct file {
    struct conf conf;
    struct arena keep;
    struct note note;
};

static enum err read_file(struct file *f, const char *text, int ident)
{
    *f = (struct file){.conf = {.path = "c.yaml"}};
    struct reader r = {.file = "hba", .note = &f->note, .keep = &f->keep, .conf = &f->conf};
    enum err e = ident ? ident_read(&r, text, strlen(text)) : hba_read(&r, text, strlen(text), 0);
    arena_free(&r.scratch);
    return e;
}

static void drop(struct file *f)
{
    regexes_free(&f->conf);
    arena_free(&f->keep);
}

static struct file rules(const char *text)
{
    struct file f;
    cr_assert_eq(read_file(&f, text, 0), ERR_NONE, "%s", f.note.text);
    return f;
}

static struct conf_hba_client client(const char *address, const char *database, const char *user)
{
    struct conf_hba_client c = {.database = database, .user = user};
    if (address != NULL) {
        c.bytes = strchr(address, ':') == NULL ? 4 : 16;
        cr_assert_eq(inet_pton(c.bytes == 4 ? AF_INET : AF_INET6, address, c.address), 1);
    }
    return c;
}

/* The line of the rule that decides, 0 for none. */
static int line_for(const struct file *f, struct conf_hba_client c)
{
    const struct conf_hba_rule *rule = conf_hba_find(f->conf.hba, &c);
    return rule == NULL ? 0 : rule->line;
}

/* ---- who fits -------------------------------------------------------------------------------- */

Test(hba, the_first_rule_that_fits_decides)
{
    struct file f = rules("# comment\n"
                          "host all bob 10.0.0.0/8 reject\n"
                          "host all all 10.1.0.0/16 scram-sha-256 # behind\n"
                          "\n"
                          "host app,other all 10.0.0.0 255.0.0.0 md5\n");
    cr_expect_eq(line_for(&f, client("10.1.2.3", "app", "bob")), 2);
    cr_expect_eq(line_for(&f, client("10.1.2.3", "app", "al")), 3);
    cr_expect_eq(line_for(&f, client("10.2.2.3", "app", "al")), 5);
    cr_expect_eq(line_for(&f, client("10.2.2.3", "other", "al")), 5);
    cr_expect_eq(line_for(&f, client("10.2.2.3", "third", "al")), 0);
    cr_expect_eq(line_for(&f, client("11.0.0.1", "app", "al")), 0);
    cr_expect_eq(f.conf.hba->rules[0].method, CONF_AUTH_REJECT);
    cr_expect_eq(f.conf.hba->rules[1].method, CONF_AUTH_SCRAM);
    cr_expect_eq(f.conf.hba->rules[2].method, CONF_AUTH_MD5);
    drop(&f);
}

Test(hba, local_is_for_sockets_and_host_for_addresses)
{
    struct file f = rules("local all all peer map=m\nhost all all all trust\n");
    cr_expect_eq(line_for(&f, client(NULL, "d", "u")), 1);
    cr_expect_eq(line_for(&f, client("1.2.3.4", "d", "u")), 2);
    cr_expect_eq(line_for(&f, client("::1", "d", "u")), 2);
    cr_expect_str_eq(f.conf.hba->rules[0].map, "m");
    drop(&f);
    f = rules("host all all 0.0.0.0/0 trust\n");
    cr_expect_eq(line_for(&f, client(NULL, "d", "u")), 0);
    cr_expect_eq(line_for(&f, client("::1", "d", "u")), 0, "families do not mix");
    drop(&f);
}

Test(hba, encryption_is_asked_by_hostssl_and_hostnossl)
{
    struct file f = rules("hostssl all all all cert clientname=DN\nhostnossl all all all reject\n");
    struct conf_hba_client c = client("1.2.3.4", "d", "u");
    cr_expect_eq(line_for(&f, c), 2);
    c.tls = 1;
    cr_expect_eq(line_for(&f, c), 1);
    cr_expect_eq(f.conf.hba->rules[0].clientcert, CONF_CLIENTCERT_VERIFY_FULL);
    cr_expect(f.conf.hba->rules[0].name_is_dn);
    drop(&f);
}

Test(hba, networks_end_at_any_bit)
{
    struct file f = rules("host all all 10.0.128.0/17 trust\n"
                          "host all all fd00:0:0:8000::/49 trust\n"
                          "host all all 192.168.1.7/32 trust\n"
                          "host six all ::/0 trust\n");
    cr_expect_eq(line_for(&f, client("10.0.128.0", "d", "u")), 1);
    cr_expect_eq(line_for(&f, client("10.0.255.255", "d", "u")), 1);
    cr_expect_eq(line_for(&f, client("10.0.127.255", "d", "u")), 0);
    cr_expect_eq(line_for(&f, client("10.1.128.0", "d", "u")), 0);
    cr_expect_eq(line_for(&f, client("fd00:0:0:8000::1", "d", "u")), 2);
    cr_expect_eq(line_for(&f, client("fd00:0:0:ffff::1", "d", "u")), 2);
    cr_expect_eq(line_for(&f, client("fd00::1", "d", "u")), 0, "bit 49");
    cr_expect_eq(line_for(&f, client("fd00:0:1::1", "d", "u")), 0);
    cr_expect_eq(line_for(&f, client("192.168.1.7", "d", "u")), 3);
    cr_expect_eq(line_for(&f, client("192.168.1.6", "d", "u")), 0);
    cr_expect_eq(line_for(&f, client("abcd::1", "six", "u")), 4);
    drop(&f);
}

Test(hba, keywords_lists_quotes_and_expressions)
{
    struct file f = rules("local sameuser all trust\n"
                          "local \"all\", \"two words\" all trust\n"
                          "local x \"say \"\"hi\"\"\" trust\n"
                          "local /^db[0-9]+$ /^u_ trust\n"
                          "local replication rep trust\n");
    cr_expect_eq(line_for(&f, client(NULL, "u", "u")), 1);
    cr_expect_eq(line_for(&f, client(NULL, "all", "u")), 2, "in quotes it is a name");
    cr_expect_eq(line_for(&f, client(NULL, "two words", "u")), 2);
    cr_expect_eq(line_for(&f, client(NULL, "x", "say \"hi\"")), 3);
    cr_expect_eq(line_for(&f, client(NULL, "db17", "u_1")), 4);
    cr_expect_eq(line_for(&f, client(NULL, "db17x", "u_1")), 0);
    cr_expect_eq(line_for(&f, client(NULL, "replication", "rep")), 0, "a database of that name");
    struct conf_hba_client c = client(NULL, "u", "rep");
    c.replication = 1;
    cr_expect_eq(line_for(&f, c), 5);
    c.user = "u";
    cr_expect_eq(line_for(&f, c), 0, "sameuser is not for replication");
    drop(&f);
    f = rules("local all all trust\n");
    cr_expect_eq(line_for(&f, c), 0, "all is not for replication");
    drop(&f);
}

Test(hba, a_line_goes_on_behind_a_backslash)
{
    struct file f = rules("local a,\\\n b \\\r\n all trust\nlocal c all trust");
    cr_expect_eq(line_for(&f, client(NULL, "b", "u")), 1);
    cr_expect_eq(line_for(&f, client(NULL, "c", "u")), 4);
    drop(&f);
}

Test(hba, samehost_and_samenet_are_this_machine)
{
    struct file f = rules("host a all samehost trust\nhost b all samenet trust\n");
    cr_assert(f.conf.hba->own_count > 0, "no interface here?");
    cr_expect_eq(line_for(&f, client("127.0.0.1", "a", "u")), 1);
    cr_expect_eq(line_for(&f, client("127.0.0.2", "a", "u")), 0);
    cr_expect_eq(line_for(&f, client("127.0.0.2", "b", "u")), 2);
    cr_expect_eq(line_for(&f, client("203.0.113.9", "b", "u")), 0);
    drop(&f);
}

Test(hba, a_file_of_names_is_read_for_an_at_sign)
{
    char folder[] = "/tmp/hba_test.XXXXXX";
    char path[64];
    cr_assert(mkdtemp(folder) != NULL);
    (void)snprintf(path, sizeof(path), "%s/users", folder);
    FILE *out = fopen(path, "w");
    cr_assert(out != NULL && fputs("# ours\nal, bob\n\"@x\"\n", out) > 0 && fclose(out) == 0);
    char file[64];
    (void)snprintf(file, sizeof(file), "%s/hba", folder);
    struct file f = {.conf = {.path = "c.yaml"}};
    struct reader r = {.file = file, .note = &f.note, .keep = &f.keep, .conf = &f.conf};
    static const char TEXT[] = "local all zoe,@users trust\n";
    cr_expect_eq(hba_read(&r, TEXT, sizeof(TEXT) - 1, 1), ERR_NONE, "%s", f.note.text);
    cr_expect_eq(line_for(&f, client(NULL, "d", "zoe")), 1);
    cr_expect_eq(line_for(&f, client(NULL, "d", "bob")), 1);
    cr_expect_eq(line_for(&f, client(NULL, "d", "@x")), 1);
    cr_expect_eq(line_for(&f, client(NULL, "d", "ours")), 0);
    static const char MISSING[] = "local all @nothing trust\n";
    cr_expect_eq(hba_read(&r, MISSING, sizeof(MISSING) - 1, 1), ERR_BAD_SETTING);
    cr_expect(strstr(f.note.text, "hba:1: @nothing: cannot read") != NULL, "%s", f.note.text);
    arena_free(&r.scratch);
    (void)unlink(path);
    (void)rmdir(folder);
    drop(&f);
}

Test(hba, broken_lines_are_named)
{
    static const struct {
        const char *text;
        const char *words;
    } cases[] = {
        {"", "hba:1: the file has no rule"},
        {"local all all trust\nhots all all all trust\n", "hba:2: a rule begins with local"},
        {"local\n", "hba:1: the line ends before its database"},
        {"local all\n", "ends before its user"},
        {"local all all\n", "ends before its method"},
        {"host all all trust\n", "\"trust\" is no address, and host names are not looked up"},
        {"host all all db.example.com md5\n", "host names are not looked up"},
        {"host all all 10.0.0.0 md5\n", "behind the address 10.0.0.0 no mask stands"},
        {"host all all 10.0.0.0/33 md5\n", "is no network"},
        {"host all all 10.0.0.0/ md5\n", "is no network"},
        {"host all all 10.0.0/8 md5\n", "is no network"},
        {"host all all fd00::/129 md5\n", "is no network"},
        {"host all all 10.0.0.0/8,10.1.0.0/16 md5\n", "a rule has one address"},
        {"host all +staff all md5\n", "the members of a role"},
        {"host samerole all all md5\n", "the members of a role"},
        {"host all all all ldap\n", "method \"ldap\" is not known here"},
        {"host all all all ident\n", "method \"ident\" is not known here"},
        {"host all all all peer\n", "peer works with local only"},
        {"host all all all cert\n", "cert works with hostssl only"},
        {"local all all trust map\n", "option \"map\" has no value"},
        {"local all all trust map=x\n", "map= belongs to"},
        {"local all all trust radius=1\n", "option \"radius\" is not known"},
        {"host all all all md5 clientcert=verify-ca\n", "clientcert works with hostssl only"},
        {"hostssl all all all md5 clientcert=maybe\n", "verify-ca or verify-full"},
        {"hostssl all all all cert clientcert=verify-ca\n", "too little"},
        {"local /( all trust\n", "does not compile"},
        {"local /\\d all trust\n", "not POSIX"},
        {"local /a{255}{255} all trust\n", "not POSIX"},
        {"local /a++ all trust\n", "not POSIX"},
        {"local /(a{255}){255} all trust\n", "too large"},
        {"local /((((((((((a+)+)+)+)+)+)+)+)+)+)+ all trust\n", "too large"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct file f;
        cr_expect_eq(read_file(&f, cases[i].text, 0), ERR_BAD_SETTING, "%s", cases[i].text);
        cr_expect(strstr(f.note.text, cases[i].words) != NULL, "no '%s' in '%s'", cases[i].words,
                  f.note.text);
        cr_expect(f.conf.hba == NULL);
        drop(&f);
    }
}

/* ---- maps ------------------------------------------------------------------------------------ */

static int maps(const struct file *f, const char *map, const char *system, const char *user)
{
    return conf_ident_maps(f->conf.ident, map, system, user);
}

Test(ident, names_expressions_and_what_they_matched)
{
    struct file f;
    cr_assert_eq(read_file(&f,
                           "m  \"Al Smith\"  al\n"
                           "m  \"Al Smith\"  boss\n"
                           "m  /^(.*)@example\\.com$  \\1\n"
                           "m  /^(.*)@x\\.org$  ext_\\1_x\n"
                           "any  root  all\n"
                           "any  web   /^web_\n"
                           "other  root  \"all\"\n",
                           1),
                 ERR_NONE, "%s", f.note.text);
    cr_expect(maps(&f, "m", "Al Smith", "al"));
    cr_expect(maps(&f, "m", "Al Smith", "boss"), "a second line of the same name counts");
    cr_expect(!maps(&f, "m", "Al Smith", "Al Smith"), "with a map, equal names are not enough");
    cr_expect(maps(&f, "m", "zoe@example.com", "zoe"));
    cr_expect(!maps(&f, "m", "zoe@example.com", "zo"));
    cr_expect(!maps(&f, "m", "zoe@exampleXcom", "zoe"));
    cr_expect(maps(&f, "m", "zoe@x.org", "ext_zoe_x"));
    cr_expect(!maps(&f, "m", "zoe@x.org", "zoe"));
    cr_expect(maps(&f, "any", "root", "whoever"));
    cr_expect(maps(&f, "any", "web", "web_7"));
    cr_expect(!maps(&f, "any", "web", "root"));
    cr_expect(!maps(&f, "other", "root", "whoever"), "in quotes it is a name");
    cr_expect(!maps(&f, "none", "root", "root"));
    cr_expect(maps(&f, NULL, "root", "root") && !maps(&f, NULL, "root", "Root"));
    cr_expect(ident_has_map(f.conf.ident, "any") && !ident_has_map(f.conf.ident, "none"));
    drop(&f);
}

Test(ident, broken_lines_are_named)
{
    static const struct {
        const char *text;
        const char *words;
    } cases[] = {
        {"m a\n", "hba:1: a line is a map, a system name and a user"},
        {"m a b c\n", "a line is a map"},
        {"m a,b c\n", "a line is a map"},
        {"m a +staff\n", "the members of a role"},
        {"m a \\1\n", "asks for \\1"},
        {"m /^a$ \\1\n", "asks for \\1"},
        {"m /( b\n", "does not compile"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct file f;
        cr_expect_eq(read_file(&f, cases[i].text, 1), ERR_BAD_SETTING, "%s", cases[i].text);
        cr_expect(strstr(f.note.text, cases[i].words) != NULL, "no '%s' in '%s'", cases[i].words,
                  f.note.text);
        drop(&f);
    }
}

Test(ident, a_name_that_is_too_long_for_an_expression_fits_none)
{
    struct file f;
    cr_assert_eq(read_file(&f, "m /^a*$ u\n", 1), ERR_NONE);
    char name[2000];
    memset(name, 'a', sizeof(name));
    name[1024] = '\0';
    cr_expect(maps(&f, "m", name, "u"));
    name[1024] = 'a';
    name[1025] = '\0';
    cr_expect(!maps(&f, "m", name, "u"));
    drop(&f);
}
