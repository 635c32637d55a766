#ifndef PROXY_BALANCE_H
#define PROXY_BALANCE_H

/*
 * As few workers as the load needs. Two half-idle threads cost up to 1.7 times what one costs for
 * the same statements: each wake-up serves fewer of them. So new clients go to the lowest worker
 * with room, and quiet sessions move when the load changes.
 *
 *     load     share of a processor that a worker's thread took, in thousandths, measured five
 *              times a second while it works; read by all threads
 *     spread   an overloaded worker gives sessions to one that has room
 *     pack     a worker whose load fits beside that of a lower one goes there with it
 *
 * Both leave a gap to the other rule, so nothing swings. Idle sessions stay where they are.
 */

#include <stddef.h>
#include <stdint.h>

struct shared;
struct session;
struct worker;

enum {
    BALANCE_MOVES = 256 /* sessions moved by one worker in one step, at most */
};

struct balance_move {
    size_t to;
    uint32_t share; /* of the worker's load, in thousandths, that should go there */
};

/* Loads are in thousandths of a processor. `room`: a worker below it takes in more; it is too much
 * for one from 17/12 of that (850 of the usual 600), but 950 at most. */

/* What worker `self` should do, by the loads of all. Returns 0: nothing. */
int balance_choose(const uint32_t *loads, size_t count, size_t self, uint32_t room,
                   struct balance_move *out);
/* The worker that a new client goes to. */
size_t balance_place(const uint32_t *loads, size_t count, uint32_t room);

/* ---- on workers ------------------------------------------------------------------------------
 */

/* Any thread: the worker a client just accepted goes to. `fill`: the setting worker_fill. */
struct worker *balance_worker(struct shared *shared, int64_t fill);
void balance_start(struct worker *w);
/* Something may be about to happen here: measure soon. */
void balance_hurry(struct worker *w);
void balance_end(struct worker *w);

/* session_move.c: a session changes workers, by mail. Returns 0: it cannot just now. */
int session_move(struct session *s, struct worker *to);
/* `deadline_us`: of the session's timer; 0: not set. */
void session_adopt(struct worker *w, struct session *s, int64_t deadline_us);

#endif
