#!/usr/bin/python3
"""The same statements to one plain PostgreSQL and to pgbraid over three: same answers, or 0A000.

Goal: never silently wrong. Each file of statements/ is a session: its statements run one after the
other on both sides, and everything a client can see is compared: SQLSTATE, command tag, columns
with their types, rows (as they come with ORDER BY, else as a multiset), at the end all tables.
Statements end with ';' at the end of a line. Comments before one say what is special about it:
    -- refused      pgbraid may answer 0A000; other statements may not
    -- unordered    ORDER BY is there but does not order the whole result
    -- rows differ  only column names, types and the number of rows are compared (random values)
    -- only plain   is for the mode simple (several statements at once, COPY)
    -- in order     rows are compared in order, though there is no ORDER BY
    -- params ...   Python values for the %s of the statement: written into it in the mode simple,
                    sent in binary or (prepared) in text in the others
A statement that pgbraid refuses is not run on the other side (in a transaction, a failing one is).

    compare.py [--build DIR] [--mode simple|binary|prepared] [--only FILE] [--verbose] [--refused]
"""

import argparse
import glob
import io
import os
import re
import sys
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import psycopg  # noqa: E402
import psycopg2  # noqa: E402

import pg  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Report  # noqa: E402
from world import SCHEMA, TABLES, for_plain, rows  # noqa: E402

MODES = ("simple", "binary", "prepared")


VALUES = {"Decimal": Decimal, "UUID": UUID, "date": date, "datetime": datetime}


def values_of(text):
    """The values of a line of ours, not of anybody else."""
    return list(eval(f"({text},)", VALUES))  # pylint: disable=eval-used


class Statement:
    def __init__(self, sql, data, words, line):
        self.sql, self.data, self.words, self.line = sql, data, words, line
        upper = sql.upper()
        self.ordered = ("ORDER BY" in upper and "unordered" not in words) or "in order" in words
        self.params = next((values_of(w[7:]) for w in words if w.startswith("params ")), None)
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


class Answer:
    def __init__(self, code=None, tag=None, columns=None, rows=None, message=""):
        self.code, self.tag, self.columns, self.rows, self.message = code, tag, columns, rows, message

    def differs(self, other, statement):
        """What is different, or None."""
        if self.code != other.code:
            return f"SQLSTATE {self.code} against {other.code}: {self.message or other.message}"
        if self.tag != other.tag:
            return f"tag {self.tag} against {other.tag}"
        if self.columns != other.columns:
            return f"columns {self.columns} against {other.columns}"
        if self.rows is None or other.rows is None:
            return None if self.rows == other.rows else "rows against none"
        if not statement.values:
            return None if len(self.rows) == len(other.rows) else "number of rows"
        if statement.ordered and self.rows != other.rows:
            at = next((i for i, (a, b) in enumerate(zip(self.rows, other.rows)) if a != b),
                      min(len(self.rows), len(other.rows)))
            return (f"{len(self.rows)} rows against {len(other.rows)}, first difference in row {at + 1}: "
                    f"{self.rows[at:at + 1]} against {other.rows[at:at + 1]}")
        mine, theirs = Counter(self.rows), Counter(other.rows)
        if mine != theirs:
            return (f"rows only of pgbraid: {list((mine - theirs).elements())[:3]}, "
                    f"only of PostgreSQL: {list((theirs - mine).elements())[:3]}")
        return None


def read_as_text():
    """psycopg2 hands out values as the server wrote them."""
    for oid in list(psycopg2.extensions.string_types):
        psycopg2.extensions.register_type(
            psycopg2.extensions.new_type((oid,), "TEXT", lambda value, cursor: value))


def columns_of(cursor):
    """Names and types; types of the user's own have another number on every server."""
    return [(c.name, c.type_code if c.type_code < 16384 else "own") for c in cursor.description]


def plain_row(row):
    return tuple(repr(v) for v in row)


class SimpleSide:
    """psycopg2: the simple protocol, text."""

    def __init__(self, port):
        self.connection = psycopg2.connect(host="127.0.0.1", port=port, dbname="app", user="app")
        self.connection.autocommit = True

    def close(self):
        self.connection.close()

    def run(self, sql, data=None, params=None):
        with self.connection.cursor() as cursor:
            try:
                if data is not None:
                    cursor.copy_expert(sql, io.StringIO(data))
                    return Answer(tag=f"COPY {cursor.rowcount}")
                if re.match(r"COPY\b.*\bTO STDOUT", sql, re.S):
                    out = io.StringIO()
                    cursor.copy_expert(sql, out)
                    return Answer(tag=f"COPY {cursor.rowcount}",
                                  rows=[(line,) for line in out.getvalue().splitlines()])
                cursor.execute(sql, params)
            except psycopg2.Error as e:
                return Answer(e.pgcode or "none", message=str(e))
            columns = rows_got = None
            if cursor.description is not None:
                columns = columns_of(cursor)
                rows_got = [plain_row(r) for r in cursor.fetchall()]
            return Answer(None, cursor.statusmessage, columns, rows_got)


