#ifndef PROXY_COPY_SINK_H
#define PROXY_COPY_SINK_H

/*
 * Rows on their way to the client become the data of a COPY TO. Owner: the operation whose rows
 * they are. Rows are asked for in copy_sink_format(), appended to the client's queue as DataRow
 * messages, and turned there.
 */

#include "planner/planner.h"

struct copy_sink;
struct copy_sink *copy_sink_new(const struct plan_copy_out *plan);
void copy_sink_free(struct copy_sink *k); /* NULL is fine */
int16_t copy_sink_format(const struct copy_sink *k);
/* `described`: body of the rows' RowDescription. Errors: ERR_NO_COLUMN. */
enum err copy_sink_begin(struct copy_sink *k, struct arena *arena, struct slice described,
                         struct buf *out, struct note *note) MUST_CHECK;
enum err copy_sink_rows(struct copy_sink *k, struct buf *out, size_t from,
                        struct note *note) MUST_CHECK;
void copy_sink_end(struct copy_sink *k, struct buf *out, char tag[64]);

#endif
