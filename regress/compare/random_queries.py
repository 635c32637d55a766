#!/usr/bin/python3
"""Random SELECTs (grammar.py) to one PostgreSQL and to pgbraid over several shards.

Every statement must give the same rows, columns and SQLSTATE, or 0A000 (hunt.py). One set of servers, in memory
where /dev/shm is, with few rows and no JIT; JOBS processes take blocks of statements in turn. A line of progress
every half minute; what is wrong is printed with its number and cut down, also into --wrong. With --state a
stopped run goes on where it was: blocks are counted when they are done, at most JOBS of them are run twice.

    random_queries.py [--build DIR] [--seed N] [--count N] [--seconds N] [--jobs N] [--shards N]
                      [--at NUMBER] [--state FILE] [--wrong FILE] [--refused]
"""

import argparse
import json
import multiprocessing
import os
import queue
import shutil
import signal
import sys
import tempfile
import time
import traceback

from compare import Compare, pg  # first: it says where the others are

from grammar import VIEWS
from hunt import BLOCK, VERDICTS, Found, Hunt
from report import Report

# Temporary tables of workspaces leave dead rows in the catalogs, and autovacuum is off.
VACUUM_SECONDS = 20
CATALOGS = "pg_class, pg_attribute, pg_attrdef, pg_type, pg_depend, pg_shdepend, pg_index, pg_statistic, pg_init_privs"
PROGRESS_SECONDS = 30
MEMORY, MEMORY_FREE_MIN = "/dev/shm", 4 << 30
OPTIONS = ["jit = off", "max_parallel_workers_per_gather = 0", "wal_level = minimal", "max_wal_senders = 0",
           "checkpoint_timeout = 1h", "max_wal_size = 1GB", "track_activities = off", "track_counts = off"]


class Progress:
    """What was found of a seed, and up to where; kept in a file when one is named."""

    def __init__(self, args):
        self.args, self.found = args, Found()
        self.first = 0  # blocks: all below are done
        self.done = set()
        if args.at is None and args.state and os.path.exists(args.state):
            with open(args.state, encoding="utf-8") as f:
                kept = json.load(f)
            if kept["seed"] == args.seed:
                self.first = kept["block"]
                self.found.verdicts.update(kept["verdicts"])
        self.began, self.before = time.monotonic(), self.total()
        self.said, self.said_total = self.began, self.before

    def total(self):
        return sum(self.found.verdicts.values())

    def block_done(self, block, found):
        for words, sql in found.refused.items():
            if words not in self.found.refusals:
                print(f"REFUSED {sql}\n        {words}", flush=True)
        self.found.add(found)
        self.done.add(block)
        while self.first in self.done:
            self.done.remove(self.first)
            self.first += 1
        for text in found.wrong:
            print(f"WRONG   {text.replace(chr(10), chr(10) + '        ')}", flush=True)
            if self.args.wrong:
                with open(self.args.wrong, "a", encoding="utf-8") as f:
                    f.write(f"-- seed {self.args.seed}, {text}\n\n")

    def keep(self):
        if self.args.state:
            with open(self.args.state + ".new", "w", encoding="utf-8") as f:
                json.dump({"seed": self.args.seed, "block": self.first, "verdicts": self.found.verdicts}, f)
            os.replace(self.args.state + ".new", self.args.state)

    def counts(self):
        return ", ".join(f"{self.found.verdicts[v]} {v}" for v in VERDICTS)

    def say(self, rungs):
        now, total = time.monotonic(), self.total()
        rate = (total - self.said_total) / (now - self.said)
        left = (self.args.count - total) / rate / 60 if rate else 0
        self.said, self.said_total = now, total
        print(f"random: {time.strftime('%H:%M:%S')} seed {self.args.seed}, {total} of {self.args.count}, {rate:.0f} in a second, "
              f"{left:.0f} minutes to go: {self.counts()}; {rungs}", flush=True)
        self.keep()


