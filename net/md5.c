/* The md5 password of PostgreSQL; see "MD5 Encrypted Password" in its protocol chapter. */

#include <string.h>

#include <openssl/evp.h>

#include "base/check.h"
#include "net/scram.h"

enum {
    HEX_CHARS = 32
};

static void md5_hex(struct slice a, struct slice b, char out[HEX_CHARS])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct buf text = {0};
    buf_add_slice(&text, a);
    buf_add_slice(&text, b);
    check(EVP_Digest(text.p, text.n, hash, &n, EVP_md5(), NULL) == 1);
    check(n == HEX_CHARS / 2);
    buf_free(&text);
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
}

/* As PostgreSQL's get_password_type(): "md5" and 32 hex digits, in lower case. */
static int is_hashed(const char *secret)
{
    return strncmp(secret, "md5", 3) == 0 && strlen(secret) == 3 + HEX_CHARS &&
           strspn(secret + 3, "0123456789abcdef") == HEX_CHARS;
}

enum secret_kind secret_kind_of(const char *secret)
{
    if (secret == NULL || secret[0] == '\0') {
        return SECRET_NONE;
    }
    if (strncmp(secret, "SCRAM-SHA-256$", 14) == 0) {
        return SECRET_SCRAM;
    }
    return is_hashed(secret) ? SECRET_MD5 : SECRET_PLAIN;
}

void md5_response(const char *user, const char *secret, const uint8_t salt[4], char out[36])
{
    char inner[HEX_CHARS];
    if (is_hashed(secret)) {
        memcpy(inner, secret + 3, HEX_CHARS);
    } else {
        md5_hex(slice_of(secret), slice_of(user), inner);
    }
    memcpy(out, "md5", 3);
    md5_hex(slice_bytes(inner, HEX_CHARS), slice_bytes(salt, 4), out + 3);
    out[3 + HEX_CHARS] = '\0';
}
