/* What a difference between two definitions looks like. */

#include <criterion/criterion.h>

#include "base/buf.h"
#include "proxy/check/check.h"

static void expect_diff(const char *home, const char *other, const char *wanted)
{
    struct buf out = {0};
    check_put_diff(home, other, &out);
    buf_u8(&out, 0);
    cr_expect_str_eq((const char *)out.p, wanted);
    buf_free(&out);
}

Test(check, lines_that_are_alike_are_left_out)
{
    expect_diff("a\nb\nc\n", "a\nx\nc\n", "    - b\n    + x\n");
    expect_diff("a\nb\nc", "a\nb\nd", "    - c\n    + d\n");
    expect_diff("text not null", "text", "    - text not null\n    + text\n");
}

Test(check, what_is_only_on_one_side_is_a_line_of_that_side)
{
    expect_diff("", "new", "    + new\n");
    expect_diff("old", "", "    - old\n");
    expect_diff("same", "same", "");
}
