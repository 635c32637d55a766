/*
 * Order of bounds and values as far as their text shows it. The column's type is known only when
 * the catalog has been asked, and is checked then; this finds plain slips with file and line.
 */

#include <ctype.h>
#include <string.h>

#include "conf/reader.h"

/* A decimal taken apart: sign, digits before the point without leading zeros, digits behind it
 * without trailing ones. Any length. */
struct number {
    int negative;
    const char *whole;
    size_t whole_n;
    const char *part;
    size_t part_n;
};

static int parse_number(const char *text, struct number *out)
{
    const char *p = text;
    int negative = *p == '-';
    p += *p == '-' || *p == '+';
    size_t whole_n = strspn(p, "0123456789");
    *out = (struct number){.negative = negative, .whole = p, .whole_n = whole_n, .part = p};
    p += whole_n;
    if (whole_n == 0) {
        return 0;
    }
    if (*p == '.') {
        out->part = p + 1;
        out->part_n = strspn(p + 1, "0123456789");
        if (out->part_n == 0) {
            return 0;
        }
        p += 1 + out->part_n;
    }
    while (out->whole_n > 0 && out->whole[0] == '0') {
        out->whole++;
        out->whole_n--;
    }
    while (out->part_n > 0 && out->part[out->part_n - 1] == '0') {
        out->part_n--;
    }
    if (out->whole_n == 0 && out->part_n == 0) {
        out->negative = 0; /* -0 is 0 */
    }
    return *p == '\0';
}

static int compare_bytes(const char *a, size_t a_n, const char *b, size_t b_n)
{
    size_t n = a_n < b_n ? a_n : b_n;
    int order = n == 0 ? 0 : memcmp(a, b, n);
    return order != 0 ? order : (a_n > b_n) - (a_n < b_n);
}

static int compare_numbers(const char *a_text, const char *b_text)
{
    struct number a;
    struct number b;
    if (!parse_number(a_text, &a) || !parse_number(b_text, &b)) {
        return strcmp(a_text, b_text);
    }
    if (a.negative != b.negative) {
        return a.negative ? -1 : 1;
    }
    int order = (a.whole_n > b.whole_n) - (a.whole_n < b.whole_n);
    order = order != 0 ? order : compare_bytes(a.whole, a.whole_n, b.whole, b.whole_n);
    order = order != 0 ? order : compare_bytes(a.part, a.part_n, b.part, b.part_n);
    return a.negative ? -order : order;
}

/* YYYY-MM-DD with a year of four to six digits. */
static int is_date(const char *text)
{
    size_t year = strspn(text, "0123456789");
    if (year < 4 || year > 6 || strlen(text) != year + 6) {
        return 0;
    }
    const char *p = text + year;
    return p[0] == '-' && isdigit((unsigned char)p[1]) && isdigit((unsigned char)p[2]) &&
           p[3] == '-' && isdigit((unsigned char)p[4]) && isdigit((unsigned char)p[5]);
}

static int compare_dates(const char *a, const char *b)
{
    while (*a == '0') {
        a++;
    }
    while (*b == '0') {
        b++;
    }
    size_t a_n = strlen(a);
    size_t b_n = strlen(b);
    return a_n != b_n ? (a_n > b_n) - (a_n < b_n) : strcmp(a, b);
}

enum key_order key_order_of(const char *const *texts, size_t count)
{
    int numbers = 1;
    int dates = 1;
    for (size_t i = 0; i < count; i++) {
        struct number number;
        numbers = numbers && parse_number(texts[i], &number);
        dates = dates && is_date(texts[i]);
    }
    if (numbers) {
        return KEY_ORDER_NUMBER;
    }
    return dates ? KEY_ORDER_DATE : KEY_ORDER_BYTES;
}

int key_order_compare(enum key_order order, const char *a, const char *b)
{
    switch (order) {
    case KEY_ORDER_NUMBER: return compare_numbers(a, b);
    case KEY_ORDER_DATE: return compare_dates(a, b);
    case KEY_ORDER_BYTES: return strcmp(a, b);
    }
    return 0;
}
