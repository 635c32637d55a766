#!/usr/bin/env python3
"""Consistent cuts of the change log: at each of them no two-phase commit is cut in two.

usage: cuts.py [--build DIR] [--seconds N] [--seed N] [--kill] [--ledger local|shard]

Money goes to and fro between accounts on two shards, through pgbraid. At every cut the sum of what
its offsets say is before must be what was there at the beginning. A reader follows meanwhile, in the way that docs/CDC.md
tells, and has whole transactions and that sum after each step. --kill: pgbraid and a server are killed meanwhile.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "regress"))

import psycopg2  # noqa: E402

import pg  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Report, expect, expect_that  # noqa: E402

LOGICAL = ["wal_level = logical", "max_replication_slots = 10", "max_wal_senders = 10", "max_prepared_transactions = 40"]
ACCOUNTS = 24
MONEY = 1000
WRITERS = 6


class Place:
    def __init__(self, fleet, args):
        self.servers = fleet.start(2, options=LOGICAL)
        for server in self.servers:
            conn = psycopg2.connect(host="127.0.0.1", port=server.port, dbname="postgres", user=pg.SUPERUSER)
            conn.autocommit = True
            for sql in ("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'secret'", "CREATE DATABASE app OWNER app"):
                conn.cursor().execute(sql)
            conn.close()
        config = config_for(self.servers, {"accounts": {"hash": ["id"]}}, service={"user": "app"}, ledger=args.ledger,
                            cdc={"enabled": "on", "databases": "app", "watermark_ms": 100})
        self.braid = Braid(os.path.join(fleet.folder, "braid"), config, build=args.build, users={"app": "secret"})
        self.braid.start()
        self.sql("CREATE TABLE accounts (id int PRIMARY KEY, money int NOT NULL)")
        self.sql(f"INSERT INTO accounts SELECT i, {MONEY} FROM generate_series(1, {ACCOUNTS}) i")

    def connect(self):
        return psycopg2.connect(host="127.0.0.1", port=self.braid.port, dbname="app", user="app", password="secret")

    def sql(self, sql):
        conn = self.connect()
        conn.autocommit = True
        try:
            with conn.cursor() as cur:
                cur.execute(sql)
                return cur.fetchall() if cur.description else []
        finally:
            conn.close()


class Writer(threading.Thread):
    def __init__(self, place, seed, stop):
        super().__init__(daemon=True)
        self.place, self.rng, self.stop, self.done = place, random.Random(seed), stop, 0

    def transfer(self, conn):
        a, b = sorted(self.rng.sample(range(1, ACCOUNTS + 1), 2))  # in one order: no deadlocks
        amount = self.rng.randrange(-9, 10)
        with conn.cursor() as cur:
            cur.execute("UPDATE accounts SET money = money - %s WHERE id = %s", (amount, a))
            cur.execute("UPDATE accounts SET money = money + %s WHERE id = %s", (amount, b))
        conn.commit()
        self.done += 1

    def run(self):
        conn = None
        while not self.stop.is_set():
            try:
                conn = conn or self.place.connect()
                self.transfer(conn)
            except psycopg2.Error:
                conn = None  # something was killed
                time.sleep(0.05)


class Follower(threading.Thread):
    """Whole two-phase transactions in the order of cuts: the recipe of docs/CDC.md, with a dict in place of tables."""

    def __init__(self, place):
        super().__init__(daemon=True)
        self.place, self.stop, self.conn, self.error = place, threading.Event(), None, None
        self.cut, self.next, self.pending, self.steps, self.pieces = 0, 0, [], 0, 0
        self.records, self.offsets, self.rows = {}, {}, {}

    def changes(self, words):
        with self.conn.cursor() as cur:
            cur.execute(f"SELECT * FROM braid.changes({words})")
            return cur.fetchall()

    def read_transactions(self):
        rows = [None] * 1000
        while len(rows) == 1000:
            rows = self.changes(f"'braid.transactions', offset => {self.next}, limit => 1000")
            for _, _, offset, _, shard, _, value in rows:
                self.pending.append((offset, shard, value))
                self.next = offset + 1

    def read_rows(self, partitions):
        for p in range(partitions):
            for _, _, offset, op, _, _, value in self.changes(f"'accounts', partition => {p}, offset => {self.offsets.get(p, 0)}, limit => 100000"):
                self.records[p, offset] = (op, value)
                self.offsets[p] = offset + 1

    def apply(self, value):
        changes = [self.records.pop((c["partition"], at)) for c in value["data_collections"] if c["data_collection"] == "public.accounts"
                   for at in range(c["offset"], c["offset"] + c["event_count"])]
        for op, change in sorted(changes, key=lambda c: c[1]["source"]["index"]):
            if op in ("c", "u", "r"):
                self.rows[change["after"]["id"]] = change["after"]["money"]

    def step(self):
        cut = self.changes("'braid.cuts'")[0][6]
        topics = [t for t in cut["topics"] if t["topic"] == "app.public.accounts"]
        if cut["cut"] <= self.cut or not topics:
            return
        self.read_transactions()  # to the end: what is before the cut is there
        self.read_rows(len(topics[0]["partitions"]))
        upto = {s["shard"]: (s["epoch"], s["lsn"]) for s in cut["shards"]}
        ahead = {a["place"] for a in cut["ahead"]}
        batch = [t for t in self.pending if (t[2]["epoch"], t[2]["lsn"]) <= upto[t[1]] or t[0] in ahead]
        self.pending = [t for t in self.pending if t not in batch]
        for _, _, value in batch:
            self.apply(value)
        self.cut, self.steps, self.pieces = cut["cut"], self.steps + 1, self.pieces + len(batch)
        halves = {v["id"] for _, _, v in batch} & {v["id"] for _, _, v in self.pending}
        expect(f"transactions that cut {cut['cut']} cuts in two", set(), halves)
        if len(self.rows) == ACCOUNTS:
            expect(f"money in the tables at cut {cut['cut']}", ACCOUNTS * MONEY, sum(self.rows.values()))

    def run(self):
        while not self.stop.is_set() and self.error is None:
            try:
                if self.conn is None:
                    self.conn = self.place.connect()
                    self.conn.autocommit = True
                self.step()
            except psycopg2.Error:
                self.conn = None  # it was killed, or there is no cut yet
            except Exception as e:  # pylint: disable=broad-except
                self.error = e
            time.sleep(0.1)


def disturb(place, args, rng):
    for what in ("braid", "server") if args.kill else ():
        time.sleep(args.seconds / 3 * (0.5 + rng.random()))
        if what == "braid":
            place.braid.process.kill()
            place.braid.process.wait()
            place.braid.start()
        else:
            place.servers[1].stop("immediate")
            place.servers[1].start()
    time.sleep(args.seconds / 3 if args.kill else args.seconds)


def newest(place):
    return place.sql("SELECT * FROM braid.changes('braid.cuts')")[0][6]


def wait_for_cut_behind(place, moment_ms):
    """A cut of a moment that all writers were through with."""
    for _ in range(600):
        try:
            cut = newest(place)
            if cut["ts_ms"] > moment_ms:
                return cut
        except psycopg2.Error as e:
            cut = str(e)
        time.sleep(0.1)
    raise RuntimeError(f"no cut behind {moment_ms}: {cut}\n{place.braid.tail()}")


def sum_at(cut, records):
    """By offsets of partitions and what is ahead; of a row what came last on its shard."""
    [topic] = [t for t in cut["topics"] if t["topic"] == "app.public.accounts"]
    ahead = {(a["shard"], a["epoch"], a["lsn"]) for a in cut["ahead"]}
    rows = {}
    for partition, offset, shard, key, place, money in records:
        if offset < topic["partitions"][partition][shard] or (shard, place[0], place[1]) in ahead:
            if place >= rows.get(key, ((0, 0, 0), 0))[0]:
                rows[key] = (place, money)
    return sum(money for _, money in rows.values()), len(rows)


def halves_meet(place, args):
    rng = random.Random(args.seed)
    stop = threading.Event()
    writers = [Writer(place, args.seed * 100 + i, stop) for i in range(WRITERS)]
    follower = Follower(place)
    follower.start()
    for w in writers:
        w.start()
    disturb(place, args, rng)
    stop.set()
    for w in writers:
        w.join(30)
    expect_that("transfers were made", sum(w.done for w in writers) > 10)
    last = wait_for_cut_behind(place, time.time() * 1000 + 500)
    for _ in range(300):
        if follower.cut >= last["cut"] or follower.error:
            break
        time.sleep(0.1)
    follower.stop.set()
    follower.join(30)
    if follower.error:
        raise follower.error
    expect_that(f"the follower came to the end: {follower.cut}, {last['cut']}", follower.cut >= last["cut"])
    expect_that(f"in several steps ({follower.steps}, {follower.pieces} pieces)", follower.steps >= 3)
    truth = {}
    for server in place.servers:
        conn = psycopg2.connect(host="127.0.0.1", port=server.port, dbname="app", user="app", password="secret")
        with conn.cursor() as cur:
            cur.execute("SELECT id, money FROM accounts")
            truth.update(cur.fetchall())
        conn.close()
    expect("its rows are those of the shards", truth, follower.rows)
    records = []
    for _, partition, offset, op, shard, key, value in place.sql("SELECT * FROM braid.changes('accounts', limit => 100000)"):
        if op in ("c", "u", "r"):
            source = value["source"]
            records.append((partition, offset, shard, key["id"],
                            (source["epoch"], source["lsn"], source["index"]), value["after"]["money"]))
    cuts = [row[6] for row in place.sql("SELECT * FROM braid.changes('braid.cuts', start => earliest, limit => 100000)")]
    expect("cuts are in order", sorted({c["cut"] for c in cuts}), [c["cut"] for c in cuts])
    expect("the newest cut is among them", True, last["cut"] in [c["cut"] for c in cuts])
    whole = 0
    for cut in cuts:
        money, rows = sum_at(cut, records)
        if rows > 0:  # before that the accounts were not there
            expect(f"the money at cut {cut['cut']}", (ACCOUNTS * MONEY, ACCOUNTS), (money, rows))
            whole += 1
    expect_that(f"several cuts ({whole})", whole >= 3)
    expect_that("some cut went through a transaction", args.seconds < 20 or any(c["ahead"] for c in cuts))


def command_line(place, _args):
    def run(*words):
        return subprocess.run([os.path.join(os.path.dirname(place.braid.binary), "braidctl"), "-c", place.braid.path, "cdc", "cut", *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place.braid.folder)
    done = run()
    expect(done.stdout, 0, done.returncode)
    cut = json.loads(done.stdout)
    expect("both shards", 2, len(cut["shards"]))
    expect("the same by its number", cut["shards"], json.loads(run(str(cut["cut"])).stdout)["shards"])
    expect("no number", 2, run("x").returncode)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--ledger", default="local")
    args = parser.parse_args()
    report = Report(verbose=True)
    with pg.Fleet() as fleet:
        place = Place(fleet, args)
        report.run_all(place.braid, (halves_meet, command_line), place, args)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
