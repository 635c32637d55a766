/*
 * HTTP by libcurl: see web.h. A request is driven by the multi interface, so that a stop and the
 * limit of time end every wait; connections are kept between requests.
 *
 * libcurl looks names up on a thread of its own, which it would wait for at the end:
 * CURLOPT_QUICK_EXIT lets it go. Source: curl_multi_poll(3), CURLOPT_QUICK_EXIT(3).
 */

#include "replication/cdc/web.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "replication/cdc/outlet.h"

enum {
    BODY_MAX = 8 << 20,
    HEADERS_MAX = 64, /* lines of the file */
    LINE_MAX_BYTES = 8192,
    SECRET_MIN = 6, /* shorter values are no secrets, and may stand in any text */
    WORDS_MAX = 160,
    RETRY_AFTER_MAX_S = 30
};

struct cdc_web {
    char *url_or_file, *headers_path, *ca;
    char *url;
    char name[256];
    CURLM *multi;
    CURL *easy;                 /* NULL: not open */
    struct curl_slist *headers; /* of the file */
    char error[CURL_ERROR_SIZE];
};

/* ---- URL ------------------------------------------------------------------------------------- */

enum err cdc_web_check_url(const char *url, char name[256], struct note *note)
{
    size_t scheme = strncmp(url, "http://", 7) == 0 ? 7 : strncmp(url, "https://", 8) == 0 ? 8 : 0;
    size_t host = strcspn(url + scheme, "/?#");
    (void)snprintf(name, 256, "%.*s", (int)(scheme + host), url);
    if (scheme == 0 || host == 0) {
        name[0] = 0;
        return note_set(note, ERR_BAD_SETTING,
                        "the URL must begin with http:// or https:// and a host");
    }
    if (memchr(url + scheme, '@', host) != NULL) {
        name[0] = 0;
        return note_set(note, ERR_BAD_SETTING,
                        "the URL has a user in it; put an Authorization "
                        "header into the file of headers instead");
    }
    return ERR_NONE;
}

