/*
 * Any bytes as two values of any type: refused or ordered, the order turns with the sides, equal
 * to itself; and any bits as a float print as text that reads back as the same bits.
 */

#include <math.h>

#include "base/check.h"
#include "base/mem.h"
#include "wire/types.h"
#include "wire/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t types[] = {
    OID_BOOL,   OID_INT2,      OID_INT4,        OID_INT8,  OID_OID,    OID_FLOAT4,
    OID_FLOAT8, OID_NUMERIC,   OID_TEXT,        OID_NAME,  OID_DATE,   OID_TIME,
    OID_UUID,   OID_TIMESTAMP, OID_TIMESTAMPTZ, OID_BYTEA, OID_BPCHAR, OID_JSONB};

static uint64_t bits_of(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

static void print_floats(const uint8_t *p)
{
    uint64_t bits = be64_at(p);
    uint32_t low = (uint32_t)bits;
    double d;
    float f;
    memcpy(&d, &bits, sizeof(d));
    memcpy(&f, &low, sizeof(f));
    struct buf b = {0};
    value_put_float8(&b, FORMAT_TEXT, d);
    double back = 0;
    check(value_read_float(OID_FLOAT8, FORMAT_TEXT, buf_slice(&b), &back, NULL) == ERR_NONE);
    check(isnan(d) ? isnan(back) : bits_of(back) == bits);
    b.n = 0;
    value_put_float4(&b, FORMAT_TEXT, f);
    check(value_read_float(OID_FLOAT4, FORMAT_TEXT, buf_slice(&b), &back, NULL) == ERR_NONE);
    check(isnan(f) ? isnan(back) : bits_of((double)(float)back) == bits_of((double)f));
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 11) {
        return 0;
    }
    print_floats(data);
    uint32_t type = types[data[8] % (sizeof(types) / sizeof(types[0]))];
    int16_t format = (int16_t)(data[9] % 3);
    size_t half = 11 + (size - 11) * data[10] / 255;
    struct slice a = {mem_dup(data + 11, half - 11), half - 11};
    struct slice b = {mem_dup(data + half, size - half), size - half};
    int one = 0;
    int two = 0;
    struct note note;
    if (value_compare(type, format, a, b, &one, &note) == ERR_NONE) {
        check(value_compare(type, format, b, a, &two, &note) == ERR_NONE);
        check((one > 0) - (one < 0) == (two < 0) - (two > 0));
        check(value_compare(type, format, a, a, &two, &note) == ERR_NONE && two == 0);
    }
    mem_free((void *)a.p);
    mem_free((void *)b.p);
    return 0;
}
