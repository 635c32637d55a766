#ifndef REPLICATION_CDC_WEB_H
#define REPLICATION_CDC_WEB_H

/*
 * Requests to an HTTP server, one at a time: libcurl with a limit on every wait and on what comes
 * back. Only web.c names libcurl.
 *
 * Secrets stand in a file of header lines ("Authorization: Bearer ..."), which is read anew with
 * each connection that is opened anew, and a URL that is one stands in a file of its own; neither
 * they nor what is behind the host in the URL get into a note.
 * Redirects are not followed, the environment's proxies not used, certificates always checked.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct cdc_pour;
struct cdc_web;

struct cdc_web_options {
    const char *url;     /* http:// or https://, without a user or password; or @FILE with it */
    const char *headers; /* file with a header per line; NULL: none */
    const char *ca;      /* file with certificates of authorities; NULL: the system's */
};

/* Never fails; what is wrong with the options is an error of each call. */
struct cdc_web *cdc_web_new(const struct cdc_web_options *options);
void cdc_web_free(struct cdc_web *web);  /* NULL is fine */
void cdc_web_close(struct cdc_web *web); /* the next call connects anew */

struct cdc_web_request {
    const char *method; /* "POST" */
    const char *path;   /* put behind the URL's; "" or "/_bulk?x=y" */
    const char *type;   /* of the body */
    struct slice body;
};

/* What came back. Owner: the caller, zeroed before the first use; the body is kept between uses. */
struct cdc_web_answer {
    long status;
    struct buf body;
};

/*
 * ERR_NONE: there is an answer, of any status. pour: its stop and its limit of time; Retry-After of
 * the answer goes to pour->retry_after_us.
 * Errors: ERR_SHARD_DOWN (no answer, why), ERR_SHUTDOWN, ERR_BAD_SETTING (URL, headers).
 */
enum err cdc_web_call(struct cdc_web *web, const struct cdc_web_request *request,
                      struct cdc_pour *pour, struct cdc_web_answer *out,
                      struct note *note) MUST_CHECK;

/* The server, for messages: "http://host:port", at most 255 bytes. */
const char *cdc_web_name(const struct cdc_web *web);

/* The beginning of an answer, printable, for a message: "400: what it said"; nothing of it that has
 * one of our headers' values in it. */
void cdc_web_words(const struct cdc_web *web, const struct cdc_web_answer *answer, char *out,
                   size_t size);

/* ---- pure ------------------------------------------------------------------------------------ */

/* Errors: ERR_BAD_SETTING: not http(s), no host, or a user in it. name: as cdc_web_name(). */
enum err cdc_web_check_url(const char *url, char name[256], struct note *note) MUST_CHECK;

#endif
