#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

/*
 * PostgreSQL's frontend/backend protocol 3.0 (and the 3.2 differences), bytes <-> structs. No
 * sockets, no state, no allocation but into the caller's buf. Decoders take the body of one whole
 * message (the bytes behind type and length) and give views into it; they never trust a length.
 *
 * Words: front = what clients send, back = what servers send. `*_read` decodes, `*_put` appends one
 * complete message to a buf.
 *
 * Any thread. Errors: ERR_PROTOCOL from startup and front, ERR_SHARD_PROTOCOL from back, with a
 * note that names the message and the field. What is put as text must hold no 0 byte: names and
 * texts of statements are checked, texts for people are cut there. Source: PostgreSQL
 * documentation, chapter "Frontend/Backend Protocol".
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* ---- frame: where a message begins and ends -------------------------------------------------- */

enum {
    FRAME_HEADER_BYTES = 5,
    STARTUP_HEADER_BYTES = 4,
    STARTUP_BYTES_MAX = 10000 /* as PostgreSQL's MAX_STARTUP_PACKET_LENGTH */
};

/*
 * Look at the header at the start of `in`.
 *   type, total   set when 5 bytes are there: message type and whole size with header
 * Returns 1 when the header is there and its length is possible, 0 when more bytes are needed,
 * -1 when the length is below 4. Whether the body is complete: total <= in.n.
 */
static inline int frame_peek(struct slice in, uint8_t *type, size_t *total)
{
    if (in.n < FRAME_HEADER_BYTES) {
        return 0;
    }
    uint32_t length = be32_at(in.p + 1);
    if (length < 4 || length > INT32_MAX) {
        return -1;
    }
    *type = in.p[0];
    *total = (size_t)length + 1;
    return 1;
}

/* Body of the whole message at the start of `in` (its size is `total`). */
static inline struct slice frame_body(struct slice in, size_t total)
{
    return (struct slice){in.p + FRAME_HEADER_BYTES, total - FRAME_HEADER_BYTES};
}

/* Begin a message; returns a mark for frame_end(), which fills in the length. */
size_t frame_begin(struct buf *out, uint8_t type);
void frame_end(struct buf *out, size_t mark);
/* A whole message. */
void frame_put(struct buf *out, uint8_t type, struct slice body);

/* ---- startup: the first packet, which has no type byte --------------------------------------- */

enum startup_kind {
    STARTUP_MESSAGE,
    STARTUP_SSL,    /* answer one byte: 'S' or 'N' */
    STARTUP_GSSENC, /* answer one byte: 'N' */
    STARTUP_CANCEL
};

enum {
    STARTUP_PARAMS_MAX = 64,
    PROTOCOL_3_0 = 0x00030000,
    PROTOCOL_3_2 = 0x00030002,
    CANCEL_KEY_BYTES_MAX = 256 /* 4 in protocol 3.0 */
};

struct startup_param {
    struct slice name;
    struct slice value;
};

struct startup {
    enum startup_kind kind;
    uint32_t version; /* as sent, e.g. PROTOCOL_3_0 */
    struct startup_param params[STARTUP_PARAMS_MAX];
    size_t params_count;
    uint32_t cancel_pid;     /* STARTUP_CANCEL */
    struct slice cancel_key; /* STARTUP_CANCEL; 4 to 256 bytes */
};

/* Whole size of the startup packet at `in`: 1 and *total when 4 bytes are there, 0 when more are
 * needed, -1 when the length is not in 8..STARTUP_BYTES_MAX. */
int startup_peek(struct slice in, size_t *total);
/* `packet` is the whole packet with its length. A major version other than 3 is ERR_PROTOCOL with
 * PostgreSQL's text "unsupported frontend protocol ...". */
enum err startup_read(struct slice packet, struct startup *out, struct note *note) MUST_CHECK;
/* Value of a parameter, or an empty slice with p == NULL. */
struct slice startup_param(const struct startup *s, const char *name);

void front_put_startup(struct buf *out, const struct startup_param *params, size_t count);
void front_put_ssl_request(struct buf *out);
void front_put_cancel(struct buf *out, uint32_t pid, struct slice key);

