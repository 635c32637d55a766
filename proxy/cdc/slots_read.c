/*
 * The texts of replication commands. Pure.
 * Source: PostgreSQL's documentation, "Streaming Replication Protocol"; repl_gram.y of 10 to 17 for
 * the older forms that clients still send.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/cdc/slots.h"

static const char BLANKS[] = " \t\r\n";

/* A token: a word, a name in double quotes, a text in single ones, or a sign. */
struct token {
    char kind; /* 'w' word, 'n' name in quotes, 's' text, else the sign itself; 0: the end */
    char *text;
};

struct reading {
    struct slice left;
    struct arena *arena;
    struct token token; /* the next one */
    int bad;
};

static int is_word_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '/' || c == '$' || c >= 0x80;
}

/* In quotes, doubled ones stand for themselves. */
static void read_quoted(struct reading *r, uint8_t quote)
{
    struct slice s = r->left;
    char *out = arena_alloc(r->arena, s.n + 1);
    size_t n = 0;
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == quote && (i + 1 == s.n || s.p[i + 1] != quote)) {
            out[n] = 0;
            r->token = (struct token){quote == '"' ? 'n' : 's', out};
            r->left = slice_from(s, i + 1);
            return;
        }
        i += s.p[i] == quote;
        out[n++] = (char)s.p[i];
    }
    r->bad = 1;
}

static void advance(struct reading *r)
{
    struct slice s = r->left;
    size_t n = 0;
    while (s.n > 0 && s.p[0] != 0 && strchr(BLANKS, s.p[0]) != NULL) {
        s = slice_from(s, 1);
    }
    r->left = s;
    r->token = (struct token){0};
    if (s.n == 0) {
        return;
    }
    if (s.p[0] == '"' || s.p[0] == '\'') {
        read_quoted(r, s.p[0]);
        return;
    }
    while (n < s.n && is_word_byte(s.p[n])) {
        n++;
    }
    r->token.kind = n > 0 ? 'w' : (char)s.p[0];
    r->token.text = arena_strndup(r->arena, s.p, n > 0 ? n : 1);
    r->bad |= s.p[0] == 0;
    r->left = slice_from(s, n > 0 ? n : 1);
}

static int is_word(const struct reading *r, const char *word)
{
    return !r->bad && r->token.kind == 'w' && strcasecmp(r->token.text, word) == 0;
}

static int take_word(struct reading *r, const char *word)
{
    if (!is_word(r, word)) {
        return 0;
    }
    advance(r);
    return 1;
}

static int take_sign(struct reading *r, char sign)
{
    if (r->bad || r->token.kind != sign) {
        return 0;
    }
    advance(r);
    return 1;
}

/* A name as it is or in quotes; NULL: there is none. */
static const char *take_name(struct reading *r)
{
    const char *name = r->token.text;
    if (r->bad || (r->token.kind != 'w' && r->token.kind != 'n')) {
        return NULL;
    }
    advance(r);
    return name;
}

static enum err syntax(const struct reading *r, struct note *note)
{
    enum err e = r->token.kind == 0 && !r->bad
                     ? note_set(note, ERR_SYNTAX, "syntax error at end of input")
                     : note_set(note, ERR_SYNTAX, "syntax error at or near \"%.40s\"",
                                r->token.text == NULL ? "" : r->token.text);
    note_hint(note, "Of replication commands IDENTIFY_SYSTEM, CREATE_REPLICATION_SLOT name LOGICAL "
                    "braid_json, START_REPLICATION SLOT name LOGICAL X/X and DROP_REPLICATION_SLOT "
                    "name are known.");
    return e;
}

