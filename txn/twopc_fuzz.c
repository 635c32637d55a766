/*
 * Goal: no order of events breaks the promises of twopc.h. Method: bytes choose the shards and,
 * one by one, what happens next in the model of twopc_model.h. A failed check is a broken promise.
 */

#include "txn/twopc_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct world w;
    world_init(&w, data[0] & 0x0F, data[0] >> 4, UINT64_C(1) << data[1] % 8);
    for (size_t i = 2; i < size && w.t.state != TWOPC_DONE; i++) {
        struct move moves[WORLD_MOVES_MAX];
        size_t n = world_moves(&w, moves);
        check(n > 0);
        world_move(&w, moves[data[i] % n]);
    }
    if (w.t.state == TWOPC_DONE) {
        world_judge(&w);
    }
    return 0;
}
