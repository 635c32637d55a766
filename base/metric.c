/* Names and help of the counters, from metric.def. */

#include "base/metric.h"

#include "base/check.h"

static const struct {
    const char *name;
    const char *unit;
    const char *help;
} rows[] = {
#define METRIC(name_, unit_, text_) [METRIC_##name_] = {#name_, unit_, text_},
#include "base/metric.def"
};

static_assert(sizeof(rows) / sizeof(rows[0]) == METRIC_COUNT, "one row per counter");

const char *metric_name(enum metric m)
{
    check(m < METRIC_COUNT);
    return rows[m].name;
}

const char *metric_unit(enum metric m)
{
    check(m < METRIC_COUNT);
    return rows[m].unit;
}

const char *metric_help(enum metric m)
{
    check(m < METRIC_COUNT);
    return rows[m].help;
}
