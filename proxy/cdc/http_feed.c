/* Changes over HTTP: see http_feed.h. A job reads, the control loop writes. */

#include "proxy/cdc/http_feed.h"

#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/scram.h"
#include "proxy/cdc/feed.h"
#include "proxy/cdc/feed_id.h"
#include "proxy/cdc/feeds.h"

enum {
    STREAM_WAIT_MS = 1000, /* between two looks whether the client is still there */
    STREAM_LIMIT = 1000,
    STREAM_BYTES_MAX = 1 << 20 /* of a batch; the next one is read when it has left */
};

/* A request being answered. */
struct http_call {
    struct job job; /* first */
    struct evhttp_request *request;
    struct arena arena;
    struct feed_call call;
    struct cdc_consume what;
    struct list node;     /* in control.streams, or control.polls */
    struct feed_id id;    /* of the answer; who: 0 if it needs none */
    struct feed_id given; /* what the client has, as it says; who: 0 if it says nothing */
    int is_stream, is_commit, is_begun;
    int is_sending;      /* a batch is on its way, no job turns */
    _Atomic int is_gone; /* the client has */
    struct buf out;
    uint32_t count;
    enum err err;
    struct note note;
};

/* ---- events ---------------------------------------------------------------------------------- */

static int put_event(void *arg, const struct cdc_event *event)
{
    struct http_call *h = arg;
    if (h->count > 0 && h->out.n > (h->is_stream ? STREAM_BYTES_MAX : FEED_BYTES_MAX)) {
        return 0;
    }
    if (h->id.who != 0) {
        feed_id_note(&h->id, event->partition, event->offset + 1);
    }
    if (h->is_stream) {
        buf_text(&h->out, "data: ");
    } else if (h->count > 0) {
        buf_u8(&h->out, ',');
    }
    h->count++;
    buf_text(&h->out, "{\"topic\":");
    cdc_json_text(&h->out, slice_of(event->topic));
    buf_printf(&h->out, ",\"partition\":%u,\"offset\":%llu,\"key\":", event->partition,
               (unsigned long long)event->offset);
    cdc_event_key(&h->out, event);
    buf_text(&h->out, ",\"value\":");
    cdc_event_value(&h->out, event);
    buf_text(&h->out, h->is_stream ? "}\n\n" : "}");
    return 1;
}

/* What the client says that it has. */
static enum err commit_given(struct cdc_consumers *consumers, struct http_call *h)
{
    if (h->given.who == 0) {
        return h->is_commit ? cdc_consumer_commit(consumers, h->what.topic, h->what.group,
                                                  h->what.member, &h->note)
                            : ERR_NONE;
    }
    enum err e = cdc_consumer_commit_to(consumers, h->what.topic, h->what.group, h->what.member,
                                        h->given.who, h->given.places, h->given.count, &h->note);
    feed_id_free(&h->given); /* once */
    return e;
}

/* The answer's id: behind the events, of a stream on the last one. */
static void put_id(struct http_call *h)
{
    if (h->is_stream && h->count > 0) {
        h->out.n--; /* the empty line that ends an event */
        buf_text(&h->out, "id: ");
        feed_id_put(&h->out, &h->id);
        buf_text(&h->out, "\n\n");
    } else if (!h->is_stream && h->id.who != 0) {
        buf_text(&h->out, ",\"id\":\"");
        feed_id_put(&h->out, &h->id);
        buf_u8(&h->out, '"');
    }
}

static void read_log(struct shared *shared, struct http_call *h)
{
    uint32_t count = 0;
    h->err = feed_resolve(shared->cdc_log, "", 1, &h->call, &h->what, &h->note);
    h->err = h->err ? h->err : commit_given(shared->cdc_consumers, h);
    if (h->err || h->is_commit) {
        return;
    }
    h->what.who = h->id.who;
    h->what.gone = &h->is_gone;
    h->what.ack = h->what.ack == CDC_ACK_NEXT ? CDC_ACK_NONE : h->what.ack; /* by ids */
    if (h->is_stream) {
        h->what.wait_us = STREAM_WAIT_MS * INT64_C(1000);
        h->what.limit = h->what.limit > STREAM_LIMIT ? STREAM_LIMIT : h->what.limit;
    } else {
        buf_text(&h->out, "{\"events\":[");
    }
    h->err = cdc_consume(shared->cdc_consumers, &h->what, put_event, h, &count, &h->note);
    buf_text(&h->out, h->is_stream ? "" : "]");
    put_id(h);
    buf_text(&h->out, h->is_stream ? "" : "}\n");
}

