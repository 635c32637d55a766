#ifndef PROXY_EXPLAIN_DOC_H
#define PROXY_EXPLAIN_DOC_H

/*
 * The document that EXPLAIN gives in the formats JSON, YAML and XML: objects with members, lists of
 * objects and of texts, and the documents of servers inside. Written from top to bottom.
 */

#include "base/buf.h"
#include "planner/planner.h"

enum {
    EXPLAIN_DEPTH_MAX = 24
};

struct explain_doc {
    enum plan_explain_format format; /* not EXPLAIN_TEXT */
    struct buf *out;
    int depth;
    const char *names[EXPLAIN_DEPTH_MAX]; /* XML: to be closed */
    uint8_t is_list[EXPLAIN_DEPTH_MAX], has_members[EXPLAIN_DEPTH_MAX];
};

void doc_begin(struct explain_doc *d, enum plan_explain_format format, struct buf *out);
void doc_end(struct explain_doc *d);
void doc_open(struct explain_doc *d, const char *name);      /* an object, of an object or a list */
void doc_open_list(struct explain_doc *d, const char *name); /* a list, of an object */
void doc_close(struct explain_doc *d);
void doc_text(struct explain_doc *d, const char *name, struct slice text);
void doc_number(struct explain_doc *d, const char *name, const char *number);
/* Each line of the text, without the blanks it begins with. */
void doc_lines(struct explain_doc *d, const char *name, struct slice lines);
/* What a server gave in the same format. */
void doc_server(struct explain_doc *d, const char *name, struct slice document);

#endif