def work(seed, ports, judge, todo, results):
    """A process that runs blocks until there are none."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        hunt = Hunt(*ports, judge, seed)
        for block in iter(todo.get, None):
            results.put((block, hunt.run_block(block)))
        hunt.close()
        results.put((None, None))
    except Exception:  # said by who counts
        results.put((None, traceback.format_exc(limit=-4)))


class Crew:
    """The processes, what they are given and what they bring."""

    def __init__(self, compare, seed, jobs):
        fork = multiprocessing.get_context("fork")
        self.todo, self.results = fork.Queue(), fork.Queue()
        ports = compare.braid.port, compare.plain.port
        self.workers = [fork.Process(target=work, args=(seed, ports, compare.judge, self.todo, self.results), daemon=True)
                        for _ in range(jobs)]
        for worker in self.workers:
            worker.start()
        self.working = jobs

    def take(self, report):
        """A block that is done, or None when a second has passed."""
        try:
            block, found = self.results.get(timeout=1)
        except queue.Empty:
            return None
        if block is None:
            self.working -= 1
            if found:
                report.fails("a worker", found)
            return None
        return block, found


def rungs(compare):
    """How statements were answered, by pgbraid's own counts."""
    counts = dict(line.rsplit(" ", 1) for line in compare.braid.http("/metrics")[1].splitlines() if line[:1] != "#")
    return ", ".join(f"{words} {counts[f'pgbraid_{name}_total']}" for words, name in (
        ("to one shard", "queries_single_shard"), ("to several", "queries_multi_shard"), ("in a workspace", "workspace_statements")))


def vacuum(compare):
    for server in compare.shards:
        server.sql(f"VACUUM (SKIP_LOCKED) {CATALOGS}", "app")


def blocks_to_do(args, progress):
    if args.at is not None:
        yield args.at // BLOCK
        return
    block = progress.first
    while block * BLOCK < args.count or time.monotonic() < progress.began + args.seconds:
        yield block
        block += 1


def run(compare, args, report, progress):
    crew, blocks = Crew(compare, args.seed, args.jobs), blocks_to_do(args, progress)
    for _ in crew.workers:
        crew.todo.put(next(blocks, None))
    cleaned = time.monotonic()
    while crew.working:
        got = crew.take(report)
        if got:
            progress.block_done(*got)
            crew.todo.put(next(blocks, None))
        now = time.monotonic()
        if now > progress.said + PROGRESS_SECONDS:
            progress.say(rungs(compare))
        if now > cleaned + VACUUM_SECONDS:
            vacuum(compare)
            cleaned = time.monotonic()
    for worker in crew.workers:
        worker.join()


def folder_of_servers():
    """In memory when there is enough of it."""
    try:
        if shutil.disk_usage(MEMORY).free >= MEMORY_FREE_MIN:
            return tempfile.mkdtemp(prefix="pgbraid_test.", dir=MEMORY)
    except OSError:
        pass
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=0, help="go on so long, whatever the count")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--at", type=int, help="only the block of this number")
    parser.add_argument("--state", help="a file that remembers what is done")
    parser.add_argument("--wrong", help="a file that wrong statements are added to")
    parser.add_argument("--refused", action="store_true", help="the refusals")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report()
    with pg.Fleet(folder_of_servers()) as fleet:
        compare = Compare(fleet, args.build, report, args.shards, OPTIONS)
        compare.use(args.shards)
        compare.fill(rich=True, few=True)
        for side in compare.sides("simple"):
            for name, (query, *_) in VIEWS.items():
                compare.must(name, side.run(f"CREATE VIEW {name} AS {query}"))
            side.close()
        progress = Progress(args)
        try:
            run(compare, args, report, progress)
        finally:
            progress.keep()
        print(f"random: {rungs(compare)}")
        compare.compare_tables(["facts", "users", "marks"], "after the statements")
        compare.stop()
        for line in compare.complaints:
            report.fails("sanitizers and checks", line)
    return finish(args, report, progress)


def finish(args, report, progress):
    found, seconds = progress.found, time.monotonic() - progress.began
    if args.refused:
        for words, count in found.refusals.most_common(40):
            print(f"random: refused {count:6} times: {words}")
    for text in found.slow[:20]:
        print(f"random: slow in pgbraid: {text}")
    print(f"random: seed {args.seed}, {args.shards} shards: {progress.total()} statements, "
          f"{(progress.total() - progress.before) / seconds:.0f} in a second; {progress.counts()}")
    print("random: answers: " + ", ".join(f"{k} {n}" for k, n in found.answers.most_common()))
    report.passed += found.verdicts["same"]
    report.failed += found.verdicts["wrong"]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
