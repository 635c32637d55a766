/*
 * The shape of a statement in one pass, without parsing it.
 *
 * The shape is the text with literals replaced by one byte for their kind (1..5), each run of
 * white space and comments by one space (none at the ends), a closing semicolon dropped, and every
 * other byte as it stands. What always holds: putting literals of the same kinds back into a shape
 * gives a text whose tokens are those of the original but for the literals. Whatever would make
 * that doubtful (escape strings, dollar quotes, junk glued to a number, strings that PostgreSQL
 * would join) makes the statement not usable, and it is then planned by its whole text.
 *
 * Budget: 150 ns for a statement of 100 bytes; nothing is allocated once `shape` has grown.
 *
 * Source of the rules: PostgreSQL src/backend/parser/scan.l of 13 to 18, with
 * standard_conforming_strings on. Where versions differ (0x10, 1_000, 1a, \v) we say not usable.
 */

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/check.h"
#include "base/hash.h"
#include "planner/planner.h"

enum {
    SHAPE_BYTES_MAX = 64 * 1024
};

enum class {
    BAD,    /* control bytes: they could be mistaken for our marks */
    SPACE,  /* scan.l: space */
    LETTER, /* ident_start */
    DIGIT,
    QUOTE,
    DOUBLE_QUOTE,
    DASH,
    SLASH,
    DOT,
    DOLLAR,
    SEMICOLON,
    OTHER /* operators and punctuation: kept */
};

enum {
    IDENT = 0x10 /* may go on an identifier */
};

static const uint8_t classes[256] = {
    [' '] = SPACE,
    ['\t'] = SPACE,
    ['\n'] = SPACE,
    ['\r'] = SPACE,
    ['\f'] = SPACE,
    ['\''] = QUOTE,
    ['"'] = DOUBLE_QUOTE,
    ['-'] = DASH,
    ['/'] = SLASH,
    ['.'] = DOT,
    ['$'] = DOLLAR | IDENT,
    [';'] = SEMICOLON,
    ['_'] = LETTER | IDENT,
    ['0' ... '9'] = DIGIT | IDENT,
    ['a' ... 'z'] = LETTER | IDENT,
    ['A' ... 'Z'] = LETTER | IDENT,
    [128 ... 255] = LETTER | IDENT,
    ['!'] = OTHER,
    ['#' ... '#'] = OTHER,
    ['%' ... '&'] = OTHER,
    ['(' ... ','] = OTHER,
    [':'] = OTHER,
    ['<' ... '@'] = OTHER,
    ['[' ... '^'] = OTHER,
    ['`'] = OTHER,
    ['{' ... '~'] = OTHER,
};

static_assert(LEX_STRING_QUOTED + 1 < 8, "marks are bytes below 8");

struct scan {
    const uint8_t *text, *p, *end;
    uint8_t *o, *o_end;
    const uint8_t *string_end; /* place in the shape behind the last string */
    struct lex *lex;
};

static inline unsigned class_at(const struct scan *s, const uint8_t *p)
{
    return p < s->end ? classes[*p] : (unsigned)SPACE;
}

/* Each step takes one token off the text and returns 0 for "not usable". Copy n bytes. */
static inline int keep(struct scan *s, size_t n)
{
    if ((size_t)(s->o_end - s->o) < n) {
        return 0;
    }
    memcpy(s->o, s->p, n);
    s->o += n;
    s->p += n;
    return 1;
}

static inline int put_space(struct scan *s)
{
    if (s->o != s->lex->shape.p && s->o[-1] != ' ') {
        if (s->o == s->o_end) {
            return 0;
        }
        *s->o++ = ' ';
    }
    return 1;
}

static int put_literal(struct scan *s, const uint8_t *start, enum lex_kind kind)
{
    struct lex *lex = s->lex;
    if (lex->literals_count == LEX_LITERALS_MAX || s->o == s->o_end) {
        return 0;
    }
    lex->literals[lex->literals_count++] = (struct lex_literal){
        .offset = (uint32_t)(start - s->text), .length = (uint32_t)(s->p - start), .kind = kind};
    *s->o++ = (uint8_t)(kind + 1);
    return 1;
}

