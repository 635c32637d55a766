#!/usr/bin/env python3
"""Compare shardmap's keys with a real PostgreSQL; exit 0 when nothing differs.

Goal: a row is placed where the server's own partition hash says, whatever form its key came in,
and a bound is read as the server reads it.
Method: make random values; key_check (C, the code under test) writes down hash, bucket, value or
order of each; both go into tables of the server, and SQL counts the differences:
  hash     hash<type>extended() and satisfies_hash_partition(), single and composite keys
  read     text in good and in broken forms. What shardmap accepts the server must accept with the
           same value, under any DateStyle and TimeZone; and good forms must be accepted. For int8 and
           uuid the server's word counts both ways.
  compare  order of date, timestamp, int8, uuid, and of text under the collation "C"
"""

import argparse
import random
import subprocess
import sys
import time

SEED = 8816678312871386365  # HASH_PARTITION_SEED
INT_RANGE = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
FUNCTION = {
    "int2": "hashint2extended",
    "int4": "hashint4extended",
    "int8": "hashint8extended",
    "text": "hashtextextended",
    "varchar": "hashtextextended",
    "uuid": "uuid_hash_extended",
}
HASH_KEYS = [["int2"], ["int4"], ["int8"], ["text"], ["varchar"], ["uuid"], ["int8", "text"],
             ["uuid", "int4"], ["int4", "varchar", "uuid"]]
SEND = {
    "date": "date_send",
    "timestamp": "timestamp_send",
    "timestamptz": "timestamptz_send",
    "int8": "int8send",
    "uuid": "uuid_send",
}
TIMES = ("date", "timestamp", "timestamptz")
SPACES = " \t\n\r\f\v"
ASCII = [chr(c) for c in range(1, 128)]
# One, two, three and four bytes in UTF-8 in about equal parts; no surrogates.
UNICODE = [chr(c) for c in (*list(range(1, 0x80)) * 16, *range(0x80, 0x800),
                            *range(0x800, 0xD800, 23), *range(0xE000, 0x10000, 23),
                            *range(0x10000, 0x110000, 499))]


