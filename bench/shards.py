#!/usr/bin/env python3
"""
Statements over three shards through pgbraid, beside one PostgreSQL that holds all rows.

    make bench-shards                       everything, about 10 minutes
    python3 bench/shards.py --quick         one short round of each; figures only good for a look
    python3 bench/shards.py --only group    statements whose name contains the word; may be repeated

For every statement rounds alternate between the two (A B A B ...); printed are medians. CPU time is that of
pgbraid and of all servers, kernel included, per statement: the client's is not in it. The ratio is to the one
server's CPU time; beside it stands what is aimed at, and what Citus 13.2 with three workers was measured at.
"""

import argparse
import datetime
import os
import signal
import statistics
import sys
import time

import report
from targets import (BIN, PASSWORD, USER, Failure, Target, braid, leave_on_signals, pg, psycopg2,
                     run_pgbench)

SHARDS = 3
BEGIN, END = "<!-- written by bench/shards.py --write: begin -->", "<!-- shards: end -->"

SCHEMA = """
CREATE TABLE acc (id bigint PRIMARY KEY, ref bigint NOT NULL, k int NOT NULL, grp int NOT NULL,
                  amt numeric(10,2), f float8, name text);
CREATE TABLE ord (acc_id bigint, id bigint, item int NOT NULL, qty int NOT NULL, price numeric(10,2),
                  PRIMARY KEY (acc_id, id));
CREATE TABLE ev (id bigint PRIMARY KEY, acc_id bigint NOT NULL, acc_ref bigint NOT NULL, v int NOT NULL);
CREATE TABLE item (id int PRIMARY KEY, cat int NOT NULL, name text);
"""
INDEXES = "CREATE INDEX acc_ref ON acc (ref)"
TABLES = {
    "acc": {"hash": ["id"]},
    "ord": {"hash": ["acc_id"], "colocate": "acc"},
    "ev": {"hash": ["id"]},
    "item": {"reference": True},
}
# Every value follows from the row's number, so that both sides hold the same.
FILL = {
    "acc": "SELECT i, (i * 7919 + 13) % {n}, (i * 31) % ({n} / 20), (i * 17) % 100, ((i * 7) % 1000000) / 100.0, "
           "sqrt(i), 'account number ' || i FROM generate_series(1::bigint, {n}) i",
    "ord": "SELECT (i * 3) % {n} + 1, i, (i * 13) % 1000, i % 10, ((i * 11) % 100000) / 100.0 "
           "FROM generate_series(1::bigint, {n}) i",
    "ev": "SELECT i, (i * 5) % {n} + 1, (i * 11) % {n}, i % 1000 FROM generate_series(1::bigint, {n} / 2) i",
    "item": "SELECT i, i % 20, 'item ' || i FROM generate_series(0, 999) i",
}
KEY = "\\set id random(1, {n})\n"
KEYS = "".join(f"\\set id{i} random(1, {{n}})\n" for i in range(10))

# name, statement (a pgbench script), aimed at, Citus, short: many per second
STATEMENTS = (
    ("point select by key, prepared", KEY + "SELECT * FROM acc WHERE id = :id;", 2.0, "8-10", True),
    ("key IN (10 keys)", KEYS + "SELECT id, amt FROM acc WHERE id IN (" + ", ".join(f":id{i}" for i in range(10)) + ");",
     3.5, "29", True),
    ("indexed lookup on another column", KEY + "SELECT id, amt FROM acc WHERE ref = :id - 1;", 5, "170-400", True),
    ("colocated join of one key", KEY + "SELECT a.name, o.qty, i.name FROM acc a JOIN ord o ON o.acc_id = a.id "
     "JOIN item i ON i.id = o.item WHERE a.id = :id;", 2.2, "14-17", True),
    ("count(*)", "SELECT count(*) FROM acc;", 1.2, "3.2", False),
    ("count, avg, min, max, sum", "SELECT count(*), avg(amt), min(k), max(k), sum(k) FROM acc;", 1.2, "2.3", False),
    ("stddev(float8), variance(int)", "SELECT stddev(f), variance(k) FROM acc;", 1.3, "8.6", False),
    ("GROUP BY, 100 groups", "SELECT grp, count(*), sum(amt) FROM acc GROUP BY grp;", 1.2, "2.0", False),
    ("GROUP BY, 50,000 groups, HAVING, top 10", "SELECT k, count(*), sum(amt) FROM acc GROUP BY k HAVING count(*) > 1 "
     "ORDER BY 3 DESC, k LIMIT 10;", 1.6, "5", False),
    ("count(DISTINCT), 50,000 values", "SELECT count(DISTINCT k) FROM acc;", 2, "5.9", False),
    ("ORDER BY LIMIT 100", "SELECT id, amt FROM acc ORDER BY f DESC LIMIT 100;", 1.3, "2.3", False),
    ("ORDER BY LIMIT 100 OFFSET 10000", "SELECT id, amt FROM acc ORDER BY f DESC LIMIT 100 OFFSET 10000;", 2, "5.3", False),
    ("row_number() over all rows, top 3", "SELECT * FROM (SELECT id, grp, row_number() OVER (PARTITION BY grp ORDER BY f DESC) "
     "AS r FROM acc) x WHERE r <= 3;", 3, "4.1", False),
    ("colocated join, GROUP BY", "SELECT a.grp, count(*), sum(o.qty) FROM acc a JOIN ord o ON o.acc_id = a.id GROUP BY a.grp;",
     1.1, "1.0", False),
    ("reference join, GROUP BY", "SELECT i.cat, count(*), sum(o.qty) FROM ord o JOIN item i ON i.id = o.item GROUP BY i.cat;",
     1.2, "2.0", False),
    ("join on another column, one side by key", "SELECT a.grp, count(*), sum(e.v) FROM ev e JOIN acc a ON a.id = e.acc_id "
     "GROUP BY a.grp;", 5, "14-22", False),
    ("join on another column, no side by key", "SELECT a.grp, count(*), sum(e.v) FROM ev e JOIN acc a ON a.ref = e.acc_ref "
     "GROUP BY a.grp;", 5, "14-22", False),
    ("percentile_cont", "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f) FROM acc;", None, "3.8", False),
    ("all rows to the client", "SELECT id, k, grp, amt FROM acc;", 1.7, "4.9", False),
    ("all rows, sorted", "SELECT id, k, grp, amt FROM acc ORDER BY id;", None, "-", False),
)


