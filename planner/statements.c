/*
 * The table of statements: which handler plans a statement in a database of several shards, where
 * the objects are that it names, and the page of the manual that says so.
 */

#include <strings.h>

#include "base/check.h"
#include "planner/ddl_inner.h"

typedef void plan_fn(struct build *b, tnode *stmt, struct plan *p);

enum statement_class {
    CLASS_ROWS,
    CLASS_SESSION,
    CLASS_SHARDS,
    CLASS_PLACE,
    CLASS_STEPS,
    CLASS_HOME,
    CLASS_REFUSED,
    CLASS_PART
};

enum {
    RETURNS_ROWS = 1 /* has a row description */
};

static const struct statement_row {
    PgQuery__Node__NodeCase kind;
    const char *name, *tag;
    enum statement_class class;
    plan_fn *plan;
    unsigned flags;
    const char *why, *hint;
} statements[] = {
#define STATEMENT(node, tag, class, handler, flags, why, hint) \
    {NODE(node), #node, tag, CLASS_##class, handler, flags, why, hint},
#include "planner/statements.def"
#undef STATEMENT
};

static const struct object_row {
    PgQuery__ObjectType type;
    const char *words;
    enum object_place place;
    const char *why;
} objects[] = {
#define OBJECT(type, words, place, why) \
    {PG_QUERY__OBJECT_TYPE__OBJECT_##type, words, OBJECT_##place, why},
#include "planner/statements.def"
#undef OBJECT
};

static const struct statement_row *row_of(const tnode *stmt)
{
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        if (statements[i].kind == stmt->node_case) {
            return &statements[i];
        }
    }
    return NULL;
}

static const struct object_row *object_of(PgQuery__ObjectType type)
{
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        if (objects[i].type == type) {
            return &objects[i];
        }
    }
    return NULL;
}

int statement_known(PgQuery__Node__NodeCase kind)
{
    const tnode n = {.node_case = kind};
    return row_of(&n) != NULL;
}

int object_known(PgQuery__ObjectType type)
{
    return object_of(type) != NULL;
}

enum object_place object_place(PgQuery__ObjectType type)
{
    const struct object_row *row = object_of(type);
    return row == NULL ? OBJECT_REFUSED : row->place;
}

const char *object_words(PgQuery__ObjectType type)
{
    const struct object_row *row = object_of(type);
    return row == NULL ? "" : row->words;
}

const char *object_why(PgQuery__ObjectType type)
{
    const struct object_row *row = object_of(type);
    return row == NULL || row->why == NULL
               ? "this kind of object cannot be changed in a database of several shards"
               : row->why;
}

void statement_flags(const tnode *stmt, struct plan *p)
{
    const struct statement_row *row = row_of(stmt);
    p->tag = row == NULL ? "" : row->tag;
    p->returns_rows = row != NULL && (row->flags & RETURNS_ROWS) != 0;
}

static void plan_by_class(struct build *b, tnode *stmt, const struct statement_row *row,
                          struct plan *p)
{
    switch (row->class) {
    case CLASS_SHARDS: plan_everywhere(b, stmt, p); return;
    case CLASS_HOME: ddl_step(b, p, 1, (const char *)p->text.p); return;
    case CLASS_REFUSED: refuse(p, row->hint, "%s", row->why); return;
    case CLASS_ROWS:
    case CLASS_SESSION:
    case CLASS_PLACE:
    case CLASS_STEPS:
    case CLASS_PART:
    default:
        refuse(p, "Run it on every server it concerns.",
               "this statement cannot be run in a database of several shards");
        return;
    }
}

