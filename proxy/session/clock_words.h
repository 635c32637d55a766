#ifndef PROXY_CLOCK_WORDS_H
#define PROXY_CLOCK_WORDS_H

#include "base/slice.h"

/*
 * Literals like 'now' and 'today' become a date or a time while PostgreSQL parses the statement, so
 * what is prepared keeps the day of its Parse. Whether the text may hold one: the words count
 * wherever they stand by themselves (but now(), which is a function), so some texts without are
 * found, too, and none with is missed.
 */
int text_reads_clock(struct slice text);

#endif
