/*
 * plan_shards(): the values of one execution -> shards. On the path of every statement: no
 * allocation but for literals with doubled quotes, no lock, no text but in failures.
 */

#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "planner/build.h"

enum {
    COMBINATIONS_MAX = 4096, /* of values of composite keys; past it every shard is asked */
    SIGNED_BYTES = 72
};

struct run {
    const struct plan *plan;
    const struct map *map;
    const struct plan_args *args;
    struct note *note;
};

struct resolved { /* one key column's value */
    struct key_value value;
    char with_sign[SIGNED_BYTES];
    struct buf unquoted;
};

static uint64_t lowest(uint64_t set)
{
    return set & (~set + 1);
}

/* ---- one value --------------------------------------------------------------------------------
 */

static enum err resolve_literal(const struct run *r, const struct value *v, struct resolved *out)
{
    struct slice text = v->text;
    const struct lex *lex = r->args == NULL ? NULL : r->args->lex;
    if (lex != NULL && lex->usable && v->literal >= 0 && r->plan->_batch->shape_ok &&
        (size_t)v->literal < lex->literals_count) {
        text = lex_value(lex, (size_t)v->literal, &out->unquoted);
        if (v->negative) {
            if (text.n + 1 > SIGNED_BYTES) {
                return note_set(r->note, ERR_BAD_KEY, "the sharding key value is too long");
            }
            out->with_sign[0] = '-';
            memcpy(out->with_sign + 1, text.p, text.n);
            text = slice_bytes(out->with_sign, text.n + 1);
        }
    }
    out->value = (struct key_value){.bytes = text, .type_oid = v->type, .format = 0};
    return ERR_NONE;
}

/* A simple query has no parameters at all. */
static enum err no_parameter(const struct run *r, const struct value *v)
{
    return r->args == NULL || !r->args->bound
               ? note_set(r->note, ERR_NO_PARAMETER, "there is no parameter $%u", v->param + 1u)
               : note_set(r->note, ERR_PROTOCOL, "parameter $%u has no value", v->param + 1u);
}

static enum err resolve_value(const struct run *r, const struct value *v, uint32_t column_type,
                              struct resolved *out)
{
    if (v->kind == VALUE_NULL) {
        out->value = (struct key_value){.type_oid = v->type};
        return ERR_NONE;
    }
    if (v->kind == VALUE_TEXT || v->kind == VALUE_ARRAY_TEXT) {
        return resolve_literal(r, v, out);
    }
    if (r->args == NULL || v->param >= r->args->params_count) {
        return no_parameter(r, v);
    }
    const struct front_value *p = &r->args->params[v->param];
    uint32_t type = r->args->param_types == NULL ? 0 : r->args->param_types[v->param];
    type = type == 0 || type == OID_UNKNOWN ? v->type : type;
    if (!key_types_agree(column_type, type)) {
        return note_set(r->note, ERR_UNSUPPORTED,
                        "parameter $%u is compared with a sharding key of another type",
                        v->param + 1u);
    }
    out->value = (struct key_value){
        .bytes = p->is_null ? (struct slice){0} : p->bytes, .type_oid = type, .format = p->format};
    if (!p->is_null && p->bytes.p == NULL) {
        out->value.bytes = SLICE("");
    }
    return ERR_NONE;
}

void key_cut_blanks(struct slice *s, int32_t chars_max)
{
    size_t at = 0;
    for (int32_t chars = 0; at < s->n; at++) {
        if ((s->p[at] & 0xC0) != 0x80 && ++chars > chars_max) {
            break;
        }
    }
    for (size_t i = at; i < s->n; i++) {
        if (s->p[i] != ' ') {
            return; /* too long: the server says so */
        }
    }
    s->n = at;
}

/* ---- one binding ------------------------------------------------------------------------------
 */

static enum err route_key(const struct run *r, const struct binding *b, struct resolved *keys,
                          uint64_t *set)
{
    struct key_value values[KEY_COLUMNS_MAX];
    for (size_t i = 0; i < b->table->keys_count; i++) {
        values[i] = keys[i].value;
        if (b->written && b->chars_max[i] > 0 && values[i].bytes.p != NULL) {
            key_cut_blanks(&values[i].bytes, b->chars_max[i]);
        }
        if (values[i].bytes.p == NULL && !b->written) {
            return ERR_NONE; /* "= NULL" is never true */
        }
    }
    uint32_t shard = 0;
    enum err e = map_route(r->map, b->table, values, &shard, r->note);
    if (e == ERR_NONE) {
        *set |= UINT64_C(1) << shard;
    } else if (e == ERR_NO_SHARD && !b->written) {
        e = ERR_NONE;
    }
    return e;
}

static enum err route_array_binary(const struct run *r, const struct binding *b, struct slice bytes,
                                   uint32_t element, uint64_t *set);

