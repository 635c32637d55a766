#ifndef WIRE_NUMERIC_INNER_H
#define WIRE_NUMERIC_INNER_H

/* What numeric.c and numeric_div.c share. Private to wire/. */

#include "wire/numeric.h"

enum {
    NUMERIC_BASE = 10000
};

static inline uint16_t *numeric_digits(struct numeric *n)
{
    return n->_more != NULL ? n->_more : n->_few;
}

static inline const uint16_t *numeric_digits_of(const struct numeric *n)
{
    return n->_more != NULL ? n->_more : n->_few;
}

/* Room for `count` digits; the n->count digits there are kept. Returns where they are now. */
uint16_t *numeric_room(struct numeric *n, size_t count, struct arena *arena);
void numeric_set_zero(struct numeric *n); /* 0 with dscale 0 */
/* Normalise; ERR_NUMERIC_RANGE (and zero) when too large. */
enum err numeric_settle(struct numeric *n, struct note *note);
/* Round half away from zero to dscale places; not normalised. Digits reach one place further. */
void numeric_round(struct numeric *n, struct arena *arena);

#endif
