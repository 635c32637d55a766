#!/usr/bin/python3
"""
What writes over three shards cost beside one PostgreSQL that holds all rows.

    make bench-writes         (or: python3 bench/writes.py [--quick] [--only WORD] [--rows N] [--write])

CPU time is that of the PostgreSQL servers and, through shards, of pgbraid: the client's is not in it; fsync is off for
these. The last rows have fsync on and compare throughputs: pgbraid's two-phase commits beside the same statements sent
by hand to the two servers, and many clients beside one: that on this machine's disk, and on one whose syncs take 4 ms
(a fast disk leaves a few processors with no time to wait for, so that many clients are not faster than they are). Each round runs both sides, one after the other; medians count.
"""

import argparse
import datetime
import os
import signal
import statistics
import subprocess
import sys
import threading
import time

import cost
import report
import shards
from targets import BIN, PASSWORD, USER, Failure, Target, braid, leave_on_signals, pg, psycopg2, run_pgbench

SHARDS = shards.SHARDS
BEGIN, END = "<!-- written by bench/writes.py --write: begin -->", "<!-- writes: end -->"

SCHEMA = """
CREATE TABLE acc (id bigint PRIMARY KEY, k int NOT NULL, amt bigint NOT NULL, name text);
CREATE TABLE cold (id bigint PRIMARY KEY, k int NOT NULL, amt bigint NOT NULL, name text);
CREATE TABLE copied (id bigint PRIMARY KEY, a int, b bigint, c text, d timestamp);
CREATE TABLE ins (id bigint PRIMARY KEY, a int, b text);
CREATE TABLE money (id bigint PRIMARY KEY, amt bigint NOT NULL)
"""
FILL = {
    "acc": "SELECT i, i % 1000, i * 3, 'account number ' || i FROM generate_series(1::bigint, {n}) i",
    "money": "SELECT i, 1000 FROM generate_series(1::bigint, {n}) i",
}
# A third of the rows of `money` on each shard, so that a script knows two rows of two shards.
KEY = "\\set id random(1, {n})\n"
TWO = "\\set one random(1, {n} / 3)\n\\set two random({n} / 3 + 1, {n} / 3 * 2)\n\\set by random(1, 9)\n"
TRANSFER = ("BEGIN;\nUPDATE money SET amt = amt - :by WHERE id = :one;\n"
            "UPDATE money SET amt = amt + :by WHERE id = :two;\nCOMMIT;")


def values(count):
    return ", ".join(f"(:id{i}, {i}, 'row {i}')" for i in range(count))


def new_ids(count):
    first = f"\\set id random(1, 90000000000000) * {count}\n"
    return first + "".join(f"\\set id{i} :id + {i}\n" for i in range(count))


# name, statement (a pgbench script), aimed at, Citus, what is run before each round
SHORT = (
    ("point update, prepared", KEY + "UPDATE acc SET amt = amt + 1 WHERE id = :id;", 2.0, "6-8", None),
    ("two-row transfer over two shards", TWO + TRANSFER, 4, "10-11", None),
    ("INSERT of 10 rows over all shards", new_ids(10) + f"INSERT INTO ins VALUES {values(10)};", 6, "61-75", "TRUNCATE ins"),
    ("upsert", KEY + "INSERT INTO acc VALUES (:id, 1, 1, 'x') ON CONFLICT (id) DO UPDATE SET amt = acc.amt + 1;", 2.2, "6-8",
     None),
    ("INSERT of 100 rows over all shards", new_ids(100) + f"INSERT INTO ins VALUES {values(100)};", None, "-", "TRUNCATE ins"),
)
LONG = (
    ("colocated INSERT ... SELECT", "INSERT INTO cold SELECT * FROM acc;", 1.2, "1.8", "TRUNCATE cold"),
    ("UPDATE of all rows", "UPDATE acc SET amt = amt + 1;", 1.2, "3.3", "VACUUM"),
)
SLOW_US = 4000  # of one sync of the disk that bench/slow_sync.c makes slow
ROW_US = {"INSERT of 100 rows over all shards": (100, 1.5)}  # rows, and microseconds of pgbraid each


def tables(rows):
    third = rows // 3
    return {"acc": {"hash": ["id"]}, "cold": {"hash": ["id"], "colocate": "acc"}, "copied": {"hash": ["id"]},
            "ins": {"hash": ["id"]},
            "money": {"range": ["id"], "splits": [{"below": third + 1, "shard": "shard0"},
                                                  {"below": 2 * third + 1, "shard": "shard1"}, {"shard": "shard2"}]}}


