/* Interned sets of settings. Small sets, so a sorted array and a linear merge are enough. */

#include "proxy/session/vars.h"

#include <ctype.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"

void varset_table_init(struct varset_table *t)
{
    *t = (struct varset_table){0};
    t->empty = varset_with(t, NULL, NULL, NULL);
}

void varset_table_free(struct varset_table *t)
{
    varset_unref(t, t->empty);
    hmap_free(&t->map);
}

struct varset *varset_ref(struct varset *v)
{
    v->refs++;
    return v;
}

void varset_disprove(struct varset_proof *proof)
{
    list_remove(&proof->of_set);
    list_remove(&proof->of_pool);
    buf_free(&proof->statuses);
    mem_free(proof);
}

static void free_set(struct varset *v)
{
    for (size_t i = 0; i < v->count; i++) {
        mem_free((void *)v->vars[i].name);
        mem_free((void *)v->vars[i].value);
    }
    list_each_safe (node, &v->proofs) {
        varset_disprove(container_of(node, struct varset_proof, of_set));
    }
    mem_free(v->vars);
    mem_free(v);
}

void varset_unref(struct varset_table *t, struct varset *v)
{
    if (v != NULL && --v->refs == 0) {
        hmap_remove(&t->map, &v->node);
        free_set(v);
    }
}

static uint64_t hash_vars(const struct var *vars, size_t count)
{
    uint64_t h = 0;
    for (size_t i = 0; i < count; i++) {
        h = hash_bytes(vars[i].name, strlen(vars[i].name), h);
        h = hash_bytes(vars[i].value, strlen(vars[i].value), h);
    }
    return h;
}

static int same_vars(const struct varset *v, const struct var *vars, size_t count)
{
    if (v->count != count) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(v->vars[i].name, vars[i].name) != 0 ||
            strcmp(v->vars[i].value, vars[i].value) != 0) {
            return 0;
        }
    }
    return 1;
}

/* Settings that have no part in reading a statement: its literals, its names. search_path has one:
 * PostgreSQL looks for the names again when it changes, but the types of parameters stay. */
static int is_no_matter(const char *name)
{
    static const char *const names[] = {
        "application_name",
        "bytea_output",
        "client_min_messages",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "jit",
        "lock_timeout",
        "maintenance_work_mem",
        "statement_timeout",
        "synchronous_commit",
        "transaction_timeout",
        "work_mem",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return 1;
        }
    }
    return strncmp(name, "braid.", 6) == 0; /* our own */
}

static uint64_t hash_reading(const struct var *vars, size_t count)
{
    uint64_t h = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_no_matter(vars[i].name)) {
            h = hash_bytes(vars[i].name, strlen(vars[i].name), h);
            h = hash_bytes(vars[i].value, strlen(vars[i].value), h);
        }
    }
    return h;
}

static struct varset *make_set(const struct var *vars, size_t count)
{
    struct varset *v = mem_zero(sizeof(*v));
    v->refs = 1;
    list_init(&v->proofs);
    v->count = count;
    v->reading = hash_reading(vars, count);
    v->vars = mem_zero(count * sizeof(*v->vars));
    for (size_t i = 0; i < count; i++) {
        v->vars[i] = (struct var){mem_strdup(vars[i].name), mem_strdup(vars[i].value)};
    }
    return v;
}

/* The interned set with these variables; the texts are borrowed and copied when it is new. */
static struct varset *intern(struct varset_table *t, const struct var *vars, size_t count)
{
    uint64_t h = hash_vars(vars, count);
    for (struct hnode *n = hmap_find(&t->map, h); n != NULL; n = hmap_more(n)) {
        struct varset *v = container_of(n, struct varset, node);
        if (same_vars(v, vars, count)) {
            return varset_ref(v);
        }
    }
    struct varset *v = make_set(vars, count);
    hmap_add(&t->map, &v->node, h);
    return v;
}

struct varset *varset_copy(const struct varset *v)
{
    return make_set(v->vars, v->count);
}

struct varset *varset_exchange(struct varset_table *t, struct varset *copy)
{
    struct varset *v = intern(t, copy->vars, copy->count);
    free_set(copy);
    return v;
}

