#!/usr/bin/env python3
"""Change capture from end to end: what left the change log, applied to empty tables, equals the shards.

usage: log.py [--build DIR] [--seconds N] [--seed N]

Random writers work through pgbraid (several shards at once too) while pgbraid, a server and a
consumer are killed. Then the readers are compared with the shards, row by row: a PostgreSQL sink,
the JSON lines of a file sink, that consumer, and two members of a group that read by SQL, one of
whom is replaced.
"""

import argparse
import glob
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "regress"))

import psycopg2  # noqa: E402

import pg  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Report  # noqa: E402
from report import expect as report_expect, expect_that as report_that  # noqa: E402

LOGICAL = ["wal_level = logical", "max_replication_slots = 10", "max_wal_senders = 10",
           "max_prepared_transactions = 20", "synchronous_commit = on"]
TABLES = {
    "users": "CREATE TABLE users (id int PRIMARY KEY, name text, n numeric, big text)",
    "events": "CREATE TABLE events (user_id int, seq int, at timestamptz, ok bool, PRIMARY KEY (user_id, seq))",
}
COLUMNS = {"users": ("id", "name", "n", "big"), "events": ("user_id", "seq", "at", "ok")}
WAIT_S = 120


def expect(got, expected, what):
    report_expect(what, expected, got)


def expect_that(truth, what):
    report_that(what, truth)


def connect(port, dbname="app", user="app"):
    conn = psycopg2.connect(host="127.0.0.1", port=port, dbname=dbname, user=user, password="secret")
    conn.autocommit = True
    return conn


def rows_of(ports, dbname, table):
    out = []
    for port in ports:
        conn = connect(port, dbname)
        with conn.cursor() as cur:
            cur.execute(f"SELECT {', '.join(COLUMNS[table])} FROM {table}")
            out += [tuple(str(v) for v in row) for row in cur.fetchall()]
        conn.close()
    return sorted(out)


