/*
 * The words of a refusal: one line, "FILE:LINE: what is wrong; what would be right". Texts of the
 * file are shown in quotes and tamed, so that a line stays a line whatever the file holds.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf/reader.h"

enum {
    SHOWN_BYTES_MAX = 60,
    PATH_BYTES_MAX = 160, /* leaves room for the words in a struct note */
    WORD_BYTES_MAX = 64,
    LISTED_WORDS_MAX = 24
};

/* "FILE:LINE: " of a line, also of an included file. */
static void write_place(const struct reader *r, int line, char *out, size_t size)
{
    const char *file = r->file;
    const struct place *place = r->file == r->places_of ? r->places : NULL;
    while (place != NULL && place->line > line) {
        place = place->before;
    }
    if (place != NULL) {
        file = place->file;
        line = place->file_line + (line - place->line);
    }
    size_t n = strlen(file);
    const char *dots = n > PATH_BYTES_MAX ? "..." : "";
    const char *tail = n > PATH_BYTES_MAX ? file + (n - PATH_BYTES_MAX) : file;
    (void)snprintf(out, size, "%s%s:%d: ", dots, tail, line);
}

enum err bad(struct reader *r, int line, const char *fmt, ...)
{
    char words[512];
    char place[PATH_BYTES_MAX + 32];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(words, sizeof(words), fmt, args);
    va_end(args);
    write_place(r, line, place, sizeof(place));
    return note_set(r->note, ERR_BAD_SETTING, "%s%s", place, words);
}

void conf_warn(struct reader *r, int line, const char *fmt, ...)
{
    char words[512];
    char place[PATH_BYTES_MAX + 32];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(words, sizeof(words), fmt, args);
    va_end(args);
    write_place(r, line, place, sizeof(place));
    struct conf_warning *warning = arena_zero(r->keep, sizeof(*warning));
    warning->text = arena_printf(r->keep, "%s%s", place, words);
    struct conf_warning **at = &r->conf->warnings;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = warning;
}

const char *shown(struct reader *r, const char *text)
{
    size_t n = strlen(text);
    int cut = n > SHOWN_BYTES_MAX;
    if (cut) {
        n = SHOWN_BYTES_MAX;
        while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) {
            n--; /* not in the middle of a character */
        }
    }
    char *out = arena_alloc(&r->scratch, n + 6);
    char *p = out;
    *p++ = '"';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        *p++ = text[i];
        if (c < 0x20 || c == 0x7F) {
            p[-1] = '?';
        }
    }
    memcpy(p, cut ? "...\"" : "\"", cut ? 5 : 2);
    return out;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
static size_t edit_distance(const char *a, size_t a_n, const char *b, size_t b_n)
{
    size_t rows[3][WORD_BYTES_MAX + 1];
    size_t *before = rows[0];
    size_t *last = rows[1];
    size_t *now = rows[2];
    for (size_t j = 0; j <= b_n; j++) {
        last[j] = j;
    }
    for (size_t i = 1; i <= a_n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b_n; j++) {
            size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
            int swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < now[j]) {
                now[j] = before[j - 2] + 1;
            }
        }
        size_t *reuse = before;
        before = last;
        last = now;
        now = reuse;
    }
    return last[b_n];
}

const char *nearest_word(const char *word, const char *const *known, size_t count)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    size_t n = strlen(word);
    if (n > WORD_BYTES_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        size_t known_n = strlen(known[i]);
        if (known_n > WORD_BYTES_MAX) {
            continue;
        }
        size_t distance = edit_distance(word, n, known[i], known_n);
        /* Up to a third of the letters wrong is a slip; more is another word. */
        if (distance < best_distance && distance * 3 <= known_n + 2) {
            best = known[i];
            best_distance = distance;
        }
    }
    return best;
}

enum err bad_key(struct reader *r, const struct node *node, const char *where,
                 const char *const *known, size_t count)
{
    const char *prefix = where[0] == '\0' ? "" : ": ";
    const char *best = nearest_word(node->key, known, count);
    if (best != NULL) {
        return bad(r, node->line, "%s%sunknown key %s; did you mean \"%s\"?", where, prefix,
                   shown(r, node->key), best);
    }
    struct buf list = {0};
    for (size_t i = 0; i < count && i < LISTED_WORDS_MAX; i++) {
        buf_printf(&list, "%s%s", i == 0 ? "" : ", ", known[i]);
    }
    buf_u8(&list, 0);
    enum err e = bad(r, node->line, "%s%sunknown key %s; known here: %s", where, prefix,
                     shown(r, node->key), (const char *)list.p);
    buf_free(&list);
    return e;
}
