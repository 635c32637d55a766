/* Nanoseconds per lex_shape(). Run: cc -O2 -D_GNU_SOURCE -I. planner/lex_bench.c planner/lex.c
 * base/{buf,mem,hash,rng,check,clock}.c -pthread -o /tmp/lex_bench && /tmp/lex_bench */

#include <stdio.h>

#include "base/clock.h"
#include "planner/planner.h"

int main(void)
{
    static const char *const texts[] = {
        "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;",
        "UPDATE pgbench_accounts SET abalance = abalance + -1711 WHERE aid = 4711",
        "SELECT o.id, o.total, o.state FROM orders o WHERE o.user_id = 12345 AND o.state = 'open' "
        "LIMIT 1",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (7, 1, 99321, -4711, "
        "CURRENT_TIMESTAMP)",
    };
    enum {
        ROUNDS = 20000, /* of which the fastest of BATCHES counts: others use the machine too */
        BATCHES = 200
    };
    struct lex lex = {0};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct slice text = slice_of(texts[i]);
        double ns = 1e9;
        for (int batch = 0; batch < BATCHES; batch++) {
            int64_t start = clock_now_us();
            for (int round = 0; round < ROUNDS; round++) {
                lex_shape(&lex, text);
            }
            double took = (double)(clock_now_us() - start) * 1000 / ROUNDS;
            ns = took < ns ? took : ns;
        }
        (void)printf("%3zu bytes: %6.1f ns, %.2f ns/byte, usable %d\n", text.n, ns,
                     ns / (double)text.n, lex.usable);
    }
    lex_free(&lex);
    return 0;
}
