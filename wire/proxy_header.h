#ifndef WIRE_PROXY_HEADER_H
#define WIRE_PROXY_HEADER_H

/*
 * The PROXY protocol, versions 1 and 2: a header in front of a connection's own bytes, by which a
 * proxy says whom it connected for. Bytes in, addresses out; any thread, allocates nothing.
 * Source: the PROXY protocol specification of HAProxy (doc/proxy-protocol.txt).
 *
 *     v1   "PROXY TCP4 192.0.2.1 192.0.2.2 56324 6432\r\n"             at most 107 bytes
 *     v2   12 bytes of signature | version, command | family | length | addresses | TLVs
 */

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum {
    PROXY_HEADER_V1_MAX = 107,
    PROXY_HEADER_V2_MAX = 16 + 4096 /* ours: addresses and TLVs; certificates stand in TLVs */
};

enum proxy_family {
    PROXY_NONE, /* LOCAL, UNKNOWN, unix sockets: the connection's own addresses hold */
    PROXY_IPV4,
    PROXY_IPV6
};

struct proxy_header {
    enum proxy_family family;
    uint8_t source[16], target[16]; /* network byte order; 4 bytes of IPv4 */
    uint16_t source_port, target_port;
};

/*
 * Look at the first bytes of a connection.
 *   total   1: bytes of the whole header; 0: bytes that must be there before the next look
 * Returns 1 when the header is whole, 0 when more bytes are needed, -1 when this is none or a
 * broken one: the note says what is wrong.
 */
int proxy_header_read(struct slice in, size_t *total, struct proxy_header *out, struct note *note);

#endif
