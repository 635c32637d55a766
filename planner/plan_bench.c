/*
 * What a plan costs: found in the cache, and made from scratch. Run:
 *     make BUILD=build/release all && cc -O2 -std=c11 -D_GNU_SOURCE -I. planner/plan_bench.c \
 *         build/release/lib{planner,shardmap,conf,wire,base}.a -lpg_query -lxxhash -lyaml -lm
 * -pthread \ -o /tmp/plan_bench && /tmp/plan_bench
 */

#include <stdio.h>

#include "base/clock.h"
#include "planner/plan_testing.h"

enum {
    BATCHES = 20 /* of which the fastest counts: others use the machine too */
};

struct bench {
    struct test_db db;
    struct plan_env env;
    struct plan_cache *cache;
    struct lex lex;
};

static void get(struct bench *b, struct slice sql, struct lex *lex)
{
    struct plan_batch *batch = NULL;
    struct note note;
    int position = 0;
    enum err e = plan_cache_get(b->cache, &b->env, sql, lex, &batch, NULL, &position, &note);
    check(e == ERR_NONE);
}

/* Texts that differ in their literal, as simple queries do. */
static void hit(struct bench *b, const char *name, int extended)
{
    enum {
        TEXTS = 64,
        ROUNDS = 20000
    };
    static char texts[TEXTS][96];
    double best = 1e12;
    b->env.extended = extended != 0;
    for (int i = 0; i < TEXTS; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]),
                       extended ? "SELECT * FROM orders WHERE user_id = $1 -- %d"
                                : "SELECT * FROM orders WHERE user_id = %d",
                       1000 + (extended ? 0 : i));
        get(b, slice_of(texts[i]), extended ? NULL : &b->lex);
    }
    for (int batch = 0; batch < BATCHES; batch++) {
        int64_t start = clock_now_us();
        for (int i = 0; i < ROUNDS; i++) {
            get(b, slice_of(texts[i % TEXTS]), extended ? NULL : &b->lex);
        }
        double ns = (double)(clock_now_us() - start) * 1000 / ROUNDS;
        best = ns < best ? ns : best;
    }
    (void)printf("%-44s %8.0f ns\n", name, best);
}

static void cold(struct bench *b, const char *name, const char *sql)
{
    enum {
        ROUNDS = 50
    };
    double best = 1e12;
    const char *rung = "";
    b->env.extended = 0;
    for (int batch = 0; batch < BATCHES; batch++) {
        int64_t start = clock_now_us();
        for (int i = 0; i < ROUNDS; i++) {
            struct plan_batch *made = NULL;
            struct note note;
            int position = 0;
            enum err e = plan_make(&b->env, slice_of(sql), &made, &position, &note);
            check(e == ERR_NONE);
            rung = made->plans[0]->kind == PLAN_REFUSE      ? "refuse"
                   : made->plans[0]->kind == PLAN_WORKSPACE ? "workspace"
                                                            : made->plans[0]->rung;
            plan_batch_unref(made);
        }
        double us = (double)(clock_now_us() - start) / ROUNDS;
        best = us < best ? us : best;
    }
    (void)printf("%-44s %8.0f us, %s\n", name, best, rung);
}

int main(void)
{
    struct bench b = {0};
    test_db_open(&b.db, 3);
    b.env.map = b.db.map;
    b.env.catalog = b.db.catalog;
    b.env.user = "app";
    b.cache = plan_cache_new(64 << 20);
    hit(&b, "in the cache, by text", 1);
    hit(&b, "in the cache, by shape", 0);
    cold(&b, "made: one key", "SELECT * FROM orders WHERE user_id = 17");
    cold(&b, "made: groups over all shards",
         "SELECT country, count(*), max(id) FROM users GROUP BY country ORDER BY 2 DESC LIMIT 10");
    cold(
        &b, "made: join and groups, as TPC-H 3",
        "SELECT o.id, sum(i.qty * p.price) AS revenue, o.at FROM users u, orders o, order_items i, "
        "products p WHERE u.country = 'de' AND u.id = o.user_id AND i.user_id = o.user_id AND "
        "i.order_id = o.id AND p.id = o.product_id AND o.at < '1995-03-15 00:00:00+00' GROUP BY o.id, "
        "o.at ORDER BY revenue DESC, o.at LIMIT 10");
    cold(
        &b, "made: six tables and a sub-select, as TPC-H 8",
        "SELECT y, sum(CASE WHEN code = 'br' THEN volume ELSE 0 END) / sum(volume) AS share FROM (SELECT "
        "extract(year FROM o.at) AS y, p.price * (1 - i.weight::numeric) AS volume, c.code FROM products "
        "p, order_items i, orders o, users u, countries c, stores s WHERE p.id = o.product_id AND "
        "i.order_id = o.id AND i.user_id = o.user_id AND o.user_id = u.id AND u.country = c.code AND "
        "s.region = c.code AND o.at BETWEEN '1995-01-01 00:00:00+00' AND '1996-12-31 00:00:00+00' AND "
        "p.title = 'economy') AS all_rows GROUP BY y ORDER BY y");
    cold(
        &b, "made: sub-selects in WHERE, as TPC-H 21",
        "SELECT u.name, count(*) AS numwait FROM users u, order_items i1, orders o WHERE u.id = o.product_id "
        "AND o.id = i1.order_id AND i1.qty > 3 AND EXISTS (SELECT 1 FROM order_items i2 WHERE i2.order_id = "
        "i1.order_id AND i2.user_id <> i1.user_id) AND NOT EXISTS (SELECT 1 FROM order_items i3 WHERE "
        "i3.order_id = i1.order_id AND i3.user_id <> i1.user_id AND i3.qty > i3.weight) GROUP BY u.name "
        "ORDER BY numwait DESC, u.name LIMIT 100");
    lex_free(&b.lex);
    plan_cache_free(b.cache);
    test_db_close(&b.db);
    return 0;
}
