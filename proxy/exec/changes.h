#ifndef PROXY_CHANGES_H
#define PROXY_CHANGES_H

/*
 * Schema changes that go shard by shard (CREATE INDEX CONCURRENTLY, VACUUM, ...): how far they are,
 * for SHOW SCHEMA_CHANGES. Those that did not end well stay on the list until newer ones need their
 * place. Any thread.
 */

#include <pthread.h>
#include <stdint.h>

enum {
    CHANGES_KEPT = 64,
    CHANGE_TEXT_BYTES = 256
};

enum change_state {
    CHANGE_NONE, /* a free place */
    CHANGE_RUNNING,
    CHANGE_UNDOING,
    CHANGE_UNDONE, /* failed; no shard has anything of it */
    CHANGE_FAILED, /* failed; `done` shards have it */
    CHANGE_DONE
};

struct schema_change {
    uint64_t id;
    enum change_state state;
    char database[64];
    char statement[CHANGE_TEXT_BYTES];
    uint64_t shards, done; /* where it is to be, and is */
    uint32_t shard;        /* where it is now, or failed */
    int64_t began_wall_us, changed_us;
    char error[CHANGE_TEXT_BYTES];
};

struct changes {
    pthread_mutex_t lock;
    uint64_t last_id;
    struct schema_change all[CHANGES_KEPT];
};

/* Returns its id. */
uint64_t change_begin(struct changes *c, const char *database, const char *statement,
                      uint64_t shards);
/* It is on this shard now, and done on those; `error` NULL: as it was. */
void change_set(struct changes *c, uint64_t id, enum change_state state, uint32_t shard,
                uint64_t done, const char *error);
/* Copies those in use, oldest first; returns how many. `out` has CHANGES_KEPT entries. */
int changes_list(struct changes *c, struct schema_change *out);
const char *change_state_name(enum change_state state);

#endif
