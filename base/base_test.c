/* Goal: each tool of the room does what its header says, at the edges too. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/digits.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"

Test(err, every_code_has_a_five_character_sqlstate)
{
    for (int e = 0; e < ERR_COUNT; e++) {
        cr_assert_eq(strlen(err_sqlstate((enum err)e)), 5, "%s", err_name((enum err)e));
    }
}

Test(err, a_wrapped_note_keeps_what_the_layer_below_said_and_its_hint)
{
    struct note note;
    enum err e = note_set(&note, ERR_IO, "disk %d is full", 3);
    note_hint(&note, "Free some space.");
    cr_assert_eq(note_wrap(&note, e, "opening the ledger"), ERR_IO);
    cr_assert_str_eq(note.text, "opening the ledger: disk 3 is full");
    cr_assert_str_eq(note.hint, "Free some space.");
}

Test(buf, numbers_are_in_network_order_and_drop_moves_the_rest)
{
    struct buf b = {0};
    buf_u8(&b, 0xAA);
    buf_be16(&b, 0x0102);
    buf_be32(&b, 0x03040506);
    buf_be64(&b, UINT64_C(0x0708090A0B0C0D0E));
    cr_assert_eq(b.n, 15);
    buf_drop(&b, 1);
    cr_assert_eq(be16_at(b.p), 0x0102);
    cr_assert_eq(be32_at(b.p + 2), 0x03040506);
    cr_assert_eq(be64_at(b.p + 6), UINT64_C(0x0708090A0B0C0D0E));
    buf_printf(&b, "%s-%d", "x", 42);
    cr_assert_eq(memcmp(b.p + 14, "x-42", 4), 0);
    buf_free(&b);
}

Test(arena, a_reset_arena_reuses_its_memory)
{
    struct arena a = {0};
    for (int i = 0; i < 1000; i++) {
        memset(arena_alloc(&a, 100), i, 100);
    }
    arena_reset(&a);
    cr_assert_eq(a.bytes, 0);
    struct arena_chunk *chunk = a._chunks;
    for (int i = 0; i < 100; i++) {
        (void)arena_alloc(&a, 100);
    }
    cr_assert_eq(a._chunks, chunk);
    cr_assert_str_eq(arena_printf(&a, "%05d", 7), "00007");
    arena_free(&a);
}

Test(arena, one_huge_allocation_is_not_kept)
{
    struct arena a = {0};
    (void)arena_alloc(&a, 1 << 20);
    arena_reset(&a);
    cr_assert_null(a._chunks);
    arena_free(&a);
}

struct item {
    struct hnode node;
    uint64_t key;
};

Test(hmap, finds_what_was_added_and_only_that)
{
    enum {
        ITEMS = 1000
    };
    struct hmap map = {0};
    struct item *items = mem_zero(ITEMS * sizeof(*items));
    for (uint64_t i = 0; i < ITEMS; i++) {
        items[i].key = i;
        hmap_add(&map, &items[i].node, i % 97); /* many collisions on purpose */
    }
    for (uint64_t i = 0; i < ITEMS; i += 2) {
        hmap_remove(&map, &items[i].node);
    }
    size_t seen = 0;
    for (struct hnode *n = hmap_each(&map, NULL); n != NULL; n = hmap_each(&map, n)) {
        cr_assert_eq(container_of(n, struct item, node)->key % 2, 1);
        seen++;
    }
    cr_assert_eq(seen, ITEMS / 2);
    size_t same = 0;
    for (struct hnode *n = hmap_find(&map, 5); n != NULL; n = hmap_more(n)) {
        cr_assert_eq(container_of(n, struct item, node)->key % 97, 5);
        same++;
    }
    cr_assert_gt(same, 0);
    cr_assert_eq(map.count, ITEMS / 2);
    hmap_free(&map);
    mem_free(items);
}

Test(list, removal_is_idempotent_and_safe_iteration_may_remove)
{
    struct list head;
    struct list nodes[4];
    list_init(&head);
    for (int i = 0; i < 4; i++) {
        list_push_back(&head, &nodes[i]);
    }
    list_remove(&nodes[1]);
    list_remove(&nodes[1]);
    int left = 0;
    list_each_safe (node, &head) {
        list_remove(node);
        left++;
    }
    cr_assert_eq(left, 3);
    cr_assert(list_empty(&head));
}

