#include "replication/cdc/cut_scan.h"

enum {
    FETCH_BYTES = 64 << 10
};

void cut_scan_to(struct cut_scan *scan, uint64_t offset)
{
    scan->next = offset;
    scan->_frames.n = 0;
    scan->_left = scan->_records = (struct slice){0};
    scan->frame = (struct cdc_frame){0};
}

void cut_scan_free(struct cut_scan *scan)
{
    buf_free(&scan->_frames);
}

static enum err fetch(struct cdc_log *log, struct cut_scan *scan, struct note *note)
{
    scan->_frames.n = 0;
    enum err e = cdc_log_fetch(log, scan->topic, 0, scan->next, FETCH_BYTES, &scan->_frames, note);
    scan->_left = buf_slice(&scan->_frames);
    return e;
}

/* The next record of the frame that was not given yet. */
static enum err step(struct cut_scan *scan, uint64_t until, int *found, struct note *note)
{
    while (scan->_records.n > 0) {
        struct slice before = scan->_records;
        enum err e = cdc_record_next(&scan->_records, &scan->record, note);
        scan->offset = scan->frame.offset + scan->record.delta;
        if (e) {
            return e;
        }
        if (scan->offset >= until) {
            scan->_records = before;
            return ERR_NONE;
        }
        if (scan->offset >= scan->next) {
            scan->next = scan->offset + 1;
            *found = 1;
            return ERR_NONE;
        }
    }
    return ERR_NONE;
}

enum err cut_scan_next(struct cdc_log *log, struct cut_scan *scan, int source, uint64_t until,
                       int *found, struct note *note)
{
    *found = 0;
    while (!*found && scan->next < until) {
        enum err e = step(scan, until, found, note);
        if (e || *found || scan->_records.n > 0) {
            return e;
        }
        uint64_t end = scan->frame.offset + scan->frame.span;
        if (scan->frame.bytes > 0 && end > scan->next) {
            scan->next = end; /* its last places are empty */
            continue;
        }
        if (scan->_left.n == 0) {
            e = fetch(log, scan, note);
            if (e || scan->_left.n == 0) {
                return e;
            }
        }
        e = cdc_frame_read(scan->_left, &scan->frame, note);
        if (e) {
            return e;
        }
        scan->_left = slice_from(scan->_left, scan->frame.bytes);
        scan->_records = scan->frame.records;
        if (source >= 0 && scan->frame.source != source) {
            scan->_records = (struct slice){0};
        }
    }
    return ERR_NONE;
}
