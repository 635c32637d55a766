/*
 * Texts that differ from a model in literals only. Budget: 40 ns for a statement of 100 bytes.
 *
 * Why it is exact: the bytes around a literal are those of the model, so the scanner arrives at it
 * in the same state. A run of at most nine digits is again one LEX_INT4, because the byte behind it
 * is the one that ended the model's. A string without quotes inside is again one LEX_STRING,
 * because the byte behind its closing quote is the model's, which is no quote.
 */

#include "base/check.h"
#include "planner/planner.h"

enum {
    DIGITS_MAX = 9 /* below 2^31 whatever they are */
};

int lex_model_set(struct lex_model *model, const struct lex *lex)
{
    check(lex->usable);
    if (lex->text.n > LEX_MODEL_BYTES_MAX || lex->literals_count > LEX_MODEL_LITERALS_MAX) {
        return 0;
    }
    for (size_t i = 0; i < lex->literals_count; i++) {
        const struct lex_literal *l = &lex->literals[i];
        if (l->kind != LEX_STRING && (l->kind != LEX_INT4 || l->length > DIGITS_MAX)) {
            return 0;
        }
    }
    model->text.n = 0;
    buf_add_slice(&model->text, lex->text);
    model->count = (uint32_t)lex->literals_count;
    memcpy(model->literals, lex->literals, lex->literals_count * sizeof(model->literals[0]));
    return 1;
}

/* End of the literal of this kind that begins at p, or NULL. */
static const uint8_t *literal_end(enum lex_kind kind, const uint8_t *p, const uint8_t *end)
{
    if (kind == LEX_INT4) {
        const uint8_t *start = p;
        while (p < end && (unsigned)(*p - '0') < 10) {
            p++;
        }
        return p == start || p - start > DIGITS_MAX ? NULL : p;
    }
    if (p == end || *p != '\'') {
        return NULL;
    }
    p = memchr(p + 1, '\'', (size_t)(end - p - 1));
    return p == NULL ? NULL : p + 1;
}

int lex_model_match(const struct lex_model *model, struct slice text, struct lex *lex)
{
    struct lex_literal found[LEX_MODEL_LITERALS_MAX];
    const uint8_t *m = model->text.p;
    const uint8_t *m_end = m + model->text.n;
    const uint8_t *p = text.p;
    const uint8_t *end = p + text.n;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct lex_literal *l = &model->literals[i];
        size_t between = (size_t)(model->text.p + l->offset - m);
        if ((size_t)(end - p) < between || memcmp(m, p, between) != 0) {
            return 0;
        }
        p += between;
        const uint8_t *after = literal_end(l->kind, p, end);
        if (after == NULL) {
            return 0;
        }
        found[i] = (struct lex_literal){(uint32_t)(p - text.p), (uint32_t)(after - p), l->kind};
        p = after;
        m += between + l->length;
    }
    if (end - p != m_end - m || memcmp(m, p, (size_t)(end - p)) != 0) {
        return 0;
    }
    lex->text = text;
    memcpy(lex->literals, found, model->count * sizeof(found[0]));
    lex->literals_count = model->count;
    lex->usable = 1;
    return 1;
}

void lex_model_free(struct lex_model *model)
{
    buf_free(&model->text);
}
