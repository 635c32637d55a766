"""Random statements of one seed, each to PostgreSQL and to pgbraid over one connection each.

Statement number i of a seed is always the same, in the same block, transaction and mode: whoever runs a block
needs nothing but its number. What is wrong is cut down to a small statement that is still wrong.
"""

import random
import time
from collections import Counter

import raw
from grammar import make, writes
from sides import COLUMNS_DIFFER, Answer, Side, columns_of

BLOCK = 40  # statements; every fourth block is in a transaction with writes
MODES = (("simple", 50), ("binary", 35), ("prepared", 8), ("portal", 7))  # how often of a hundred
TIMEOUT = "57014"
PLAIN_SECONDS_MAX, BRAID_SECONDS_MAX = 1, 20  # what PostgreSQL itself needs long for says nothing
SHRINK_RUNS_MAX, SHRINK_SECONDS_MAX, SHRINKS_MAX = 600, 40, 10
VERDICTS = ("same", "refused", "wrong", "slow")


class Case:
    """One statement of a seed."""

    def __init__(self, seed, number):
        self.number = number
        self.block = seed * 1_000_003 + number // BLOCK
        self.in_transaction = number // BLOCK % 4 == 3
        own = seed * 1_000_003 + number
        r = random.Random(~own)
        self.mode = r.choices([m for m, _ in MODES], [n for _, n in MODES])[0]
        self.rows_max = r.choice((1, 2, 7, 50))
        self.sql, self.ordered, self.choices = make(own)


class Found:
    """What came of some statements; goes from a worker to who counts."""

    def __init__(self):
        self.verdicts, self.refusals, self.answers = Counter(), Counter(), Counter()
        self.wrong = []  # texts
        self.refused = {}  # message -> the first statement
        self.slow = []

    def add(self, other):
        for mine, more in ((self.verdicts, other.verdicts), (self.refusals, other.refusals), (self.answers, other.answers)):
            mine.update(more)
        self.wrong += other.wrong
        self.slow += other.slow


