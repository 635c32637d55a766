/*
 * YAML to nodes with line numbers, by libyaml's events.
 *
 * The subset that a configuration needs: maps, lists and texts. Anchors, aliases, tags and further
 * documents are refused: they make it hard to see what a line means, and an alias can blow a small
 * file up. A key may stand once per map.
 *
 * Nodes are kept on a stack of the open lists and maps, so depth is bounded and nothing recurses.
 */

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/check.h"
#include "base/mem.h"
#include "conf/reader.h"

struct builder {
    struct reader *r;
    struct node *open[TREE_DEPTH_MAX]; /* outermost first */
    size_t depth;
    struct node *root;
    const char *key; /* read, waits for its value; NULL: none */
    int key_line;
};

void node_append(struct node *parent, struct node *node)
{
    if (parent->last == NULL) {
        parent->first = node;
    } else {
        parent->last->next = node;
    }
    parent->last = node;
    parent->count++;
}

int node_is_null(const struct node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    if (node->kind != NODE_TEXT || !node->plain) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++) {
        if (strcmp(node->text, nulls[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- bytes: UTF-8 and nothing but ------------------------------------------------------------ */

/* Length of the UTF-8 character at p, 0 when it is none. RFC 3629. */
static size_t utf8_length(const uint8_t *p, size_t n)
{
    if (p[0] < 0x80) {
        return 1;
    }
    size_t length = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4 || length > n) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    int bad_second = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
                     (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F);
    return bad_second ? 0 : length;
}

static enum err check_utf8(struct reader *r, const uint8_t *p, size_t n)
{
    int line = 1;
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length(p + i, n - i);
        if (length == 0) {
            return bad(r, line, "byte 0x%02X is not UTF-8; save the file as UTF-8", p[i]);
        }
        line += p[i] == '\n';
        i += length;
    }
    return ERR_NONE;
}

/* ---- what libyaml says when it stops -----------------------------------------------------------
 */

static int line_has_tab_indent(const uint8_t *p, size_t n, int line)
{
    int at = 1;
    size_t i = 0;
    while (i < n && at < line) {
        at += p[i++] == '\n';
    }
    while (i < n && (p[i] == ' ' || p[i] == '\t')) {
        if (p[i++] == '\t') {
            return 1;
        }
    }
    return 0;
}

static enum err bad_yaml(struct reader *r, const yaml_parser_t *parser, const uint8_t *p, size_t n)
{
    const char *problem = parser->problem == NULL ? "it cannot be read" : parser->problem;
    int line = (int)parser->problem_mark.line + 1;
    if (parser->error == YAML_READER_ERROR) {
        line = 1;
        for (size_t i = 0; i < n && i < parser->problem_offset; i++) {
            line += p[i] == '\n';
        }
        return bad(r, line, "%s (0x%02X); remove the character", problem,
                   (unsigned)parser->problem_value);
    }
    if (line_has_tab_indent(p, n, line)) {
        return bad(r, line, "a tab at the beginning of the line; YAML is indented with spaces");
    }
    if (parser->context != NULL && (int)parser->context_mark.line + 1 != line) {
        return bad(
            r, line,
            "not YAML: %s, %s that began on line %d; look at indentation, quotes and brackets",
            problem, parser->context, (int)parser->context_mark.line + 1);
    }
    return bad(r, line, "not YAML: %s; look at indentation, quotes and brackets", problem);
}

/* ---- building ----------------------------------------------------------------------------------
 */

static int by_key_then_line(const void *a, const void *b)
{
    const struct node *x = *(struct node *const *)a;
    const struct node *y = *(struct node *const *)b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

static enum err check_unique_keys(struct reader *r, const struct node *map)
{
    if (map->count < 2) {
        return ERR_NONE;
    }
    struct node **sorted = mem_alloc(map->count * sizeof(struct node *));
    size_t n = 0;
    for (struct node *child = map->first; child != NULL; child = child->next) {
        sorted[n++] = child;
    }
    check(n == map->count);
    qsort(sorted, n, sizeof(struct node *), by_key_then_line);
    const struct node *first = NULL; /* the repetition that a reader of the file meets first */
    const struct node *second = NULL;
    for (size_t i = 1; i < n; i++) {
        int same = strcmp(sorted[i - 1]->key, sorted[i]->key) == 0;
        if (same && (second == NULL || sorted[i]->line < second->line)) {
            first = sorted[i - 1];
            second = sorted[i];
        }
    }
    mem_free(sorted);
    if (second != NULL) {
        return bad(r, second->line, "key %s stands here a second time; it is on line %d already",
                   shown(r, second->key), first->line);
    }
    return ERR_NONE;
}

static enum err add_node(struct builder *b, struct node *node)
{
    if (b->depth == 0) {
        b->root = node;
        return ERR_NONE;
    }
    struct node *parent = b->open[b->depth - 1];
    if (parent->kind == NODE_MAP && b->key == NULL) {
        if (node->kind != NODE_TEXT) {
            return bad(b->r, node->line, "a key is a list or a map; keys are plain words");
        }
        b->key = node->text;
        b->key_line = node->line;
        return ERR_NONE;
    }
    if (parent->kind == NODE_MAP) {
        node->key = b->key;
        node->line = b->key_line;
        b->key = NULL;
    }
    node_append(parent, node);
    return ERR_NONE;
}

static enum err open_node(struct builder *b, enum node_kind kind, int line)
{
    struct node *node = arena_zero(&b->r->scratch, sizeof(*node));
    node->kind = kind;
    node->line = line;
    node->text = "";
    if (b->depth == TREE_DEPTH_MAX) {
        return bad(b->r, line, "lists and maps are nested more than %d deep; the settings need 7",
                   TREE_DEPTH_MAX);
    }
    enum err e = add_node(b, node);
    if (e) {
        return e;
    }
    b->open[b->depth++] = node;
    return ERR_NONE;
}

static enum err close_node(struct builder *b)
{
    check(b->depth > 0);
    const struct node *node = b->open[--b->depth];
    return node->kind == NODE_MAP ? check_unique_keys(b->r, node) : ERR_NONE;
}

static enum err add_text(struct builder *b, const yaml_event_t *event, int line)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t n = event->data.scalar.length;
    if (memchr(text, 0, n) != NULL) {
        return bad(b->r, line, "a text holds a zero byte; remove the \\0");
    }
    struct node *node = arena_zero(&b->r->scratch, sizeof(*node));
    node->kind = NODE_TEXT;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->line = line;
    node->text = arena_strndup(&b->r->scratch, text, n);
    return add_node(b, node);
}

/* Anchors and tags of the three events that can carry them. */
static enum err refuse_extras(struct builder *b, const yaml_event_t *event, int line)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (anchor != NULL) {
        return bad(b->r, line, "the anchor &%.60s is not read here; write the value out",
                   (const char *)anchor);
    }
    if (tag != NULL) {
        return bad(b->r, line, "the tag %.60s is not read here; write the value alone",
                   (const char *)tag);
    }
    return ERR_NONE;
}

static enum err take_event(struct builder *b, const yaml_event_t *event)
{
    int line = (int)event->start_mark.line + 1;
    enum err e = refuse_extras(b, event, line);
    if (e) {
        return e;
    }
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->root != NULL) {
            return bad(b->r, line, "a second document begins; one file holds one configuration");
        }
        return ERR_NONE;
    case YAML_ALIAS_EVENT:
        return bad(b->r, line, "the alias *%.60s is not read here; write the value out",
                   (const char *)event->data.alias.anchor);
    case YAML_SCALAR_EVENT: return add_text(b, event, line);
    case YAML_SEQUENCE_START_EVENT: return open_node(b, NODE_LIST, line);
    case YAML_MAPPING_START_EVENT: return open_node(b, NODE_MAP, line);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return close_node(b);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: return ERR_NONE;
    }
    return ERR_NONE;
}

enum err tree_read(struct reader *r, const void *p, size_t n, struct node **out)
{
    if (n > CONF_FILE_BYTES_MAX) {
        return bad(r, 1, "the file is larger than 16 MiB; a configuration is smaller");
    }
    enum err e = check_utf8(r, p, n);
    if (e) {
        return e;
    }
    if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) { /* a byte order mark that editors add */
        p = (const uint8_t *)p + 3;
        n -= 3;
    }
    yaml_parser_t parser;
    check(yaml_parser_initialize(&parser) == 1);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, p, n);
    struct builder b = {.r = r};
    for (int done = 0; e == ERR_NONE && !done;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            e = bad_yaml(r, &parser, p, n);
            break;
        }
        done = event.type == YAML_STREAM_END_EVENT;
        e = take_event(&b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (e) {
        return e;
    }
    if (b.root == NULL || node_is_null(b.root)) {
        return bad(r, 1, "the file is empty; it needs at least servers: and databases:");
    }
    if (b.root->kind != NODE_MAP) {
        return bad(r, b.root->line, "the file is not a map; its lines are \"key: value\"");
    }
    *out = b.root;
    return ERR_NONE;
}
