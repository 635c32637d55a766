#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H

/*
 * One client's login: by which method, with which secrets. Owner: a session, until it is in.
 *
 *     session_auth.c      the rule that holds, certificates and peers, the verdict
 *     session_password.c  a password: asking for it, and whether it is right
 *     auth_secret.c       what could let a user in; what stands for a user who does not exist
 *     auth_task.c         work of milliseconds (PBKDF2) on the crew, and what may block
 *     auth_creds.c        what was learnt at logins and servers may be shown, shared by all workers
 *     auth_query.c        secrets that a server is asked for
 *
 * A user who does not exist is given secrets that nobody knows, of the kind and cost that others
 * have, and fails with a wrong proof at the very end: no message, no step and no time tells.
 */

#include <stdint.h>

#include "conf/hba.h"
#include "net/net.h"
#include "net/scram.h"
#include "proxy/shared.h"

enum {
    AUTH_SECRETS_MAX = 2,
    AUTH_SECRET_BYTES_MAX = 2048,
    AUTH_TASKS_MAX = 8192, /* waiting for the crew in the whole process; one more is refused */
    AUTH_WHY_BYTES = 200
};

/* ---- auth_secret.c --------------------------------------------------------------------------- */

/*
 * What fake secrets, and salts for plain ones, are made of: the same after a restart, or asking
 * before and after it would tell who exists. Comes from /etc/machine-id, which systemd asks not to
 * show on a network; random where there is none.
 */
void auth_process_secret(uint8_t out[SCRAM_KEY_BYTES]);

struct auth_secret {
    enum secret_kind kind;
    char *text; /* owned, wiped */
};

/* What may let a user in, the newest first. */
struct auth_secrets {
    struct auth_secret s[AUTH_SECRETS_MAX];
    size_t count;
    int fake; /* nobody knows these: the user does not exist or has no secret */
};

/*
 * Secrets of the users file, else fake ones. At least one, none of them empty.
 *   process_secret  32 bytes that the fake ones depend on: the same for a name each time
 */
void auth_secrets_find(const struct conf *conf, const uint8_t process_secret[32], const char *user,
                       struct auth_secrets *out);
/* The same for a user that auth.query was asked for; `answer` NULL: it knows none. */
void auth_secrets_of_answer(const uint8_t process_secret[32], const char *user, const char *answer,
                            struct auth_secrets *out);
/* The verifier of a password, as PostgreSQL would store it; with salt and iterations of `like`, or
 * (NULL) a salt of its own. Costs milliseconds. ERR_BAD_SETTING. */
enum err auth_secret_make(const char *password, const char *like, struct buf *out,
                          struct note *note) MUST_CHECK;
void auth_secrets_wipe(struct auth_secrets *secrets);
/*
 * Keep those that SCRAM can check (`scram`), or those that an md5 answer can. When none is left,
 * a fake one of the right kind takes their place. 1 when something was dropped.
 */
int auth_secrets_keep(struct auth_secrets *secrets, int scram, const uint8_t process_secret[32],
                      const char *user);

/* A secret as SCRAM checks it. */
struct auth_check {
    struct scram_verifier verifier;
    const char *plain; /* keys are still to be made of this: only salt and iterations count */
    size_t index;      /* of the secret */
};
/*
 * What one exchange can check: secrets with the same salt. A plain secret takes any salt; of two
 * verifiers with different ones `turn` says which has its turn. Gives how many, 1 or 2.
 */
size_t auth_checks_make(const struct auth_secrets *secrets, const uint8_t process_secret[32],
                        const char *user, unsigned turn, struct auth_check out[AUTH_SECRETS_MAX]);
/* 1: only one of two verifiers can be checked at a time. */
int auth_checks_alternate(const struct auth_secrets *secrets);
/* Whose turn it is for this user from this host, or on this server; and that it did not work: then
 * the other's. Any thread. Two that share a place in the small table only make each other's first
 * guess worse. */
unsigned auth_turn(const char *user, const char *where);
void auth_turn_over(const char *user, const char *where);

/* ---- auth_task.c ----------------------------------------------------------------------------- */

struct auth_task;
typedef void auth_task_fn(void *arg, struct auth_task *task);
/* NULL: too many are waiting; `always` is for server logins, which pools limit. */
struct auth_task *auth_task_new(int always);
/* Add keys to be made; the password is copied and wiped in the end. At most two. */
void auth_task_add(struct auth_task *task, struct slice password, const uint8_t *salt,
                   size_t salt_bytes, uint32_t iterations);
