#!/usr/bin/python3
"""Random joins, sub-selects, groups and writes to one PostgreSQL and to pgbraid over three.

Every statement must give the same rows, the same SQLSTATE, or 0A000. Rows are sorted by all their
columns, so LIMIT is the same on both sides; writes are rolled back.

    random_queries.py [--build DIR] [--seed N] [--count N] [--mode simple|binary|prepared] [--verbose]
"""

import argparse
import random
import sys

from compare import MODES, Compare, pg
from sides import is_ordered
from report import Report

# table -> columns: name, kind (k: the sharding key as number, n: number, t: text, d: date)
TABLES = {
    "users": [("id", "k"), ("age", "n"), ("name", "t"), ("joined", "d")],
    "orders": [("user_id", "k"), ("id", "n"), ("status", "t")],
    "items": [("user_id", "k"), ("order_id", "n"), ("line", "n"), ("product", "n")],
    "products": [("id", "n"), ("name", "t")],
    "countries": [("code", "t"), ("name", "t")],
    "pairs": [("a", "n"), ("b", "t"), ("v", "n")],
    "names": [("name", "t"), ("n", "n")],
    "events": [("day", "d"), ("kind", "t"), ("n", "n")],
    "regions": [("code", "t"), ("people", "n")],
}
WEIGHTED = ["users"] * 5 + ["orders"] * 5 + ["items"] * 4 + ["products"] * 2 + list(TABLES)
JOINS = ["JOIN"] * 4 + ["LEFT JOIN"] * 4 + ["RIGHT JOIN"] * 2 + ["FULL JOIN"]
VALUES = {
    "k": ["9", "12", "13", "'9'", "9::int", "-1"],
    "n": ["1", "3", "9", "40", "NULL", "2::bigint"],
    "t": ["'paid'", "'x'", "'de'", "'in'", "'n3 delta'", "'user 7'", "NULL"],
    "d": ["'2026-03-05'", "DATE '2026-05-01'", "'2026-09-01'", "'2025-06-01'"],
}