class Writer(threading.Thread):
    """Random transactions; what fails because something was killed is left as it is."""

    def __init__(self, port, seed, stop):
        super().__init__(daemon=True)
        self.port, self.rng, self.stop = port, random.Random(seed), stop
        self.done = 0

    def statement(self, cur):
        rng = self.rng
        key, other = rng.randrange(200), rng.randrange(200)
        kind = rng.randrange(8)
        if kind < 3:
            big = "x" * rng.choice([0, 10, 9000])
            cur.execute("INSERT INTO users VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                        (key, f"n{rng.random()}", rng.randrange(10**6) / 100, big))
        elif kind == 3:
            cur.execute("UPDATE users SET n = n + 1 WHERE id = %s", (key,))  # leaves a TOASTed value alone
        elif kind == 4:
            cur.execute("DELETE FROM users WHERE id = %s", (key,))
        elif kind == 5:
            cur.execute("UPDATE users SET name = 'many' WHERE id BETWEEN %s AND %s", (key, key + 5))
        elif kind == 6:
            cur.execute("INSERT INTO events VALUES (%s, %s, now(), true) ON CONFLICT DO NOTHING", (key, other))
        else:
            cur.execute("DELETE FROM events WHERE user_id = %s AND seq < %s", (key, other))

    def run(self):
        conn = None
        while not self.stop.is_set():
            try:
                if conn is None:
                    conn = connect(self.port)
                    conn.autocommit = False
                with conn.cursor() as cur:
                    for _ in range(self.rng.randrange(1, 5)):
                        self.statement(cur)
                if self.rng.randrange(10) == 0:
                    conn.rollback()
                else:
                    conn.commit()
                self.done += 1
            except psycopg2.Error:
                try:
                    conn and conn.close()
                except psycopg2.Error:
                    pass
                conn = None
                time.sleep(0.05)


class Place:
    def __init__(self, fleet, args):
        self.servers = fleet.start(2, options=LOGICAL)
        self.copy = fleet.start(1)[0]
        for server in [*self.servers, self.copy]:
            conn = connect(server.port, "postgres", pg.SUPERUSER)
            with conn.cursor() as cur:
                cur.execute("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'secret'")
                for name in ("app", "plain"):
                    cur.execute(f"CREATE DATABASE {name} OWNER app")
            conn.close()
        self.files = os.path.join(fleet.folder, "lines")
        self.consumer = Consumer(self, "users", os.path.join(fleet.folder, "consumed"))
        config = config_for(self.servers, {"users": {"hash": ["id"]}, "events": {"hash": ["user_id"], "colocate": "users"}},
                            service={"user": "app"},
                            cdc={"enabled": "on", "http_user": "reader", "databases": "app",
                                 "sink_file": self.files, "sink_file_bytes": 200000,
                                 "sink_pg": f"host=127.0.0.1 port={self.copy.port} dbname=app user=app"})
        self.braid = Braid(os.path.join(fleet.folder, "braid"), config, users={"app": "secret", "reader": "t0ken"},
                           build=args.build)
        self.braid.start()
        conn = connect(self.braid.port)
        with conn.cursor() as cur:
            for sql in TABLES.values():
                cur.execute(sql)
        conn.close()

    def console(self, sql):
        conn = connect(self.braid.port, "pgbraid")
        with conn.cursor() as cur:
            cur.execute(sql)
            names = [c[0] for c in cur.description]
            out = [dict(zip(names, row)) for row in cur.fetchall()]
        conn.close()
        return out

    def truth(self, table):
        return rows_of([s.port for s in self.servers], "app", table)


def equal_soon(what, get, want, place):
    """Sinks are behind; in the end they are equal."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            have = get()
        except psycopg2.Error as e:
            have = str(e)
        if have == want:
            return
        if time.monotonic() > until:
            said = place.console("SHOW CDC_SINKS"), place.console("SHOW CDC_LOG")
            if not isinstance(have, list):
                raise RuntimeError(f"{what}: {have}; {said}")
            missing, extra = sorted(set(want) - set(have)), sorted(set(have) - set(want))
            raise RuntimeError(f"{what}: {len(missing)} rows missing ({missing[:2]}), {len(extra)} too many "
                               f"({extra[:2]}); {said}\n{place.braid.tail()}")
        time.sleep(0.2)


class Consumer:
    """A process that reads a topic as a member of a group, and keeps each record in a file before it asks for more."""

    def __init__(self, place, topic, path):
        self.place, self.topic, self.path = place, topic, path
        self.process = None

    def work(self, port, to_the_end):
        conn, idle = None, 0
        with open(self.path, "a", encoding="utf-8") as f:
            while not to_the_end or idle < 5:
                try:
                    conn = conn or connect(port)
                    with conn.cursor() as cur:
                        cur.execute(f"SELECT * FROM braid.changes('{self.topic}', group => 'killed', member => 'm', "
                                    "limit => 20, wait_ms => 200)")
                        names = [c[0] for c in cur.description]
                        rows = [dict(zip(names, row)) for row in cur.fetchall()]
                except psycopg2.Error:
                    conn = None
                    time.sleep(0.1)
                    continue
                idle = 0 if rows else idle + 1
                f.writelines("\n" + json.dumps(row) for row in rows)  # a torn line ends where the next begins
                f.flush()
        os._exit(0)

    def start(self, to_the_end=False):
        self.process = multiprocessing.get_context("fork").Process(target=self.work, args=(self.place.braid.port, to_the_end))
        self.process.start()

    def kill(self):
        self.process.kill()
        self.process.join()

    def read(self):
        """What it has, in its order; a record that came again once."""
        out, seen = [], set()
        with open(self.path, encoding="utf-8") as f:
            for line in f:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if (row["partition"], row["offset"]) not in seen:
                    seen.add((row["partition"], row["offset"]))
                    out.append(row)
        return out


def disturb(place, rng, seconds, writers):
    """Kill pgbraid twice, a server once and a consumer between them while the writers are at it."""
    for what in ("braid", "server", "braid"):
        for _ in range(2):
            place.consumer.start()
            time.sleep(seconds / 8 * (0.5 + rng.random()))
            place.consumer.kill()
        if what == "braid":
            place.braid.process.kill()
            place.braid.process.wait()
            place.braid.start()
        else:
            place.servers[1].stop("immediate")
            place.servers[1].start()
    time.sleep(seconds / 4)
    expect_that(sum(w.done for w in writers) > 20, "the writers did something")


def apply_event(tables, partition, value):
    """A row is kept with its owner: what is gone is said for a shard and a partition."""
    source = value["source"]
    rows = tables.setdefault(source["table"], {})
    owner = source["shard"], partition
    if value["op"] == "t":
        for key in [k for k, (_, of) in rows.items() if of == owner]:
            del rows[key]
        return
    key = ("id",) if source["table"] == "users" else ("user_id", "seq")
    old = None
    if value["before"] is not None and value["op"] in ("u", "d"):
        place = tuple(value["before"][k] for k in key)
        old = rows.pop(place)[0] if place in rows and rows[place][1] == owner else None
    elif value["after"]:
        old = rows.get(tuple(value["after"][k] for k in key), (None,))[0]
    if value["after"] is not None:
        new = {k: (old or {}).get(k) if v == "__debezium_unavailable_value" else v for k, v in value["after"].items()}
        rows[tuple(new[k] for k in key)] = new, owner


def replay_lines(folder):
    """JSON lines of all files, each event once by its idempotence key, applied in the order of its partition."""
    tables, seen = {}, set()
    for path in sorted(glob.glob(f"{folder}/changes-*.jsonl")):
        with open(path, encoding="utf-8") as f:
            for line in f:
                if not line.endswith("\n"):
                    continue  # torn: it comes again in the next file
                event = json.loads(line)
                place = (event["topic"], event["partition"], event["offset"])
                if place not in seen:
                    seen.add(place)
                    apply_event(tables, event["partition"], event["value"])
    return tables


def as_rows(tables, table):
    """As text, as the shards print them; times and truth values have more than one spelling."""
    columns = [c for c in COLUMNS[table] if c not in ("at", "ok")]
    return sorted(tuple(str(row[c]) for c in columns) for row, _ in tables.get(table, {}).values())


def consume(place, member, seen, stop_after=None):
    """A member of group g by SQL, until there is nothing more."""
    conn = connect(place.braid.port)
    idle = 0
    with conn.cursor() as cur:
        while idle < 3:
            cur.execute(f"SELECT * FROM braid.changes('users', group => 'g', member => '{member}', limit => 50, wait_ms => 200)")
            rows = cur.fetchall()
            for topic, partition, offset, *_ in rows:
                seen.setdefault((topic, partition, offset), []).append(member)
            idle = 0 if rows else idle + 1
            if stop_after is not None and len(seen) > stop_after:
                break
    conn.close()


def sinks_are_equal(place, args):
    rng = random.Random(args.seed)
    stop = threading.Event()
    writers = [Writer(place.braid.port, args.seed * 10 + i, stop) for i in range(3)]
    for w in writers:
        w.start()
    disturb(place, rng, args.seconds, writers)
    stop.set()
    for w in writers:
        w.join(30)
    time.sleep(1)  # recovery ends what was prepared
    for table in TABLES:
        equal_soon(f"the pg sink's {table}", lambda t=table: rows_of([place.copy.port], "app", t), place.truth(table), place)


def killed_consumer_has_all(place, _args):
    """Every record, each partition in its order, and the rows that come of it."""
    place.consumer.start(to_the_end=True)
    place.consumer.process.join(WAIT_S)
    expect(place.consumer.process.exitcode, 0, "it came to the end")
    rows, at, tables = place.consumer.read(), {}, {}
    for row in rows:
        expect_that(row["offset"] > at.get(row["partition"], -1), f"in order: {row['partition']}, {row['offset']}")
        at[row["partition"]] = row["offset"]
        value = row["value"] if isinstance(row["value"], dict) else json.loads(row["value"])
        apply_event(tables, row["partition"], value)
    topics = {t["topic"]: t for t in place.console("SHOW CDC_TOPICS")}
    expect(len(rows), topics["app.public.users"]["records"], "every record came")
    expect_that(as_rows(tables, "users") == place.truth("users"), "its users are those of the shards")


def lines_are_equal(place, _args):
    want = place.truth("users")
    equal_soon("the file sink's users", lambda: as_rows(replay_lines(place.files), "users"), want, place)
    want = sorted(row[:2] for row in place.truth("events"))
    equal_soon("the file sink's events", lambda: as_rows(replay_lines(place.files), "events"), want, place)
    expect_that(all(s["dead_letters"] == 0 for s in place.console("SHOW CDC_SINKS")), "no dead letters")


def locks_alone_break_nothing(place, _args):
    """A shard on which a transaction has only locked rows is prepared, too; its server tells the end of what it has not told the beginning of."""
    ids = [server.sql("SELECT min(id), max(id) FROM users", "app")[0] for server in place.servers]
    conn = connect(place.braid.port)
    conn.autocommit = False
    for locked, written in ((0, 1), (1, 0)):
        with conn.cursor() as cur:
            cur.execute("SELECT name FROM users WHERE id = %s FOR UPDATE", (ids[locked][0],))
            cur.execute("UPDATE users SET name = 'behind a lock' WHERE id = %s", (ids[written][1],))
        conn.commit()
    with conn.cursor() as cur:
        cur.execute("UPDATE users SET name = 'behind locks' WHERE id IN (%s, %s)", (ids[0][0], ids[1][0]))
    conn.commit()
    conn.close()
    equal_soon("the pg sink's users", lambda: rows_of([place.copy.port], "app", "users"), place.truth("users"), place)
    gaps = []
    for path in glob.glob(f"{place.files}/changes-*.jsonl"):
        with open(path, encoding="utf-8") as f:
            gaps += [json.loads(line)["value"]["gap"] for line in f if '"op":"gap"' in line]
    expect(gaps, [], "gaps")


def keys_stay(place, _args):
    """A key is always in one partition, and rows of tables that are placed alike are in the one of their key."""
    partition_of = {}
    for path in glob.glob(f"{place.files}/changes-*.jsonl"):
        with open(path, encoding="utf-8") as f:
            for line in f:
                if line.endswith("\n"):
                    event = json.loads(line)
                    key = (event.get("key") or {}).get("id" if event["value"]["source"]["table"] == "users" else "user_id")
                    if key is not None:
                        partition_of.setdefault(key, set()).add(event["partition"])
    expect_that(len(partition_of) > 20, "keys were seen")
    expect([k for k, v in partition_of.items() if len(v) > 1], [], "keys in several partitions")
    expect_that(len(set().union(*partition_of.values())) > 2, "several partitions are used")


def groups_share(place, _args):
    seen = {}
    consume(place, "gone", seen, stop_after=60)  # its last batch is not acknowledged
    place.braid.process.kill()
    place.braid.process.wait()
    place.braid.start()
    threads = [threading.Thread(target=consume, args=(place, f"m{i}", seen)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    topics = {t["topic"]: t for t in place.console("SHOW CDC_TOPICS")}
    expect(len(seen), topics["app.public.users"]["records"], "every record came")
    twice = [k for k, v in seen.items() if len(v) > 1]
    expect_that(all(seen[k][0] == "gone" for k in twice), "only what was not acknowledged came again")
    groups = {g["group"]: g for g in place.console("SHOW CDC_GROUPS")}
    expect_that(groups["g"]["lag"] <= 100, "the group is at the end but for its last batches")


def http(place, path, token="t0ken", method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{place.braid.http_port}{path}", method=method,
                                     headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def http_reads(place, _args):
    path = "/changes?topic=app.public.users&limit=10"
    expect(http(place, path, token=None)[0], 401, "no token")
    expect(http(place, path, token="t0kex")[0], 401, "a wrong token")
    status, text = http(place, path)
    expect(status, 200, text[:200])
    expect(len(json.loads(text)["events"]), 10, "events")
    expect(http(place, "/changes?topic=app.public.nothing")[0], 404, "no such topic")
    expect(http(place, path + "&group=h")[0], 400, "a group without a member")
    status, text = http(place, path + "&group=h&member=m&ack=none")
    first = [(e["partition"], e["offset"]) for e in json.loads(text)["events"]]
    expect(http(place, "/changes/commit?topic=app.public.users&group=h&member=m", method="POST")[0], 200, "commit")
    status, text = http(place, path + "&group=h&member=m&ack=none")
    expect_that(not set(first) & {(e["partition"], e["offset"]) for e in json.loads(text)["events"]}, "it goes on")


def command_line(place, _args):
    def run(*words):
        done = subprocess.run([os.path.join(os.path.dirname(place.braid.binary), "braidctl"), "-c", place.braid.path, "cdc", *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place.braid.folder)
        return done.returncode, done.stdout
    status, text = run("topics")
    expect(status, 0, text)
    expect_that("app.public.users" in text, text)
    status, text = run("reset", "nobody", "app.public.users", "latest")
    expect(status, 0, text)
    groups = {g["group"]: g for g in place.console("SHOW CDC_GROUPS")}
    expect(groups["nobody"]["lag"], 0, "set to the end")
    expect(run("reset", "nobody", "app.public.none", "latest")[0], 2, "no such topic")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    report = Report(verbose=True)
    with pg.Fleet() as fleet:
        place = Place(fleet, args)
        report.run_all(place.braid, (sinks_are_equal, locks_alone_break_nothing, killed_consumer_has_all, lines_are_equal, keys_stay, groups_share,
                                     http_reads, command_line), place, args)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