/* ---- life ------------------------------------------------------------------------------------ */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void begin_library(void)
{
    check(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

struct cdc_web *cdc_web_new(const struct cdc_web_options *options)
{
    struct cdc_web *w = mem_zero(sizeof(*w));
    w->url_or_file = mem_strdup(options->url);
    w->headers_path = mem_strdup(options->headers);
    w->ca = mem_strdup(options->ca);
    return w;
}

void cdc_web_close(struct cdc_web *w)
{
    if (w->easy != NULL) {
        curl_easy_cleanup(w->easy);
        (void)curl_multi_cleanup(w->multi);
    }
    for (struct curl_slist *h = w->headers; h != NULL; h = h->next) {
        explicit_bzero(h->data, strlen(h->data));
    }
    curl_slist_free_all(w->headers);
    w->easy = NULL;
    w->multi = NULL;
    w->headers = NULL;
}

void cdc_web_free(struct cdc_web *w)
{
    if (w != NULL) {
        cdc_web_close(w);
        mem_free(w->url_or_file);
        mem_free(w->url);
        mem_free(w->headers_path);
        mem_free(w->ca);
        mem_free(w);
    }
}

const char *cdc_web_name(const struct cdc_web *w)
{
    return w->name;
}

static enum err add_header(struct cdc_web *w, const char *line, struct note *note)
{
    const char *colon = strchr(line, ':');
    if (colon == NULL || colon == line || strcspn(line, " \t") < (size_t)(colon - line)) {
        return note_set(note, ERR_BAD_SETTING, "%s: a line is not \"Name: value\"",
                        w->headers_path);
    }
    struct curl_slist *list = curl_slist_append(w->headers, line);
    check(list != NULL);
    w->headers = list;
    return ERR_NONE;
}

static enum err read_headers(struct cdc_web *w, struct note *note)
{
    char line[LINE_MAX_BYTES];
    enum err e = ERR_NONE;
    FILE *f = fopen(w->headers_path, "re");
    if (f == NULL) {
        return note_set(note, ERR_BAD_SETTING, "cannot open %s: %m", w->headers_path);
    }
    for (int count = 0; e == ERR_NONE && fgets(line, sizeof(line), f) != NULL;) {
        size_t n = strcspn(line, "\r\n");
        if (line[n] == 0 && !feof(f)) {
            e = note_set(note, ERR_BAD_SETTING, "%s: a line has more than %d bytes",
                         w->headers_path, LINE_MAX_BYTES - 2);
        } else if (n > 0 && line[0] != '#') {
            line[n] = 0;
            e = ++count > HEADERS_MAX ? note_set(note, ERR_BAD_SETTING, "%s has more than %d lines",
                                                 w->headers_path, HEADERS_MAX)
                                      : add_header(w, line, note);
        }
    }
    explicit_bzero(line, sizeof(line));
    (void)fclose(f);
    return e;
}

/* Options that never change; a failure would be one of memory. */
static void set_up(struct cdc_web *w)
{
    CURL *c = w->easy;
    check(curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK);
    check(curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK);
    check(curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK);
    check(curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK);
    check(curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK);
    check(curl_easy_setopt(c, CURLOPT_USERAGENT, "pgbraid/" PGBRAID_VERSION) == CURLE_OK);
    check(curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK);
    check(curl_easy_setopt(c, CURLOPT_ERRORBUFFER, w->error) == CURLE_OK);
    if (w->ca != NULL) {
        check(curl_easy_setopt(c, CURLOPT_CAINFO, w->ca) == CURLE_OK);
    }
}

/* The URL, or the first line of the file that it names. */
static enum err read_url(struct cdc_web *w, struct note *note)
{
    char line[LINE_MAX_BYTES];
    mem_free(w->url);
    w->url = NULL;
    if (w->url_or_file[0] != '@') {
        w->url = mem_strdup(w->url_or_file);
        return ERR_NONE;
    }
    FILE *f = fopen(w->url_or_file + 1, "re");
    if (f == NULL) {
        return note_set(note, ERR_BAD_SETTING, "cannot open %s: %m", w->url_or_file + 1);
    }
    if (fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\r\n")] = 0;
        w->url = mem_strdup(line);
    }
    (void)fclose(f);
    explicit_bzero(line, sizeof(line));
    return w->url != NULL ? ERR_NONE
                          : note_set(note, ERR_BAD_SETTING, "%s is empty", w->url_or_file + 1);
}

static enum err open_web(struct cdc_web *w, struct note *note)
{
    if (w->easy != NULL) {
        return ERR_NONE;
    }
    enum err e = read_url(w, note);
    e = e ? e : cdc_web_check_url(w->url, w->name, note);
    e = e || w->headers_path == NULL ? e : read_headers(w, note);
    if (e) {
        cdc_web_close(w);
        return e;
    }
    (void)pthread_once(&once, begin_library);
    w->easy = curl_easy_init();
    w->multi = curl_multi_init();
    check(w->easy != NULL && w->multi != NULL);
    set_up(w);
    return ERR_NONE;
}

/* ---- a request ------------------------------------------------------------------------------- */

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
    struct buf *body = arg;
    if (body->n + size * n > BODY_MAX) {
        return 0; /* ends the request with an error */
    }
    buf_add(body, p, size * n);
    return size * n;
}

/* The URL with the path behind its own, and its query behind that. */
static char *url_of(const struct cdc_web *w, const char *path)
{
    struct buf url = {0};
    size_t n = strcspn(w->url, "?#");
    size_t bare = n > 0 && w->url[n - 1] == '/' && path[0] == '/' ? n - 1 : n;
    buf_add(&url, w->url, bare);
    buf_text(&url, path);
    if (w->url[n] == '?') {
        buf_u8(&url, strchr(path, '?') != NULL ? '&' : '?');
        buf_add(&url, w->url + n + 1, strcspn(w->url + n + 1, "#"));
    }
    buf_u8(&url, 0);
    return (char *)url.p;
}

static struct curl_slist *headers_of(const struct cdc_web *w, const char *type)
{
    char line[128];
    struct curl_slist *list = NULL;
    (void)snprintf(line, sizeof(line), "Content-Type: %s", type);
    list = curl_slist_append(list, line);
    list = curl_slist_append(list, "Expect:"); /* no second of waiting before a large body */
    for (struct curl_slist *h = w->headers; h != NULL; h = h->next) {
        list = curl_slist_append(list, h->data);
    }
    check(list != NULL);
    return list;
}

static CURLcode result_of(struct cdc_web *w, int *done)
{
    int left;
    for (CURLMsg *m = curl_multi_info_read(w->multi, &left); m != NULL;
         m = curl_multi_info_read(w->multi, &left)) {
        if (m->msg == CURLMSG_DONE) {
            *done = 1;
            return m->data.result;
        }
    }
    return CURLE_OK;
}

static enum err drive(struct cdc_web *w, struct cdc_pour *pour, struct note *note)
{
    int64_t until = clock_now_us() + (int64_t)pour->timeout_ms * 1000;
    for (int done = 0;;) {
        int running = 0;
        CURLMcode m = curl_multi_perform(w->multi, &running);
        CURLcode code = m == CURLM_OK ? result_of(w, &done) : CURLE_FAILED_INIT;
        if (m != CURLM_OK || (done && code != CURLE_OK)) {
            return note_set(note, ERR_SHARD_DOWN, "%s: %s", w->name,
                            w->error[0] != 0 ? w->error : curl_easy_strerror(code));
        }
        if (done) {
            return ERR_NONE;
        }
        int64_t left_ms = (until - clock_now_us()) / 1000;
        if (atomic_load(&pour->stop.set)) {
            return note_set(note, ERR_SHUTDOWN, "%s: given up: pgbraid stops", w->name);
        }
        if (left_ms <= 0) {
            return note_set(note, ERR_SHARD_DOWN, "%s: no answer within %d ms", w->name,
                            pour->timeout_ms);
        }
        struct curl_waitfd stop = {.fd = pour->stop._fd, .events = CURL_WAIT_POLLIN};
        (void)curl_multi_poll(w->multi, &stop, 1, (int)(left_ms > 60000 ? 60000 : left_ms), NULL);
    }
}

enum err cdc_web_call(struct cdc_web *w, const struct cdc_web_request *request,
                      struct cdc_pour *pour, struct cdc_web_answer *out, struct note *note)
{
    curl_off_t pause_s = 0;
    enum err e = open_web(w, note);
    if (e) {
        return e;
    }
    char *url = url_of(w, request->path);
    struct curl_slist *headers = headers_of(w, request->type);
    out->body.n = 0;
    out->status = 0;
    w->error[0] = 0;
    check(curl_easy_setopt(w->easy, CURLOPT_URL, url) == CURLE_OK);
    check(curl_easy_setopt(w->easy, CURLOPT_HTTPHEADER, headers) == CURLE_OK);
    check(curl_easy_setopt(w->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.n) ==
          CURLE_OK);
    check(curl_easy_setopt(w->easy, CURLOPT_POSTFIELDS, (const char *)request->body.p) == CURLE_OK);
    check(curl_easy_setopt(w->easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK);
    check(curl_easy_setopt(w->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)pour->timeout_ms) == CURLE_OK);
    check(curl_easy_setopt(w->easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK);
    check(curl_easy_setopt(w->easy, CURLOPT_WRITEDATA, &out->body) == CURLE_OK);
    check(curl_multi_add_handle(w->multi, w->easy) == CURLM_OK);
    e = drive(w, pour, note);
    (void)curl_multi_remove_handle(w->multi, w->easy);
    (void)curl_easy_getinfo(w->easy, CURLINFO_RESPONSE_CODE, &out->status);
    (void)curl_easy_getinfo(w->easy, CURLINFO_RETRY_AFTER, &pause_s);
    pause_s = pause_s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : pause_s;
    pour->retry_after_us = pause_s > 0 ? (int64_t)pause_s * 1000000 : 0;
    check(curl_easy_setopt(w->easy, CURLOPT_HTTPHEADER, NULL) == CURLE_OK);
    curl_slist_free_all(headers);
    mem_free(url);
    return e;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* The value of a header, or the word behind "Bearer" or "Basic" alone. */
static int has_secret(const struct cdc_web *w, const struct buf *body)
{
    for (struct curl_slist *h = w->headers; h != NULL; h = h->next) {
        const char *value = strchr(h->data, ':') + 1;
        const char *blank = strrchr(h->data, ' ');
        value = blank != NULL && blank > value ? blank + 1 : value;
        value += strspn(value, " \t");
        size_t n = strlen(value);
        if (n >= SECRET_MIN && body->n >= n && memmem(body->p, body->n, value, n) != NULL) {
            return 1;
        }
    }
    return 0;
}

void cdc_web_words(const struct cdc_web *w, const struct cdc_web_answer *answer, char *out,
                   size_t size)
{
    struct buf words = {0};
    size_t n = answer->body.n > WORDS_MAX ? WORDS_MAX : answer->body.n;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = answer->body.p[i];
        buf_u8(&words, c < ' ' || c == '"' || c == '\\' || c >= 0x7f ? ' ' : c);
    }
    buf_u8(&words, 0);
    (void)snprintf(out, size, "status %ld%s%s", answer->status, n > 0 ? ": " : "",
                   has_secret(w, &answer->body) ? "(an answer with a secret in it)"
                                                : (const char *)words.p);
    buf_free(&words);
}
