#ifndef STORE_FILE_SIM_H
#define STORE_FILE_SIM_H

/*
 * A disk in memory that fails on purpose, driven by a seed: for tests and simulations.
 *
 * What it models. Writes go to a cache; sync moves a file's bytes and size to the platter, sync_dir
 * moves names. When the power goes off each 512-byte sector that was written but not synced is
 * kept, lost or torn (kept up to some byte), each on its own; unsynced renames, creations and
 * removals are kept in order up to some point, or each on its own. A failed sync forgets what it
 * was to write: the cache still shows it, but it will never reach the platter by itself (Linux does
 * this). A killed process loses nothing but its handles and locks. Folders themselves are always
 * kept.
 *
 * Faults strike at a chosen mutating operation (write, sync, sync_dir, create, rename, unlink),
 * counted from 1. One thread at a time per disk (a wal with a disk thread of its own is fine as
 * long as the test does not touch the disk meanwhile).
 */

#include "store/file.h"

struct sim_disk;

enum sim_fault {
    SIM_POWER_OFF, /* the operation may half happen; every later call fails until sim_restart() */
    SIM_EIO,       /* this operation fails; a write may half happen */
    SIM_ENOSPC     /* as EIO, but only for writes that make a file longer; waits for one */
};

/* Not a fault but a lie, for as long as it is set: success is said and nothing is done. Tests that
 * should find a forgotten sync show that they can. */
enum sim_lie {
    SIM_HONEST,
    SIM_LIE_SYNC,          /* of any file */
    SIM_LIE_SYNC_NEW_FILE, /* of a file whose name is not durable yet: the sync before a rename */
    SIM_LIE_SYNC_DIR
};

struct sim_disk *sim_disk_new(uint64_t seed);
void sim_disk_free(struct sim_disk *disk);
struct fs *sim_disk_fs(struct sim_disk *disk);

/* Let the n-th mutating operation from now (1 = the next) fail. One fault at a time; n 0 = none. */
void sim_disk_fault(struct sim_disk *disk, enum sim_fault fault, uint64_t n);
void sim_disk_lie(struct sim_disk *disk, enum sim_lie lie);
uint64_t sim_disk_ops(const struct sim_disk *disk); /* mutating operations so far */
void sim_disk_unplug(struct sim_disk *disk); /* from now on every call fails, as after power off */
int sim_disk_is_off(const struct sim_disk *disk);
int sim_disk_has_failed(const struct sim_disk *disk); /* a fault struck since the last restart */

/* The process is gone: handles and locks with it. power_off: unsynced state is lost as above. */
void sim_disk_restart(struct sim_disk *disk, int power_off);

/* fn for each file there is, by its path and size. */
typedef void sim_file_fn(void *arg, const char *path, size_t bytes);
void sim_disk_each(struct sim_disk *disk, sim_file_fn *fn, void *arg);

/* Flip one bit of a file, cache and platter. Returns 0 when there is no such file or byte. */
int sim_disk_flip(struct sim_disk *disk, const char *path, uint64_t byte, unsigned bit);
/* The cached bytes of a file, or NULL; valid until the next call. */
const uint8_t *sim_disk_bytes(struct sim_disk *disk, const char *path, size_t *n);

#endif
