/* The text of a call of braid.changes(), and its arguments: see feed.h. Pure. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "proxy/cdc/feed.h"

static const char HEAD[] = "select * from braid.changes";

static int is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A comment, also one that never ends; 0: there is none here. Those in one another are not known.
 */
static size_t comment_bytes(struct slice in)
{
    int is_line = in.n > 1 && in.p[0] == '-' && in.p[1] == '-';
    int is_block = in.n > 1 && in.p[0] == '/' && in.p[1] == '*';
    size_t n = is_line || is_block ? 2 : 0;
    while (is_line && n < in.n && in.p[n] != '\n') {
        n++;
    }
    while (is_block && n < in.n && !(n >= 4 && in.p[n - 2] == '*' && in.p[n - 1] == '/')) {
        n++;
    }
    return n;
}

static struct slice skip_blanks(struct slice in)
{
    for (size_t n = 1; in.n > 0 && n > 0; in = slice_from(in, n)) {
        n = is_blank(in.p[0]) ? 1 : comment_bytes(in);
    }
    return in;
}

/* The words up to the "(", with any blanks between them. 0: it is something else. */
static int take_head(struct slice *text)
{
    struct slice in = skip_blanks(*text);
    for (const char *p = HEAD; *p != 0; p++) {
        if (*p == ' ') {
            size_t before = in.n;
            in = skip_blanks(in);
            if (in.n == before && p[-1] != '*' && p[1] != '*') {
                return 0;
            }
        } else if (in.n == 0 || (in.p[0] | (*p >= 'a' && *p <= 'z' ? 0x20 : 0)) != *p) {
            return 0;
        } else {
            in = slice_from(in, 1);
        }
    }
    *text = skip_blanks(in);
    return 1;
}

int feed_wants(struct slice text)
{
    return take_head(&text) && text.n > 0 && text.p[0] == '(';
}

static enum err syntax(struct slice at, struct note *note)
{
    size_t n = at.n > 40 ? 40 : at.n;
    enum err e = n == 0 ? note_set(note, ERR_SYNTAX, "braid.changes(): the call ends too early")
                        : note_set(note, ERR_SYNTAX, "braid.changes(): syntax error at \"%.*s\"",
                                   (int)n, (const char *)at.p);
    note_hint(note, "The form is SELECT * FROM braid.changes('table', group => 'g', limit => 100), "
                    "with constants or parameters, as a statement of its own.");
    return e;
}

static int take(struct slice *in, const char *token)
{
    struct slice s = skip_blanks(*in);
    size_t n = strlen(token);
    if (s.n < n || memcmp(s.p, token, n) != 0) {
        return 0;
    }
    *in = slice_from(s, n);
    return 1;
}

/* 'text' with '' for a quote in it; NULL: there is none here. */
static char *take_string(struct slice *in, char quote, struct arena *arena)
{
    struct slice s = skip_blanks(*in);
    if (s.n == 0 || s.p[0] != (uint8_t)quote) {
        return NULL;
    }
    char *out = arena_alloc(arena, s.n);
    size_t n = 0;
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == (uint8_t)quote && (i + 1 == s.n || s.p[i + 1] != (uint8_t)quote)) {
            out[n] = 0;
            *in = slice_from(s, i + 1);
            return out;
        }
        i += s.p[i] == (uint8_t)quote;
        out[n++] = (char)s.p[i];
    }
    return NULL;
}

/* A name, a number, a word like true. */
static char *take_word(struct slice *in, struct arena *arena)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+";
    struct slice s = skip_blanks(*in);
    size_t n = 0;
    while (n < s.n && s.p[n] != 0 && strchr(letters, s.p[n]) != NULL) {
        n++;
    }
    *in = n == 0 ? *in : slice_from(s, n);
    return n == 0 ? NULL : arena_strndup(arena, s.p, n);
}

static enum err number_of(const char *name, const char *value, int64_t min, int64_t max,
                          int64_t *out, struct note *note)
{
    char *end = NULL;
    long long n = strtoll(value, &end, 10);
    if (end == value || *end != 0 || n < min || n > max) {
        return note_set(note, ERR_BAD_SETTING, "%s must be a number from %lld to %lld", name,
                        (long long)min, (long long)max);
    }
    *out = n;
    return ERR_NONE;
}