class Source:
    """A relation in FROM: its alias and columns."""

    def __init__(self, alias, columns, text):
        self.alias, self.columns, self.text = alias, columns, text

    def names(self):
        """How its columns are written, and of what kind they are."""
        return [(f"{self.alias}.{name}" if self.alias else name, kind) for name, kind in self.columns]


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.aliases = 0

    def alias(self):
        self.aliases += 1
        return f"t{self.aliases}"

    def table(self):
        name = self.r.choice(WEIGHTED)
        alias = self.alias()
        return Source(alias, TABLES[name], f"{name} {alias}")

    def query_source(self, depth):
        """A sub-select in FROM."""
        inner, outputs = self.select(depth - 1, [], plain=True)
        alias = self.alias()
        return Source(alias, outputs, f"({inner}) {alias}")

    def source(self, depth):
        return self.query_source(depth) if depth > 0 and self.r.random() < 0.25 else self.table()

    def column(self, sources, kind=None):
        all_columns = [c for s in sources for c in s.names()]
        like = [c for c in all_columns if kind is None or c[1] == kind or (kind in "kn" and c[1] in "kn")]
        exact = [c for c in like if c[1] == kind]
        return self.r.choice(exact if exact and self.r.random() < 0.8 else like or all_columns)

    def on(self, left, right):
        r = self.r
        pairs = [(x, y, k) for a in left for x, k in a.names() for b in right for y, k2 in b.names() if k == k2]
        keys = [p for p in pairs if p[2] == "k"]
        chosen = r.choice(keys if keys and r.random() < 0.8 else pairs or [("true", "true", "b")])
        out = f"{chosen[0]} = {chosen[1]}"
        if r.random() < 0.35:
            out += " AND " + self.condition(left + right, 0, [])
        return out

    def tree(self, depth, count):
        """FROM: text and the sources in it."""
        if count == 1:
            s = self.source(depth)
            return s.text, [s]
        at = self.r.randrange(1, count)
        left_text, left = self.tree(depth, at)
        right_text, right = self.tree(depth, count - at)
        if count == 2 and self.r.random() < 0.08:
            return self.lateral(left_text, left)
        if len(right) > 1:
            right_text = f"({right_text})"
        if len(left) == len(right) == 1 and self.r.random() < 0.25:
            common = [c for c in left[0].columns if c in right[0].columns]
            if common:
                merged = Source("", [self.r.choice(common)], "")
                join = f"{left_text} {self.r.choice(JOINS)} {right_text} USING ({merged.columns[0][0]})"
                return join, left + right + [merged]
        return f"{left_text} {self.r.choice(JOINS)} {right_text} ON {self.on(left, right)}", left + right

    def lateral(self, left_text, left):
        """One row of another table for each row on the left."""
        inner = self.table()
        keys = [n for n, k in inner.names() if k == "k"], [n for s in left for n, k in s.names() if k == "k"]
        where = f"{keys[0][0]} = {keys[1][0]}" if all(keys) else self.on(left, [inner])
        names = [n for n, _ in inner.names()]
        alias = self.alias()
        query = f"SELECT {', '.join(names)} FROM {inner.text} WHERE {where} ORDER BY {', '.join(names)} LIMIT 1"
        text = f"{left_text} {self.r.choice(('CROSS JOIN', 'LEFT JOIN'))} LATERAL ({query}) {alias}"
        text += " ON true" if "LEFT JOIN LATERAL" in text else ""
        return text, left + [Source(alias, inner.columns, "")]

    def condition(self, sources, depth, outer):
        r = self.r
        name, kind = self.column(sources)
        pick = r.random()
        if pick < 0.35:
            return f"{name} = {r.choice(VALUES[kind])}"
        if pick < 0.45:
            return f"{name} IN ({', '.join(r.sample(VALUES[kind], 3))})"
        if pick < 0.55:
            return f"{name} {r.choice(('<', '>', '<=', '>=', '<>'))} {r.choice(VALUES[kind])}"
        if pick < 0.62:
            return f"{name} IS {r.choice(('', 'NOT '))}NULL"
        if pick < 0.70:
            return f"({self.condition(sources, depth, outer)} OR {self.condition(sources, depth, outer)})"
        if pick < 0.75:
            return f"NOT ({self.condition(sources, depth, outer)})"
        if pick < 0.85 or depth == 0:
            other, _ = self.column(sources + (outer if r.random() < 0.3 else []), kind)
            return f"{name}::text = {other}::text" if r.random() < 0.1 else f"{name} IS NOT DISTINCT FROM {name} AND {self.equal(name, kind, other, sources)}"
        return self.sublink(name, kind, sources, depth)

    def equal(self, name, kind, other, sources):
        same = [c for c in (c for s in sources for c in s.names()) if c[1] == kind]
        return f"{name} = {self.r.choice(same)[0] if same else name}" if other else "true"

    def sublink(self, name, kind, sources, depth):
        r = self.r
        inner = self.source(depth - 1)
        where = []
        inner_keys = [n for n, k in inner.columns if k == "k"]
        outer_keys = [n for s in sources for n, k in s.names() if k == "k"]
        if inner_keys and outer_keys and r.random() < 0.8:
            where.append(f"{inner.alias}.{inner_keys[0]} = {r.choice(outer_keys)}")
        if r.random() < 0.5:
            where.append(self.condition([inner], 0, sources))
        tail = f" WHERE {' AND '.join(where)}" if where else ""
        if r.random() < 0.5:
            return f"{r.choice(('', 'NOT '))}EXISTS (SELECT 1 FROM {inner.text}{tail})"
        same = [n for n, k in inner.columns if k == kind]
        if not same:
            return f"EXISTS (SELECT 1 FROM {inner.text}{tail})"
        return f"{name} {r.choice(('', 'NOT '))}IN (SELECT {inner.alias}.{r.choice(same)} FROM {inner.text}{tail})"

    def select(self, depth, outer, plain=False):
        """Text, and its outputs as columns."""
        r = self.r
        text, sources = self.tree(depth, r.choice((1, 1, 2, 2, 2, 3, 3)))
        where = [self.condition(sources, depth, outer) for _ in range(r.choice((0, 0, 1, 1, 2)))]
        tail = f" WHERE {' AND '.join(where)}" if where else ""
        chosen = [self.column(sources, r.choice("kknt")) for _ in range(r.choice((1, 2, 3)))]
        outputs = [(f"c{i}", k) for i, (_, k) in enumerate(chosen)]
        items = [f"{c} AS c{i}" for i, (c, _) in enumerate(chosen)]
        shape = r.random()
        if shape < 0.2:
            items.append(f"count({r.choice(('*', chosen[0][0]))}) AS n")
            tail += f" GROUP BY {', '.join(c for c, _ in chosen)}"
            outputs.append(("n", "n"))
            if r.random() < 0.2:
                tail += " HAVING count(*) > 1"
        elif shape < 0.3:
            number, _ = self.column(sources, "n")
            if number.split(".")[-1] not in ("name", "status", "code", "kind", "b", "joined", "day"):
                items = ["count(*) AS c0", f"sum({number}::bigint) AS c1", f"max({number}) AS c2", f"avg({number}) AS c3"]
                outputs = [("c0", "n"), ("c1", "n"), ("c2", "n"), ("c3", "n")]
        elif shape < 0.4:
            items[0] = "DISTINCT " + items[0]
        elif shape < 0.47 and not plain:
            key = next((n for s in sources for n, k in s.names() if k == "k"), chosen[0][0])
            items.append(f"row_number() OVER (PARTITION BY {key} ORDER BY {', '.join(c for c, _ in chosen)}) AS n")
            outputs.append(("n", "n"))
        query = f"SELECT {', '.join(items)} FROM {text}{tail}"
        if not plain or r.random() < 0.1:
            query += " ORDER BY " + ", ".join(
                f"{i + 1}{r.choice(('', ' DESC', ' NULLS FIRST'))}" for i in range(len(items)))
            if r.random() < 0.4:
                query += f" LIMIT {r.randrange(12)}"
                if r.random() < 0.5:
                    query += f" OFFSET {r.randrange(6)}"
        if depth > 0 and not plain and r.random() < 0.1:
            cte, _ = self.select(0, [], plain=True)
            query = f"WITH users AS ({cte}) {query}"
        return query, outputs

    def write(self):
        r = self.r
        name = r.choice(("users", "orders", "items", "pairs", "events", "products"))
        target = Source("w", TABLES[name], f"{name} w")
        column = {"users": "age", "orders": "note", "items": "quantity", "pairs": "v", "events": "n",
                  "products": "price"}[name]
        sources = [target]
        if r.random() < 0.4:
            sources.append(self.source(1))
        where = [self.condition(sources, 1, []) for _ in range(r.choice((1, 1, 2)))]
        if len(sources) > 1:
            where.append(self.on([target], sources[1:]))
        condition = " AND ".join(where)
        back = "" if r.random() < 0.5 else " RETURNING " + ", ".join(f"w.{n}" for n, _ in target.columns)
        if r.random() < 0.5:
            using = f" USING {sources[1].text}" if len(sources) > 1 else ""
            return f"DELETE FROM {target.text}{using} WHERE {condition}{back}"
        using = f" FROM {sources[1].text}" if len(sources) > 1 else ""
        value = "'new'" if column == "note" else "77"
        return f"UPDATE {target.text} SET {column} = {value}{using} WHERE {condition}{back}"


