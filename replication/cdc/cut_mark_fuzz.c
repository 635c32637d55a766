/* The text of a watermark from hostile bytes: read without a fault, or refused and nothing is left.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "replication/cdc/cut_mark.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cut_mark mark;
    if (cut_mark_read((struct slice){data, n}, &mark, NULL)) {
        check(mark.count == 0 && mark.shards == NULL);
        return 0;
    }
    for (size_t i = 1; i < mark.count; i++) {
        check(mark.shards[i].source > mark.shards[i - 1].source);
    }
    cut_mark_free(&mark);
    return 0;
}
