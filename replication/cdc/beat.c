#include "replication/cdc/beat.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"

struct cdc_beat {
    pthread_mutex_t mutex;
    int64_t number; /* the newest that was begun */
    unsigned busy;  /* sources that are at it */
    char id[20];
};

static void renew(struct cdc_beat *beat)
{
    uint64_t id;
    rng_secure(&id, sizeof(id));
    (void)snprintf(beat->id, sizeof(beat->id), "%016" PRIx64, id);
}

struct cdc_beat *cdc_beat_new(void)
{
    struct cdc_beat *beat = mem_zero(sizeof(*beat));
    (void)pthread_mutex_init(&beat->mutex, NULL);
    renew(beat);
    return beat;
}

void cdc_beat_free(struct cdc_beat *beat)
{
    if (beat != NULL) {
        (void)pthread_mutex_destroy(&beat->mutex);
        mem_free(beat);
    }
}

int cdc_beat_enter(struct cdc_beat *beat, int64_t number, char content[CDC_BEAT_TEXT])
{
    if (beat == NULL) {
        (void)snprintf(content, CDC_BEAT_TEXT, "%" PRId64, number);
        return 1;
    }
    (void)pthread_mutex_lock(&beat->mutex);
    int may = number == beat->number || (number > beat->number && beat->busy == 0);
    if (may) {
        beat->number = number;
        beat->busy++;
        (void)snprintf(content, CDC_BEAT_TEXT, "%" PRId64 " %s", number, beat->id);
    }
    (void)pthread_mutex_unlock(&beat->mutex);
    return may;
}

void cdc_beat_leave(struct cdc_beat *beat, int is_answered)
{
    if (beat == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&beat->mutex);
    check(beat->busy > 0);
    beat->busy--;
    if (!is_answered) {
        renew(beat);
    }
    (void)pthread_mutex_unlock(&beat->mutex);
}

int cdc_beat_is_ours(struct cdc_beat *beat, struct slice *content)
{
    if (beat == NULL) {
        return 1;
    }
    (void)pthread_mutex_lock(&beat->mutex);
    size_t id = strlen(beat->id);
    int is = content->n > id + 1 && content->p[content->n - id - 1] == ' ' &&
             memcmp(content->p + content->n - id, beat->id, id) == 0;
    (void)pthread_mutex_unlock(&beat->mutex);
    content->n -= is ? id + 1 : 0;
    return is;
}
