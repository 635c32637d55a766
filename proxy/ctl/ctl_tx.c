/* braidctl tx: the words of it; tx_tool.c does the work. */

#include <string.h>

#include "proxy/ctl/ctl.h"
#include "proxy/ctl/tx_tool.h"

/* tx log | list | resolve: without a running pgbraid. */
static enum err tx(const struct ctl_arguments *a, struct tx_tool *t, struct note *note)
{
    const char *what = a->words_count > 1 ? a->words[1] : "";
    if (strcmp(what, "log") == 0 && a->words_count == 2) {
        return tx_log(t, note);
    }
    if (strcmp(what, "list") == 0 && a->words_count == 2) {
        return tx_list(t, note);
    }
    if (strcmp(what, "resolve") != 0 || a->words_count != 3) {
        return note_set(note, ERR_BAD_SETTING, "usage: braidctl -c FILE tx log|list|resolve ID");
    }
    if (a->commit == a->abort) {
        enum err e = note_set(note, ERR_BAD_SETTING, "say --commit or --abort");
        note_hint(note, "Nothing was done. The word of an operator ends the transaction on every "
                        "shard where it is prepared.");
        return e;
    }
    struct tx_order order = {.id = a->words[2], .commit = a->commit, .force = a->force};
    return tx_resolve(t, order, note);
}

static enum err answer_tx(const struct ctl_arguments *a, const struct conf *conf, struct buf *out,
                          int *status, struct note *note)
{
    (void)status;
    struct tx_tool tool = {.conf = conf, .target = ctl_target, .out = out};
    enum err e = ctl_database(a, conf, &tool.db, note);
    return e ? e : tx(a, &tool, note);
}

int ctl_tx(const struct ctl_arguments *a)
{
    return ctl_answer(a, answer_tx);
}
