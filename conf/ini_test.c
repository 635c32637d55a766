/*
 * Goal: the ini language is read as PgBouncer reads it, and a broken line is named by its file and
 * line, also in included files. Method: bytes in memory; a small table stands for the disk.
 */

#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "conf/ini.h"

struct read {
    struct conf conf;
    struct arena keep;
    struct note note;
    struct reader r;
    struct ini ini;
};

/* Files that may be included. */
static int load(const char *path, struct buf *out)
{
    static const char *const files[][2] = {
        {"users.ini", "[users]\nbob = pool_mode=session\n"},
        {"open.ini", "; goes on in the section of whoever includes it\nx = 1"},
        {"loop.ini", "%include loop.ini\n"},
        {"bad.ini", "[databases]\n\nno equal sign\n"},
        {"nested.ini", "; one\n; two\n%include bad.ini\n"},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (strcmp(files[i][0], path) == 0) {
            buf_text(out, files[i][1]);
            return 0;
        }
    }
    return ENOENT;
}

static enum err read_bytes(struct read *t, const char *text, size_t n)
{
    memset(t, 0, sizeof(*t));
    t->conf.path = "p.ini";
    t->r = (struct reader){
        .file = "p.ini", .note = &t->note, .keep = &t->keep, .conf = &t->conf, .load = load};
    return ini_read(&t->r, text, n, &t->ini);
}

static void drop(struct read *t)
{
    arena_free(&t->r.scratch);
    arena_free(&t->keep);
}

/* All entries as "section/key=value@place" lines; the place by a message about the line. */
static void print(struct read *t, struct buf *out)
{
    for (const struct ini_entry *e = t->ini.first; e != NULL; e = e->next) {
        (void)bad(&t->r, e->line, "x");
        buf_printf(out, "%s/%s=%s@%s\n", e->section, e->key, e->value, strtok(t->note.text, " "));
    }
    buf_u8(out, 0);
}

static void expect(const char *text, const char *wanted)
{
    struct read t;
    struct buf out = {0};
    cr_assert_eq(read_bytes(&t, text, strlen(text)), ERR_NONE, "%s", t.note.text);
    print(&t, &out);
    cr_expect_str_eq((const char *)out.p, wanted);
    buf_free(&out);
    drop(&t);
}

Test(ini, a_line_is_key_and_value_without_the_blanks_around_them)
{
    expect("\xEF\xBB\xBF; comment\n# comment\n\n[databases]\n  app =  host=a  port=1 \t\r\n"
           "empty=\n* = host=x ; no comment here\n[pgbouncer]\nlisten_addr = *",
           "databases/app=host=a  port=1@p.ini:5:\n"
           "databases/empty=@p.ini:6:\n"
           "databases/*=host=x ; no comment here@p.ini:7:\n"
           "pgbouncer/listen_addr=*@p.ini:9:\n");
}

Test(ini, a_key_in_quotes_may_hold_anything)
{
    expect("[databases]\n\"my \"\"own\"\" = db\" = host=a\n",
           "databases/my \"own\" = db=host=a@p.ini:2:\n");
}

Test(ini, an_included_file_stands_where_its_line_stands)
{
    expect("[pgbouncer]\na = 0\n%include open.ini\nb = 2\n  %include\tusers.ini \nc = 3\n",
           "pgbouncer/a=0@p.ini:2:\n"
           "pgbouncer/x=1@open.ini:2:\n"
           "pgbouncer/b=2@p.ini:4:\n"
           "users/bob=pool_mode=session@users.ini:2:\n"
           "users/c=3@p.ini:6:\n");
}

static void expect_refusal(const char *text, size_t n, const char *words)
{
    struct read t;
    cr_expect_eq(read_bytes(&t, text, n), ERR_BAD_SETTING, "%s was taken", text);
    cr_expect(strncmp(t.note.text, words, strlen(words)) == 0, "'%s' is not '%s'", t.note.text,
              words);
    cr_expect(strstr(t.note.text, "; ") != NULL && strchr(t.note.text, '\n') == NULL, "%s",
              t.note.text);
    drop(&t);
}

