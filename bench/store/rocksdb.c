/* RocksDB as it comes, with a filter of 10 bits per key. */

#include "bench/store/engine.h"

#include <rocksdb/c.h>

#define P(name)     rocksdb_##name
#define ENGINE_NAME "rocksdb"

static rocksdb_options_t *new_options(void)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_filter_policy(table,
                                                  rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_block_based_table_factory(options, table);
    return options;
}

#include "bench/store/sst.h"

const struct engine engine_rocksdb = SST_ENGINE;
