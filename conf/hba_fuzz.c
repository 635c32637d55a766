/*
 * Goal: no bytes in the rules or the maps file break the reader, every refusal is one line, and
 * what was accepted can be asked. Method: the first byte chooses the file.
 */

#include <string.h>

#include "base/check.h"
#include "conf/hba_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct conf *conf)
{
    static const char *const names[] = {"app", "all", "", "a@b"};
    for (size_t i = 0; i < 16; i++) {
        struct conf_hba_client c = {.database = names[i % 4],
                                    .user = names[i / 4],
                                    .tls = i & 1,
                                    .replication = (i & 7) == 7,
                                    .bytes = i % 3 == 0 ? 0 : (i % 3 == 1 ? 4 : 16),
                                    .address = {127, 0, 0, 1}};
        const struct conf_hba_rule *rule = conf_hba_find(conf->hba, &c);
        check(rule == NULL ||
              (rule->databases_count > 0 && rule->users_count > 0 &&
               (rule->type == CONF_HBA_LOCAL) == (c.bytes == 0) && rule->method != CONF_AUTH_HBA));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct arena keep = {0};
    struct note note = {0};
    struct conf conf = {.path = "c.yaml"};
    struct reader r = {.file = "hba", .note = &note, .keep = &keep, .conf = &conf};
    int ident = data[0] == 'i';
    enum err e = ident ? ident_read(&r, data + 1, size - 1) : hba_read(&r, data + 1, size - 1, 0);
    if (e) {
        check(strncmp(note.text, "hba:", 4) == 0 && strchr(note.text, '\n') == NULL);
    } else if (ident) {
        (void)conf_ident_maps(conf.ident, "m", "a@b", "a");
    } else {
        ask(&conf);
    }
    regexes_free(&conf);
    arena_free(&r.scratch);
    arena_free(&keep);
    return 0;
}
