/*
 * Goal: whatever a parser prints of a function is read within bounds. Method: bytes are its JSON;
 * what was read must lie in the arena and be counted right.
 */

#include <string.h>

#include "base/check.h"
#include "planner/reach.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct plpgsql *found = arena_alloc(&arena, sizeof(*found));
    char *text = arena_strndup(&arena, data, size);
    int ok = plpgsql_read_json(text, &arena, found);
    check(ok == (found->why == NULL));
    size_t bytes = 0;
    for (size_t i = 0; i < found->sql_count; i++) {
        bytes += strlen(found->sql[i]);
    }
    check(bytes <= size);
    check(found->names_count <= PLPGSQL_NAMES_MAX && found->row_count <= PLPGSQL_NAMES_MAX);
    arena_free(&arena);
    return 0;
}
