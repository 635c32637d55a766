#ifndef NET_BASE64_H
#define NET_BASE64_H

/* Base64 of RFC 4648 with padding; decoding is strict: no white space, no stray bits. */

#include <sys/types.h>

#include "base/buf.h"

void base64_add(struct buf *out, const void *p, size_t n);
/* Bytes written to `out`, or -1 when `text` is not base64 or holds more than `max` bytes. */
ssize_t base64_decode(struct slice text, uint8_t *out, size_t max);

#endif
