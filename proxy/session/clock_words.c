/* Words in the text of a statement that PostgreSQL reads from the clock. */

#include "proxy/session/clock_words.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static int is_word_byte(uint8_t c)
{
    return isalnum(c) || c == '_' || c >= 0x80;
}

/* "now (" is a call of the function. */
static int is_call(struct slice rest)
{
    size_t i = 0;
    while (i < rest.n && isspace(rest.p[i])) {
        i++;
    }
    return i < rest.n && rest.p[i] == '(';
}

static int is_clock_word(struct slice word, struct slice rest)
{
    static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i]) == word.n &&
            strncasecmp((const char *)word.p, words[i], word.n) == 0) {
            return i != 0 || !is_call(rest);
        }
    }
    return 0;
}

/* E'\156ow' and U&'\006eow' hide words: such literals with a backslash are taken for one. */
static int hides_words(struct slice text)
{
    if (text.n == 0 || memchr(text.p, '\\', text.n) == NULL) {
        return 0;
    }
    for (size_t i = 1; i < text.n; i++) {
        uint8_t before = text.p[i - 1];
        if (text.p[i] == '\'' && (before == 'E' || before == 'e' || before == '&')) {
            return 1;
        }
    }
    return 0;
}

int text_reads_clock(struct slice text)
{
    size_t i = 0;
    while (i < text.n) {
        size_t begin = i;
        while (i < text.n && is_word_byte(text.p[i])) {
            i++;
        }
        if (i > begin &&
            is_clock_word(slice_bytes(text.p + begin, i - begin), slice_from(text, i))) {
            return 1;
        }
        i += i == begin;
    }
    return hides_words(text);
}
