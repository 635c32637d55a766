#!/usr/bin/env python3
"""Values and numeric arithmetic of wire/ against a real server: texts must be equal, all of them.

usage: value_check.py [--build DIR] [--psql "COMMAND"] [--seed N] [--count N]

Needs a running server (--psql says how to reach it) and the libraries of `make` in DIR.
"""

import argparse
import os
import random
import shlex
import struct
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FAILURES = []


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--psql", default="psql -h 127.0.0.1 -U postgres postgres")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20000)
    return parser.parse_args()


def build_tool(build):
    tool = os.path.join(build, "value_tool")
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-I.", "-o", tool,
               "regress/wire/value_tool.c", f"{build}/libwire.a", f"{build}/libbase.a", "-pthread", "-lm"]
    if "asan" in build:
        command.insert(1, "-fsanitize=address,undefined")
    subprocess.run(command, cwd=ROOT, check=True)
    return os.path.join(ROOT, tool)


class Server:
    def __init__(self, psql):
        self.command = shlex.split(psql) + ["-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1"]

    def rows(self, table, columns, lines, query):
        """Load lines into a temporary table and return the query's rows as lists of texts."""
        script = f"create temp table {table} ({columns});\ncopy {table} from stdin;\n"
        script += "".join(line + "\n" for line in lines) + "\\.\n" + query + ";\n"
        out = subprocess.run(self.command, input=script, capture_output=True, text=True)
        if out.returncode != 0:
            sys.exit(f"server: {out.stderr[:2000]}")
        return [line.split("\t") for line in out.stdout.splitlines()]


def ask(tool, lines):
    out = subprocess.run([tool], input="".join(line + "\n" for line in lines),
                         capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"tool failed: {out.stderr[:2000]}")
    return [line.split("\t") for line in out.stdout.splitlines()]


def compare(what, questions, ours, theirs):
    assert len(questions) == len(ours) == len(theirs), (what, len(questions), len(ours), len(theirs))
    bad = [(q, o, t) for q, o, t in zip(questions, ours, theirs) if o != t]
    print(f"{what}: {len(ours)} compared, {len(bad)} different")
    for q, o, t in bad[:5]:
        print(f"  {q[:300]}\n    ours   {o}\n    server {t}")
    if bad:
        FAILURES.append(what)


def random_numeric(rng, special=True):
    kind = rng.random()
    if special and kind < 0.01:
        return rng.choice(["NaN", "Infinity", "-Infinity"])
    if kind < 0.06:
        return rng.choice(["0", "0.00", "1", "-1", "0.0001", "9999", "10000", "-0.00009999", "99999999",
                           "0.5", "-0.5", "1.0000", "10000.0001", "0.99999999999999999999"])
    whole_max = rng.choice([0, 1, 3, 4, 5, 8, 9, 17, 40, 40, 300])
    part_max = rng.choice([0, 0, 1, 2, 2, 3, 4, 5, 8, 20, 60, 400])
    digits = rng.choice(["0123456789", "0123456789", "09", "0001", "9"])
    whole = "".join(rng.choice(digits) for _ in range(rng.randint(0, whole_max))).lstrip("0") or "0"
    part = "".join(rng.choice(digits) for _ in range(rng.randint(0, part_max)))
    return rng.choice(["", "-"]) + whole + ("." + part if part else "")


def check_groups(server, tool, rng, count):
    groups = [[random_numeric(rng, i % 20 == 0) for _ in range(rng.randint(1, 9))]
              for i in range(count)]
    lines = [f"{i}\t{v}" for i, g in enumerate(groups) for v in g]
    theirs = server.rows("t", "id int, v numeric", lines,
                         "select sum(v), avg(v), encode(numeric_send(sum(v)), 'hex'), "
                         "string_agg(encode(numeric_send(v), 'hex'), ' ') from t "
                         "group by id order by id")
    questions = ["sum\t" + "\t".join(g) for g in groups]
    compare("sum and avg of numeric, text", questions, ask(tool, questions), [t[:3] for t in theirs])
    questions = ["sumhex\t" + t[3].replace(" ", "\t") for t in theirs]
    compare("sum and avg of numeric, binary", questions, ask(tool, questions), [t[:3] for t in theirs])
    theirs = server.rows("t", "id int, v numeric", lines,
                         "select var_pop(v), var_samp(v), stddev_pop(v), stddev_samp(v) from t "
                         "group by id order by id")
    questions = ["spread\t" + "\t".join(g) for g in groups]
    compare("variance and stddev of numeric", questions, ask(tool, questions), theirs)


