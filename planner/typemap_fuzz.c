/* Any bytes as a value, a row or a description: nothing outside of them is touched. */

#include "base/mem.h"
#include "planner/typemap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct typemap *map_of(void)
{
    static const char *const rows[2][5] = {{"16400", "16401", "16410", "16430", "16431"},
                                           {"17400", "17401", "17410", "17430", "17431"}};
    static const char *const names[] = {"mood", "mood[]", "place", "span", "spans"};
    static const char *const kinds[] = {"e", "a", "c", "r", "m"};
    static const char *const inner[] = {"0", "16400", "0", "16410", "16430"};
    struct typelist *lists[2] = {typelist_new(), typelist_new()};
    struct note note;
    for (size_t l = 0; l < 2; l++) {
        for (size_t i = 0; i < 5; i++) {
            const struct slice values[6] = {slice_of(rows[l][i]), SLICE("public"),
                                            slice_of(names[i]),   slice_of(kinds[i]),
                                            slice_of(inner[i]),   SLICE("0")};
            (void)typelist_row(lists[l], values, 6, &note);
        }
    }
    struct typemap *m = typemap_new(lists, 2);
    typelist_unref(lists[0]);
    typelist_unref(lists[1]);
    return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t types[] = {16401, 16410, 16430, 16431, 2249, 2287, 2206, 0};
    static struct typemap *map;
    map = map != NULL ? map : map_of();
    if (size < 1) {
        return 0;
    }
    struct typemap_way way = {map, 1, data[0] & 1};
    size_t n = size - 1;
    uint8_t *copy = mem_dup(data + 1, n);
    switch (data[0] >> 1 & 3) {
    case 0: typemap_edit_values(&way, types, 8, copy, n); break;
    case 1: typemap_edit_columns(&way, copy, n); break;
    case 2: typemap_edit_parameters(&way, copy, n); break;
    default: typemap_edit_value(&way, types[data[0] >> 3 & 7], copy, n); break;
    }
    mem_free(copy);
    return 0;
}
