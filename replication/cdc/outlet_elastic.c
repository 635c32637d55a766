/*
 * The sink that keeps documents of Elasticsearch or OpenSearch equal to rows: an index per table, a
 * document per row, its _id the key. Every action goes by key, so one that comes twice does no
 * harm.
 *
 *     c, r, u   index; a key that was changed: the old document goes
 *     u with a TOASTed value left alone: update of the other fields
 *     d         goes          t   _delete_by_query of all of its own
 *
 * As in the PostgreSQL sink a document says whose it is ("_braid": "shard/partition", a keyword),
 * and what goes must be one's own: a script compares.
 *
 * What an item of _bulk says: 2xx kept; 404 fine where something goes, and for an update of what
 * goes later in the batch, which came before and whose answer was lost; 400, or another update of
 * what is not there: a dead letter. All else, and whatever the request as a whole is refused for:
 * the batch comes again, whole, so that the order of each key stays. 413: in halves.
 */

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "replication/cdc/outlet.h"
#include "replication/cdc/outlet_bulk.h"
#include "replication/cdc/outlet_name.h"

enum {
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    ID_BYTES = 512,   /* of an _id, at most */
    PATH_BYTES = 320, /* a name has at most 255 */
    WORDS_BYTES = 256
};

enum act {
    ACT_INDEX,
    ACT_UPDATE,
    ACT_GO,   /* the document of a key */
    ACT_EMPTY /* all that the shard has given in the partition */
};

/* Offsets are of `texts`. */
struct action {
    enum act act;
    size_t text, text_end;   /* lines of _bulk; of ACT_EMPTY the body of _delete_by_query */
    size_t index, index_end; /* its name, with a 0 behind */
    size_t event, event_end; /* for a dead letter */
    size_t fields;           /* what the index must know of them, with a 0 behind */
    const char *bad;         /* why it has no lines: it is a dead letter; or NULL */
    int has_unknown;
};

/* An index that this connection knows is there, with these fields. */
struct made {
    char *name, *fields;
};

struct elastic_sink {
    struct cdc_web *web;
    char *prefix;
    struct buf texts;
    struct action *actions;
    size_t count, cap;
    const struct change_relation *shown; /* `fields` of actions are its */
    uint32_t shown_version;
    size_t fields;
    struct made *made;
    size_t made_count;
    struct cdc_web_answer answer;
};

/* ---- texts ----------------------------------------------------------------------------------- */

static void put_owner(struct buf *out, const struct cdc_event *event)
{
    char text[160];
    (void)snprintf(text, sizeof(text), "%.120s/%u", event->shard, event->partition);
    cdc_json_text(out, slice_of(text));
}

/* The _id: of one key column its text, of several the key as JSON. Its bytes. */
static size_t put_id(struct buf *out, const struct cdc_event *event,
                     const struct change_column *columns)
{
    const struct change_relation *r = event->change.relation;
    const struct change_column *only = NULL;
    struct buf all = {0};
    int keys = 0;
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (r->columns[i].is_key) {
            buf_text(&all, keys++ == 0 ? "" : ",");
            cdc_json_text(&all, columns[i].bytes);
            only = &columns[i];
        }
    }
    struct slice id = keys == 1 ? only->bytes : buf_slice(&all);
    size_t n = id.n;
    cdc_json_text(out, id);
    buf_free(&all);
    return n;
}

/* What a field becomes is decided by its first value: of a float that could be a whole number, and
 * then what is behind the point could not be searched for. */
static void put_fields_known(struct elastic_sink *s, const struct change_relation *r)
{
    if (s->count > 0 && s->shown == r && s->shown_version == r->version) {
        return;
    }
    s->shown = r;
    s->shown_version = r->version;
    s->fields = s->texts.n;
    buf_text(&s->texts, "\"_braid\":{\"type\":\"keyword\"}");
    for (uint16_t i = 0; i < r->n_columns; i++) {
        const struct change_relation_column *c = &r->columns[i];
        if ((c->type == OID_FLOAT4 || c->type == OID_FLOAT8) && !slice_is(c->name, "_braid")) {
            buf_u8(&s->texts, ',');
            cdc_json_text(&s->texts, c->name);
            buf_text(&s->texts, ":{\"type\":\"double\",\"ignore_malformed\":true}"); /* NaN */
        }
    }
    buf_u8(&s->texts, 0);
}

