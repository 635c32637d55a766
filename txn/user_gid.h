#ifndef TXN_USER_GID_H
#define TXN_USER_GID_H

/*
 * Names of what PREPARE TRANSACTION 'name' of a client prepares on several shards.
 *
 *     home        name                                                    as the client wrote it
 *     the others  pgbraid_user_<system>_<transaction>_<parts>_<number>:name
 *                              |        |             |       +-- of this one, from 0
 *                              |        |             +---------- how many there are
 *                              |        +-- id of home's transaction, with its epoch, decimal
 *                              +----------- home's system identifier, hex
 *
 * Home is prepared last and committed first, so its commit log has the decision: whoever finds one
 * of these names asks home what became of that transaction: in progress (also: prepared) leave it
 * alone, committed or aborted do the same here. It needs no other memory, and any pgbraid can do
 * it. gid_parse() takes none of them for a name of txn/gid.h, so recovery never rolls one back.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define USER_GID_PREFIX "pgbraid_user_"

enum {
    USER_GID_BYTES_MAX = 200, /* with the 0 byte: PostgreSQL's GIDSIZE */
    USER_GID_NAME_MAX = 125   /* bytes of a client's name */
};

struct user_gid {
    uint64_t system, transaction;
    unsigned parts, number;
    struct slice name; /* of parsed ones: in the text */
};

void user_gid_make(char out[USER_GID_BYTES_MAX], const struct user_gid *gid);
/* 1 when it is exactly what user_gid_make() would have written. */
int user_gid_parse(struct slice text, struct user_gid *out);

#endif
