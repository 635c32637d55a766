/*
 * braidctl map history | at EPOCH: the maps that were in force. Of a running pgbraid by its console
 * (it has the store open); else out of data_dir, whose lock keeps one from starting meanwhile.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/control/map_history.h"
#include "proxy/ctl/ctl.h"
#include "store/data_dir.h"
#include "store/file.h"

enum {
    ROWS_MAX = 10000
};

static void print_epoch(void *arg, const struct map_history_row *row)
{
    struct buf *out = arg;
    char when[40];
    map_history_time(row->wall_us, when);
    buf_printf(out, SLICE_FMT " epoch %" PRIu64 " since %s by %s\n", SLICE_ARG(row->database),
               row->epoch, when, map_why_name(row->why));
    int is_start = 1;
    for (size_t i = 0; i < row->changes.n; i++) {
        buf_text(out, is_start ? "    " : "");
        buf_u8(out, row->changes.p[i]);
        is_start = row->changes.p[i] == '\n';
    }
}

static enum err read_epoch(const struct ctl_arguments *a, uint64_t *out, struct note *note)
{
    char *end = NULL;
    errno = 0;
    *out = a->words_count == 3 ? strtoull(a->words[2], &end, 10) : 0;
    if (a->words_count != 3 || errno != 0 || end == a->words[2] || *end != '\0') {
        return note_set(note, ERR_BAD_SETTING, "usage: braidctl -c FILE map history|at EPOCH");
    }
    return ERR_NONE;
}

/* Is nobody there who has it open? Then *dir keeps it so. */
static int take_folder(const struct conf *conf, struct data_dir **dir)
{
    struct note ignored = {0};
    int fd = -1;
    struct fs *fs = fs_disk();
    char path[DATA_DIR_PATH_MAX + 8];
    (void)snprintf(path, sizeof(path), "%s/LOCK", conf->data_dir);
    if (fs->open(fs, path, FS_READ, &fd, &ignored)) {
        return 0; /* no pgbraid has ever run here */
    }
    fs->close(fs, fd);
    return data_dir_open(fs, conf->data_dir, dir, &ignored) == ERR_NONE;
}

static enum err answer_from_disk(const struct ctl_arguments *a, const struct conf *conf,
                                 struct buf *out, struct note *note)
{
    struct map_history *h = NULL;
    const struct conf_database *db = NULL;
    uint64_t epoch = 0;
    int is_history = strcmp(a->words[1], "history") == 0;
    enum err e = map_history_open(fs_disk(), conf->data_dir, 1, &h, note);
    if (e) {
        return e;
    }
    if (is_history) {
        e = map_history_list(h, a->database, ROWS_MAX, print_epoch, out, note);
    } else {
        e = read_epoch(a, &epoch, note);
        e = e ? e : ctl_database(a, conf, &db, note);
        e = e ? e : map_history_at(h, db->name, epoch, out, note);
    }
    map_history_close(h);
    return e;
}

static enum err answer_map(const struct ctl_arguments *a, const struct conf *conf, struct buf *out,
                           int *status, struct note *note)
{
    struct data_dir *dir = NULL;
    (void)status;
    if (take_folder(conf, &dir)) {
        enum err e = answer_from_disk(a, conf, out, note);
        data_dir_close(dir);
        return e;
    }
    struct ctl_arguments words = *a;
    words.words_count = 2;
    words.words[0] = "show";
    words.words[1] = strcmp(a->words[1], "history") == 0 ? "MAP_HISTORY" : "MAP_AT";
    if (a->database != NULL) {
        words.words[words.words_count++] = a->database;
    }
    if (a->words_count > 2) {
        words.words[words.words_count++] = a->words[2];
    }
    return ctl_console_say(&words, conf, out, note);
}

int ctl_map(const struct ctl_arguments *a)
{
    struct note note = {0};
    uint64_t epoch = 0;
    int is_history = a->words_count == 2 && strcmp(a->words[1], "history") == 0;
    int is_at = a->words_count == 3 && strcmp(a->words[1], "at") == 0;
    if (!is_history && (!is_at || read_epoch(a, &epoch, &note) != ERR_NONE)) {
        (void)note_set(&note, ERR_BAD_SETTING, "usage: braidctl -c FILE map history|at EPOCH");
        return ctl_fail(&note);
    }
    return ctl_answer(a, answer_map);
}
