/* Names of parts of clients' prepared transactions, written and read back. */

#include "txn/user_gid.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

static_assert(sizeof(USER_GID_PREFIX) + 16 + 1 + 20 + 1 + 2 + 1 + 2 + 1 + USER_GID_NAME_MAX <=
                  USER_GID_BYTES_MAX,
              "always fits");

void user_gid_make(char out[USER_GID_BYTES_MAX], const struct user_gid *gid)
{
    check(gid->name.n <= USER_GID_NAME_MAX);
    check(gid->parts <= 64 && gid->number < gid->parts);
    int n = snprintf(out, USER_GID_BYTES_MAX,
                     USER_GID_PREFIX "%016" PRIx64 "_%" PRIu64 "_%u_%u:" SLICE_FMT, gid->system,
                     gid->transaction, gid->parts, gid->number, SLICE_ARG(gid->name));
    check(n > 0 && n < USER_GID_BYTES_MAX);
}

int user_gid_parse(struct slice text, struct user_gid *out)
{
    char copy[USER_GID_BYTES_MAX];
    char again[USER_GID_BYTES_MAX];
    struct user_gid gid = {0};
    int at = 0;
    if (text.n == 0 || text.n >= sizeof(copy) || memchr(text.p, 0, text.n) != NULL) {
        return 0;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (sscanf(copy, USER_GID_PREFIX "%16" SCNx64 "_%20" SCNu64 "_%2u_%2u:%n", &gid.system,
               &gid.transaction, &gid.parts, &gid.number, &at) != 4 ||
        at == 0 || gid.parts > 64 || gid.number >= gid.parts) {
        return 0;
    }
    gid.name = slice_from(text, (size_t)at);
    if (gid.name.n > USER_GID_NAME_MAX) {
        return 0;
    }
    user_gid_make(again, &gid); /* other spellings are not ours */
    if (!slice_is(text, again)) {
        return 0;
    }
    *out = gid;
    return 1;
}
