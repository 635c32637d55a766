/*
 * The source of changes with a sink of files, for regress/cdc/source.py.
 *
 *     source_tool DIR DBNAME USER OPTIONS PORT ...
 *
 * A shard per port: s0, s1, ... Its changes go to DIR/s0.log, a JSON object per line; a line
 * {"mark": ...} ends each unit. DIR/look.json says every 100 ms what the sources do. OPTIONS are
 * words "name=value", separated by blanks. SIGUSR1: copy the table named in DIR/again, or all
 * without that file. SIGUSR2: the ports are now those in DIR/ports. SIGTERM: stop.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "replication/cdc/source.h"

enum {
    SHARDS_MAX = 8
};

struct file {
    pthread_mutex_t lock;
    char path[1024];
    int fd;
    struct buf unit; /* not written yet */
    size_t marked;   /* bytes of it, up to the last mark */
    struct cdc_mark given, durable;
    struct buf state; /* of the last mark that had one */
    struct buf loaded;
    int64_t paused_until_us; /* a consumer that is slow */
};

static struct file files[SHARDS_MAX];
static int pause_ms;
static volatile sig_atomic_t stopping, recopy, moved;

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_json(struct buf *b, struct slice s)
{
    buf_u8(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\') {
            buf_u8(b, '\\');
            buf_u8(b, s.p[i]);
        } else if (s.p[i] < ' ') {
            buf_printf(b, "\\u%04x", s.p[i]);
        } else {
            buf_u8(b, s.p[i]);
        }
    }
    buf_u8(b, '"');
}

static void put_columns(struct buf *b, const char *name, const struct change *c,
                        const struct change_column *columns)
{
    if (columns == NULL) {
        return;
    }
    buf_printf(b, ",\"%s\":{", name);
    int first = 1;
    for (size_t i = 0; i < c->relation->n_columns; i++) {
        if (columns[i].kind == VALUE_ABSENT) {
            continue;
        }
        buf_text(b, first ? "" : ",");
        first = 0;
        put_json(b, c->relation->columns[i].name);
        buf_u8(b, ':');
        if (columns[i].kind == VALUE_TEXT) {
            put_json(b, columns[i].bytes);
        } else {
            buf_text(b, columns[i].kind == VALUE_NULL ? "null" : "{\"unchanged\":1}");
        }
    }
    buf_u8(b, '}');
}

/* ---- the sink -------------------------------------------------------------------------------- */

static enum err take_change(void *arg, const struct change *c, struct note *note)
{
    static const char *const ops[] = {"",       "begin",  "commit",    "insert",
                                      "update", "delete", "truncate",  "message",
                                      "ddl",    "row",    "watermark", "gap"};
    (void)arg;
    (void)note;
    struct file *f = &files[c->shard];
    (void)pthread_mutex_lock(&f->lock);
    struct buf *b = &f->unit;
    buf_printf(b, "{\"op\":\"%s\",\"epoch\":%u,\"lsn\":%llu,\"index\":%u,\"xid\":%u", ops[c->op],
               c->epoch, (unsigned long long)c->lsn, c->index, c->xid);
    if (c->relation != NULL) {
        buf_text(b, ",\"table\":");
        put_json(b, c->relation->name);
        buf_printf(b, ",\"version\":%u", c->relation->version);
        buf_text(b, ",\"key\":[");
        for (size_t i = 0, n = 0; i < c->relation->n_columns; i++) {
            if (c->relation->columns[i].is_key) {
                buf_text(b, n++ == 0 ? "" : ",");
                put_json(b, c->relation->columns[i].name);
            }
        }
        buf_u8(b, ']');
        put_columns(b, "old", c, c->old_columns);
        put_columns(b, "new", c, c->new_columns);
    }
    struct slice content = c->content;
    const uint8_t *end = content.n == 0 ? NULL : memchr(content.p, 0, content.n);
    if (end != NULL) {
        content.n = (size_t)(end - content.p); /* of a watermark; what is prepared stands behind */
    }
    const struct slice texts[] = {c->gid, c->origin, c->prefix, content};
    static const char *const names[] = {"gid", "origin", "prefix", "content"};
    for (size_t i = 0; i < 4; i++) {
        if (texts[i].n > 0) {
            buf_printf(b, ",\"%s\":", names[i]);
            put_json(b, texts[i]);
        }
    }
    buf_text(b, "}\n");
    (void)pthread_mutex_unlock(&f->lock);
    return ERR_NONE;
}

