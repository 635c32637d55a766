/*
 * Goal: the pages in docs/ say what the tables say. Method: print them and compare with the files;
 * PAGES_WRITE=1 writes them instead. Runs in the root of the repository.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/err.h"
#include "base/log.h"
#include "base/metric.h"
#include "planner/planner.h"
#include "proxy/admin/pages.h"

static void compare(const char *path, void (*print)(struct buf *out))
{
    struct buf page = {0};
    print(&page);
    if (getenv("PAGES_WRITE") != NULL) {
        FILE *f = fopen(path, "we");
        cr_assert_not_null(f, "%s", path);
        cr_assert_eq(fwrite(page.p, 1, page.n, f), page.n);
        cr_assert_eq(fclose(f), 0);
    }
    FILE *f = fopen(path, "re");
    cr_assert_not_null(f, "%s is missing: run with PAGES_WRITE=1 in the root of the repository",
                       path);
    struct buf file = {0};
    buf_reserve(&file, page.n + 2);
    file.n = fread(file.p, 1, page.n + 1, f);
    (void)fclose(f);
    cr_assert(slice_eq(buf_slice(&file), buf_slice(&page)),
              "%s is not what its table says: run with PAGES_WRITE=1", path);
    buf_free(&file);
    buf_free(&page);
}

Test(pages, docs_of_errors_metrics_logs_and_statements_are_those_of_the_tables)
{
    compare("docs/errors.md", page_errors);
    compare("docs/metrics.md", page_metrics);
    compare("docs/logs.md", page_logs);
    compare("docs/statements.md", plan_print_statements);
}

static int has(const struct buf *page, const char *text)
{
    return memmem(page->p, page->n, text, strlen(text)) != NULL;
}

Test(pages, every_row_of_a_table_is_on_its_page)
{
    struct buf page = {0};
    page_errors(&page);
    for (int e = ERR_NONE + 1; e < ERR_COUNT; e++) {
        cr_assert(has(&page, err_name((enum err)e)), "%s", err_name((enum err)e));
    }
    page.n = 0;
    page_metrics(&page);
    for (int m = 0; m < METRIC_COUNT; m++) {
        cr_assert(has(&page, metric_help((enum metric)m)), "%s", metric_name((enum metric)m));
    }
    page.n = 0;
    page_logs(&page);
    for (int l = 0; l < LOG_COUNT; l++) {
        cr_assert(has(&page, log_name((enum log_id)l)), "%s", log_name((enum log_id)l));
    }
    buf_free(&page);
}
