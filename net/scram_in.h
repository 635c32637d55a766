#ifndef NET_SCRAM_IN_H
#define NET_SCRAM_IN_H

/* What both sides of SCRAM share. */

#include "net/scram.h"

enum {
    SCRAM_NONCE_BYTES = 18, /* 24 letters */
    SCRAM_NONCE_CHARS_MAX = 256
};

void scram_hmac(const uint8_t key[SCRAM_KEY_BYTES], struct slice text,
                uint8_t out[SCRAM_KEY_BYTES]);
void scram_hash(const void *p, size_t n, uint8_t out[SCRAM_KEY_BYTES]);

/*
 * Take "<name>=<value>" and the comma behind it off `rest`. 0 when something else stands there.
 * The value ends at a comma or at the end.
 */
int scram_attribute(struct slice *rest, char name, struct slice *value);
int scram_number(struct slice text, uint32_t max, uint32_t *out); /* 1..max, 1 when it is one */
int scram_is_nonce(struct slice text); /* printable, not empty, not too long */

/* first-bare "," server-first "," final-without-proof */
void scram_auth_message(struct slice first_bare, struct slice server_first, struct slice final,
                        struct buf *out);

#endif
