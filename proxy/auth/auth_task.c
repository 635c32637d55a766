/*
 * Work for the crew: stretching passwords, and asking the system for the name of a user id, which
 * may wait for a directory service.
 *
 * The task belongs to the crew while it is out: who asked may go away meanwhile, then its result is
 * dropped when it comes home.
 */

#include <pwd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/auth/auth.h"

struct stretch {
    char *password;
    uint8_t salt[SCRAM_SALT_BYTES_MAX];
    size_t salt_bytes;
    uint32_t iterations;
    struct scram_keys keys;
};

struct auth_task {
    struct task task; /* first */
    auth_task_fn *fn; /* NULL: nobody wants the result any more */
    void *arg;
    struct stretch stretches[AUTH_SECRETS_MAX];
    size_t count;
    int wants_name;
    uint32_t uid;
    char name[256];
};

static _Atomic unsigned tasks_out;

struct auth_task *auth_task_new(int always)
{
    if (atomic_fetch_add_explicit(&tasks_out, 1, memory_order_relaxed) >= AUTH_TASKS_MAX &&
        !always) {
        atomic_fetch_sub_explicit(&tasks_out, 1, memory_order_relaxed);
        return NULL;
    }
    return mem_zero(sizeof(struct auth_task));
}

void auth_task_add(struct auth_task *task, struct slice password, const uint8_t *salt,
                   size_t salt_bytes, uint32_t iterations)
{
    check(task->count < AUTH_SECRETS_MAX && salt_bytes <= SCRAM_SALT_BYTES_MAX);
    struct stretch *s = &task->stretches[task->count++];
    s->password = mem_alloc(password.n + 1);
    memcpy(s->password, password.p, password.n);
    s->password[password.n] = '\0';
    memcpy(s->salt, salt, salt_bytes);
    s->salt_bytes = salt_bytes;
    s->iterations = iterations;
}

void auth_task_add_uid(struct auth_task *task, uint32_t uid)
{
    task->wants_name = 1;
    task->uid = uid;
}

static void find_name(struct auth_task *task)
{
    struct passwd entry;
    struct passwd *found = NULL;
    char room[4096];
    if (getpwuid_r(task->uid, &entry, room, sizeof(room), &found) == 0 && found != NULL) {
        (void)snprintf(task->name, sizeof(task->name), "%s", found->pw_name);
    }
}

/* On a thread of the crew. */
static void work(struct task *base)
{
    struct auth_task *task = (struct auth_task *)(void *)base;
    for (size_t i = 0; i < task->count; i++) {
        struct stretch *s = &task->stretches[i];
        scram_keys_make(s->password, s->salt, s->salt_bytes, s->iterations, &s->keys);
    }
    if (task->wants_name) {
        find_name(task);
    }
}

static void finish(struct auth_task *task)
{
    for (size_t i = 0; i < task->count; i++) {
        explicit_bzero(task->stretches[i].password, strlen(task->stretches[i].password));
        mem_free(task->stretches[i].password);
    }
    explicit_bzero(task, sizeof(*task));
    mem_free(task);
    atomic_fetch_sub_explicit(&tasks_out, 1, memory_order_relaxed);
}

static void come_home(struct task *base)
{
    struct auth_task *task = (struct auth_task *)(void *)base;
    if (task->fn != NULL) {
        task->fn(task->arg, task);
    }
    finish(task);
}

void auth_task_run(struct auth_task *task, struct loop *home, auth_task_fn *fn, void *arg)
{
    task->fn = fn;
    task->arg = arg;
    crew_run(home, &task->task, work, come_home);
}

void auth_task_cancel(struct auth_task *task)
{
    task->fn = NULL;
}

const struct scram_keys *auth_task_keys(const struct auth_task *task, size_t index)
{
    check(index < task->count);
    return &task->stretches[index].keys;
}

const char *auth_task_password(const struct auth_task *task)
{
    check(task->count > 0);
    return task->stretches[0].password;
}

const char *auth_task_name(const struct auth_task *task)
{
    return task->name;
}
