/* The table of statements has every kind that the parser makes. */

#include <string.h>

#include <criterion/criterion.h>

#include "base/buf.h"
#include "planner/build.h"

static int ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

Test(statements, every_statement_of_the_parser_is_in_the_table)
{
    const ProtobufCMessageDescriptor *d = &pg_query__node__descriptor;
    size_t seen = 0;
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (ends_with(d->fields[i].name, "_stmt")) {
            seen++;
            cr_expect(statement_known((PgQuery__Node__NodeCase)d->fields[i].id), "%s",
                      d->fields[i].name);
        }
    }
    cr_assert(seen > 110, "%zu", seen);
}

Test(statements, every_kind_of_object_is_in_the_table)
{
    const ProtobufCEnumDescriptor *d = &pg_query__object_type__descriptor;
    for (unsigned i = 0; i < d->n_values; i++) {
        if (d->values[i].value != PG_QUERY__OBJECT_TYPE__OBJECT_TYPE_UNDEFINED) {
            cr_expect(object_known((PgQuery__ObjectType)d->values[i].value), "%s",
                      d->values[i].name);
        }
    }
}

Test(statements, the_page_has_every_class)
{
    static const char *const words[] = {
        "all shards, atomically", "shard by shard |", "home shard |", "refused |", "CREATE ROLE",
        "EVENT TRIGGER"};
    struct buf page = {0};
    plan_print_statements(&page);
    buf_u8(&page, 0);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        cr_expect(strstr((const char *)page.p, words[i]) != NULL, "%s", words[i]);
    }
    buf_free(&page);
}
