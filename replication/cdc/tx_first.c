/*
 * The first transaction from which on all are whole, when retention has taken what came before. A
 * table goes by files of its own, mostly sooner than the record of the transaction: of each
 * partition that has lost something the oldest frame says which transaction came then.
 */

#include <string.h>

#include "replication/cdc/tx_reader.h"

enum {
    TOPICS_CHUNK = 32
};

struct looking {
    struct cdc_log *log;
    uint32_t topic;
    uint64_t place;
};

/* Behind all that this partition has lost. */
static enum err see_part(struct looking *l, uint32_t topic, uint16_t partition, struct note *note)
{
    struct cdc_part_view view;
    struct buf bytes = {0};
    struct cdc_frame frame;
    uint64_t place = 0;
    enum err e = cdc_log_part(l->log, topic, partition, &view, note);
    if (e || view.start == 0) {
        return e;
    }
    e = cdc_log_fetch(l->log, topic, partition, view.start, 1, &bytes, note);
    if (e == ERR_NONE && bytes.n > 0) {
        e = cdc_frame_read(buf_slice(&bytes), &frame, note);
        const struct cdc_seek_to to = {.how = CDC_SEEK_BEHIND,
                                       .value = frame.tx.lsn - (frame.tx.lsn > 0),
                                       .source = frame.source,
                                       .epoch = frame.tx.epoch};
        e = e ? e : cdc_log_seek(l->log, l->topic, 0, &to, &place, note);
        place += e == ERR_NONE && !(frame.flags & CDC_FRAME_FIRST);
        l->place = place > l->place ? place : l->place;
    }
    buf_free(&bytes);
    return e == ERR_LOG_GONE ? ERR_NONE : e; /* more went meanwhile: who reads will see it */
}

enum err cdc_tx_first(struct cdc_log *log, uint32_t topic, uint64_t *place, struct note *note)
{
    struct cdc_topic_view list[TOPICS_CHUNK];
    struct cdc_part_view view;
    struct looking l = {.log = log, .topic = topic};
    const char *name = cdc_log_topic_name(log, topic);
    size_t database_bytes = name == NULL ? 0 : strcspn(name, ".") + 1;
    enum err e = cdc_log_part(log, topic, 0, &view, note);
    uint32_t last = 0;
    for (size_t n = 1; e == ERR_NONE && n > 0;) {
        n = cdc_log_topics(log, last, list, TOPICS_CHUNK);
        for (size_t i = 0; e == ERR_NONE && i < n; i++) {
            last = list[i].id;
            int is_of_database = strncmp(list[i].name, name, database_bytes) == 0;
            for (uint16_t p = 0; e == ERR_NONE && is_of_database && p < list[i].partitions; p++) {
                e = list[i].id == topic ? ERR_NONE : see_part(&l, list[i].id, p, note);
            }
        }
    }
    *place = l.place > view.start ? l.place : view.start;
    return e;
}
