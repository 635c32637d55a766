/* Frames, records and items of units from hostile bytes: read without a fault, or refused; what is
 * read as a frame is written again as the same bytes. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "replication/cdc/log_format.h"

enum {
    COLUMNS = 3
};

static void read_records(struct slice in)
{
    struct cdc_record record;
    while (in.n > 0 && cdc_record_next(&in, &record, NULL) == ERR_NONE) {
        struct change_column old[COLUMNS], new_[COLUMNS];
        struct change change = {0};
        (void)!cdc_record_read(&record, COLUMNS, old, new_, &change, NULL);
    }
}

static void read_frame(struct slice in)
{
    struct cdc_frame frame;
    if (cdc_frame_read(in, &frame, NULL)) {
        return;
    }
    check(frame.bytes <= in.n);
    struct buf again = {0};
    cdc_frame_open(&again, &frame);
    buf_add_slice(&again, frame.records);
    cdc_frame_close(&again, 0, &frame);
    check(again.n == frame.bytes);
    read_records(frame.records);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice in = {data, n};
    read_frame(in);
    if (n >= CDC_FRAME_HEAD) { /* the same with a length and a checksum that are right */
        uint8_t *copy = mem_dup(data, n);
        uint32_t bytes = (uint32_t)n;
        for (int i = 0; i < 4; i++) {
            copy[4 + i] = (uint8_t)(bytes >> (24 - 8 * i));
        }
        uint32_t crc = crc32c(0, copy + 4, n - 4);
        for (int i = 0; i < 4; i++) {
            copy[i] = (uint8_t)(crc >> (24 - 8 * i));
        }
        read_frame(slice_bytes(copy, n));
        mem_free(copy);
    }
    read_records(in);
    for (size_t bytes = cdc_item_bytes(in); bytes > 0; bytes = cdc_item_bytes(in)) {
        struct cdc_item item;
        (void)!cdc_item_read(in, &item, NULL);
        in = slice_from(in, bytes);
    }
    return 0;
}
