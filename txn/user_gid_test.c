/* Goal: names come back as they were, and nothing else is taken for one. */

#include <string.h>

#include <criterion/criterion.h>

#include "txn/gid.h"
#include "txn/user_gid.h"

static struct user_gid example(struct slice name)
{
    return (struct user_gid){.system = UINT64_C(0x68c0ffee12345678),
                             .transaction = UINT64_C(18446744073709551615),
                             .parts = 64,
                             .number = 63,
                             .name = name};
}

Test(user_gid, a_name_comes_back_whatever_the_client_called_it)
{
    char longest[USER_GID_NAME_MAX + 1];
    memset(longest, 'x', USER_GID_NAME_MAX);
    longest[USER_GID_NAME_MAX] = '\0';
    const char *const names[] = {"", "x", "it's", "a:b:c", "%s %n", longest};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char text[USER_GID_BYTES_MAX];
        struct user_gid in = example(slice_of(names[i]));
        struct user_gid out;
        user_gid_make(text, &in);
        cr_assert(strlen(text) < USER_GID_BYTES_MAX);
        cr_assert(user_gid_parse(slice_of(text), &out), "%s", text);
        cr_assert(out.system == in.system && out.transaction == in.transaction);
        cr_assert(out.parts == 64 && out.number == 63);
        cr_assert(slice_is(out.name, names[i]));
    }
}

Test(user_gid, recovery_of_our_own_commits_never_takes_one_for_its_own)
{
    char text[USER_GID_BYTES_MAX];
    struct user_gid in = example(SLICE("x"));
    struct gid gid;
    user_gid_make(text, &in);
    cr_assert(!gid_parse(slice_of(text), &gid));
}

Test(user_gid, anything_else_is_not_ours)
{
    static const char *const others[] = {"",
                                         "x",
                                         "pgbraid_user_",
                                         "pgbraid_user_68c0ffee12345678_5_2_2:x",
                                         "pgbraid_user_68c0ffee12345678_5_2_1",
                                         "pgbraid_user_68C0FFEE12345678_5_2_1:x",
                                         "pgbraid_user_68c0ffee12345678_05_2_1:x",
                                         "pgbraid_user_68c0ffee12345678_ 5_2_1:x",
                                         "pgbraid_user_68c0ffee12345678_-5_2_1:x",
                                         "pgbraid_user_8c0ffee12345678_5_2_1:x",
                                         "pgbraid_user_68c0ffee12345678_5_65_1:x",
                                         "pgbraid_00c0ffee12345678_2f_1a94_3"};
    struct user_gid out;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        cr_assert(!user_gid_parse(slice_of(others[i]), &out), "%s", others[i]);
    }
}