/* ---- white space ----------------------------------------------------------------------------- */

static void skip_line_comment(struct scan *s)
{
    while (s->p < s->end && *s->p != '\n' && *s->p != '\r') {
        s->p++;
    }
}

/* A comment in front of the statement that gives us a hint: what it says is not in the shape. */
static int is_hint(const struct scan *s, const uint8_t *p)
{
    static const char word[] = "braid:";
    if (s->o != s->lex->shape.p) {
        return 0;
    }
    while (p < s->end && (classes[*p] == SPACE || *p == '*')) {
        p++;
    }
    for (size_t i = 0; i < sizeof(word) - 1; i++, p++) {
        if (p == s->end || (*p | 0x20) != (word[i] | 0x20)) {
            return 0;
        }
    }
    return 1;
}

static int skip_block_comment(struct scan *s)
{
    size_t depth = 1;
    s->p += 2;
    while (s->end - s->p >= 2) {
        if (s->p[0] == '*' && s->p[1] == '/') {
            s->p += 2;
            if (--depth == 0) {
                return 1;
            }
        } else if (s->p[0] == '/' && s->p[1] == '*') {
            s->p += 2;
            depth++;
        } else {
            s->p++;
        }
    }
    return 0;
}

/* 1 when a comment was skipped, 0 when there is none here, -1 when the statement is not usable */
static int skip_comment(struct scan *s)
{
    if (s->end - s->p < 2) {
        return 0;
    }
    if (s->p[0] == '-' && s->p[1] == '-') {
        skip_line_comment(s);
    } else if (s->p[0] == '/' && s->p[1] == '*') {
        if (is_hint(s, s->p + 2) || !skip_block_comment(s)) {
            return -1;
        }
    } else {
        return 0;
    }
    return put_space(s) ? 1 : -1;
}

/* Nothing but white space and comments may follow. */
static int step_semicolon(struct scan *s)
{
    s->p++;
    while (s->p < s->end) {
        if (classes[*s->p] == SPACE) {
            s->p++;
        } else if (skip_comment(s) != 1) {
            return 0;
        }
    }
    return 1;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static int step_string(struct scan *s)
{
    const uint8_t *last = s->o != s->lex->shape.p && s->o[-1] == ' ' ? s->o - 1 : s->o;
    if (s->string_end == last) { /* 'a' newline 'b' is one string to PostgreSQL */
        return 0;
    }
    const uint8_t *start = s->p;
    enum lex_kind kind = LEX_STRING;
    for (const uint8_t *p = start + 1;; p++) {
        p = p < s->end ? memchr(p, '\'', (size_t)(s->end - p)) : NULL;
        if (p == NULL) {
            return 0;
        }
        if (p + 1 == s->end || p[1] != '\'') {
            s->p = p + 1;
            break;
        }
        kind = LEX_STRING_QUOTED;
        p++;
    }
    int ok = put_literal(s, start, kind);
    s->string_end = s->o;
    return ok;
}

static int step_quoted_name(struct scan *s)
{
    const uint8_t *p = s->p + 1;
    for (; p < s->end; p++) {
        if (*p == '"') {
            if (p + 1 == s->end || p[1] != '"') {
                break;
            }
            p++;
        } else if (*p < 8) {
            return 0;
        }
    }
    if (p == s->end) {
        return 0;
    }
    return keep(s, (size_t)(p + 1 - s->p));
}

/* A word of one letter in front of a quote is the start of another kind of string. */
static inline int is_string_prefix(const struct scan *s, const uint8_t *after, uint8_t letter)
{
    if (after == s->end) {
        return 0;
    }
    letter |= 0x20;
    if (*after == '\'') {
        return letter == 'e' || letter == 'b' || letter == 'x' || letter == 'n';
    }
    return letter == 'u' && *after == '&' && after + 1 < s->end &&
           (after[1] == '\'' || after[1] == '"');
}

/* Length of the run of bytes that may be in a word; the first one is. */
static inline size_t word_length(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *start = p;
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i low = _mm_or_si128(v, _mm_set1_epi8(0x20));
        __m128i letter = _mm_sub_epi8(low, _mm_set1_epi8('a')); /* 0..25, unsigned */
        __m128i digit = _mm_sub_epi8(v, _mm_set1_epi8('0'));    /* 0..9 */
        __m128i is = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);
        is = _mm_or_si128(is, _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit));
        is = _mm_or_si128(is, _mm_cmpeq_epi8(v, _mm_set1_epi8('_')));
        is = _mm_or_si128(is, _mm_cmpeq_epi8(v, _mm_set1_epi8('$')));
        unsigned others = ~(unsigned)_mm_movemask_epi8(_mm_or_si128(is, v)) & 0xFFFF;
        if (others != 0) {
            return (size_t)(p - start) + (size_t)__builtin_ctz(others);
        }
    }
