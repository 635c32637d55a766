#!/usr/bin/python3
"""The same statements to one plain PostgreSQL and to pgbraid over 1, 3 and 5: same answers, or 0A000.

Goal: never silently wrong. Each file of statements/ is a session: its statements run one after the
other on both sides, and everything a client can see is compared: SQLSTATE, command tag, columns
with types, type modifiers and formats, rows (as they come with ORDER BY, else as a multiset), at the
end all tables. Every answer is the same, refused (0A000) or wrong. Files of statements/read/ only
read (or roll back) and share one filling of the tables. Files of statements/write/ are lists after each of
which all tables are compared (lists.py).
Statements end with ';' at the end of a line. Comments before one say what is special about it:
    -- refused      pgbraid may answer 0A000; other statements may not
    -- defect       a wrong answer that is known, and being worked on
    -- unordered    ORDER BY is there but does not order the whole result
    -- rows differ  only column names, types and the number of rows are compared (random values)
    -- only plain   is for the mode simple (several statements at once, COPY FROM)
    -- not on one shard  is left out there (what only a refusal keeps from being random)
    -- in order     rows are compared in order, though there is no ORDER BY
    -- portal N     extended protocol: Execute with a limit of N rows until all are there
    -- params ...   Python values for the %s of the statement: written into it in the mode simple,
                    sent in binary or (prepared) in text in the others
A statement that pgbraid refuses is not run on the other side (in a transaction, a failing one is).

    compare.py [--build DIR] [--mode simple|binary|prepared] [--shards 1,3,5] [--only FILE] [--verbose] [--refused] [--write]
"""

import argparse
import glob
import os
import re
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import pg  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from lists import Lists  # noqa: E402
from report import Report  # noqa: E402
from sides import MODES, READS, Judge, Side, Types, is_ordered  # noqa: E402
from world import RICH, RICH_TABLES, SCHEMA, TABLES, few_rows, for_plain, rich_rows, rows  # noqa: E402

SHARDS_MAX = 5
# What is run without words to the contrary: every mode over three shards, what only reads in one mode over others.
USUAL = [(3, "simple"), (3, "binary"), (3, "prepared"), (5, "binary"), (1, "simple")]
VALUES = {"Decimal": Decimal, "UUID": UUID, "date": date, "datetime": datetime}


def values_of(text):
    """The values of a line of ours, not of anybody else."""
    return list(eval(f"({text},)", VALUES))  # pylint: disable=eval-used


def name_of(path):
    return os.path.relpath(path, os.path.join(HERE, "statements"))[:-4]


class Statement:
    def __init__(self, sql, data, words, line):
        self.sql, self.data, self.words, self.line = sql, data, words, line
        self.ordered = (is_ordered(sql) and "unordered" not in words) or "in order" in words
        self.params = next((values_of(w[7:]) for w in words if w.startswith("params ")), None)
        self.portal = next((int(w[7:]) for w in words if w.startswith("portal ")), 0)
        self.values = "rows differ" not in words

    def has(self, word):
        return word in self.words


def parse_file(path):
    """Statements of a file; COPY ... FROM STDIN is followed by its data up to a line with \\."""
    out, words, buffer = [], [], []
    with open(path, encoding="utf-8") as f:
        lines = iter(enumerate(f.read().split("\n"), 1))
    for number, line in lines:
        if not buffer and (not line.strip() or line.startswith("--")):
            words += [line[2:].strip()] if line.startswith("--") else []
            continue
        buffer.append(line)
        if not line.rstrip().endswith(";"):
            continue
        sql, data = "\n".join(buffer).rstrip()[:-1], None
        if re.match(r"COPY\b.*\bFROM STDIN", sql, re.S):
            data = ""
            for _, row in lines:
                if row == "\\.":
                    break
                data += row + "\n"
        out.append(Statement(sql, data, words, number))
        words, buffer = [], []
    return out