/* Only what is marked goes to the file. */
static void write_marked(struct file *f)
{
    for (size_t at = 0; at < f->marked;) {
        ssize_t n = write(f->fd, f->unit.p + at, f->marked - at);
        check(n > 0 || errno == EINTR);
        at += n > 0 ? (size_t)n : 0;
    }
    buf_drop(&f->unit, f->marked);
    f->marked = 0;
}

static enum err take_mark(void *arg, const struct cdc_shard *shard, const struct cdc_mark *m,
                          struct note *note)
{
    (void)arg;
    (void)note;
    struct file *f = &files[shard->number];
    const struct cdc_mark *g = &f->given;
    (void)pthread_mutex_lock(&f->lock);
    int is_later =
        m->epoch > g->epoch ||
        (m->epoch == g->epoch && (m->lsn > g->lsn || (m->lsn == g->lsn && m->index >= g->index)));
    check(is_later);
    if (m->state.p != NULL) {
        f->state.n = 0;
        for (size_t i = 0; i < m->state.n; i++) {
            buf_printf(&f->state, "%02x", m->state.p[i]);
        }
    }
    buf_printf(&f->unit, "{\"mark\":[%u,%llu,%u,%u,%llu],\"state\":\"" SLICE_FMT "\"}\n", m->epoch,
               (unsigned long long)m->lsn, m->index, m->ends, (unsigned long long)m->resume,
               SLICE_ARG(buf_slice(&f->state)));
    f->given = *m;
    f->marked = f->unit.n;
    if (f->unit.n > 65536) {
        write_marked(f);
        if (pause_ms > 0) {
            f->paused_until_us = clock_now_us() + (int64_t)pause_ms * 1000;
        }
    }
    (void)pthread_mutex_unlock(&f->lock);
    return ERR_NONE;
}

static void drop_unit(void *arg, const struct cdc_shard *shard)
{
    (void)arg;
    struct file *f = &files[shard->number];
    (void)pthread_mutex_lock(&f->lock);
    f->unit.n = f->marked;
    (void)pthread_mutex_unlock(&f->lock);
}

static enum err sync_file(void *arg, const struct cdc_shard *shard, struct note *note)
{
    (void)arg;
    (void)note;
    struct file *f = &files[shard->number];
    (void)pthread_mutex_lock(&f->lock);
    write_marked(f);
    check(fdatasync(f->fd) == 0);
    f->durable = f->given;
    (void)pthread_mutex_unlock(&f->lock);
    return ERR_NONE;
}

static void durable(void *arg, const struct cdc_shard *shard, struct cdc_mark *out)
{
    check(sync_file(arg, shard, NULL) == ERR_NONE);
    *out = files[shard->number].durable;
}

static int ready(void *arg, const struct cdc_shard *shard)
{
    (void)arg;
    return clock_now_us() >= files[shard->number].paused_until_us;
}

static void read_file(struct file *f, struct buf *out)
{
    uint8_t part[65536];
    ssize_t n;
    check(lseek(f->fd, 0, SEEK_SET) == 0);
    while ((n = read(f->fd, part, sizeof(part))) > 0) {
        buf_add(out, part, (size_t)n);
    }
}