static enum err ack_of(const char *value, enum cdc_ack *out, struct note *note)
{
    static const char *const words[] = {"next", "now", "none"};
    for (int i = 0; i < 3; i++) {
        if (strcasecmp(value, words[i]) == 0) {
            *out = (enum cdc_ack)i;
            return ERR_NONE;
        }
    }
    return note_set(note, ERR_BAD_SETTING, "ack is one of next, now, none");
}

/* By their bits in feed_call.given; "start" is "from" for those to whom that is a word of SQL. */
static const char *const NAMES[] = {"topic",   "group",     "member", "from", "limit",
                                    "wait_ms", "partition", "offset", "ack"};

enum err feed_name(struct feed_call *call, const char *name, const char *more, struct note *note)
{
    const char *known = strcasecmp(name, "start") == 0 ? "from" : name;
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (strcasecmp(known, NAMES[i]) == 0) {
            int again = (call->given >> i & 1) != 0;
            call->given |= 1U << i;
            return again ? note_set(note, ERR_SYNTAX, "argument \"%s\" is given more than once",
                                    NAMES[i])
                         : ERR_NONE;
        }
    }
    return note_set(note, ERR_BAD_SETTING,
                    "\"%.60s\" is none of topic, group, member, limit, wait_ms, from, partition, "
                    "offset, ack%s",
                    name, more);
}

enum err feed_set(struct feed_call *call, const char *name, const char *value, struct note *note)
{
    if (strcasecmp(name, "topic") == 0) {
        call->topic = value;
    } else if (strcasecmp(name, "group") == 0) {
        call->group = value;
    } else if (strcasecmp(name, "member") == 0) {
        call->member = value;
    } else if (strcasecmp(name, "limit") == 0) {
        return number_of("limit", value, 1, FEED_LIMIT_MAX, &call->limit, note);
    } else if (strcasecmp(name, "wait_ms") == 0) {
        return number_of("wait_ms", value, 0, FEED_WAIT_MS_MAX, &call->wait_ms, note);
    } else if (strcasecmp(name, "partition") == 0) {
        return number_of("partition", value, 0, UINT16_MAX, &call->partition, note);
    } else if (strcasecmp(name, "offset") == 0) {
        return number_of("offset", value, 0, INT64_MAX, &call->offset, note);
    } else if (strcasecmp(name, "ack") == 0) {
        call->has_ack = 1;
        return ack_of(value, &call->ack, note);
    } else {
        call->from = value;
    }
    return ERR_NONE;
}

/* $7; 0: there is none here. */
static uint16_t take_parameter(struct slice *in)
{
    struct slice s = skip_blanks(*in);
    uint32_t n = 0;
    size_t i = 1;
    if (s.n < 2 || s.p[0] != '$') {
        return 0;
    }
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && n <= UINT16_MAX; i++) {
        n = n * 10 + (uint32_t)(s.p[i] - '0');
    }
    if (n == 0 || n > UINT16_MAX) {
        return 0;
    }
    *in = slice_from(s, i);
    return (uint16_t)n;
}

/* A constant, or a parameter, either with ::type behind it, which says nothing new. */
static enum err read_value(struct slice *in, struct arena *arena, struct feed_call *out,
                           const char *name, struct note *note)
{
    uint16_t parameter = take_parameter(in);
    char *value = parameter != 0 ? NULL : take_string(in, '\'', arena);
    value = parameter != 0 || value != NULL ? value : take_word(in, arena);
    if ((value == NULL && parameter == 0) || (take(in, "::") && take_word(in, arena) == NULL)) {
        return syntax(*in, note);
    }
    enum err e = feed_name(out, name, "", note);
    if (value != NULL) {
        return e ? e : feed_set(out, name, value, note);
    }
    if (e == ERR_NONE && out->holes_count == FEED_HOLES_MAX) {
        return syntax(*in, note);
    }
    if (e == ERR_NONE) {
        out->holes[out->holes_count++] = (struct feed_hole){name, parameter};
    }
    return e;
}