class Compare:
    """Servers, pgbraid over the first `shards` of them, and what was seen."""

    def __init__(self, fleet, build, report, shards_max=SHARDS_MAX, options=()):
        self.fleet, self.build, self.report = fleet, build, report
        self.counts = defaultdict(Counter)  # file -> same, refused, wrong
        self.refused = []
        self.seen = defaultdict(lambda: defaultdict(set))  # path -> line -> verdicts
        self.news = {}  # marked as refused, but answered
        self.complaints = []
        self.braid = self.shards = self.judge = None
        self.plain, *self.servers = fleet.start(1 + shards_max, options=options)
        for server in (self.plain, *self.servers):
            pg.prepare(server, databases=("plain",))
        for i, server in enumerate(self.servers):
            self.move_oids(server, i * 50)

    @staticmethod
    def move_oids(server, count):
        """What is made later gets other OIDs than on the other servers."""
        for i in range(count // 10):
            server.sql("CREATE TYPE moved AS (" + ", ".join(f"c{j} int" for j in range(3)) + "); DROP TYPE moved"
                       if i % 2 else "CREATE TABLE moved (a int, b text); DROP TABLE moved")

    def use(self, shards):
        """pgbraid over so many shards, on databases that are new."""
        self.stop()
        self.shards = self.servers[:shards]
        for server in (self.plain, *self.servers):
            server.sql("DROP DATABASE IF EXISTS app WITH (FORCE)")
            server.sql("CREATE DATABASE app OWNER app")
        folder = os.path.join(self.fleet.folder, f"braid{shards}")
        self.braid = Braid(folder, config_for(self.shards), build=self.build)
        self.fleet.at_end.append(self.braid.kill)
        self.judge = Judge(Types(self.shards[0]), Types(self.plain))

    def stop(self):
        if self.braid is None:
            return
        status = self.braid.stop()
        if status not in (0, None):
            self.complaints.append(f"exit status {status}")
        self.complaints += self.braid.complaints()
        self.braid = None

    def fill(self, rich=False, few=False):
        """Both sides as new; with few rows what the generator reads."""
        self.braid.stop()
        with ThreadPoolExecutor(len(self.shards) + 1) as pool:  # tables and schemas of ours, all of them
            list(pool.map(lambda server: server.sql("DROP OWNED BY app CASCADE", "app"), (self.plain, *self.shards)))
        self.braid.start()
        sets = [(SCHEMA, TABLES, rows())] + ([(RICH, RICH_TABLES, rich_rows())] if rich else [])
        sets = [(schema, tables, few_rows(lines)) for schema, tables, lines in sets] if few else sets
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda port: self.fill_side(port, sets), (self.plain.port, self.braid.port)))
        for server in (self.plain, *self.shards) if rich else ():
            server.sql("ANALYZE", "app")
        for types in (self.judge.ours, self.judge.theirs):
            types.load()

    def fill_side(self, port, sets):
        side = Side(port)
        suffix = port == self.braid.port and len(self.shards) > 1
        for schema, tables, lines in sets:
            for sql in schema:
                self.must(sql, side.run(sql if suffix else for_plain(sql)))
            for table in tables:
                data = "".join(f"{line}\n" for line in lines[table])
                self.must(table, side.run(f"COPY {table} FROM STDIN", data))
        side.close()

    @staticmethod
    def must(what, answer):
        if answer.code is not None:
            raise RuntimeError(f"{what}: {answer.code} {answer.message}")

    def sides(self, mode):
        return Side(self.braid.port, mode), Side(self.plain.port, mode)

    def run_statement(self, st, ours, theirs):
        """("same" or "refused" or "wrong", words)."""
        sql = st.sql if len(self.shards) > 1 else for_plain(st.sql)
        mine = ours.run(sql, st.data, st.params, st.portal)
        if mine.code == "0A000" and len(self.shards) > 1:
            if theirs.in_transaction:
                theirs.run("SELECT 1/0")
            elif READS.match(st.sql) and theirs.run_once(st.sql, st.params).code == "0A000":
                return "same", None  # PostgreSQL does not do it either
            return "refused", mine.message
        real = theirs.run(for_plain(st.sql), st.data, st.params, st.portal)
        if real.code == "0A000" and "cached plan must not change" in real.message:
            return "same", None  # a server's statement that outlived its table; ours are made anew
        wrong = self.judge.differs(mine, real, st.ordered, st.values)
        return ("wrong", wrong) if wrong else ("same", None)

    def run_file(self, path, mode):
        where = f"{len(self.shards)} shards, {mode}, {name_of(path)}"
        ours, theirs = self.sides(mode)
        for st in parse_file(path):
            if st.has("not on one shard") and len(self.shards) == 1:
                continue
            if (st.has("only plain") and mode != "simple") or (st.portal and mode == "simple"):
                continue
            self.judged(path, where, st, *self.run_statement(st, ours, theirs))
        ours.close()
        theirs.close()

    def judged(self, path, where, st, verdict, words):
        self.counts[name_of(path)][verdict] += 1
        self.seen[path][st.line].add(verdict)
        what = f"{where}:{st.line}: {st.sql[:160]!r}"
        if verdict == "refused":
            self.refused.append((where, st, words))
        elif st.has("refused") and len(self.shards) > 1:
            self.news.setdefault((path, st.line), st)
        if verdict == "same" or st.has({"refused": "refused", "wrong": "defect"}[verdict]):
            self.report.passes(what)
        else:
            self.report.fails(what, f"{verdict}: {words}")

    def report_tables(self, path, what, wrong):
        """Tables behind a list of statements, or behind all of a file."""
        self.counts[name_of(path)]["wrong"] += wrong is not None
        if wrong:
            self.report.fails(f"{what}: tables at the end", wrong)
        else:
            self.report.passes(f"{what}: tables at the end")

    def compare_tables(self, tables, what):
        ours, theirs = self.sides("simple")
        for table in tables:
            st = Statement(f"SELECT * FROM {table}", None, [], 0)
            verdict, words = self.run_statement(st, ours, theirs)
            if verdict == "same":
                self.report.passes(f"{what}: table {table} at the end")
            else:
                self.report.fails(f"{what}: table {table} at the end", words)
        ours.close()
        theirs.close()

    def run_files(self, runs, only):
        """runs: (shards, mode) in the order of shards."""
        def files(folder):
            return [p for p in sorted(glob.glob(os.path.join(HERE, folder, "*.sql"))) if only in p]
        reads, writes, changes = files("statements/read"), files("statements"), files("statements/write")
        for shards in dict.fromkeys(n for n, _ in runs):
            self.use(shards)
            modes = [mode for n, mode in runs if n == shards]
            for mode in modes if shards == USUAL[0][0] or only else ():
                for path in writes:
                    self.fill()
                    self.run_file(path, mode)
                    self.compare_tables(TABLES, f"{shards} shards, {mode}, {os.path.basename(path)[:-4]}")
            if reads:
                self.fill(rich=True)
            for mode in modes:
                for path in reads:
                    self.run_file(path, mode)
            if reads:
                self.compare_tables(TABLES + RICH_TABLES, f"{shards} shards")
            lists = Lists(self)
            if changes:
                lists.ready()
            for mode in modes[:1]:  # they are many
                for path in changes:
                    lists.run_file(path, mode, parse_file, self.judged)
        self.stop()
        for line in self.complaints:
            self.report.fails("sanitizers and checks", line)

    def write_marks(self):
        """The word refused before what was refused anywhere; no mark at what was answered everywhere."""
        for path, verdicts in self.seen.items():
            with open(path, encoding="utf-8") as f:
                lines = f.read().split("\n")
            for st in reversed(parse_file(path)):
                first = st.line - 1 - st.sql.count("\n") - len(st.words)
                seen = verdicts.get(st.line, set())
                if "refused" in seen and not st.has("refused"):
                    lines.insert(first, "-- refused")
                    continue
                for word, verdict in (("refused", "refused"), ("defect", "wrong")):
                    at = first + st.words.index(word) if st.has(word) else 0
                    if seen and verdict not in seen and lines[at] == f"-- {word}":
                        del lines[at]
                        st.words.remove(word)
            with open(path, "w", encoding="utf-8") as f:
                f.write("\n".join(lines))

    def summary(self):
        total = Counter()
        for name, counts in sorted(self.counts.items()):
            total += counts
            print(f"compare: {name:<16} " + ", ".join(f"{counts[v]} {v}" for v in ("same", "refused", "wrong")))
        everything = sum(total.values())
        if everything:
            print(f"compare: {everything} answers: {total['same']} same, {total['refused']} refused "
                  f"({100 * total['refused'] / everything:.2f}%), {total['wrong']} wrong")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--shards", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--refused", action="store_true", help="list what was refused")
    parser.add_argument("--write", action="store_true", help="put the word refused, remove it and the word defect, as it was seen")
    args = parser.parse_args()
    pg.stop_on_signals()
    runs = [(n, m) for n, m in USUAL if (args.mode or m) == m and (args.shards is None or n in args.shards)]
    if args.mode or args.shards:
        runs = [(n, args.mode or "simple") for n in args.shards or [3]] if not runs or args.mode else runs
    report = Report(args.verbose)
    with pg.Fleet() as fleet:
        compare = Compare(fleet, args.build, report, max(n for n, _ in runs))
        compare.run_files(runs, args.only)
        for where, st, message in compare.refused if args.refused else ():
            print(f"refused  {where}:{st.line}: {st.sql}\n         {message.splitlines()[0]}")
        for (path, line), st in sorted(compare.news.items()):
            if "refused" not in compare.seen[path][line]:
                print(f"compare: answered now, the word refused can go: {path}:{line}: {st.sql[:100]}")
        compare.summary()
        if args.write:
            compare.write_marks()
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
