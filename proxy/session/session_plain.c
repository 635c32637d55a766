/*
 * The extended protocol of a session that has one server connection from its first statement to
 * its end (session mode, a database of one shard): messages go there as they come, names and all,
 * so that everything is as the server has it.
 *
 * Only statements that go back to the settings of the startup packet (RESET, DISCARD ALL), which
 * the server does not know, take the way of transaction mode; what they are called is in
 * session->pstmts, and their portals are in session->portals.
 */

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "proxy/session/extended.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"

static int has_word(struct slice text, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.n; i++) {
        if (strncasecmp((const char *)text.p + i, word, n) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Whether it may be one of those; the planner decides. */
static int may_reset(struct slice text)
{
    size_t i = 0;
    while (i < text.n && isspace(text.p[i])) {
        i++;
    }
    struct slice rest = slice_from(text, i);
    uint8_t c = rest.n == 0 ? 0 : rest.p[0];
    int begins = c == '/' || c == '-' || c == 'r' || c == 'R' || c == 'd' || c == 'D' || c == 's' ||
                 c == 'S';
    return begins && rest.n < 256 &&
           (has_word(rest, "reset") || has_word(rest, "discard") ||
            (has_word(rest, "set") && has_word(rest, "default")));
}

static enum step pass(struct session *s, struct slice message, enum expect_kind kind)
{
    struct backend *b = NULL;
    enum step step = extended_resolve_pending(s);
    if (step == STEP_DONE) {
        s->writes_now = 1;
        step = extended_relay_to(s, 0, &b);
    }
    if (step != STEP_DONE) {
        return step == STEP_FAILED ? STEP_DONE : step;
    }
    stream_write(b->stream, message.p, message.n);
    backend_expect(b, kind, TO_CLIENT);
    stats_add(s, STATS_CLIENT_PARSES, kind == EXPECT_PARSE);
    stats_add(s, STATS_SERVER_PARSES, kind == EXPECT_PARSE);
    stats_add(s, STATS_BINDS, kind == EXPECT_BIND);
    if (kind == EXPECT_EXECUTE) {
        b->wrote = 1; /* for all we know */
        stats_statement(s, NULL, 1, b);
        metric_add(&s->worker->metrics, METRIC_queries, 1);
        metric_add(&s->worker->metrics, METRIC_queries_writes, 1);
        metric_add(&s->worker->metrics, METRIC_queries_single_shard, 1);
    }
    return STEP_DONE;
}

static enum step bad(struct session *s, enum err e, const struct note *note)
{
    session_fatal(s, e, note);
    return STEP_CLOSE;
}

/* The first message of a request. */
static enum err begin_request(struct session *s, struct note *note)
{
    if (!session_quiet(s)) {
        return ERR_NONE;
    }
    s->request_us = loop_now_us(s->worker->loop);
    watch_request(s);
    return session_enter(s, note);
}

static enum step on_parse(struct session *s, struct slice message, struct slice body)
{
    struct front_parse msg;
    struct note note;
    enum err e = front_read_parse(body, &msg, &note);
    if (e) {
        return bad(s, e, &note);
    }
    e = begin_request(s, &note);
    if (e) {
        return extended_fail(s, e, &note, 0);
    }
    if (may_reset(msg.text)) {
        struct plan_batch *batch = NULL;
        e = extended_plan(s, msg.text, &batch, &note);
        if (!e && batch->plans[0]->kind != PLAN_ONE) {
            return session_parse(s, body);
        }
    }
    struct pstmt *p = s->pstmts.count == 0 ? NULL : pstmt_find(s, msg.name);
    enum step step = pass(s, message, EXPECT_PARSE);
    if (step == STEP_DONE && p != NULL) {
        pstmt_remove(s, p); /* the unnamed one: another would be a duplicate for the server, too */
    }
    return step;
}

static enum step on_bind(struct session *s, struct slice message, struct slice body)
{
    struct front_bind msg;
    struct note note;
    enum err e = front_read_bind(body, &msg, &note);
    if (e) {
        return bad(s, e, &note);
    }
    if (s->pstmts.count != 0 && pstmt_find(s, msg.statement) != NULL) {
        return session_bind(s, body);
    }
    e = begin_request(s, &note);
    if (e) {
        return extended_fail(s, e, &note, 0);
    }
    struct portal *portal = list_empty(&s->portals) ? NULL : portal_find(s, msg.portal);
    enum step step = pass(s, message, EXPECT_BIND);
    if (step == STEP_DONE && portal != NULL) {
        portal_drop(s, portal);
    }
    return step;
}

static int is_ours(struct session *s, const struct front_describe *msg)
{
    return msg->kind == 'S' ? s->pstmts.count != 0 && pstmt_find(s, msg->name) != NULL
                            : !list_empty(&s->portals) && portal_find(s, msg->name) != NULL;
}

enum step session_plain(struct session *s, uint8_t type, struct slice message, struct slice body)
{
    struct front_describe named;
    struct front_execute execute;
    struct note note;
    enum err e = ERR_NONE;
    switch (type) {
    case 'P': return on_parse(s, message, body);
    case 'B': return on_bind(s, message, body);
    case 'D':
    case 'C':
        e = front_read_describe(body, &named, &note);
        if (e) {
            return bad(s, e, &note);
        }
        if (is_ours(s, &named)) {
            return type == 'D' ? session_describe(s, body)
                               : session_close_message(s, message, body);
        }
        return pass(s, message, type == 'D' ? EXPECT_DESCRIBE : EXPECT_CLOSE);
    default:
        e = front_read_execute(body, &execute, &note);
        if (e) {
            return bad(s, e, &note);
        }
        if (!list_empty(&s->portals) && portal_find(s, execute.portal) != NULL) {
            return session_execute(s, message, body);
        }
        return pass(s, message, EXPECT_EXECUTE);
    }
}
