/*
 * PROXY protocol headers, as HAProxy's specification writes them. Method: bytes spelled here; each
 * good header is also given byte by byte, which must ask for more until it is whole.
 */

#include <arpa/inet.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/crc32c.h"
#include "wire/proxy_header.h"

static struct proxy_header header;
static struct note note;
static size_t total;

static int read_bytes(const void *p, size_t n)
{
    return proxy_header_read(slice_bytes(p, n), &total, &header, &note);
}

static int read_text(const char *text)
{
    return read_bytes(text, strlen(text));
}

static void expect_source(int family, const char *ip, uint16_t port)
{
    char text[INET6_ADDRSTRLEN];
    cr_expect_str_eq(inet_ntop(family, header.source, text, sizeof(text)), ip);
    cr_expect_eq(header.source_port, port);
}

static void expect_refused(const char *text, const char *words)
{
    cr_expect_eq(read_text(text), -1, "%s", text);
    cr_expect(strstr(note.text, words) != NULL, "no '%s' in '%s'", words, note.text);
}

/* Every shorter piece asks for more than it has. */
static void expect_patience(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cr_expect_eq(read_bytes(p, i), 0, "%zu bytes", i);
        cr_expect_gt(total, i);
    }
}

Test(proxy_header, version_1_names_both_ends)
{
    static const char four[] = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 6432\r\n";
    static const char six[] = "PROXY TCP6 2001:db8::1 ::1 1 65535\r\nrest";
    expect_patience(four, sizeof(four) - 1);
    cr_assert_eq(read_text(four), 1, "%s", note.text);
    cr_expect_eq(total, sizeof(four) - 1);
    cr_expect_eq(header.family, PROXY_IPV4);
    expect_source(AF_INET, "192.0.2.1", 56324);
    cr_expect_eq(header.target_port, 6432);
    cr_expect_eq(memcmp(header.target, "\xC6\x33\x64\x02", 4), 0);
    cr_assert_eq(read_text(six), 1, "%s", note.text);
    cr_expect_eq(total, sizeof(six) - 5);
    cr_expect_eq(header.family, PROXY_IPV6);
    expect_source(AF_INET6, "2001:db8::1", 1);
}

