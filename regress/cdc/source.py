#!/usr/bin/env python3
"""The source of change capture against real servers: what it gives to a log, applied to empty
tables, equals the servers' tables row by row.

usage: source.py [--build DIR] [--seconds N] [--seed N] [--only WORD] [--verbose]

Random writers work on three shards (key changes, TOAST, TRUNCATE, sub-transactions rolled back,
large and two-phase transactions) while the source and the servers are killed. source_tool.c is
the source with files as its log.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "regress"))

import psycopg2  # noqa: E402

import pg  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Failed, Report  # noqa: E402

VERSION = pg.version()
LOGICAL = ["wal_level = logical", "max_replication_slots = 20", "max_wal_senders = 20",
           "wal_sender_timeout = '10s'", "synchronous_commit = on", "max_prepared_transactions = 50"]
if VERSION >= 13:
    LOGICAL += ["max_slot_wal_keep_size = '512MB'", "logical_decoding_work_mem = '64kB'"]
TABLES = {
    "plain": "CREATE TABLE plain (id int PRIMARY KEY, a text, n numeric, t timestamptz, d float8)",
    "large": "CREATE TABLE large (id int, part text, body text, other int, PRIMARY KEY (part, id))",
    "whole": "CREATE TABLE whole (id int, a text, body text)",
    "Odd name": 'CREATE TABLE "Odd name" ("Key" uuid PRIMARY KEY DEFAULT md5(random()::text || clock_timestamp())::uuid, "a\\b" bytea, "q""t" text[])',
}
LIBS = ["replication", "txn", "shardmap", "conf", "store", "net", "wire", "base"]
OUTSIDE = ["-pthread", "-lpq", "-levent_core", "-levent_pthreads", "-lssl", "-lcrypto", "-llz4", "-lxxhash", "-lyaml", "-lm"]


def build_tool(build):
    tool = os.path.join(ROOT, build, "source_tool")
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-I.", "-I/usr/include/postgresql", "-o", tool,
               "regress/cdc/source_tool.c", *[f"{build}/lib{lib}.a" for lib in LIBS], *OUTSIDE]
    for name in ("address", "thread"):
        if name in build:
            command.insert(1, "-fsanitize=thread" if name == "thread" else "-fsanitize=address,undefined")
    subprocess.run(command, cwd=ROOT, check=True)
    return tool


class Tool:
    """source_tool as a process that can be killed and started again."""

    def __init__(self, tool, folder, servers, options=""):
        self.folder, self.servers, self.options, self.tool = folder, servers, options, tool
        os.makedirs(folder, exist_ok=True)
        self.process, self.user = None, "postgres"

    def start(self, options=None):
        self.options = self.options if options is None else options
        if os.path.exists(f"{self.folder}/look.json"):
            os.remove(f"{self.folder}/look.json")  # of the one before
        with open(f"{self.folder}/out", "ab") as out:
            self.process = subprocess.Popen(
                [self.tool, self.folder, "app", self.user, self.options, *[str(s.port) for s in self.servers]],
                stdout=out, stderr=out)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            raise RuntimeError(f"source_tool ended with {self.process.returncode}\n{self.tail()}")

    def tail(self):
        with open(f"{self.folder}/out", encoding="utf-8", errors="replace") as f:
            return f.read()[-3000:]

    def look(self):
        try:
            with open(f"{self.folder}/look.json", encoding="utf-8") as f:
                return json.load(f)
        except (OSError, ValueError):
            return []

    def wait(self, accept, what, seconds=90):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"source_tool ended with {self.process.returncode}\n{self.tail()}")
            look = self.look()
            if look and accept(look):
                return look
            time.sleep(0.05)
        raise RuntimeError(f"{what} did not come in {seconds} s: {self.look()}\n{self.tail()}")

    def move(self):
        """The servers are others now."""
        with open(f"{self.folder}/ports", "w", encoding="utf-8") as f:
            f.write(" ".join(str(s.port) for s in self.servers) + "\n")
        self.process.send_signal(signal.SIGUSR2)

    def catch_up(self):
        """All that is committed on the servers now is durable in the log."""
        ends = [int(s.sql("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0]) for s in self.servers]
        for s in self.servers:
            s.sql("SELECT pg_logical_emit_message(false, 'test', 'end')", "app")
        self.wait(lambda look: all(l["durable"] >= end and l["doing"] == "reading" for l, end in zip(look, ends)),
                  "the end of the servers' logs")

    def log(self, shard):
        """What is durable: whole units only."""
        out, unit = [], []
        with open(f"{self.folder}/s{shard}.log", "rb") as f:
            for line in f:
                if not line.endswith(b"\n"):
                    break
                record = json.loads(line)
                if "mark" in record:
                    out += unit
                    unit = []
                else:
                    unit.append(record)
        return out


class Wrong(Failed):
    pass


def expect_one_slot(server):
    slots = server.sql("SELECT count(*) FROM pg_replication_slots")[0][0]
    if slots != 1:
        raise Wrong(f"{slots} slots are left")


class Replica:
    """Tables in memory; applies a log as a consumer would and refuses what makes no sense."""

    def __init__(self, log):
        # until the last row of a table's copy, changes may concern rows that were not given yet
        self.copied = {r["table"]: (r["epoch"], r["lsn"]) for r in log if r["op"] == "row" or r.get("content") == "copy"}
        self.tables, self.keyless = {}, {}
        self.last, self.open, self.gids = (0, 0, -1), None, []
        self.gaps, self.messages, self.xids = [], [], set()

    def need(self, ok, record, why):
        if not ok:
            raise Wrong(f"{why}: {str(record)[:600]}")

    def early(self, record):
        return (record["epoch"], record["lsn"]) <= self.copied.get(record["table"], (0, 0))

    @staticmethod
    def key(record, row):
        return tuple(row[k] for k in record["key"])

    def row(self, record, table):
        new = dict(record["new"])
        same = [c for c, v in new.items() if isinstance(v, dict)]
        if same:
            before = table.get(self.key(record, record.get("old") or new))
            self.need(before is not None or self.early(record), record, "values unchanged in a row that is not known")
            for c in same:
                new[c] = before[c] if before else "not known yet"
        return new

    def apply_keyless(self, record, op):
        rows = self.keyless.setdefault(record["table"], {})
        for part, step in (("old", -1), ("new", 1)):
            if part in record and not (op == "insert" and part == "old"):
                key = json.dumps(record[part], sort_keys=True)
                self.need("unchanged" not in key, record, "unchanged value in a whole row")
                rows[key] = rows.get(key, 0) + step
                self.need(rows[key] >= 0 or self.early(record), record, "a row goes that was not there")

    def apply(self, record):
        place = (record["epoch"], record["lsn"], record["index"])
        self.need(place > self.last, record, f"places do not ascend after {self.last}")
        self.last = place
        op = record["op"]
        if op == "begin":
            self.need(self.open is None, record, "begin in a transaction")
            self.open = place[:2]
            self.need(record["xid"] not in self.xids, record, "a transaction came twice")
            self.xids.add(record["xid"])
            if "gid" in record:
                self.gids.append(record["gid"])
        elif op == "commit":
            self.need(self.open == place[:2], record, "commit of another transaction")
            self.open = None
        elif op == "gap":
            self.gaps.append(record["content"])
            self.open = None
            self.tables, self.keyless, self.xids = {}, {}, set()
        elif op in ("message", "watermark", "ddl"):
            self.messages.append(record)
        elif op == "truncate":
            self.need(record.get("content") == "copy" or self.open == place[:2], record, "a change outside of its transaction")
            self.tables.pop(record["table"], None)
            self.keyless.pop(record["table"], None)
        else:
            self.need((self.open == place[:2]) if op != "row" else self.open is None, record,
                      "a change outside of its transaction")
            self.change(record, op)

    def change(self, record, op):
        if record["table"] == "whole":
            self.apply_keyless(record, op)
            return
        table = self.tables.setdefault(record["table"], {})
        if op == "delete":
            was = table.pop(self.key(record, record["old"]), None)
            self.need(was is not None or self.early(record), record, "deleted twice")
            return
        new = self.row(record, table)
        key = self.key(record, new)
        if op == "insert":
            self.need(key not in table or self.early(record), record, "inserted twice")
        if op == "update":
            was = self.key(record, record.get("old") or new)
            self.need(was in table or self.early(record), record, "an update of a row that is not known")
            table.pop(was, None)
        table[key] = new


def rows_of(server, table):
    c = server.connect("app")
    with c.cursor() as cur:
        cur.execute("SET timezone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = hex")
        cur.execute("SELECT array_agg(quote_ident(attname) ORDER BY attnum), array_agg(attname::text ORDER BY attnum) FROM pg_attribute "
                    "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", (f'"{table}"',))
        quoted, names = cur.fetchone()
        cur.execute(f'SELECT {", ".join(q + "::text" for q in quoted)} FROM "{table}"')
        rows = [dict(zip(names, row)) for row in cur.fetchall()]
    c.close()
    return rows


def compare(server, replica, table):
    rows = rows_of(server, table)
    if table == "whole":
        want = {}
        for row in rows:
            key = json.dumps(row, sort_keys=True)
            want[key] = want.get(key, 0) + 1
        have = {k: n for k, n in replica.keyless.get(table, {}).items() if n}
    else:
        want = {json.dumps(r, sort_keys=True): 1 for r in rows}
        have = {json.dumps(r, sort_keys=True): 1 for r in replica.tables.get(table, {}).values()}
    if want != have:
        missing = [k[:300] for k in want if want[k] != have.get(k)][:3]
        extra = [k[:300] for k in have if have[k] != want.get(k)][:3]
        raise Wrong(f"table {table}: {len(want)} rows on the server, {len(have)} in the log; missing {missing}, too many {extra}")
    return len(rows)


class Writer(threading.Thread):
    """Random transactions on one server, over lost connections."""

    def __init__(self, server, seed, big=200):
        super().__init__(daemon=True)
        self.server, self.rng, self.big = server, random.Random(seed), big
        self.stopped, self.count, self.next, self.errors = False, 0, (seed % 100 + 1) * 10_000_000, []

    def run(self):
        c = None
        while not self.stopped:
            try:
                if c is None:
                    c = self.server.connect("app", options="-c lock_timeout=1s")  # prepared ones may be left
                    c.autocommit = False
                self.transaction(c)
                self.count += 1
            except psycopg2.Error as e:
                if e.pgcode and not e.pgcode.startswith(("57", "08", "40", "25P02", "55P03")):
                    self.errors.append(f"{e.pgcode} {e}")
                try:
                    c.rollback()
                except (psycopg2.Error, AttributeError):
                    c = None
                    time.sleep(0.1)
        if c is not None:
            c.close()

    def end(self):
        self.stopped = True
        self.join(120)
        if self.is_alive() or self.errors:
            raise Wrong(self.errors[0] if self.errors else "a writer does not end")

    def text(self, n):
        return "".join(self.rng.choices("abcdefgh\t\n\\'\"é", k=n))

    def statement(self, cur):
        r, kind = self.rng, self.rng.random()
        self.next += 1
        if kind < 0.3:
            cur.execute("INSERT INTO plain VALUES (%s, %s, %s, now(), %s)",
                        (self.next, self.text(r.randint(0, 20)) if r.random() < 0.9 else None, r.randint(-999, 999) / 7, r.random()))
        elif kind < 0.4:
            cur.execute("INSERT INTO large VALUES (%s, %s, %s, 0)", (self.next, r.choice("ab"), self.text(3000) * r.randint(1, 4)))
        elif kind < 0.5:
            cur.execute("INSERT INTO whole SELECT %s, %s, %s", (r.randint(1, 50), self.text(3), self.text(2500)))
        elif kind < 0.57:
            cur.execute("UPDATE large SET other = other + 1 WHERE id %% 7 = %s", (r.randint(0, 6),))
        elif kind < 0.62:
            cur.execute("UPDATE large SET part = CASE part WHEN 'a' THEN 'b' ELSE 'a' END WHERE id %% 11 = %s", (r.randint(0, 10),))
        elif kind < 0.67:
            cur.execute("UPDATE plain SET id = -id WHERE id %% 13 = %s", (r.randint(0, 12),))
        elif kind < 0.72:
            cur.execute("UPDATE whole SET a = a || '.' WHERE id = %s", (r.randint(1, 50),))
        elif kind < 0.80:
            cur.execute("DELETE FROM plain WHERE id %% 5 = %s", (r.randint(0, 4),))
            cur.execute("DELETE FROM whole WHERE id = %s", (r.randint(1, 50),))
            cur.execute("DELETE FROM large WHERE id %% 4 = %s", (r.randint(0, 3),))
        elif kind < 0.90:
            cur.execute('INSERT INTO "Odd name" ("a\\b", "q""t") VALUES (%s, %s)',
                        (psycopg2.Binary(self.text(9).encode()), [self.text(4), None]))
        elif kind < 0.95:
            cur.execute('DELETE FROM "Odd name" WHERE "Key" IN (SELECT "Key" FROM "Odd name" LIMIT 3)')
        elif kind < 0.96 and VERSION >= 11:  # before, TRUNCATE is not in the stream
            cur.execute(r.choice(["TRUNCATE plain", "TRUNCATE whole, large CASCADE", 'TRUNCATE "Odd name" RESTART IDENTITY']))
        else:
            cur.execute("INSERT INTO plain SELECT %s + g, 'many', g, now(), g FROM generate_series(1, %s) g",
                        (self.next, self.big))
            self.next += self.big

    def transaction(self, c):
        r = self.rng
        with c.cursor() as cur:
            for _ in range(r.randint(1, 4)):
                if r.random() < 0.25:
                    cur.execute("SAVEPOINT s")
                    self.statement(cur)
                    if r.random() < 0.5:
                        cur.execute("ROLLBACK TO SAVEPOINT s")
                else:
                    self.statement(cur)
            end = r.random()
            if end < 0.15:
                c.rollback()
            elif end < 0.3:
                gid = f"pgbraid_test_{self.next}"
                cur.execute("PREPARE TRANSACTION %s", (gid,))
                c.commit()
                if r.random() < 0.3:
                    time.sleep(r.random() * 0.3)
                c.autocommit = True
                cur.execute(("COMMIT" if r.random() < 0.7 else "ROLLBACK") + " PREPARED %s", (gid,))
                c.autocommit = False
            else:
                c.commit()


class Test:
    def __init__(self, args, tool, fleet, servers, report):
        self.args, self.tool, self.fleet, self.servers, self.report = args, tool, fleet, servers, report
        self.number, self.size, self.last = 0, 10 if args.short else 1, None

    def fresh(self, shards=3, servers=None):
        if self.last is not None and self.last.process is not None:
            self.last.kill()  # of a test that failed
        servers = servers or self.servers[:shards]
        for s in servers:
            for (slot,) in s.sql("SELECT slot_name FROM pg_replication_slots"):
                s.wait_sql(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'", lambda r: not r or not r[0][0])
                s.sql(f"SELECT pg_drop_replication_slot('{slot}') FROM pg_replication_slots WHERE slot_name = '{slot}'")
            for (gid,) in s.sql("SELECT gid FROM pg_prepared_xacts"):
                s.sql(f"ROLLBACK PREPARED '{gid}'", "app")
            s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app'")
            s.wait_sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'", lambda r: r == [(0,)])
            s.sql("DROP DATABASE IF EXISTS app")
            s.sql("CREATE DATABASE app")
            for ddl in TABLES.values():
                s.sql(ddl, "app")
            s.sql("ALTER TABLE large ALTER body SET STORAGE EXTERNAL", "app")
            s.sql("ALTER TABLE whole REPLICA IDENTITY FULL", "app")
        self.number += 1
        self.last = Tool(self.tool, f"{self.fleet.folder}/t{self.number}", servers)
        return self.last

    def standby_of(self, primary):
        """A streaming standby of a server, made while that is stopped; both run then."""
        primary.stop()
        standby = pg.Server(os.path.join(self.fleet.pg, f"s{len(self.fleet.servers)}"), pg.free_ports(1)[0])
        pg.run_quiet(pg.as_server("cp", "-a", primary.folder, standby.folder), "cp")
        self.fleet.servers.append(standby)
        with open(f"{standby.folder}/postgresql.auto.conf", encoding="utf-8") as f:
            lines = [line for line in f if not line.startswith(("port", "primary_conninfo"))]
        follow = f"primary_conninfo = 'host={primary.socket_dir} port={primary.port} user=postgres'\n"
        standby.write("postgresql.auto.conf", "".join(lines) + f"port = {standby.port}\n" + (follow if VERSION >= 12 else ""))
        standby.write(*(("standby.signal", "") if VERSION >= 12 else ("recovery.conf", "standby_mode = on\n" + follow)))
        primary.start()
        standby.start()
        return standby

    def settle(self, tool):
        """Nothing is left prepared, all of it is in the log and equal."""
        for s in tool.servers:
            for (gid,) in s.sql("SELECT gid FROM pg_prepared_xacts"):
                s.sql(f"COMMIT PREPARED '{gid}'", "app")
        tool.catch_up()
        replicas, rows = [], 0
        for i, s in enumerate(tool.servers):
            log = tool.log(i)
            replica = Replica(log)
            for record in log:
                replica.apply(record)
            rows += sum(compare(s, replica, table) for table in TABLES)
            replicas.append(replica)
        return replicas, rows

    def check(self, name, fn):
        def run():
            text = fn()
            if self.args.verbose:
                print(f"        {text}")
        self.report.run(name, run)

    # ---- tests

    def writers_and_kills(self, seconds, seed, big=200):
        tool = self.fresh()
        rng = random.Random(seed)
        writers = [Writer(s, seed * 100 + i * 10 + k, big) for i, s in enumerate(tool.servers) for k in range(2)]
        for w in writers:
            w.start()
        time.sleep(0.5)
        fill = rng.choice(["", " fill=app.*"])
        tool.start("memory=300000" + fill)
        kills = restarts = 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(rng.random() * 1.5)
            if rng.random() < 0.7:
                tool.kill()
                kills += 1
                tool.start("memory=300000 pause=" + rng.choice(["0", "0", "200"]) + fill)
            else:
                s = rng.choice(tool.servers)
                s.restart("immediate")
                restarts += 1
        for w in writers:
            w.stopped = True
        for w in writers:
            w.end()
        tool.kill()
        tool.start("memory=300000" + fill)  # no pauses any more
        replicas, rows = self.settle(tool)
        # PostgreSQL cannot decode some transactions that were rolled back: see undecodable()
        gaps = [why for r in replicas for why in r.gaps]
        if any("could not map file" not in why for why in gaps):
            raise Wrong(f"a gap without a reason: {gaps}")
        tool.stop()
        return (f"{sum(w.count for w in writers)} transactions, {rows} rows equal, {sum(len(r.gids) for r in replicas)} two-phase, "
                f"{kills} kills, {restarts} crashes of servers, {len(gaps)} gaps")

    def promotion(self, seed):
        """The primary dies in the middle, its standby takes over, without the slot, and perhaps without the last commits."""
        rng = random.Random(seed)
        (s,) = self.fleet.start(1, options=LOGICAL)
        tool = self.fresh(servers=[s])
        standby = self.standby_of(s)
        writers = [Writer(s, seed * 100 + k) for k in range(2)]
        for w in writers:
            w.start()
        tool.start("memory=300000")
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        time.sleep(rng.random() * 2)
        if rng.random() < 0.5:
            tool.kill()
        s.stop(rng.choice(["immediate", "fast"]))
        standby.ctl("promote", "-w")
        tool.servers = [standby]
        if tool.process.poll() is None:
            tool.move()
        else:
            tool.start()
        for w in writers:
            w.server = standby
        time.sleep(rng.random() * 2)
        if rng.random() < 0.5:
            tool.kill()
            tool.start()
        for w in writers:
            w.stopped = True
        for w in writers:
            w.end()
        replicas, rows = self.settle(tool)
        tool.stop()
        if not replicas[0].gaps:
            raise Wrong("a slot that did not follow, and no gap")
        standby.stop("immediate")
        return f"{sum(w.count for w in writers)} transactions, {rows} rows equal, gaps: {replicas[0].gaps}"

    def one_again(self):
        """One table is copied again, once more and as the only one, while it and others are written."""
        tool = self.fresh(1)
        (s,) = tool.servers
        s.sql("INSERT INTO plain SELECT g, 'row ' || g FROM generate_series(1, %d) g" % (20000 // self.size), "app")
        tool.start("pages=20")
        tool.wait(lambda look: look[0]["doing"] == "reading", "the end of the copy")
        w = Writer(s, 7, 50)
        w.start()
        with open(f"{tool.folder}/again", "w", encoding="utf-8") as f:
            f.write("public.plain\n")
        before = tool.look()[0]["rows_copied"]
        tool.process.send_signal(signal.SIGUSR1)
        tool.wait(lambda look: look[0]["rows_copied"] > before, "rows")
        tool.kill()  # in the middle: it goes on where it was
        tool.start("pages=20")
        tool.wait(lambda look: look[0]["doing"] == "reading", "the end of the second copy")
        w.end()
        _, rows = self.settle(tool)
        tool.stop()
        copies = [r["table"] for r in tool.log(0) if r.get("content") == "copy"]
        if sorted(set(copies)) != sorted(TABLES) or sorted(copies[len(TABLES):]) != ["plain"]:
            raise Wrong(f"copied: {copies}")
        return f"{rows} rows equal, copied again: {copies[len(TABLES):]}"

    def identities(self):
        """What an UPDATE and a DELETE say of the old row, by each kind of REPLICA IDENTITY."""
        tool = self.fresh(1)
        (s,) = tool.servers
        for name, identity in (("by_key", "DEFAULT"), ("by_all", "FULL"), ("by_index", "USING INDEX by_index_code_key"),
                               ("by_nothing", "NOTHING")):
            s.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, code text NOT NULL UNIQUE, n int)", "app")
            s.sql(f"ALTER TABLE {name} REPLICA IDENTITY {identity}", "app")
        named = "tables=by_key,public.by_all,by_index"
        tool.start(named + ",by_nothing")
        tool.wait(lambda look: "public.by_nothing" in look[0]["error"], "a refusal of NOTHING")
        s.sql("INSERT INTO by_nothing VALUES (1, 'a', 1); UPDATE by_nothing SET n = 2", "app")  # nothing was published
        tool.kill()
        tool.start(named)
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        for name in ("by_key", "by_all", "by_index"):
            s.sql(f"INSERT INTO {name} VALUES (1, 'a', 1); UPDATE {name} SET n = 2; UPDATE {name} SET id = 2; UPDATE {name} SET code = 'b'; "
                  f"DELETE FROM {name}", "app")
        tool.catch_up()
        tool.stop()
        got = {}
        for r in tool.log(0):
            if r["op"] in ("update", "delete"):
                got.setdefault(r["table"], []).append((r["op"], r.get("old")))
        def whole(i, code, n):
            return {"id": i, "code": code, "n": n}
        want = {
            "by_key": [("update", None), ("update", {"id": "1"}), ("update", None), ("delete", {"id": "2"})],
            "by_all": [("update", whole("1", "a", "1")), ("update", whole("1", "a", "2")), ("update", whole("2", "a", "2")),
                       ("delete", whole("2", "b", "2"))],
            "by_index": [("update", None), ("update", None), ("update", {"code": "a"}), ("delete", {"code": "b"})],
        }
        if got != want:
            raise Wrong(f"{got}")
        tool.start(named + ",by_nothing full=1")
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        if s.sql("SELECT relreplident FROM pg_class WHERE relname = 'by_nothing'", "app")[0][0] != "f":
            raise Wrong("by_nothing has not become FULL")
        tool.stop()
        return "the primary key, the whole row, the index; NOTHING is refused, or made FULL on wish"

    def first_copy(self):
        tool = self.fresh(1)
        (s,) = tool.servers
        s.sql("INSERT INTO plain SELECT g, 'row ' || g, g / 3.0, now(), g FROM generate_series(1, %d) g" % (150000 // self.size), "app")
        s.sql("INSERT INTO large SELECT g, 'a', repeat('x', 3000 + g), 0 FROM generate_series(1, 200) g", "app")
        s.sql("INSERT INTO whole VALUES (1, E'\\\\N', E'tab\\there\\nline \\\\ back'), (2, NULL, '')", "app")
        w = Writer(s, 5, 50)
        w.start()
        starts = 0
        for _ in range(1 if self.args.short else 3):
            tool.start("pages=20")
            starts += 1
            tool.wait(lambda look: look[0]["rows_copied"] > 0 or look[0]["doing"] == "reading", "rows")
            tool.kill()
        tool.start("pages=20")
        tool.wait(lambda look: look[0]["doing"] == "reading", "the end of the copy")
        w.end()
        replicas, rows = self.settle(tool)
        before = tool.look()[0]["rows_copied"]
        w = Writer(s, 6, 50)
        w.start()
        tool.process.send_signal(signal.SIGUSR1)
        tool.wait(lambda look: look[0]["rows_copied"] > before and look[0]["doing"] == "reading", "the second copy")
        w.end()
        replicas, rows = self.settle(tool)
        tool.stop()
        copied = sum(1 for r in tool.log(0) if r["op"] == "row")
        return f"{rows} rows equal, {copied} were copied, {starts} interruptions, copied again while written"

    def empty_tables(self):
        """Of a table without rows, too, a copy says that it begins, also when the sink takes nothing just then."""
        tool = self.fresh(1)
        (s,) = tool.servers
        s.sql("""INSERT INTO "Odd name" ("a\\b") SELECT decode(repeat('ab', 500), 'hex') FROM generate_series(1, 300)""", "app")
        tool.start("pause=500")  # after the first 64 kB
        _, rows = self.settle(tool)
        tool.stop()
        begun = sorted(r["table"] for r in tool.log(0) if r.get("content") == "copy")
        if begun != sorted(TABLES):
            raise Wrong(f"only of {begun}")
        return f"{rows} rows in one of {len(begun)} tables"

    def gaps(self):
        tool = self.fresh(1)
        (s,) = tool.servers
        tool.start()
        s.sql("INSERT INTO plain VALUES (1, 'kept')", "app")
        tool.catch_up()
        tool.kill()
        slot = tool.look()[0]["slot"]
        s.wait_sql("SELECT count(*) FROM pg_replication_slots WHERE active", lambda r: r == [(0,)])
        s.sql(f"SELECT pg_drop_replication_slot('{slot}')")
        s.sql("INSERT INTO plain VALUES (2, 'never seen by a slot')", "app")
        tool.start()
        tool.wait(lambda look: look[0]["gaps"] == 1 and look[0]["doing"] == "reading", "a gap")
        replicas, _ = self.settle(tool)
        if len(replicas[0].gaps) != 1:
            raise Wrong("the gap is not in the log")
        tool.kill()
        slot = tool.look()[0]["slot"]
        s.wait_sql("SELECT count(*) FROM pg_replication_slots WHERE active", lambda r: r == [(0,)])
        s.sql("INSERT INTO plain VALUES (3, 'skipped by somebody')", "app")
        if VERSION >= 11:
            s.sql(f"SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())", "app")
        else:
            s.sql(f"SELECT count(*) FROM pg_logical_slot_get_binary_changes('{slot}', NULL, NULL, 'proto_version', '1', 'publication_names', 'pgbraid_cdc')", "app")
        tool.start()
        tool.wait(lambda look: look[0]["gaps"] == 1 and look[0]["doing"] == "reading", "a second gap")
        replicas, _ = self.settle(tool)
        if len(replicas[0].gaps) != 2:
            raise Wrong(f"{replicas[0].gaps} in the log")
        tool.stop()
        expect_one_slot(s)
        return "a slot that is gone and one that was moved are gaps in the log, then copied again"

    def kept(self):
        """What the slot makes its server keep: an alarm in time, and, on wish, an end; what the server drops is a gap."""
        tool = self.fresh(1)
        (s,) = tool.servers
        tool.start("watch=50 retained=100000000")
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        s.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '160MB'")
        s.sql("SELECT pg_reload_conf()")
        try:
            s.sql("BEGIN; INSERT INTO plain VALUES (1); PREPARE TRANSACTION 'holds it'", "app")
            tool.wait(lambda look: 0 <= look[0]["safe"] < 200 << 20 and not look[0]["alarm"], "a limit without an alarm")
            for i in range(8):  # 16 MB each
                s.sql(f"INSERT INTO plain VALUES ({i + 10}); SELECT pg_switch_wal()", "app")
            tool.wait(lambda look: look[0]["alarm"] and look[0]["retained"] > 100_000_000, "the alarm")
            s.sql("COMMIT PREPARED 'holds it'", "app")
            for _ in range(2):  # a slot's restart_lsn moves behind a checkpoint that it has read past
                s.sql("CHECKPOINT")
                tool.catch_up()
            tool.wait(lambda look: not look[0]["alarm"], "the end of the alarm")
            said = tool.tail()
            if said.count("CDC_RETAINED") != 1 or said.count("CDC_RELIEVED") != 1:
                raise Wrong(said)
            tool.kill()

            tool.start("watch=50 limit=50000000 pause=3600000")  # takes one unit, then no more
            tool.wait(lambda look: look[0]["doing"] in ("reading", "paused"), "the stream")
            for i in range(6):
                s.sql(f"INSERT INTO plain VALUES ({i + 20}); SELECT pg_switch_wal()", "app")
            tool.wait(lambda look: look[0]["gaps"] == 1, "the end of the slot")
            tool.kill()
            tool.start("watch=50")
            tool.catch_up()

            tool.kill()
            for i in range(14):
                s.sql(f"INSERT INTO plain VALUES ({i + 30}); SELECT pg_switch_wal()", "app")
            s.sql("CHECKPOINT")
            tool.start("watch=50")
            tool.wait(lambda look: look[0]["gaps"] == 1 and look[0]["doing"] == "reading", "a gap")
        finally:
            s.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
            s.sql("SELECT pg_reload_conf()")
        replicas, rows = self.settle(tool)
        tool.stop()
        gaps = replicas[0].gaps
        if len(gaps) != 2 or "cdc.retained_limit_bytes" not in gaps[0] or "has dropped log" not in gaps[1]:
            raise Wrong(f"gaps: {gaps}")
        expect_one_slot(s)
        return f"alarm, relief, a slot that is given up, one that the server gives up; {rows} rows equal"

    def fill(self):
        """Values that an UPDATE left alone are looked up where that is asked for, and never taken from another moment."""
        tool = self.fresh(1)
        (s,) = tool.servers
        s.sql("CREATE TABLE other (id int PRIMARY KEY, body text, n int); ALTER TABLE other ALTER body SET STORAGE EXTERNAL", "app")
        tool.start("fill=app.public.large memory=300000")
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        s.sql("INSERT INTO large VALUES (1, 'a', repeat('x', 9000), 0), (2, 'a', repeat('z', 9000), 0)", "app")
        s.sql("INSERT INTO other VALUES (1, repeat('x', 9000), 0)", "app")
        tool.catch_up()

        def short(record):
            body = record["new"]["body"]
            return body if isinstance(body, dict) else f"{body[:1]}{len(body)}"

        def updates(*statements, wait=True):
            """The values of `body` that come with these."""
            before = sum(1 for r in tool.log(0) if r["op"] == "update")
            for statement in statements:
                s.sql(statement, "app")
            if not wait:
                return None
            tool.catch_up()
            return [short(r) for r in tool.log(0) if r["op"] == "update"][before:]

        def need(got, want, what):
            if got != want:
                raise Wrong(f"{what}: {got}, not {want}")

        unchanged = {"unchanged": 1}
        need(updates("UPDATE large SET other = 1 WHERE id = 1"), ["x9000"], "an update")
        need(updates("UPDATE large SET part = 'b' WHERE id = 1"), ["x9000"], "an update of the key")
        need(updates("BEGIN; UPDATE large SET other = 2 WHERE id = 1; PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'"), ["x9000"], "a two-phase update")
        need(updates("BEGIN; SAVEPOINT s; UPDATE large SET other = 3 WHERE id = 1; COMMIT"), [unchanged], "an update behind a savepoint")
        need(updates("UPDATE other SET n = 1"), [unchanged], "another table")
        s.sql(f"INSERT INTO large SELECT g, 'c', repeat('w', 2500), 0 FROM generate_series(1, {10000 // self.size}) g", "app")
        tool.catch_up()
        got = updates("BEGIN; SAVEPOINT s; UPDATE large SET other = 1 WHERE part = 'c'; COMMIT")
        got = (len(got), "w2500" if got == ["w2500"] * len(got) else got[0])
        need(got, (10000 // self.size, "w2500" if VERSION >= 14 else unchanged), "a large update, streamed")
        s.sql("DELETE FROM large WHERE part = 'c'", "app")
        tool.catch_up()
        tool.kill()
        updates("UPDATE large SET other = 4", "UPDATE large SET body = repeat('y', 8000) WHERE id = 1", wait=False)
        tool.start()
        updates("UPDATE large SET other = 5 WHERE id = 1")
        got = [short(r) for r in tool.log(0) if r["op"] == "update"][-4:]
        need(sorted(got[:2], key=str) + got[2:], ["z9000", unchanged, "y8000", "y8000"], "what was written again since")
        look = tool.look()[0]
        _, rows = self.settle(tool)
        tool.stop()
        return f"{look['filled']} values filled, {look['toast']} left as they are, {rows} rows equal"

    def undecodable(self):
        """A transaction that PostgreSQL itself can never decode is a gap, and no end of tries."""
        tool = self.fresh(1)
        (s,) = tool.servers
        tool.start()
        s.sql("INSERT INTO plain VALUES (1, 'kept')", "app")
        tool.catch_up()
        tool.kill()
        s.sql("INSERT INTO plain VALUES (2, 'before it')", "app")
        s.sql("BEGIN; SAVEPOINT s; TRUNCATE plain; INSERT INTO plain VALUES (3); PREPARE TRANSACTION 'never'", "app")
        s.sql("ROLLBACK PREPARED 'never'", "app")
        s.sql("SELECT count(*) FROM pg_class", "app")  # sees that it is dead, and writes that down
        s.sql("INSERT INTO plain VALUES (4, 'behind it')", "app")
        tool.start()
        if VERSION == 15:
            tool.wait(lambda look: look[0]["gaps"] == 1 and look[0]["doing"] == "reading", "a gap")
        replicas, rows = self.settle(tool)
        tool.stop()
        if VERSION == 15 and len(replicas[0].gaps) != 1 or any("could not map file" not in why for why in replicas[0].gaps):
            raise Wrong(f"not decodable any more by nobody? {replicas[0].gaps}")
        expect_one_slot(s)
        return f"given up after some tries, copied again: {replicas[0].gaps}, {rows} rows equal"

    def refusals(self):
        tool = self.fresh(1)
        (s,) = tool.servers
        s.sql("CREATE TABLE keyless (a int)", "app")
        tool.start()
        tool.wait(lambda look: "public.keyless" in look[0]["error"], "a refusal")
        s.sql("UPDATE plain SET a = 'x'", "app")  # goes on working: there is no publication yet
        tool.kill()
        tool.start("full=1")
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        s.sql("INSERT INTO keyless VALUES (1); UPDATE keyless SET a = 2; DELETE FROM keyless", "app")
        tool.catch_up()
        tool.stop()
        ops = [r["op"] for r in tool.log(0) if r.get("table") == "keyless" and r.get("content") != "copy"]
        if ops != ["insert", "update", "delete"]:
            raise Wrong(str(ops))
        return "a table without identity is named before it can break; on wish it gets one"

    def large(self):
        tool = self.fresh(1)
        (s,) = tool.servers
        tool.start("memory=300000")
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        c = s.connect("app")
        c.autocommit = False
        with c.cursor() as cur:
            cur.execute("INSERT INTO plain SELECT g, repeat('x', 50), g FROM generate_series(1, %s) g", (60000 // self.size + 5000,))
            cur.execute("SAVEPOINT a; DELETE FROM plain WHERE id > 300; ROLLBACK TO a")
            cur.execute("UPDATE plain SET a = 'y' WHERE id % 2 = 0")
        tool.wait(lambda look: look[0]["spilled"] > 500_000, "a file of what waits")
        if any(r["op"] == "insert" for r in tool.log(0)):
            raise Wrong("given before its commit")
        c.commit()
        c.close()
        _, rows = self.settle(tool)
        left = os.listdir(f"{tool.folder}/spill")
        tool.stop()
        if left:
            raise Wrong(f"files are left: {left}")
        return f"{rows} rows of one transaction were streamed, waited in a file and came at its commit"

    def announced(self):
        """A table that only a streamed and prepared transaction has announced is known to all that follow, also when that is rolled back."""
        tool = self.fresh(1)
        (s,) = tool.servers
        tool.start()
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        s.sql("BEGIN; INSERT INTO plain SELECT g, 'rolled back' FROM generate_series(1, 2000) g; PREPARE TRANSACTION 'first'", "app")
        s.sql("INSERT INTO plain VALUES (-1, 'while it is prepared')", "app")
        tool.wait(lambda look: look[0]["gaps"] > 0 or any(r["op"] == "insert" for r in tool.log(0)), "the row")
        s.sql("ROLLBACK PREPARED 'first'", "app")
        s.sql("INSERT INTO plain VALUES (-2, 'afterwards')", "app")
        replicas, rows = self.settle(tool)
        tool.stop()
        if replicas[0].gaps:
            raise Wrong(f"gaps: {replicas[0].gaps}")
        return f"{rows} rows equal"

    def restarted(self):
        """A part of a transaction is rolled back, of more than 4096 changes that lie before a new start of the stream: PostgreSQL
        sends that part, but not that it was rolled back."""
        tool = self.fresh(1)
        (s,) = tool.servers
        s.sql("INSERT INTO whole SELECT g, 'stays', repeat('x', 100) FROM generate_series(1, 6000) g", "app")
        tool.start()
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        c = s.connect("app")
        c.autocommit = False
        with c.cursor() as cur:
            cur.execute("INSERT INTO whole VALUES (6001, 'before', ''); SAVEPOINT a; DELETE FROM whole WHERE id <= 5500")
            s.sql("INSERT INTO plain VALUES (1, 'behind which it begins again')", "app")
            tool.catch_up()
            tool.kill()
            tool.start()
            tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
            cur.execute("SAVEPOINT b; INSERT INTO whole SELECT g, 'goes', repeat('y', 1000) FROM generate_series(7001, 7500) g")
            s.sql("INSERT INTO plain VALUES (2, 'behind what it has sent')", "app")
            tool.catch_up()
            cur.execute("ROLLBACK TO a; SAVEPOINT c; INSERT INTO whole VALUES (6002, 'in a part that stays', '')")
        c.commit()
        c.close()
        replicas, rows = self.settle(tool)
        tool.stop()
        if replicas[0].gaps:
            raise Wrong(f"gaps: {replicas[0].gaps}")
        return f"{rows} rows equal"

    def in_pgbraid(self):
        """The same inside of the proxy, its own log behind it."""
        tool = self.fresh()
        tables = {"plain": {"hash": ["id"]}}
        config = config_for(tool.servers, tables, auth={"admin_users": "postgres"}, service={"user": "postgres"},
                            cdc={"enabled": "on", "databases": "app", "watermark_ms": 200})
        folder = f"{self.fleet.folder}/braid{self.number}"
        braid = Braid(folder, config, build=self.args.build)
        self.fleet.at_end.append(braid.kill)

        def sources(accept, what):
            until = time.monotonic() + 60
            while True:
                c = braid.connect("pgbraid", "postgres")
                with c.cursor() as cur:
                    cur.execute("SHOW CDC")
                    rows = [dict(zip([d.name for d in cur.description], row)) for row in cur.fetchall()]
                c.close()
                if len(rows) == 3 and all(accept(row) for row in rows):
                    return rows
                if time.monotonic() > until:
                    raise Wrong(f"{what} did not come: {rows}\n{braid.tail()}")
                time.sleep(0.1)

        braid.start()
        sources(lambda row: row["state"] == "reading", "the streams")
        for round_ in range(3):
            c = braid.connect("app", "postgres", autocommit=False)
            with c.cursor() as cur:
                for k in range(10):
                    cur.execute("INSERT INTO plain (id, a) VALUES (%s, 'x'), (%s, 'y')",
                                (round_ * 100 + k, round_ * 100 + 50 + k))
            c.commit()
            c.close()
            braid.kill()
            braid.start()
        braid.sql("ALTER TABLE plain ADD COLUMN quoted text DEFAULT E'it''s \\\\ one'", user="postgres")
        rows = sources(lambda row: row["state"] == "reading" and row["received"] is not None, "the streams again")
        ends = {f"shard{i}": int(s.sql("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0]) for i, s in enumerate(tool.servers)}

        def number(lsn):
            high, low = lsn.split("/")
            return int(high, 16) << 32 | int(low, 16)

        rows = sources(lambda row: row["durable"] and number(row["durable"]) >= ends[row["shard"]], "the end of the servers' logs")
        if any(row["gaps"] or row["error"] for row in rows):
            raise Wrong(str(rows))
        for s, end in zip(tool.servers, ends.values()):  # acknowledged once a second
            kept = s.wait_sql("SELECT count(*), min(confirmed_flush_lsn - '0/0') FROM pg_replication_slots",
                              lambda rows, end=end: int(rows[0][1]) >= end)
            if kept[0][0] != 1 or int(kept[0][1]) < end:
                raise Wrong(f"slots: {kept}, end {end}")
        topics = {row[0]: row for row in braid.sql("SHOW CDC_TOPICS", "pgbraid", user="postgres")}
        if VERSION >= 14 and not any("braid.schema" in name for name in topics):
            raise Wrong(f"no schema change in the log: {topics}")
        pages = braid.http("/metrics")[1], braid.http("/stats")[1]
        if any("cdc" not in page or "shard2" not in page for page in pages):
            raise Wrong(f"no figures: {pages[0][-500:]}")
        braid.stop()
        bad = braid.complaints()
        if bad:
            raise Wrong(str(bad))
        return "three kills of pgbraid, its log goes on, slots are acknowledged"

    def stop_server(self):
        tool = self.fresh(1)
        (s,) = tool.servers
        tool.start()
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        s.sql("BEGIN; INSERT INTO plain VALUES (1); PREPARE TRANSACTION 'left'", "app")
        s.sql("INSERT INTO plain VALUES (2)", "app")
        began = time.monotonic()
        s.stop("fast")
        took = time.monotonic() - began
        s.start()
        tool.wait(lambda look: look[0]["doing"] == "reading" and look[0]["attaches"] > 1, "the stream again")
        _, rows = self.settle(tool)
        tool.stop()
        if took > 45:
            raise Wrong(f"the server took {took:.0f} s to stop")
        return f"a server with a prepared transaction stops in spite of its slot; {rows} rows equal"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="fewer rows")
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report(args.verbose, args.only)
    tool = build_tool(args.build)
    with pg.Fleet(keep=args.keep) as fleet:
        servers = fleet.start(3, options=LOGICAL)
        test = Test(args, tool, fleet, servers, report)
        test.check("first copy", test.first_copy)
        test.check("empty tables", test.empty_tables)
        if VERSION >= 14:
            test.check("large transaction", test.large)
            test.check("rolled back behind a restart", test.restarted)
        if VERSION >= 15:
            test.check("announced", test.announced)
        test.check("gaps", test.gaps)
        test.check("one table again", test.one_again)
        test.check("identities", test.identities)
        test.check("promotion", lambda: test.promotion(args.seed))
        if VERSION >= 13:
            test.check("kept log", test.kept)
        test.check("values filled", test.fill)
        test.check("undecodable", test.undecodable)
        test.check("refusals", test.refusals)
        test.check("stop", test.stop_server)
        if VERSION >= 12:  # pgbraid's own queries of the catalog
            test.check("in pgbraid", test.in_pgbraid)
        for i in range(args.rounds):
            test.check(f"writers and kills, seed {args.seed + i}",
                       lambda i=i: test.writers_and_kills(args.seconds, args.seed + i))
            if i > 0:
                test.check(f"promotion, seed {args.seed + i}", lambda i=i: test.promotion(args.seed + i))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
