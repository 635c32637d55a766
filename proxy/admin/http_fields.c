/* Tables of numbers, a row per thing that has them, in /metrics and /stats. */

#include <jansson.h>
#include <string.h>

#include "proxy/admin/http_text.h"

void metrics_put_fields(const struct http_fields *fields, const struct http_numbers *n,
                        struct buf *out)
{
    for (size_t f = 0; fields->things > 0 && f < fields->count; f++) {
        const struct http_field *field = &fields->list[f];
        int counts = field->type[0] == 'c';
        metrics_begin(out, field->name, field->type, field->unit, field->help);
        for (size_t i = 0; i < fields->things; i++) {
            buf_printf(out, "%s%s{", field->name, counts ? "_total" : "");
            fields->put_labels(n, i, out);
            buf_printf(out, "} %.15g\n", fields->value(n, i, f));
        }
    }
}

void http_json_fields(const struct http_fields *fields, const struct http_numbers *n, size_t thing,
                      json_t *to)
{
    for (size_t f = 0; f < fields->count; f++) {
        (void)json_object_set_new(to, fields->list[f].name + strlen(fields->prefix),
                                  json_real(fields->value(n, thing, f)));
    }
}