class Stage:
    def __init__(self, rows, workers, say):
        self.rows, self.workers, self.say = rows, workers, say
        self.fleet = pg.Fleet()

    def start(self):
        self.say("starting PostgreSQL servers")
        options = ["max_connections = 200", "shared_buffers = 512MB", "max_wal_size = 4GB", "checkpoint_timeout = 1h",
                   "jit = off", "max_parallel_workers_per_gather = 0", "fsync = off", "full_page_writes = off"]
        self.servers = self.fleet.start(SHARDS + 1, options=options)
        for server in self.servers:
            pg.prepare(server, users=((USER, PASSWORD),))
        config = braid.config_for(self.servers[:SHARDS], TABLES, workers=self.workers, log={"level": "warn"},
                                  auth={"method": "trust"}, service={"user": USER}, pool={"size": 20})
        self.braid = braid.Braid(f"{self.fleet.folder}/pgbraid", config, {USER: PASSWORD})
        self.braids = {"trust": self.braid}
        self.fleet.at_end.append(self.braid.kill)
        self.braid.start()
        plain = self.servers[SHARDS]
        self.direct = Target("one server", plain.port, "plain", [plain])
        self.sharded = Target("shards", self.braid.port, "app", self.servers[:SHARDS], self.braid.process.pid)
        self.load()

    def load(self):
        one, many = self.direct.connect(), self.sharded.connect()
        for c in (one, many):
            with c.cursor() as cur:
                for statement in SCHEMA.split(";"):
                    if statement.strip():
                        cur.execute(statement)
        path = f"{self.fleet.folder}/rows.copy"
        for table, fill in FILL.items():
            self.say(f"loading {table}")
            with one.cursor() as cur:
                cur.execute(f"INSERT INTO {table} " + fill.format(n=self.rows))
                with open(path, "wb") as f:
                    cur.copy_expert(f"COPY {table} TO STDOUT", f)
            with many.cursor() as cur, open(path, "rb") as f:
                cur.copy_expert(f"COPY {table} FROM STDIN", f)
        os.unlink(path)
        for c in (one, many):
            with c.cursor() as cur:
                cur.execute(INDEXES)
            c.close()
        self.say("VACUUM ANALYZE")
        for server in self.servers:
            server.sql("VACUUM ANALYZE", "plain" if server is self.servers[SHARDS] else "app")
            server.sql("CHECKPOINT")

    def close(self):
        self.fleet.close()


class Row:
    def __init__(self, name, aim, citus):
        self.name, self.aim, self.citus = name, aim, citus
        self.one_us = self.many_us = self.proxy_us = self.one_ms = self.many_ms = None
        self.why = None

    def cpu(self):
        return report.ratio(self.many_us, self.one_us)

    def wall(self):
        return report.ratio(self.many_ms, self.one_ms)


def same_answer(stage, name, script):
    """Not asked of statements that take random keys."""
    if "\\set" in script or "all rows" in name:
        return
    answers = []
    for target in (stage.direct, stage.sharded):
        c = target.connect()
        with c.cursor() as cur:
            cur.execute(script)
            rows = [tuple(f"{v:.9g}" if isinstance(v, float) else v for v in row) for row in cur.fetchall()]
            answers.append(rows if "ORDER BY" in script else sorted(rows, key=str))
        c.close()
    if answers[0] != answers[1]:
        raise Failure(f"{answers[0]!r:.80} from one server, {answers[1]!r:.80} through pgbraid")