static void work(struct job *job)
{
    struct http_call *h = (struct http_call *)(void *)job;
    struct shared *shared = job->control->shared;
    h->out.n = 0;
    h->count = 0;
    h->err = note_set(&h->note, ERR_SHUTDOWN, "the change log is being closed");
    if (feeds_enter(shared)) {
        read_log(shared, h);
        feeds_leave(shared);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static void reply(struct evhttp_request *request, int status, const char *type, struct slice body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    (void)evhttp_add_header(headers, "Content-Type", type);
    (void)evhttp_add_header(headers, "Cache-Control", "no-store");
    struct evbuffer *bytes = evbuffer_new();
    check(bytes != NULL && evbuffer_add(bytes, body.p, body.n) == 0);
    evhttp_send_reply(request, status, status == 200 ? "OK" : "Error", bytes);
    evbuffer_free(bytes);
}

static void reply_failure(struct evhttp_request *request, int status, enum err e,
                          const struct note *note)
{
    struct buf out = {0};
    buf_printf(&out, "{\"error\":\"%s\",\"message\":", err_sqlstate(e));
    cdc_json_text(&out, slice_of(note->text));
    if (note->hint[0] != 0) {
        buf_text(&out, ",\"hint\":");
        cdc_json_text(&out, slice_of(note->hint));
    }
    buf_text(&out, "}\n");
    reply(request, status, "application/json; charset=utf-8", buf_slice(&out));
    buf_free(&out);
}

static int status_of(enum err e)
{
    return e == ERR_NO_TABLE                                            ? 404
           : e == ERR_BAD_SETTING || e == ERR_SYNTAX                    ? 400
           : e == ERR_LOG_GONE || e == ERR_FENCED || e == ERR_BAD_STATE ? 409
                                                                        : 503;
}

static void free_call(struct http_call *h)
{
    list_remove(&h->node);
    feed_id_free(&h->id);
    feed_id_free(&h->given);
    buf_free(&h->out);
    arena_free(&h->arena);
    mem_free(h);
}

static void on_close(struct evhttp_connection *connection, void *arg);

static void watch_client(struct http_call *h, int on)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(h->request);
    if (connection != NULL) {
        evhttp_connection_set_closecb(connection, on ? on_close : NULL, on ? h : NULL);
    }
}

/* Also when the client has gone: libevent keeps the request until it is answered. */
static void end_call(struct control *c, struct http_call *h)
{
    feeds_ended(c);
    watch_client(h, 0);
    if (h->is_begun) {
        evhttp_send_reply_end(h->request);
    } else if (h->err) {
        reply_failure(h->request, status_of(h->err), h->err, &h->note);
    } else if (h->is_commit) {
        reply(h->request, 200, "application/json; charset=utf-8", SLICE("{}\n"));
    } else {
        reply(h->request, 200, "application/json; charset=utf-8", buf_slice(&h->out));
    }
    free_call(h);
}

/* Nobody wants the rest of the stream: it ends now, or when its job is back. */
static void end_stream(struct control *c, struct http_call *h)
{
    atomic_store(&h->is_gone, 1);
    if (h->is_sending) {
        end_call(c, h);
    }
}

static void on_close(struct evhttp_connection *connection, void *arg)
{
    struct http_call *h = arg;
    (void)connection;
    end_stream(h->job.control, h);
}

/* The batch has left; the next one. */
static void on_sent(struct evhttp_connection *connection, void *arg)
{
    struct http_call *h = arg;
    struct control *c = h->job.control;
    (void)connection;
    if (c->stopping || c->shared->cdc_log == NULL) {
        end_call(c, h);
        return;
    }
    h->is_sending = 0;
    job_start(c, &h->job);
}

static void begin_stream(struct http_call *h)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(h->request);
    (void)evhttp_add_header(headers, "Content-Type", "text/event-stream");
    (void)evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_send_reply_start(h->request, 200, "OK");
    h->is_begun = 1;
}

