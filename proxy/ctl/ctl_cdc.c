/* braidctl cdc: the change log of a running pgbraid, by the console and by SQL. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proxy/ctl/ctl.h"

enum {
    TAIL_WAIT_MS = 5000
};

static int usage(void)
{
    struct note note;
    (void)note_set(&note, ERR_BAD_SETTING,
                   "cdc takes status, topics, groups, lag, sinks, tail TABLE, cut [NUMBER], "
                   "snapshot [TABLE] or reset GROUP TOPIC PLACE");
    return ctl_fail(&note);
}

static int console(const struct ctl_arguments *a, const char *const *words, size_t count)
{
    struct ctl_arguments other = *a;
    for (size_t i = 0; i < count; i++) {
        other.words[i] = words[i];
    }
    other.words_count = count;
    return ctl_show(&other);
}

static void put_literal(struct buf *out, const char *text)
{
    buf_u8(out, '\'');
    for (const char *p = text; *p != 0; p++) {
        buf_text(out, *p == '\'' ? "'" : "");
        buf_u8(out, (uint8_t)*p);
    }
    buf_u8(out, '\'');
}

static int print_lines(void *arg, struct slice lines)
{
    (void)arg; /* 0: nobody reads */
    return fwrite(lines.p, 1, lines.n, stdout) == lines.n && fflush(stdout) == 0;
}

/* On one connection, whose group is in memory only and ends with it. Events as JSON lines, until it
 * is interrupted; with --live those that come from now on. */
static enum err tail(const struct ctl_arguments *a, const struct conf *conf, struct buf *out,
                     int *status, struct note *note)
{
    const struct conf_database *db;
    struct ctl_console where;
    struct buf sql = {0};
    char member[40];
    *status = 0;
    enum err e = ctl_database(a, conf, &db, note);
    e = e ? e : ctl_console_target(a, conf, &where, note);
    if (e) {
        return e;
    }
    where.target.dbname = db->name;
    where.target.timeout_ms = TAIL_WAIT_MS + CTL_TIMEOUT_MS;
    (void)snprintf(member, sizeof(member), "braidctl-%ld", (long)getpid());
    buf_text(&sql, "SELECT * FROM braid.changes(");
    put_literal(&sql, a->words[2]);
    buf_printf(&sql,
               ", group => '%s', member => 'tail', ack => none, limit => 1000, wait_ms => %d, "
               "start => %s)",
               member, TAIL_WAIT_MS, a->live ? "latest" : "earliest");
    buf_u8(&sql, 0);
    e = console_follow(&where.target, (const char *)sql.p, print_lines, NULL, note);
    out->n = 0;
    buf_free(&sql);
    return e;
}

/* A consistent cut as JSON: the newest, or the first from a number on. */
static enum err cut(const struct ctl_arguments *a, const struct conf *conf, struct buf *out,
                    int *status, struct note *note)
{
    const struct conf_database *db;
    struct ctl_console where;
    struct buf sql = {0};
    *status = 0;
    enum err e = ctl_database(a, conf, &db, note);
    e = e ? e : ctl_console_target(a, conf, &where, note);
    if (e) {
        return e;
    }
    where.target.dbname = db->name;
    buf_text(&sql, "SELECT * FROM braid.changes('braid.cuts', limit => 1");
    if (a->words_count == 3) {
        buf_text(&sql, ", offset => ");
        put_literal(&sql, a->words[2]);
    }
    buf_text(&sql, ")");
    buf_u8(&sql, 0);
    e = console_values(&where.target, (const char *)sql.p, out, note);
    buf_free(&sql);
    return e;
}

/* Have a table, or all, copied into the log again. */
static enum err snapshot(const struct ctl_arguments *a, const struct conf *conf, struct buf *out,
                         int *status, struct note *note)
{
    const struct conf_database *db;
    struct ctl_arguments other = *a;
    *status = 0;
    enum err e = ctl_database(a, conf, &db, note);
    if (e) {
        return e;
    }
    other.words[0] = "cdc_copy";
    other.words[1] = db->name;
    e = ctl_console_say(&other, conf, out, note);
    if (e == ERR_NONE) {
        buf_printf(out,
                   "asked every shard of %s; tables_to_copy and rows_copied of \"show cdc\" say "
                   "how far it is\n",
                   db->name);
    }
    return e;
}

int ctl_cdc(const struct ctl_arguments *a)
{
    const char *word = a->words_count > 1 ? a->words[1] : "";
    if (strcmp(word, "status") == 0) {
        return console(a, (const char *const[]){"show", "cdc_log"}, 2);
    }
    if (strcmp(word, "topics") == 0) {
        return console(a, (const char *const[]){"show", "cdc_topics"}, 2);
    }
    if (strcmp(word, "groups") == 0 || strcmp(word, "lag") == 0) {
        return console(a, (const char *const[]){"show", "cdc_groups"}, 2);
    }
    if (strcmp(word, "sinks") == 0) {
        return console(a, (const char *const[]){"show", "cdc_sinks"}, 2);
    }
    if (strcmp(word, "reset") == 0 && a->words_count == 5) {
        return console(a, (const char *const[]){"cdc_reset", a->words[2], a->words[3], a->words[4]},
                       4);
    }
    if (strcmp(word, "tail") == 0 && a->words_count == 3) {
        return ctl_answer(a, tail);
    }
    if (strcmp(word, "cut") == 0 && (a->words_count == 2 || a->words_count == 3)) {
        return ctl_answer(a, cut);
    }
    if (strcmp(word, "snapshot") == 0 && (a->words_count == 2 || a->words_count == 3)) {
        return ctl_answer(a, snapshot);
    }
    return usage();
}