class Stage(shards.Stage):
    """The servers of bench/shards.py, with other tables."""

    def start(self, fsync=False):
        self.say("starting PostgreSQL servers, fsync " + ("on" if fsync else "off"))
        options = ["max_connections = 300", "max_prepared_transactions = 200", "shared_buffers = 512MB",
                   "max_wal_size = 8GB", "checkpoint_timeout = 1h", "jit = off"]
        if not fsync:
            options += ["fsync = off", "full_page_writes = off", "synchronous_commit = on"]
        self.servers = self.fleet.start(SHARDS + 1, options=options, fsync=fsync)
        for server in self.servers:
            pg.prepare(server, users=((USER, PASSWORD),))
        config = braid.config_for(self.servers[:SHARDS], tables(self.rows), workers=self.workers, log={"level": "warn"},
                                  auth={"method": "trust"}, service={"user": USER}, pool={"size": 80}, **self.more)
        self.braid = braid.Braid(f"{self.fleet.folder}/pgbraid", config, {USER: PASSWORD})
        self.braids = {"trust": self.braid}
        self.fleet.at_end.append(self.braid.kill)
        self.braid.start()
        plain = self.servers[SHARDS]
        self.direct = Target("one server", plain.port, "plain", [plain])
        self.sharded = Target("shards", self.braid.port, "app", self.servers[:SHARDS], self.braid.process.pid)
        self.load()

    more = {}

    def load(self):
        for target in (self.direct, self.sharded):
            with target.connect() as c, c.cursor() as cur:
                c.autocommit = True
                for statement in SCHEMA.split(";"):
                    cur.execute(statement)
        path = f"{self.fleet.folder}/rows.copy"
        for table, fill in FILL.items():
            self.say(f"loading {table}")
            c = self.direct.connect()
            with c.cursor() as cur:
                cur.execute(f"INSERT INTO {table} " + fill.format(n=self.rows))
                with open(path, "wb") as f:
                    cur.copy_expert(f"COPY {table} TO STDOUT", f)
            c.close()
            c = self.sharded.connect()
            with c.cursor() as cur, open(path, "rb") as f:
                cur.copy_expert(f"COPY {table} FROM STDIN", f)
            c.close()
        os.unlink(path)
        self.tidy("VACUUM")

    def tidy(self, what):
        """What has to be done before a round, on the servers themselves: the same for both sides."""
        for server in self.servers:
            dbname = "plain" if server is self.servers[SHARDS] else "app"
            server.sql("VACUUM ANALYZE" if what == "VACUUM" else what, dbname)
            server.sql("CHECKPOINT")


def measure(stage, o, name, script, aim, citus, before, short):
    row = shards.Row(name, aim, citus)
    path = f"{stage.fleet.folder}/statement.sql"
    with open(path, "w", encoding="ascii") as f:
        f.write(script.replace("{n}", str(stage.rows)) + "\n")
    words = ["-M", "prepared", "-f", path]
    stage.say(name)
    try:
        runs = ([], [])
        for _ in range(o.rounds):
            for at, target in enumerate((stage.direct, stage.sharded)):
                if before is not None:
                    stage.tidy(before)
                runs[at].append(run_pgbench(target, words, 1, seconds=o.seconds) if short
                                else run_pgbench(target, words, 1, count=1))
        fill(row, runs)
        if name in ROW_US:
            count, most = ROW_US[name]
            row.note = f"{row.proxy_us / count:.2f} us of pgbraid per row (at most {most})"
    except (Failure, psycopg2.Error) as e:
        row.why = str(e).strip().splitlines()[0]
    return row


def fill(row, runs):
    row.one_us = statistics.median(r.server_us for r in runs[0])
    row.proxy_us = statistics.median(r.proxy_us for r in runs[1])
    row.many_us = statistics.median(r.server_us + r.proxy_us for r in runs[1])
    row.one_ms = statistics.median(r.latency_ms for r in runs[0])
    row.many_ms = statistics.median(r.latency_ms for r in runs[1])


class Whole:
    """CPU and wall time of one thing done, in the shape of a pgbench run."""

    def __init__(self, target, work):
        posts = [server.pid() for server in target.servers]
        servers = sum(cost.family_seconds(p) for p in posts)
        proxy = target.pid and cost.cpu_seconds(target.pid)
        begin = time.monotonic()
        work(target)
        self.latency_ms = (time.monotonic() - begin) * 1000
        self.proxy_us = None if target.pid is None else (cost.cpu_seconds(target.pid) - proxy) * 1e6
        self.server_us = (sum(cost.family_seconds(p) for p in posts) - servers) * 1e6


def copy_in(path):
    def work(target):
        c = target.connect()
        with c.cursor() as cur, open(path, "rb") as f:
            cur.copy_expert("COPY copied FROM STDIN", f, 1 << 16)
        c.close()
    return work