/* Elements of a one-dimensional array in text; returns 0 when it holds what is not worth reading
 * here (escapes, more dimensions). */
static int next_element(struct slice *rest, struct slice *out, int *null)
{
    *null = 0;
    while (rest->n > 0 && (rest->p[0] == ',' || rest->p[0] == ' ')) {
        *rest = slice_from(*rest, 1);
    }
    if (rest->n == 0) {
        out->p = NULL;
        return 1;
    }
    size_t n = 0;
    if (rest->p[0] == '"') {
        for (n = 1; n < rest->n && rest->p[n] != '"'; n++) {
            if (rest->p[n] == '\\') {
                return 0;
            }
        }
        if (n >= rest->n) {
            return 0;
        }
        *out = slice_bytes(rest->p + 1, n - 1);
        *rest = slice_from(*rest, n + 1);
        return rest->n == 0 || rest->p[0] == ',';
    }
    while (n < rest->n && rest->p[n] != ',') {
        if (strchr("{}\"\\ ", rest->p[n]) != NULL) {
            return 0;
        }
        n++;
    }
    *out = slice_bytes(rest->p, n);
    *null = n == 4 && strncasecmp((const char *)rest->p, "null", 4) == 0;
    *rest = slice_from(*rest, n);
    return n > 0;
}

