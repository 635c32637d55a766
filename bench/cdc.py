#!/usr/bin/env python3
"""
What change capture costs: the changes of one server, read from a copy of the same slot by pg_recvlogical
(pgoutput to /dev/null, with the same options) and by pgbraid into its synced change log, in turn; and how long
a commit takes to reach a consumer.

    make bench-cdc                          about 4 minutes
    python3 bench/cdc.py --quick            fewer rows; figures only good for a look
    python3 bench/cdc.py --write            the table into docs/BENCHMARKS.md
    python3 bench/cdc.py --only bulk        one of: bulk, large, tpcb, latency
"""

import argparse
import datetime
import http.client
import json
import os
import re
import select
import subprocess
import sys
import threading
import time

import psycopg2
import psycopg2.extras

import cost
import report
from targets import BIN, USER, braid, leave_on_signals, pg

BEGIN, END = "<!-- written by bench/cdc.py --write: begin -->", "<!-- cdc: end -->"
OPTIONS = ["wal_level = logical", "max_replication_slots = 10", "max_wal_senders = 10", "max_wal_size = 4GB", "synchronous_commit = on"]
TABLE = ("CREATE TABLE orders (id bigint PRIMARY KEY, customer int, amount numeric(10,2), at timestamptz, "
         "state text, remark text)")
INSERT = ("INSERT INTO orders SELECT g, g %% 5000, g / 7.0, now(), 'open', 'a remark of some length ' || g "
          "FROM generate_series({0}::bigint, {1}) g")
TOKEN = "t0ken"
RATE = int(os.environ.get("RATE", "2000"))