static struct action *add(struct elastic_sink *s, const struct cdc_event *event, enum act act)
{
    put_fields_known(s, event->change.relation);
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 64 : s->cap * 2;
        s->actions = mem_grow(s->actions, s->cap * sizeof(s->actions[0]));
    }
    struct action *a = &s->actions[s->count++];
    *a = (struct action){.act = act, .event = s->texts.n, .fields = s->fields};
    cdc_outlet_object(&s->texts, event);
    a->event_end = a->index = s->texts.n;
    cdc_index_name(&s->texts, s->prefix, event->topic);
    a->index_end = a->text = s->texts.n;
    return a;
}

/* 0: nothing can be called so, and a request with such an _id would be refused as a whole. */
static int begin_action(struct elastic_sink *s, struct action *a, const char *word,
                        const struct cdc_event *event, const struct change_column *key)
{
    const char *name = (const char *)s->texts.p + a->index;
    struct buf line = {0};
    buf_printf(&line, "{\"%s\":{\"_index\":\"%s\",\"_id\":", word, name);
    size_t id_bytes = put_id(&line, event, key);
    buf_text(&line, "}}\n");
    int fits = id_bytes > 0 && id_bytes <= ID_BYTES;
    buf_add_slice(&s->texts, fits ? buf_slice(&line) : (struct slice){NULL, 0});
    buf_free(&line);
    a->bad = fits ? NULL : "the key is empty, or longer than the 512 bytes of an _id";
    a->text_end = s->texts.n;
    return fits;
}

/* The row as the fields of a document. 1: a value is not known, and left out. */
static int put_fields(struct buf *out, const struct cdc_event *event)
{
    buf_text(out, "{\"_braid\":");
    put_owner(out, event);
    int unknown = cdc_event_fields(out, event, event->change.new_columns);
    buf_u8(out, '}');
    return unknown;
}

static void add_index(struct elastic_sink *s, const struct cdc_event *event)
{
    struct action *a = add(s, event, ACT_INDEX);
    if (!begin_action(s, a, "index", event, event->change.new_columns)) {
        return;
    }
    a->has_unknown = put_fields(&s->texts, event);
    buf_u8(&s->texts, '\n');
    a->text_end = s->texts.n;
}

static void add_update(struct elastic_sink *s, const struct cdc_event *event)
{
    struct action *a = add(s, event, ACT_UPDATE);
    if (!begin_action(s, a, "update", event, event->change.new_columns)) {
        return;
    }
    buf_text(&s->texts, "{\"doc\":");
    (void)put_fields(&s->texts, event);
    buf_text(&s->texts, "}\n");
    a->text_end = s->texts.n;
}

static void add_go(struct elastic_sink *s, const struct cdc_event *event)
{
    struct action *a = add(s, event, ACT_GO);
    if (!begin_action(s, a, "update", event, event->change.old_columns)) {
        return;
    }
    buf_text(&s->texts, "{\"script\":{\"lang\":\"painless\",\"source\":\"ctx.op = "
                        "ctx._source._braid == params.by ? 'delete' : 'none'\","
                        "\"params\":{\"by\":");
    put_owner(&s->texts, event);
    buf_text(&s->texts, "}}}\n");
    a->text_end = s->texts.n;
}

