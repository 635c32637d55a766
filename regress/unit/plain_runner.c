/*
 * Runs a room's criterion tests without criterion's own runner, for builds in which that runner
 * cannot start: it re-executes the program and wants shared memory at addresses which the thread
 * sanitizer keeps for itself (Snaipe/Criterion issue 274). It also lets the leak check run, for
 * each test is a plain child that exits.
 *
 * The test files are unchanged: they link against this file instead of -lcriterion. A child per
 * test keeps criterion's promise that tests share nothing; `signal` and `exit_code` of a test are
 * honoured, parameterised tests and timeouts are not used here.
 */

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/event.h>
#include <criterion/options.h>

extern struct criterion_test *__start_cr_tst[];
extern struct criterion_test *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

enum {
    TEST_SECONDS_MAX = 300 /* a test that hangs is killed by SIGALRM */
};

struct criterion_options criterion_options;
static const struct criterion_test *running;
static const struct criterion_suite *running_suite;
static int failed_asserts;

/* ---- what the macros of a test call ------------------------------------------------------------
 */

int cr_asprintf(char **out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(out, fmt, args);
    va_end(args);
    return n;
}

void cr_asprintf_free(char *text)
{
    free(text);
}

char *cr_translate_assert_msg(int id, ...)
{
    va_list args;
    va_start(args, id);
    const char *expression = va_arg(args, const char *);
    char *text = strdup(expression);
    va_end(args);
    return text;
}

void cri_asserts_passed_incr(void)
{
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (!stats->passed) {
        failed_asserts++;
        fprintf(stderr, "%s:%u: %s\n", stats->file, stats->line, stats->message);
    }
}

void criterion_continue_test(void)
{
}

static void run_fini(void)
{
    if (running->data->fini != NULL) {
        running->data->fini();
    } else if (running_suite != NULL && running_suite->data != NULL &&
               running_suite->data->fini != NULL) {
        running_suite->data->fini();
    }
}

_Noreturn void criterion_abort_test(void)
{
    run_fini();
    exit(1);
}

void criterion_internal_test_setup(void)
{
    if (running_suite != NULL && running_suite->data != NULL && running_suite->data->init != NULL) {
        running_suite->data->init();
    }
    if (running->data->init != NULL) {
        running->data->init();
    }
}

void criterion_internal_test_main(void (*fn)(void))
{
    fn();
}

void criterion_internal_test_teardown(void)
{
    run_fini();
}

/* ---- running -----------------------------------------------------------------------------------
 */

static const struct criterion_suite *suite_of(const struct criterion_test *test)
{
    for (struct criterion_suite **s = __start_cr_sts; s < __stop_cr_sts; s++) {
        if (*s != NULL && (*s)->data != NULL && strcmp((*s)->name, test->category) == 0) {
            return *s;
        }
    }
    return NULL;
}

/* 1 when the test failed. */
static int run_test(const struct criterion_test *test)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        running = test;
        running_suite = suite_of(test);
        (void)alarm(TEST_SECONDS_MAX);
        test->test(); /* the macro's function: setup, body, teardown */
        exit(failed_asserts > 0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("plain_runner");
        return 1;
    }
    int as_asked = test->data->signal != 0
                       ? WIFSIGNALED(status) && WTERMSIG(status) == test->data->signal
                       : WIFEXITED(status) && WEXITSTATUS(status) == test->data->exit_code;
    if (!as_asked) {
        fprintf(stderr, "[FAIL] %s::%s: %s %d\n", test->category, test->name,
                WIFSIGNALED(status) ? "signal" : "exit code",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    return !as_asked;
}

/* An argument is a filter: only tests whose suite::name holds it. */
int main(int argc, char **argv)
{
    int tested = 0;
    int failed = 0;
    for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst; t++) {
        if (*t == NULL || (*t)->data->disabled) {
            continue;
        }
        char name[512];
        (void)snprintf(name, sizeof(name), "%s::%s", (*t)->category, (*t)->name);
        if (argc > 1 && strstr(name, argv[1]) == NULL) {
            continue;
        }
        tested++;
        failed += run_test(*t);
    }
    printf("[====] plain runner: Tested: %d | Failing: %d\n", tested, failed);
    return failed != 0 || tested == 0;
}