def check_ints(server, tool, rng, count):
    def one():
        bits = rng.choice([4, 10, 31, 40, 62, 63])
        return rng.randint(-(1 << bits), (1 << bits) - 1)
    groups = [[one() for _ in range(rng.randint(1, 9))] for _ in range(count)]
    lines = [f"{i}\t{v}" for i, g in enumerate(groups) for v in g]
    theirs = server.rows("t", "id int, v int8", lines,
                         "select sum(v), avg(v) from t group by id order by id")
    questions = ["isum\t" + "\t".join(map(str, g)) for g in groups]
    compare("sum and avg of int8", questions, ask(tool, questions), theirs)


def check_pairs(server, tool, rng, count):
    pairs = [(random_numeric(rng), random_numeric(rng)) for _ in range(count)]
    for i in range(0, count, 3):  # quotients that come out even, halves, close neighbours
        a, b = pairs[i]
        pairs[i] = rng.choice([(a, a), (a, str(rng.randint(1, 9))), (a, "2"), (a, a + "0" if "." in a else a),
                               (a, str(rng.randint(1, 10 ** 18)))])
    lines = [f"{i}\t{a}\t{b}" for i, (a, b) in enumerate(pairs)]
    theirs = server.rows("t", "id int, a numeric, b numeric", lines,
                         "select a + b, case when b <> 0 then (a / b)::text else 'NUMERIC_RANGE' end, a * b, "
                         "case when a < b then -1 when a > b then 1 else 0 end from t order by id")
    questions = [f"pair\t{a}\t{b}" for a, b in pairs]
    ours = ask(tool, questions)
    # NaN / 0 is NaN; the CASE above never asks for it
    ours = [[o[0], "NUMERIC_RANGE" if b.strip("-0.") == "" else o[1], *o[2:]]
            for o, (a, b) in zip(ours, pairs)]
    compare("a + b, a / b, a * b, order of numeric", questions, ours, theirs)


def random_float(rng, fmt, size):
    kind = rng.random()
    if kind < 0.4:
        bits = rng.getrandbits(8 * size)
        return struct.unpack(fmt, bits.to_bytes(size, "big"))[0]
    if kind < 0.5:
        v = rng.choice([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e15, 1e14, 123456.0, 1e6,
                        1e5, 1e-4, 1e-5, 999999999999999.0, 0.1, 0.3, 5e-324 if size == 8 else 1e-45])
    elif kind < 0.7:
        v = 2.0 ** rng.randint(-1074 if size == 8 else -149, 1023 if size == 8 else 127)
    elif kind < 0.85:
        v = rng.randint(-10 ** 6, 10 ** 6) / 10 ** rng.randint(0, 8)
    else:
        v = float(rng.randint(-2 ** 60, 2 ** 60) >> rng.randint(0, 50))
    return struct.unpack(fmt, struct.pack(fmt, v))[0]


def check_floats(server, tool, rng, count, name, fmt, size):
    values = [random_float(rng, fmt, size) for _ in range(count)]
    lines = [f"{i}\t{repr(v).replace('inf', 'Infinity')}" for i, v in enumerate(values)]
    theirs = server.rows("t", f"id int, v {name}", lines,
                         f"select v, encode({name}send(v), 'hex') from t order by id")
    questions = [f"{name}\t{t[1]}" for t in theirs]
    sent = [struct.pack(fmt, v).hex() for v in values]
    same = sum(s == t[1] or v != v for s, t, v in zip(sent, theirs, values))
    print(f"  ({same} of {count} reached the server bit by bit)")
    compare(f"text of {name}", questions, ask(tool, questions), [t[:1] for t in theirs])