/* ---- front: messages of clients -------------------------------------------------------------- */

struct front_query {
    struct slice text; /* without the 0 byte, which is known to follow */
};

enum {
    PARAMS_MAX = 65535
};

struct front_parse {
    struct slice name; /* 0-terminated behind the slice, as are all names here */
    struct slice text;
    uint16_t types_count;
    const uint8_t *types; /* types_count times 4 bytes, network order: be32_at(types + 4 * i) */
};

struct front_bind {
    struct slice portal;
    struct slice statement;
    struct slice tail; /* everything behind the two names: formats, values, result formats */
    uint16_t formats_count;
    const uint8_t *formats; /* 2 bytes each */
    uint16_t values_count;
    struct slice values; /* the length-prefixed values, checked to be complete */
    uint16_t results_count;
    const uint8_t *results; /* result format codes, 2 bytes each */
};

/* One parameter value; NULL has is_null set and p == NULL. */
struct front_value {
    struct slice bytes;
    int16_t format; /* 0 text, 1 binary; others are passed on as sent, the server refuses them */
    uint8_t is_null;
};

struct front_describe { /* also Close */
    uint8_t kind;       /* 'S' or 'P' */
    struct slice name;
};

struct front_execute {
    struct slice portal;
    uint32_t rows_max; /* 0: all */
};

enum err front_read_query(struct slice body, struct front_query *out, struct note *note) MUST_CHECK;
enum err front_read_parse(struct slice body, struct front_parse *out, struct note *note) MUST_CHECK;
enum err front_read_bind(struct slice body, struct front_bind *out, struct note *note) MUST_CHECK;
/* Values of a Bind that front_read_bind() accepted; `out` has room for b->values_count. */
void front_bind_values(const struct front_bind *b, struct front_value *out);
enum err front_read_describe(struct slice body, struct front_describe *out,
                             struct note *note) MUST_CHECK;
enum err front_read_execute(struct slice body, struct front_execute *out,
                            struct note *note) MUST_CHECK;
/* PasswordMessage: the text without its 0 byte. */
enum err front_read_password(struct slice body, struct slice *out, struct note *note) MUST_CHECK;
/* SASLInitialResponse. */
enum err front_read_sasl_initial(struct slice body, struct slice *mechanism, struct slice *data,
                                 struct note *note) MUST_CHECK;

void front_put_query(struct buf *out, struct slice text);
void front_put_parse(struct buf *out, const char *name, struct slice text, const uint32_t *types,
                     size_t types_count);
/* Bind with the client's own tail (formats, values, result formats as they came). */
void front_put_bind_tail(struct buf *out, const char *portal, const char *statement,
                         struct slice tail);
/* Bind with the values of `b` and other result formats. */
void front_put_bind(struct buf *out, const char *portal, const char *statement,
                    const struct front_bind *b, const int16_t *results, size_t results_count);
void front_put_describe(struct buf *out, uint8_t kind, const char *name);
void front_put_close(struct buf *out, uint8_t kind, const char *name);
void front_put_execute(struct buf *out, const char *portal, uint32_t rows_max);
void front_put_sync(struct buf *out);
void front_put_flush(struct buf *out);
void front_put_terminate(struct buf *out);
void front_put_password(struct buf *out, const char *text);
void front_put_sasl_initial(struct buf *out, const char *mechanism, struct slice data);
void front_put_sasl_response(struct buf *out, struct slice data);
void front_put_copy_data(struct buf *out, struct slice data);
void front_put_copy_done(struct buf *out);
void front_put_copy_fail(struct buf *out, const char *reason);

/* ---- back: messages of servers --------------------------------------------------------------- */

enum auth_kind { /* AuthenticationXxx codes */
    AUTH_OK = 0,
    AUTH_CLEARTEXT = 3,
    AUTH_MD5 = 5,
    AUTH_SASL = 10,
    AUTH_SASL_CONTINUE = 11,
    AUTH_SASL_FINAL = 12
};

struct back_auth {
    uint32_t kind;
    struct slice
        data; /* MD5: 4 bytes of salt; SASL: mechanisms, each with a 0 byte; else payload */
};

