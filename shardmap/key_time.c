/*
 * Dates and timestamps as text, in ISO form:
 *
 *     2026-01-31 [T] 10:11[:12[.123456]] [Z | +05[:30]] [BC]     infinity  -infinity  epoch
 *
 * What is read here is read as every PostgreSQL server reads it, whatever its DateStyle and
 * TimeZone. What depends on those, on the clock ('today') or on the server's tables of zones is
 * refused with a hint. So is much that PostgreSQL would still understand: being refused is a
 * nuisance, being understood otherwise is a row on the wrong shard.
 * Source: PostgreSQL src/backend/utils/adt/datetime.c, timestamp.c, date.c.
 */

#include <math.h>
#include <string.h>

#include "shardmap/key.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY    (INT64_C(86400) * US_PER_SECOND)
#define DAYS_MIN      INT64_C(-2451545)            /* 4714-11-24 BC, Julian day 0 */
#define DAYS_END      INT64_C(2145031949)          /* 5874898-01-01 */
#define MICROS_MIN    INT64_C(-211813488000000000) /* the same day */
#define MICROS_END    INT64_C(9223371331200000000) /* 294277-01-01 */
#define EPOCH_DAYS    INT64_C(-10957)              /* 1970-01-01 */

enum {
    FRACTION_DIGITS_MAX = 15, /* as many as a double holds exactly, so that rounding is the same */
    ZONE_HOURS_MAX = 15
};

struct moment {
    int64_t year; /* astronomical: 1 BC is 0 */
    int64_t month, day;
    int64_t day_us; /* 24:00:00 included */
    int64_t zone_s; /* east of Greenwich */
    int has_zone;
};

struct cursor {
    const uint8_t *p, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->p < c->end && key_is_space(*c->p)) {
        c->p++;
    }
}

static int at_digit(const struct cursor *c)
{
    return c->p < c->end && key_is_digit(*c->p);
}

static int take(struct cursor *c, char wanted)
{
    if (c->p < c->end && *c->p == (uint8_t)wanted) {
        c->p++;
        return 1;
    }
    return 0;
}

/* A whole run of digits, of a length between the two. */
static int take_number(struct cursor *c, int digits_min, int digits_max, int64_t *out)
{
    int digits = 0;
    int64_t v = 0;
    for (; at_digit(c) && digits <= digits_max; c->p++, digits++) {
        v = v * 10 + (*c->p - '0');
    }
    *out = v;
    return digits >= digits_min && digits <= digits_max;
}

static int take_word(struct cursor *c, const char *lower)
{
    size_t n = strlen(lower);
    if ((size_t)(c->end - c->p) < n) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if ((c->p[i] | 0x20) != (uint8_t)lower[i]) {
            return 0;
        }
    }
    c->p += n;
    return 1;
}