class Hunt:
    """A connection to each side. Answers are compared by their bytes (sides.Judge)."""

    def __init__(self, braid_port, plain_port, judge, seed):
        self.judge, self.seed = judge, seed
        self.mine = self.client(braid_port, BRAID_SECONDS_MAX)
        self.real = self.client(plain_port, PLAIN_SECONDS_MAX)
        self.found = None
        self.shrinks = 0

    @staticmethod
    def client(port, seconds):
        side = Side(port)
        side.seconds = seconds
        side.run(f"SET statement_timeout = '{seconds}s'")
        return side

    def close(self):
        self.mine.close()
        self.real.close()

    @staticmethod
    def answer(side, case, sql):
        """What comes, or that nothing came; then with a new connection."""
        try:
            if case.mode == "simple":
                side.send_query(sql)
            elif case.mode == "binary":
                side.send_extended(sql)
            elif case.mode == "prepared":
                return Hunt.run_named(side, sql)
            else:
                return side.run_portal(sql, None, case.rows_max)
            return side.read()
        except (raw.Closed, OSError) as e:
            side.open()
            side.run(f"SET statement_timeout = '{side.seconds}s'")
            return Answer("lost", f"{type(e).__name__}: {e}")

    @staticmethod
    def run_named(side, sql):
        """A statement with a name, described as such, run in text and in binary, and closed."""
        side.raw.send(raw.parse(sql, "s"), raw.describe("S", "s"), raw.bind(statement="s"), raw.execute(),
                      raw.bind(statement="s", results=(1,)), raw.describe("P"), raw.execute(), raw.SYNC)
        got = side.read()
        side.raw.ask(raw.close("S", "s"), raw.SYNC)
        return got

    def verdict(self, case, sql, ordered):
        """(verdict, words, PostgreSQL's answer)."""
        real = self.answer(self.real, case, sql)
        if real.code == TIMEOUT:
            if case.in_transaction:  # keep both at the same point
                self.mine.run("SELECT 1/0")
            return "slow", None, real
        mine = self.answer(self.mine, case, sql)
        if mine.code == TIMEOUT:
            return "slow", "pgbraid", real
        if mine.code == "0A000" and real.code != "0A000":
            return "refused", mine.message, real
        wrong = self.judge.differs(mine, real, ordered)
        if wrong and wrong.startswith(COLUMNS_DIFFER):
            self.describe_whole(real, sql)
            wrong = self.judge.differs(mine, real, ordered)
        return ("wrong" if wrong else "same"), wrong, real

    def describe_whole(self, real, sql):
        """The columns as PostgreSQL describes the statement. Those of a portal have the type modifiers of what its
        planner has left of an expression, of CASE WHEN NULL THEN a ELSE b only that of b; pgbraid says the statement's."""
        got = self.real.raw.ask(raw.parse(sql), raw.describe("S"), raw.SYNC)
        whole = next((columns_of(body) for kind, body in got if kind == "T"), ())
        for part in real.parts:
            if part.columns and len(part.columns) == len(whole):
                part.columns = tuple((*new[:3], old[3]) for new, old in zip(whole, part.columns))

    def begin(self, case):
        """The transaction of a block, with what it writes."""
        for side in (self.mine, self.real):
            side.run("ROLLBACK")
            side.run("BEGIN")
        for sql in writes(case.block):
            mine, real = self.mine.run(sql), self.real.run(sql)
            if mine.code != real.code or mine.tag != real.tag:
                return f"{sql}: {mine.code} {mine.message} {mine.tag} against {real.code} {real.message} {real.tag}"
        return None

    def run_block(self, number):
        """The statements of a block; what was found."""
        self.found = Found()
        cases = [Case(self.seed, i) for i in range(number * BLOCK, (number + 1) * BLOCK)]
        if cases[0].in_transaction:
            failure = self.begin(cases[0])
            if failure:
                self.found.verdicts["wrong"] += 1
                self.found.wrong.append(f"number {cases[0].number}, the writes of its block: {failure}")
        for case in cases:
            self.count(case, *self.verdict(case, case.sql, case.ordered))
            if case.in_transaction and any(side.raw.state != "T" for side in (self.mine, self.real)):
                self.begin(case)
        if cases[0].in_transaction:
            self.mine.run("ROLLBACK")
            self.real.run("ROLLBACK")
        return self.found

    def count(self, case, verdict, words, real):
        found = self.found
        found.verdicts[verdict] += 1
        if verdict == "same":
            found.answers[real.code or ("rows" if real.rows else "no rows")] += 1
        elif verdict == "refused":
            found.refusals[words] += 1
            found.refused.setdefault(words, f"number {case.number}: {case.sql}")
        elif verdict == "slow" and words:
            found.slow.append(f"number {case.number}: {case.sql}")
        elif verdict == "wrong":
            found.wrong.append(self.describe(case, words))

    def describe(self, case, words):
        lines = [f"number {case.number}, {case.mode}: {case.sql}", words]
        if case.in_transaction:
            lines.append(f"in a transaction after {writes(case.block)}")
        if self.shrinks >= SHRINKS_MAX:
            return "\n".join(lines)
        self.shrinks += 1
        sql, words = self.shrink(case)
        plan = self.mine.run("EXPLAIN " + sql).rows or []
        return "\n".join([*lines, f"smaller: {sql};", words, *(row[6:].decode(errors="replace") for row in plan[:1])])

    def still_wrong(self, case, given):
        """(sql, words, choices) when the statement of these choices is answered wrong, too."""
        sql, ordered, taken = make(given=given)
        if case.in_transaction and any(side.raw.state != "T" for side in (self.mine, self.real)):
            self.begin(case)
        verdict, words, _ = self.verdict(case, sql, ordered)
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
