/* braidctl's pages of the manual, and what it makes for a configuration. */

#include <stdio.h>
#include <string.h>

#include "planner/planner.h"
#include "proxy/admin/pages.h"
#include "proxy/auth/auth.h"
#include "proxy/ctl/ctl.h"

static const struct {
    const char *name;
    void (*print)(struct buf *out);
} pages[] = {{"sample", conf_print_sample},
             {"manual", conf_print_manual},
             {"errors", page_errors},
             {"metrics", page_metrics},
             {"logs", page_logs},
             {"pgbouncer", conf_print_pgbouncer},
             {"statements", plan_print_statements}};

int ctl_page(const struct ctl_arguments *a)
{
    struct buf out = {0};
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (strcmp(pages[i].name, a->words[0]) == 0) {
            pages[i].print(&out);
        }
    }
    return ctl_print(&out);
}

int ctl_import(const struct ctl_arguments *a)
{
    struct note note = {.text = ""};
    struct buf out = {0};
    if (a->words_count != 2) {
        (void)note_set(&note, ERR_BAD_SETTING, "usage: braidctl import pgbouncer.ini");
        return ctl_fail(&note);
    }
    enum err e = conf_import(a->words[1], &out, &note);
    if (e) {
        buf_free(&out);
        return ctl_fail(&note);
    }
    return ctl_print(&out);
}

/* The password is read, not given as a word: words can be seen by everybody on the machine. */
int ctl_secret(const struct ctl_arguments *a)
{
    char password[AUTH_SECRET_BYTES_MAX + 2] = "";
    struct buf out = {0};
    struct note note = {.text = ""};
    if (fgets(password, sizeof(password), stdin) == NULL) {
        password[0] = '\0';
    }
    password[strcspn(password, "\r\n")] = '\0';
    enum err e = auth_secret_make(password, a->words_count > 1 ? a->words[1] : NULL, &out, &note);
    explicit_bzero(password, sizeof(password));
    if (e) {
        return ctl_fail(&note);
    }
    (void)printf(SLICE_FMT "\n", SLICE_ARG(buf_slice(&out)));
    buf_free(&out);
    return 0;
}
