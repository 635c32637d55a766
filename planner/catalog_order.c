/*
 * What the catalog knows of order: the labels of enums, and for each collatable column the locale
 * of the C library that sorts as the server does. There is one only if the server's library has the
 * version of ours and the texts are UTF-8; a locale is then the same everywhere.
 */

#include <gnu/libc-version.h>
#include <stdlib.h>

#include "planner/catalog.h"

/* Rows come ordered by type, then by place. */
void catalog_add_label(struct catalog *c, const struct slice *v)
{
    uint32_t type = (uint32_t)catalog_number(v[0]);
    if (c->enums_count == 0 || c->enums[c->enums_count - 1].type != type) {
        c->enums = catalog_grown(c, c->enums, c->enums_count, sizeof(*c->enums));
        c->enums[c->enums_count++] = (struct catalog_enum){.type = type};
    }
    struct catalog_enum *e = &c->enums[c->enums_count - 1];
    e->labels = catalog_grown(c, e->labels, e->labels_count, sizeof(*e->labels));
    e->labels[e->labels_count++] = arena_strndup(&c->memory, v[1].p, v[1].n);
}

static int compare_types(const void *key, const void *item)
{
    uint32_t type = *(const uint32_t *)key;
    const struct catalog_enum *e = item;
    return (type > e->type) - (type < e->type);
}

const struct catalog_enum *catalog_enum(const struct catalog *c, uint32_t type)
{
    return c == NULL || c->enums_count == 0
               ? NULL
               : bsearch(&type, c->enums, c->enums_count, sizeof(*c->enums), compare_types);
}

static const char *usable(struct catalog *c, struct slice locale, struct slice encoding,
                          struct slice version)
{
    if (slice_is(locale, "C") || slice_is(locale, "POSIX") || slice_is(locale, "C.UTF-8") ||
        slice_is(locale, "C.utf8")) {
        return "C";
    }
    if (locale.n == 0 || !slice_is(encoding, "UTF8") ||
        !slice_is(version, gnu_get_libc_version())) {
        return NULL;
    }
    return arena_strndup(&c->memory, locale.p, locale.n);
}

void catalog_add_locale(struct catalog *c, const struct slice *v)
{
    uint64_t oid = catalog_number(v[0]), number = catalog_number(v[1]);
    if (oid == 0) {
        c->default_locale = usable(c, v[2], v[3], v[4]);
        return;
    }
    const struct catalog_table *t = catalog_find_oid(c, oid);
    for (size_t i = 0; t != NULL && i < t->columns_count; i++) {
        struct catalog_column *col = &t->columns[i];
        if ((uint64_t)col->number == number) {
            col->locale = col->bytewise               ? "C"
                          : slice_is(v[3], "default") ? c->default_locale
                                                      : usable(c, v[2], v[3], v[4]);
        }
    }
}