class ExtendedSide:
    """psycopg 3: the extended protocol, binary results; prepared ones are run twice."""

    def __init__(self, port, prepared):
        self.connection = psycopg.connect(f"host=127.0.0.1 port={port} dbname=app user=app", autocommit=True)
        self.prepared = prepared

    def close(self):
        self.connection.close()

    def execute(self, sql, params):
        if params is not None:
            sql = re.sub(r"(?<!%)%s", "%t" if self.prepared else "%b", sql)
        with self.connection.cursor(binary=True) as cursor:
            try:
                cursor.execute(sql, params, prepare=self.prepared)
                columns = rows_got = None
                if cursor.description is not None:
                    columns = columns_of(cursor)
                    rows_got = [plain_row(r) for r in cursor.fetchall()]
                return Answer(None, cursor.statusmessage, columns, rows_got)
            except psycopg.Error as e:
                return Answer(e.sqlstate or f"none: {type(e).__name__}", message=str(e))

    def run(self, sql, data=None, params=None):
        del data
        answer = self.execute(sql, params)
        if self.prepared and answer.code is None and sql.lstrip()[:6].upper() == "SELECT" and answer.rows is not None:
            again = self.execute(sql, params)
            if again.code is not None:
                return again
        return answer


class Compare:
    def __init__(self, fleet, args, report):
        self.report = report
        self.args = args
        self.counts = Counter()
        self.refused = []
        self.news = []  # marked as refused, but answered
        self.plain, *self.shards = fleet.start(4)
        for server in (self.plain, *self.shards):
            pg.prepare(server)
        self.complaints = []
        self.braid = Braid(os.path.join(fleet.folder, "braid"), config_for(self.shards), build=args.build)
        fleet.at_end.append(self.braid.kill)

    def stop(self):
        status = self.braid.stop()
        if status not in (0, None):
            self.complaints.append(f"exit status {status}")

    def fill(self):
        """Both sides as new."""
        self.stop()
        for server in (self.plain, *self.shards):
            server.sql("DROP OWNED BY app CASCADE", "app")  # tables and schemas of ours, all of them
        self.braid.start()
        lines = rows()
        for side in (SimpleSide(self.plain.port), SimpleSide(self.braid.port)):
            ours = side.connection.info.port == self.braid.port
            for sql in SCHEMA:
                self.must(side.run(sql if ours else for_plain(sql)))
            for table in TABLES:
                self.must(side.run(f"COPY {table} FROM STDIN", "".join(f"{line}\n" for line in lines[table])))
            side.close()

    @staticmethod
    def must(answer):
        if answer.code is not None:
            raise RuntimeError(f"{answer.code} {answer.message}")

    def side(self, mode, port):
        return SimpleSide(port) if mode == "simple" else ExtendedSide(port, mode == "prepared")

    def run_statement(self, st, ours, theirs, mode):
        """What is wrong, or None."""
        mine = ours.run(st.sql, st.data, st.params)
        if mine.code == "0A000":
            self.counts["refused"] += 1
            self.refused.append((st, mine.message))
            if theirs.connection.info.transaction_status in (2, 3):
                theirs.run("SELECT 1/0")
            if st.has("refused"):
                return None
            return f"refused: {mine.message}"
        if st.has("refused"):
            self.news.append(st)
        real = theirs.run(for_plain(st.sql), st.data, st.params)
        self.counts["same"] += 1
        if real.code == "0A000" and "cached plan must not change" in real.message:
            return None  # a server's statement that outlived its table; ours are made anew
        return mine.differs(real, st)

    def run_file(self, path, mode):
        name = os.path.basename(path)[:-4]
        ours, theirs = self.side(mode, self.braid.port), self.side(mode, self.plain.port)
        for st in parse_file(path):
            if st.has("only plain") and mode != "simple":
                continue
            what = f"{mode} {name}:{st.line}: {st.sql[:100]!r}"
            wrong = self.run_statement(st, ours, theirs, mode)
            if wrong is None:
                self.report.passes(what)
            else:
                self.report.fails(what, wrong)
        ours.close()
        theirs.close()
        self.compare_tables(f"{mode} {name}")

    def compare_tables(self, what):
        ours, theirs = SimpleSide(self.braid.port), SimpleSide(self.plain.port)
        for table in TABLES:
            st = Statement(f"SELECT * FROM {table}", None, [], 0)
            wrong = ours.run(st.sql).differs(theirs.run(st.sql), st)
            if wrong is None:
                self.report.passes(f"{what}: table {table} at the end")
            else:
                self.report.fails(f"{what}: table {table} at the end", wrong)
        ours.close()
        theirs.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--refused", action="store_true", help="list what was refused")
    args = parser.parse_args()
    pg.stop_on_signals()
    read_as_text()
    report = Report(args.verbose)
    with pg.Fleet() as fleet:
        compare = Compare(fleet, args, report)
        for mode in [args.mode] if args.mode else MODES:
            for path in sorted(glob.glob(os.path.join(HERE, "statements", "*.sql"))):
                if args.only in path:
                    compare.fill()
                    compare.run_file(path, mode)
        compare.stop()
        for line in compare.complaints + compare.braid.complaints():
            report.fails("sanitizers and checks", line)
        if args.refused:
            for st, message in compare.refused:
                print(f"refused  {st.sql}\n         {message.splitlines()[0]}")
    for st in compare.news:
        print(f"compare: answered now, the word refused can go: {st.sql[:100]}")
    print(f"compare: {compare.counts['same']} answers compared, {compare.counts['refused']} refused")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
