/*
 * Text -> tree, and a walk over any tree by protobuf-c's descriptors: a node type that nobody here
 * has heard of is walked like the others, so nothing hides inside it.
 */

#include "planner/tree.h"

#include <string.h>
#include <strings.h>
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1 /* clang says it in another way */
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "base/buf.h"

static void *arena_take(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void arena_keep(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

enum err tree_parse(struct slice sql, struct arena *arena, PgQuery__ParseResult **out,
                    int *position, struct note *note)
{
    enum err e = depth_check(sql, note);
    if (e) {
        return e;
    }
    PgQueryProtobufParseResult parsed = pg_query_parse_protobuf((const char *)sql.p);
    if (parsed.error != NULL) {
        *position = parsed.error->cursorpos;
        e = note_set(note, ERR_SYNTAX, "%s", parsed.error->message);
    } else {
        ProtobufCAllocator allocator = {arena_take, arena_keep, arena};
        *out = pg_query__parse_result__unpack(&allocator, parsed.parse_tree.len,
                                              (const uint8_t *)parsed.parse_tree.data);
        if (*out == NULL) {
            e = note_set(note, ERR_INTERNAL, "the parse tree cannot be read");
        }
    }
    pg_query_free_protobuf_parse_result(parsed);
    return e;
}

int tree_reads_as(const char *text, tnode *stmt)
{
    PgQuery__RawStmt raw = PG_QUERY__RAW_STMT__INIT;
    PgQuery__RawStmt *raws[1] = {&raw};
    PgQuery__ParseResult result = PG_QUERY__PARSE_RESULT__INIT;
    struct note ignored;
    raw.stmt = stmt;
    result.n_stmts = 1;
    result.stmts = raws;
    if (depth_check(slice_of(text), &ignored)) {
        return 0;
    }
    PgQueryProtobufParseResult parsed = pg_query_parse_protobuf(text);
    int same = parsed.error == NULL &&
               tree_packed_says((const ProtobufCMessage *)&result,
                                slice_bytes(parsed.parse_tree.data, parsed.parse_tree.len));
    pg_query_free_protobuf_parse_result(parsed);
    return same;
}

/* When the body cannot be parsed libpg_query 15 loses the text of its empty stderr: 32 bytes. */
static PgQueryPlpgsqlParseResult parse_plpgsql(const char *definition)
{
#ifdef __SANITIZE_ADDRESS__
    __lsan_disable();
#endif
    PgQueryPlpgsqlParseResult parsed = pg_query_parse_plpgsql(definition);
#ifdef __SANITIZE_ADDRESS__
    __lsan_enable();
#endif
    return parsed;
}

enum err tree_parse_plpgsql(const char *definition, struct arena *arena, const char **json,
                            struct note *note)
{
    PgQueryPlpgsqlParseResult parsed = parse_plpgsql(definition);
    enum err e = ERR_NONE;
    if (parsed.error != NULL) {
        e = note_set(note, ERR_SYNTAX, "%s", parsed.error->message);
    } else {
        *json = arena_strdup(arena, parsed.plpgsql_funcs);
    }
    pg_query_free_plpgsql_parse_result(parsed);
    return e;
}

/* ---- walk -------------------------------------------------------------------------------------
 */

void tree_walk_node(const tnode *n, tree_visit_fn *visit, void *arg)
{
    if (n != NULL && n->node_case != PG_QUERY__NODE__NODE__NOT_SET) {
        tree_walk((const ProtobufCMessage *)n->alias, visit, arg); /* every arm is a message */
    }
}

void tree_walk_nodes(tnode *const *nodes, size_t count, tree_visit_fn *visit, void *arg)
{
    for (size_t i = 0; i < count; i++) {
        tree_walk_node(nodes[i], visit, arg);
    }
}

static void walk_inside(const ProtobufCMessage *m, tree_visit_fn *visit, void *arg)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        if (f->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        const char *base = (const char *)m;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(const size_t *)(const void *)(base + f->quantifier_offset);
            ProtobufCMessage *const *items =
                *(ProtobufCMessage *const *const *)(const void *)(base + f->offset);
            for (size_t k = 0; k < count; k++) {
                tree_walk(items[k], visit, arg);
            }
        } else if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
                   *(const uint32_t *)(const void *)(base + f->quantifier_offset) == f->id) {
            tree_walk(*(ProtobufCMessage *const *)(const void *)(base + f->offset), visit, arg);
        }
    }
}

void tree_walk(const ProtobufCMessage *m, tree_visit_fn *visit, void *arg)
{
    if (m == NULL) {
        return;
    }
    if (MESSAGE_IS(m, node)) {
        tree_walk_node((const tnode *)m, visit, arg);
    } else if (visit(m, arg)) {
        walk_inside(m, visit, arg);
    }
}

/* ---- equality ---------------------------------------------------------------------------------
 */

static int message_equal(const ProtobufCMessage *a, const ProtobufCMessage *b);

