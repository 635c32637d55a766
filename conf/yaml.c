/*
 * Nodes that no YAML file gave: made by hand, and printed as the file that would have given them.
 *
 * A scalar is printed plain when nobody could read it as something else, and in double quotes
 * otherwise; keys too. Comments are texts of the nodes themselves.
 */

#include <ctype.h>
#include <string.h>

#include "base/check.h"
#include "conf/pgbouncer.h"

static struct node *add(struct reader *r, struct node *parent, const char *key, enum node_kind kind,
                        int line)
{
    struct node *node = arena_zero(&r->scratch, sizeof(*node));
    *node = (struct node){.kind = kind,
                          .line = line,
                          .key = key == NULL ? NULL : arena_strdup(&r->scratch, key),
                          .text = ""};
    if (parent == NULL) {
        return node;
    }
    check(parent->kind != NODE_TEXT && (parent->kind == NODE_MAP) == (key != NULL));
    node_append(parent, node);
    return node;
}

struct node *node_map(struct reader *r, struct node *parent, const char *key, int line)
{
    return add(r, parent, key, NODE_MAP, line);
}

struct node *node_list(struct reader *r, struct node *parent, const char *key, int line)
{
    return add(r, parent, key, NODE_LIST, line);
}

struct node *node_text(struct reader *r, struct node *parent, const char *key, const char *text,
                       int line)
{
    struct node *node = add(r, parent, key, NODE_TEXT, line);
    node->text = arena_strdup(&r->scratch, text);
    return node;
}

void node_drop_last(struct node *parent)
{
    struct node *before = NULL;
    check(parent->last != NULL);
    for (struct node *child = parent->first; child != parent->last; child = child->next) {
        before = child;
    }
    if (before == NULL) {
        parent->first = NULL;
    } else {
        before->next = NULL;
    }
    parent->last = before;
    parent->count--;
}

struct node *node_child(const struct node *map, const char *key)
{
    for (struct node *child = map->first; child != NULL; child = child->next) {
        if (strcmp(child->key, key) == 0) {
            return child;
        }
    }
    return NULL;
}

struct node *node_put(struct reader *r, struct node *map, const char *path, const char *text,
                      int line)
{
    for (const char *dot = strchr(path, '.'); dot != NULL; dot = strchr(path, '.')) {
        const char *key = arena_strndup(&r->scratch, path, (size_t)(dot - path));
        struct node *child = node_child(map, key);
        map = child != NULL ? child : node_map(r, map, key, line);
        path = dot + 1;
    }
    struct node *old = node_child(map, path);
    if (old != NULL) { /* two names of one setting: the later one counts */
        old->text = arena_strdup(&r->scratch, text);
        old->line = line;
        return old;
    }
    return node_text(r, map, path, text, line);
}

/* ---- printing -------------------------------------------------------------------------------- */

static int is_plain(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on",
                                        "off",  "null",  "y",   "n",  "~"};
    if (!isalnum((unsigned char)text[0]) && text[0] != '/' && text[0] != '_') {
        return 0;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && strchr("_-./", *p) == NULL) {
            return 0;
        }
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(words[i], text) == 0) {
            return 0;
        }
    }
    return 1;
}

static void print_text(const char *text, struct buf *out)
{
    if (is_plain(text)) {
        buf_text(out, text);
        return;
    }
    buf_u8(out, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7F) {
            buf_printf(out, "\\x%02X", *p);
        } else {
            buf_text(out, *p == '"' || *p == '\\' ? "\\" : "");
            buf_u8(out, *p);
        }
    }
    buf_u8(out, '"');
}

static void print_indent(int depth, struct buf *out)
{
    for (int i = 0; i < depth; i++) {
        buf_text(out, "  ");
    }
}

static void print_comment(const struct node *node, struct buf *out)
{
    if (node->comment != NULL) {
        buf_printf(out, "  # %s", node->comment);
    }
    buf_u8(out, '\n');
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the nodes, which are at most TREE_DEPTH_MAX */
static void print_children(const struct node *parent, int depth, struct buf *out)
{
    check(depth < TREE_DEPTH_MAX);
    for (const struct node *node = parent->first; node != NULL; node = node->next) {
        print_indent(depth, out);
        if (parent->kind == NODE_LIST) {
            buf_text(out, "-");
        } else {
            print_text(node->key, out);
            buf_u8(out, ':');
        }
        if (node->kind == NODE_TEXT) {
            buf_u8(out, ' ');
            print_text(node->text, out);
            print_comment(node, out);
        } else if (node->count == 0) {
            buf_text(out, node->kind == NODE_MAP ? " {}" : " []");
            print_comment(node, out);
        } else {
            print_comment(node, out);
            print_children(node, depth + 1, out);
        }
    }
}

void node_print(const struct node *root, struct buf *out)
{
    check(root->kind == NODE_MAP);
    print_children(root, 0, out);
}