static enum err read_argument(struct slice *in, struct arena *arena, struct feed_call *out,
                              int is_first, struct note *note)
{
    struct slice at = *in;
    const char *name = "topic";
    int is_plain = is_first && (take_parameter(in) != 0 || take_string(in, '\'', arena) != NULL);
    *in = at;
    if (!is_plain) {
        name = take_string(in, '"', arena);
        name = name == NULL ? take_word(in, arena) : name;
        if (name == NULL || (!take(in, "=>") && !take(in, ":="))) {
            return syntax(*in, note);
        }
    }
    return read_value(in, arena, out, name, note);
}

static enum err no_table(struct note *note)
{
    return note_set(note, ERR_BAD_SETTING, "braid.changes() needs a table");
}

enum err feed_read(struct slice text, struct arena *arena, struct feed_call *out, struct note *note)
{
    struct slice in = text;
    *out = (struct feed_call){.limit = FEED_LIMIT, .partition = -1, .offset = -1};
    if (!take_head(&in) || !take(&in, "(")) {
        return syntax(in, note);
    }
    enum err e = ERR_NONE;
    for (int is_first = 1; e == ERR_NONE; is_first = 0) {
        e = read_argument(&in, arena, out, is_first, note);
        if (e == ERR_NONE && !take(&in, ",")) {
            break;
        }
    }
    if (e) {
        return e;
    }
    if (!take(&in, ")")) {
        return syntax(in, note);
    }
    (void)take(&in, ";");
    in = skip_blanks(in);
    if (in.n > 0) {
        return syntax(in, note);
    }
    return out->topic == NULL && out->holes_count == 0 ? no_table(note) : ERR_NONE;
}

/* ---- parameters ------------------------------------------------------------------------------ */

enum {
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25
};

static int is_counted(const char *name)
{
    static const char *const names[] = {"limit", "wait_ms", "partition", "offset"};
    int yes = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        yes |= strcasecmp(name, names[i]) == 0;
    }
    return yes;
}

static int is_text_type(uint32_t type)
{
    static const uint32_t types[] = {18, 19, OID_TEXT, 705, 1042, 1043}; /* char to varchar */
    int yes = 0;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        yes |= types[i] == type;
    }
    return yes;
}

static int is_int_type(uint32_t type)
{
    return type == OID_INT2 || type == OID_INT4 || type == OID_INT8;
}

enum err feed_types(const struct feed_call *call, const uint32_t *given, size_t given_count,
                    struct arena *arena, uint32_t **out, size_t *count, struct note *note)
{
    size_t max = given_count;
    for (size_t i = 0; i < call->holes_count; i++) {
        max = call->holes[i].parameter > max ? call->holes[i].parameter : max;
    }
    uint32_t *types = arena_zero(arena, (max + 1) * sizeof(*types));
    for (size_t i = 0; i < call->holes_count; i++) {
        const struct feed_hole *hole = &call->holes[i];
        size_t at = hole->parameter - (size_t)1;
        uint32_t is = at < given_count ? given[at] : 0;
        is = is == 0 ? types[at] : is;
        is = is == 0 ? (is_counted(hole->name) ? OID_INT8 : OID_TEXT) : is;
        if (!is_text_type(is) && !is_int_type(is)) {
            return note_set(note, ERR_UNSUPPORTED,
                            "braid.changes(): parameter $%u for %s is of type %u, not an integer "
                            "or a text",
                            hole->parameter, hole->name, is);
        }
        types[at] = is;
    }
    for (size_t i = 0; i < max; i++) {
        if (types[i] == 0) {
            return note_set(note, ERR_NO_PARAMETER,
                            "could not determine data type of parameter $%zu", i + 1);
        }
    }
    *out = types;
    *count = max;
    return ERR_NONE;
}

