/* Members of groups and what they have been given: see consumer.h. The mutex guards memberships; it
 * is not held while a topic is read or a commit waits for the disk. */

#include "replication/cdc/consumer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/mem.h"
#include "replication/cdc/group.h"

enum {
    FETCH_BYTES = 256 << 10,
    LOOK_US = 1000000, /* between two looks whether somebody waits for the answer */
    KEY_MAX = 63
};

/* A member and its places. Owner: its club. */
struct member {
    struct list node;
    uint64_t id;
    uint64_t who; /* cdc_consume.who */
    char key[KEY_MAX + 1];
    uint16_t turn; /* partition to begin with */
    struct {
        uint64_t next;      /* to be given; CDC_NO_OFFSET: not known */
        uint64_t committed; /* the last that was */
    } parts[];
};

/* The members of a group that read one topic. Made when the first comes, given up when all have
 * expired and another group begins. */
struct club {
    struct hnode node;
    char group[CDC_GROUP_MAX + 1];
    uint32_t topic;
    struct cdc_group members;
    struct list list; /* struct member */
};

struct cdc_consumers {
    struct cdc_log *log;
    int64_t session_us;
    pthread_mutex_t mutex;
    struct hmap clubs;
    int stopping;
};

struct cdc_consumers *cdc_consumers_new(struct cdc_log *log, int64_t session_us)
{
    struct cdc_consumers *c = mem_zero(sizeof(*c));
    c->log = log;
    c->session_us = session_us;
    (void)pthread_mutex_init(&c->mutex, NULL);
    return c;
}

void cdc_consumers_stop(struct cdc_consumers *c)
{
    (void)pthread_mutex_lock(&c->mutex);
    c->stopping = 1;
    (void)pthread_mutex_unlock(&c->mutex);
    cdc_log_wake(c->log);
}

static void drop_member(struct member *m)
{
    list_remove(&m->node);
    mem_free(m);
}

static void drop_club(struct cdc_consumers *c, struct club *club)
{
    list_each_safe (m, &club->list) {
        drop_member(container_of(m, struct member, node));
    }
    hmap_remove(&c->clubs, &club->node);
    cdc_group_free(&club->members);
    mem_free(club);
}

void cdc_consumers_free(struct cdc_consumers *c)
{
    if (c == NULL) {
        return;
    }
    for (struct hnode *n = hmap_each(&c->clubs, NULL); n != NULL;) {
        struct club *club = container_of(n, struct club, node);
        n = hmap_each(&c->clubs, n);
        drop_club(c, club);
    }
    hmap_free(&c->clubs);
    (void)pthread_mutex_destroy(&c->mutex);
    mem_free(c);
}

