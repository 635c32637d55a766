#!/usr/bin/env python3
"""
What one moment in time costs: transfers over two of three shards, and reads over all of them. Rounds
alternate between all variants (A B C A B C ...); printed is the best round of each, so that a busy
machine disturbs least.

    make bench-snapshot                     about 2 minutes
    python3 bench/snapshot.py --quick       short rounds; figures only good for a look
    python3 bench/snapshot.py --write       the table into docs/BENCHMARKS.md
"""

import argparse
import datetime
import os
import re
import subprocess
import sys
import threading

import report
from targets import BIN, USER, braid, leave_on_signals, pg

BEGIN, END = "<!-- written by bench/snapshot.py --write: begin -->", "<!-- snapshot: end -->"
ROWS = 1000
WRITERS = 8
# keys in one order: a deadlock over two servers is seen by none of them
TRANSFER = f"""\\set a random(1, {ROWS // 2})
\\set b random({ROWS // 2 + 1}, {ROWS})
BEGIN;
UPDATE acc SET v = v - 1 WHERE id = :a;
UPDATE acc SET v = v + 1 WHERE id = :b;
COMMIT;
"""
SUM = "SELECT sum(v), count(*) FROM acc;\n"
BLOCK = "BEGIN;\nSELECT sum(v), count(*) FROM acc;\nCOMMIT;\n"
REPEATABLE = "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT sum(v), count(*) FROM acc;\nCOMMIT;\n"
POINT = f"\\set id random(1, {ROWS})\nBEGIN ISOLATION LEVEL %s;\nSELECT v FROM acc WHERE id = :id;\nCOMMIT;\n"


class Stage:
    def __init__(self, workers):
        self.fleet = pg.Fleet()
        self.servers = self.fleet.start(3, options=("max_connections = 200",))
        for server in self.servers:
            pg.prepare(server)
        config = braid.config_for(self.servers, {"acc": {"hash": ["id"]}}, workers=workers)
        self.braid = braid.Braid(os.path.join(self.fleet.folder, "braid"), config).start()
        self.fleet.at_end.append(self.braid.kill)
        self.braid.sql("CREATE TABLE acc (id bigint PRIMARY KEY, v bigint NOT NULL)")
        self.braid.sql("INSERT INTO acc VALUES " + ", ".join(f"({i}, 100)" for i in range(1, ROWS + 1)))

    def pgbench(self, script, clients, seconds, snapshot="off"):
        path = os.path.join(self.fleet.folder, f"{threading.get_ident()}.sql")
        with open(path, "w", encoding="ascii") as f:
            f.write(script)
        done = subprocess.run(
            [f"{BIN}/pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-T", str(seconds),
             "--max-tries", "100", "-f", path, "-h", "127.0.0.1", "-p", str(self.braid.port), "-U", USER, "app"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd="/",
            env={**os.environ, "PGOPTIONS": f"-c braid.snapshot={snapshot}"})
        found = re.search(r"tps = ([0-9.]+)", done.stdout)
        late = re.search(r"latency average = ([0-9.]+)", done.stdout)
        if done.returncode != 0 or found is None:
            raise SystemExit(f"bench: pgbench: {done.stdout[-300:]}")
        return float(found.group(1)), float(late.group(1))

    def counters(self):
        return {line.split()[0]: float(line.split()[1]) for line in self.braid.http("/metrics")[1].splitlines()
                if line.startswith("pgbraid_snapshot")}

    def both(self, seconds, readers, snapshot, script=SUM):
        """(transfers a second, reads a second, ms of a read, counters)"""
        before = self.counters()
        got = {}
        threads = [threading.Thread(target=lambda: got.update(w=self.pgbench(TRANSFER, WRITERS, seconds)))]
        if readers:
            threads.append(threading.Thread(
                target=lambda: got.update(r=self.pgbench(script, readers, seconds, snapshot))))
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        after = self.counters()
        reads = got.get("r", (None, None))
        return got["w"][0], reads[0], reads[1], {k: after[k] - before[k] for k in after}


def mean_us(counters, us, count):
    n = counters[f"pgbraid_{count}_total"]
    return "-" if n == 0 else f"{counters[f'pgbraid_{us}_total'] * 1e6 / n:.0f}"


ALONE = (
    ("sum over 3 shards, braid.snapshot off", SUM, "off"),
    ("... on", SUM, "on"),
    ("... in a READ COMMITTED block, off", BLOCK, "off"),
    ("... on", BLOCK, "on"),
    ("... in a REPEATABLE READ block", REPEATABLE, "off"),
    ("one row in a block, READ COMMITTED", POINT % "READ COMMITTED", "on"),
    ("one row in a block, REPEATABLE READ", POINT % "REPEATABLE READ", "off"))
TOGETHER = (("no reader", 0, "off"), ("2 readers, off", 2, "off"), ("2 readers, on", 2, "on"),
            ("8 readers, off", 8, "off"), ("8 readers, on", 8, "on"))


def alone(stage, seconds, rounds):
    best = [(0, 0)] * len(ALONE)
    for _ in range(rounds):
        for i, (_, script, snapshot) in enumerate(ALONE):
            best[i] = max(best[i], stage.pgbench(script, 1, seconds, snapshot))
    rows = [[name, f"{tps:.0f}", f"{ms:.3f}"] for (name, _, _), (tps, ms) in zip(ALONE, best)]
    return report.table(["alone, one client", "a second", "ms"], rows)


def together(stage, seconds, rounds):
    best = [None] * len(TOGETHER)
    for _ in range(rounds):
        for i, (_, readers, snapshot) in enumerate(TOGETHER):
            got = stage.both(seconds, readers, snapshot)
            if best[i] is None or got[0] + (got[1] or 0) > best[i][0] + (best[i][1] or 0):
                best[i] = got
    rows = []
    for (name, _, _), (writes, reads, ms, counters) in zip(TOGETHER, best):
        held = counters["pgbraid_snapshot_held_commits_total"] / max(1, writes * seconds)
        rows.append([name, f"{writes:.0f}", report.show(reads, "{:.0f}"), report.show(ms, "{:.2f}"),
                     f"{100 * held:.0f} %", mean_us(counters, "snapshot_held_seconds", "snapshot_held_commits"),
                     mean_us(counters, "snapshot_wait_seconds", "snapshot_waits")])
    return report.table([f"{WRITERS} clients transfer", "transfers a second", "reads a second", "ms of a read",
                         "commits held", "for us", "a read waits us"], rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=int, default=2, help="of a round (default 2)")
    p.add_argument("--rounds", type=int, default=5, help="(default 5; quick: 1)")
    p.add_argument("--workers", type=int, default=os.cpu_count())
    p.add_argument("--quick", action="store_true")
    p.add_argument("--write", action="store_true")
    o = p.parse_args()
    seconds, rounds = (1, 1) if o.quick else (o.seconds, o.rounds)
    leave_on_signals()
    stage = Stage(o.workers)
    try:
        text = alone(stage, seconds, rounds) + "\n\n" + together(stage, seconds, rounds)
    finally:
        stage.fleet.close()
    text = (f"- {datetime.date.today().isoformat()}; best of {rounds} rounds of {seconds} s; three servers, pgbraid with {o.workers} workers and "
            f"pgbench on one machine of {os.cpu_count()} processors; {ROWS} rows; fsync off\n\n" + text)
    print(text)
    if o.write:
        report.put_between(BEGIN, END, text)


if __name__ == "__main__":
    main()