/* Nodes of our own have NULL where a parsed one has "". */
static int strings_equal(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

static int one_equal(ProtobufCType type, const void *a, const void *b)
{
    switch ((int)type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_equal(*(ProtobufCMessage *const *)a, *(ProtobufCMessage *const *)b);
    case PROTOBUF_C_TYPE_STRING: return strings_equal(*(char *const *)a, *(char *const *)b);
    case PROTOBUF_C_TYPE_BOOL:
        return *(const protobuf_c_boolean *)a == *(const protobuf_c_boolean *)b;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM: return *(const uint32_t *)a == *(const uint32_t *)b;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64: return *(const uint64_t *)a == *(const uint64_t *)b;
    default: return 0; /* no such field in this tree: unequal is the safe answer */
    }
}

static int field_equal(const ProtobufCFieldDescriptor *f, const char *a, const char *b)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)(const void *)(a + f->quantifier_offset);
        if (count != *(const size_t *)(const void *)(b + f->quantifier_offset)) {
            return 0;
        }
        if (f->type != PROTOBUF_C_TYPE_MESSAGE) {
            return count == 0;
        }
        ProtobufCMessage *const *x =
            *(ProtobufCMessage *const *const *)(const void *)(a + f->offset);
        ProtobufCMessage *const *y =
            *(ProtobufCMessage *const *const *)(const void *)(b + f->offset);
        for (size_t i = 0; i < count; i++) {
            if (!message_equal(x[i], y[i])) {
                return 0;
            }
        }
        return 1;
    }
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t which = *(const uint32_t *)(const void *)(a + f->quantifier_offset);
        if (which != *(const uint32_t *)(const void *)(b + f->quantifier_offset)) {
            return 0;
        }
        if (which != f->id) {
            return 1;
        }
    }
    return one_equal(f->type, a + f->offset, b + f->offset);
}

static int message_equal(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    if (a->descriptor != b->descriptor) {
        return 0;
    }
    if (MESSAGE_IS(a, node)) {
        return tree_equal((const tnode *)a, (const tnode *)b);
    }
    for (unsigned i = 0; i < a->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &a->descriptor->fields[i];
        if (strcmp(f->name, "location") != 0 && !field_equal(f, (const char *)a, (const char *)b)) {
            return 0;
        }
    }
    return 1;
}

int tree_boolean(const tnode *n)
{
    return IS(n, A_CONST) && n->a_const->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL
               ? n->a_const->boolval->boolval != 0
               : -1;
}

int tree_equal(const tnode *a, const tnode *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    if (a->node_case != b->node_case) {
        return 0;
    }
    return a->node_case == PG_QUERY__NODE__NODE__NOT_SET ||
           message_equal((const ProtobufCMessage *)a->alias, (const ProtobufCMessage *)b->alias);
}

/* ---- small readers ----------------------------------------------------------------------------
 */

const char *tree_string(const tnode *n)
{
    return IS(n, STRING) ? n->string->sval : NULL;
}

const char *tree_name(tnode *const *names, size_t count, const char **schema)
{
    if (schema != NULL) {
        *schema = count >= 2 ? tree_string(names[count - 2]) : NULL;
    }
    const char *name = count == 0 ? NULL : tree_string(names[count - 1]);
    return name == NULL ? "" : name;
}

const char *tree_operator(const PgQuery__AExpr *e)
{
    const char *schema;
    const char *name = tree_name(e->name, e->n_name, &schema);
    return schema == NULL || strcmp(schema, "pg_catalog") == 0 ? name : "";
}

const char *tree_bare_column(const tnode *n)
{
    return IS(n, COLUMN_REF) && n->column_ref->n_fields == 1 ? tree_string(n->column_ref->fields[0])
                                                             : NULL;
}

const PgQuery__DefElem *tree_option(tnode *const *options, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (IS(options[i], DEF_ELEM) && strcasecmp(options[i]->def_elem->defname, name) == 0) {
            return options[i]->def_elem;
        }
    }
    return NULL;
}

const char *tree_option_text(const PgQuery__DefElem *d, struct arena *arena)
{
    if (d == NULL || d->arg == NULL) {
        return NULL;
    }
    const tnode *a = d->arg;
    switch ((int)a->node_case) {
    case NODE(STRING): return a->string->sval;
    case NODE(INTEGER): return arena_printf(arena, "%d", a->integer->ival);
    case NODE(FLOAT): return a->float_->fval;
    case NODE(BOOLEAN): return a->boolean->boolval ? "true" : "false";
    case NODE(TYPE_NAME): return tree_name(a->type_name->names, a->type_name->n_names, NULL);
    case NODE(A_CONST):
        if (a->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL) {
            return a->a_const->sval->sval;
        }
        if (a->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL) {
            return arena_printf(arena, "%d", a->a_const->ival->ival);
        }
        if (a->a_const->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL) {
            return a->a_const->boolval->boolval ? "true" : "false";
        }
        return NULL;
    default: return NULL;
    }
}

int tree_option_on(const PgQuery__DefElem *d)
{
    if (d == NULL || d->arg == NULL) {
        return d != NULL;
    }
    struct arena scratch = {0};
    const char *text = tree_option_text(d, &scratch);
    int on = text != NULL && (strcasecmp(text, "true") == 0 || strcasecmp(text, "on") == 0 ||
                              strcmp(text, "1") == 0);
    arena_free(&scratch);
    return on;
}