/* Bit by bit, as RFC 3720 has it. */
static uint32_t slow_crc32c(const uint8_t *p, size_t n)
{
    uint32_t crc = ~0U;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78U : 0);
        }
    }
    return ~crc;
}

Test(crc32c, long_inputs_of_every_length_are_what_bit_by_bit_gives)
{
    struct rng rng = rng_seeded(8);
    uint8_t bytes[5000];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)rng_next(&rng);
    }
    for (size_t n = 0; n <= sizeof(bytes); n += n < 20 || (n > 1520 && n < 1550) ? 1 : 131) {
        cr_assert_eq(crc32c(0, bytes, n), slow_crc32c(bytes, n), "%zu bytes", n);
        size_t half = n / 2;
        cr_assert_eq(crc32c(crc32c(0, bytes, half), bytes + half, n - half), slow_crc32c(bytes, n));
    }
}

Test(crc32c, agrees_with_the_published_check_value)
{
    cr_assert_eq(crc32c(0, "123456789", 9), 0xE3069283U);
    cr_assert_eq(crc32c(crc32c(0, "12345", 5), "6789", 4), 0xE3069283U);
}

Test(rng, same_seed_same_numbers_and_below_stays_below)
{
    struct rng a = rng_seeded(7);
    struct rng b = rng_seeded(7);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(rng_next(&a), rng_next(&b));
        cr_assert_lt(rng_below(&a, 10), 10);
        (void)rng_below(&b, 10);
    }
}

Test(hash, seed_and_every_byte_matter)
{
    cr_assert_neq(hash_bytes("abcdefghi", 9, 1), hash_bytes("abcdefghi", 9, 2));
    cr_assert_neq(hash_bytes("abcdefghi", 9, 1), hash_bytes("abcdefghj", 9, 1));
    cr_assert_neq(hash_bytes("", 0, 1), hash_bytes("\0", 1, 1));
}

Test(digits, every_byte_beside_the_digits_ends_a_number_at_every_place)
{
    char text[24];
    for (size_t at = 0; at < 20; at++) {
        for (int c = 0; c < 256; c++) {
            int64_t got = -1;
            memcpy(text, "98765432101234567899", 21);
            text[at] = (char)c;
            size_t n = at >= DIGITS_SAFE || (c >= '0' && c <= '9') ? DIGITS_SAFE : at;
            cr_assert_eq(digits_take(slice_bytes(text, 20), &got), n, "byte %d at %zu", c, at);
            text[n] = '\0';
            cr_assert_eq(got, n == 0 ? 0 : strtoll(text, NULL, 10), "byte %d at %zu", c, at);
        }
    }
}

Test(digits, numbers_of_every_length_are_what_they_say)
{
    struct rng rng = rng_seeded(3);
    for (int i = 0; i < 20000; i++) {
        char text[32];
        uint64_t below = 10;
        for (int n = (int)rng_below(&rng, DIGITS_SAFE); n > 0; n--) {
            below *= 10;
        }
        int64_t want = (int64_t)rng_below(&rng, below);
        int64_t got = 0;
        int n = snprintf(text, sizeof(text), "%lld", (long long)want);
        cr_assert_eq(digits_take(slice_bytes(text, (size_t)n), &got), n);
        cr_assert_eq(got, want);
    }
}

Test(digits, hex_is_what_printf_makes)
{
    struct rng rng = rng_seeded(5);
    for (int i = 0; i < 2000; i++) {
        char text[32] = "", want[32];
        uint64_t v = i < 70 ? UINT64_C(1) << i % 64 : rng_next(&rng) >> rng_below(&rng, 64);
        v -= (uint64_t)(i % 2);
        int least = 1 + (int)rng_below(&rng, 16);
        (void)snprintf(want, sizeof(want), "%0*llx", least, (unsigned long long)v);
        *digits_put_hex(text, v, (size_t)least) = '\0';
        cr_assert_str_eq(text, want);
    }
}
