#ifndef REPLICATION_CDC_CUT_IMPL_H
#define REPLICATION_CDC_CUT_IMPL_H

/*
 * Inside the cuts; only cut*.c include this.
 *
 *     cut.c          from watermark to watermark, and where to begin
 *     cut_window.c   what lies between two watermarks
 *     cut_close.c    the cut at one: until nothing is cut in two
 *     cut_scan.c     records of one topic, one after the other
 *     cut_mark.c     the text of a watermark
 */

#include "base/hmap.h"
#include "replication/cdc/cut.h"
#include "replication/cdc/cut_mark.h"
#include "replication/cdc/cut_scan.h"

struct cut_piece {
    uint16_t source;
    uint8_t is_open; /* prepared and not decided, at the horizon */
    uint32_t epoch;
    uint64_t lsn;         /* of the commit; 0: open */
    uint64_t prepare_lsn; /* 0: not known */
    uint64_t place;
    uint64_t window;
};

struct cut_global {
    struct hnode node;
    struct cut_piece *pieces;
    uint32_t count, cap;
    uint8_t gid_bytes;
    char gid[];
};

/* The transactions of one shard, as far as they were read. */
struct cut_stream {
    uint16_t source;
    struct cut_scan scan;
};

struct cdc_cuts {
    struct cdc_log *log;
    uint32_t transactions; /* topics */
    struct cut_scan marks;
    struct cut_mark older, mark, horizon;
    int has_older, has_mark, has_horizon; /* horizon: its window is read */
    int older_is_coarse, is_coarse;       /* its window had too much */
    int is_whole; /* everything was read from the log's beginning on, or from one where ... */
    struct cut_mark second; /* ... what was prepared behind this one is known */
    int wants_second;
    struct cut_stream *streams;
    size_t streams_count;
    struct hmap globals;
    uint64_t window; /* number of the newest */
    uint64_t wanted; /* cuts of lower watermarks are left out */
    size_t pieces;   /* in it */
    struct cdc_cut_shard *places;
    struct cdc_cut_ahead *ahead;
    size_t ahead_count, ahead_cap;
    char waits[300];
};
/* ---- cut_window.c ---------------------------------------------------------------------------- */

/* The next watermark of a scan; *found 0: there is none yet. */
enum err cut_read_mark(struct cdc_cuts *c, struct cut_scan *scan, struct cut_mark *out, int *found,
                       struct note *note) MUST_CHECK;
/* What lies before the horizon and was not read yet. */
enum err cut_read_window(struct cdc_cuts *c, struct note *note) MUST_CHECK;
struct cut_stream *cut_need_stream(struct cdc_cuts *c, uint16_t source, uint64_t place);
enum err cut_piece_of(const struct cut_scan *scan, struct cut_piece *out,
                      struct note *note) MUST_CHECK;
/* Before the horizon becomes the mark: what no later cut asks for goes. */
void cut_drop_older(struct cdc_cuts *c);
void cut_drop_all(struct cdc_cuts *c);

/* ---- cut_close.c ----------------------------------------------------------------------------- */

const struct cut_mark_shard *cut_shard_in(const struct cut_mark *mark, uint16_t source);
int cut_is_before(const struct cdc_cut_shard *at, uint32_t epoch, uint64_t lsn);
/* Everything is read. *is_cut 1: a cut, in `places` and `ahead`; 0: this watermark gives none; -1:
 * not yet; `waits` says why. */
enum err cut_close(struct cdc_cuts *c, int *is_cut, struct note *note) MUST_CHECK;

#endif