#endif
    while (p < end && (classes[*p] & IDENT) != 0) {
        p++;
    }
    return (size_t)(p - start);
}

static inline int step_word(struct scan *s)
{
    size_t n = word_length(s->p, s->end);
    if (n == 1 && is_string_prefix(s, s->p + 1, *s->p)) {
        return 0;
    }
    if (n <= 16 && s->o_end - s->o >= 16 && s->end - s->p >= 16) {
        memcpy(s->o, s->p, 16); /* what is too much is overwritten by the next token */
        s->o += n;
        s->p += n;
        return 1;
    }
    return keep(s, n);
}

/* $1; anything else behind a $ is a dollar quote or an error. */
static int step_param(struct scan *s)
{
    const uint8_t *p = s->p + 1;
    while (p < s->end && classes[*p] == (DIGIT | IDENT)) {
        p++;
    }
    size_t n = (size_t)(p - s->p);
    return n > 1 && (class_at(s, p) & IDENT) == 0 && keep(s, n);
}

static inline const uint8_t *digits_end(const struct scan *s, const uint8_t *p)
{
    while (p < s->end && (unsigned)(*p - '0') < 10) {
        p++;
    }
    return p;
}

/* Kind by value, as PostgreSQL gives types to constants. Returns 0 for 2^31 and 2^63: with a minus
 * in front they are of the smaller type, without it of the larger. */
static inline int whole_number_kind(const uint8_t *p, const uint8_t *end, enum lex_kind *kind)
{
    if (end - p > 9) {
        while (p < end && *p == '0') {
            p++;
        }
    }
    if (end - p > 19) {
        *kind = LEX_NUMERIC;
        return 1;
    }
    uint64_t v = 0;
    for (; p < end; p++) {
        v = v * 10 + (uint64_t)(*p - '0');
    }
    *kind = v <= INT32_MAX ? LEX_INT4 : v <= INT64_MAX ? LEX_INT8 : LEX_NUMERIC;
    return v != (uint64_t)INT32_MAX + 1 && v != (uint64_t)INT64_MAX + 1;
}

static int step_number(struct scan *s)
{
    const uint8_t *start = s->p;
    const uint8_t *p = digits_end(s, start);
    enum lex_kind kind = LEX_NUMERIC;
    int whole = 1;
    if (p < s->end && *p == '.') {
        whole = 0;
        p = digits_end(s, p + 1);
    }
    if (p < s->end && (*p | 0x20) == 'e') {
        whole = 0;
        p++;
        p += p < s->end && (*p == '-' || *p == '+');
        if (digits_end(s, p) == p) {
            return 0;
        }
        p = digits_end(s, p);
    }
    unsigned next = class_at(s, p);
    if ((next & IDENT) != 0 || next == DOT) { /* 1a, 0x1, 1_0, 1..2, 1.2.3 */
        return 0;
    }
    if (whole && !whole_number_kind(start, p, &kind)) {
        return 0;
    }
    s->p = p;
    return put_literal(s, start, kind);
}

/* `a..5` is dot_dot and 5 to PostgreSQL, not a dot and .5 */
static inline int step_dot(struct scan *s, uint8_t next)
{
    if (next == '.') {
        return 0;
    }
    if ((unsigned)(next - '0') < 10 && s->p != s->text && (classes[s->p[-1]] & IDENT) != 0) {
        return 0; /* t.5: what is put back there could become part of the name */
    }
    return (unsigned)(next - '0') < 10 ? step_number(s) : keep(s, 1);
}

