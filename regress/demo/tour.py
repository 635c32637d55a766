"""What the demo shows once the shop is loaded, every answer compared with what it must be."""

import json
import os
import re
import subprocess

from report import Failed, expect, expect_that


class Tour:
    def __init__(self, demo, shop):
        self.demo = demo
        self.shop = shop
        self.checks = 0
        self.user = shop.busy_user()

    # ---- showing ---------------------------------------------------------------------------------

    def title(self, text):
        print(f"\n\x1b[1m{text}\x1b[0m" if self.demo.is_terminal else f"\n== {text}")

    def psql(self, sql, dbname="app"):
        """Run a statement in psql; show it after a prompt, and what psql prints."""
        return self.psql_all([sql], dbname)

    def psql_all(self, statements, dbname="app"):
        """The same for several in one session, each of which prints one line or they are one."""
        quiet = ["-q"] if len(statements) == 1 else []
        words = ["psql", "-X", *quiet, "-v", "ON_ERROR_STOP=1", "-P", "footer=off", self.demo.dsn(dbname)]
        done = subprocess.run(words + [w for s in statements for w in ("-c", s)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False,
                              env={**os.environ, "PGPASSWORD": self.demo.password, "PAGER": ""})
        if done.returncode != 0:
            raise Failed(f"psql ended with {done.returncode}:\n{done.stdout}")
        parts = [done.stdout.rstrip("\n")] if len(statements) == 1 else done.stdout.splitlines()
        for statement, answer in zip(statements, parts):
            print(f"{dbname}=> " + statement.replace("\n", f"\n{' ' * len(dbname)}   ") + f";\n{answer}")
        return done.stdout

    def ask(self, sql):
        return self.demo.sql(sql)

    def check(self, what, expected, got):
        expect(what, expected, got)
        self.checks += 1

    # ---- the stops -------------------------------------------------------------------------------

    def run(self):
        self.show_layout()
        self.show_routed()
        self.show_scatter()
        self.show_workspace()
        self.show_plans()
        self.show_transfer()
        self.show_stats()

    def show_layout(self):
        self.title("One database, three servers: how the tables lie")
        self.psql("SHOW TABLES", "pgbraid")
        rows = []
        for i, server in enumerate(self.demo.servers):
            count = server.sql("SELECT count(*) FROM users", "app")[0][0]
            countries = server.sql("SELECT count(*) FROM countries", "app")[0][0]
            rows.append(count)
            self.check(f"countries on shard{i}", 24, countries)
            print(f"shard{i} (port {server.port}): {count} of {self.shop.users_count} users, "
                  f"all {countries} countries")
        self.check("users on the shards together", self.shop.users_count, sum(rows))
        expect_that(f"no shard is far from a third: {rows}",
                    all(0.9 < 3 * r / self.shop.users_count < 1.1 for r in rows))

    def show_routed(self):
        self.title("A SELECT with the key goes to one shard")
        before = self.demo.stats()["queries"]
        sql = (f"SELECT o.id, o.status, p.name, i.quantity, i.price\n"
               f"FROM orders o\n"
               f"JOIN order_items i ON i.user_id = o.user_id AND i.order_id = o.id\n"
               f"JOIN products p ON p.id = i.product_id\n"
               f"WHERE o.user_id = {self.user} ORDER BY o.id, i.line")
        self.psql(sql)
        after = self.demo.stats()["queries"]
        self.check("rows of the routed join", self.shop.items_of[self.user], len(self.ask(sql)))
        self.check("it went to one shard", before["multi_shard"], after["multi_shard"])
        self.check("one user", [(self.shop.balances[self.user - 1],)],
                   self.ask(f"SELECT balance FROM users WHERE id = {self.user}"))

    def show_scatter(self):
        self.title("An aggregate over everything runs on all shards at once")
        sql = ("SELECT c.name, count(*) AS users, sum(u.balance) AS money, avg(u.balance) AS mean\n"
               "FROM users u JOIN countries c ON c.code = u.country\n"
               "GROUP BY c.name ORDER BY money DESC, c.name LIMIT 5")
        self.psql(sql)
        got = [(name, users, int(money)) for name, users, money, _ in self.ask(sql)]
        self.check("the richest countries", self.shop.richest_countries(5), got)
        self.check("orders by status", sorted(self.shop.by_status.items()),
                   self.ask("SELECT status, count(*) FROM orders GROUP BY status ORDER BY status"))
        got = self.ask("SELECT sum(quantity * price), count(*) FROM order_items")[0]
        self.check("turnover in cents", self.shop.turnover, int(got[0] * 100))
        self.check("items", self.shop.rows_count["order_items"], got[1])

    def show_workspace(self):
        self.title("What no shard can answer from its own rows is finished by PostgreSQL in a workspace")
        sql = "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY balance) AS median FROM users"
        self.psql(sql)
        self.check("the median", self.shop.median_balance(), self.ask(sql)[0][0])
        print()
        sql = ("SELECT count(*) AS pairs\n"
               "FROM users a JOIN users b ON b.balance = a.balance AND b.id > a.id")
        self.psql(sql)
        self.check("pairs of the same balance", self.shop.same_balance(), self.ask(sql)[0][0])

    def show_plans(self):
        self.title("EXPLAIN says where a statement goes")
        routed = self.psql(f"EXPLAIN SELECT * FROM users WHERE id = {self.user}")
        named = set(re.findall(r"\bshard\d\b", routed))
        expect_that(f"EXPLAIN names the one shard: {routed}", len(named) == 1)
        print()
        spread = self.psql("EXPLAIN SELECT country, avg(balance) FROM users GROUP BY country "
                           "ORDER BY 2 DESC LIMIT 3")
        for i in range(3):
            expect_that(f"EXPLAIN names shard{i}: {spread}", f"shard{i}" in spread)
        self.checks += 2

    def users_apart(self):
        """Two users that live on two servers."""
        home = self.demo.servers[0].sql("SELECT id FROM users ORDER BY id LIMIT 1", "app")[0][0]
        away = self.demo.servers[1].sql("SELECT id FROM users ORDER BY id LIMIT 1", "app")[0][0]
        return home, away

    def show_transfer(self):
        one, two = self.users_apart()
        self.title(f"A transfer between user {one} on shard0 and user {two} on shard1: two-phase commit")
        before = self.demo.stats()["transactions"]
        print(f"before: {before['two_phase']} transactions committed by two-phase commit")
        self.psql_all(["BEGIN", f"UPDATE users SET balance = balance - 250 WHERE id = {one}",
                       f"UPDATE users SET balance = balance + 250 WHERE id = {two}", "COMMIT"])
        after = self.demo.stats()["transactions"]
        print(f"after:  {after['two_phase']}, in doubt: {after['in_doubt']}")
        self.check("two-phase commits", before["two_phase"] + 1, after["two_phase"])
        self.check("in doubt", 0, after["in_doubt"])
        for i, server in enumerate(self.demo.servers):
            self.check(f"prepared transactions on shard{i}", [(0,)],
                       server.sql("SELECT count(*) FROM pg_prepared_xacts"))
        sql = f"SELECT id, name, balance FROM users WHERE id IN ({one}, {two}) ORDER BY id"
        self.psql(sql)
        want = {one: self.shop.balances[one - 1] - 250, two: self.shop.balances[two - 1] + 250}
        self.check("both accounts", want, {row[0]: row[2] for row in self.ask(sql)})
        self.check("all money", sum(self.shop.balances),
                   int(self.ask("SELECT sum(balance) FROM users")[0][0]))

    def show_stats(self):
        self.title(f"GET http://127.0.0.1:{self.demo.http_port}/stats")
        stats = self.demo.stats()
        shown = {name: stats[name] for name in ("connections", "queries", "transactions", "backends")}
        print(re.sub(r"\{\n\s+([^{}]*?)\n\s*\}", lambda m: "{" + re.sub(r"\s*\n\s*", " ", m[1]) + "}",
                     json.dumps(shown, indent=2)))
        self.check("healthy servers", [True] * 3, [b["healthy"] for b in stats["backends"].values()])
        expect_that("queries were counted", stats["queries"]["single_shard"] > 0
                    and stats["queries"]["multi_shard"] > 0)
