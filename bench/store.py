#!/usr/bin/env python3
"""
Our stores beside Debian's LevelDB, RocksDB and LMDB: one driver (bench/store/driver.c) does the same with each,
and compares every read with what was written. Rounds alternate between all of them (A B C A B C ...); printed is
the best round of each, so that a busy machine disturbs least.

    make bench-store                        about 15 minutes: a million keys of 16 bytes, values of 100
    python3 bench/store.py --quick          100,000 keys, one round; figures only good for a look
    python3 bench/store.py --write          the tables into docs/BENCHMARKS.md
    python3 bench/store.py --only sync      one part: write, sync, kill
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile

import report

BEGIN, END = "<!-- written by bench/store.py --write: begin -->", "<!-- store: end -->"
OURS = ("lsm", "btree")
ENGINES = ("leveldb", "lsm", "btree", "rocksdb", "lmdb")
NAMES = {"leveldb": "LevelDB", "lsm": "LSM", "btree": "B+tree", "rocksdb": "RocksDB", "lmdb": "LMDB",
         "wal": "log alone", "disk": "disk alone"}
PARTS = {  # the tests of one process; those behind a fill use what it left
    "write": (("fillseq", "scan"), ("fillbatch",), ("batchsync",),
              ("fillrandom", "readrandom", "readmiss", "scan", "scanback", "range50", "overwrite", "readrandom",
               "deleterandom")),
    "sync": (("sync1", "sync8", "sync64"),),
    "kill": (("kill",),),
}
WRITES = ("fillseq", "fillrandom", "fillbatch", "batchsync", "overwrite", "deleterandom")
READS = ("readrandom", "readmiss", "scan", "scanback", "range50")
SYNCS = ("sync1", "sync8", "sync64")
# test, engine, what is compared with LevelDB's, at least or at most, how much
GOALS = ([(t, e, "ops", ">=", 1.0) for t in ("fillseq", "fillrandom", "fillbatch") for e in ("lsm",)] +
         [(t, e, "ops", ">=", 1.2) for e in OURS for t in SYNCS] +
         [("readrandom", "lsm", "cpu", "<=", 1.0), ("readrandom", "btree", "cpu", "<=", 0.35),
          ("scan", "lsm", "ops", ">=", 1.0), ("scan", "btree", "ops", ">=", 1.7)])


class Results:
    def __init__(self):
        self.best = {}

    def add(self, line):
        key = line["engine"], line["test"]
        ops = line["ops"] / max(line["seconds"], 1e-9)
        cpu = line["cpu"] * 1e6 / max(line["ops"], 1)
        old = self.best.get(key)
        if old is None:
            self.best[key] = dict(line, rate=ops, cpu_us=cpu)
            return
        if ops > old["rate"]:
            self.best[key] = dict(line, rate=ops, cpu_us=min(cpu, old["cpu_us"]))
        old = self.best[key]
        old["cpu_us"] = min(cpu, old["cpu_us"])
        if "open_ms" in line:
            old["open_ms"] = min(line["open_ms"], old["open_ms"])

    def get(self, engine, test, what):
        return self.best.get((engine, test), {}).get(what)


def run(driver, engine, tests, keys, seconds, folder):
    """The lines of one process; None when this build has no such engine."""
    where = os.path.join(folder, engine)
    shutil.rmtree(where, ignore_errors=True)
    done = subprocess.run([driver, engine, where, str(keys), str(seconds), *tests], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    shutil.rmtree(where, ignore_errors=True)
    if "no engine" in done.stderr:
        return None
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [line for line in lines if line["wrong"]]
    if done.returncode != 0 or wrong:
        raise SystemExit(f"bench: {engine} {' '.join(tests)}: {done.stderr.strip() or wrong}")
    return lines


def measure(o, parts, folder):
    results = Results()
    missing = set()
    for number in range(o.rounds):
        for part in parts:
            for tests in PARTS[part]:
                for engine in ENGINES + (("wal", "disk") if part == "sync" else ()):
                    if engine in missing or (o.engines and engine not in o.engines):
                        continue
                    print(f"bench: round {number + 1}: {engine} {' '.join(tests)}", file=sys.stderr)
                    lines = run(o.driver, engine, tests, o.keys, o.seconds, folder)
                    if lines is None:
                        missing.add(engine)
                        continue
                    seen = set()
                    for line in lines:  # the second of a name in one process is another thing
                        if line["test"] in seen:
                            line["test"] += ", overwritten"
                        seen.add(line["test"])
                        results.add(line)
    return results


def count(value):
    if value is None:
        return "-"
    return f"{value / 1000:.0f}k" if value >= 10000 else f"{value:.0f}"


def ratio(a, b):
    return "-" if a is None or not b else f"{a / b:.2f}"


def speed_table(results, tests, engines):
    rows = []
    for test in tests:
        base = results.get("leveldb", test, "rate"), results.get("leveldb", test, "cpu_us")
        row = [test]
        for engine in engines:
            rate, cpu = results.get(engine, test, "rate"), results.get(engine, test, "cpu_us")
            if rate is None:
                row.append("-")
            elif engine == "leveldb":
                row.append(f"{count(rate)}, {cpu:.2f} us")
            else:
                row.append(f"{count(rate)} ({ratio(rate, base[0])}), {cpu:.2f} us ({ratio(cpu, base[1])})")
        rows.append(row)
    return report.table(["a second, CPU (to LevelDB)"] + [NAMES[e] for e in engines], rows)


def sync_table(results, engines):
    rows = []
    for engine in engines:
        row = [NAMES[engine]]
        for test in SYNCS:
            rate = results.get(engine, test, "rate")
            base = results.get("leveldb", test, "rate")
            if rate is None:
                row += ["-", "-"]
                continue
            row.append(f"{count(rate)} ({ratio(rate, base)})")
            row.append(f"{results.get(engine, test, 'p50_us'):.0f} / {results.get(engine, test, 'p99_us'):.0f}")
        rows.append(row)
    heads = ["synced writes"]
    for n in (1, 8, 64):
        heads += [f"{n} writer{'s' if n > 1 else ''}, a second", "p50 / p99 us"]
    return report.table(heads, rows)


def amplification_table(results, engines):
    rows = []
    for engine in engines:
        row = [NAMES[engine]]
        for test in ("fillseq", "fillrandom", "overwrite"):
            called, dirtied = (results.get(engine, test, k) for k in ("called", "dirtied"))
            user = results.get(engine, test + ".close", "user")
            row.append("-" if called is None else f"{called / user:.1f}; {dirtied / user:.1f}")
        for test in ("fillseq", "fillrandom", "overwrite"):
            row.append(space(results, engine, test))
        for test in ("readrandom", "readrandom, overwritten", "readmiss", "scan"):
            cpu = results.get(engine, test, "cpu_us")
            row.append("-" if cpu is None else f"{cpu:.2f}")
        anon = results.get(engine, "fillrandom", "anon_kib")
        row.append("-" if anon is None else f"{anon / 1024:.0f}")
        open_ms = results.get(engine, "kill", "open_ms")
        row.append("-" if open_ms is None else f"{open_ms:.1f}")
        rows.append(row)
    return report.table(["", "bytes written per byte, in order", "at random", "overwriting", "disk per byte, in order",
                         "at random", "overwritten", "read, CPU us", "overwritten", "missing", "row of a scan",
                         "MB of memory", "open after kill, ms"], rows)


def space(results, engine, test):
    disk, user = (results.get(engine, test + ".close", k) for k in ("disk", "user"))
    return "-" if disk is None else f"{disk / user:.2f}"


def written(results, engine, test):
    """Bytes of blocks made dirty per byte of keys and values, those of system calls in brackets."""
    called, dirtied = (results.get(engine, test, k) for k in ("called", "dirtied"))
    user = results.get(engine, test + ".close", "user")
    return "-" if called is None else f"{dirtied / user:.1f} ({called / user:.1f})"


def looked(results, engine, test):
    places, loaded = (results.get(engine, test, k) for k in ("places", "loaded"))
    return "-" if places is None else f"{places:.2f}; {loaded:.0f}"


def both_table(results):
    """LSM and B+tree by the three amplifications, on the same loads."""
    kinds = [("writing, in order", written, "fillseq"), ("writing, at random", written, "fillrandom"),
             ("writing, in batches at random", written, "fillbatch"),
             ("writing, in synced batches at random", written, "batchsync"),
             ("writing over what is there", written, "overwrite"), ("deleting", written, "deleterandom"),
             ("reading a key", looked, "readrandom"), ("reading a key, all overwritten", looked, "readrandom, overwritten"),
             ("reading a key that is missing", looked, "readmiss"),
             ("space, in order", space, "fillseq"), ("space, at random", space, "fillrandom"),
             ("space, all overwritten", space, "overwrite")]
    return report.table(["LSM and B+tree"] + [NAMES[e] for e in OURS],
                        [[what] + [how(results, e, test) for e in OURS] for what, how, test in kinds])


def goal_table(results):
    rows = []
    for test, engine, what, sign, wanted in GOALS:
        key = "rate" if what == "ops" else "cpu_us"
        mine, base = results.get(engine, test, key), results.get("leveldb", test, key)
        if mine is None or not base:
            continue
        got = mine / base
        met = got >= wanted if sign == ">=" else got <= wanted
        rows.append([f"{NAMES[engine]}, {test}, {'a second' if what == 'ops' else 'CPU'}", f"{sign} {wanted}",
                     f"{got:.2f}", "met" if met else "missed"])
    for engine in OURS:
        open_ms = results.get(engine, "kill", "open_ms")
        if open_ms is not None:
            rows.append([f"{NAMES[engine]}, open after a kill with 4 MB in the log, ms", "<= 20", f"{open_ms:.1f}",
                         "met" if open_ms <= 20 else "missed"])
        disk, user = (results.get(engine, "fillrandom.close", k) for k in ("disk", "user"))
        if disk is not None:
            rows.append([f"{NAMES[engine]}, disk per byte of user data", "<= 1.7", f"{disk / user:.2f}",
                         "met" if disk / user <= 1.7 else "missed"])
    return report.table(["aim (to LevelDB in the same run)", "wanted", "got", ""], rows) if rows else ""


def page(results, o):
    engines = [e for e in ENGINES if any(k[0] == e for k in results.best)]
    out = [f"- {datetime.date.today().isoformat()}; {o.keys} keys of 16 bytes, values of 100 (half compressible); best of "
           f"{o.rounds} round{'s' if o.rounds > 1 else ''}; {os.cpu_count()} processors; every read compared with what was written"]
    if any(k[1] in WRITES for k in results.best):
        out += [speed_table(results, WRITES + READS, engines), amplification_table(results, engines)]
        if all(e in engines for e in OURS):
            out.append(both_table(results))
    if any(k[1] in SYNCS for k in results.best):
        out.append(sync_table(results, engines + [e for e in ("wal", "disk") if results.get(e, "sync1", "rate")]))
    goals = goal_table(results)
    return "\n\n".join(out + ([goals] if goals else []))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build/release")
    p.add_argument("--keys", type=int, default=1000000)
    p.add_argument("--seconds", type=float, default=2, help="of each test of synced writes (default 2)")
    p.add_argument("--rounds", type=int, default=3, help="(default 3; quick: 1)")
    p.add_argument("--only", action="append", choices=PARTS)
    p.add_argument("--engines", type=lambda text: text.split(","), help="a,b: only these")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--write", action="store_true")
    o = p.parse_args()
    if o.quick:
        o.keys, o.rounds, o.seconds = min(o.keys, 100000), 1, 1
    o.driver = os.path.join(report.ROOT, o.build, "bench", "store", "driver")
    if not os.path.exists(o.driver):
        raise SystemExit(f"bench: {o.driver} is not there: make bench-store")
    folder = tempfile.mkdtemp(prefix="bench_store.", dir=os.path.join(report.ROOT, o.build))  # on a disk, not in memory
    try:
        text = page(measure(o, o.only or list(PARTS), folder), o)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(text)
    if o.write:
        report.put_between(BEGIN, END, text)


if __name__ == "__main__":
    main()
