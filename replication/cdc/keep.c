/* Alarm and end of a slot by what it keeps: see keep.h. */

#include "replication/cdc/keep.h"

static int is_alarm(const struct cdc_keep_look *look)
{
    if (look->unreserved || (look->max > 0 && look->retained > look->max)) {
        return 1;
    }
    return look->safe >= 0 && look->retained / 3 >= (uint64_t)look->safe;
}

/* So many looks in a row that found too much, and not less than before. */
static unsigned count_over(struct cdc_keeping *k, const struct cdc_keep_look *look)
{
    if (look->limit == 0 || look->retained <= look->limit) {
        return 0;
    }
    if (k->_over == 0 || look->retained < k->_least) {
        k->_least = look->retained;
        return 1;
    }
    return k->_over + 1;
}

enum cdc_keep cdc_keep_judge(struct cdc_keeping *k, const struct cdc_keep_look *look)
{
    int was = k->alarm;
    k->alarm = is_alarm(look);
    k->_over = count_over(k, look);
    if (k->_over >= CDC_OVER_LOOKS) {
        *k = (struct cdc_keeping){0};
        return CDC_KEEP_GIVE_UP;
    }
    if (k->alarm == was) {
        return CDC_KEEP_SAME;
    }
    return k->alarm ? CDC_KEEP_ALARM : CDC_KEEP_RELIEF;
}