def run(compare, sides, maker, report):
    ours, theirs = sides
    write = maker.r.random() < 0.15
    sql = maker.write() if write else maker.select(2, [])[0]
    if write:
        ours.run("BEGIN")
        theirs.run("BEGIN")
    mine = ours.run(sql)
    if mine.code == "0A000":
        compare.counts["all"]["refused"] += 1
    else:
        compare.counts["all"]["same"] += 1
        compare.counts["all"][mine.code or ("rows" if mine.rows else "no rows")] += 1
        wrong = compare.judge.differs(mine, theirs.run(sql), not write and is_ordered(sql))
        if wrong is None:
            report.passes(sql)
        else:
            report.fails(sql, wrong)
    if write:
        ours.run("ROLLBACK")
        theirs.run("ROLLBACK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--mode", choices=MODES, default="simple")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report(args.verbose)
    with pg.Fleet() as fleet:
        compare = Compare(fleet, args.build, report, 3)
        compare.use(3)
        compare.fill()
        sides = compare.sides(args.mode)
        for side in sides:
            side.run("SET statement_timeout = '5s'")
        for i in range(args.count):
            run(compare, sides, Maker(args.seed * 1000003 + i), report)
        for side in sides:
            side.close()
        compare.stop()
        for line in compare.complaints:
            report.fails("sanitizers and checks", line)
    print("random: " + ", ".join(f"{k} {n}" for k, n in sorted(compare.counts["all"].items())))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