Test(proxy_header, version_1_unknown_keeps_the_addresses)
{
    cr_expect_eq(read_text("PROXY UNKNOWN\r\n"), 1);
    cr_expect_eq(header.family, PROXY_NONE);
    cr_expect_eq(read_text("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), 1);
    cr_expect_eq(header.family, PROXY_NONE);
}

Test(proxy_header, what_is_not_exactly_version_1_is_refused)
{
    char longest[PROXY_HEADER_V1_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "PROXY UNKNOWN ", 14);
    memcpy(longest + PROXY_HEADER_V1_MAX - 2, "\r\n", 3);
    cr_expect_eq(read_text(longest), 1);
    memcpy(longest + PROXY_HEADER_V1_MAX - 2, "x\r\n", 4);
    expect_refused(longest, "longer than 107");
    expect_refused("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "CR LF");
    expect_refused("PROXY \n", "CR LF");
    expect_refused("PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "no protocol");
    expect_refused("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", "none of TCP4");
    expect_refused("PROXY TCP4 1.2.3.4 ::1 1 2\r\n", "announced kind");
    expect_refused("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", "announced kind");
    expect_refused("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", "0..65535");
    expect_refused("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "0..65535");
    expect_refused("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", "0..65535");
    expect_refused("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", "0..65535");
    expect_refused("PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", "0..65535");
    expect_refused("PROXZ", "there is none");
    expect_refused("GET / HTTP/1.0\r\n", "there is none");
}

/* ---- version 2 ------------------------------------------------------------------------------- */

static uint8_t bytes[PROXY_HEADER_V2_MAX + 16];

static size_t v2(uint8_t command, uint8_t family, const void *body, size_t n)
{
    memcpy(bytes, "\r\n\r\n\0\r\nQUIT\n", 12);
    bytes[12] = command;
    bytes[13] = family;
    bytes[14] = (uint8_t)(n >> 8);
    bytes[15] = (uint8_t)n;
    memcpy(bytes + 16, body, n);
    return 16 + n;
}

static const char four_body[] = "\xC0\x00\x02\x01\xC6\x33\x64\x02\xDC\x04\x19\x20";

Test(proxy_header, version_2_names_both_ends)
{
    size_t n = v2(0x21, 0x11, four_body, 12);
    expect_patience(bytes, n);
    cr_assert_eq(read_bytes(bytes, n), 1, "%s", note.text);
    cr_expect_eq(total, n);
    expect_source(AF_INET, "192.0.2.1", 56324);
    cr_expect_eq(header.target_port, 6432);
    uint8_t six[36] = {0x20, 0x01, 0x0D, 0xB8};
    six[15] = 1;
    six[33] = 7;
    n = v2(0x21, 0x21, six, sizeof(six));
    cr_assert_eq(read_bytes(bytes, n), 1, "%s", note.text);
    cr_expect_eq(header.family, PROXY_IPV6);
    expect_source(AF_INET6, "2001:db8::1", 7);
}

Test(proxy_header, version_2_local_unspec_and_unix_keep_the_addresses)
{
    uint8_t paths[216] = {'/'};
    cr_expect_eq(read_bytes(bytes, v2(0x20, 0x11, four_body, 12)), 1);
    cr_expect_eq(header.family, PROXY_NONE);
    cr_expect_eq(read_bytes(bytes, v2(0x20, 0xFF, "", 0)), 1, "LOCAL skips whatever stands there");
    cr_expect_eq(read_bytes(bytes, v2(0x21, 0x00, "abc", 3)), 1);
    cr_expect_eq(header.family, PROXY_NONE);
    cr_expect_eq(read_bytes(bytes, v2(0x21, 0x31, paths, sizeof(paths))), 1);
    cr_expect_eq(header.family, PROXY_NONE);
}

Test(proxy_header, unknown_tlvs_are_passed_over_and_broken_ones_are_not)
{
    uint8_t body[64];
    memcpy(body, four_body, 12);
    memcpy(body + 12,
           "\xE0\x00\x03"
           "abc"
           "\x04\x00\x00",
           9);
    cr_expect_eq(read_bytes(bytes, v2(0x21, 0x11, body, 21)), 1, "%s", note.text);
    cr_expect_eq(read_bytes(bytes, v2(0x21, 0x11, body, 20)), -1);
    cr_expect_eq(read_bytes(bytes, v2(0x21, 0x11, body, 17)), -1);
    cr_expect(strstr(note.text, "past the end") != NULL);
}

Test(proxy_header, a_checksum_must_be_right)
{
    uint8_t body[19];
    memcpy(body, four_body, 12);
    memcpy(body + 12, "\x03\x00\x04\x00\x00\x00\x00", 7);
    size_t n = v2(0x21, 0x11, body, sizeof(body));
    uint32_t crc = crc32c(0, bytes, n);
    for (int i = 0; i < 4; i++) {
        bytes[n - 1 - (size_t)i] = (uint8_t)(crc >> (8 * i));
    }
    cr_expect_eq(read_bytes(bytes, n), 1, "%s", note.text);
    bytes[16] ^= 1;
    cr_expect_eq(read_bytes(bytes, n), -1);
    cr_expect(strstr(note.text, "checksum") != NULL);
}

Test(proxy_header, what_is_not_exactly_version_2_is_refused)
{
    static const uint8_t zeros[5000];
    cr_expect_eq(read_bytes(bytes, v2(0x11, 0x11, four_body, 12)), -1, "version 1 in binary");
    cr_expect_eq(read_bytes(bytes, v2(0x22, 0x11, four_body, 12)), -1, "no such command");
    cr_expect_eq(read_bytes(bytes, v2(0x21, 0x12, four_body, 12)), -1, "a datagram");
    cr_expect_eq(read_bytes(bytes, v2(0x21, 0x11, four_body, 11)), -1, "too short");
    cr_expect_eq(read_bytes(bytes, v2(0x21, 0x11, zeros, 4095)), 1, "TLVs of nothing");
    bytes[14] = 0x10;
    bytes[15] = 0x01;
    cr_expect_eq(read_bytes(bytes, 16), -1, "too long, known before its bytes have come");
    bytes[3] = 'x';
    cr_expect_eq(read_bytes(bytes, 16), -1);
}
