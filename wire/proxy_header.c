/*
 * Reading PROXY protocol headers. Nothing is guessed: what is not exactly a header is refused,
 * because the bytes behind it would be taken for the client's.
 */

#include "wire/proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/crc32c.h"

enum {
    V2_FIXED = 16,
    V2_LOCAL = 0x20, /* version 2, command LOCAL */
    V2_PROXY = 0x21,
    V2_STREAM_IPV4 = 0x11,
    V2_STREAM_IPV6 = 0x21,
    V2_STREAM_UNIX = 0x31,
    V2_UNSPEC = 0x00,
    IPV4_BYTES = 12,
    IPV6_BYTES = 36,
    UNIX_BYTES = 216,
    TLV_CRC32C = 0x03
};

static const uint8_t v2_signature[12] = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                         0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};
static const char v1_signature[6] = {'P', 'R', 'O', 'X', 'Y', ' '};

static int refuse(struct note *note, const char *why)
{
    (void)note_set(note, ERR_PROTOCOL, "PROXY protocol header: %s", why);
    return -1;
}

/* ---- version 1 ------------------------------------------------------------------------------- */

/* The next word of the line, which ends at a blank or at the end. 0: there is none. */
static int next_word(struct slice *line, char *out, size_t size)
{
    size_t n = 0;
    while (n < line->n && line->p[n] != ' ') {
        n++;
    }
    if (n == 0 || n >= size || memchr(line->p, '\0', n) != NULL) {
        return 0;
    }
    memcpy(out, line->p, n);
    out[n] = '\0';
    *line = slice_from(*line, n == line->n ? n : n + 1);
    return 1;
}

static int read_port(struct slice *line, uint16_t *out)
{
    char word[8];
    if (!next_word(line, word, sizeof(word))) {
        return 0;
    }
    uint32_t port = 0;
    for (const char *p = word; *p != '\0'; p++) {
        if (*p < '0' || *p > '9') {
            return 0;
        }
        port = port * 10 + (uint32_t)(*p - '0');
    }
    *out = (uint16_t)port;
    return port <= 65535 && (word[0] != '0' || word[1] == '\0');
}

static int read_ip(struct slice *line, int family, uint8_t out[16])
{
    char word[INET6_ADDRSTRLEN];
    return next_word(line, word, sizeof(word)) && inet_pton(family, word, out) == 1;
}

static int read_v1_line(struct slice line, struct proxy_header *out, struct note *note)
{
    char word[8];
    line = slice_from(line, sizeof(v1_signature));
    if (!next_word(&line, word, sizeof(word))) {
        return refuse(note, "no protocol after PROXY");
    }
    if (strcmp(word, "UNKNOWN") == 0) {
        return 1; /* the rest of the line means nothing */
    }
    int six = strcmp(word, "TCP6") == 0;
    if (!six && strcmp(word, "TCP4") != 0) {
        return refuse(note, "the protocol is none of TCP4, TCP6 and UNKNOWN");
    }
    int family = six ? AF_INET6 : AF_INET;
    if (!read_ip(&line, family, out->source) || !read_ip(&line, family, out->target)) {
        return refuse(note, "an address is not of the announced kind");
    }
    if (!read_port(&line, &out->source_port) || !read_port(&line, &out->target_port) ||
        line.n != 0) {
        return refuse(note, "two ports in 0..65535 have to end the line");
    }
    out->family = six ? PROXY_IPV6 : PROXY_IPV4;
    return 1;
}

static int read_v1(struct slice in, size_t *total, struct proxy_header *out, struct note *note)
{
    size_t most = in.n < PROXY_HEADER_V1_MAX ? in.n : PROXY_HEADER_V1_MAX;
    const uint8_t *end = memchr(in.p, '\n', most);
    if (end == NULL) {
        *total = in.n + 1;
        return in.n < PROXY_HEADER_V1_MAX ? 0 : refuse(note, "the line is longer than 107 bytes");
    }
    size_t n = (size_t)(end - in.p);
    if (n <= sizeof(v1_signature) || in.p[n - 1] != '\r') {
        return refuse(note, "the line does not end with CR LF");
    }
    *total = n + 1;
    return read_v1_line(slice_bytes(in.p, n - 1), out, note);
}