static enum err unsupported(struct note *note, const char *what, const char *hint)
{
    enum err e = note_set(note, ERR_UNSUPPORTED, "%s", what);
    note_hint(note, "%s", hint);
    return e;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static enum err read_slot(struct reading *r, struct slots_call *out, struct note *note)
{
    out->slot = take_name(r);
    if (out->slot == NULL) {
        return syntax(r, note);
    }
    size_t n = strlen(out->slot);
    if (n == 0 || n > SLOT_NAME_MAX) {
        return note_set(note, ERR_BAD_SETTING,
                        "a replication slot's name has 1 to %d bytes here: \"%.80s\"",
                        SLOT_NAME_MAX, out->slot);
    }
    if (strspn(out->slot, "abcdefghijklmnopqrstuvwxyz0123456789_") != n) {
        enum err e = note_set(note, ERR_BAD_SETTING,
                              "replication slot name \"%s\" contains invalid character", out->slot);
        note_hint(note, "Replication slot names may only contain lower case letters, numbers, and "
                        "the underscore character.");
        return e;
    }
    return ERR_NONE;
}

static enum err no_snapshot(struct note *note)
{
    return unsupported(
        note, "a replication slot over several shards exports no snapshot",
        "Say NOEXPORT_SNAPSHOT, or (SNAPSHOT 'nothing'); for the rows that are there "
        "read the slot from the beginning (braidctl cdc reset, cdc snapshot).");
}

static int says_yes(const char *value)
{
    return value == NULL || (strcasecmp(value, "false") != 0 && strcasecmp(value, "off") != 0 &&
                             strcmp(value, "0") != 0);
}

/* One of CREATE: by its name, whichever form it has. */
static enum err create_option(const char *name, const char *value, struct note *note)
{
    if (strcasecmp(name, "noexport_snapshot") == 0 ||
        (strcasecmp(name, "snapshot") == 0 && value != NULL && strcasecmp(value, "nothing") == 0)) {
        return ERR_NONE;
    }
    if (strcasecmp(name, "export_snapshot") == 0 || strcasecmp(name, "use_snapshot") == 0 ||
        strcasecmp(name, "snapshot") == 0) {
        return no_snapshot(note);
    }
    if (strcasecmp(name, "two_phase") == 0 || strcasecmp(name, "failover") == 0) {
        return says_yes(value)
                   ? unsupported(note,
                                 "TWO_PHASE and FAILOVER are not for a replication slot "
                                 "over several shards",
                                 "Prepared transactions come when they are committed.")
                   : ERR_NONE;
    }
    return note_set(note, ERR_SYNTAX, "unrecognized option: %.60s", name);
}

static enum err start_option(const char *name, const char *value, struct slots_call *out,
                             struct note *note)
{
    if (strcmp(name, "transactions") == 0) {
        out->no_boundaries = !says_yes(value);
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_BAD_SETTING, "option \"%.60s\" is unknown", name);
    note_hint(note,
              "Of braid_json it is transactions, 'on' or 'off': whether a transaction's BEGIN "
              "and END are told.");
    return e;
}

/* ( name [value], ... ) */
static enum err read_options(struct reading *r, struct slots_call *out, struct note *note)
{
    enum err e = ERR_NONE;
    do {
        const char *name = take_name(r);
        const char *value = NULL;
        if (name == NULL) {
            return syntax(r, note);
        }
        if (r->token.kind == 's' || r->token.kind == 'w') {
            value = r->token.text;
            advance(r);
        }
        e = out->command == SLOTS_START ? start_option(name, value, out, note)
                                        : create_option(name, value, note);
    } while (e == ERR_NONE && take_sign(r, ','));
    return e ? e : take_sign(r, ')') ? ERR_NONE : syntax(r, note);
}

/* ---- commands -------------------------------------------------------------------------------- */

static enum err read_create(struct reading *r, struct slots_call *out, struct note *note)
{
    enum err e = read_slot(r, out, note);
    if (e) {
        return e;
    }
    if (is_word(r, "TEMPORARY") || is_word(r, "PHYSICAL")) {
        return unsupported(
            note, "a replication slot over several shards is LOGICAL and permanent",
            "One that is physical, or only a connection's, is a single shard's: name "
            "it with options='-c braid.shard=NAME'.");
    }
    if (!take_word(r, "LOGICAL") || (out->plugin = take_name(r)) == NULL) {
        return syntax(r, note);
    }
    if (take_sign(r, '(')) {
        return read_options(r, out, note);
    }
    while (e == ERR_NONE && r->token.kind == 'w') {
        const char *word = take_name(r);
        e = create_option(word, NULL, note);
    }
    return e;
}

/* X/X */
static int read_lsn(const char *text, uint64_t *out)
{
    char *end = NULL;
    unsigned long long high = strtoull(text, &end, 16);
    unsigned long long low = *end == '/' && end[1] != 0 ? strtoull(end + 1, &end, 16) : 0;
    *out = high << 32 | low;
    return text[0] != '/' && *end == 0 && strchr(text, '/') != NULL && high <= UINT32_MAX &&
           low <= UINT32_MAX;
}

static enum err read_start(struct reading *r, struct slots_call *out, struct note *note)
{
    if (!take_word(r, "SLOT")) {
        return unsupported(note, "physical replication is of a single server",
                           "Name its shard with options='-c braid.shard=NAME'.");
    }
    enum err e = read_slot(r, out, note);
    if (e) {
        return e;
    }
    if (!take_word(r, "LOGICAL") || r->token.kind != 'w' || !read_lsn(r->token.text, &out->lsn)) {
        return syntax(r, note);
    }
    advance(r);
    return take_sign(r, '(') ? read_options(r, out, note) : ERR_NONE;
}

static enum err read_drop(struct reading *r, struct slots_call *out, struct note *note)
{
    enum err e = read_slot(r, out, note);
    (void)take_word(r, "WAIT");
    return e;
}

static const struct {
    const char *word;
    enum slots_command command;
    enum err (*read)(struct reading *r, struct slots_call *out, struct note *note);
} COMMANDS[] = {
    {"IDENTIFY_SYSTEM", SLOTS_IDENTIFY, NULL},
    {"CREATE_REPLICATION_SLOT", SLOTS_CREATE, read_create},
    {"DROP_REPLICATION_SLOT", SLOTS_DROP, read_drop},
    {"START_REPLICATION", SLOTS_START, read_start},
};
static const char *const OTHERS[] = {"READ_REPLICATION_SLOT", "ALTER_REPLICATION_SLOT",
                                     "TIMELINE_HISTORY", "BASE_BACKUP", "UPLOAD_MANIFEST"};

int slots_wants(struct slice text)
{
    while (text.n > 0 && text.p[0] != 0 && strchr(BLANKS, text.p[0]) != NULL) {
        text = slice_from(text, 1);
    }
    size_t n = 0;
    while (n < text.n && is_word_byte(text.p[n])) {
        n++;
    }
    int wanted = 0;
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        wanted |= strlen(COMMANDS[i].word) == n &&
                  strncasecmp((const char *)text.p, COMMANDS[i].word, n) == 0;
    }
    for (size_t i = 0; i < sizeof(OTHERS) / sizeof(OTHERS[0]); i++) {
        wanted |= strlen(OTHERS[i]) == n && strncasecmp((const char *)text.p, OTHERS[i], n) == 0;
    }
    return wanted;
}

enum err slots_read(struct slice text, struct arena *arena, struct slots_call *out,
                    struct note *note)
{
    struct reading r = {.left = text, .arena = arena};
    *out = (struct slots_call){0};
    if (text.n > SLOTS_TEXT_MAX) {
        return note_set(note, ERR_SYNTAX, "a replication command has up to %d bytes",
                        SLOTS_TEXT_MAX);
    }
    advance(&r);
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (take_word(&r, COMMANDS[i].word)) {
            out->command = COMMANDS[i].command;
            enum err e = COMMANDS[i].read == NULL ? ERR_NONE : COMMANDS[i].read(&r, out, note);
            (void)take_sign(&r, ';');
            return e ? e : r.token.kind != 0 || r.bad ? syntax(&r, note) : ERR_NONE;
        }
    }
    return unsupported(note, "this replication command is for a single server",
                       "Name its shard with options='-c braid.shard=NAME'.");
}
