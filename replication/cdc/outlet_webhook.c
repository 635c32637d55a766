/*
 * The sink that calls a web hook: a batch is one POST of {"events":[...]}, in order.
 *
 *     2xx            it is kept
 *     400, 413, 422  the data's own fault: again in halves; a single event that is refused so is a
 *                    dead letter
 *     all else       tried again, not before Retry-After
 *
 * A status of the way there (401, 404, redirects) says nothing about the data, so it is never a
 * reason to give an event up.
 */

#include <stdio.h>

#include "base/mem.h"
#include "replication/cdc/outlet.h"

struct hook_sink {
    struct cdc_web *web;
    struct buf events; /* objects, with a comma behind each */
    size_t *ends;      /* of each object in it, without the comma */
    size_t count, cap;
    struct buf body; /* of the request */
    struct cdc_web_answer answer;
};

static enum err hook_event(void *self, const struct cdc_event *event, struct note *note)
{
    struct hook_sink *s = self;
    (void)note;
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 64 : s->cap * 2;
        s->ends = mem_grow(s->ends, s->cap * sizeof(s->ends[0]));
    }
    cdc_outlet_object(&s->events, event);
    s->ends[s->count++] = s->events.n;
    buf_u8(&s->events, ',');
    return ERR_NONE;
}

static struct slice events_of(const struct hook_sink *s, size_t from, size_t to)
{
    size_t begin = from == 0 ? 0 : s->ends[from - 1] + 1;
    return (struct slice){s->events.p + begin, s->ends[to - 1] - begin};
}

/* Events [from, to). */
static enum err post(struct hook_sink *s, size_t from, size_t to, struct cdc_pour *pour,
                     struct note *note)
{
    char words[256];
    s->body.n = 0;
    buf_text(&s->body, "{\"events\":[");
    buf_add_slice(&s->body, events_of(s, from, to));
    buf_text(&s->body, "]}");
    struct cdc_web_request request = {
        .method = "POST", .path = "", .type = "application/json", .body = buf_slice(&s->body)};
    enum err e = cdc_web_call(s->web, &request, pour, &s->answer, note);
    long status = s->answer.status;
    if (e || (status >= 200 && status < 300)) {
        return e;
    }
    cdc_web_words(s->web, &s->answer, words, sizeof(words));
    if (status != 400 && status != 413 && status != 422) {
        return note_set(note, ERR_SHARD_REFUSED, "%s: %s", cdc_web_name(s->web), words);
    }
    if (to - from == 1) {
        return cdc_dead_bury(pour->dead, events_of(s, from, to), words, note);
    }
    size_t middle = from + (to - from) / 2;
    e = post(s, from, middle, pour, note); /* as deep as a batch can be halved */
    return e ? e : post(s, middle, to, pour, note);
}

static enum err hook_flush(void *self, struct cdc_pour *pour, struct note *note)
{
    struct hook_sink *s = self;
    enum err e = s->count == 0 ? ERR_NONE : post(s, 0, s->count, pour, note);
    if (e == ERR_NONE) {
        s->events.n = 0;
        s->count = 0;
    }
    return e;
}

static void hook_forget(void *self)
{
    struct hook_sink *s = self;
    s->events.n = 0;
    s->count = 0;
    cdc_web_close(s->web);
}

static void hook_free(void *self)
{
    struct hook_sink *s = self;
    cdc_web_free(s->web);
    buf_free(&s->events);
    buf_free(&s->body);
    buf_free(&s->answer.body);
    mem_free(s->ends);
    mem_free(s);
}

const struct cdc_outlet_kind cdc_outlet_webhook = {.name = "webhook",
                                                   .event = hook_event,
                                                   .flush = hook_flush,
                                                   .forget = hook_forget,
                                                   .free = hook_free};

void *cdc_outlet_webhook_make(const struct cdc_web_options *options)
{
    struct hook_sink *s = mem_zero(sizeof(*s));
    s->web = cdc_web_new(options);
    return s;
}
