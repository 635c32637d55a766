/* Names of prepared transactions, written and read back. */

#include "txn/gid.h"

#include <string.h>

#include "base/check.h"
#include "base/digits.h"
#include "txn/twopc.h"

static_assert(sizeof("pgbraid_") + 16 + 1 + 16 + 1 + 16 + 1 + 2 + 1 + 8 <= GID_BYTES_MAX,
              "always fits");

/* By hand: two for each shard of each commit. */
void gid_make(char out[GID_BYTES_MAX], struct gid gid)
{
    static const char prefix[] = "pgbraid_";
    check(gid.shard < TXN_SHARDS_MAX);
    memcpy(out, prefix, sizeof(prefix) - 1);
    char *at = digits_put_hex(out + sizeof(prefix) - 1, gid.instance, 16);
    *at++ = '_';
    at = digits_put_hex(at, gid.txn.start, 1);
    *at++ = '_';
    at = digits_put_hex(at, gid.txn.seq, 1);
    *at++ = '_';
    if (gid.shard >= 10) {
        *at++ = (char)('0' + gid.shard / 10);
    }
    *at++ = (char)('0' + gid.shard % 10);
    if (gid.place != 0) {
        *at++ = '_';
        at = digits_put_hex(at, gid.place, 8);
    }
    *at = '\0';
    check(at < out + GID_BYTES_MAX);
}

/* Take 1 to 16 digits and the separator behind them, if `end` is one. 1 when they were there. */
static int take_number(struct slice *text, unsigned base, int end, uint64_t *out)
{
    uint64_t v = 0;
    size_t n = 0;
    for (; n < text->n && n <= 16; n++) {
        uint8_t c = text->p[n];
        unsigned digit = 99;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (unsigned)(c - 'a') + 10;
        }
        if (digit >= base) {
            break;
        }
        v = v * base + digit;
    }
    if (n == 0 || n > 16 || (end != 0 && (n == text->n || text->p[n] != end)) ||
        (end == 0 && n != text->n)) {
        return 0;
    }
    *text = slice_from(*text, n + (end != 0));
    *out = v;
    return 1;
}

int gid_parse(struct slice text, struct gid *out)
{
    static const char prefix[] = "pgbraid_";
    size_t n = sizeof(prefix) - 1;
    if (text.n <= n || text.n >= GID_BYTES_MAX || memcmp(text.p, prefix, n) != 0) {
        return 0;
    }
    struct slice rest = slice_from(text, n);
    struct gid gid = {0};
    uint64_t shard = 0;
    uint64_t place = 0;
    size_t bars = 0;
    for (size_t i = 0; i < rest.n; i++) {
        bars += rest.p[i] == '_';
    }
    if (!take_number(&rest, 16, '_', &gid.instance) ||
        !take_number(&rest, 16, '_', &gid.txn.start) ||
        !take_number(&rest, 16, '_', &gid.txn.seq) ||
        !take_number(&rest, 10, bars == 4 ? '_' : 0, &shard) ||
        (bars == 4 && !take_number(&rest, 16, 0, &place)) || place > UINT32_MAX ||
        shard >= TXN_SHARDS_MAX || gid.txn.start == 0 || gid.txn.seq == 0) {
        return 0;
    }
    gid.shard = (unsigned)shard;
    gid.place = (uint32_t)place;
    char again[GID_BYTES_MAX]; /* other spellings (leading zeros) are not ours */
    gid_make(again, gid);
    if (!slice_is(text, again)) {
        return 0;
    }
    *out = gid;
    return 1;
}