Test(ini, a_broken_line_is_named_by_file_and_line)
{
    static const char *const files[][2] = {
        {"[a]\nword\n", "p.ini:2: \"word\" is no setting"},
        {"[a]\nwo rd = 1\n", "p.ini:2: \"wo\" is no setting"},
        {"[databases]\nd password=secret\n", "p.ini:2: \"d\" is no setting"},
        {"[a]\n= 1\n", "p.ini:2: \"=\" is no setting"},
        {"[a]\n\"open = 1\n", "p.ini:2: \"\"open\" is no setting"},
        {"a = 1\n", "p.ini:1: \"a\" stands in front of the first section"},
        {"\n[a\n", "p.ini:2: \"[a\" is no section"},
        {"[a] b\n", "p.ini:1: \"[a] b\" is no section"},
        {"%include\n", "p.ini:1: %include names no file"},
        {"\n%include nowhere.ini\n", "p.ini:2: %include: cannot read \"nowhere.ini\": No such"},
        {"%include bad.ini\n", "bad.ini:3: \"no\" is no setting"},
        {"\n\n%include nested.ini\n", "bad.ini:3: \"no\" is no setting"},
        {"%include loop.ini\n", "loop.ini:1: files are included more than 10 deep"},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        expect_refusal(files[i][0], strlen(files[i][0]), files[i][1]);
    }
    expect_refusal("[a]\nb = x\0y\n", 12, "p.ini:2: the line holds a zero byte");
}

Test(ini, nothing_is_included_without_a_loader)
{
    struct read t;
    memset(&t, 0, sizeof(t));
    t.r = (struct reader){.file = "p.ini", .note = &t.note, .keep = &t.keep, .conf = &t.conf};
    cr_expect_eq(ini_read(&t.r, "%include /etc/passwd", 20, &t.ini), ERR_BAD_SETTING);
    drop(&t);
}

/* ---- connection strings -----------------------------------------------------------------------
 */

static void expect_pairs(const char *text, const char *wanted)
{
    struct read t;
    struct buf out = {0};
    struct ini_pair pair;
    int more = 1;
    enum err e = read_bytes(&t, "", 0);
    while (e == ERR_NONE) {
        e = ini_pair(&t.r, 1, "database \"x\"", &text, &pair, &more);
        if (!more) {
            break;
        }
        if (e == ERR_NONE) {
            buf_printf(&out, "%s<%s>", pair.key, pair.value);
        }
    }
    buf_text(&out, e ? t.note.text : "");
    buf_u8(&out, 0);
    cr_expect_str_eq((const char *)out.p, wanted);
    buf_free(&out);
    drop(&t);
}

Test(ini, a_connection_string_is_pairs)
{
    expect_pairs("", "");
    expect_pairs("  ", "");
    expect_pairs("host=a port=1", "host<a>port<1>");
    expect_pairs("host = a  port= 1 x=", "host<a>port<1>x<>");
    expect_pairs("password='it''s a = b' user='' y=2", "password<it's a = b>user<>y<2>");
    expect_pairs("a=b'c", "a<b'c>");
}

Test(ini, a_broken_connection_string_is_refused_and_not_shown)
{
    expect_pairs("host",
                 "p.ini:1: database \"x\": a word has no value; write key=value, and values "
                 "with blanks in single quotes");
    expect_pairs("password=top secret",
                 "password<top>p.ini:1: database \"x\": a word has no value; write key=value, and "
                 "values with blanks in single quotes");
    expect_pairs("password='secret",
                 "p.ini:1: database \"x\": the quoted value of \"password\" does not end; a quote "
                 "inside is written ''");
    expect_pairs("password='a'b", "p.ini:1: database \"x\": the quoted value of \"password\" does "
                                  "not end; a quote inside is written ''");
}
