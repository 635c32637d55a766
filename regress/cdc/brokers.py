#!/usr/bin/env python3
"""Sinks of the change log against real brokers, which are killed: Apache Kafka and OpenSearch.

usage: brokers.py [--build DIR] [--seconds N] [--seed N] [--only WORD] [kafka|search ...]

They come from Maven Central, by mvn, into build/servers, and stay there. Random writers work through
pgbraid over three shards while the broker is killed and started several times, and pgbraid once. Then
what the broker has, applied to empty tables or searched for, equals the shards row by row.
"""

import argparse
import os
import random
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "regress"))

import psycopg2  # noqa: E402

import broker_kafka  # noqa: E402
import broker_search  # noqa: E402
import maven  # noqa: E402
import pg  # noqa: E402
import sink_place  # noqa: E402
from report import Report, expect, expect_that  # noqa: E402
from sink_place import soon  # noqa: E402

BROKERS = {"kafka": broker_kafka, "search": broker_search}
TABLES = {  # name: key, columns as they are compared
    "users": (("id",), ("id", "name", "n::text", "f", "ok", "big")),
    "events": (("user_id", "seq"), ("user_id", "seq", "replace(at::text, '+00', 'Z') AS at")),
    "Odd Keys": (("key",), ("key", "v")),
}
BEFORE = ("CREATE TABLE users (id int PRIMARY KEY, name text, n numeric, f float8, ok bool, big text)",
          "ALTER TABLE users ALTER big SET STORAGE EXTERNAL",
          "CREATE TABLE events (user_id int, seq int, at timestamptz, PRIMARY KEY (user_id, seq))",
          'CREATE TABLE "Odd Keys" (key text PRIMARY KEY, v int)',
          "INSERT INTO users (id, name) SELECT g, 'early' || g FROM generate_series(1, 300) g")
ODD = ["plain", "with \"quotes\"", "back\\slash", "ünï çödé", "a/b?c#d", "{\"id\":1}", "tab\there", "[1,2]", "new\nline"]


class Tables:
    """Rows by key, of records in the order of each partition. What is gone is said for a shard and a partition."""

    def __init__(self):
        self.rows = {}

    def clear(self):
        self.rows = {}

    def apply(self, table, partition, value):
        rows = self.rows.setdefault(table, {})
        owner = value["source"]["shard"], partition
        before, after = value["before"], value["after"]
        if value["op"] == "t":
            for key in [k for k, (_, of) in rows.items() if of == owner]:
                del rows[key]
        old = None
        if before is not None and value["op"] in ("u", "d"):
            key = tuple(before[c] for c in TABLES[table][0])
            old = rows.pop(key)[0] if key in rows and rows[key][1] == owner else None
        if after is not None:
            key = tuple(after[c] for c in TABLES[table][0])
            old = old or rows.get(key, ({},))[0]
            rows[key] = {k: old.get(k) if v == "__debezium_unavailable_value" else v for k, v in after.items()}, owner

    def of(self, table):
        return {key: row for key, (row, _) in self.rows.get(table, {}).items()}


class Writer(threading.Thread):
    """Random transactions; what fails because something was killed is left as it is."""

    def __init__(self, place, seed, stop, most):
        super().__init__(daemon=True)
        self.place, self.rng, self.stop, self.most = place, random.Random(seed), stop, most
        self.done, self.failed = 0, ""

    def statement(self, cur):
        rng = self.rng
        key, other, kind = rng.randrange(1000), rng.randrange(1000), rng.randrange(24)
        if kind < 6:
            row = (key, f"n{rng.random()}", rng.randrange(10**6) / 100, rng.choice([1.0, 0.1, -1e300, 12345.678]), rng.random() < 0.5,
                   "x" * rng.choice([0, 10, 9000]))
            cur.execute("INSERT INTO users VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET name = excluded.name", row)
        elif kind < 9:
            cur.execute("UPDATE users SET n = n + 1, f = f / 2 WHERE id = %s", (key,))  # leaves a large value alone
        elif kind < 11:
            cur.execute("DELETE FROM users WHERE id = %s", (key,))
        elif kind < 13:
            cur.execute("UPDATE users SET name = 'many', ok = NULL WHERE id BETWEEN %s AND %s", (key, key + 20))
        elif kind == 13:
            # A row in another partition is a new one there, and a large value that was left alone is not known.
            cur.execute("UPDATE users SET id = %s, big = '' WHERE id = %s AND NOT EXISTS (SELECT FROM users WHERE id = %s)", (other, key, other))
        elif kind < 17:
            cur.execute("INSERT INTO events VALUES (%s, %s, now()) ON CONFLICT DO NOTHING", (key, other))
        elif kind == 17:
            cur.execute("INSERT INTO events SELECT %s, g, now() FROM generate_series(1, %s) g ON CONFLICT DO NOTHING", (key, other % 100))
        elif kind == 18:
            cur.execute("DELETE FROM events WHERE user_id BETWEEN %s AND %s", (key, key + 100))
        elif kind < 22:
            cur.execute('INSERT INTO "Odd Keys" VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET v = excluded.v',
                        (rng.choice(ODD) + str(other % 30), key))
        elif kind == 22:
            cur.execute('DELETE FROM "Odd Keys" WHERE key = %s', (rng.choice(ODD) + str(other % 30),))
        elif other < 50:
            cur.execute("TRUNCATE " + rng.choice(["users", "events", '"Odd Keys"']))

    def transaction(self, conn):
        with conn.cursor() as cur:
            for _ in range(self.rng.randrange(1, 5)):
                inner = self.rng.randrange(8) == 0
                if inner:
                    cur.execute("SAVEPOINT s")
                self.statement(cur)
                if inner:
                    cur.execute("ROLLBACK TO s")
        if self.rng.randrange(10) == 0:
            conn.rollback()
        else:
            conn.commit()
            self.done += 1

    def run(self):
        conn = None
        while not self.stop.is_set() and self.done < self.most:
            try:
                conn = conn or self.place.braid.connect(autocommit=False)
                self.transaction(conn)
            except psycopg2.Error as e:
                self.failed = str(e)
                try:
                    conn and conn.close()
                except psycopg2.Error:
                    pass
                conn = None
                time.sleep(0.05)


