#!/usr/bin/python3
"""Random writes to one PostgreSQL and to pgbraid: the tables of both are equal after every transaction.

A seed gives the same statements again. What pgbraid refuses (0A000) is not run on the other side; SQLSTATE,
tag and rows of RETURNING must be the same, then counts and hashes of all tables (lists.py).

    random_writes.py [--build DIR] [--seed N] [--count N] [--shards N] [--unique]

--unique: some tables have global unique indexes, whose lookup tables have what the tables have after every transaction.
"""

import argparse
import random
import sys
from collections import Counter

from compare import Compare, Statement, pg  # first: it says where the others are

from lists import ALL_TABLES, differences
from report import Report

# table -> key, other columns with values, and a column that is no key to filter by
TABLES = {
    "users": ("id", {"age": "{n}", "name": "{t}", "score": "{n}.25"}, "age"),
    "facts": ("k", {"seq": "{s}", "n": "{n}", "grp": "{s}", "sub": "{t}"}, "n"),
    "marks": ("k", {"tag": "{t}", "w": "{n}"}, "w"),
    "orders": ("user_id", {"id": "{u}", "status": "{t}", "note": "{t}"}, "id"),
    "names": ("name", {"n": "{n}"}, "n"),
    "tree": ("id", {"parent": "{n}", "label": "{t}"}, "parent"),
    "levels": ("lv", {"n": "{n}", "t": "{t}"}, "n"),
    "sites": ("site", {"n": "{n}", "t": "{t}"}, "n"),
    "groups": ("grp", {"title": "{t}"}, "grp"),
    "ledger": ("id", {"k": "{n}", "t": "{t}"}, "k"),
}
TEXT_KEYS = ("names",)
UNIQUE = {"users": ["id"], "facts": ["k", "seq"], "marks": ["k", "tag"], "orders": ["user_id", "id"], "names": ["name"], "tree": ["id"],
          "groups": ["grp"], "ledger": ["id"], "levels": [], "sites": []}
# their keys are of one group: table -> a column of numbers
COLOCATED = {"users": "age", "facts": "n", "marks": "w", "orders": "id"}


