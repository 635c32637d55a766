/* LevelDB as it comes, with its filter of 10 bits per key. */

#include "bench/store/engine.h"

#include <leveldb/c.h>

#define P(name)     leveldb_##name
#define ENGINE_NAME "leveldb"

static leveldb_options_t *new_options(void)
{
    static leveldb_filterpolicy_t *bloom;
    if (bloom == NULL) {
        bloom = leveldb_filterpolicy_create_bloom(10);
    }
    leveldb_options_t *options = leveldb_options_create();
    leveldb_options_set_create_if_missing(options, 1);
    leveldb_options_set_filter_policy(options, bloom);
    return options;
}

#include "bench/store/sst.h"

const struct engine engine_leveldb = SST_ENGINE;