/* A client that does not read holds up its own stream only, until the server's limit of time. */
static void send_chunk(struct http_call *h)
{
    struct evbuffer *bytes = evbuffer_new();
    struct slice body = h->out.n > 0 ? buf_slice(&h->out) : SLICE(": nothing new\n\n");
    check(bytes != NULL && evbuffer_add(bytes, body.p, body.n) == 0);
    h->is_sending = 1;
    evhttp_send_reply_chunk_with_cb(h->request, bytes, on_sent, h);
    evbuffer_free(bytes);
}

static void done(struct control *c, struct job *job)
{
    struct http_call *h = (struct http_call *)(void *)job;
    if (!h->is_stream || h->err || h->is_gone || c->stopping || c->shared->cdc_log == NULL ||
        evhttp_request_get_connection(h->request) == NULL) {
        end_call(c, h);
        return;
    }
    if (!h->is_begun) {
        begin_stream(h);
    }
    send_chunk(h);
}

/* Has the other side closed the connection? While a request is answered libevent does not read. */
static int has_left(const struct http_call *h)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(h->request);
    return connection == NULL ||
           bufferevent_has_left(evhttp_connection_get_bufferevent(connection));
}

void http_feed_tick(struct control *c)
{
    list_each (node, &c->polls) {
        struct http_call *h = container_of(node, struct http_call, node);
        if (!h->is_gone && has_left(h)) {
            atomic_store(&h->is_gone, 1);
        }
    }
}

