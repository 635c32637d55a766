#!/usr/bin/env python3
"""
pgbraid beside PgBouncer and a direct connection, in one run on this machine.

    make bench                          everything, under 12 minutes
    python3 bench/run.py --quick        under 2 minutes, figures only good for a look
    python3 bench/run.py --only simple  one part: simple extended prepared rows tls connect many
                                        tpcb scatter memory calls

Every row is measured in short rounds, target after target, round after round (A B C A B C ...), so that
a slow minute of the machine hits all of them; printed is the median. CPU time is that of the whole proxy
process, kernel included, divided by the transactions that pgbench counted.
"""

import argparse
import datetime
import os
import resource
import signal
import socket
import ssl
import statistics
import struct
import sys
import time

import cost
import report
from targets import (BIN, POOL, SCRAM_USER, SHARDS, Failure, Stage, leave_on_signals,
                     psycopg2, run_pgbench)

PARTS = ("simple", "extended", "prepared", "rows", "tls", "connect", "many", "tpcb", "scatter", "memory", "calls")
SCALE = 10
RESULT_ROWS = 1000
IDLE_CLIENTS = 1000
MANY_IDLE = 10000
SCATTER = (
    ("count", "SELECT count(*) FROM pgbench_branches"),
    ("aggregate", "SELECT bid, count(*), sum(abalance), min(aid), max(aid) FROM pgbench_accounts "
                  "GROUP BY bid ORDER BY bid"),
    ("top 10", "SELECT aid, bid, abalance FROM pgbench_accounts ORDER BY abalance DESC, aid LIMIT 10"),
)