class Stage:
    def __init__(self):
        self.fleet = pg.Fleet()
        self.server = self.fleet.start(1, options=OPTIONS)[0]
        pg.prepare(self.server)
        self.server.sql(f"ALTER ROLE {USER} SUPERUSER")
        self.server.sql(TABLE, "app")
        self.run(["pgbench", "-i", "-s", "5", "-q"])
        self.server.sql("ALTER TABLE pgbench_history REPLICA IDENTITY FULL", "app")
        self.server.sql("CREATE TABLE moments (id bigserial PRIMARY KEY, at float8)", "app")
        tables = {"orders": {"hash": ["id"]}, "moments": {"hash": ["id"]}}
        config = braid.config_for([self.server], tables, service={"user": USER}, auth={"admin_users": USER},
                                  cdc={"enabled": "on", "databases": "app", "http_user": "reader",
                                       "watermark_ms": 0, "heartbeat_ms": 0})
        self.braid = braid.Braid(os.path.join(self.fleet.folder, "braid"), config,
                                 users={USER: "secret", "reader": TOKEN})
        self.fleet.at_end.append(self.braid.kill)
        self.next = 1
        self.braid.start()
        self.wait(0)
        self.braid.stop()

    def run(self, words):
        done = subprocess.run([f"{BIN}/{words[0]}", *words[1:], "-h", "127.0.0.1", "-p", str(self.server.port),
                               "-U", USER, "app"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, cwd="/")
        if done.returncode != 0:
            raise SystemExit(f"bench: {words[0]}: {done.stdout[-500:]}")
        return done.stdout

    def end(self):
        return int(self.server.sql("SELECT pg_current_wal_insert_lsn() - '0/0'", "app")[0][0])

    def slot(self):
        return self.server.sql("SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'pgbraid%'")[0][0]

    def wait(self, end):
        """Until everything before `end` is synced; (seconds since the stream began, process CPU seconds)."""
        c = None
        while c is None:
            try:
                c = self.braid.connect("pgbraid", USER)
            except Exception:  # not listening yet
                time.sleep(0.01)
        began = None
        with c.cursor() as cur:
            while True:
                cur.execute("SHOW CDC")
                row = dict(zip([d.name for d in cur.description], cur.fetchone()))
                began = time.monotonic() if began is None and row["received"] is not None else began
                if row["durable"] and row["state"] == "reading":
                    high, low = row["durable"].split("/")
                    if int(high, 16) << 32 | int(low, 16) >= end:
                        break
                time.sleep(0.02)
        seconds = time.monotonic() - (began or time.monotonic())
        c.close()
        return seconds, cost.cpu_seconds(self.braid.process.pid)

    def load(self, kind, rows):
        """Changes that the slot has not seen; how many."""
        c = self.server.connect("app")
        with c.cursor() as cur:
            if kind == "tpcb":
                self.run(["pgbench", "-n", "-M", "prepared", "-c", "4", "-t", str(rows // 16)])
                return rows // 16 * 4 * 4
            step = rows if kind == "large" else 1000
            for at in range(self.next, self.next + rows, step):
                cur.execute(INSERT.replace("%%", "%").format(at, at + step - 1))
        c.close()
        self.next += rows
        return rows

    def peer(self, end):
        """pg_recvlogical from a copy of our slot: (seconds, CPU seconds)."""
        self.server.sql("SELECT pg_copy_logical_replication_slot(%s, 'peer')", "app", (self.slot(),))
        began = time.monotonic()
        process = subprocess.Popen(
            [f"{BIN}/pg_recvlogical", "-h", "127.0.0.1", "-p", str(self.server.port), "-U", USER, "-d", "app", "-S", "peer",
             "--start", "-f", "/dev/null", "-n", "-o", "proto_version=3", "-o", "publication_names=pgbraid_cdc", "-o", "streaming=on",
             "-o", "messages=true", "-o", "two_phase=on", "--endpos", f"{end >> 32:X}/{end & 0xFFFFFFFF:X}"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status != 0:
            raise SystemExit(f"bench: pg_recvlogical: {process.stderr.read()[-300:]}")
        seconds = time.monotonic() - began
        self.server.sql("SELECT pg_drop_replication_slot('peer')")
        return seconds, usage.ru_utime + usage.ru_stime

    def ours(self, end):
        self.braid.start(wait=False)
        got = self.wait(end)
        self.braid.stop()
        return got


def throughput(stage, kind, rows, rounds):
    peer, ours = [], []
    for i in range(rounds):
        changes = stage.load(kind, rows)
        end = stage.end()
        stage.server.sql("SELECT pg_logical_emit_message(false, 'bench', 'end')", "app")
        both = [(peer, stage.peer), (ours, stage.ours)]
        # ours last: it moves the slot that the peer's is a copy of
        for got, read in both:
            seconds, cpu = read(end)
            got.append((changes / seconds, cpu * 1e6 / changes))
    return max(peer), max(ours)


def read_moments(stage, late, stop):
    """A consumer: server-sent events of the table of moments."""
    c = http.client.HTTPConnection("127.0.0.1", stage.braid.http_port, timeout=20)
    c.request("GET", "/changes?topic=app.public.moments&group=bench&member=one&limit=1000",
              headers={"Authorization": f"Bearer {TOKEN}", "Accept": "text/event-stream"})
    answer = c.getresponse()
    while not stop.is_set():
        line = answer.fp.readline()
        if line.startswith(b"data: "):
            value = json.loads(line[6:])["value"]
            if value.get("after"):
                late.append(time.time() - value["after"]["at"])


def read_slot(stage, late, stop):
    """The peer: the server's own stream, read by psycopg2."""
    c = psycopg2.connect(host="127.0.0.1", port=stage.server.port, dbname="app", user=USER,
                         connection_factory=psycopg2.extras.LogicalReplicationConnection)
    with c.cursor() as cur:
        slot = f"moments_{time.monotonic_ns()}"
        cur.execute(f"CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput")
        cur.start_replication(slot, decode=False, options={"proto_version": "1", "publication_names": "pgbraid_cdc"})
        while not stop.is_set():
            message = cur.read_message()
            if message is None:
                select.select([c], [], [], 0.2)
                continue
            found = message.payload[:1] == b"I" and re.search(rb"1[0-9]{9}\.[0-9]+", message.payload)
            if found:
                late.append(time.time() - float(found.group()))
    c.close()


def latency(stage, read, seconds):
    """(transactions a second, [p50, p99, p99.9] in ms) of what `read` notes."""
    late, stop = [], threading.Event()
    script = os.path.join(stage.fleet.folder, "moment.sql")
    with open(script, "w", encoding="ascii") as f:
        f.write("INSERT INTO moments (at) VALUES (extract(epoch FROM clock_timestamp()));\n")
    reader = threading.Thread(target=read, args=(stage, late, stop), daemon=True)
    reader.start()
    time.sleep(2)
    late.clear()
    done = stage.run(["pgbench", "-n", "-M", "prepared", "-c", "4", "-R", str(RATE), "-T", str(seconds), "-f", script])
    tps = float(re.search(r"tps = ([0-9.]+)", done).group(1))
    time.sleep(2)
    stop.set()
    reader.join(20)
    late.sort()
    return tps, [late[int(len(late) * q)] * 1000 for q in (0.5, 0.99, 0.999)] if late else [0, 0, 0]


def latencies(stage, seconds, rounds):
    peer, ours = [], []
    stage.braid.start()
    stage.wait(stage.end())
    stage.server.sql("INSERT INTO moments (at) VALUES (0)", "app")  # the topic is there
    for _ in range(rounds):
        stage.braid.stop()
        peer.append(latency(stage, read_slot, seconds))
        stage.braid.start()
        stage.wait(stage.end())
        ours.append(latency(stage, read_moments, seconds))
    stage.braid.stop()
    rows = []
    for name, got in (("the server's own stream, psycopg2", peer), ("pgbraid, server-sent events", ours)):
        tps, best = min(got, key=lambda g: g[1][1])
        rows.append([name, f"{tps:.0f}", *(f"{ms:.1f}" for ms in best)])
    return report.table(["from before the commit to a consumer", "transactions a second", "p50 ms", "p99 ms (aim: 50)", "p99.9 ms"], rows)


KINDS = (("bulk", "transactions of 1000 rows"), ("large", "one transaction"), ("tpcb", "pgbench TPC-B, 4 changes a transaction"))


def measure(args):
    stage = Stage()
    lines = []
    try:
        rows = []
        for kind, name in KINDS:
            if args.only in ("", kind):
                peer, ours = throughput(stage, kind, 100_000 if args.quick else args.rows, args.rounds)
                rows.append([name, f"{peer[0]:.0f}", f"{ours[0]:.0f}", f"{ours[0] / peer[0]:.2f}", f"{peer[1]:.2f}", f"{ours[1]:.2f}"])
        if rows:
            lines.append(report.table(["load", "pg_recvlogical, changes a second", "pgbraid", "ratio (aim: 0.9)",
                                       "CPU us a change", "pgbraid's"], rows))
        if args.only in ("", "latency"):
            lines.append(latencies(stage, 5 if args.quick else 15, args.rounds))
    finally:
        stage.fleet.close()
    return "\n\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    leave_on_signals()
    text = measure(args)
    print(text)
    if args.write:
        day = datetime.date.today().isoformat()
        report.put_between(BEGIN, END, f"{day}, best of {args.rounds} rounds each.\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
