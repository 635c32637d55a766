/* Reading a catalog: the home shard's tables and functions, every shard's types of users. */

#include "proxy/control/catalog_job.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proxy/control/role.h"

enum {
    TYPES_WAIT_MS = 3000 /* for a shard that is asked for its types */
};

static enum err take_row(void *arg, size_t query, const struct slice *values, size_t count,
                         struct note *note)
{
    struct catalog_job *job = arg;
    job->rows++;
    for (size_t i = 0; i < 2; i++) {
        uint64_t h = hash_u64(query, job->digest[i]);
        for (size_t v = 0; v < count; v++) {
            uint64_t length = values[v].p == NULL ? UINT64_MAX : values[v].n;
            h = hash_bytes(values[v].p, values[v].n, hash_u64(length, h));
        }
        job->digest[i] = h;
    }
    return catalog_build_row(job->build, query, values, count, note);
}

static const char *types_query(size_t index)
{
    (void)index;
    return typelist_query;
}

static enum err take_type(void *arg, size_t query, const struct slice *values, size_t count,
                          struct note *note)
{
    (void)query;
    return typelist_row(arg, values, count, note);
}

/* A shard that cannot be asked just now keeps the list that is known of it. */
static void read_types(struct catalog_job *job)
{
    for (size_t i = 0; i < job->wdb->conf->shards_count; i++) {
        struct typelist *list = typelist_new();
        struct catalog_source source = {
            .queries_count = 1, .query = types_query, .row = take_type, .arg = list};
        struct pg_target target;
        struct note note, install_note;
        control_db_target(job->world, job->wdb, i, &target);
        target.timeout_ms = target.timeout_ms < TYPES_WAIT_MS ? target.timeout_ms : TYPES_WAIT_MS;
        struct buf ids = {0};
        if (job->install && i > 0) { /* the home shard has it */
            catalog_ids_print(job->wdb->conf, i, &ids);
            catalog_unique_print(&ids);
            buf_u8(&ids, 0);
        }
        if (atomic_load(&role_server(job->wdb, i)->healthy) &&
            catalog_load(&target, (const char *)ids.p, &source, &job->job.control->stop,
                         &install_note, &note) == ERR_NONE) {
            job->types[i] = list;
            if (install_note.text[0] != '\0' && job->install_note.text[0] == '\0') {
                job->install_note = install_note;
            }
        } else {
            typelist_unref(list);
            job->install_missed = 1;
        }
        buf_free(&ids);
    }
}

void catalog_job_work(struct job *base)
{
    struct catalog_job *job = (struct catalog_job *)(void *)base;
    int64_t start_us = clock_now_us();
    struct pg_target home;
    control_db_target(job->world, job->wdb, 0, &home);
    job->build = catalog_build_new();
    struct catalog_source source = {.queries_count = catalog_queries_count,
                                    .query = catalog_query,
                                    .row = take_row,
                                    .arg = job};
    struct buf install = {0};
    catalog_install_print(job->wdb->conf, &install);
    job->err = catalog_load(&home, job->install ? (const char *)install.p : NULL, &source,
                            &base->control->stop, &job->install_note, &job->note);
    buf_free(&install);
    if (job->err == ERR_NONE && job->wdb->conf->shards_count > 1) {
        read_types(job);
    }
    job->took_us = clock_now_us() - start_us;
}

void catalog_job_free(struct catalog_job *job)
{
    if (job->build != NULL) {
        catalog_build_drop(job->build);
    }
    for (size_t i = 0; i < SHARDS_MAX; i++) {
        typelist_unref(job->types[i]);
    }
    world_unref(job->world);
    mem_free(job);
}
