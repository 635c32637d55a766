#ifndef PROXY_CATALOG_JOB_H
#define PROXY_CATALOG_JOB_H

/*
 * The job that reads a database's catalog from its home shard, and the users' types of every shard.
 * control_db.c starts it and puts what it read in force.
 */

#include "planner/typemap.h"
#include "proxy/control/control.h"

/* Owner: the job's thread while it works, else the control thread. Fields from `build` on are the
 * result. */
struct catalog_job {
    struct job job; /* first */
    struct control_db *db;
    struct world *world; /* keeps every borrowed text alive */
    const struct world_db *wdb;
    uint64_t layout;
    uint64_t version;
    int install;        /* make schema braid first */
    int install_missed; /* a shard could not be asked; it is when its types are */
    struct catalog_build *build;
    struct typelist *types[SHARDS_MAX]; /* NULL: that shard could not be read */
    uint64_t digest[2];
    uint64_t rows;
    int64_t took_us;
    enum err err;
    struct note install_note, note;
};

void catalog_job_work(struct job *base); /* on the job's thread */
/* With what it still holds: what is taken into use is set to NULL before. */
void catalog_job_free(struct catalog_job *job);

#endif