static enum err load(void *arg, const struct cdc_shard *shard, struct cdc_mark *out, int *found,
                     struct note *note)
{
    (void)arg;
    (void)note;
    struct file *f = &files[shard->number];
    struct buf all = {0};
    (void)pthread_mutex_lock(&f->lock);
    read_file(f, &all);
    size_t end = 0;
    *found = 0;
    for (size_t at = 0; at < all.n;) {
        const uint8_t *line_end = memchr(all.p + at, '\n', all.n - at);
        if (line_end == NULL) {
            break;
        }
        const char *line = (const char *)all.p + at;
        all.p[line_end - all.p] = 0; /* else sscanf() measures all that follows, line by line */
        at = (size_t)(line_end - all.p) + 1;
        unsigned epoch, index, ends;
        unsigned long long lsn, resume;
        if (sscanf(line, "{\"mark\":[%u,%llu,%u,%u,%llu]", &epoch, &lsn, &index, &ends, &resume) ==
            5) {
            *out = (struct cdc_mark){.epoch = epoch,
                                     .lsn = lsn,
                                     .index = index,
                                     .ends = (uint8_t)ends,
                                     .resume = resume};
            const char *state = strstr(line, "\"state\":\"") + 9;
            f->loaded.n = 0;
            f->state.n = 0;
            for (unsigned byte; *state != '"'; state += 2) {
                check(sscanf(state, "%2x", &byte) == 1);
                buf_u8(&f->loaded, (uint8_t)byte);
                buf_printf(&f->state, "%02x", byte);
            }
            end = at;
            *found = 1;
        }
    }
    check(ftruncate(f->fd, (off_t)end) == 0);
    check(lseek(f->fd, 0, SEEK_END) == (off_t)end);
    if (*found) {
        out->state = buf_slice(&f->loaded);
        f->given = *out;
        f->durable = *out;
    }
    buf_free(&all);
    (void)pthread_mutex_unlock(&f->lock);
    return ERR_NONE;
}

/* ---- main ------------------------------------------------------------------------------------ */

static void on_signal(int number)
{
    *(number == SIGUSR1 ? &recopy : number == SIGUSR2 ? &moved : &stopping) = 1;
}

static void write_look(const char *dir, struct cdc_source **sources, size_t count)
{
    struct buf b = {0};
    char path[1100];
    char other[1100];
    for (size_t i = 0; i < count; i++) {
        struct cdc_look l;
        cdc_source_look(sources[i], &l);
        buf_printf(&b,
                   "%s{\"doing\":\"%s\",\"slot\":\"%s\",\"epoch\":%u,\"durable\":%llu,"
                   "\"received\":%llu,\"gaps\":%llu,\"rows_copied\":%llu,\"attaches\":%llu,"
                   "\"retained\":%llu,\"wal_status\":\"%s\",\"safe\":%lld,\"alarm\":%d,",
                   i == 0 ? "[" : ",", cdc_doing_word(l.doing), l.slot, l.epoch,
                   (unsigned long long)l.durable, (unsigned long long)l.received,
                   (unsigned long long)l.gaps, (unsigned long long)l.rows_copied,
                   (unsigned long long)l.attaches, (unsigned long long)l.retained_bytes,
                   l.wal_status, (long long)l.safe_bytes, l.is_alarm);
        buf_printf(&b, "\"spilled\":%llu,\"toast\":%llu,\"filled\":%llu,\"error\":",
                   (unsigned long long)atomic_load(&l.counts->spilled_bytes),
                   (unsigned long long)atomic_load(&l.counts->unchanged_toast),
                   (unsigned long long)atomic_load(&l.counts->filled_toast));
        put_json(&b, slice_of(l.error));
        buf_u8(&b, '}');
    }
    buf_text(&b, "]\n");
    (void)snprintf(path, sizeof(path), "%s/look.json", dir);
    (void)snprintf(other, sizeof(other), "%s/look.new", dir);
    FILE *out = fopen(other, "w");
    check(out != NULL && fwrite(b.p, 1, b.n, out) == b.n && fclose(out) == 0);
    check(rename(other, path) == 0);
    buf_free(&b);
}

/* The first line of a file of DIR, or "". */
static void read_line(const char *dir, const char *name, char line[200])
{
    char path[1100];
    (void)snprintf(path, sizeof(path), "%.1000s/%s", dir, name);
    FILE *in = fopen(path, "r");
    line[0] = '\0';
    if (in != NULL) {
        if (fgets(line, 200, in) != NULL) {
            line[strcspn(line, "\n")] = '\0';
        }
        (void)fclose(in);
    }
}

static void copy_again(const char *dir, struct cdc_source **sources, size_t count)
{
    char table[200];
    read_line(dir, "again", table);
    for (size_t i = 0; i < count; i++) {
        cdc_source_recopy(sources[i], table);
    }
}

static struct pg_target target_of(char **argv, int port)
{
    return (struct pg_target){.host = "127.0.0.1",
                              .port = (uint16_t)port,
                              .dbname = argv[2],
                              .user = argv[3],
                              .timeout_ms = 10000};
}