/* What is not so common, kept out of the loop below. */
static __attribute__((noinline)) int step_rare(struct scan *s)
{
    uint8_t next = s->p + 1 < s->end ? s->p[1] : 0;
    switch ((enum class)(classes[*s->p] & ~(unsigned)IDENT)) {
    case DIGIT: return step_number(s);
    case QUOTE: return step_string(s);
    case DOUBLE_QUOTE: return step_quoted_name(s);
    case DOLLAR: return step_param(s);
    case DOT: return step_dot(s, next);
    case DASH:
    case SLASH: {
        int skipped = skip_comment(s);
        return skipped == 0 ? keep(s, 1) : skipped > 0;
    }
    case SEMICOLON: return step_semicolon(s);
    case SPACE:
    case LETTER:
    case OTHER:
    case BAD: return 0;
    }
    return 0;
}

/* A single blank behind a word is so common that it is taken along; behind a word there is none in
 * the shape yet. */
static inline void take_blank(struct scan *s)
{
    if (s->p < s->end && *s->p == ' ' && s->o < s->o_end) {
        *s->o++ = ' ';
        s->p++;
    }
}

/* The dot of a.b: whatever may be the start of a number or of `..` is left to step_dot(). */
static inline int is_plain_dot(const struct scan *s, unsigned c)
{
    return c == DOT && s->end - s->p >= 2 && (classes[s->p[1]] & ~(unsigned)IDENT) == LETTER;
}

static int scan_all(struct scan *s)
{
    struct scan here = *s; /* its address stays here, so that it lives in registers */
    int ok = 1;
    while (ok && here.p < here.end) {
        unsigned c = classes[*here.p];
        if (c == (LETTER | IDENT)) {
            ok = step_word(&here);
            take_blank(&here);
        } else if (c == SPACE) {
            here.p++;
            ok = put_space(&here);
        } else if (c == OTHER || is_plain_dot(&here, c)) {
            ok = keep(&here, 1);
        } else {
            *s = here;
            ok = step_rare(s);
            here = *s;
        }
    }
    *s = here;
    return ok;
}

void lex_shape(struct lex *lex, struct slice text)
{
    size_t room = text.n < SHAPE_BYTES_MAX ? text.n : SHAPE_BYTES_MAX;
    lex->text = text;
    lex->shape.n = 0;
    lex->hash = 0;
    lex->literals_count = 0;
    lex->usable = 0;
    buf_reserve(&lex->shape, room + 1);
    struct scan s = {.text = text.p,
                     .p = text.p,
                     .end = text.n == 0 ? text.p : text.p + text.n,
                     .o = lex->shape.p,
                     .o_end = lex->shape.p + room + 1,
                     .lex = lex};
    int ok = text.n <= UINT32_MAX && scan_all(&s);
    lex->shape.n = (size_t)(s.o - lex->shape.p);
    lex->shape.n -= lex->shape.n != 0 && s.o[-1] == ' ';
    if (ok) {
        lex->hash = hash_bytes(lex->shape.p, lex->shape.n, hash_process_seed());
        lex->usable = 1;
    }
}

void lex_free(struct lex *lex)
{
    buf_free(&lex->shape);
    *lex = (struct lex){0};
}

struct slice lex_value(const struct lex *lex, size_t index, struct buf *scratch)
{
    check(index < lex->literals_count);
    const struct lex_literal *l = &lex->literals[index];
    const uint8_t *p = lex->text.p + l->offset;
    if (l->kind != LEX_STRING && l->kind != LEX_STRING_QUOTED) {
        return slice_bytes(p, l->length);
    }
    check(l->length >= 2);
    struct slice inside = slice_bytes(p + 1, l->length - 2);
    if (l->kind == LEX_STRING) {
        return inside;
    }
    scratch->n = 0;
    buf_reserve(scratch, inside.n);
    for (size_t i = 0; i < inside.n; i++) {
        scratch->p[scratch->n++] = inside.p[i];
        i += inside.p[i] == '\''; /* the second of a doubled quote */
    }
    return buf_slice(scratch);
}
