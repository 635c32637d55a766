/*
 * The log's sparse index: where in each 64 KiB of a segment the first record begins. An lsn is a
 * place already, but not every place is a record's; from a mark on, records are walked. Filled by
 * whoever has the turn, asked by readers, hence a mutex of its own; it is taken once per 64 KiB
 * written.
 */

#include "base/check.h"
#include "base/mem.h"
#include "store/wal_impl.h"

enum {
    MARK_BYTES = 64 << 10
};

static size_t slots(const struct wal_marks *m)
{
    return (m->segment_bytes + MARK_BYTES - 1) / MARK_BYTES;
}

void wal_marks_init(struct wal_marks *m)
{
    *m = (struct wal_marks){0};
    (void)pthread_mutex_init(&m->mutex, NULL);
}

void wal_marks_free(struct wal_marks *m)
{
    (void)pthread_mutex_destroy(&m->mutex);
    mem_free(m->p);
}

/* Room for the segments up to `number`. Mutex held. */
static void reach(struct wal_marks *m, uint64_t number)
{
    size_t count = (size_t)(number - m->first) + 1;
    if (count <= m->count) {
        return;
    }
    if (count > m->cap) {
        m->cap = count < 8 ? 8 : count * 2;
        m->p = mem_grow(m->p, m->cap * slots(m) * sizeof(*m->p));
    }
    memset(m->p + m->count * slots(m), 0, (count - m->count) * slots(m) * sizeof(*m->p));
    m->count = count;
}

void wal_marks_add(struct wal_marks *m, const struct wal_segment *segment, uint32_t at)
{
    uint64_t slot = segment->number * (segment->bytes / 4096) + at / MARK_BYTES;
    if (m->count > 0 && m->last_slot == slot) {
        return;
    }
    m->last_slot = slot;
    (void)pthread_mutex_lock(&m->mutex);
    if (m->count == 0) {
        m->segment_bytes = segment->bytes;
        m->first = segment->number;
    }
    reach(m, segment->number);
    uint32_t *mark = &m->p[(segment->number - m->first) * slots(m) + at / MARK_BYTES];
    *mark = *mark == 0 ? at : *mark;
    (void)pthread_mutex_unlock(&m->mutex);
}

void wal_marks_drop_before(struct wal_marks *m, uint64_t number)
{
    (void)pthread_mutex_lock(&m->mutex);
    if (m->count > 0 && number > m->first) {
        size_t gone = number - m->first < m->count ? (size_t)(number - m->first) : m->count;
        memmove(m->p, m->p + gone * slots(m), (m->count - gone) * slots(m) * sizeof(*m->p));
        m->count -= gone;
        m->first = number;
    }
    (void)pthread_mutex_unlock(&m->mutex);
}

uint32_t wal_marks_find(struct wal_marks *m, uint64_t number, uint32_t at)
{
    uint32_t best = WAL_SEGMENT_HEADER;
    (void)pthread_mutex_lock(&m->mutex);
    if (m->count > 0 && number >= m->first && number - m->first < m->count) {
        const uint32_t *marks = m->p + (number - m->first) * slots(m);
        size_t slot = at / MARK_BYTES < slots(m) ? at / MARK_BYTES : slots(m) - 1;
        for (size_t i = 0; i <= slot; i++) {
            best = marks[i] > best && marks[i] <= at ? marks[i] : best;
        }
    }
    (void)pthread_mutex_unlock(&m->mutex);
    return best;
}