/* A value as text, of the arena. */
static enum err plain_of(const struct front_value *v, uint32_t type, struct arena *arena,
                         const char **out, struct note *note)
{
    struct slice s = v->bytes;
    if (v->format == 0 || !is_int_type(type)) {
        *out = arena_strndup(arena, s.p, s.n);
        return memchr(*out, 0, s.n) == NULL
                   ? ERR_NONE
                   : note_set(note, ERR_PROTOCOL, "a parameter has a byte 0 in it");
    }
    if (s.n != (type == OID_INT2 ? 2 : type == OID_INT4 ? 4 : 8)) {
        return note_set(note, ERR_PROTOCOL, "incorrect binary data format in a parameter");
    }
    int64_t n = type == OID_INT2   ? (int16_t)be16_at(s.p)
                : type == OID_INT4 ? (int32_t)be32_at(s.p)
                                   : (int64_t)be64_at(s.p);
    *out = arena_printf(arena, "%" PRId64, n);
    return ERR_NONE;
}

enum err feed_fill(struct feed_call *call, const struct front_bind *bind, const uint32_t *types,
                   struct arena *arena, struct note *note)
{
    size_t n = bind == NULL ? 0 : bind->values_count;
    struct front_value *values = arena_alloc(arena, (n + 1) * sizeof(*values));
    enum err e = ERR_NONE;
    if (n > 0) {
        front_bind_values(bind, values);
    }
    for (size_t i = 0; e == ERR_NONE && i < call->holes_count; i++) {
        const struct feed_hole *hole = &call->holes[i];
        const char *plain = NULL;
        if (hole->parameter > n) {
            return note_set(note, ERR_NO_PARAMETER, "there is no parameter $%u", hole->parameter);
        }
        const struct front_value *v = &values[hole->parameter - 1];
        if (!v->is_null) {
            e = plain_of(v, types[hole->parameter - 1], arena, &plain, note);
            e = e ? e : feed_set(call, hole->name, plain, note);
        }
    }
    return e ? e : call->topic == NULL ? no_table(note) : ERR_NONE;
}

/* ---- what the words mean --------------------------------------------------------------------- */

static enum err bad_place(const char *text, struct note *note)
{
    return note_set(note, ERR_BAD_SETTING,
                    "\"%.80s\" is no place; places are earliest, latest, time:MILLISECONDS, "
                    "lsn:SHARD:X/Y",
                    text);
}

/* Up to eight hexadecimal digits; what is behind them. NULL: there are none, or too many. */
static const char *take_hex(const char *text, uint64_t *out)
{
    size_t n = strspn(text, "0123456789abcdefABCDEF");
    *out = strtoull(text, NULL, 16);
    return n > 0 && n <= 8 ? text + n : NULL;
}

/* X/X */
static int read_lsn(const char *text, uint64_t *out)
{
    uint64_t high = 0;
    uint64_t low = 0;
    const char *at = take_hex(text, &high);
    at = at != NULL && *at == '/' ? take_hex(at + 1, &low) : NULL;
    *out = high << 32 | low;
    return at != NULL && *at == 0;
}

static enum err lsn_place(struct cdc_log *log, const char *database, const char *text,
                          struct cdc_seek_to *out, struct note *note)
{
    const char *colon = strrchr(text, ':');
    uint64_t lsn = 0;
    if (colon == NULL || colon < text + 4 || !read_lsn(colon + 1, &lsn)) {
        return bad_place(text, note);
    }
    size_t name_bytes = (size_t)(colon - text - 4);
    struct cdc_source_view *sources = mem_alloc(CDC_SHARDS_MAX * sizeof(*sources));
    size_t n = cdc_log_sources(log, sources, CDC_SHARDS_MAX);
    int found = 0;
    for (size_t i = 0; i < n && !found; i++) {
        found = strcmp(sources[i].database, database) == 0 &&
                strlen(sources[i].name) == name_bytes &&
                memcmp(sources[i].name, text + 4, name_bytes) == 0;
        *out = (struct cdc_seek_to){.how = CDC_SEEK_LSN, .value = lsn, .source = sources[i].id};
    }
    mem_free(sources);
    return found ? ERR_NONE
                 : note_set(note, ERR_BAD_SETTING, "the change log knows no shard \"%.*s\"",
                            (int)name_bytes, text + 4);
}