static int is_gone(const struct cdc_consume *what)
{
    return what->gone != NULL && atomic_load(what->gone);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int is_stopping(struct cdc_consumers *c)
{
    (void)pthread_mutex_lock(&c->mutex);
    int stopping = c->stopping;
    (void)pthread_mutex_unlock(&c->mutex);
    return stopping;
}

/* ---- giving events --------------------------------------------------------------------------- */

struct giving {
    struct cdc_consumers *c;
    uint32_t topic;
    const char *topic_name;
    cdc_event_fn *fn;
    void *arg;
    uint32_t limit, count;
    int is_full;
    struct change_column *columns; /* room for old and new ones */
    size_t columns_cap;
};

static enum err give_record(struct giving *g, uint16_t partition, const struct cdc_frame *frame,
                            const struct cdc_record *record, struct note *note)
{
    const struct change_relation *relation =
        record->schema == 0 ? NULL : cdc_log_schema(g->c->log, record->schema);
    uint16_t n = relation == NULL ? 0 : relation->n_columns;
    if (record->schema != 0 && relation == NULL) {
        return note_set(note, ERR_CORRUPT, "change log: a record has a schema that there is not");
    }
    if (g->columns_cap < n) {
        g->columns_cap = n;
        g->columns = mem_grow(g->columns, 2 * g->columns_cap * sizeof(g->columns[0]));
    }
    struct cdc_event event = {.topic = g->topic_name,
                              .partition = partition,
                              .offset = frame->offset + record->delta,
                              .shard = cdc_log_source_name(g->c->log, frame->source),
                              .tx = frame->tx,
                              .flags = record->flags,
                              .change = {.relation = relation}};
    struct change_column *second = g->columns == NULL ? NULL : g->columns + g->columns_cap;
    enum err e = cdc_record_read(record, n, g->columns, second, &event.change, note);
    if (e == ERR_NONE) {
        if (g->fn(g->arg, &event)) {
            g->count++;
        } else {
            g->is_full = 1;
        }
        g->is_full |= g->count >= g->limit;
    }
    return e;
}

/* Events of the frames from *next on; *next is then behind the last one given. */
static enum err give_frames(struct giving *g, uint16_t partition, struct slice in, uint64_t *next,
                            struct note *note)
{
    enum err e = ERR_NONE;
    while (e == ERR_NONE && in.n > 0 && !g->is_full) {
        struct cdc_frame frame;
        e = cdc_frame_read(in, &frame, note);
        if (e) {
            break;
        }
        in = slice_from(in, frame.bytes);
        struct slice records = frame.records;
        while (e == ERR_NONE && records.n > 0 && !g->is_full) {
            struct cdc_record record;
            e = cdc_record_next(&records, &record, note);
            if (e == ERR_NONE && frame.offset + record.delta >= *next) {
                uint32_t before = g->count;
                e = give_record(g, partition, &frame, &record, note);
                *next = g->count > before ? frame.offset + record.delta + 1 : *next;
            }
        }
        if (e == ERR_NONE && records.n == 0 && !(g->is_full && g->count < g->limit)) {
            *next = frame.offset + frame.span; /* with places that compaction made empty */
        }
    }
    return e;
}

static enum err give_partition(struct giving *g, uint16_t partition, uint64_t *next,
                               struct note *note)
{
    struct buf frames = {0};
    enum err e = ERR_NONE;
    for (;;) {
        frames.n = 0;
        e = cdc_log_fetch(g->c->log, g->topic, partition, *next, FETCH_BYTES, &frames, note);
        if (e || frames.n == 0 || g->is_full) {
            break;
        }
        e = give_frames(g, partition, buf_slice(&frames), next, note);
        if (e) {
            break;
        }
    }
    buf_free(&frames);
    return e;
}

/* ---- members --------------------------------------------------------------------------------- */

static uint64_t hash_of(uint32_t topic, struct slice group)
{
    return hash_bytes(group.p, group.n, hash_process_seed() + topic);
}

static struct club *find_club(const struct cdc_consumers *c, uint32_t topic, struct slice group)
{
    for (struct hnode *n = hmap_find(&c->clubs, hash_of(topic, group)); n != NULL;
         n = hmap_more(n)) {
        struct club *club = container_of(n, struct club, node);
        if (club->topic == topic && slice_is(group, club->group)) {
            return club;
        }
    }
    return NULL;
}

/* Clubs that nobody is a member of any more. The mutex is held. */
static void drop_empty(struct cdc_consumers *c)
{
    for (struct hnode *n = hmap_each(&c->clubs, NULL); n != NULL;) {
        struct club *club = container_of(n, struct club, node);
        n = hmap_each(&c->clubs, n);
        cdc_group_expire(&club->members, clock_now_us());
        if (club->members.members_count == 0) {
            drop_club(c, club);
        }
    }
}

/* Generations go on behind the highest that was ever committed. */
static struct club *need_club(struct cdc_consumers *c, uint32_t topic, uint16_t partitions,
                              struct slice group)
{
    struct club *club = find_club(c, topic, group);
    if (club != NULL) {
        return club;
    }
    drop_empty(c);
    club = mem_zero(sizeof(*club));
    club->topic = topic;
    memcpy(club->group, group.p, group.n);
    list_init(&club->list);
    cdc_group_init(&club->members, partitions, c->session_us);
    for (uint16_t p = 0; p < partitions; p++) {
        uint64_t generation = cdc_log_committed(c->log, group, topic, p).generation;
        club->members.generation =
            generation > club->members.generation ? generation : club->members.generation;
    }
    hmap_add(&c->clubs, &club->node, hash_of(topic, group));
    return club;
}

static struct member *find_member(const struct club *club, struct slice key)
{
    list_each (node, &club->list) {
        struct member *m = container_of(node, struct member, node);
        if (slice_is(key, m->key)) {
            return m;
        }
    }
    return NULL;
}

/* Names that have expired: whoever comes again begins anew, so nothing of them is needed. */
static void drop_expired(struct club *club)
{
    list_each_safe (node, &club->list) {
        struct member *m = container_of(node, struct member, node);
        if (!cdc_group_has(&club->members, m->id)) {
            drop_member(m);
        }
    }
}

static enum err add_member(struct club *club, const struct cdc_consume *what, struct member **out,
                           struct note *note)
{
    uint64_t id;
    drop_expired(club);
    enum err e = cdc_group_join(&club->members, clock_now_us(), &id, note);
    if (e) {
        return e;
    }
    uint16_t parts = club->members.parts_count;
    struct member *m = mem_zero(sizeof(*m) + parts * sizeof(m->parts[0]));
    m->id = id;
    m->who = what->who;
    memcpy(m->key, what->member.p, what->member.n);
    for (uint16_t p = 0; p < parts; p++) {
        m->parts[p].next = m->parts[p].committed = CDC_NO_OFFSET;
    }
    list_push_back(&club->list, &m->node);
    *out = m;
    return ERR_NONE;
}

/* What it owns and was given beyond what it has committed. The mutex is held. */
static uint16_t list_commits(const struct club *club, struct member *m, struct cdc_commit *out)
{
    uint16_t n = 0;
    for (uint16_t p = 0; p < club->members.parts_count; p++) {
        if (cdc_group_owns(&club->members, m->id, p) && m->parts[p].next != CDC_NO_OFFSET &&
            m->parts[p].next != m->parts[p].committed) {
            m->parts[p].committed = m->parts[p].next;
            out[n++] = (struct cdc_commit){.partition = p,
                                           .generation = club->members.parts[p].generation,
                                           .offset = m->parts[p].next};
        }
    }
    return n;
}

/* who: of the member, or it has nothing to commit; NULL: whoever it is. */
static enum err commit(struct cdc_consumers *c, uint32_t topic, struct slice group,
                       struct slice key, const uint64_t *who, struct note *note)
{
    struct cdc_commit *commits = NULL;
    uint16_t count = 0;
    (void)pthread_mutex_lock(&c->mutex);
    struct club *club = find_club(c, topic, group);
    struct member *m = club == NULL ? NULL : find_member(club, key);
    if (m != NULL && (who == NULL || m->who == *who)) {
        cdc_group_expire(&club->members, clock_now_us());
        commits = mem_alloc(club->members.parts_count * sizeof(*commits));
        count = list_commits(club, m, commits);
    }
    (void)pthread_mutex_unlock(&c->mutex);
    enum err e = count == 0 ? ERR_NONE : cdc_log_commit(c->log, group, topic, commits, count, note);
    mem_free(commits);
    return e;
}

static int is_further(struct cdc_consumers *c, const struct club *club, const struct member *m,
                      const struct cdc_place *place)
{
    struct slice group = slice_of(club->group);
    if (place->partition >= club->members.parts_count ||
        !cdc_group_owns(&club->members, m->id, place->partition) ||
        m->parts[place->partition].next == CDC_NO_OFFSET ||
        place->offset > m->parts[place->partition].next) {
        return 0;
    }
    uint64_t is = cdc_log_committed(c->log, group, club->topic, place->partition).offset;
    return is == CDC_NO_OFFSET || place->offset > is;
}

enum err cdc_consumer_commit_to(struct cdc_consumers *c, uint32_t topic, struct slice group,
                                struct slice member, uint64_t who, const struct cdc_place *places,
                                size_t count, struct note *note)
{
    struct cdc_commit *commits = mem_alloc((count + 1) * sizeof(*commits));
    uint16_t n = 0;
    (void)pthread_mutex_lock(&c->mutex);
    struct club *club = find_club(c, topic, group);
    struct member *m = club == NULL ? NULL : find_member(club, member);
    if (m != NULL && m->who == who) {
        cdc_group_expire(&club->members, clock_now_us());
        for (size_t i = 0; i < count && n < UINT16_MAX; i++) {
            uint16_t p = places[i].partition;
            if (is_further(c, club, m, &places[i])) {
                m->parts[p].committed = places[i].offset;
                commits[n++] = (struct cdc_commit){.partition = p,
                                                   .generation = club->members.parts[p].generation,
                                                   .offset = places[i].offset};
            }
        }
    }
    (void)pthread_mutex_unlock(&c->mutex);
    enum err e = n == 0 ? ERR_NONE : cdc_log_commit(c->log, group, topic, commits, n, note);
    mem_free(commits);
    return e;
}

/* Be a member; a new or lost one begins from what is committed. The mutex is held. */
static enum err attend(struct cdc_consumers *c, const struct cdc_consume *what, uint16_t partitions,
                       struct club **club, struct member **out, struct note *note)
{
    *club = need_club(c, what->topic, partitions, what->group);
    struct member *m = find_member(*club, what->member);
    if (m != NULL && !cdc_group_poll(&(*club)->members, m->id, clock_now_us())) {
        drop_member(m);
        m = NULL;
    }
    cdc_group_expire(&(*club)->members, clock_now_us());
    *out = m;
    for (uint16_t p = 0; m != NULL && p < partitions; p++) {
        if (!cdc_group_owns(&(*club)->members, m->id, p)) { /* given up: it is through with it */
            m->parts[p].next = m->parts[p].committed = CDC_NO_OFFSET;
        }
    }
    enum err e = m == NULL ? add_member(*club, what, out, note) : ERR_NONE;
    if (e == ERR_NONE && what->stays) {
        cdc_group_stay(&(*club)->members, (*out)->id);
    }
    return e;
}

static void drop_out(struct club *club, struct member *m)
{
    cdc_group_leave(&club->members, m->id);
    drop_member(m);
}

/* A member of the same name that somebody else was: what that one got may never have reached it. */
static void change_hands(struct cdc_consumers *c, const struct cdc_consume *what)
{
    (void)pthread_mutex_lock(&c->mutex);
    struct club *club = find_club(c, what->topic, what->group);
    struct member *m = club == NULL ? NULL : find_member(club, what->member);
    if (m != NULL && m->who != what->who) {
        drop_out(club, m);
    }
    (void)pthread_mutex_unlock(&c->mutex);
}

static enum err place_of(struct cdc_consumers *c, const struct cdc_consume *what,
                         uint16_t partition, uint64_t *next, struct note *note)
{
    if (*next != CDC_NO_OFFSET) {
        return ERR_NONE;
    }
    if (what->group.n > 0) {
        *next = cdc_log_committed(c->log, what->group, what->topic, partition).offset;
    }
    return *next != CDC_NO_OFFSET
               ? ERR_NONE
               : cdc_log_seek(c->log, what->topic, partition, &what->from, next, note);
}

static enum err tell_gone(const struct cdc_consume *what, uint16_t partition, struct note *note)
{
    char where[64];
    (void)snprintf(where, sizeof(where), "partition %u", partition);
    (void)note_wrap(note, ERR_LOG_GONE, where);
    if (what->group.n > 0) {
        note_hint(note, "Retention took it, or the log is not the one that it was. With from => "
                        "'earliest' the group goes on with what there is; braidctl cdc reset sets "
                        "it elsewhere.");
    } else {
        note_hint(note, "Without an offset it begins with the oldest that there is.");
    }
    return ERR_LOG_GONE;
}

static enum err read_partition(struct giving *g, const struct cdc_consume *what, uint16_t partition,
                               uint64_t *next, struct note *note)
{
    enum err e = place_of(g->c, what, partition, next, note);
    if (e == ERR_NONE) {
        e = give_partition(g, partition, next, note);
    }
    if (e == ERR_LOG_GONE && what->resets) {
        e = cdc_log_seek(g->c->log, what->topic, partition, &what->from, next, note);
        e = e ? e : give_partition(g, partition, next, note);
    }
    return e == ERR_LOG_GONE ? tell_gone(what, partition, note) : e;
}

/* Partitions that the member owns now, with their places. */
static uint16_t list_owned(const struct club *club, const struct member *m, uint16_t *partitions,
                           uint64_t *next)
{
    uint16_t n = 0;
    uint16_t count = club->members.parts_count;
    for (uint16_t i = 0; i < count; i++) {
        uint16_t p = (uint16_t)((m->turn + i) % count);
        if (cdc_group_owns(&club->members, m->id, p)) {
            partitions[n] = p;
            next[n++] = m->parts[p].next;
        }
    }
    return n;
}

static void keep_places(struct cdc_consumers *c, const struct cdc_consume *what, uint64_t member,
                        const uint16_t *partitions, const uint64_t *next, uint16_t count)
{
    (void)pthread_mutex_lock(&c->mutex);
    struct club *club = find_club(c, what->topic, what->group);
    struct member *m = club == NULL ? NULL : find_member(club, what->member);
    if (m != NULL && m->id == member) {
        for (uint16_t i = 0; i < count; i++) {
            m->parts[partitions[i]].next = next[i];
        }
        m->turn = (uint16_t)((m->turn + 1) % club->members.parts_count);
    }
    (void)pthread_mutex_unlock(&c->mutex);
}

/* What the call's member had is for others; whoever has its name by now stays. */
static void leave_as(struct cdc_consumers *c, const struct cdc_consume *what)
{
    (void)pthread_mutex_lock(&c->mutex);
    struct club *club = find_club(c, what->topic, what->group);
    struct member *m = club == NULL ? NULL : find_member(club, what->member);
    if (m != NULL && m->who == what->who) {
        drop_out(club, m);
    }
    (void)pthread_mutex_unlock(&c->mutex);
}

/* Is the member still who it was when the call began? The mutex is held. */
static enum err check_hands(const struct cdc_consumers *c, const struct cdc_consume *what,
                            struct note *note)
{
    const struct club *club = find_club(c, what->topic, what->group);
    const struct member *m = club == NULL ? NULL : find_member(club, what->member);
    return m != NULL && m->who != what->who
               ? note_set(note, ERR_FENCED, "another reader is member \"" SLICE_FMT "\" now",
                          SLICE_ARG(what->member))
               : ERR_NONE;
}

static enum err consume_as_member(struct giving *g, const struct cdc_consume *what, uint16_t count,
                                  struct note *note)
{
    struct cdc_consumers *c = g->c;
    struct club *club;
    struct member *m;
    if (what->ack == CDC_ACK_NEXT) {
        enum err e = commit(c, what->topic, what->group, what->member, &what->who, note);
        if (e) {
            leave_as(c, what);
            return e;
        }
    }
    uint16_t *partitions = mem_alloc(count * sizeof(*partitions));
    uint64_t *next = mem_alloc(count * sizeof(*next));
    uint16_t owned = 0;
    uint64_t id = 0;
    (void)pthread_mutex_lock(&c->mutex);
    enum err e = check_hands(c, what, note);
    e = e ? e : attend(c, what, count, &club, &m, note);
    if (e == ERR_NONE) {
        owned = list_owned(club, m, partitions, next);
        id = m->id;
        for (uint16_t i = 0; i < owned; i++) { /* what others committed meanwhile */
            uint16_t p = partitions[i];
            struct cdc_offset is = cdc_log_committed(c->log, what->group, what->topic, p);
            if (is.generation > club->members.parts[p].generation) {
                next[i] = is.offset;
            }
        }
    }
    (void)pthread_mutex_unlock(&c->mutex);
    for (uint16_t i = 0; e == ERR_NONE && i < owned && !g->is_full; i++) {
        e = read_partition(g, what, partitions[i], &next[i], note);
    }
    if (e == ERR_NONE) { /* else what was given is thrown away with the answer, and comes again */
        keep_places(c, what, id, partitions, next, owned);
    }
    mem_free(partitions);
    mem_free(next);
    if (e == ERR_NONE && what->ack == CDC_ACK_NOW) {
        e = commit(c, what->topic, what->group, what->member, &what->who, note);
        if (e) {
            leave_as(c, what);
        }
    }
    return e;
}

static enum err consume_alone(struct giving *g, const struct cdc_consume *what, uint16_t count,
                              uint64_t *next, struct note *note)
{
    enum err e = ERR_NONE;
    if (what->has_place) {
        next[what->partition] =
            next[what->partition] == CDC_NO_OFFSET ? what->offset : next[what->partition];
        return read_partition(g, what, what->partition, &next[what->partition], note);
    }
    for (uint16_t p = 0; e == ERR_NONE && p < count && !g->is_full; p++) {
        e = read_partition(g, what, p, &next[p], note);
    }
    return e;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static enum err check_call(struct cdc_consumers *c, const struct cdc_consume *what,
                           uint16_t *partitions, struct note *note)
{
    *partitions = cdc_log_partitions(c->log, what->topic);
    if (*partitions == 0 || (what->has_place && what->partition >= *partitions)) {
        return note_set(note, ERR_NO_TABLE, "the change log has no such topic or partition");
    }
    if (what->group.n > CDC_GROUP_MAX || what->member.n > KEY_MAX ||
        (what->group.n > 0 && what->member.n == 0)) {
        return note_set(note, ERR_BAD_SETTING, "names of groups and members have 1 to %d bytes",
                        CDC_GROUP_MAX);
    }
    return ERR_NONE;
}

enum err cdc_consume(struct cdc_consumers *c, const struct cdc_consume *what, cdc_event_fn *fn,
                     void *arg, uint32_t *count, struct note *note)
{
    uint16_t partitions;
    enum err e = check_call(c, what, &partitions, note);
    if (e) {
        return e;
    }
    struct giving g = {.c = c,
                       .topic = what->topic,
                       .topic_name = cdc_log_topic_name(c->log, what->topic),
                       .fn = fn,
                       .arg = arg,
                       .limit = what->limit == 0 ? 1 : what->limit};
    uint64_t *next = mem_alloc(partitions * sizeof(*next));
    for (uint16_t p = 0; p < partitions; p++) {
        next[p] = CDC_NO_OFFSET;
    }
    int64_t until = clock_now_us() + what->wait_us;
    if (what->group.n > 0) {
        change_hands(c, what);
    }
    for (;;) {
        uint64_t seen = cdc_log_applied(c->log);
        e = what->group.n > 0 ? consume_as_member(&g, what, partitions, note)
                              : consume_alone(&g, what, partitions, next, note);
        int64_t left = until - clock_now_us();
        if (e || g.count > 0 || left <= 0 || is_stopping(c)) {
            break;
        }
        cdc_log_wait(c->log, seen, least(left, least(LOOK_US, c->session_us / 3)));
        if (is_gone(what)) {
            break;
        }
    }
    *count = g.count;
    mem_free(next);
    mem_free(g.columns);
    return e;
}

/* It was given something that it may not commit any more, or nothing that is known here. */
static int has_lost(struct cdc_consumers *c, uint32_t topic, struct slice group, struct slice key)
{
    (void)pthread_mutex_lock(&c->mutex);
    struct club *club = find_club(c, topic, group);
    struct member *m = club == NULL ? NULL : find_member(club, key);
    int lost = m == NULL;
    if (m != NULL) {
        cdc_group_expire(&club->members, clock_now_us());
        for (uint16_t p = 0; p < club->members.parts_count; p++) {
            lost |= m->parts[p].next != m->parts[p].committed &&
                    !cdc_group_owns(&club->members, m->id, p);
        }
    }
    (void)pthread_mutex_unlock(&c->mutex);
    return lost;
}

enum err cdc_consumer_commit(struct cdc_consumers *c, uint32_t topic, struct slice group,
                             struct slice member, struct note *note)
{
    if (has_lost(c, topic, group, member)) {
        enum err e = note_set(note, ERR_FENCED,
                              "member \"" SLICE_FMT "\" is out: what it was given comes again",
                              SLICE_ARG(member));
        note_hint(note, "A member calls at least once in cdc.session_ms.");
        return e;
    }
    return commit(c, topic, group, member, NULL, note);
}

enum err cdc_consumer_stay(struct cdc_consumers *c, uint32_t topic, struct slice group,
                           struct slice member, struct note *note)
{
    struct cdc_consume what = {.topic = topic, .group = group, .member = member, .stays = 1};
    struct club *club;
    struct member *m;
    uint16_t partitions;
    enum err e = check_call(c, &what, &partitions, note);
    if (e) {
        return e;
    }
    (void)pthread_mutex_lock(&c->mutex);
    e = attend(c, &what, partitions, &club, &m, note);
    (void)pthread_mutex_unlock(&c->mutex);
    return e;
}

static void leave_club(struct club *club, struct slice member)
{
    struct member *m = club == NULL ? NULL : find_member(club, member);
    if (m != NULL) {
        drop_out(club, m);
    }
}

void cdc_consumer_leave(struct cdc_consumers *c, uint32_t topic, struct slice group,
                        struct slice member)
{
    (void)pthread_mutex_lock(&c->mutex);
    leave_club(find_club(c, topic, group), member);
    (void)pthread_mutex_unlock(&c->mutex);
}

void cdc_consumer_leave_all(struct cdc_consumers *c, struct slice member)
{
    (void)pthread_mutex_lock(&c->mutex);
    for (struct hnode *n = hmap_each(&c->clubs, NULL); n != NULL; n = hmap_each(&c->clubs, n)) {
        leave_club(container_of(n, struct club, node), member);
    }
    (void)pthread_mutex_unlock(&c->mutex);
}

size_t cdc_consumer_members(struct cdc_consumers *c, uint32_t topic, struct slice group)
{
    (void)pthread_mutex_lock(&c->mutex);
    struct club *club = find_club(c, topic, group);
    size_t n = 0;
    if (club != NULL) {
        cdc_group_expire(&club->members, clock_now_us());
        n = club->members.members_count;
    }
    (void)pthread_mutex_unlock(&c->mutex);
    return n;
}

size_t cdc_consumer_names(struct cdc_consumers *c, uint32_t topic, struct slice group)
{
    (void)pthread_mutex_lock(&c->mutex);
    const struct club *club = find_club(c, topic, group);
    size_t n = 0;
    for (const struct list *node = club == NULL ? NULL : club->list.next;
         node != NULL && node != &club->list; node = node->next) {
        n++;
    }
    (void)pthread_mutex_unlock(&c->mutex);
    return n;
}

enum err cdc_consumer_reset(struct cdc_consumers *c, uint32_t topic, struct slice group,
                            const struct cdc_seek_to *to, struct note *note)
{
    uint16_t count = cdc_log_partitions(c->log, topic);
    if (cdc_consumer_members(c, topic, group) > 0) {
        enum err e = note_set(note, ERR_BAD_STATE, "the group has members");
        note_hint(note, "stop them, or wait until they are out for cdc.session_ms.");
        return e;
    }
    if (to == NULL) {
        return cdc_log_forget(c->log, group, topic, note);
    }
    struct cdc_commit *commits = mem_alloc((count + (size_t)1) * sizeof(*commits));
    enum err e = ERR_NONE;
    for (uint16_t p = 0; e == ERR_NONE && p < count; p++) {
        uint64_t generation = cdc_log_committed(c->log, group, topic, p).generation;
        commits[p] = (struct cdc_commit){.partition = p, .generation = generation + 1};
        e = cdc_log_seek(c->log, topic, p, to, &commits[p].offset, note);
    }
    if (e == ERR_NONE) {
        e = cdc_log_commit(c->log, group, topic, commits, count, note);
    }
    mem_free(commits);
    (void)pthread_mutex_lock(&c->mutex); /* its next member is of a later generation */
    struct club *club = find_club(c, topic, group);
    if (club != NULL) {
        for (uint16_t p = 0; p < count; p++) {
            uint64_t generation = cdc_log_committed(c->log, group, topic, p).generation;
            club->members.generation =
                generation > club->members.generation ? generation : club->members.generation;
        }
    }
    (void)pthread_mutex_unlock(&c->mutex);
    return e;
}
