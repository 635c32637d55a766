/* docs/pgbouncer.md, from the rows of pgbouncer.def; a test compares it with what is printed here.
 */

#include <string.h>

#include "conf/pgbouncer.h"

static const char intro[] =
    "# PgBouncer's configuration file\n"
    "\n"
    "Made by `make docs` from conf/pgbouncer.def. `pgbraid pgbouncer.ini` runs with PgBouncer's own\n"
    "file, with PgBouncer's defaults; `braidctl import pgbouncer.ini` writes the same as a file of\n"
    "our own. A key without effect is named at start when it is set to something else than its\n"
    "default. The keys are those of 1.25; [FROM_PGBOUNCER.md](FROM_PGBOUNCER.md)\n"
    "says how to change over.\n";

static const struct {
    enum pgb_section section;
    const char *title;
    const char *text;
} sections[] = {
    {PGB_PGBOUNCER, "[pgbouncer]", "Ours is a path in our own file: [settings.md](settings.md)."},
    {PGB_DATABASE, "[databases]", "Ours is a key below `databases.NAME`."},
    {PGB_USER, "[users]", "Ours is a key below `users.NAME`."},
    {PGB_PEER, "[peers]", ""},
};

static void print_row(const struct pgb_key *key, struct buf *out)
{
    buf_printf(out, "| `%s` | ", key->name);
    if (key->def[0] != '\0' && strlen(key->def) < 30) {
        buf_printf(out, "`%s`", key->def);
    }
    buf_text(out, " | ");
    if (key->to == NULL) {
        buf_printf(out, "*no effect:* %s |\n", key->remark);
        return;
    }
    buf_printf(out, "`%s`", key->to);
    if (key->kind == PGB_TEXT_OWN || key->kind == PGB_NUMBER_OWN || key->kind == PGB_SECONDS_OWN) {
        buf_text(out, "; left out, our own default holds");
    }
    buf_printf(out, "%s%s |\n", key->remark[0] == '\0' ? "" : "; ", key->remark);
}

void conf_print_pgbouncer(struct buf *out)
{
    buf_text(out, intro);
    for (size_t s = 0; s < sizeof(sections) / sizeof(sections[0]); s++) {
        buf_printf(out, "\n## %s\n\n", sections[s].title);
        if (sections[s].text[0] != '\0') {
            buf_printf(out, "%s\n\n", sections[s].text);
        }
        buf_text(out, "| key | default | here |\n| --- | --- | --- |\n");
        for (size_t i = 0; pgb_key_at(i) != NULL; i++) {
            if (pgb_key_at(i)->section == sections[s].section) {
                print_row(pgb_key_at(i), out);
            }
        }
    }
}
