/*
 * Texts under a collation of the C library. The planner gives a locale only when the servers and
 * this machine have the same version of the library, so the order is theirs to the byte.
 *
 * Locales are opened once per process and never closed: the list only grows, by one entry for each
 * collation that somebody sorts by. Any thread may read and add to it.
 *
 * Source: PostgreSQL 15 src/backend/utils/adt/varlena.c, varstr_cmp().
 */

#include <langinfo.h>
#include <locale.h>

#include "base/mem.h"
#include "planner/combine_inner.h"

struct known {
    char name[64];
    locale_t locale; /* NULL: there is none */
    struct known *next;
};

struct combine_collator {
    locale_t locale;
    struct buf a, b; /* with the 0 that strcoll_l() wants */
};

static struct known *all;

static const struct known *find(const struct known *list, const char *name)
{
    while (list != NULL && strcmp(list->name, name) != 0) {
        list = list->next;
    }
    return list;
}

static locale_t locale_of(const char *name)
{
    struct known *first = __atomic_load_n(&all, __ATOMIC_ACQUIRE);
    const struct known *k = find(first, name);
    if (k != NULL || strlen(name) >= sizeof(k->name)) {
        return k == NULL ? (locale_t)0 : k->locale;
    }
    struct known *mine = mem_zero(sizeof(*mine));
    memcpy(mine->name, name, strlen(name));
    mine->locale = newlocale(LC_COLLATE_MASK | LC_CTYPE_MASK, name, (locale_t)0);
    if (mine->locale != (locale_t)0 && strcmp(nl_langinfo_l(CODESET, mine->locale), "UTF-8") != 0) {
        freelocale(mine->locale);
        mine->locale = (locale_t)0;
    }
    do {
        k = find(first, name);
        if (k != NULL) { /* another thread was faster */
            if (mine->locale != (locale_t)0) {
                freelocale(mine->locale);
            }
            mem_free(mine);
            return k->locale;
        }
        mine->next = first;
    } while (
        !__atomic_compare_exchange_n(&all, &first, mine, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return mine->locale;
}

struct combine_collator *combine_collator_new(const char *locale)
{
    locale_t found = locale_of(locale);
    if (found == (locale_t)0) {
        return NULL;
    }
    struct combine_collator *c = mem_zero(sizeof(*c));
    c->locale = found;
    return c;
}

void combine_collator_free(struct combine_collator *c)
{
    if (c != NULL) {
        buf_free(&c->a);
        buf_free(&c->b);
        mem_free(c);
    }
}

static const char *with_zero(struct buf *b, struct slice s)
{
    b->n = 0;
    buf_add_slice(b, s);
    buf_u8(b, 0);
    return (const char *)b->p;
}

int combine_collator_compare(struct combine_collator *c, struct slice a, struct slice b)
{
    if (slice_eq(a, b)) {
        return 0;
    }
    const char *x = with_zero(&c->a, a), *y = with_zero(&c->b, b);
    int order = strcoll_l(x, y, c->locale);
    return order != 0 ? order : strcmp(x, y);
}