struct varset *varset_with(struct varset_table *t, const struct varset *from, const char *name,
                           const char *value)
{
    size_t count = from == NULL ? 0 : from->count;
    struct var *vars = mem_zero((count + 1) * sizeof(*vars));
    size_t n = 0;
    int placed = name == NULL || value == NULL;
    for (size_t i = 0; i < count; i++) {
        int order = name == NULL ? 1 : strcmp(from->vars[i].name, name);
        if (!placed && order >= 0) {
            vars[n++] = (struct var){name, value};
            placed = 1;
        }
        if (order != 0) {
            vars[n++] = from->vars[i];
        }
    }
    if (!placed) {
        vars[n++] = (struct var){name, value};
    }
    struct varset *v = intern(t, vars, n);
    mem_free(vars);
    return v;
}

const char *varset_get(const struct varset *v, const char *name)
{
    for (size_t i = 0; i < v->count; i++) {
        if (strcmp(v->vars[i].name, name) == 0) {
            return v->vars[i].value;
        }
    }
    return NULL;
}

/* A setting's name as SQL: each part quoted, because a custom one may hold capitals or a dash. */
void var_put_setting_name(const char *name, struct buf *sql)
{
    buf_u8(sql, '"');
    for (const char *p = name; *p != '\0'; p++) {
        if (*p == '.') {
            buf_text(sql, "\".\"");
        } else if (*p == '"') {
            buf_text(sql, "\"\"");
        } else {
            buf_u8(sql, (uint8_t)*p);
        }
    }
    buf_u8(sql, '"');
}

static void print_one(const char *verb, const struct var *var, struct buf *out)
{
    if (out->n != 0) {
        buf_text(out, "; ");
    }
    buf_text(out, verb);
    var_put_setting_name(var->name, out);
}

static int differ(const char *a, const char *b)
{
    check(a != NULL && b != NULL);
    return strcmp(a, b) != 0;
}

/* A setting of pgbraid's own, which no server is told of. */
static int is_own(const struct var *v)
{
    return strncmp(v->name, "braid.", 6) == 0;
}

/* Who the session is comes last on the way in and first on the way out: the other settings are the
 * login user's to change. */
static int rank_of(const char *name)
{
    return strcmp(name, "role") == 0 ? 2 : strcmp(name, "session_authorization") == 0 ? 1 : 0;
}

static int changes(const struct varset *from, const struct varset *to, const char *name)
{
    const char *old = varset_get(from, name);
    const char *new = varset_get(to, name);
    return old == NULL || new == NULL ? old != new : differ(old, new);
}

void varset_print_change(const struct varset *from, const struct varset *to, struct buf *out)
{
    /* Another session user has no role of the one before. */
    int new_user = changes(from, to, "session_authorization");
    for (int rank = 2; rank >= 0; rank--) {
        for (size_t i = 0; i < from->count; i++) {
            const struct var *v = &from->vars[i];
            if (!is_own(v) && rank_of(v->name) == rank && varset_get(to, v->name) == NULL) {
                print_one("RESET ", v, out);
            }
        }
    }
    for (int rank = 0; rank <= 2; rank++) {
        for (size_t i = 0; i < to->count; i++) {
            const struct var *v = &to->vars[i];
            if (!is_own(v) && rank_of(v->name) == rank &&
                (changes(from, to, v->name) || (rank == 2 && new_user))) {
                print_one("SET ", v, out);
                buf_text(out, " TO ");
                buf_text(out, v->value);
            }
        }
    }
}

struct varset_proof *varset_proof(struct varset *v, const void *pool)
{
    list_each (node, &v->proofs) {
        struct varset_proof *p = container_of(node, struct varset_proof, of_set);
        if (p->pool == pool) {
            return p;
        }
    }
    return NULL;
}

struct varset_proof *varset_prove(struct varset *v, const void *pool)
{
    struct varset_proof *p = mem_zero(sizeof(*p));
    p->pool = pool;
    list_init(&p->of_pool);
    list_push_front(&v->proofs, &p->of_set);
    return p;
}

