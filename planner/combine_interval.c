/*
 * Intervals: months, days and microseconds, each added up by itself. Text of an interval depends
 * on the session's IntervalStyle, so only the binary format is known here.
 *
 * Source: PostgreSQL src/backend/utils/adt/timestamp.c, interval_pl(), interval_div(),
 * interval_cmp_value().
 */

#include <math.h>

#include "planner/combine_inner.h"

enum {
    INTERVAL_BYTES = 16,
    DAYS_A_MONTH = 30,
    SECONDS_A_DAY = 86400
};

enum err combine_interval_read(struct slice in, struct combine_interval *out, struct note *note)
{
    if (in.n != INTERVAL_BYTES) {
        return note_set(note, ERR_SHARD_PROTOCOL, "an interval has the wrong size");
    }
    out->micros = (int64_t)be64_at(in.p);
    out->days = (int32_t)be32_at(in.p + 8);
    out->months = (int32_t)be32_at(in.p + 12);
    return ERR_NONE;
}

enum err combine_interval_add(struct combine_interval *sum, const struct combine_interval *v,
                              struct note *note)
{
    if (__builtin_add_overflow(sum->months, v->months, &sum->months) ||
        __builtin_add_overflow(sum->days, v->days, &sum->days) ||
        __builtin_add_overflow(sum->micros, v->micros, &sum->micros)) {
        return note_set(note, ERR_DATETIME_RANGE, "interval out of range");
    }
    return ERR_NONE;
}

/* To microseconds, as the server takes the rounding errors of floats out. */
static double round_micros(double seconds)
{
    return rint(seconds * 1000000.0) / 1000000.0;
}

void combine_interval_divide(struct combine_interval *v, int64_t count)
{
    double by = (double)count;
    int32_t months = v->months, days = v->days;
    v->months = (int32_t)((double)months / by);
    v->days = (int32_t)((double)days / by);
    /* what is left of the months is days of thirty, what is left of the days is seconds */
    double rest_days =
        round_micros(((double)months / by - (double)v->months) * (double)DAYS_A_MONTH);
    double seconds =
        ((double)days / by - (double)v->days + rest_days - (double)(int32_t)rest_days) *
        (double)SECONDS_A_DAY;
    seconds = round_micros(seconds);
    if (fabs(seconds) >= (double)SECONDS_A_DAY) {
        int32_t more = (int32_t)(seconds / (double)SECONDS_A_DAY);
        v->days += more;
        seconds -= (double)more * (double)SECONDS_A_DAY;
    }
    v->days += (int32_t)rest_days;
    v->micros = (int64_t)rint((double)v->micros / by + seconds * 1000000.0);
}

__int128 combine_interval_span(const struct combine_interval *v)
{
    int64_t days = (int64_t)v->days + (int64_t)v->months * DAYS_A_MONTH;
    return (__int128)days * SECONDS_A_DAY * 1000000 + v->micros;
}

int combine_interval_compare(const struct combine_interval *a, const struct combine_interval *b)
{
    __int128 x = combine_interval_span(a), y = combine_interval_span(b);
    return (x > y) - (x < y);
}

void combine_interval_put(const struct combine_interval *v, struct buf *out)
{
    buf_be64(out, (uint64_t)v->micros);
    buf_be32(out, (uint32_t)v->days);
    buf_be32(out, (uint32_t)v->months);
}