/* ---- version 2 ------------------------------------------------------------------------------- */

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* Over the whole header with the four bytes of the checksum itself as 0. */
static int right_checksum(struct slice header, size_t at)
{
    static const uint8_t zero[4];
    uint32_t crc = crc32c(0, header.p, at);
    crc = crc32c(crc, zero, sizeof(zero));
    crc = crc32c(crc, header.p + at + 4, header.n - at - 4);
    const uint8_t *p = header.p + at;
    return crc == ((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]);
}

/* Unknown TLVs are passed over; one that would reach past the end makes the header a broken one. */
static int check_tlvs(struct slice header, size_t at, struct note *note)
{
    while (at < header.n) {
        if (header.n - at < 3 || header.n - at - 3 < be16(header.p + at + 1)) {
            return refuse(note, "a TLV reaches past the end");
        }
        size_t n = be16(header.p + at + 1);
        if (header.p[at] == TLV_CRC32C && (n != 4 || !right_checksum(header, at + 3))) {
            return refuse(note, "the checksum is wrong");
        }
        at += 3 + n;
    }
    return 1;
}

static size_t address_bytes(uint8_t family)
{
    switch (family) {
    case V2_STREAM_IPV4: return IPV4_BYTES;
    case V2_STREAM_IPV6: return IPV6_BYTES;
    case V2_STREAM_UNIX: return UNIX_BYTES;
    default: return 0;
    }
}

static void take_addresses(const uint8_t *p, size_t ip_bytes, struct proxy_header *out)
{
    memcpy(out->source, p, ip_bytes);
    memcpy(out->target, p + ip_bytes, ip_bytes);
    out->source_port = be16(p + 2 * ip_bytes);
    out->target_port = be16(p + 2 * ip_bytes + 2);
}

static int read_v2_body(struct slice header, struct proxy_header *out, struct note *note)
{
    uint8_t command = header.p[12];
    uint8_t family = header.p[13];
    size_t need = address_bytes(family);
    if (command == V2_LOCAL) {
        return 1; /* whatever family says: to be skipped */
    }
    if (need == 0 && family != V2_UNSPEC) {
        return refuse(note, "the family is no stream of IPv4, IPv6 or unix sockets");
    }
    if (header.n - V2_FIXED < need) {
        return refuse(note, "it is too short for its addresses");
    }
    if (family == V2_UNSPEC) {
        return 1;
    }
    if (family == V2_STREAM_IPV4) {
        take_addresses(header.p + V2_FIXED, 4, out);
        out->family = PROXY_IPV4;
    } else if (family == V2_STREAM_IPV6) {
        take_addresses(header.p + V2_FIXED, 16, out);
        out->family = PROXY_IPV6;
    }
    return check_tlvs(header, V2_FIXED + need, note);
}

static int read_v2(struct slice in, size_t *total, struct proxy_header *out, struct note *note)
{
    if (in.n < V2_FIXED) {
        *total = V2_FIXED;
        return 0;
    }
    if (in.p[12] != V2_LOCAL && in.p[12] != V2_PROXY) {
        return refuse(note, "neither LOCAL nor PROXY of version 2");
    }
    *total = V2_FIXED + (size_t)be16(in.p + 14);
    if (*total > PROXY_HEADER_V2_MAX) {
        return refuse(note, "longer than 4096 bytes");
    }
    return in.n < *total ? 0 : read_v2_body(slice_bytes(in.p, *total), out, note);
}

/* ---- both ------------------------------------------------------------------------------------ */

static int begins(struct slice in, const void *signature, size_t n)
{
    return memcmp(in.p, signature, in.n < n ? in.n : n) == 0;
}

int proxy_header_read(struct slice in, size_t *total, struct proxy_header *out, struct note *note)
{
    *out = (struct proxy_header){.family = PROXY_NONE};
    *total = in.n + 1;
    if (in.n == 0) {
        return 0;
    }
    if (begins(in, v2_signature, sizeof(v2_signature))) {
        return read_v2(in, total, out, note);
    }
    if (begins(in, v1_signature, sizeof(v1_signature))) {
        return read_v1(in, total, out, note);
    }
    return refuse(note, "there is none");
}
