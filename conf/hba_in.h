#ifndef CONF_HBA_IN_H
#define CONF_HBA_IN_H

/* Inside of the rules and maps files: their words, and what both share. */

#include "conf/hba.h"
#include "conf/reader.h"

/* A word of a line; `quoted` when it begins with a quote: then it is a name, whatever it says. */
struct hba_word {
    const char *text;
    int quoted;
};

/* Words with commas between them. */
struct hba_field {
    struct hba_word *words;
    size_t count;
};

struct hba_line {
    struct hba_field *fields;
    size_t count; /* at least 1 */
    int number;
};

/*
 * Call `fn` for each line that has words; words live in `r->scratch`.
 *   files  whether "@name" may be read: it names a file beside `r->file` with words of a list
 */
typedef enum err hba_line_fn(struct reader *r, const struct hba_line *line, void *arg);
enum err hba_lines(struct reader *r, const void *p, size_t n, int files, hba_line_fn *fn,
                   void *arg) MUST_CHECK;

int hba_word_is(const struct hba_word *w, const char *keyword); /* a quoted one is none */

/* `text` behind its slash becomes a regular expression that conf_unref() frees. What POSIX and
 * PostgreSQL read differently is refused. */
enum err regex_read(struct reader *r, int line, const char *text,
                    const struct conf_regex **out) MUST_CHECK;
/* `first` and `first_bytes`: where the first parenthesis matched, NULL when there is none; may be
 * NULL. */
int regex_matches(const struct conf_regex *regex, const char *text, const char **first,
                  size_t *first_bytes);
void regexes_free(struct conf *conf);

/* Fill conf->hba, conf->ident. `r->file` is the file. */
enum err hba_read(struct reader *r, const void *p, size_t n, int files) MUST_CHECK;
enum err ident_read(struct reader *r, const void *p, size_t n) MUST_CHECK;
int ident_has_map(const struct conf_ident *ident, const char *map);

#endif