class Values:
    """Random values as the text a client might send."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def spaces(self):
        return "".join(self.r.choice(SPACES) for _ in range(self.r.choice((0, 0, 0, 1, 2))))

    def number(self, limit):
        kind = self.r.randrange(4)
        if kind == 0:
            v = self.r.randrange(-limit, limit)
        elif kind == 1:
            v = self.r.randrange(-1000, 1000)
        elif kind == 2:
            v = self.r.choice((0, -1, 1, limit - 1, -limit, -limit + 1))
        else:
            bits = self.r.randrange(limit.bit_length())
            v = min(self.r.getrandbits(bits + 1), limit - 1) * self.r.choice((1, -1))
        sign = "-" if v < 0 else self.r.choice(("", "", "+"))
        zeros = "0" * self.r.choice((0, 0, 0, 1, 3))
        return self.spaces() + sign + zeros + str(abs(v)) + self.spaces()

    def text(self):
        kind = self.r.randrange(32)
        if kind == 0:
            return ""
        n = self.r.randrange(1000 if kind < 3 else 40)
        return "".join(self.r.choices(ASCII if kind < 20 else UNICODE, k=n))

    def uuid(self):
        h = "%032x" % self.r.getrandbits(128)
        kind = self.r.randrange(5)
        if kind == 0:
            h = h.upper()
        if kind == 1:
            return h
        if kind == 2:
            return "{" + h + "}"
        if kind == 3:
            out = "".join(h[i:i + 4] + self.r.choice(("", "-")) for i in range(0, 28, 4))
            return out + h[28:]
        return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))

    def of(self, kind):
        if kind in INT_RANGE:
            return self.number(INT_RANGE[kind])
        if kind == "uuid":
            return self.uuid()
        if kind in TIMES:
            return self.moment(kind, True)
        return self.text()

    def date(self, good):
        year = self.r.choice((self.r.randrange(1900, 2100), self.r.randrange(1, 10000),
                              self.r.randrange(1, 10000), self.r.randrange(1, 294277)))
        month = self.r.randrange(1, 13)
        day = self.r.randrange(1, 29)
        if not good and self.r.randrange(2):
            year = self.r.choice((0, 99, 4713, 4714, 4715, 294276, 294277, 5874897, 5874898))
            month = self.r.randrange(0, 14)
            day = self.r.randrange(0, 33)
        form = self.r.choice(("%04d-%02d-%02d", "%04d-%02d-%02d", "%04d-%d-%d"))
        return form % (year, month, day), year

    def clock(self, good):
        hour, minute, second = (self.r.randrange(24), self.r.randrange(60), self.r.randrange(60))
        if self.r.randrange(50) == 0:
            hour, minute, second = self.r.choice(((24, 0, 0), (23, 59, 60), (0, 0, 60)))
        if not good and self.r.randrange(3) == 0:
            hour, minute, second = (self.r.randrange(26), self.r.randrange(62), self.r.randrange(63))
        out = "%02d:%02d" % (hour, minute)
        if self.r.randrange(6) == 0 and second != 60:
            return out
        out += ":%02d" % second
        if self.r.randrange(2) and hour != 24 and second != 60:
            digits = self.r.choice((1, 3, 6, 6, 7, 9, 15)) if good else self.r.randrange(18)
            out += "." + "".join(self.r.choice("0123456789459") for _ in range(digits))
            if self.r.randrange(8) == 0:  # halves of a microsecond
                out = out.split(".")[0] + ".%06d5" % self.r.randrange(10**6)
        return out

    def zone(self):
        h = self.r.randrange(16)
        m, s = self.r.randrange(60), self.r.randrange(60)
        z = self.r.choice(("%02d", "%d", "%02d:%02d", "%02d%02d", "%02d:%02d:%02d"))
        z = z % (h, m, s)[:z.count("%")]
        return self.r.choice(("Z", "z", "+" + z, "-" + z, "+00"))

    def moment(self, kind, good):
        pick = self.r.randrange(40)
        if pick == 0:
            return self.spaces() + self.r.choice(("infinity", "-infinity", "Infinity", "epoch",
                                                  "-INFINITY")) + self.spaces()
        date, year = self.date(good)
        out = self.spaces() + date
        if kind == "timestamptz" or self.r.randrange(4):
            out += self.r.choice((" ", " ", "T", "t", "  ", "\t")) + self.clock(good)
            if kind == "timestamptz" or self.r.randrange(4) == 0:
                out += self.r.choice(("", "", " ")) + self.zone()
        if self.r.randrange(10) == 0 and (year < 4713 or not good):
            out += " " + self.r.choice(("BC", "bc", "AD", "BC"))
        return out + self.spaces()

    def broken(self, kind):
        """A value with one to three characters changed."""
        text = list(self.moment(kind, False) if kind in TIMES else self.of(kind))
        alphabet = {"int8": "0123456789+- x._e\t", "uuid": "0123456789abcdefABCDEF-{} g"}
        letters = alphabet.get(kind, "0123456789-:+. TZzbBcCaAdDpPmM/,\tinfinityepoch")
        for _ in range(self.r.randrange(4)):
            at = self.r.randrange(len(text) + 1)
            change = self.r.randrange(3)
            if change == 0:
                text.insert(at, self.r.choice(letters))
            elif at < len(text) and change == 1:
                del text[at]
            elif at < len(text):
                text[at] = self.r.choice(letters)
        if kind == "int8" and self.r.randrange(3) == 0:
            text = list(str(self.r.choice((2**63, -2**63 - 1, 10**19, -10**25, 2**63 - 1, -2**63))))
        return "".join(text)


SPECIAL = ["today", "now", "tomorrow", "yesterday", "allballs", "2026-01-01 10:00 Europe/Warsaw",
           "2026-01-01 10:00 PST", "Jan 5 2026", "5 Jan 2026", "01/02/2026", "1-2-2026", "26-01-02",
           "20260102", "20260102T101112", "2026.005", "J2451545", "2026-01-01 10:00 AM",
           "2026-01-01 10:00 PM", "2026-01-01 10 PM", "", " ", "2026-01", "2026-W01-1",
           "2026-01-01 10:00:00.", "2026-01-01T", "infinityx", "+infinity", "- infinity",
           "2026-02-29", "2024-02-29", "1900-02-29", "2000-02-29", "0004-02-29 BC", "0005-02-29 BC",
           "0001-02-29 BC", "0000-01-01", "4714-11-24 BC", "4714-11-23 BC", "5874897-12-31",
           "5874898-01-01", "294276-12-31 23:59:59.999999", "294277-01-01 00:00:00",
           "294276-12-31 23:59:59.9999999", "4714-11-24 00:00:00 BC", "4714-11-23 23:59:59 BC",
           "294277-01-01 00:00:00+01", "294276-12-31 23:00:00-01", "294276-12-31 23:00:00-02",
           "4714-11-24 00:00:00+01 BC", "4714-11-23 23:00:00-01 BC", "4714-11-23 23:00:00-02 BC",
           "2026-01-01 10:00:00+16", "2026-01-01 10:00:00+15:59:59", "2026-01-01 10:00:00+0560",
           "2026-01-01 10:00+530", "2026-01-01 10:00+05:3", "2026-01-01 1:2:3", "2026-01-01 10:00Z BC",
           "2026-01-01 24:00:00.000001", "2026-01-01 23:59:60.5", "2026-01-01 23:59:59.9999999+00",
           "2026-01-01 10:00 BC +05", "2026-01-01 BC 10:00+05", "99999999-01-01", "2026-001-01",
           "2026-01-01+05", "2026-01-01Z", "2026-01-01 Z", "2026-01-01 10:00 z ", "2026-01-01 10:00T",
           "2026-01-01 10:00:00 + 05", "2026-01-01 10:00:00+05 +06", "2026-01-01\u00a010:00"]


class Server:
    def __init__(self, args):
        self.command = [args.psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", args.socket,
                        "-U", "postgres", "-d", "postgres"]

    def run(self, sql, data=None):
        done = subprocess.run(self.command + ["-c", sql], input=data, capture_output=True, check=False)
        if done.returncode != 0:
            sys.exit("psql: %s\n%s" % (sql, done.stderr.decode()))
        return done.stdout.decode().strip()

    def load(self, table, lines):
        self.run("COPY %s FROM STDIN" % table, "".join(lines).encode())


class Check:
    def __init__(self, args):
        self.args = args
        self.server = Server(args)
        self.values = Values(args.seed)
        self.differences = 0

    def ask(self, operation, kinds, rows):
        """Rows of texts -> (input lines for COPY, key_check's lines)."""
        head = "\t%s\t%s\t" % (operation, ",".join(kinds))
        given = []
        asked = []
        for i, row in enumerate(rows):
            hexes = "\t".join(text.encode().hex() for text in row)
            given.append("%d\t%s\n" % (i, hexes))
            asked.append(str(i) + head + hexes + "\n")
        done = subprocess.run([self.args.key_check], input="".join(asked).encode(),
                              capture_output=True, check=False)
        if done.returncode != 0:
            sys.exit("key_check: " + done.stderr.decode())
        answers = done.stdout.decode().splitlines(keepends=True)
        if len(answers) != len(rows):
            sys.exit("key_check answered %d of %d lines" % (len(answers), len(rows)))
        return given, answers

    def tables(self, columns, answer_columns, given, answers):
        hexes = ", ".join("h%d text" % i for i in range(columns))
        self.server.run("DROP TABLE IF EXISTS given, answers; CREATE UNLOGGED TABLE given (id int, %s); "
                        "CREATE UNLOGGED TABLE answers (id int, %s)" % (hexes, answer_columns))
        self.server.load("given", given)
        self.server.load("answers", answers)

    def report(self, what, count, different, started):
        self.differences += different
        print("  %-32s %7d values  %d differences  %.1f s" %
              (what, count, different, time.monotonic() - started), flush=True)

    def show(self, query):
        print(self.server.run(query + " LIMIT 5"))

    @staticmethod
    def cast(column, kind):
        return "convert_from(decode(%s, 'hex'), 'UTF8')::%s" % (column, kind)

    def check_hash(self, kinds, count):
        started = time.monotonic()
        rows = [[self.values.of(k) for k in kinds] for _ in range(count)]
        given, answers = self.ask("hash", kinds, rows)
        self.tables(len(kinds), "hash int8, bucket int", given, answers)
        columns = ", ".join("c%d %s" % (i, k) for i, k in enumerate(kinds))
        names = ", ".join("c%d" % i for i in range(len(kinds)))
        casts = ", ".join("%s AS c%d" % (self.cast("h%d" % i, k), i) for i, k in enumerate(kinds))
        self.server.run("DROP TABLE IF EXISTS parted; CREATE TABLE parted (%s) PARTITION BY HASH (%s)" %
                        (columns, names))
        wrong = ("FROM (SELECT id, %s FROM given) v LEFT JOIN answers a USING (id) WHERE a.hash IS DISTINCT "
                 "FROM %s(c0, %d) OR satisfies_hash_partition('parted'::regclass, 4096, a.bucket, %s) "
                 "IS NOT TRUE" % (casts, FUNCTION[kinds[0]], SEED, names))
        different = int(self.server.run("SELECT count(*) " + wrong))
        self.report("hash " + ",".join(kinds), count, different, started)
        if different:
            self.show("SELECT v.*, a.hash, a.bucket " + wrong)

    def check_read(self, kind, good, rows, settings):
        started = time.monotonic()
        given, answers = self.ask("read", [kind], [[text] for text in rows])
        self.tables(1, "ours text", given, answers)
        self.server.run(
            "CREATE OR REPLACE FUNCTION theirs(v text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN "
            "RETURN encode(%s(v::%s), 'hex'); EXCEPTION WHEN OTHERS THEN RETURN '-'; END $$" %
            (SEND[kind], kind))
        strict = good or kind in ("int8", "uuid")
        wrong = ("FROM (SELECT id, convert_from(decode(h0, 'hex'), 'UTF8') AS v FROM given) g "
                 "LEFT JOIN answers a USING (id), LATERAL (SELECT theirs(v)) t "
                 "WHERE ours IS DISTINCT FROM theirs AND (%s OR ours IS DISTINCT FROM '-')" % strict)
        different = int(self.server.run(settings + "SELECT count(*) " + wrong).splitlines()[-1])
        accepted = int(self.server.run("SELECT count(*) FROM answers WHERE ours <> '-'"))
        if good and accepted != len(rows):
            different += len(rows) - accepted
            self.show("SELECT convert_from(decode(h0, 'hex'), 'UTF8') FROM given JOIN answers USING (id) "
                      "WHERE ours = '-'")
        name = "read %s, %s" % (kind, "good forms" if good else "%d accepted" % accepted)
        self.report(name, len(rows), different, started)
        if different:
            self.show(settings + "SELECT v, ours, theirs(v) " + wrong)

    def check_compare(self, kind, count):
        started = time.monotonic()
        rows = []
        for _ in range(count):
            a, b = self.values.of(kind), self.values.of(kind)
            if self.values.r.randrange(10) == 0:
                b = a if kind == "text" else a.upper()
            rows.append([a, b])
        given, answers = self.ask("compare", [kind], rows)
        self.tables(2, "ours text", given, answers)
        a, b = self.cast("h0", kind), self.cast("h1", kind)
        if kind == "text":
            a, b = "(%s) COLLATE \"C\"" % a, "(%s) COLLATE \"C\"" % b
        wrong = ("FROM (SELECT id, %s AS a, %s AS b FROM given) g LEFT JOIN answers USING (id) WHERE ours IS "
                 "DISTINCT FROM CASE WHEN a < b THEN '-1' WHEN a = b THEN '0' ELSE '1' END" % (a, b))
        different = int(self.server.run("SELECT count(*) " + wrong))
        self.report("compare " + kind, count, different, started)
        if different:
            self.show("SELECT a, b, ours " + wrong)

    def run(self):
        for kinds in HASH_KEYS:
            self.check_hash(kinds, self.args.count)
        few = max(self.args.count // 10, 1)
        elsewhere = "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kathmandu'; "
        for kind in TIMES:
            good = [self.values.moment(kind, True) for _ in range(few)]
            self.check_read(kind, True, good, "")
            self.check_read(kind, True, good, elsewhere)
        for kind in TIMES + ("int8", "uuid"):
            broken = [self.values.broken(kind) for _ in range(few)] + SPECIAL
            self.check_read(kind, False, broken, elsewhere if kind in TIMES else "")
        for kind in TIMES + ("int8", "uuid", "text"):
            self.check_compare(kind, few)
        return self.differences


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--key-check", required=True)
    parser.add_argument("--psql", default="psql")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--count", type=int, default=100000, help="values per type of key")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other values; 0: by the clock")
    args = parser.parse_args()
    args.seed = args.seed or int(time.time())
    print("shardmap keys against the server, seed %d" % args.seed)
    differences = Check(args).run()
    print("%d differences" % differences)
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
