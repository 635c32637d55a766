/*
 * Every message of SCRAM from a hostile peer, on both sides, and the stored verifier. Property: no
 * bytes but the right proof get in, and whatever is accepted as a verifier prints back the same.
 * The first byte chooses the door.
 */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char first[] = "n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char server_first[] = "r=rOprNGfwEbeRWgbNEkqOxyz,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1";

static void fuzz_server_first(struct slice in, int plus)
{
    struct scram_verifier v = {.iterations = 1, .salt_bytes = 1};
    struct scram_server s = {.verifier = &v, .plus = plus != 0, .binding_bytes = plus ? 32 : 0};
    struct buf out = {0};
    struct note note;
    if (scram_server_first(&s, in, &out, &note) == ERR_NONE) {
        struct slice junk = SLICE("c=biws,r=x,p=AAAA");
        check(scram_server_final(&s, junk, &out, &note) != ERR_NONE);
    }
    scram_server_free(&s);
    buf_free(&out);
}

static void fuzz_server_final(struct slice in)
{
    struct scram_verifier v = {.iterations = 1, .salt_bytes = 1, .stored_key = {1, 2, 3}};
    struct scram_server s = {.verifier = &v, ._gs2 = 'n', ._nonce_end = 25};
    struct buf out = {0};
    struct note note;
    buf_text(&s._first_bare, first);
    buf_text(&s._server_first, server_first);
    check(scram_server_final(&s, in, &out, &note) != ERR_NONE);
    check(out.n == 0);
    scram_server_free(&s);
    buf_free(&out);
}

static void fuzz_client(struct slice in, int verify)
{
    static const struct scram_keys keys = {.client = {1}};
    struct scram_client c = {0};
    struct buf out = {0};
    struct note note;
    buf_text(&c._first_bare, first);
    if (verify) {
        check(scram_client_challenge(&c, SLICE(server_first), &note) == ERR_NONE);
        scram_client_final(&c, &keys, &out);
        check(scram_client_verify(&c, in, &note) != ERR_NONE);
    } else if (scram_client_challenge(&c, in, &note) == ERR_NONE) {
        scram_client_final(&c, &keys, &out);
        check(out.n > sizeof("c=biws,r=,p="));
    } else {
        check(out.n == 0);
    }
    scram_client_free(&c);
    buf_free(&out);
}

static void fuzz_verifier(struct slice in)
{
    char *text = mem_alloc(in.n + 1);
    memcpy(text, in.p, in.n);
    text[in.n] = '\0';
    struct scram_verifier v;
    struct note note;
    if (scram_verifier_parse(text, &v, &note) == ERR_NONE) {
        struct buf out = {0};
        scram_verifier_print(&v, &out);
        check(slice_is(buf_slice(&out), text));
        buf_free(&out);
    }
    scram_verifier_make(text, (const uint8_t *)"salt", 4, 1, &v, NULL); /* any password */
    char response[36];
    md5_response("user", text, (const uint8_t *)"salt", response);
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) {
        return 0;
    }
    struct slice in = slice_bytes(data + 1, n - 1);
    switch (data[0] % 6) {
    case 5: fuzz_server_first(in, 1); break;
    case 0: fuzz_server_first(in, 0); break;
    case 1: fuzz_server_final(in); break;
    case 2: fuzz_client(in, 0); break;
    case 3: fuzz_client(in, 1); break;
    default: fuzz_verifier(in); break;
    }
    return 0;
}