static void add_empty(struct elastic_sink *s, const struct cdc_event *event)
{
    struct action *a = add(s, event, ACT_EMPTY);
    buf_text(&s->texts, "{\"query\":{\"term\":{\"_braid\":");
    put_owner(&s->texts, event);
    buf_text(&s->texts, "}}}");
    a->text_end = s->texts.n;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void add_change(struct elastic_sink *s, const struct cdc_event *event)
{
    const struct change *c = &event->change;
    switch ((enum change_op)c->op) {
    case CHANGE_INSERT:
    case CHANGE_ROW: add_index(s, event); return;
    case CHANGE_DELETE: add_go(s, event); return;
    case CHANGE_TRUNCATE: add_empty(s, event); return;
    case CHANGE_UPDATE: {
        struct buf unused = {0};
        int unknown = cdc_event_fields(&unused, event, c->new_columns);
        buf_free(&unused);
        if (c->old_columns != NULL) {
            add_go(s, event);
        }
        if (unknown && c->old_columns == NULL) {
            add_update(s, event);
        } else {
            add_index(s, event);
        }
        return;
    }
    case CHANGE_BEGIN:
    case CHANGE_COMMIT:
    case CHANGE_MESSAGE:
    case CHANGE_DDL:
    case CHANGE_WATERMARK:
    case CHANGE_GAP: return;
    }
}

static enum err elastic_event(void *self, const struct cdc_event *event, struct note *note)
{
    struct elastic_sink *s = self;
    const struct change *c = &event->change;
    (void)note;
    if (c->relation == NULL) {
        return ERR_NONE;
    }
    if (c->op == CHANGE_TRUNCATE || cdc_outlet_has_key(c->relation)) {
        add_change(s, event);
    } else {
        struct action *a = add(s, event, ACT_INDEX);
        a->text_end = a->text;
        a->bad = "the table has no key";
    }
    return ERR_NONE;
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct slice part(const struct elastic_sink *s, size_t from, size_t to)
{
    const uint8_t *p = s->texts.p;
    return (struct slice){p + from, to - from};
}

static enum err bury(struct elastic_sink *s, const struct action *a, const char *why,
                     struct cdc_pour *pour, struct note *note)
{
    return cdc_dead_bury(pour->dead, part(s, a->event, a->event_end), why, note);
}

static enum err call(struct elastic_sink *s, const char *method, const char *path, const char *type,
                     struct slice body, struct cdc_pour *pour, struct note *note)
{
    struct cdc_web_request request = {.method = method, .path = path, .type = type, .body = body};
    return cdc_web_call(s->web, &request, pour, &s->answer, note);
}

static enum err refused(const struct elastic_sink *s, struct note *note)
{
    char words[WORDS_BYTES];
    cdc_web_words(s->web, &s->answer, words, sizeof(words));
    return note_set(note, ERR_SHARD_REFUSED, "%s: %s", cdc_web_name(s->web), words);
}

static int is_fine(const struct elastic_sink *s)
{
    return s->answer.status >= 200 && s->answer.status < 300;
}

static int is_made(const struct elastic_sink *s, const char *name, const char *fields)
{
    for (size_t i = 0; i < s->made_count; i++) {
        if (strcmp(s->made[i].name, name) == 0 && strcmp(s->made[i].fields, fields) == 0) {
            return 1;
        }
    }
    return 0;
}

static enum err put(struct elastic_sink *s, const char *name, const char *what, const char *before,
                    const char *fields, const char *behind, struct cdc_pour *pour,
                    struct note *note)
{
    char path[PATH_BYTES];
    struct buf body = {0};
    (void)snprintf(path, sizeof(path), "/%.255s%s", name, what);
    buf_text(&body, before);
    buf_text(&body, fields);
    buf_text(&body, behind);
    enum err e = call(s, "PUT", path, "application/json", buf_slice(&body), pour, note);
    buf_free(&body);
    return e;
}

/* The index is there, and has these fields, or where it was made otherwise _braid as a keyword. A
 * text is no date for that it looks like one: the next may not. */
static enum err make_index(struct elastic_sink *s, const char *name, const char *fields,
                           struct cdc_pour *pour, struct note *note)
{
    static const char braid[] = "\"_braid\":{\"type\":\"keyword\"}";
    if (is_made(s, name, fields)) {
        return ERR_NONE;
    }
    enum err e = put(s, name, "/_mapping", "{\"properties\":{", fields, "}}", pour, note);
    if (e == ERR_NONE && s->answer.status == 404) {
        e = put(s, name, "", "{\"mappings\":{\"date_detection\":false,\"properties\":{", fields,
                "}}}", pour, note);
    } else if (e == ERR_NONE && s->answer.status == 400 && strcmp(fields, braid) != 0) {
        e = put(s, name, "/_mapping", "{\"properties\":{", braid, "}}", pour, note);
    }
    if (e || !is_fine(s)) {
        return e ? e : refused(s, note);
    }
    s->made = mem_grow(s->made, (s->made_count + 1) * sizeof(s->made[0]));
    s->made[s->made_count++] = (struct made){mem_strdup(name), mem_strdup(fields)};
    return ERR_NONE;
}

/* What is written is not found by a query before a refresh. */
static enum err empty(struct elastic_sink *s, const struct action *a, struct cdc_pour *pour,
                      struct note *note)
{
    char path[PATH_BYTES];
    const char *name = (const char *)s->texts.p + a->index;
    (void)snprintf(path, sizeof(path), "/%.255s/_refresh", name);
    enum err e = call(s, "POST", path, "application/json", SLICE(""), pour, note);
    if (e == ERR_NONE && is_fine(s)) {
        (void)snprintf(path, sizeof(path), "/%.255s/_delete_by_query?refresh=true", name);
        e = call(s, "POST", path, "application/json", part(s, a->text, a->text_end), pour, note);
    }
    return e || is_fine(s) ? e : refused(s, note);
}

/* ---- _bulk ----------------------------------------------------------------------------------- */

struct judging {
    struct elastic_sink *s;
    struct cdc_pour *pour;
    struct note *note;
    const struct action *at, *end;
    int buries; /* second look: nothing has to come again */
    enum err err;
};

static void words_of(const struct cdc_bulk_item *item, char out[WORDS_BYTES])
{
    (void)snprintf(out, WORDS_BYTES, "status %ld: %.*s: %.*s", item->status,
                   (int)(item->type.n > 80 ? 80 : item->type.n), (const char *)item->type.p,
                   (int)(item->reason.n > 140 ? 140 : item->reason.n),
                   (const char *)item->reason.p);
    for (char *p = out; *p != 0; p++) {
        *p = *p < ' ' || *p == '"' || *p == '\\' ? ' ' : *p;
    }
}

static struct slice first_line(const struct elastic_sink *s, const struct action *a)
{
    struct slice text = part(s, a->text, a->text_end);
    const uint8_t *end = text.n == 0 ? NULL : memchr(text.p, '\n', text.n);
    return end == NULL ? text : (struct slice){text.p, (size_t)(end - text.p)};
}

/* The document that an update is of is deleted by a later action of the batch. */
static int goes_later(const struct elastic_sink *s, const struct action *update)
{
    struct slice line = first_line(s, update); /* has index and _id */
    for (const struct action *a = update + 1; a < s->actions + s->count; a++) {
        if (a->act == ACT_GO && slice_eq(first_line(s, a), line)) {
            return 1;
        }
    }
    return 0;
}

static void judge(void *arg, const struct cdc_bulk_item *item)
{
    struct judging *j = arg;
    char words[WORDS_BYTES];
    if (j->err || j->at == j->end) {
        j->err = j->err ? j->err : note_set(j->note, ERR_SHARD_PROTOCOL, "too many items");
        return;
    }
    const struct action *a = j->at++;
    int kept = item->status >= 200 && item->status < 300;
    int missing = item->status == 404 && slice_is(item->type, "document_missing_exception");
    words_of(item, words);
    if (kept && a->has_unknown && j->buries) {
        j->err = bury(j->s, a, "the row was written without a large value that is not known",
                      j->pour, j->note);
    } else if (kept || (missing && a->act == ACT_GO) ||
               (missing && a->act == ACT_UPDATE && goes_later(j->s, a))) {
        return;
    } else if (item->status != 400 && !missing) {
        j->err = note_set(j->note, ERR_SHARD_REFUSED, "%s: %s", cdc_web_name(j->s->web), words);
    } else if (j->buries) {
        j->err = bury(j->s, a, words, j->pour, j->note);
    }
}

/* Twice: nothing is buried of what has to come again as a whole. */
static enum err judge_all(struct elastic_sink *s, size_t from, size_t to, struct cdc_pour *pour,
                          struct note *note)
{
    for (int buries = 0; buries < 2; buries++) {
        struct judging j = {.s = s,
                            .pour = pour,
                            .note = note,
                            .at = s->actions + from,
                            .end = s->actions + to,
                            .buries = buries};
        enum err e = cdc_bulk_read(buf_slice(&s->answer.body), judge, &j, note);
        e = j.err ? j.err : e;
        if (e == ERR_NONE && j.at != j.end) {
            e = note_set(note, ERR_SHARD_PROTOCOL, "an answer to _bulk with too few items");
        }
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

/* Actions [from, to), none of which is ACT_EMPTY or without lines. */
static enum err bulk(struct elastic_sink *s, size_t from, size_t to, struct cdc_pour *pour,
                     struct note *note)
{
    struct buf body = {0};
    for (size_t i = from; i < to; i++) {
        buf_add_slice(&body, part(s, s->actions[i].text, s->actions[i].text_end));
    }
    enum err e = call(s, "POST", "/_bulk", "application/x-ndjson", buf_slice(&body), pour, note);
    buf_free(&body);
    if (e || is_fine(s)) {
        return e ? e : judge_all(s, from, to, pour, note);
    }
    if (s->answer.status != 413) {
        return refused(s, note);
    }
    if (to - from == 1) {
        return bury(s, &s->actions[from], "status 413: the document is too large", pour, note);
    }
    size_t middle = from + (to - from) / 2;
    e = bulk(s, from, middle, pour, note);
    return e ? e : bulk(s, middle, to, pour, note);
}

static enum err pour_out(struct elastic_sink *s, struct cdc_pour *pour, struct note *note)
{
    enum err e = ERR_NONE;
    for (size_t i = 0; i < s->count && e == ERR_NONE; i++) {
        const char *texts = (const char *)s->texts.p;
        const struct action *a = &s->actions[i];
        if (i == 0 || a->fields != a[-1].fields) {
            e = make_index(s, texts + a->index, texts + a->fields, pour, note);
        }
    }
    for (size_t i = 0; i < s->count && e == ERR_NONE;) {
        size_t to = i;
        const struct action *a = &s->actions[i];
        while (to < s->count && s->actions[to].act != ACT_EMPTY &&
               s->actions[to].text < s->actions[to].text_end) {
            to++;
        }
        if (to > i) {
            e = bulk(s, i, to, pour, note);
        } else {
            e = a->act == ACT_EMPTY ? empty(s, a, pour, note) : bury(s, a, a->bad, pour, note);
            to++;
        }
        i = to;
    }
    return e;
}

/* ---- kind ------------------------------------------------------------------------------------ */

static void drop(struct elastic_sink *s)
{
    s->texts.n = 0;
    s->count = 0;
}

static enum err elastic_flush(void *self, struct cdc_pour *pour, struct note *note)
{
    struct elastic_sink *s = self;
    enum err e = pour_out(s, pour, note);
    if (e == ERR_NONE) {
        drop(s);
    }
    return e;
}

static void elastic_forget(void *self)
{
    struct elastic_sink *s = self;
    drop(s);
    for (size_t i = 0; i < s->made_count; i++) {
        mem_free(s->made[i].name);
        mem_free(s->made[i].fields);
    }
    s->made_count = 0;
    cdc_web_close(s->web);
}

static void elastic_free(void *self)
{
    struct elastic_sink *s = self;
    elastic_forget(s);
    cdc_web_free(s->web);
    buf_free(&s->texts);
    buf_free(&s->answer.body);
    mem_free(s->actions);
    mem_free(s->made);
    mem_free(s->prefix);
    mem_free(s);
}

const struct cdc_outlet_kind cdc_outlet_elastic = {.name = "elastic",
                                                   .event = elastic_event,
                                                   .flush = elastic_flush,
                                                   .forget = elastic_forget,
                                                   .free = elastic_free};

void *cdc_outlet_elastic_make(const struct cdc_web_options *web, const char *prefix)
{
    struct elastic_sink *s = mem_zero(sizeof(*s));
    s->web = cdc_web_new(web);
    s->prefix = mem_strdup(prefix);
    return s;
}