class Maker:
    """Statements of one random stream."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.fresh = 20000

    def fill(self, text):
        self.fresh += 1
        r = self.r
        return (text.replace("{n}", str(r.randrange(60))).replace("{s}", str(r.randrange(8))).replace("{u}", str(self.fresh))
                .replace("{t}", r.choice(["'aa'", "'ä'", "''", "NULL", f"'w{r.randrange(9)}'"])))

    def key(self, table):
        number = self.r.choice([self.r.randrange(45), self.r.randrange(45), self.fresh + self.r.randrange(3)])
        return f"'n{number} alpha'" if table in TEXT_KEYS else str(number)

    def value(self, table, column):
        text = self.fill(TABLES[table][1][column])
        return "'x'" if text == "NULL" and column == "tag" else text

    def where(self, table):
        key, _, other = TABLES[table]
        r = self.r
        return r.choice([
            lambda: f"{key} = {self.key(table)}", lambda: f"{key} IN ({self.key(table)}, {self.key(table)}, {self.key(table)})",
            lambda: f"{other} < {r.randrange(12)}", lambda: f"{other} BETWEEN {r.randrange(30)} AND {30 + r.randrange(20)}",
            lambda: f"{other} IN (SELECT age FROM users WHERE id < {r.randrange(30)})",
            lambda: f"{other} = (SELECT max({other}) FROM {table})",
            lambda: f"EXISTS (SELECT 1 FROM groups g WHERE g.grp = {table}.{other})"])()

    def returning(self, table):
        return self.r.choice(["", "", f" RETURNING {TABLES[table][0]}", " RETURNING *"])

    def insert(self, table):
        r, (key, columns, _) = self.r, TABLES[table]
        chosen = [c for c in columns if r.random() < 0.8 or c in UNIQUE[table]]
        head = f"INSERT INTO {table} ({', '.join([key, *chosen])}) "
        if r.random() < 0.3:
            source, from_key, number = r.choice([("users", "id", "age"), ("facts", "k", "n"), ("tree", "id", "parent")])
            shown = [f"'c' || {from_key}" if table in TEXT_KEYS else f"{from_key} + {r.choice((0, 1, 500))}"]
            shown += [f"'s' || {from_key}" if "{t}" in columns[c] else from_key if c in UNIQUE[table] else number for c in chosen]
            body = f"SELECT {', '.join(shown)} FROM {source} WHERE {from_key} < {r.randrange(20)}"
        else:
            body = "VALUES " + ", ".join(f"({', '.join([self.key(table), *(self.value(table, c) for c in chosen)])})"
                                         for _ in range(r.choice((1, 1, 2, 4))))
        conflict = ""
        if UNIQUE[table] and r.random() < 0.4:
            others = [c for c in chosen if c not in UNIQUE[table]]
            conflict = r.choice([" ON CONFLICT DO NOTHING", f" ON CONFLICT ({', '.join(UNIQUE[table])}) DO UPDATE SET "
                                 + ", ".join(f"{c} = excluded.{c}" for c in others) if others else ""])
        return head + body + conflict + self.returning(table)

    def update(self, table):
        r, (key, columns, _) = self.r, TABLES[table]
        changed = r.sample(sorted(columns), min(len(columns), r.choice((1, 1, 2))))
        sets = ", ".join(f"{c} = {self.value(table, c)}" for c in changed)
        if r.random() < 0.15:
            sets += f", {key} = {self.key(table)}" if table in TEXT_KEYS else f", {key} = {key} + {r.choice((0, 1, 100))}"
        if r.random() < 0.2 and table not in TEXT_KEYS:
            return (f"UPDATE {table} SET {sets} FROM countries c WHERE c.code = 'de' AND {table}.{key} = {self.key(table)}"
                    + r.choice([self.returning(table), f" RETURNING {table}.{key}, c.name || '!' AS land, {table}.*"]))
        return f"UPDATE {table} SET {sets} WHERE {self.where(table)}{self.returning(table)}"

    def delete(self, table):
        return f"DELETE FROM {table} WHERE {self.where(table)}{self.returning(table)}"

    def merge_colocated(self, table):
        """Each shard does it for itself."""
        r, (key, columns, other) = self.r, TABLES[table]
        source = r.choice(sorted(COLOCATED))
        column = next(c for c in columns if c not in UNIQUE[table])
        rows = f"SELECT {TABLES[source][0]} AS k, max({COLOCATED[source]}) AS x FROM {source} GROUP BY 1"
        text = (f"MERGE INTO {table} t USING ({rows}) v ON t.{key} = v.k AND t.{other} {r.choice('<>')} {r.randrange(50)} WHEN MATCHED AND v.x "
                f"< {r.randrange(60)} THEN " + r.choice([f"UPDATE SET {column} = {self.value(table, column)}", "DELETE", "DO NOTHING"])
                + f" WHEN MATCHED AND v.x > {30 + r.randrange(30)} THEN UPDATE SET {column} = {self.value(table, column)}")
        if table == "users" and r.random() < 0.5:
            text += f" WHEN NOT MATCHED THEN INSERT ({key}, {column}) VALUES (v.k, {self.value(table, column)})"
        return text

    def merge(self, table):
        if table in COLOCATED and self.r.random() < 0.4:
            return self.merge_colocated(table)
        key, columns, _ = TABLES[table]
        column = next(c for c in columns if c not in UNIQUE[table])
        rows = ", ".join(f"({k}, {self.value(table, column)})" for k in {self.key(table) for _ in range(3)})
        return (f"MERGE INTO {table} t USING (VALUES {rows}) v(k, x) ON t.{key} = v.k WHEN MATCHED THEN "
                + self.r.choice([f"UPDATE SET {column} = v.x", "DELETE", "DO NOTHING"])
                + f" WHEN NOT MATCHED THEN INSERT ({key}, {column}) VALUES (v.k, v.x)")

    def statement(self):
        table = self.r.choice(sorted(TABLES))
        kind = self.r.random()
        if kind < 0.4:
            return self.insert(table)
        if kind < 0.75:
            return self.update(table)
        if kind < 0.92 or (len(UNIQUE[table]) != 1 and table not in COLOCATED):
            return self.delete(table)
        return self.merge(table) if len(UNIQUE[table]) == 1 else self.merge_colocated(table)

    def transaction(self):
        """Statements, perhaps of one transaction, with savepoints in it."""
        r = self.r
        if r.random() < 0.6:
            return [self.statement()]
        out = ["BEGIN"]
        for _ in range(r.randrange(1, 6)):
            out += r.choice([[], [], ["SAVEPOINT s"]]) + [self.statement()]
            if "SAVEPOINT s" in out and r.random() < 0.3:
                out.append("ROLLBACK TO s")
        return out + [r.choice(["COMMIT", "COMMIT", "ROLLBACK"])]


GLOBAL = {"users": "name", "facts": "sub", "orders": "note, status", "tree": "label"}  # table -> columns


def fill(compare, args):
    compare.fill(rich=True, few=True)
    sides = compare.sides("simple")
    for table, columns in GLOBAL.items() if args.unique else ():
        for sql in (f"UPDATE {table} SET {columns.split(',')[0]} = NULL",
                    f"CREATE UNIQUE INDEX {table}_global ON {table} ({columns}) /* braid: global */"):
            for side in sides:
                compare.must(sql, side.run(sql))
    for side in sides:
        side.close()


def lookups_differ(compare):
    """Lookup tables that have not what their tables have."""
    wrong = []
    for table in GLOBAL:
        sums = [s.sql(f"SELECT braid.unique_sum('{table}_global')", "app")[0][0] for s in compare.shards]
        if sum(sums) % (2**61 - 1):
            wrong.append(f"the lookup table of {table} differs")
    return "; ".join(wrong) or None


def run(compare, args, report):
    counts, maker = Counter(), Maker(args.seed)
    sides = compare.sides(args.mode)
    refusals = Counter()
    while sum(counts.values()) < args.count:
        statements = maker.transaction()
        for sql in statements:
            verdict, words = compare.run_statement(Statement(sql, None, [], 0), *sides)
            counts[verdict] += 1
            if verdict == "refused":
                refusals[words] += 1
            if verdict == "wrong":
                report.fails(f"statement {sum(counts.values())}: {sql}\n        of {statements}", words)
        wrong = differences(compare, ALL_TABLES) or (args.unique and lookups_differ(compare))
        if wrong:
            counts["wrong"] += 1
            report.fails(f"tables after {statements}", wrong)
        if wrong:
            for side in sides:
                side.close()
            fill(compare, args)
            sides = compare.sides(args.mode)
        else:
            report.passes("a transaction")
    for side in sides:
        side.close()
    return counts, refusals


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--mode", default="simple")
    parser.add_argument("--unique", action="store_true")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report()
    with pg.Fleet() as fleet:
        compare = Compare(fleet, args.build, report, args.shards, ["jit = off"])
        compare.use(args.shards)
        fill(compare, args)
        counts, refusals = run(compare, args, report)
        compare.stop()
        for line in compare.complaints:
            report.fails("sanitizers and checks", line)
    for words, count in refusals.most_common(15):
        print(f"random writes: refused {count:5} times: {words.splitlines()[0]}")
    print(f"random writes: seed {args.seed}, {args.shards} shards: " + ", ".join(f"{counts[v]} {v}" for v in ("same", "refused", "wrong")))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
