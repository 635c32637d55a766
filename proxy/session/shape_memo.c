/* Budget of a hit: 60 ns. See shape_memo.h. */

#include "proxy/session/shape_memo.h"

#include "base/hash.h"
#include "base/mem.h"
#include "proxy/pool/terms.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

enum {
    SLOTS = 256,
    PREFIX_BYTES = 24
};

struct shape_slot {
    struct lex_model model;
    /* What a plan depends on besides the text. References; all NULL: the slot is free. */
    struct terms *terms; /* user and database */
    struct varset *vars; /* search_path, standard_conforming_strings */
    struct plan_batch *batch;
    int plain; /* planned for session mode: settings go to the server unread */
};

/* The settings of the session are those of `vars`, and no table has changed for it alone. */
static int is_plain(const struct session *s)
{
    return s->terms != NULL &&
           (s->tx.kind == TX_KIND_NONE || (s->tx.locals->count == 0 && s->tx.changed_count == 0));
}

static size_t slot_of(const struct session *s, struct slice text)
{
    size_t n = text.n < PREFIX_BYTES ? text.n : PREFIX_BYTES;
    return hash_bytes(text.p, n, (uint64_t)(uintptr_t)s->terms) % SLOTS;
}

struct plan_batch *shape_memo_find(const struct shape_memo *memo, const struct session *s,
                                   struct slice text, struct lex *lex)
{
    if (memo->slots == NULL || !is_plain(s)) {
        return NULL;
    }
    const struct shape_slot *slot = &memo->slots[slot_of(s, text)];
    if (slot->terms != s->terms || slot->vars != s->vars || slot->plain != session_is_plain(s) ||
        slot->batch->map_epoch != s->db->map->epoch ||
        slot->batch->catalog_version !=
            (s->db->catalog == NULL ? 0 : catalog_version(s->db->catalog)) ||
        !lex_model_match(&slot->model, text, lex)) {
        return NULL;
    }
    return slot->batch;
}

static void empty_slot(struct worker *w, struct shape_slot *slot)
{
    if (slot->terms != NULL) {
        terms_put(w, slot->terms);
        varset_unref(&w->vars, slot->vars);
        plan_batch_unref(slot->batch);
        slot->terms = NULL;
        slot->vars = NULL;
        slot->batch = NULL;
    }
}

void shape_memo_keep(struct shape_memo *memo, struct session *s, const struct lex *lex,
                     struct plan_batch *batch)
{
    if (!is_plain(s)) {
        return;
    }
    if (memo->slots == NULL) {
        memo->slots = mem_zero(SLOTS * sizeof(*memo->slots));
    }
    struct shape_slot *slot = &memo->slots[slot_of(s, lex->text)];
    empty_slot(s->worker, slot);
    if (lex_model_set(&slot->model, lex)) {
        slot->terms = terms_ref(s->terms);
        slot->vars = varset_ref(s->vars);
        slot->batch = plan_batch_ref(batch);
        slot->plain = session_is_plain(s);
    }
}

void shape_memo_free(struct worker *w)
{
    for (size_t i = 0; w->shapes.slots != NULL && i < SLOTS; i++) {
        empty_slot(w, &w->shapes.slots[i]);
        lex_model_free(&w->shapes.slots[i].model);
    }
    mem_free(w->shapes.slots);
}
