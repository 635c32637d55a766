/*
 * Mail between loops: senders push on an atomic stack, the receiver takes all of it at once and
 * turns it round, which gives the order of sending back. Only the sender that finds the stack
 * empty wakes the receiver.
 */

#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/inside.h"

struct mailbox {
    _Atomic(struct mail *) sent; /* newest first */
    _Atomic unsigned sending;    /* threads inside mailbox_send() */
    struct mail *taken;          /* oldest first; being delivered */
    int delivering;
    int freed; /* inside a delivery, which releases the memory at its end */
    struct loop *loop;
    int fd;
    struct watch watch;
    mail_fn *fn;
    void *arg;
};

static void take(struct mailbox *box)
{
    struct mail *newest = atomic_exchange_explicit(&box->sent, NULL, memory_order_acquire);
    struct mail **end = &box->taken;
    while (*end != NULL) {
        end = &(*end)->_next;
    }
    struct mail *oldest = NULL;
    while (newest != NULL) {
        struct mail *next = newest->_next;
        newest->_next = oldest;
        oldest = newest;
        newest = next;
    }
    *end = oldest;
}

static void deliver(struct mailbox *box)
{
    while (box->taken != NULL) {
        struct mail *mail = box->taken;
        box->taken = mail->_next;
        mail->_next = NULL;
        box->fn(mail, box->arg);
    }
}

static void on_mail(struct watch *w, uint32_t what)
{
    (void)what;
    struct mailbox *box = container_of(w, struct mailbox, watch);
    take(box);
    box->delivering = 1;
    deliver(box);
    box->delivering = 0;
    if (box->freed) {
        mem_free(box);
    }
}

struct mailbox *mailbox_new(struct loop *loop, mail_fn *fn, void *arg)
{
    struct mailbox *box = mem_zero(sizeof(*box));
    box->loop = loop;
    box->fn = fn;
    box->arg = arg;
    box->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    check(box->fd >= 0);
    box->watch = (struct watch){.fd = box->fd, .fn = on_mail};
    watch_set(loop, &box->watch, EPOLLIN | EPOLLET);
    loop->guests++;
    return box;
}

void mailbox_send(struct mailbox *box, struct mail *mail)
{
    /* Once the mail is in, the receiver may free the box; it waits for this to be taken back. */
    atomic_fetch_add(&box->sending, 1);
    struct mail *top = atomic_load_explicit(&box->sent, memory_order_relaxed);
    do {
        mail->_next = top;
    } while (!atomic_compare_exchange_weak_explicit(&box->sent, &top, mail, memory_order_release,
                                                    memory_order_relaxed));
    if (top == NULL) {
        uint64_t one = 1;
        ssize_t n = write(box->fd, &one, sizeof(one));
        check(n == sizeof(one) || errno == EAGAIN);
    }
    atomic_fetch_sub(&box->sending, 1);
}

void mailbox_free(struct mailbox *box)
{
    if (box == NULL) {
        return;
    }
    while (atomic_load(&box->sending) != 0) {
        (void)sched_yield();
    }
    take(box);
    deliver(box);
    watch_set(box->loop, &box->watch, 0);
    check(close(box->fd) == 0);
    box->loop->guests--;
    box->freed = 1;
    if (!box->delivering) {
        mem_free(box);
    }
}