static enum err route_array_text(const struct run *r, const struct binding *b, struct slice text,
                                 uint32_t element, uint64_t *set)
{
    if (text.n < 2 || text.p[0] != '{' || text.p[text.n - 1] != '}') {
        *set |= map_table_shards(r->map, b->table);
        return ERR_NONE;
    }
    struct slice rest = slice_bytes(text.p + 1, text.n - 2);
    while (rest.n > 0) {
        struct resolved key = {0};
        int null;
        if (!next_element(&rest, &key.value.bytes, &null)) {
            *set |= map_table_shards(r->map, b->table);
            return ERR_NONE;
        }
        if (null && b->table->key_types[0] != OID_INT2 && b->table->key_types[0] != OID_INT4 &&
            b->table->key_types[0] != OID_INT8) { /* array_nulls = off: the text NULL */
            *set |= map_table_shards(r->map, b->table);
            return ERR_NONE;
        }
        if (key.value.bytes.p == NULL || null) {
            continue;
        }
        key.value.type_oid = element;
        enum err e = route_key(r, b, &key, set);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

/* dimensions, flags, element type, length, lower bound, then each element with its length. */
static enum err route_array_binary(const struct run *r, const struct binding *b, struct slice bytes,
                                   uint32_t element, uint64_t *set)
{
    if (bytes.n == 12 && be32_at(bytes.p) == 0) {
        return ERR_NONE; /* empty */
    }
    if (bytes.n < 20 || be32_at(bytes.p) != 1 ||
        !key_types_agree(b->table->key_types[0], be32_at(bytes.p + 8))) {
        *set |= map_table_shards(r->map, b->table);
        return ERR_NONE;
    }
    element = be32_at(bytes.p + 8);
    uint32_t count = be32_at(bytes.p + 12);
    struct slice rest = slice_from(bytes, 20);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length = rest.n < 4 ? 0 : be32_at(rest.p);
        if (rest.n < 4 || (length != UINT32_MAX && length > rest.n - 4)) {
            return note_set(r->note, ERR_BAD_KEY, "an array parameter is cut short");
        }
        rest = slice_from(rest, 4);
        if (length == UINT32_MAX) {
            continue;
        }
        struct resolved key = {
            .value = {.bytes = slice_bytes(rest.p, length), .type_oid = element, .format = 1}};
        rest = slice_from(rest, length);
        enum err e = route_key(r, b, &key, set);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

static enum err route_array(const struct run *r, const struct binding *b, const struct value *v,
                            uint64_t *set)
{
    if (v->kind == VALUE_ARRAY_TEXT) {
        struct resolved literal = {0};
        enum err e = resolve_literal(r, v, &literal);
        e = e ? e : route_array_text(r, b, literal.value.bytes, v->type, set);
        buf_free(&literal.unquoted);
        return e;
    }
    if (r->args == NULL || v->param >= r->args->params_count) {
        return no_parameter(r, v);
    }
    const struct front_value *p = &r->args->params[v->param];
    if (p->is_null) {
        return ERR_NONE;
    }
    return p->format == 0 ? route_array_text(r, b, p->bytes, v->type, set)
                          : route_array_binary(r, b, p->bytes, v->type, set);
}

static int is_array(const struct value_list *v)
{
    return v->count == 1 &&
           (v->items[0].kind == VALUE_ARRAY_PARAM || v->items[0].kind == VALUE_ARRAY_TEXT);
}

static size_t combinations(const struct binding *b)
{
    size_t n = 1;
    if (b->zipped) {
        return b->keys[0].count;
    }
    for (size_t i = 0; i < b->table->keys_count; i++) {
        n *= b->keys[i].count;
        if (n > COMBINATIONS_MAX) {
            return n;
        }
        if (b->table->keys_count > 1 && is_array(&b->keys[i])) {
            return COMBINATIONS_MAX + 1;
        }
    }
    return n;
}

static enum err route_combination(const struct run *r, const struct binding *b, size_t which,
                                  uint64_t *set)
{
    struct resolved keys[KEY_COLUMNS_MAX];
    enum err e = ERR_NONE;
    size_t n = b->table->keys_count;
    for (size_t i = 0; i < n; i++) {
        keys[i].unquoted = (struct buf){0};
    }
    for (size_t i = 0; i < n && e == ERR_NONE; i++) {
        const struct value *v = &b->keys[i].items[which % b->keys[i].count];
        which = b->zipped ? which : which / b->keys[i].count;
        e = resolve_value(r, v, b->table->key_types[i], &keys[i]);
    }
    if (e == ERR_NONE) {
        e = route_key(r, b, keys, set);
    }
    for (size_t i = 0; i < n; i++) {
        if (keys[i].unquoted.p != NULL) {
            buf_free(&keys[i].unquoted);
        }
    }
    return e;
}

static enum err route_bounds(const struct run *r, const struct binding *b, uint64_t *set)
{
    struct resolved low = {0}, high = {0};
    enum err e = ERR_NONE;
    int nothing = 0;
    if (b->low != NULL) {
        e = resolve_value(r, b->low, b->table->key_types[0], &low);
        nothing |= low.value.bytes.p == NULL;
    }
    if (e == ERR_NONE && b->high != NULL) {
        e = resolve_value(r, b->high, b->table->key_types[0], &high);
        nothing |= high.value.bytes.p == NULL;
    }
    if (e == ERR_NONE && !nothing) { /* "< NULL" is never true */
        e = map_route_range(r->map, b->table, b->low == NULL ? NULL : &low.value,
                            b->high == NULL ? NULL : &high.value, set, r->note);
    }
    buf_free(&low.unquoted);
    buf_free(&high.unquoted);
    return e;
}

static enum err read_binding(const struct run *r, const struct binding *b, uint64_t *set)
{
    *set = 0;
    if (b->keys[0].items == NULL) {
        if (b->low != NULL || b->high != NULL) {
            return route_bounds(r, b, set);
        }
        *set = map_table_shards(r->map, b->table);
        return ERR_NONE;
    }
    if (b->table->keys_count == 1 && is_array(&b->keys[0])) {
        return route_array(r, b, &b->keys[0].items[0], set);
    }
    size_t n = combinations(b);
    if (n > COMBINATIONS_MAX) {
        *set = map_table_shards(r->map, b->table);
        return ERR_NONE;
    }
    for (size_t i = 0; i < n; i++) {
        enum err e = route_combination(r, b, i, set);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

/*
 * A key that cannot be read here may still be one for the servers ('01.04.2026', 'today'), and if
 * not, the words of the failure are theirs: then every shard is asked, by the plan for that. Rows
 * to be written must have a place, and a plan for one shard only has keys that are read here
 * exactly as on the servers (see certainly_one() in route.c): for those the failure stands.
 */
static int is_unreadable(enum err e)
{
    return e == ERR_BAD_KEY || e == ERR_BAD_DATETIME || e == ERR_NUMERIC_RANGE ||
           e == ERR_UNSUPPORTED;
}

static enum err route_binding(const struct run *r, const struct binding *b, uint64_t *set)
{
    enum err e = read_binding(r, b, set);
    for (const struct binding *also = b->also; e == ERR_NONE && also != NULL; also = also->also) {
        uint64_t more;
        if (read_binding(r, also, &more) == ERR_NONE) { /* what is wrong with it the server says */
            *set &= more;
        }
    }
    if (!is_unreadable(e) || b->written) {
        return e;
    }
    if (r->plan->_where->one) {
        return r->plan->otherwise == NULL ? e : ERR_AGAIN;
    }
    *set = map_table_shards(r->map, b->table);
    return ERR_NONE;
}

enum err plan_shards(const struct plan *plan, const struct map *map, const struct plan_args *args,
                     uint64_t *out, int *any, struct note *note)
{
    if (plan->kind == PLAN_EXPLAIN) {
        return plan_shards(plan->explained, map, args, out, any, note);
    }
    const struct plan_where *w = plan->_where;
    *any = 0;
    if (w == NULL || w->fixed != 0) {
        *out = w == NULL ? 1 : w->fixed;
        *any = w != NULL && w->any;
        return ERR_NONE;
    }
    struct run run = {plan, map, args, note};
    uint64_t all = 0;
    for (size_t i = 0; i < w->bindings_count; i++) {
        uint64_t set;
        enum err e = route_binding(&run, &w->bindings[i], &set);
        if (e) {
            return e;
        }
        all |= set;
        if (w->one && all != lowest(all)) {
            break; /* what is wrong with the other keys shows in the plan for several */
        }
    }
    if (all == 0) { /* no row can match: one shard says so as well as another */
        all = w->bindings_count == 0 ? 1 : lowest(map_table_shards(map, w->bindings[0].table));
    }
    if (w->one && all != lowest(all)) {
        check(plan->otherwise != NULL);
        return note_set(note, ERR_AGAIN, "the keys lie on several shards");
    }
    *out = all;
    return ERR_NONE;
}

/* ---- lookup tables ---------------------------------------------------------------------------
 */

/* As the server must be told: what a client binds in binary for an integer says itself how long it
 * is. */
static uint32_t bound_type(const struct key_value *v, uint32_t column_type)
{
    if (v->type_oid != 0 && v->type_oid != OID_UNKNOWN) {
        return v->type_oid;
    }
    int is_int = column_type == OID_INT2 || column_type == OID_INT4 || column_type == OID_INT8;
    if (!is_int) {
        return column_type == OID_UUID ? OID_UUID : OID_TEXT;
    }
    return v->format == 0 || v->bytes.n == 8 ? OID_INT8 : v->bytes.n == 4 ? OID_INT4 : OID_INT2;
}

static void put_values(const struct resolved *keys, size_t count, struct buf *tail)
{
    buf_be16(tail, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        buf_be16(tail, (uint16_t)keys[i].value.format);
    }
    buf_be16(tail, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        buf_be32(tail, (uint32_t)keys[i].value.bytes.n);
        buf_add_slice(tail, keys[i].value.bytes);
    }
    buf_be16(tail, 0);
}

enum err plan_lookup_bind(const struct plan *plan, const struct map *map,
                          const struct plan_args *args, uint32_t *shard, uint32_t *types,
                          size_t *types_count, struct buf *tail, struct note *note)
{
    const struct binding *at = plan->lookup->_at;
    struct run run = {plan, map, args, note};
    struct resolved keys[KEY_COLUMNS_MAX];
    struct key_value values[KEY_COLUMNS_MAX] = {0};
    size_t n = at->table->keys_count;
    enum err e = ERR_NONE;
    for (size_t i = 0; i < n; i++) {
        keys[i].unquoted = (struct buf){0};
    }
    for (size_t i = 0; i < n && e == ERR_NONE; i++) {
        e = resolve_value(&run, &at->keys[i].items[0], at->table->key_types[i], &keys[i]);
        e = e == ERR_NONE && keys[i].value.bytes.p == NULL ? ERR_AGAIN : e;
        if (e == ERR_NONE) {
            types[i] = bound_type(&keys[i].value, at->table->key_types[i]);
            values[i] = keys[i].value;
        }
    }
    e = e == ERR_NONE && map_route(map, at->table, values, shard, note) != ERR_NONE ? ERR_AGAIN : e;
    if (e == ERR_NONE) {
        put_values(keys, n, tail);
        *types_count = n;
    }
    for (size_t i = 0; i < n; i++) {
        buf_free(&keys[i].unquoted);
    }
    return e;
}

enum err plan_row_shard(const struct map_table *table, const struct map *map, struct slice row,
                        uint32_t *shard, struct note *note)
{
    struct key_value values[KEY_COLUMNS_MAX];
    struct back_walk walk;
    enum err e = back_walk_row(row, &walk, note);
    for (size_t i = 0; e == ERR_NONE && i < table->keys_count; i++) {
        values[i] = (struct key_value){.type_oid = OID_UNKNOWN};
        if (back_next_value(&walk, &values[i].bytes) != 1 || values[i].bytes.p == NULL) {
            e = note_set(note, ERR_SHARD_PROTOCOL, "the key of a row is cut short");
        }
    }
    return e ? e : map_route(map, table, values, shard, note);
}

enum err plan_lookup_shard(const struct plan_lookup *lookup, const struct map *map,
                           struct slice row, uint32_t *shard, struct note *note)
{
    return plan_row_shard(lookup->table, map, row, shard, note);
}

enum err shards_of_binding(const struct plan *plan, const struct map *map,
                           const struct plan_args *args, size_t index, uint64_t *set,
                           struct note *note)
{
    struct run run = {plan, map, args, note};
    check(index < plan->_where->bindings_count);
    enum err e = route_binding(&run, &plan->_where->bindings[index], set);
    check(e || *set == lowest(*set)); /* a written row has one place */
    return e;
}
