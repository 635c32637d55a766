/*
 * Goal: what a model recognises has the model's shape, with the literals that lex_shape() finds.
 * Method: by hand for the edges; then random texts, made by changing a model a little, for which
 * lex_shape() has the last word.
 */

#include <criterion/criterion.h>

#include "base/rng.h"
#include "planner/planner.h"

static struct lex lex, other;
static struct lex_model model;

static void learn(const char *text)
{
    lex_shape(&lex, slice_of(text));
    cr_assert(lex.usable, "%s", text);
    cr_assert(lex_model_set(&model, &lex), "%s", text);
}

static int knows(const char *text)
{
    return lex_model_match(&model, slice_of(text), &other);
}

Test(lex_model, other_literals_of_the_same_kinds_are_recognised)
{
    learn("SELECT a FROM t WHERE id = 5 AND name='x' LIMIT 10");
    cr_assert(knows("SELECT a FROM t WHERE id = 5 AND name='x' LIMIT 10"));
    cr_assert(knows("SELECT a FROM t WHERE id = 123456789 AND name='' LIMIT 0"));
    cr_assert_eq(other.literals_count, 3);
    cr_assert_eq(other.literals[0].length, 9);
    cr_assert_eq(other.literals[1].length, 2);
    cr_assert_eq(other.literals[1].kind, LEX_STRING);
    learn("SELECT 1");
    cr_assert(knows("SELECT 22"));
}

Test(lex_model, anything_else_is_not)
{
    static const char *const texts[] = {
        "SELECT a FROM t WHERE id = 5 AND name='x' LIMIT 1",
        "",
        "SELECT a FROM t WHERE id = 5 AND name='x''y'",
        "SELECT a FROM t WHERE id = 5",
        "SELECT a FROM t WHERE id = 1234567890 AND name='x'",
        "SELECT a FROM t WHERE id =",
        "SELECT a FROM t WHERE id = 5.0 AND name='x'",
        "SELECT a FROM t WHERE id = 5 AND name='x",
        "SELECT a FROM t WHERE id = 5a AND name='x'",
        "SELECT a FROM t WHERE id = '5' AND name='x'",
        "SELECT a FROM t WHERE id = -5 AND name='x'",
        "SELECT a FROM t WHERE id = 5 AND name='x';",
        "SELECT a FROM t WHERE id = 5 AND name='x' OR 'y'='y'",
        "select a FROM t WHERE id = 5 AND name='x'",
    };
    learn("SELECT a FROM t WHERE id = 5 AND name='x'");
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cr_assert_not(knows(texts[i]), "%s", texts[i]);
    }
}

Test(lex_model, literals_of_other_kinds_make_no_model)
{
    static const char *const texts[] = {"SELECT 3000000000", "SELECT 1.5", "SELECT 'a''b'",
                                        "SELECT 0000000001", "SELECT 1,2,3,4,5,6,7,8,9"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        lex_shape(&lex, slice_of(texts[i]));
        cr_assert(lex.usable);
        cr_assert_not(lex_model_set(&model, &lex), "%s", texts[i]);
    }
}

static void expect_as_lex_shape(struct slice text)
{
    struct lex real = {0};
    if (!lex_model_match(&model, text, &other)) {
        return;
    }
    lex_shape(&real, text);
    cr_assert(real.usable, SLICE_FMT, SLICE_ARG(text));
    cr_assert(slice_eq(buf_slice(&real.shape), buf_slice(&lex.shape)), SLICE_FMT, SLICE_ARG(text));
    cr_assert_eq(real.literals_count, other.literals_count);
    for (size_t i = 0; i < real.literals_count; i++) {
        cr_assert_eq(real.literals[i].offset, other.literals[i].offset);
        cr_assert_eq(real.literals[i].length, other.literals[i].length);
        cr_assert_eq(real.literals[i].kind, other.literals[i].kind);
    }
    lex_free(&real);
}

Test(lex_model, no_change_of_a_model_deceives_it)
{
    static const char *const models[] = {
        "SELECT a FROM t WHERE id = 5 AND name='x'",
        "INSERT INTO t VALUES (1,'a',2)",
        "SELECT t.a5, 'x' 'y' FROM t5 -- 7\nWHERE a=1+2",
        "UPDATE t SET a=a-1 WHERE k='q' /* 3 */",
        "SELECT 1",
        "SELECT 'a'::text||'b', $1, \"a 5\" FROM x WHERE y=.5e1 OR z=4"};
    static const char bytes[] = "0159'\"\\-/*.$;eE_ ax\n(";
    struct rng rng = rng_seeded(7);
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        lex_shape(&lex, slice_of(models[i]));
        if (!lex.usable || !lex_model_set(&model, &lex)) {
            continue;
        }
        for (int n = 0; n < 20000; n++) {
            uint8_t text[128];
            size_t length = strlen(models[i]);
            memcpy(text, models[i], length);
            for (uint64_t changes = 1 + rng_below(&rng, 3); changes > 0; changes--) {
                size_t at = rng_below(&rng, length);
                uint8_t byte = (uint8_t)bytes[rng_below(&rng, sizeof(bytes) - 1)];
                if (rng_below(&rng, 2) == 0 && length < sizeof(text)) {
                    memmove(text + at + 1, text + at, length - at);
                    length++;
                }
                text[at] = byte;
            }
            expect_as_lex_shape(slice_bytes(text, length));
        }
    }
}