class Bench:
    def __init__(self, options, stage):
        self.o = options
        self.stage = stage
        self.others = []     # what other processes took of the machine, run by run
        self.failures = []   # "row, target: why"

    # ---- pgbench ----

    def cell(self, row, target, words, clients):
        """One round on one target; None when it does not work."""
        self.stage.say(f"{row}: {target.name}")
        why = self.stage.broken.get(target.dbname)
        if why is not None:
            self.fail(row, target.name, why)
            return None
        try:
            run = run_pgbench(target, words, clients, seconds=self.o.seconds)
        except Failure as e:
            self.fail(row, target.name, str(e))
            return None
        self.others.append(run.others)
        return run

    def fail(self, row, name, why):
        line = f"{row}, {name}: {why}"
        if line not in self.failures:
            self.failures.append(line)

    def rows_of(self, workload, targets, words, clients):
        """Rounds over the targets; one line of the report for each."""
        runs = {target.name: [] for target in targets}
        for _ in range(self.o.rounds):
            for target in targets:
                runs[target.name].append(self.cell(f"{workload}, {clients} clients", target, words, clients))
        lines = []
        for target in targets:
            good = [run for run in runs[target.name] if run is not None]
            line = report.Line(workload, clients, target.name, target.pid is not None)
            if len(good) == self.o.rounds:
                line.tps = statistics.median(run.tps for run in good)
                line.server_us = statistics.median(run.server_us for run in good)
                line.latency_ms = statistics.median(run.latency_ms for run in good)
                if target.pid is not None:
                    line.proxy_us = statistics.median(run.proxy_us for run in good)
                    line.proxy_us_all = sorted(run.proxy_us for run in good)
            lines.append(line)
        report.compare(lines)
        return lines

    def select(self, mode):
        stage = self.stage
        peer = stage.bouncer("plain_session" if mode == "prepared" else "plain")
        targets = [stage.direct(), peer, stage.braid()]
        if stage.workers != 1:
            targets.append(stage.braid(which="one"))
        if mode == "extended":
            targets.append(stage.braid(which="all"))
        targets.append(stage.braid("app"))
        lines = []
        for clients in self.o.clients if mode == "simple" else [n for n in self.o.clients if n > 1]:
            lines += self.rows_of(f"select, {mode}", targets, ["-S", "-M", mode], clients)
        return lines

    def result_rows(self):
        path = f"{self.stage.fleet.folder}/rows.sql"
        with open(path, "w", encoding="ascii") as f:
            f.write(f"\\set first random(1, {SCALE * 100000 - RESULT_ROWS})\n"
                    "SELECT * FROM pgbench_accounts "
                    f"WHERE aid BETWEEN :first AND :first + {RESULT_ROWS - 1};\n")
        targets = [self.stage.direct(), self.stage.bouncer(), self.stage.braid()]
        return self.rows_of(f"result of {RESULT_ROWS} rows", targets, ["-f", path], 16)

    def tls(self):
        targets = [self.stage.bouncer("plain", "tls"), self.stage.braid("plain", "tls")]
        return self.rows_of("select, simple, TLS", targets, ["-S"], 16)

    def many(self):
        """Thousands of databases and users in the configuration, beside only those that are used."""
        targets = [self.stage.bouncer("plain", "many"), self.stage.braid("plain", "many"), self.stage.braid()]
        self.stage.ask_many(targets[0])
        self.stage.ask_many(targets[1])
        targets[1].name, targets[2].name = "pgbraid, thousands", "pgbraid"
        return self.rows_of("select, simple, thousands of databases", targets, ["-S"], 16)

    def connects(self):
        targets = [self.stage.direct(SCRAM_USER), self.stage.bouncer("plain", "scram", SCRAM_USER),
                   self.stage.braid("plain", "scram", SCRAM_USER)]
        lines = self.rows_of("connect each, SCRAM", targets, ["-S", "-C"], 16)
        targets = [self.stage.bouncer("plain", "scram_tls", SCRAM_USER),
                   self.stage.braid("plain", "scram_tls", SCRAM_USER)]
        return lines + self.rows_of("connect each, SCRAM, TLS", targets, ["-S", "-C"], 16)

    def tpcb(self):
        """No peer: PgBouncer has nothing like it. Returns lines and what /stats says of the commits."""
        before = self.stage.stats()["transactions"]
        lines = self.rows_of("TPC-B", [self.stage.direct(), self.stage.braid("app")], [], 16)
        after = self.stage.stats()["transactions"]
        kinds = {kind: after[kind] - before[kind] for kind in ("one_phase", "two_phase", "aborted")}
        return lines, kinds

    # ---- statements over all shards ----

    def scatter(self):
        """[(name, one server ms, all shards ms)]"""
        places = [self.stage.direct(), self.stage.braid("app")]
        found = []
        for name, sql in SCATTER:
            self.stage.say(f"scatter: {name}")
            times = [[], []]
            try:
                self._same_answer(places, sql)
                connections = [place.connect() for place in places]
                try:
                    for _ in range(4 if self.o.quick else 15):
                        for at, c in enumerate(connections):
                            times[at].append(timed(c, sql))
                finally:
                    for c in connections:
                        c.close()
                found.append((name, *(statistics.median(t) * 1000 for t in times)))
            except (Failure, psycopg2.Error) as e:
                self.fail("scatter", name, str(e).strip())
        return found

    def _same_answer(self, places, sql):
        answers = []
        for place in places:
            c = place.connect()
            with c.cursor() as cursor:
                cursor.execute(sql)
                answers.append(cursor.fetchall())
            c.close()
        if answers[0] != answers[1]:  # TPC-B, which changes the two databases apart, comes later
            raise Failure(f"{answers[0]!r:.80} directly, {answers[1]!r:.80} through pgbraid")

    # ---- memory ----

    def memory(self):
        """[(name, clients, kB before, kB with them, kB for each client)]"""
        stage = self.stage
        tls = {"client_tls_sslmode": "require", "client_tls_cert_file": stage.certificate,
               "client_tls_key_file": stage.key}
        stage.start_bouncer("fresh", "trust")
        stage.start_braid("fresh", "trust", stage.workers)
        stage.start_bouncer("fresh_tls", "trust", tls)
        stage.start_braid("fresh_tls", "trust", stage.workers, tls={
            "client": {"mode": "require", "cert": stage.certificate, "key": stage.key}})
        stage.start_braid("fresh_many", "trust", stage.workers)
        found = []
        count = IDLE_CLIENTS // 5 if self.o.quick else IDLE_CLIENTS
        for target, clients in ((stage.bouncer(which="fresh"), count), (stage.braid(which="fresh"), count),
                                (stage.bouncer(which="fresh_tls"), count), (stage.braid(which="fresh_tls"), count),
                                (stage.braid(which="fresh_many"), count if self.o.quick else MANY_IDLE)):
            target.name += ", TLS" if target.tls else ""
            stage.say(f"memory: {target.name}")
            try:
                before, after = idle_memory(target, clients)
                found.append((target.name, clients, before, after, (after - before) / clients))
            except (Failure, OSError) as e:
                self.fail("memory", target.name, str(e))
        return found

    # ---- system calls ----

    def calls(self):
        """[(workload, name, {group: calls per transaction})]"""
        if not cost.can_trace():
            self.fail("system calls", "all", "strace is not installed")
            return []
        found = []
        count = 1600 if self.o.quick else 8000
        for mode in ("simple", "extended", "prepared"):
            peer = self.stage.bouncer("plain_session" if mode == "prepared" else "plain")
            for target in (peer, self.stage.braid(which="one"), self.stage.braid("app")):
                if target.dbname in self.stage.broken:
                    continue
                self.stage.say(f"system calls, {mode}: {target.name}")
                words = ["-S", "-M", mode]
                try:
                    counts, run = cost.system_calls(
                        target.pid, lambda t=target, w=words: run_pgbench(t, w, 16, count=count))
                except (Failure, RuntimeError) as e:
                    self.fail(f"system calls, {mode}", target.name, str(e))
                    continue
                groups = {k: n / run.count for k, n in cost.by_group(counts).items()}
                found.append((f"select, {mode}", target.name, groups))
        return found


def timed(connection, sql):
    begin = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(sql)
        cursor.fetchall()
    return time.monotonic() - begin


