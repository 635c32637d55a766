/*
 * Goal: no bytes in an ini file break the reader, and what was read can be written as YAML that
 * loads and says the same. Method: the file includes itself, so that includes are walked, too.
 */

#include <string.h>

#include "base/check.h"
#include "conf/pgbouncer.h"

static const uint8_t *included;
static size_t included_n;

static int load(const char *path, struct buf *out)
{
    if (path[0] != 'i') {
        return 2;
    }
    buf_add(out, included, included_n < 4096 ? included_n : 4096);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena keep = {0};
    struct note note = {0};
    struct conf conf = {.path = "c.ini"};
    struct reader r = {.file = "c.ini", .note = &note, .keep = &keep, .conf = &conf, .load = load};
    struct node *root = NULL;
    included = data + size / 2;
    included_n = size - size / 2;
    enum err e = pgbouncer_tree(&r, data, size, "/cwd", &root);
    if (e) {
        check(strchr(note.text, '\n') == NULL && strchr(note.text, ':') != NULL);
    } else {
        struct buf first = {0};
        struct buf second = {0};
        struct node *again = NULL;
        node_print(root, &first);
        struct reader yaml = {.file = "c.yaml", .note = &note, .keep = &keep, .conf = &conf};
        e = tree_read(&yaml, first.p, first.n, &again);
        if (!e) { /* bytes that are not UTF-8 are refused, and names that stand twice */
            node_print(again, &second);
        }
        arena_free(&yaml.scratch);
        buf_free(&first);
        buf_free(&second);
    }
    arena_free(&r.scratch);
    arena_free(&keep);
    return 0;
}