class Place(sink_place.Place):
    def __init__(self, fleet, args):
        super().__init__(fleet, args.build, shards=3, before=BEFORE, tables={
            "users": {"hash": ["id"]}, "events": {"hash": ["user_id"], "colocate": "users"}, "Odd Keys": {"hash": ["key"]}})
        self.args, self.tables, self.rows = args, TABLES, Tables()
        self.servers_folder = os.path.join(ROOT, "build", "servers")

    def begin(self, sinks):
        super().begin({"sink_retry_max_ms": 1000, **sinks})

    def disturb(self, broker):
        """Writers at work; the broker is killed, is away for a while, and comes back; pgbraid is killed between."""
        rng, stop = random.Random(self.args.seed), threading.Event()
        most = self.args.seconds * 20  # a broker may take long to come back, and has all of it to read then
        writers = [Writer(self, self.args.seed * 10 + i, stop, most) for i in range(4)]
        for w in writers:
            w.start()
        for what in ("broker", "braid", "broker", "broker"):
            time.sleep(self.args.seconds / 5 * (0.5 + rng.random()))
            if what == "braid":
                self.braid.kill()
                self.braid.start()
            else:
                broker.kill()
                time.sleep(rng.choice([0, 1, 3]))
                broker.start()
        time.sleep(self.args.seconds / 5)
        stop.set()
        for w in writers:
            w.join(60)
        expect_that(f"the writers did {[w.done for w in writers]}; {writers[0].failed}", all(w.done > 10 for w in writers))
        time.sleep(1)  # recovery ends what was prepared

    def wait_for_sink(self, name):
        """It has all that the shards have committed, and nothing more comes."""
        def records():
            return {t["topic"]: t["records"] for t in self.console("SHOW CDC_TOPICS") if ".braid." not in t["topic"]}

        def is_behind():
            before = records()
            time.sleep(1)
            return [t for t in before if records()[t] != before[t]], self.sink(name)["lag"]

        soon(f"what {name} is behind", is_behind, ([], 0), self)

    def truth_of(self, table):
        key, columns = TABLES[table]
        names = [c.split(" AS ")[-1].split("::")[0] for c in columns]
        rows = [dict(zip(names, row)) for server in self.servers for row in server.sql(f'SELECT {", ".join(columns)} FROM "{table}"', "app")]
        return {tuple(row[k] for k in key): row for row in rows}

    def expect_equal(self, what, table, have):
        want = self.truth_of(table)
        expect(f"{what}: missing", [], sorted(set(want) - set(have))[:5])
        expect(f"{what}: too many", [], sorted(set(have) - set(want))[:5])
        for key, row in want.items():
            expect(f"{what}: {key}: columns that differ", {}, {c: (str(v)[:40], str(have[key].get(c))[:40]) for c, v in row.items() if have[key].get(c) != v})
        expect_that(f"{what}: there are some", len(want) > 10)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only")
    parser.add_argument("brokers", nargs="*", default=list(BROKERS))
    args = parser.parse_args()
    pg.stop_on_signals()
    sink_place.WAIT_S = 600
    if maven.missing("mvn", "java"):
        print(f"skipped cdc-brokers: {maven.missing('mvn', 'java')}")
        return 0
    report = Report(verbose=True, only=args.only)
    for name in args.brokers:
        broker = BROKERS[name]
        with pg.Fleet() as fleet:
            place = Place(fleet, args)
            fleet.at_end.append(place.braid.kill)
            place.begin(broker.begin(place))
            try:
                for case in broker.CASES:
                    report.run(f"{name}: {case.__name__}", case, place)
            finally:
                if place.braid.alive():
                    place.braid.stop()
            report.run("no complaints", lambda b=place.braid: expect("complaints", [], b.complaints()))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
