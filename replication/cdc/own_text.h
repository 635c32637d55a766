#ifndef REPLICATION_CDC_OWN_TEXT_H
#define REPLICATION_CDC_OWN_TEXT_H

/*
 * Reading text that the change log wrote itself (log_apply.c): members in their order, no blanks.
 * Any thread, each with its own.
 */

#include <stdint.h>

#include "base/slice.h"

/* What is left; once something is not as it must be, `bad` stays. */
struct own_text {
    struct slice left;
    int bad;
};

int own_text_looks_at(const struct own_text *r, const char *word);
/* Go behind the word; 0: it is not there. */
int own_text_take(struct own_text *r, const char *word);
void own_text_need(struct own_text *r, const char *word);
uint64_t own_text_number(struct own_text *r, uint64_t max);
/* One byte of a string, escapes undone; -1: none. */
int own_text_char(struct own_text *r);

#endif
