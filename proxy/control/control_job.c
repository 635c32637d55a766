/*
 * Blocking work: one thread per job, its result comes back as mail. Jobs are rare (a schema change,
 * a reload, a look for prepared transactions), so a thread for each costs nothing that matters, and
 * a server that hangs holds up only the job that asked it.
 */

#include "base/check.h"
#include "proxy/control/control.h"

static void job_ended(struct control *c, struct control_mail *mail)
{
    struct job *job = (struct job *)(void *)mail;
    check(pthread_join(job->thread, NULL) == 0);
    check(c->jobs > 0);
    c->jobs--;
    job->done(c, job);
}

static void *job_thread(void *arg)
{
    struct job *job = arg;
    job->work(job);
    control_send(job->control, &job->mail);
    return NULL;
}

void job_start(struct control *c, struct job *job)
{
    job->control = c;
    job->mail.fn = job_ended;
    c->jobs++;
    check(pthread_create(&job->thread, NULL, job_thread, job) == 0);
}
