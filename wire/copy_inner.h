#ifndef WIRE_COPY_INNER_H
#define WIRE_COPY_INNER_H

/* What the files of copytext.h share. Private to wire/. */

#include "wire/copytext.h"

/* Remember a failure and return -1. */
int copy_fail(struct copy_split *s, struct note *note, enum err e, const char *what);
int copy_next_binary(struct copy_split *s, struct copy_row *out, struct note *note);
enum err copy_fields_binary(const struct copy_row *row, const uint16_t *wanted, size_t count,
                            struct copy_field *out, struct note *note);

#endif