def measure(stage, o, name, script, aim, citus, short):
    row = Row(name, aim, citus)
    path = f"{stage.fleet.folder}/statement.sql"
    text = script.format(n=stage.rows) if "\\set" in script else script
    with open(path, "w", encoding="ascii") as f:
        f.write(text.replace("{n}", str(stage.rows)) + "\n")
    words = ["-M", "prepared", "-f", path]
    stage.say(name)
    try:
        same_answer(stage, name, script)
        runs = ([], [])
        for _ in range(o.rounds):
            for at, target in enumerate((stage.direct, stage.sharded)):
                runs[at].append(run_pgbench(target, words, 1, seconds=o.seconds) if short
                                else run_pgbench(target, words, 1, count=1 if o.quick else 3))
        row.one_us = statistics.median(r.server_us for r in runs[0])
        row.proxy_us = statistics.median(r.proxy_us for r in runs[1])
        row.many_us = statistics.median(r.server_us + r.proxy_us for r in runs[1])
        row.one_ms = statistics.median(r.latency_ms for r in runs[0])
        row.many_ms = statistics.median(r.latency_ms for r in runs[1])
    except (Failure, psycopg2.Error) as e:
        row.why = str(e).strip().splitlines()[0]
    return row


def show_us(us):
    return "-" if us is None else f"{us:.0f}" if us < 10000 else f"{us / 1000:.0f}k"


def tables(rows):
    met = [r for r in rows if r.aim is not None and r.cpu() is not None and r.cpu() <= r.aim]
    missed = [r for r in rows if r.aim is not None and r not in met]
    cells = [[r.name, show_us(r.one_us), show_us(r.many_us), show_us(r.proxy_us), report.show(r.cpu(), "{:.2f}"),
              "-" if r.aim is None else f"{r.aim:.1f}", r.citus,
              "" if r.aim is None else "met" if r in met else "missed",
              report.show(r.one_ms, "{:.2f}"), report.show(r.many_ms, "{:.2f}"), report.show(r.wall(), "{:.2f}")]
             for r in rows]
    text = (f"CPU time in microseconds per statement, and wall time in milliseconds ({len(met)} met, {len(missed)} missed):\n\n"
            + report.table(["statement", "one server us", "shards us", "of it pgbraid", "ratio", "at most", "Citus", "",
                            "one ms", "shards ms", "ratio"], cells))
    broken = [f"- {r.name}: {r.why}" for r in rows if r.why is not None]
    return text + ("\n\nDid not work:\n\n" + "\n".join(broken) if broken else "")


class Peer:
    """report.machine() asks for the proxies' versions."""
    def __init__(self, stage):
        self.braids = stage.braids
        self.bouncers = {"trust": self}
        self.path = "/usr/sbin/pgbouncer"


def read_options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", type=int, help="of the large tables (default 1,000,000; quick: 100,000)")
    p.add_argument("--seconds", type=float, default=2, help="of one round of a short statement (default 2)")
    p.add_argument("--rounds", type=int, help="(default 3; quick: 1)")
    p.add_argument("--workers", type=int, default=os.cpu_count(), help="of pgbraid (default: processors)")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--only", action="append", metavar="WORD", help="statements whose name contains it")
    p.add_argument("--write", action="store_true", help="put the result into docs/BENCHMARKS.md")
    o = p.parse_args()
    o.rows = o.rows or (100_000 if o.quick else 1_000_000)
    o.rounds = o.rounds or (1 if o.quick else 3)
    o.seconds = 1 if o.quick else max(1, round(o.seconds))
    if o.write and o.only:
        p.error("--write needs all statements: leave out --only")
    return o


def main():
    o = read_options()
    leave_on_signals()
    begin = time.monotonic()

    def say(text):
        sys.stderr.write(f"bench: {time.monotonic() - begin:4.0f} s  {text}\n")
    stage = Stage(o.rows, o.workers, say)
    try:
        stage.start()
        machine = report.machine(BIN, Peer(stage))
        rows = [measure(stage, o, *statement) for statement in STATEMENTS
                if not o.only or any(word in statement[0] for word in o.only)]
    except Failure as e:
        sys.exit(f"bench: {e}")
    except KeyboardInterrupt:
        sys.exit("bench: stopped")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stage.close()
    lines = [f"- {what}: {value}" for what, value in machine if what != "PgBouncer"]
    lines.append(f"- {datetime.date.today().isoformat()}; medians of {o.rounds} rounds; one client; {o.rows} rows in acc and ord, "
                 f"{o.rows // 2} in ev, 1000 in item; {SHARDS} shards and the one server on the same machine; "
                 "prepared statements; jit and parallel query off; fsync off")
    text = "\n".join(lines) + "\n\n" + tables(rows)
    print("\n" + text)
    if o.write:
        report.put_between(BEGIN, END, text)
    sys.exit(1 if any(r.why for r in rows) else 0)


if __name__ == "__main__":
    main()
