#ifndef REPLICATION_CDC_BEAT_H
#define REPLICATION_CDC_BEAT_H

/*
 * The beat of the watermarks of a database: its sources emit number n, each on its own shard, and
 * nobody begins with n + 1 before whoever began with n is through. So between two numbers there is
 * a moment when all shards had the one and none had the other, however slow a server was: what the
 * cuts (cut.h) stand on.
 *
 *     content of the message:  NUMBER ID
 *
 * The id makes that those of another process, or of anybody else who emits messages with our
 * prefix, do not count. It becomes another one when a server has not answered, because nobody knows
 * when such a message will come. Any thread. NULL as `beat` is fine everywhere: no order, no id.
 */

#include <stdint.h>

#include "base/slice.h"

enum {
    CDC_BEAT_TEXT = 64
};

struct cdc_beat;

struct cdc_beat *cdc_beat_new(void);
void cdc_beat_free(struct cdc_beat *beat);

/* May this number be emitted now? 1: `content`, then cdc_beat_leave() when the server has answered,
 * or will not. 0: another shard is still at the one before; or at a later one already. */
int cdc_beat_enter(struct cdc_beat *beat, int64_t number, char content[CDC_BEAT_TEXT]);
void cdc_beat_leave(struct cdc_beat *beat, int is_answered);
/* 1: and *content is the number alone now. */
int cdc_beat_is_ours(struct cdc_beat *beat, struct slice *content);

#endif
