/*
 * LIMIT and OFFSET over the whole answer. The shards were asked for offset + limit rows each, so
 * the exact cut happens here. Source of the errors: PostgreSQL src/backend/executor/nodeLimit.c.
 */

#include "base/check.h"
#include "planner/combine_inner.h"

static uint64_t be_at(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

static int is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Digits, perhaps with a minus */
static int is_whole(struct slice in)
{
    size_t i = in.n > 0 && in.p[0] == '-';
    size_t first = i;
    while (i < in.n && (unsigned)(in.p[i] - '0') < 10) {
        i++;
    }
    return i == in.n && i > first;
}

/* The server would convert any number to bigint first; we only know whole ones. */
static enum err check_type(const struct plan_args *args, size_t param, const char *word,
                           struct note *note)
{
    uint32_t type = args->param_types == NULL ? 0 : args->param_types[param];
    if (type == 0 || type == OID_UNKNOWN || type == OID_INT2 || type == OID_INT4 ||
        type == OID_INT8) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "%s over several shards needs a parameter of type bigint", word);
    note_hint(note, "Write $%zu::bigint.", param + 1);
    return e;
}

/* bigint as a client sends it; the planner gave the parameter that type, older clients send
 * smaller integers by size. */
static enum err read_count(const struct front_value *value, int64_t *out, struct note *note)
{
    struct slice in = value->bytes;
    if (value->format == FORMAT_BINARY) {
        switch (in.n) {
        case 2: *out = (int16_t)be_at(in.p, 2); return ERR_NONE;
        case 4: *out = (int32_t)be_at(in.p, 4); return ERR_NONE;
        case 8: *out = (int64_t)be_at(in.p, 8); return ERR_NONE;
        default:
            return note_set(note, ERR_PROTOCOL, "incorrect binary data format in bind parameter");
        }
    }
    while (in.n > 0 && is_blank(in.p[0])) {
        in = slice_from(in, 1);
    }
    while (in.n > 0 && is_blank(in.p[in.n - 1])) {
        in.n--;
    }
    if (in.n > 1 && in.p[0] == '+' && in.p[1] != '-') {
        in = slice_from(in, 1);
    }
    enum err e = value_read_int(OID_INT8, FORMAT_TEXT, in, out, note);
    if (e) {
        e = is_whole(in)
                ? note_set(note, ERR_NUMERIC_RANGE,
                           "value \"%.*s\" is out of range for type bigint",
                           in.n > 64 ? 64 : (int)in.n, (const char *)in.p)
                : note_set(note, ERR_BAD_KEY, "invalid input syntax for type bigint: \"%.*s\"",
                           in.n > 64 ? 64 : (int)in.n, (const char *)in.p);
    }
    return e;
}

/* *out stays as it is when there is no count. */
static enum err resolve(const struct combine_limit *limit, const struct plan_args *args,
                        enum err negative, const char *word, uint64_t *out, struct note *note)
{
    if (limit->kind == COMBINE_LIMIT_NONE) {
        return ERR_NONE;
    }
    if (limit->kind == COMBINE_LIMIT_CONST) {
        *out = limit->value;
        return ERR_NONE;
    }
    if (args == NULL || limit->param >= args->params_count) {
        return note_set(note, ERR_PROTOCOL, "there is no parameter $%u for %s", limit->param + 1u,
                        word);
    }
    const struct front_value *value = &args->params[limit->param];
    if (value->is_null || value->bytes.p == NULL) {
        return ERR_NONE;
    }
    int64_t count = 0;
    enum err e = check_type(args, limit->param, word, note);
    if (!e) {
        e = read_count(value, &count, note);
    }
    if (e) {
        return e;
    }
    if (count < 0) {
        return note_set(note, negative, "%s must not be negative", word);
    }
    *out = (uint64_t)count;
    return ERR_NONE;
}

enum err combine_limit_open(struct combine *c, const struct plan_args *args, struct note *note)
{
    c->skip = 0;
    c->left = UINT64_MAX;
    /* PostgreSQL looks at OFFSET first */
    enum err e = resolve(&c->spec->offset, args, ERR_BAD_OFFSET, "OFFSET", &c->skip, note);
    if (!e) {
        e = resolve(&c->spec->limit, args, ERR_BAD_LIMIT, "LIMIT", &c->left, note);
    }
    c->done = c->left == 0;
    return e;
}

int combine_limit_take(struct combine *c)
{
    if (c->left == 0) {
        return 0;
    }
    if (c->skip > 0) {
        c->skip--;
        return 0;
    }
    if (c->left != UINT64_MAX && --c->left == 0) {
        c->done = 1;
    }
    c->rows++;
    return 1;
}