void var_put_name(const char *name, struct buf *sql)
{
    buf_u8(sql, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"') {
            buf_u8(sql, '"');
        }
        buf_u8(sql, (uint8_t)*name);
    }
    buf_u8(sql, '"');
}

/* ---- lists of names ---------------------------------------------------------------------------
 */

int var_is_list(const char *name)
{
    static const char *const lists[] = {"search_path", "temp_tablespaces",
                                        "local_preload_libraries", "session_preload_libraries"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (strcmp(name, lists[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

void var_list_to_setting(const char *sql, struct buf *out)
{
    const char *comma = "";
    for (const char *p = sql; *p != '\0';) {
        int escapes = *p == 'E';
        if (*p == ' ' || *p == ',') {
            p++;
            continue;
        }
        buf_text(out, comma);
        buf_u8(out, '"');
        for (p += escapes + (p[escapes] == '\''); *p != '\0'; p++) {
            if (*p == '\'' && p[1] != '\'') {
                break;
            }
            p += *p == '\'' || (escapes && *p == '\\' && p[1] != '\0');
            if (*p == '"') {
                buf_u8(out, '"');
            }
            buf_u8(out, (uint8_t)*p);
        }
        buf_u8(out, '"');
        comma = ", ";
        p += *p == '\'';
    }
}

/* One name of the setting, unquoted ones in lower case; *at moves behind its comma. */
static void next_name(struct slice setting, size_t *at, struct buf *name)
{
    size_t i = *at;
    while (i < setting.n && setting.p[i] == ' ') {
        i++;
    }
    int quoted = i < setting.n && setting.p[i] == '"';
    for (i += (size_t)quoted; i < setting.n; i++) {
        uint8_t c = setting.p[i];
        if (quoted && c == '"' && (i + 1 == setting.n || setting.p[i + 1] != '"')) {
            i++;
            break;
        }
        if (!quoted && (c == ',' || c == ' ')) {
            break;
        }
        i += quoted && c == '"';
        buf_u8(name, !quoted && c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c);
    }
    while (i < setting.n && setting.p[i] != ',') {
        i++;
    }
    *at = i + 1;
}

static size_t skip_spaces(struct slice text, size_t i)
{
    while (i < text.n && isspace(text.p[i])) {
        i++;
    }
    return i;
}

int var_list_is_good(struct slice setting)
{
    size_t i = skip_spaces(setting, 0);
    if (i == setting.n) {
        return 1; /* of no names */
    }
    for (;;) {
        size_t begin = i;
        if (i < setting.n && setting.p[i] == '"') {
            do {
                i++;
                while (i < setting.n && setting.p[i] != '"') {
                    i++;
                }
                i++;
            } while (i < setting.n && setting.p[i] == '"');
            if (i > setting.n) {
                return 0;
            }
        } else {
            while (i < setting.n && setting.p[i] != ',' && !isspace(setting.p[i])) {
                i++;
            }
            if (i == begin) {
                return 0;
            }
        }
        i = skip_spaces(setting, i);
        if (i == setting.n) {
            return 1;
        }
        if (setting.p[i] != ',') {
            return 0;
        }
        i = skip_spaces(setting, i + 1);
    }
}

void var_list_from_setting(struct slice setting, struct buf *sql)
{
    struct buf name = {0};
    for (size_t at = 0; at < setting.n;) {
        name.n = 0;
        next_name(setting, &at, &name);
        buf_text(sql, sql->n == 0 ? "" : ", ");
        var_put_literal(buf_slice(&name), sql);
    }
    if (sql->n == 0) {
        buf_text(sql, "''");
    }
    buf_free(&name);
}

void var_put_literal(struct slice text, struct buf *sql)
{
    int escapes = text.n != 0 && memchr(text.p, '\\', text.n) != NULL;
    buf_text(sql, escapes ? "E'" : "'");
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\'' || text.p[i] == '\\') {
            buf_u8(sql, text.p[i]);
        }
        buf_u8(sql, text.p[i]);
    }
    buf_u8(sql, '\'');
}