void http_feed_stop(struct control *c)
{
    list_each_safe (node, &c->streams) {
        end_stream(c, container_of(node, struct http_call, node));
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

/* In a time that tells no more than whether the length was right. */
static int is_same(const char *a, const char *b)
{
    size_t n = strlen(a);
    return strlen(b) == n && secret_equal(a, b, n);
}

static int may_read(const struct control *c, struct evhttp_request *request)
{
    static const char bearer[] = "Bearer ";
    const struct conf *conf = c->parts->conf;
    const struct conf_user *user =
        conf->cdc_http_user == NULL ? NULL : conf_find_user(conf, conf->cdc_http_user);
    const char *token = user == NULL ? NULL : user->secret;
    const char *given =
        evhttp_find_header(evhttp_request_get_input_headers(request), "Authorization");
    return token != NULL && token[0] != 0 && given != NULL &&
           strncmp(given, bearer, sizeof(bearer) - 1) == 0 &&
           is_same(token, given + sizeof(bearer) - 1);
}

static enum err read_query(struct http_call *h, const struct evhttp_uri *uri, struct note *note)
{
    struct evkeyvalq values;
    const char *query = evhttp_uri_get_query(uri);
    h->call = (struct feed_call){.limit = FEED_LIMIT, .partition = -1, .offset = -1};
    if (evhttp_parse_query_str(query == NULL ? "" : query, &values) != 0) {
        return note_set(note, ERR_BAD_SETTING, "the query cannot be read");
    }
    enum err e = ERR_NONE;
    for (struct evkeyval *v = values.tqh_first; v != NULL && e == ERR_NONE; v = v->next.tqe_next) {
        if (strcmp(v->key, "id") == 0) {
            feed_id_free(&h->given);
            e = feed_id_read(v->value, &h->given)
                    ? ERR_NONE
                    : note_set(note, ERR_BAD_SETTING, "id is not one of an answer");
            continue;
        }
        e = feed_name(&h->call, v->key, ", id", note);
        e = e ? e : feed_set(&h->call, v->key, arena_strdup(&h->arena, v->value), note);
    }
    evhttp_clear_headers(&values);
    if (e == ERR_NONE && h->call.topic == NULL) {
        e = note_set(note, ERR_BAD_SETTING, "topic=DATABASE.SCHEMA.TABLE is missing");
    }
    if (e == ERR_NONE && h->call.group != NULL && h->call.member == NULL) {
        e = note_set(note, ERR_BAD_SETTING, "a group needs member=NAME, one per reader");
    }
    if (e == ERR_NONE && h->given.who != 0 && h->call.group == NULL) {
        e = note_set(note, ERR_BAD_SETTING, "an id is of a group's member: group is missing");
    }
    if (e == ERR_NONE && (h->is_stream || h->is_commit) && h->call.group == NULL) {
        e = note_set(note, ERR_BAD_SETTING, "%s needs group and member",
                     h->is_stream ? "a stream of events" : "a commit");
    }
    return e;
}

/* Somebody else than every reader before, also before a restart. */
static uint64_t new_reader(struct control *c)
{
    uint64_t now = (uint64_t)clock_wall_us();
    c->http_reader = now > c->http_reader ? now : c->http_reader + 1;
    return c->http_reader;
}

/* Who it is: a poll goes on as who it was, by its id; a stream is new, and begins where the group
 * has committed, with what its Last-Event-ID says. */
static void settle_reader(struct control *c, struct http_call *h)
{
    const char *last =
        evhttp_find_header(evhttp_request_get_input_headers(h->request), "Last-Event-ID");
    if (h->call.group == NULL || h->is_commit) {
        return;
    }
    if (h->is_stream && last != NULL && h->given.who == 0) {
        (void)feed_id_read(last, &h->given); /* what is not ours says nothing */
    }
    int is_by_id = h->is_stream || h->call.ack == CDC_ACK_NEXT;
    h->id.who = !is_by_id ? 0 : h->is_stream || h->given.who == 0 ? new_reader(c) : h->given.who;
}

static int is_same_reader(const struct http_call *a, const struct http_call *b)
{
    return strcmp(a->call.topic, b->call.topic) == 0 && strcmp(a->call.group, b->call.group) == 0 &&
           strcmp(a->call.member, b->call.member) == 0;
}

/* A member has one stream: the newest. */
static void take_over(struct control *c, struct http_call *h)
{
    list_each_safe (node, &c->streams) {
        struct http_call *other = container_of(node, struct http_call, node);
        if (is_same_reader(other, h)) {
            end_stream(c, other);
        }
    }
    list_push_back(&c->streams, &h->node);
}

static void start_call(struct control *c, struct evhttp_request *request, int is_commit)
{
    struct note note = {.text = ""};
    struct http_call *h = mem_zero(sizeof(*h));
    const char *accept = evhttp_find_header(evhttp_request_get_input_headers(request), "Accept");
    list_init(&h->node);
    h->request = request;
    h->is_commit = is_commit;
    h->is_stream = !is_commit && accept != NULL && strstr(accept, "text/event-stream") != NULL;
    enum err e = read_query(h, evhttp_request_get_evhttp_uri(request), &note);
    e = e ? e : feeds_begin(c, h->is_stream || h->call.wait_ms > 0, &note);
    if (e) {
        reply_failure(request, status_of(e), e, &note);
        free_call(h);
        return;
    }
    settle_reader(c, h);
    if (h->is_stream) {
        take_over(c, h);
    } else {
        list_push_back(&c->polls, &h->node);
    }
    watch_client(h, 1);
    h->job.work = work;
    h->job.done = done;
    job_start(c, &h->job);
}

int http_feed(struct control *c, struct evhttp_request *request)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *path = uri == NULL ? NULL : evhttp_uri_get_path(uri);
    int is_commit = path != NULL && strcmp(path, "/changes/commit") == 0;
    struct note note = {.text = ""};
    if (path == NULL || (strcmp(path, "/changes") != 0 && !is_commit)) {
        return 0;
    }
    enum evhttp_cmd_type method = evhttp_request_get_command(request);
    if (method != (is_commit ? EVHTTP_REQ_POST : EVHTTP_REQ_GET)) {
        enum err e = note_set(&note, ERR_BAD_SETTING, "GET /changes, POST /changes/commit");
        reply_failure(request, 405, e, &note);
    } else if (!may_read(c, request)) {
        enum err e = note_set(&note, ERR_ADMIN_DENIED,
                              "changes are for those who bear the password of cdc.http_user");
        reply_failure(request, 401, e, &note);
    } else {
        start_call(c, request, is_commit);
    }
    return 1;
}
