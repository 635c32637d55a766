#ifndef CONF_INI_H
#define CONF_INI_H

/*
 * The ini language of PgBouncer's configuration file:
 *
 *     ; a comment, # too, at the beginning of a line only
 *     [section]
 *     key = value to the end of the line, blanks around it do not count
 *     "a ""quoted"" key" = value
 *     %include other/file.ini
 *
 * and of the connection strings in its values: key=value pairs between blanks, a value in single
 * quotes may hold blanks, '' is one quote.
 *
 * Pure: bytes in, entries out; included files are asked for through the reader's `load`. Owner:
 * everything lives in the reader's scratch arena. One thread.
 */

#include "base/buf.h"
#include "conf/reader.h"

enum {
    INI_INCLUDES_MAX = 10,   /* files within files */
    INI_FILES_MAX = 1000,    /* in one load */
    INI_ENTRIES_MAX = 100000 /* lines that say something, over all files */
};

/* One line "key = value". `section` is compared as text; `line` is for bad(). */
struct ini_entry {
    const char *section;
    const char *key;
    const char *value;
    int line;
    struct ini_entry *next; /* in the order of the files */
};

struct ini {
    struct ini_entry *first;
    struct ini_entry *last;
    size_t count;
};

/* Errors: ERR_BAD_SETTING, "FILE:LINE: ..." with the file and line where it stands, also inside of
 * included files. */
enum err ini_read(struct reader *r, const void *p, size_t n, struct ini *out) MUST_CHECK;

/* One pair of a connection string. */
struct ini_pair {
    const char *key;
    const char *value;
};
/*
 * The next pair at *at, which moves behind it. *more is 0 at the end, `out` is untouched then.
 *   what    how messages call the line: "databases.app"
 */
enum err ini_pair(struct reader *r, int line, const char *what, const char **at,
                  struct ini_pair *out, int *more) MUST_CHECK;

#endif
