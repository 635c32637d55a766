/*
 * Goal: whoever looks at a log without opening it is told what an open would say, and is not told
 * of damage where its owner is only writing. Method: a small log on the real disk, whose segments
 * are damaged one at a time; reads that come too early, by a layer of files in between.
 */

#include <stdio.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "store/dir_testing.h"
#include "store/wal.h"
#include "store/wal_look.h"

enum {
    SEGMENT_BYTES = 4096,
    RECORDS = 12, /* three to a segment */
    SEGMENTS = 4,
    BODY_BYTES = 1000
};

static char dir[TEST_DIR_BYTES];
static char log_dir[TEST_DIR_BYTES + 8];
static struct fs fs;
static unsigned reads_to_tear;
static uint64_t refused; /* number of a segment that cannot be opened */

static enum err count_one(void *arg, const struct wal_record *record, struct note *note)
{
    (void)record;
    (void)note;
    ++*(size_t *)arg;
    return ERR_NONE;
}

static struct wal *open_log(enum err wanted, struct note *note)
{
    size_t seen = 0;
    struct wal *wal = NULL;
    struct wal_options options = {.fs = fs_disk(),
                                  .dir = log_dir,
                                  .segment_bytes = SEGMENT_BYTES,
                                  .manual = 1,
                                  .replay = count_one,
                                  .replay_arg = &seen};
    cr_assert_eq(wal_open(&options, &wal, note), wanted, "%s", note->text);
    return wal;
}

static void fill(struct wal *wal)
{
    static const uint8_t body[BODY_BYTES];
    for (int i = 0; i < RECORDS; i++) {
        cr_assert_eq(wal_append_sync(wal, 1, slice_bytes(body, sizeof(body)), NULL), ERR_NONE);
    }
    wal_close(wal);
}

static void start(void)
{
    struct note note = {0};
    test_dir_make(dir, "look");
    (void)snprintf(log_dir, sizeof(log_dir), "%s/wal", dir);
    fill(open_log(ERR_NONE, &note));
    fs = *fs_disk();
}

static void end(void)
{
    test_dir_remove(dir);
}

static void path_of(char out[TEST_PATH_BYTES], uint64_t number)
{
    (void)snprintf(out, TEST_PATH_BYTES, "%s/wal-%016llx", log_dir, (unsigned long long)number);
}

static enum err look(size_t *seen, struct note *note)
{
    *seen = 0;
    return wal_look(&fs, log_dir, count_one, seen, note);
}

static void expect_refused(uint64_t number, const char *what)
{
    char path[TEST_PATH_BYTES];
    struct note looked = {0};
    struct note opened = {0};
    size_t seen = 0;
    path_of(path, number);
    (void)open_log(ERR_CORRUPT, &opened);
    cr_assert_eq(look(&seen, &looked), ERR_CORRUPT, "segment %d, %s", (int)number, what);
    cr_assert_not_null(strstr(looked.text, path), "%s", looked.text);
    cr_assert_eq(seen, (number - 1) * (RECORDS / SEGMENTS), "%s: those before it are shown", what);
}

/* The segments one after another: each gets other bytes, then its own again. */
static void change(uint64_t number, const char *what, long bytes)
{
    static uint8_t own[SEGMENT_BYTES];
    char path[TEST_PATH_BYTES];
    path_of(path, number);
    FILE *file = fopen(path, "r+b");
    cr_assert_not_null(file);
    cr_assert_eq(fread(own, 1, sizeof(own), file), sizeof(own));
    cr_assert_eq(ftruncate(fileno(file), bytes), 0);
    expect_refused(number, what);
    cr_assert_eq(ftruncate(fileno(file), 0), 0);
    rewind(file);
    cr_assert_eq(fwrite(own, 1, sizeof(own), file), sizeof(own));
    cr_assert_eq(fclose(file), 0);
}

Test(wal_look, a_segment_of_a_wrong_length_is_refused_as_an_open_does, .init = start, .fini = end)
{
    struct note note = {0};
    size_t seen = 0;
    for (uint64_t number = 1; number <= SEGMENTS; number++) {
        change(number, "empty", 0);
        change(number, "cut in its header", 40);
        change(number, "cut", SEGMENT_BYTES / 2);
        change(number, "longer", SEGMENT_BYTES + 100);
    }
    cr_assert_eq(look(&seen, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(seen, RECORDS);
}

Test(wal_look, a_segment_of_another_place_or_another_log_is_refused, .init = start, .fini = end)
{
    char first[TEST_PATH_BYTES];
    char second[TEST_PATH_BYTES];
    char kept[TEST_PATH_BYTES];
    struct note note = {0};
    path_of(first, 1);
    path_of(second, 2);
    (void)snprintf(kept, sizeof(kept), "%s/kept", dir);
    cr_assert_eq(rename(second, kept), 0);
    cr_assert_eq(link(first, second), 0);
    expect_refused(2, "a copy of the first");
    (void)snprintf(log_dir, sizeof(log_dir), "%s/own", dir);
    fill(open_log(ERR_NONE, &note));
    path_of(second, 2);
    cr_assert_eq(rename(kept, second), 0);
    expect_refused(2, "of another log");
}

static enum err tearing_read(struct fs *self, int fd, uint64_t at, void *p, size_t *n,
                             struct note *note)
{
    (void)self;
    enum err e = fs_disk()->read(fs_disk(), fd, at, p, n, note);
    if (reads_to_tear > 0 && *n == SEGMENT_BYTES) {
        reads_to_tear--;
        memset((uint8_t *)p + WAL_SEGMENT_HEADER + reads_to_tear * 1024, 0, 600);
    }
    return e;
}

/* Of records that are written while it is read, the first are not in the bytes and the last are. */
Test(wal_look, what_is_written_meanwhile_is_no_damage, .init = start, .fini = end)
{
    struct note note = {0};
    size_t seen = 0;
    fs.read = tearing_read;
    reads_to_tear = 2;
    cr_assert_eq(look(&seen, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(seen, RECORDS, "each once");
    cr_assert_eq(reads_to_tear, 0);
}

static enum err refusing_open(struct fs *self, const char *path, enum fs_how how, int *fd,
                              struct note *note)
{
    (void)self;
    char other[TEST_PATH_BYTES];
    path_of(other, refused);
    return strcmp(path, other) == 0 ? note_set(note, ERR_IO, "cannot open %s: not allowed", path)
                                    : fs_disk()->open(fs_disk(), path, how, fd, note);
}

Test(wal_look, a_segment_that_may_not_be_read_is_not_called_missing, .init = start, .fini = end)
{
    struct note note = {0};
    size_t seen = 0;
    fs.open = refusing_open;
    refused = 2;
    cr_assert_eq(look(&seen, &note), ERR_IO, "%s", note.text);
    cr_assert_not_null(strstr(note.text, "not allowed"), "%s", note.text);
}
