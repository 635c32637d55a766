#!/usr/bin/python3
"""Random SELECTs (grammar.py) to one PostgreSQL and to pgbraid over several shards.

Every statement must give the same rows, columns and SQLSTATE, or 0A000. Statement number i of a seed is
always the same; some blocks of statements run in a transaction that has written before. Text and binary
take turns. A wrong answer is printed with its number, then cut down to a small statement that is still wrong.

    random_queries.py [--build DIR] [--seed N] [--count N] [--seconds N] [--shards N] [--at NUMBER] [--refused]
"""

import argparse
import sys
import time
from collections import Counter

from compare import Compare, pg  # first: it says where the others are

import raw
from grammar import make, writes
from report import Report
from sides import Answer, Side

BLOCK = 40  # statements; every fourth block is in a transaction with writes
PAIRS = 6  # connections on each side that work at the same time
TIMEOUT = "57014"
SHRINK_RUNS_MAX, SHRINK_SECONDS_MAX = 600, 40


class Case:
    """One statement of a seed."""

    def __init__(self, seed, number):
        self.number = number
        self.seed = seed * 1_000_003 + number
        block = number // BLOCK
        self.block = seed * 1_000_003 + block
        self.in_transaction = block % 4 == 3
        self.binary = number % 2 == 1
        self.sql, self.ordered, self.choices = make(self.seed)