static int month_days(int64_t year, int64_t month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static int take_date(struct cursor *c, struct moment *m)
{
    return take_number(c, 4, 7, &m->year) && take(c, '-') && take_number(c, 1, 2, &m->month) &&
           take(c, '-') && take_number(c, 1, 2, &m->day);
}

/* Rounded as PostgreSQL rounds: the nearest double, times a million, to the nearest even. */
static int take_fraction(struct cursor *c, int64_t *us)
{
    double scale = 1;
    int64_t digits = 0;
    int count = 0;
    for (; at_digit(c) && count <= FRACTION_DIGITS_MAX; c->p++, count++) {
        digits = digits * 10 + (*c->p - '0');
        scale *= 10;
    }
    *us = (int64_t)rint((double)digits / scale * 1e6);
    return count >= 1 && count <= FRACTION_DIGITS_MAX;
}

static int take_time(struct cursor *c, struct moment *m)
{
    int64_t hour, minute, second = 0, us = 0;
    if (!take_number(c, 1, 2, &hour) || !take(c, ':') || !take_number(c, 1, 2, &minute)) {
        return 0;
    }
    if (take(c, ':')) {
        if (!take_number(c, 1, 2, &second) || (take(c, '.') && !take_fraction(c, &us))) {
            return 0;
        }
    }
    m->day_us = ((hour * 60 + minute) * 60 + second) * US_PER_SECOND + us;
    return hour <= 24 && minute < 60 && second <= 60 && m->day_us <= US_PER_DAY;
}

/* "Z", "+5", "+05", "+0530", "+05:30", "+05:30:15"; absent is fine. */
static int take_zone(struct cursor *c, struct moment *m)
{
    if (take_word(c, "z")) {
        m->has_zone = 1;
        return 1;
    }
    int west = c->p < c->end && *c->p == '-';
    if (!take(c, '-') && !take(c, '+')) {
        return 1;
    }
    int64_t hours, minutes = 0, seconds = 0;
    const uint8_t *first = c->p;
    if (!take_number(c, 1, 4, &hours)) {
        return 0;
    }
    if (c->p - first > 2) {
        minutes = hours % 100;
        hours /= 100;
    } else if (take(c, ':')) {
        if (!take_number(c, 1, 2, &minutes) || (take(c, ':') && !take_number(c, 1, 2, &seconds))) {
            return 0;
        }
    }
    m->has_zone = 1;
    m->zone_s = (hours * 60 + minutes) * 60 + seconds;
    m->zone_s = west ? -m->zone_s : m->zone_s;
    return hours <= ZONE_HOURS_MAX && minutes < 60 && seconds < 60;
}

/* The era, and what a calendar can say only once it knows the era. */
static int take_era(struct cursor *c, struct moment *m)
{
    const uint8_t *before = c->p;
    skip_space(c);
    if (m->year == 0) {
        return 0;
    }
    if (c->p > before) {
        if (take_word(c, "bc")) {
            m->year = 1 - m->year;
        } else {
            (void)take_word(c, "ad");
        }
    }
    skip_space(c);
    return c->p == c->end && m->month >= 1 && m->month <= 12 && m->day >= 1 &&
           m->day <= month_days(m->year, m->month);
}

static int read_moment(struct cursor c, struct moment *m)
{
    if (!take_date(&c, m)) {
        return 0;
    }
    struct cursor behind = c;
    int t = take_word(&c, "t");
    if (!t) {
        skip_space(&c);
    }
    if (t || (c.p > behind.p && at_digit(&c))) {
        if (!take_time(&c, m)) {
            return 0;
        }
        behind = c;
        skip_space(&c);
        if (!take_zone(&c, m)) {
            return 0;
        }
        if (m->has_zone) {
            behind = c;
        }
    }
    return take_era(&behind, m);
}

/* Days from 2000-01-01 in the Gregorian calendar, continued into the past; counted from March so
 * that the leap day is the last of a year. */
static int64_t days_of(const struct moment *m)
{
    int64_t year = m->year - (m->month <= 2);
    int64_t cycle = (year >= 0 ? year : year - 399) / 400;
    int64_t of_cycle = year - cycle * 400;
    int64_t month = (m->month + 9) % 12;
    int64_t of_year = (153 * month + 2) / 5 + m->day - 1;
    return cycle * 146097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 730425;
}

/* infinity, -infinity, epoch. */
static int read_special(struct cursor c, uint32_t type, int64_t *out)
{
    int64_t lowest = type == KEY_DATE ? INT32_MIN : INT64_MIN;
    int64_t highest = type == KEY_DATE ? INT32_MAX : INT64_MAX;
    if (take_word(&c, "infinity")) {
        *out = highest;
    } else if (take(&c, '-') && take_word(&c, "infinity")) {
        *out = lowest;
    } else if (take_word(&c, "epoch")) {
        *out = type == KEY_DATE ? EPOCH_DAYS : EPOCH_DAYS * US_PER_DAY;
    } else {
        return 0;
    }
    skip_space(&c);
    return c.p == c.end;
}

static int has_word(struct slice text, const char *word)
{
    for (size_t i = 0; i < text.n; i++) {
        struct cursor c = {text.p + i, text.p + text.n};
        if (take_word(&c, word)) {
            return 1;
        }
    }
    return 0;
}

/* Whether some server may read it for a date: all it knows without a digit are a few words. */
static int may_be_a_date(struct slice text)
{
    static const char *const words[] = {"today", "tomorrow", "yesterday", "now",
                                        "epoch", "infinity", "allballs"};
    for (size_t i = 0; i < text.n; i++) {
        if (key_is_digit(text.p[i])) {
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (has_word(text, words[i])) {
            return 1;
        }
    }
    return 0;
}

static enum err refuse(uint32_t type, struct slice text, struct note *note)
{
    char quoted[KEY_QUOTE_BYTES];
    if (!may_be_a_date(text)) {
        return note_set(note, ERR_BAD_DATETIME, "invalid input syntax for type %s: \"%s\"",
                        key_type_name(type), key_quote(text, quoted));
    }
    enum err e =
        note_set(note, ERR_UNSUPPORTED, "\"%s\" is not a sharding key of type %s in ISO form",
                 key_quote(text, quoted), key_type_name(type));
    if (type == KEY_DATE) {
        note_hint(note, "Write a sharding key of this type in ISO form, as '2026-01-31'.");
    } else if (type == KEY_TIMESTAMP) {
        note_hint(note, "Write a sharding key of this type in ISO form, as '2026-01-31 10:11:12'.");
    } else {
        note_hint(note, "Write a sharding key of this type in ISO form with its time zone, as "
                        "'2026-01-31 10:11:12+00'.");
    }
    return e;
}

enum err key_text_time(uint32_t type, struct slice text, int64_t *out, struct note *note)
{
    struct cursor c = {text.p, text.p + text.n};
    struct moment m = {0};
    skip_space(&c);
    if (read_special(c, type, out)) {
        return ERR_NONE;
    }
    if (!read_moment(c, &m) || (type == KEY_TIMESTAMPTZ && !m.has_zone)) {
        return refuse(type, text, note);
    }
    int64_t days = days_of(&m);
    if (type == KEY_DATE) { /* the time of day is dropped, as PostgreSQL drops it */
        *out = days;
        return days >= DAYS_MIN && days < DAYS_END ? ERR_NONE : refuse(type, text, note);
    }
    __int128 us = (__int128)days * US_PER_DAY + m.day_us;
    if (type == KEY_TIMESTAMPTZ) { /* a plain timestamp ignores the zone */
        us -= (__int128)m.zone_s * (__int128)US_PER_SECOND;
    }
    if (us < MICROS_MIN || us >= MICROS_END) {
        return refuse(type, text, note);
    }
    *out = (int64_t)us;
    return ERR_NONE;
}
