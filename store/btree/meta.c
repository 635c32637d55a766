/* The bytes of a meta page; they are described in meta.h. */

#include "store/btree/meta.h"

#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"

static const uint8_t magic[8] = {'P', 'G', 'B', 'T', 'R', 'E', 'E', '1'};

void meta_make(uint8_t out[PAGE_BYTES], const struct meta *meta)
{
    check(meta->fresh_count <= META_FRESH_MAX);
    memset(out, 0, PAGE_BYTES);
    memcpy(out, magic, sizeof(magic));
    page_put32(out + 12, PAGE_BYTES);
    page_put64(out + 16, meta->id);
    page_put64(out + 24, meta->change);
    page_put32(out + 32, meta->root);
    page_put32(out + 36, meta->height);
    page_put32(out + 40, meta->pages);
    page_put32(out + 44, meta->list);
    page_put32(out + 48, meta->free);
    page_put32(out + 52, meta->listing);
    page_put32(out + 56, meta->leaf);
    page_put32(out + 60, meta->branch);
    page_put32(out + 64, meta->overflow);
    page_put64(out + 72, meta->keys);
    page_put64(out + 80, meta->user_bytes);
    page_put64(out + 88, meta->leaf_bytes);
    page_put32(out + 96, meta->fresh_count);
    for (uint32_t i = 0; i < meta->fresh_count; i++) {
        page_put32(out + META_FRESH_AT + (size_t)8 * i, meta->fresh[i].page);
        page_put32(out + META_FRESH_AT + (size_t)8 * i + 4, meta->fresh[i].crc);
    }
    page_put32(out + 8, crc32c(0, out + 12, PAGE_BYTES - 12));
}

static enum err verify(const struct meta *m, struct note *note)
{
    int is_empty = m->root == 0;
    if (m->pages < META_PAGES || m->pages > META_PAGES_MAX || m->root >= m->pages ||
        m->list >= m->pages || m->height > PAGE_HEIGHT_MAX || is_empty != (m->height == 0) ||
        m->root == 1 || m->list == 1 || m->fresh_count > META_FRESH_MAX || m->change == 0) {
        return note_set(note, ERR_CORRUPT, "its numbers cannot be");
    }
    for (uint32_t i = 0; i < m->fresh_count; i++) {
        if (m->fresh[i].page < META_PAGES || m->fresh[i].page >= m->pages) {
            return note_set(note, ERR_CORRUPT, "it names page %u of %u", m->fresh[i].page,
                            m->pages);
        }
    }
    return ERR_NONE;
}

enum err meta_read(const uint8_t p[PAGE_BYTES], struct meta *out, struct note *note)
{
    if (be32_at(p + 8) != crc32c(0, p + 12, PAGE_BYTES - 12)) {
        return note_set(note, ERR_CORRUPT, "the checksum is wrong");
    }
    if (memcmp(p, magic, sizeof(magic) - 1) != 0) {
        return note_set(note, ERR_CORRUPT, "no page of a tree's file");
    }
    if (memcmp(p, magic, sizeof(magic)) != 0 || be32_at(p + 12) != PAGE_BYTES) {
        return note_set(note, ERR_BAD_SETTING, "format %c with pages of %u bytes is not known here",
                        p[7], be32_at(p + 12));
    }
    *out = (struct meta){
        .id = be64_at(p + 16),
        .change = be64_at(p + 24),
        .root = be32_at(p + 32),
        .height = be32_at(p + 36),
        .pages = be32_at(p + 40),
        .list = be32_at(p + 44),
        .free = be32_at(p + 48),
        .listing = be32_at(p + 52),
        .leaf = be32_at(p + 56),
        .branch = be32_at(p + 60),
        .overflow = be32_at(p + 64),
        .keys = be64_at(p + 72),
        .user_bytes = be64_at(p + 80),
        .leaf_bytes = be64_at(p + 88),
        .fresh_count = be32_at(p + 96),
    };
    for (uint32_t i = 0; i < out->fresh_count && i < META_FRESH_MAX; i++) {
        out->fresh[i].page = be32_at(p + META_FRESH_AT + (size_t)8 * i);
        out->fresh[i].crc = be32_at(p + META_FRESH_AT + (size_t)8 * i + 4);
    }
    return verify(out, note);
}