# type, oid, expression that makes a random value, formats
TYPES = [
    ("bool", 16, "random() < 0.5", (0, 1)),
    ("int2", 21, "(random() * 65535 - 32768)::int2", (0, 1)),
    ("int4", 23, "(random() * 200 - 100)::int4", (0, 1)),
    ("int8", 20, "((random() - 0.5) * 1e18)::int8", (0, 1)),
    ("oid", 26, "((random() * 4294967295)::int8)::oid", (0, 1)),
    ("float4", 700, "(array['NaN','Infinity','-Infinity','0','-0',(random()*10)::text,'1.5'])[1+(random()*6)::int]::float4", (0, 1)),
    ("float8", 701, "(array['NaN','Infinity','-Infinity','0','-0',(random()*10)::text,'1.5'])[1+(random()*6)::int]::float8", (0, 1)),
    ("numeric", 1700, "(array['NaN','Infinity','-Infinity','0','1.0','1.00',((random()-0.5)*10)::text])[1+(random()*6)::int]::numeric", (0, 1)),
    ("text", 25, "substr(md5(random()::text), 1, (random()*4)::int) collate \"C\"", (0, 1)),
    ("varchar", 1043, "substr('äöüßé', (random()*4)::int, (random()*4)::int) collate \"C\"", (0, 1)),
    ("name", 19, "substr(md5(random()::text), 1, (random()*3)::int)::name", (0, 1)),
    ("bpchar", 1042, "(substr('a b c ', (random()*4)::int, (random()*4)::int))::bpchar collate \"C\"", (0, 1)),
    ("bytea", 17, "decode(substr(md5(random()::text), 1, 2*(random()*3)::int), 'hex')", (0, 1)),
    ("date", 1082, "date '2000-01-01' + ((random()-0.5)*100)::int", (1,)),
    ("time", 1083, "(array[time '24:00', time '00:00', time '12:00:00.5', time '12:00:00.05', time '00:00' + random() * interval '1 day'])[1+(random()*4)::int]", (0, 1)),
    ("timestamp", 1114, "(array[timestamp 'infinity', timestamp '-infinity', timestamp '2000-01-01' + (random()-0.5) * interval '1 year'])[1+(random()*2)::int]", (1,)),
    ("timestamptz", 1184, "timestamptz '2000-01-01' + (random()-0.5) * interval '1 year'", (1,)),
    ("uuid", 2950, "('00000000-0000-000' || (random()*3)::int || '-0000-00000000000' || (random()*9)::int)::uuid", (0, 1)),
]


def check_orders(server, tool, count):
    for name, oid, make, formats in TYPES:
        send = "uuid_send" if name == "uuid" else {
            "date": "date_send", "time": "time_send", "timestamp": "timestamp_send",
            "timestamptz": "timestamptz_send", "numeric": "numeric_send"}.get(name, name + "send")
        theirs = server.rows(
            "t", f"a {name}, b {name}", [],
            f"insert into t select {make}, {make} from generate_series(1, {count}) i; "
            f"insert into t select a, a from t limit 50; "
            f"select case when a < b then -1 when a > b then 1 else 0 end, a, b, "
            f"encode({send}(a), 'hex'), encode({send}(b), 'hex') from t where a is not null and b is not null")
        for fmt in formats:
            at = 3 if fmt == 1 else 1
            questions = [f"cmp\t{oid}\t{fmt}\t{t[at]}\t{t[at + 1]}" for t in theirs]
            compare(f"order of {name}, format {fmt}", questions, ask(tool, questions),
                    [t[:1] for t in theirs])


def main():
    args = parse_args()
    rng = random.Random(args.seed)
    tool = build_tool(args.build)
    server = Server(args.psql)
    check_groups(server, tool, rng, args.count)
    check_ints(server, tool, rng, args.count)
    check_pairs(server, tool, rng, args.count)
    check_floats(server, tool, rng, args.count * 5 // 2, "float8", ">d", 8)
    check_floats(server, tool, rng, args.count * 5 // 2, "float4", ">f", 4)
    check_orders(server, tool, max(args.count // 40, 20))
    sys.exit(1 if FAILURES else 0)


if __name__ == "__main__":
    main()
