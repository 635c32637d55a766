#!/usr/bin/python3
"""The 22 queries of TPC-H over three shards and over one PostgreSQL with the same rows: equal, and how long.

    tpch.py [--build DIR] [--scale 0.1] [--shards 3] [--only Q7] [--times 3] [--explain] [--cold]
"""

import argparse
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "compare"), HERE]

import pg  # noqa: E402
import raw  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from data import INDEXES, TABLES, Data  # noqa: E402
from report import Report  # noqa: E402
from sides import Judge, Side, Types  # noqa: E402

OPTIONS = ["shared_buffers = 128MB", "work_mem = 32MB", "max_wal_size = 2GB", "jit = off", "max_parallel_workers_per_gather = 0"]


def queries():
    """(name, text) of each."""
    with open(os.path.join(HERE, "queries.sql"), encoding="utf-8") as f:
        return re.findall(r"^-- (Q\d+): [^\n]*\n(.*?);\n", f.read(), re.S | re.M)


def must(side, sql, data=None):
    answer = side.run(sql, data)
    if answer.code is not None:
        raise RuntimeError(f"{sql[:100]}: {answer.code} {answer.message}")


def load(sides, scale):
    """The same rows for all; the last side has no suffixes."""
    data = Data(scale)
    for table, (columns, suffix) in TABLES.items():
        for side in sides:
            must(side, f"CREATE TABLE {table} ({columns}) {suffix if side is not sides[-1] else ''}")
        if table not in ("orders", "lineitem"):
            text = "".join(getattr(data, table)())
            for side in sides:
                must(side, f"COPY {table} FROM STDIN", text)
    for orders, lines in data.orders_and_lines():
        for side in sides:
            must(side, "COPY orders FROM STDIN", "".join(orders))
            must(side, "COPY lineitem FROM STDIN", "".join(lines))
    for side in sides:
        for sql in INDEXES:
            must(side, sql)


def timed(side, sql, times):
    """(answer, best seconds)."""
    best, answer = None, None
    for _ in range(times):
        begin = time.monotonic()
        answer = side.run(sql)
        seconds = time.monotonic() - begin
        best = seconds if best is None else min(best, seconds)
    return answer, best


def cold_plan(port, sql, path, times=7):
    """Best seconds that Parse takes when the plan is made anew: another search_path is another plan."""
    best = None
    with raw.Raw(port) as r:
        r.login()
        for number in range(times):
            r.ask(raw.query(f"SET search_path = public, {path}_{number}"))
            begin = time.monotonic()
            codes = raw.codes_of(r.ask(raw.parse(sql), raw.SYNC))
            seconds = time.monotonic() - begin
            if codes:
                raise RuntimeError(f"{path}: {codes}")
            best = seconds if best is None else min(best, seconds)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--times", type=int, default=1, help="the best of so many runs")
    parser.add_argument("--only", default="")
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--cold", action="store_true", help="how long Parse takes for a plan that is not cached")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report()
    with pg.Fleet() as fleet:
        plain, *shards = fleet.start(1 + args.shards, options=OPTIONS)
        for server in (plain, *shards):
            pg.prepare(server)
        braid = Braid(os.path.join(fleet.folder, "braid"), config_for(shards), build=args.build)
        fleet.at_end.append(braid.kill)
        braid.start()
        ours, theirs = Side(braid.port), Side(plain.port)
        begin = time.monotonic()
        load([ours, theirs], args.scale)
        for server in (plain, *shards):
            server.sql("VACUUM ANALYZE", "app")
        print(f"tpch: scale {args.scale} loaded in {time.monotonic() - begin:.0f} s")
        judge = Judge(Types(shards[0]), Types(plain))
        total = [0.0, 0.0]
        for name, sql in queries():
            if args.only and args.only != name:
                continue
            if args.explain:
                answer = ours.run("EXPLAIN (COSTS OFF) " + sql)
                print("\n".join(row[6:].decode() for row in answer.rows or ()) or answer.message)
            mine, our_seconds = timed(ours, sql, args.times)
            real, their_seconds = timed(theirs, sql, args.times)
            wrong = judge.differs(mine, real, True)
            total = [total[0] + our_seconds, total[1] + their_seconds]
            what = f"{name:<4} {len(real.rows or ()):5} rows"
            if wrong:
                report.fails(what, wrong)
            else:
                report.passes(what)
                print(f"tpch: {what}  {our_seconds * 1000:8.1f} ms, PostgreSQL {their_seconds * 1000:8.1f} ms, "
                      f"ratio {our_seconds / their_seconds:.2f}", flush=True)
            if args.cold:
                print(f"tpch: {name:<4} cold plan {cold_plan(braid.port, sql, name) * 1000:6.2f} ms", flush=True)
        print(f"tpch: all {total[0] * 1000:.0f} ms, PostgreSQL {total[1] * 1000:.0f} ms, ratio {total[0] / max(total[1], 1e-9):.2f}")
        ours.close()
        theirs.close()
        status = braid.stop()
        for line in [f"exit status {status}"] * (status != 0) + braid.complaints():
            report.fails("sanitizers and checks", line)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