void plan_statement(struct build *b, tnode *stmt, struct plan *p)
{
    static const struct statement_row unknown = {.class = CLASS_PART};
    const struct statement_row *row = row_of(stmt);
    row = row == NULL ? &unknown : row;
    struct slice text = p->text;
    statement_flags(stmt, p);
    if (ddl_own_schema(b, stmt, p)) {
        return;
    }
    if (row->plan != NULL) {
        row->plan(b, stmt, p);
    } else {
        plan_by_class(b, stmt, row, p);
    }
    if (p->kind == PLAN_REFUSE && row->class == CLASS_ROWS) {
        (void)plan_with_views(b, text, p);
    }
}

/* ---- the page ---------------------------------------------------------------------------------
 */

/* "ALTER_TSDICTIONARY_STMT" -> "AlterTsdictionaryStmt": what a statement is called where its tag
 * says too little. */
static void put_node(struct buf *out, const char *name)
{
    int first = 1;
    for (; *name != 0; name++) {
        if (*name == '_') {
            first = 1;
        } else {
            buf_u8(out, (uint8_t)(first ? *name : *name | 0x20));
            first = 0;
        }
    }
}

static const char *where_of(const struct statement_row *row)
{
    switch (row->class) {
    case CLASS_ROWS: return "by its rows";
    case CLASS_SESSION: return "the session's";
    case CLASS_SHARDS: return "all shards, atomically";
    case CLASS_PLACE: return "where its object is, atomically";
    case CLASS_STEPS: return "shard by shard";
    case CLASS_HOME: return "home shard";
    case CLASS_REFUSED: return "refused";
    case CLASS_PART:
    default: return "";
    }
}

static const char *place_words(enum object_place place)
{
    switch (place) {
    case OBJECT_ALL: return "every shard";
    case OBJECT_TABLE: return "where its table is";
    case OBJECT_HOME: return "the home shard";
    case OBJECT_FOUND: return "the home shard, and others that have it";
    case OBJECT_DATABASE: return "every shard; the database is the one connected to";
    case OBJECT_REFUSED: return "refused";
    case OBJECT_PART:
    default: return "";
    }
}

static void put_objects(struct buf *out)
{
    buf_text(out,
             "\n## Objects\n\n"
             "Where an object is that DROP, ALTER, RENAME, OWNER TO, SET SCHEMA, COMMENT, SECURITY "
             "LABEL or GRANT names.\n\n"
             "| Object | Where it is | Why |\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        const struct object_row *row = &objects[i];
        if (row->place != OBJECT_PART && row->type != PG_QUERY__OBJECT_TYPE__OBJECT_ATTRIBUTE) {
            buf_printf(out, "| %s | %s | %s |\n", row->words, place_words(row->place),
                       row->why == NULL ? "" : row->why);
        }
    }
}

void plan_print_statements(struct buf *out)
{
    buf_text(
        out,
        "# Statements\n\n"
        "<!-- Made from planner/statements.def: `braidctl statements`. -->\n\n"
        "Every statement that PostgreSQL 15 has, and where it runs in a database of several "
        "shards. What is in no row is refused.\n\n"
        "- **by its rows**: the ladder of [SQL.md](SQL.md#where-a-statement-goes).\n"
        "- **all shards, atomically**: one transaction, prepared on every shard and committed on "
        "all or none.\n"
        "- **where its object is, atomically**: the same on the shards that have the object: all "
        "of them for\n"
        "  tables declared SHARD BY or REFERENCE and what belongs to them, the home shard for "
        "other tables; see [Objects](#objects).\n"
        "- **shard by shard**: what cannot run in a transaction, on one shard after the other; "
        "[SQL.md](SQL.md#step-by-step) says\n"
        "  what is left when one fails.\n\n"
        "| Statement | Node | Where | Why, and what to do instead |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        const struct statement_row *row = &statements[i];
        if (row->class == CLASS_PART) {
            continue;
        }
        buf_printf(out, "| %s | ", row->tag);
        put_node(out, row->name);
        buf_printf(out, " | %s | ", where_of(row));
        if (row->why != NULL) {
            buf_printf(out, "%s. %s", row->why, row->hint);
        }
        buf_text(out, " |\n");
    }
    put_objects(out);
}