class Hunt:
    def __init__(self, compare, report):
        self.compare, self.report = compare, report
        self.counts, self.refusals, self.codes = Counter(), Counter(), Counter()
        self.pairs = [tuple(self.client(port) for port in (compare.braid.port, compare.plain.port)) for _ in range(PAIRS)]

    @staticmethod
    def client(port):
        side = Side(port)
        side.run("SET statement_timeout = '5s'")
        return side

    def close(self):
        for pair in self.pairs:
            for side in pair:
                side.close()

    @staticmethod
    def send(side, case, sql=None):
        if case.binary:
            side.send_extended(sql or case.sql)
        else:
            side.send_query(sql or case.sql)

    def judge(self, mine, real, ordered):
        """(verdict, words)."""
        if TIMEOUT in (mine.code, real.code):
            return "slow", None
        if mine.code == "0A000" and real.code != "0A000":
            return "refused", mine.message
        self.compare.judge.folding = True
        wrong = self.compare.judge.differs(mine, real, ordered)
        return ("wrong", wrong) if wrong else ("same", None)

    @staticmethod
    def answer(side):
        """What comes, or that nothing came; then with a new connection."""
        try:
            return side.read()
        except (raw.Closed, OSError) as e:
            side.open()
            side.run("SET statement_timeout = '5s'")
            return Answer("lost", f"{type(e).__name__}: {e}")

    def both(self, pair, case, sql, ordered):
        for side in pair:
            self.send(side, case, sql)
        mine, real = self.answer(pair[0]), self.answer(pair[1])
        return self.judge(mine, real, ordered), real

    def begin(self, case):
        """The transaction of a block, with what it writes."""
        for side in self.pairs[0]:
            side.run("ROLLBACK")
            side.run("BEGIN")
        for sql in writes(case.block):
            mine, real = (side.run(sql) for side in self.pairs[0])
            if mine.code != real.code:
                raise RuntimeError(f"{sql}: {mine.code} {mine.message} against {real.code} {real.message}")

    def end(self):
        for side in self.pairs[0]:
            side.run("ROLLBACK")

    def run_block(self, cases):
        if cases[0].in_transaction:
            self.begin(cases[0])
            for case in cases:
                (verdict, words), real = self.both(self.pairs[0], case, case.sql, case.ordered)
                self.count(case, verdict, words, real)
                if any(side.raw.state != "T" for side in self.pairs[0]):
                    self.begin(case)
            self.end()
            return
        for at in range(0, len(cases), PAIRS):
            some = list(zip(self.pairs, cases[at:at + PAIRS]))
            for pair, case in some:
                for side in pair:
                    self.send(side, case)
            answers = [(self.answer(pair[0]), self.answer(pair[1])) for pair, _ in some]
            for (_, case), (mine, real) in zip(some, answers):
                self.count(case, *self.judge(mine, real, case.ordered), real)

    def count(self, case, verdict, words, real):
        self.counts[verdict] += 1
        if verdict == "same":
            self.codes[real.code or ("rows" if real.rows else "no rows")] += 1
        if verdict == "refused":
            self.refusals[words] += 1
        if verdict != "wrong":
            self.report.passes(str(case.number)) if verdict == "same" else None
            return
        self.report.fails(f"number {case.number}: {case.sql}", words)
        if case.in_transaction:
            print(f"        in a transaction after {writes(case.block)}")
        sql, words = self.shrink(case)
        print(f"        smaller: {sql}\n        {words}", flush=True)

    def still_wrong(self, case, given):
        """(sql, words, choices) when the statement of these choices is answered wrong, too."""
        sql, ordered, taken = make(given=given)
        if case.in_transaction and any(side.raw.state != "T" for side in self.pairs[0]):
            self.begin(case)
        (verdict, words), _ = self.both(self.pairs[0], case, sql, ordered)
        return (sql, words, taken) if verdict == "wrong" else None

    def shrink(self, case):
        best = self.still_wrong(case, case.choices)
        if best is None:
            return case.sql, "not wrong when it is run once more"
        until, runs, seen = time.monotonic() + SHRINK_SECONDS_MAX, 0, {best[0]}
        size = len(best[2])
        while size >= 1:
            at, better = 0, False
            while at < len(best[2]) and runs < SHRINK_RUNS_MAX and time.monotonic() < until:
                for candidate in (best[2][:at] + best[2][at + size:], best[2][:at] + [0] * size + best[2][at + size:],
                                  best[2][:at] + [v // 2 for v in best[2][at:at + size]] + best[2][at + size:]):
                    sql = make(given=candidate)[0]
                    if sql in seen or len(sql) > len(best[0]):
                        continue
                    seen.add(sql)
                    runs += 1
                    got = self.still_wrong(case, candidate)
                    if got and len(got[0]) <= len(best[0]):
                        best, better = got, True
                        break
                else:
                    at += size
            if not better:
                size //= 2
        return best[0], best[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=0, help="go on so long, whatever the count")
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--at", type=int, help="only the block of this number")
    parser.add_argument("--refused", action="store_true", help="the refusals with their numbers")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report()
    with pg.Fleet() as fleet:
        compare = Compare(fleet, args.build, report, args.shards)
        compare.use(args.shards)
        compare.fill(rich=True)
        hunt = Hunt(compare, report)
        begin, number = time.monotonic(), 0 if args.at is None else args.at // BLOCK * BLOCK
        while number < args.count or args.at is not None or time.monotonic() < begin + args.seconds:
            hunt.run_block([Case(args.seed, i) for i in range(number, number + BLOCK)])
            number += BLOCK
            if args.at is not None:
                break
            if number % 10000 == 0:
                print(f"random: {number} statements in {time.monotonic() - begin:.0f} s: {dict(hunt.counts)}", flush=True)
        seconds = time.monotonic() - begin
        hunt.close()
        compare.compare_tables(["facts", "users", "marks"], "after the statements")
        compare.stop()
        for line in compare.complaints:
            report.fails("sanitizers and checks", line)
    if args.refused:
        for words, count in hunt.refusals.most_common(40):
            print(f"random: refused {count:6} times: {words}")
    total = sum(hunt.counts.values())
    print(f"random: seed {args.seed}, {args.shards} shards: {total} statements, {total / seconds:.0f} in a second; "
          + ", ".join(f"{hunt.counts[v]} {v}" for v in ("same", "refused", "wrong", "slow")))
    print("random: answers: " + ", ".join(f"{k} {n}" for k, n in hunt.codes.most_common()))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
