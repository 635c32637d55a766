/* Which ends of a stream are for good. See the header. */

#include "replication/cdc/judge.h"

#include <stdio.h>
#include <string.h>

/* Files of the log are gone; the publication is. */
static int is_gone(const struct cdc_failure *f)
{
    return strcmp(f->sqlstate, "58P01") == 0 ||
           (strcmp(f->sqlstate, "42704") == 0 && strstr(f->text, "publication") != NULL);
}

/* Classes of errors that come from what is decoded, not from the state the server is in: internal
 * errors (XX), values that cannot be put into text (22), too much for one message (54). */
static int is_of_content(const struct cdc_failure *f)
{
    if (f->err == ERR_SHARD_PROTOCOL) {
        return 1;
    }
    return f->err == ERR_SHARD_REFUSED &&
           (strncmp(f->sqlstate, "XX", 2) == 0 || strncmp(f->sqlstate, "22", 2) == 0 ||
            strncmp(f->sqlstate, "54", 2) == 0);
}

int cdc_judge(struct cdc_failures *f, const struct cdc_failure *failure)
{
    if (failure->err == ERR_SHARD_REFUSED && is_gone(failure)) {
        return 1;
    }
    if (!is_of_content(failure)) {
        return 0; /* between two of the same: the server was restarted, that changes nothing */
    }
    int same = f->times > 0 && f->_epoch == failure->epoch && f->_lsn == failure->lsn &&
               f->_index == failure->index && strcmp(f->_sqlstate, failure->sqlstate) == 0;
    if (!same) {
        f->times = 0;
        f->_epoch = failure->epoch;
        f->_lsn = failure->lsn;
        f->_index = failure->index;
        (void)snprintf(f->_sqlstate, sizeof(f->_sqlstate), "%s", failure->sqlstate);
    }
    f->times++;
    return f->times >= CDC_SAME_FAILURES;
}