/* Fields of ErrorResponse and NoticeResponse; absent ones have p == NULL. */
struct back_error {
    struct slice severity;       /* S */
    struct slice severity_raw;   /* V, never translated */
    struct slice code;           /* C */
    struct slice message;        /* M */
    struct slice detail;         /* D */
    struct slice hint;           /* H */
    struct slice position;       /* P */
    struct slice internal_pos;   /* p */
    struct slice internal_query; /* q */
    struct slice where;          /* W */
    struct slice schema;         /* s */
    struct slice table;          /* t */
    struct slice column;         /* c */
    struct slice datatype;       /* d */
    struct slice constraint;     /* n */
    struct slice file;           /* F */
    struct slice line;           /* L */
    struct slice routine;        /* R */
};

struct back_column {
    struct slice name;
    uint32_t table_oid;
    uint16_t column;
    uint32_t type_oid;
    int16_t type_size;
    int32_t type_mod;
    int16_t format;
};

/* Walks RowDescription or DataRow; `left` counts what is still to come. */
struct back_walk {
    struct slice rest;
    uint16_t left;
};

enum err back_read_auth(struct slice body, struct back_auth *out, struct note *note) MUST_CHECK;
enum err back_read_parameter_status(struct slice body, struct slice *name, struct slice *value,
                                    struct note *note) MUST_CHECK;
enum err back_read_key_data(struct slice body, uint32_t *pid, struct slice *key,
                            struct note *note) MUST_CHECK;
enum err back_read_error(struct slice body, struct back_error *out, struct note *note) MUST_CHECK;
/* Tag of CommandComplete without its 0 byte, and the rows it counts (the last number), else 0. */
enum err back_read_complete(struct slice body, struct slice *tag, uint64_t *rows,
                            struct note *note) MUST_CHECK;

/* Both start a walk; *_next returns 1 with the next item, 0 at the end, -1 on broken bytes. */
enum err back_walk_columns(struct slice body, struct back_walk *walk, struct note *note) MUST_CHECK;
int back_next_column(struct back_walk *walk, struct back_column *out);
enum err back_walk_row(struct slice body, struct back_walk *walk, struct note *note) MUST_CHECK;
int back_next_value(struct back_walk *walk, struct slice *out); /* NULL: out->p == NULL */

void back_put_auth(struct buf *out, enum auth_kind kind, struct slice data);
void back_put_parameter_status(struct buf *out, struct slice name, struct slice value);
void back_put_key_data(struct buf *out, uint32_t pid, struct slice key);
/* NegotiateProtocolVersion: the newest minor version we speak, and the options we do not know. */
void back_put_negotiate(struct buf *out, uint32_t newest, const struct slice *unknown,
                        size_t count);
void back_put_error(struct buf *out, const struct back_error *e);
void back_put_notice(struct buf *out, const struct back_error *e);
/* ErrorResponse from our own failure: severity ERROR or FATAL, the note's text and hint. */
void back_put_failure(struct buf *out, const char *severity, enum err e, const struct note *note);
void back_put_ready(struct buf *out, uint8_t status); /* 'I', 'T' or 'E' */
void back_put_complete(struct buf *out, const char *tag);
void back_put_empty(struct buf *out,
                    uint8_t type); /* messages without a body: '1' '2' '3' 'n' 's' 'I' */
/* `type` 'G' (copy in) or 'H' (copy out); every column has the format of the whole. */
void back_put_copy(struct buf *out, uint8_t type, uint8_t format, uint16_t columns);
void back_put_parameters(struct buf *out, const uint32_t *types, size_t count);
void back_put_columns(struct buf *out, const struct back_column *columns, size_t count);
/* DataRow: begin, then back_put_value() count times, then frame_end(). */
size_t back_begin_row(struct buf *out, uint16_t count);
void back_put_value(struct buf *out, struct slice value); /* p == NULL: NULL */
/* A row of texts, for SHOW and EXPLAIN; NULL pointers become NULL. */
void back_put_text_row(struct buf *out, const char *const *values, size_t count);
/* RowDescription of `count` text columns. */
void back_put_text_columns(struct buf *out, const char *const *names, size_t count);

#endif