enum err feed_place(struct cdc_log *log, const char *database, const char *text,
                    struct cdc_seek_to *out, struct note *note)
{
    char *end = NULL;
    *out = (struct cdc_seek_to){.how = CDC_SEEK_EARLIEST};
    if (text == NULL || strcmp(text, "earliest") == 0) {
        return ERR_NONE;
    }
    if (strcmp(text, "latest") == 0) {
        out->how = CDC_SEEK_LATEST;
        return ERR_NONE;
    }
    if (strncmp(text, "lsn:", 4) == 0) {
        return lsn_place(log, database, text, out, note);
    }
    if (strncmp(text, "time:", 5) != 0) {
        return bad_place(text, note);
    }
    unsigned long long ms = strtoull(text + 5, &end, 10);
    if (text[5] < '0' || text[5] > '9' || *end != 0 || ms > INT64_MAX / 1000) {
        return bad_place(text, note);
    }
    *out = (struct cdc_seek_to){.how = CDC_SEEK_TIME, .value = ms * 1000};
    return ERR_NONE;
}

static uint32_t find_topic(struct cdc_log *log, const char *database, int full, const char *name)
{
    char text[512];
    if (full) {
        return cdc_log_topic(log, slice_of(name));
    }
    int n = snprintf(text, sizeof(text), "%s.%s%s", database,
                     strchr(name, '.') == NULL ? "public." : "", name);
    return n < 0 || (size_t)n >= sizeof(text) ? 0 : cdc_log_topic(log, slice_of(text));
}

/* Arguments that say nothing without another one would be left aside silently. */
static enum err check_together(struct cdc_log *log, const struct feed_call *call,
                               struct cdc_consume *out, struct note *note)
{
    if (call->group != NULL && call->group[0] == 0) {
        return note_set(note, ERR_BAD_SETTING, "the name of a group has 1 to %d bytes",
                        CDC_GROUP_MAX);
    }
    if (call->group == NULL && (call->member != NULL || call->has_ack)) {
        return note_set(note, ERR_BAD_SETTING,
                        "member and ack are of a group: without one nothing is remembered");
    }
    if (call->group != NULL && (call->partition >= 0 || call->offset >= 0)) {
        return note_set(note, ERR_BAD_SETTING,
                        "a group decides itself which partitions are read, and from where on");
    }
    if (call->offset >= 0 && call->partition < 0) {
        uint16_t partitions = cdc_log_partitions(log, out->topic);
        out->has_place = 1;
        if (partitions > 1) {
            return note_set(note, ERR_BAD_SETTING,
                            "an offset is one of a partition: the topic has %u, name one by "
                            "partition",
                            partitions);
        }
    }
    return ERR_NONE;
}

enum err feed_resolve(struct cdc_log *log, const char *database, int full,
                      const struct feed_call *call, struct cdc_consume *out, struct note *note)
{
    *out =
        (struct cdc_consume){.topic = find_topic(log, database, full, call->topic),
                             .group = slice_of(call->group),
                             .member = slice_of(call->member),
                             .ack = call->ack,
                             .limit = (uint32_t)call->limit,
                             .wait_us = call->wait_ms * 1000,
                             .resets = call->from != NULL,
                             .has_place = call->partition >= 0,
                             .partition = (uint16_t)(call->partition < 0 ? 0 : call->partition),
                             .offset = call->offset >= 0 ? (uint64_t)call->offset : CDC_NO_OFFSET};
    if (out->topic == 0) {
        enum err e =
            note_set(note, ERR_NO_TABLE, "the change log has nothing of \"%.100s\"", call->topic);
        note_hint(note, "SHOW CDC_TOPICS on the admin console lists what it has; a table is there "
                        "from its first change on. SHOW CDC says what is in the way of changes.");
        return e;
    }
    enum err e = check_together(log, call, out, note);
    return e ? e : feed_place(log, database, call->from, &out->from, note);
}
