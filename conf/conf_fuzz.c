/*
 * Goal: no bytes in the configuration or the users file break the reader, and every refusal is one
 * line. Method: the first byte chooses the file; a success is walked, so that what is kept is real.
 */

#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "conf/reader.h"

static void walk(const struct conf *conf)
{
    check(conf->listen_count > 0 && (conf->servers_count > 0 || conf->databases_count == 0));
    for (size_t i = 0; i < conf->databases_count; i++) {
        const struct conf_database *db = &conf->databases[i];
        check(db->shards_count >= 1 && db->shards_count <= CONF_SHARDS_MAX);
        for (size_t j = 0; j < db->shards_count; j++) {
            check(db->shards[j].primary < conf->servers_count && db->shards[j].weight > 0);
        }
        for (size_t j = 0; j < db->tables_count; j++) {
            const struct conf_table *t = &db->tables[j];
            check(strlen(t->schema) > 0 && strlen(t->name) > 0);
            check((t->keys_count == 0) == (t->kind == CONF_TABLE_REFERENCE));
            int pieces = t->kind == CONF_TABLE_RANGE || t->kind == CONF_TABLE_LIST;
            check((t->splits_count > 0) == pieces);
            for (size_t k = 0; k < t->splits_count; k++) {
                check(t->splits[k].shard < db->shards_count);
            }
        }
    }
}

static void walk_users(const struct conf *conf)
{
    for (size_t i = 0; i < conf->users_count; i++) {
        check(conf_find_user(conf, conf->users[i].name) == &conf->users[i]);
        check(strlen(conf->users[i].secret) <= 2048);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct arena keep = {0};
    struct note note = {0};
    struct conf conf = {.path = "c.yaml"};
    struct reader r = {.file = "c.yaml", .note = &note, .keep = &keep, .conf = &conf};
    int users = data[0] == 'u';
    enum err e =
        users ? users_read(&r, data + 1, size - 1) : conf_read_bytes(&r, data + 1, size - 1);
    if (e) {
        check(strncmp(note.text, "c.yaml:", 7) == 0 && strchr(note.text, '\n') == NULL);
    } else if (users) {
        walk_users(&conf);
    } else {
        walk(&conf);
    }
    arena_free(&r.scratch);
    arena_free(&keep);
    return 0;
}
