#ifndef PROXY_COLUMNS_ASK_H
#define PROXY_COLUMNS_ASK_H

/*
 * What RowDescription does not tell of the columns of a source of rows: asked of a server by a
 * SELECT over the source that reads no row of it, one row of answers per column, in order.
 */

#include "wire/wire.h"

enum column_answer {
    COLUMN_TYPE,           /* with its modifiers, as a table's column is declared */
    COLUMN_NAMED,          /* schema.type, quoted; a domain is itself */
    COLUMN_IS_DOMAIN,      /* t or f, as all that ask whether */
    COLUMN_BASE,           /* schema.type of what RowDescription shows */
    COLUMN_ARRAY_OID,      /* of arrays of the base type; 0: there are none */
    COLUMN_COLLATION,      /* quoted; NULL: the type has none */
    COLUMN_IS_PSEUDO,      /* no table can have it */
    COLUMN_AS_TEXT,        /* arrays of it cannot be sent in binary to other servers */
    COLUMN_COPIES_AS_TEXT, /* nor can COPY bring it there in binary */
    COLUMN_BY_SETTINGS,    /* its text depends on settings */
    COLUMN_ANSWERS
};

/* `columns`: of the source's RowDescription. */
void columns_put_question(struct slice source, struct back_walk columns, struct buf *sql);
/* Of a DataRow; 0: that is no row of answers. */
int columns_read_answers(struct slice body, struct slice out[COLUMN_ANSWERS]);

#endif