static void move(char **argv, struct cdc_source **sources, size_t count)
{
    char line[200];
    char *rest = line;
    read_line(argv[1], "ports", line);
    for (size_t i = 0; i < count; i++) {
        const struct pg_target target = target_of(argv, (int)strtol(rest, &rest, 10));
        cdc_source_move(sources[i], &target, 1);
    }
}

static void read_options(char *words, struct cdc_source_options *o)
{
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
        char *value = strchr(word, '=');
        check(value != NULL);
        *value++ = '\0';
        if (strcmp(word, "tables") == 0) {
            o->tables = value;
        } else if (strcmp(word, "fill") == 0) {
            o->fill = value;
        } else if (strcmp(word, "copy") == 0) {
            o->copy = strcmp(value, "never") == 0 ? CDC_COPY_NEVER : CDC_COPY_INITIAL;
        } else if (strcmp(word, "memory") == 0) {
            o->memory_max = strtoull(value, NULL, 10);
        } else if (strcmp(word, "pages") == 0) {
            o->copy_pages = (uint32_t)atoi(value);
        } else if (strcmp(word, "full") == 0) {
            o->full_identity = atoi(value);
        } else if (strcmp(word, "retained") == 0) {
            o->retained_max = strtoull(value, NULL, 10);
        } else if (strcmp(word, "limit") == 0) {
            o->retained_limit = strtoull(value, NULL, 10);
        } else if (strcmp(word, "watch") == 0) {
            o->watch_ms = atoi(value);
        } else if (strcmp(word, "tries") == 0) {
            o->snapshot_ms = atoi(value);
        } else {
            check(strcmp(word, "pause") == 0);
            pause_ms = atoi(value);
        }
    }
}

int main(int argc, char **argv)
{
    check(argc >= 6 && argc - 5 <= SHARDS_MAX);
    static const struct cdc_sink sink = {.load = load,
                                         .change = take_change,
                                         .mark = take_mark,
                                         .drop = drop_unit,
                                         .durable = durable,
                                         .sync = sync_file,
                                         .ready = ready};
    char spill[1024];
    (void)snprintf(spill, sizeof(spill), "%.1000s/spill", argv[1]);
    struct cdc_source_options o = {.sink = &sink,
                                   .fs = fs_disk(),
                                   .dir = spill,
                                   .publication = "pgbraid_cdc",
                                   .slot_prefix = "pgbraid",
                                   .copy_connections = 2,
                                   .heartbeat_ms = 1000,
                                   .watermark_ms = 500,
                                   .memory_max = 4 * 1024 * 1024};
    read_options(argv[4], &o);
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGUSR1, &action, NULL);
    (void)sigaction(SIGUSR2, &action, NULL);
    struct cdc_source *sources[SHARDS_MAX];
    size_t count = (size_t)argc - 5;
    struct note note;
    for (size_t i = 0; i < count; i++) {
        char name[8];
        struct file *f = &files[i];
        (void)snprintf(name, sizeof(name), "s%zu", i);
        (void)snprintf(f->path, sizeof(f->path), "%.1000s/%s.log", argv[1], name);
        f->fd = open(f->path, O_RDWR | O_CREAT, 0600);
        check(f->fd >= 0);
        (void)pthread_mutex_init(&f->lock, NULL);
        o.shard = (struct cdc_shard){argv[2], name, (uint16_t)i};
        o.target = target_of(argv, atoi(argv[5 + i]));
        check(cdc_source_start(&o, &sources[i], &note) == ERR_NONE);
    }
    while (!stopping) {
        write_look(argv[1], sources, count);
        if (recopy) {
            recopy = 0;
            copy_again(argv[1], sources, count);
        }
        if (moved) {
            moved = 0;
            move(argv, sources, count);
        }
        (void)usleep(100000);
    }
    for (size_t i = 0; i < count; i++) {
        cdc_source_free(sources[i]);
        const struct cdc_shard shard = {argv[2], "", (uint16_t)i};
        drop_unit(NULL, &shard);
        check(sync_file(NULL, &shard, NULL) == ERR_NONE);
    }
    return 0;
}