def measure_copy(stage, o):
    row = shards.Row("COPY FROM STDIN of all rows", 1.5, "2.9")
    stage.say(row.name)
    path = f"{stage.fleet.folder}/copied.copy"
    try:
        c = stage.direct.connect()
        with c.cursor() as cur, open(path, "wb") as f:
            cur.copy_expert(f"COPY (SELECT i, i % 1000, i * 7, 'the text of row ' || i, timestamp '2026-01-01' + i * interval '1 s' "
                            f"FROM generate_series(1::bigint, {stage.rows}) i) TO STDOUT", f)
        c.close()
        runs = ([], [])
        for _ in range(o.rounds):
            for at, target in enumerate((stage.direct, stage.sharded)):
                stage.tidy("TRUNCATE copied")
                runs[at].append(Whole(target, copy_in(path)))
        fill(row, runs)
        row.note = f"{row.proxy_us / stage.rows:.2f} us of pgbraid per row (at most 1)"
    except (Failure, psycopg2.Error) as e:
        row.why = str(e).strip().splitlines()[0]
    return row


# ---- with fsync on ---------------------------------------------------------------------------------------------------


def by_hand(stage, seconds):
    """The statements of one transfer, sent to the two servers by one client that keeps no ledger; per second."""
    n, count, number = stage.rows // 3, 0, 0
    one, two = (server.connect("app", user=USER, host="127.0.0.1") for server in stage.servers[:2])
    a, b = one.cursor(), two.cursor()
    until = time.monotonic() + seconds

    def both(first, second):
        for cur, sql in ((a, first), (b, second)):
            cur.execute(sql)
    while time.monotonic() < until:
        number += 1
        i = number * 7919 % n + 1
        both("BEGIN", "BEGIN")
        both(f"UPDATE money SET amt = amt - 1 WHERE id = {i}", f"UPDATE money SET amt = amt + 1 WHERE id = {n + i}")
        both(f"PREPARE TRANSACTION 'hand_{number}_0'", f"PREPARE TRANSACTION 'hand_{number}_1'")
        both(f"COMMIT PREPARED 'hand_{number}_0'", f"COMMIT PREPARED 'hand_{number}_1'")
        count += 1
    one.close()
    two.close()
    return count / seconds


def by_hand_at_once(stage, seconds):
    """The same with both servers asked at the same time, as well as it can be done by hand."""
    n, count, number = stage.rows // 3, 0, 0
    connections = [server.connect("app", user=USER, host="127.0.0.1") for server in stage.servers[:2]]
    done, steps = threading.Barrier(3), [None, None]

    def serve(at):
        with connections[at].cursor() as cur:
            while True:
                done.wait()
                if steps[at] is None:
                    return
                cur.execute(steps[at])
                done.wait()
    threads = [threading.Thread(target=serve, args=(at,), daemon=True) for at in (0, 1)]
    for t in threads:
        t.start()

    def both(first, second):
        steps[:] = [first, second]
        done.wait()
        if first is not None:
            done.wait()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        number += 1
        i = number * 7919 % n + 1
        both("BEGIN; " f"UPDATE money SET amt = amt - 1 WHERE id = {i}", f"BEGIN; UPDATE money SET amt = amt + 1 WHERE id = {n + i}")
        both(f"PREPARE TRANSACTION 'once_{number}_0'", f"PREPARE TRANSACTION 'once_{number}_1'")
        both(f"COMMIT PREPARED 'once_{number}_0'", f"COMMIT PREPARED 'once_{number}_1'")
        count += 1
    both(None, None)
    for c in connections:
        c.close()
    return count / seconds


def transfers(stage, clients, seconds):
    path = f"{stage.fleet.folder}/transfer.sql"
    with open(path, "w", encoding="ascii") as f:
        f.write((TWO + TRANSFER).replace("{n}", str(stage.rows)) + "\n")
    return run_pgbench(stage.sharded, ["-M", "prepared", "-f", path], clients, seconds=seconds).tps


def measure_synced(stage, o, how):
    """[what, figure of ours, figure beside it, ratio, at least]"""
    runs = {"hand": [], "at once": [], "one": [], "many": []}
    for _ in range(o.rounds):
        stage.say("fsync on: by hand, one client, 64 clients")
        runs["hand"].append(by_hand(stage, o.seconds))
        runs["at once"].append(by_hand_at_once(stage, o.seconds))
        runs["one"].append(transfers(stage, 1, o.seconds))
        runs["many"].append(transfers(stage, 64, o.seconds))
    m = {name: statistics.median(rates) for name, rates in runs.items()}
    return [[f"two-shard transfers beside PREPARE and COMMIT PREPARED by hand{how}", m["one"], m["hand"], 0.6],
            [f"the same beside both servers asked at once by hand{how}", m["one"], m["at once"], None],
            [f"64 clients beside one{how}", m["many"], m["one"], 8 if how else None]]