void auth_task_add_uid(struct auth_task *task, uint32_t uid); /* whose name is wanted */
/* `fn` is called once on `home`'s thread, unless cancelled; then the task is gone. */
void auth_task_run(struct auth_task *task, struct loop *home, auth_task_fn *fn, void *arg);
void auth_task_cancel(struct auth_task *task); /* home's thread; before `fn` was called */
const struct scram_keys *auth_task_keys(const struct auth_task *task, size_t index);
const char *auth_task_password(const struct auth_task *task); /* of the first one */
const char *auth_task_name(const struct auth_task *task);     /* "" when there is no such user */

/* ---- auth_query.c ---------------------------------------------------------------------------- */

/* Where the secrets of a database's clients are asked for. Borrowed of the world. */
struct auth_place {
    const struct world_db *db;
    const char *sql;
    const char *user; /* who asks */
};
/* 0: nowhere, auth.query is not used for it. `db` NULL: the console. */
int auth_place_of(const struct world *world, const struct world_db *db, struct auth_place *out);

struct auth_answer {
    enum err err; /* the question could not be answered: note says why, for the log */
    char
        *secret; /* NULL: no such user, or none that has a password; the receiver wipes and frees */
    struct note note;
};
void auth_answer_free(struct auth_answer *answer);

/* Who wants to know. */
struct auth_asker {
    struct shared *shared;
    struct world *world;
    size_t worker;
    uint64_t session_id;
};
/*
 * Ask, or take what was answered lately. ERR_NONE: *out is the answer. ERR_AGAIN: it comes later,
 * by session_auth_answered() on the worker's thread. ERR_TOO_MANY: too many questions wait.
 * Never blocks; logins of one user that wait together are one question.
 */
enum err auth_query_ask(const struct auth_asker *asker, const struct auth_place *place,
                        const char *user, struct auth_answer *out, struct note *note) MUST_CHECK;
/* A login failed by a cached answer: it may be old, so the next login asks anew. */
void auth_query_doubt(const struct auth_place *place, const char *user);
void auth_query_drop_all(void); /* RELOAD */
void auth_query_stop(void);     /* end the threads; who waits is told */

/* ---- session_auth.c -------------------------------------------------------------------------- */

/* One login. */
struct auth {
    enum conf_auth_method method; /* in force, never HBA */
    const char *map;              /* of the rule; borrowed of the session's world, as `place` is */
    enum conf_clientcert clientcert;
    int name_is_dn;
    int line; /* of the rule; 0: auth.method said so */

    struct auth_place place;
    unsigned has_place : 1; /* the user is not in the users file and may be asked for */
    unsigned waits : 1;     /* for an answer of auth.query */
    unsigned asked : 1;     /* the client was asked for a password */
    unsigned begun : 1;     /* SCRAM: the first message was answered */
    unsigned verdict : 2;   /* plain passwords: 0 not yet, 1 right, 2 wrong */
    struct auth_secrets secrets;
    size_t matched; /* index of the secret that was right */
    struct auth_check checks[AUTH_SECRETS_MAX];
    size_t checks_count;
    struct scram_server scram;
    uint8_t salt[4]; /* md5 */
    struct auth_task *task;
    char why[AUTH_WHY_BYTES]; /* for the log only */
};

/* ---- auth_creds.c ---------------------------------------------------------------------------- */

/*
 * What clients proved, for the server connections of their users: the client key of a SCRAM
 * secret, and the secrets that came from auth.query. `source`: "" for the users file, else the
 * database that was asked. Any thread; at most CREDS_MAX users, the longest unused give way.
 */
enum {
    CREDS_MAX = 65536
};
/*   client_key  NULL: not known
 *   only        the source has one secret per user: older ones are forgotten */
void creds_learn(const char *source, const char *user, const char *secret,
                 const uint8_t *client_key, int only);
/* The client key that was proved for exactly this secret. 1 when there is one. */
int creds_key(const char *source, const char *user, const char *secret,
              uint8_t client_key[SCRAM_KEY_BYTES]);
/* The secret last learnt of this user, owned by the caller; NULL: none. */
char *creds_secret(const char *source, const char *user);
/* Forget what the users file no longer says. */
void creds_keep(const struct conf *conf);
size_t creds_count(void);
void creds_put(struct buf *out); /* as SECRET frames of an online restart */
void creds_free(void);

#endif