def read_to_ready(sock):
    """Messages up to ReadyForQuery."""
    data = b""
    at = 0
    while True:
        while len(data) - at >= 5 and len(data) - at > struct.unpack_from("!I", data, at + 1)[0]:
            kind = data[at:at + 1]
            if kind == b"E":
                raise Failure(f"the proxy answers {data[at + 5:at + 200]!r}")
            at += 1 + struct.unpack_from("!I", data, at + 1)[0]
            if kind == b"Z":
                return
        more = sock.recv(65536)
        if not more:
            raise Failure("the proxy closed the connection")
        data += more


def connect_by_hand(target):
    sock = socket.create_connection(("127.0.0.1", target.port), timeout=30)
    if target.tls:
        sock.sendall(struct.pack("!II", 8, 80877103))
        if sock.recv(1) != b"S":
            raise Failure("the proxy takes no TLS")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        sock = context.wrap_socket(sock)
    return sock


def idle_memory(target, count):
    """Resident kB of the proxy before and with so many clients that have all asked once, together."""
    startup = f"user\0{target.user}\0database\0{target.dbname}\0\0".encode()
    startup = struct.pack("!II", len(startup) + 8, 3 << 16) + startup
    text = b"SELECT abalance FROM pgbench_accounts WHERE aid = 1\0"
    query = b"Q" + struct.pack("!I", len(text) + 4) + text
    clients = []
    try:
        before = 0
        for at in range(count + 1):
            sock = connect_by_hand(target)
            clients.append(sock)
            sock.sendall(startup)
            read_to_ready(sock)
            if at == 0:  # the first one brings what is there only once
                sock.sendall(query)
                read_to_ready(sock)
                time.sleep(0.2)
                before = cost.memory_kb(target.pid)
        for sock in clients[1:]:  # all at once
            sock.sendall(query)
        for sock in clients[1:]:
            read_to_ready(sock)
        time.sleep(3)  # what a burst leaves behind may be given back
        return before, cost.memory_kb(target.pid)
    finally:
        for sock in clients:
            sock.close()


def run_parts(bench, parts):
    o = bench.o
    results = report.Results(SHARDS, POOL, o.seconds, o.rounds, bench.stage.workers, SCALE)
    for mode in ("simple", "extended", "prepared"):
        if mode in parts:
            results.lines += bench.select(mode)
    if "rows" in parts:
        results.lines += bench.result_rows()
    if "tls" in parts:
        results.lines += bench.tls()
    if "many" in parts:
        results.lines += bench.many()
    if "connect" in parts:
        results.lines += bench.connects()
    if "scatter" in parts:
        results.scatter = bench.scatter()
    if "tpcb" in parts:
        results.tpcb, results.commits = bench.tpcb()
    if "memory" in parts:
        results.memory = bench.memory()
    if "calls" in parts:
        results.calls = bench.calls()
    results.others = statistics.median(bench.others) if bench.others else None
    results.failures = bench.failures
    return results


def read_options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=float, help="of one round on one target (default 3)")
    p.add_argument("--rounds", type=int, help="on every target (default 3)")
    p.add_argument("--clients", default="1,16,64", help="for the selects (default 1,16,64; extended and prepared begin at 16)")
    p.add_argument("--workers", type=int, default=os.cpu_count(), help="of pgbraid (default: processors)")
    p.add_argument("--quick", action="store_true", help="1 round of 1 second")
    p.add_argument("--only", action="append", choices=PARTS, metavar="NAME",
                   help="one part of: " + " ".join(PARTS) + "; may be repeated")
    p.add_argument("--write", action="store_true", help="put the result into docs/BENCHMARKS.md")
    o = p.parse_args()
    o.seconds = max(1, round(o.seconds or (1 if o.quick else 3)))
    o.rounds = max(1, o.rounds or (1 if o.quick else 3))
    o.clients = [int(n) for n in o.clients.split(",")]
    if o.write and o.only:
        p.error("--write needs all parts: leave out --only")
    return o


def say_on_stderr():
    begin = time.monotonic()
    on_terminal = sys.stderr.isatty()

    def say(text):
        line = f"bench: {time.monotonic() - begin:4.0f} s  {text}"
        sys.stderr.write(f"\r{line:<79.79}" if on_terminal else line + "\n")
        sys.stderr.flush()
    return say


def main():
    options = read_options()
    leave_on_signals()
    # A thousand clients need as many files, here and in the proxies, which inherit it.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    say = say_on_stderr()
    stage = Stage(SCALE, options.workers, say)
    begin = time.monotonic()
    try:
        stage.start()
        machine = report.machine(BIN, stage)  # now: the commit may be another one at the end
        results = run_parts(Bench(options, stage), options.only or PARTS)
        results.machine = machine
    except Failure as e:
        sys.exit(f"\nbench: {e}")
    except KeyboardInterrupt:
        sys.exit("\nbench: stopped")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave servers behind
        stage.close()
    say(f"done in {time.monotonic() - begin:.0f} s")
    results.day = datetime.date.today().isoformat()
    print("\n" + results.text())
    if options.write:
        report.write_page(results)
    sys.exit(1 if results.failures else 0)


if __name__ == "__main__":
    main()