def synced_table(rows):
    cells = [[what, f"{ours:.0f}", f"{other:.0f}", f"{ours / other:.2f}", "-" if least is None else f"{least:.1f}",
              "" if least is None else "met" if ours >= least * other else "missed"] for what, ours, other, least in rows]
    return "With fsync on, per second:\n\n" + report.table(["", "pgbraid", "beside it", "ratio", "at least", ""], cells)


def read_options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", type=int, help="of the large tables (default 1,000,000; quick: 100,000)")
    p.add_argument("--seconds", type=float, default=2, help="of one round of a short statement (default 2)")
    p.add_argument("--rounds", type=int, help="(default 3; quick: 1)")
    p.add_argument("--workers", type=int, default=os.cpu_count(), help="of pgbraid (default: processors)")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--only", action="append", metavar="WORD", help="rows whose name contains it; \"fsync\": the last ones")
    p.add_argument("--ledger", choices=["local", "shard"], help="where decisions are kept (default: pgbraid's default)")
    p.add_argument("--write", action="store_true", help="put the result into docs/BENCHMARKS.md")
    o = p.parse_args()
    o.rows = o.rows or (100_000 if o.quick else 1_000_000)
    o.rounds = o.rounds or (1 if o.quick else 3)
    o.seconds = 1 if o.quick else max(1, round(o.seconds))
    if o.write and o.only:
        p.error("--write needs all statements: leave out --only")
    return o


def run_fast(o, say):
    stage = Stage(o.rows, o.workers, say)
    stage.more = {"ledger": o.ledger} if o.ledger else {}
    try:
        stage.start()
        machine = report.machine(BIN, shards.Peer(stage))

        def wanted(name):
            return not o.only or any(word in name for word in o.only)
        rows = [measure(stage, o, *statement, short=True) for statement in SHORT if wanted(statement[0])]
        rows += [measure(stage, o, *statement, short=False) for statement in LONG if wanted(statement[0])]
        if wanted("COPY FROM STDIN of all rows"):
            rows.append(measure_copy(stage, o))
        return machine, rows
    finally:
        stage.close()


def slow_disk(folder):
    """The library that makes syncs last, for LD_PRELOAD; PostgreSQL's user must be able to read it."""
    here = os.path.dirname(os.path.abspath(__file__))
    path = f"{folder}/slow_sync.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", path, f"{here}/slow_sync.c", "-ldl"], check=True)
    return path


def run_synced(o, say):
    rows = []
    for slow_us in (0, SLOW_US):
        stage = Stage(min(o.rows, 100_000), o.workers, say)
        stage.more = {"ledger": o.ledger} if o.ledger else {}
        try:
            if slow_us:
                os.environ.update(LD_PRELOAD=slow_disk(stage.fleet.folder), SLOW_SYNC_US=str(slow_us))
            stage.start(fsync=True)
            for name in ("LD_PRELOAD", "SLOW_SYNC_US"):
                os.environ.pop(name, None)
            rows += measure_synced(stage, o, f", syncs of {slow_us / 1000:.0f} ms" if slow_us else "")
        finally:
            for name in ("LD_PRELOAD", "SLOW_SYNC_US"):
                os.environ.pop(name, None)
            stage.close()
    return rows


def main():
    o = read_options()
    leave_on_signals()
    begin = time.monotonic()

    def say(text):
        sys.stderr.write(f"bench: {time.monotonic() - begin:4.0f} s  {text}\n")
    try:
        machine, rows = ([], []) if o.only == ["fsync"] else run_fast(o, say)
        synced = run_synced(o, say) if not o.only or "fsync" in o.only else None
    except Failure as e:
        sys.exit(f"bench: {e}")
    except KeyboardInterrupt:
        sys.exit("bench: stopped")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines = [f"- {what}: {value}" for what, value in machine if what != "PgBouncer"]
    lines.append(f"- {datetime.date.today().isoformat()}; medians of {o.rounds} rounds; {o.rows} rows; {SHARDS} shards and the one "
                 "server on the same machine; prepared statements; one client, fsync off, where nothing else is said")
    parts = ["\n".join(lines)]
    if rows:
        parts.append(shards.tables(rows))
        parts += [f"- {r.name}: {r.note}" for r in rows if getattr(r, "note", None)]
    if synced:
        parts.append(synced_table(synced))
    text = "\n\n".join(parts)
    print("\n" + text)
    if o.write:
        report.put_between(BEGIN, END, text)
    sys.exit(1 if any(r.why for r in rows) else 0)


if __name__ == "__main__":
    main()
