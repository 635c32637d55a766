"""Random SELECTs that know types: every statement is valid, and its answer is the same whatever the plan.

What would make an answer depend on the plan is left out: LIMIT comes with an order of all columns,
row_number() with an order by primary keys, ordered aggregates with an order by what they collect;
divisors are not zero, integers are bigint before they are added, equal numerics have equal scales
(kinds n2 and n3), floats are sums of powers of two. Kinds that are no more than output (`x...`) are
neither sorted nor grouped by.

All is drawn from Choices: a list of numbers makes the same statement again, a shorter list or smaller
numbers make a simpler one (the first alternative is always the simplest). That is how shrinking works.
"""

import random
import re

from world import RICH, SCHEMA, few_rows, rich_rows, rows

# name -> primary key, columns: name, kind, K: the sharding key that most tables share
TABLES = {
    "users": (["id"], "id i K,name t,email t,age i,score n2,joined d,active b,ratio f"),
    "facts": (["k", "seq"], "k i K,seq i,grp i,sub t,val n3,x f,n i,day d,at z,flag b,m m"),
    "marks": (["k", "tag"], "k i K,tag t,w i"),
    "orders": (["user_id", "id"], "user_id i K,id i,amount n2,status t,placed s,note t"),
    "items": (["user_id", "order_id", "line"], "user_id i K,order_id i,line i,product i,quantity i"),
    "lonely": (["k", "n"], "k i K,n i,t t"),
    "stock": (["tenant", "code", "id"], "tenant i,code t,id i,qty i,amount n2"),
    "names": (["name"], "name t,n i"),
    "pairs": (["a", "b"], "a i,b t,v i"),
    "docs": (["id"], "id u,body t,size i"),
    "kinds": (["id"], "id i,small i,t t,v t,b b,d d,tz z,m m,u u,money2 n2,ta a"),
    "events": (["day", "kind"], "day d,kind t,n i"),
    "regions": (["code", "city"], "code t,city t,people i"),
    "levels": (None, "lv i,n i,t t"),
    "sites": (None, "site i,n i,t t"),
    "tree": (["id"], "id i,parent i,label t"),
    "edges": (["a", "b"], "a i,b i,w i"),
    "nothing": (["id"], "id i,n i,t t,amount n2"),
    "countries": (["code"], "code t,name t,big b"),
    "products": (["id"], "id i,name t,price n2"),
    "groups": (["grp"], "grp i,title t,m m"),
    "ledger": (["id"], "id i,k i,t t,amount n2,m m"),
    "local_tree": (["id"], "id i,parent i"),
}
# Views: their query, columns as above, about how many rows.
VIEWS = {
    "user_orders": ("SELECT u.id, u.name, o.amount, o.status FROM users u JOIN orders o ON o.user_id = u.id",
                    "id i K,name t,amount n2,status t", 150),
    "titled": ("SELECT f.k, f.grp, g.title, f.val, f.n FROM facts f LEFT JOIN groups g ON g.grp = f.grp",
               "k i K,grp i,title t,val n3,n i", 300),
    "totals": ("SELECT grp, count(*) AS c, max(n) AS top FROM facts GROUP BY grp", "grp i,c i,top i", 12),
    "ranked": ("SELECT id, age, rank() OVER (ORDER BY age NULLS LAST) AS place FROM users", "id i K,age i,place i", 120),
    "mixed": ("SELECT u.id, u.age, t.parent FROM users u JOIN local_tree t ON t.id = u.age % 7", "id i K,age i,parent i", 120),
    "either": ("SELECT k AS x, tag AS t FROM marks UNION ALL SELECT id, name FROM users", "x i,t t", 200),
    "named_totals": ("SELECT v.grp, v.c, u.name FROM totals v JOIN users u ON u.id = v.grp", "grp i,c i,name t", 12),
}
WEIGHTED = (["facts"] * 6 + ["users"] * 5 + ["marks"] * 3 + ["orders"] * 3 + ["items"] * 2 + ["groups"] * 2 + ["ledger"] * 2
            + list(TABLES) + list(VIEWS))
LITERALS = {
    "i": ["1", "5", "0", "3", "7", "40", "-1", "NULL", "100", "9::bigint", "2::smallint", "'6'"],
    "n2": ["10.00", "0.00", "(-3.25)", "500.00", "NULL::numeric"],
    "n3": ["10.000", "0.000", "(-3.125)", "500.000", "NULL::numeric"],
    "f": ["0.5::float8", "0::float8", "(-12.25)::float8", "100::float8"],
    "t": ["'aa'", "'paid'", "'red'", "''", "'n3 delta'", "'user 7'", "'de'", "'ä'", "NULL", "'x'::varchar"],
    "b": ["true", "false", "NULL::boolean"],
    "d": ["DATE '2026-03-05'", "'2026-05-01'::date", "DATE '2025-06-01'", "NULL::date"],
    "z": ["TIMESTAMPTZ '2026-03-10 12:00:00+00'", "'2026-02-01 00:00:00+02'::timestamptz"],
    "s": ["TIMESTAMP '2026-03-10 12:00:00'", "'2026-08-01'::timestamp"],
    "m": ["'ok'::mood", "'sad'::mood", "NULL::mood"],
    "u": ["'00000000-0000-0000-0000-000000000000'::uuid"],
    "a": ["'{a,b}'::text[]", "'{}'::text[]"],
}
KINDS = list(LITERALS)
NUMBERS = ("i", "n2", "n3", "f")
ROWS_MAX = 4000
HAS_COLUMN = re.compile(r"\bt\d+\.")
EQUALS_CONSTANT = re.compile(r"(?<![<>])= (?!t\d)|\bIN \(|= t\d+\.c\d")


class Choices:
    """Numbers below a bound: random and written down, or read from a list."""

    def __init__(self, seed=None, given=None):
        self.random = random.Random(seed)
        self.given, self.taken = given, []

    def below(self, n):
        at = len(self.taken)
        if self.given is None:
            v = int(self.random.random() * n)
        else:
            v = min(self.given[at], n - 1) if at < len(self.given) else 0
        self.taken.append(v)
        return v

    def of(self, values):
        return values[self.below(len(values))]

    def chance(self, percent):
        """The simplest choice is no."""
        return self.below(100) >= 100 - percent


class Column:
    __slots__ = ("name", "kind", "tag", "distinct", "values")

    def __init__(self, name, kind, tag=None, distinct=20, values=()):
        self.name, self.kind, self.tag, self.distinct, self.values = name, kind, tag, distinct, values


class Source:
    """A relation in FROM; `unique`: columns that tell its rows apart, None when none do."""

    def __init__(self, alias, columns, text, rows, unique):
        self.alias, self.text, self.rows, self.unique = alias, text, rows, unique
        self.columns = [Column(f"{alias}.{c.name}", c.kind, c.tag, c.distinct, c.values) for c in columns]


CASTS = {"n2": "", "n3": "", "i": "", "t": "", "f": "::float8", "d": "::date", "z": "::timestamptz", "s": "::timestamp", "b": "::boolean",
         "m": "::mood", "u": "::uuid", "a": "::text[]"}


def literal(text, kind):
    """A value of COPY as SQL writes it."""
    return text if kind in ("i", "n2", "n3") and text[:1] != "-" else "'" + text.replace("'", "''") + "'" + CASTS[kind]


def table_columns(name, words):
    """Columns with some of their values as literals."""
    schema = " ".join(x for x in SCHEMA + RICH if x.startswith(f"CREATE TABLE {name} "))
    names = [w.split()[0] for w in re.sub(r"\([^()]*\)", "", schema[schema.index("(") + 1:].split("SHARD BY")[0]).split(",")]
    lines = [line.split("\t") for line in ROWS[name]]
    out = []
    for column, kind, *tag in (w.split() for w in words.split(",")):
        at = names.index(column)
        values = sorted({line[at] for line in lines if line[at] != "\\N"})
        plain = [v for v in values if "\\" not in v]
        literals = tuple(literal(v, kind) for v in plain[::max(1, len(plain) // 12)])
        out.append(Column(column, kind, *tag or (None,), max(1, len(values)), literals))
    return out


ROWS = few_rows({**rows(), **rich_rows()})
COLUMNS = {name: table_columns(name, words) for name, (_, words) in TABLES.items()}
COLUMNS.update((name, [Column(*w.split()) for w in words.split(",")]) for name, (_, words, _) in VIEWS.items())


class Maker:
    """One statement; `text` and whether its rows are `ordered`."""

    def __init__(self, choices):
        self.c = choices
        self.aliases = 0
        self.ctes = []  # Source-like: name, columns, rows
        self.cte_texts = []
        self.budget = 6  # sub-selects of all kinds

    def statement(self):
        c = self.c
        if c.chance(14):
            for _ in range(1 + c.below(2)):
                self.make_cte()
        if c.chance(10):
            return self.with_ctes(self.set_operation(2, top=True))
        query, _, ordered = self.select(2, [], top=True)
        return self.with_ctes((query, ordered))

    def with_ctes(self, made):
        query, ordered = made
        if not self.cte_texts:
            return query, ordered
        recursive = "RECURSIVE " if any("UNION" in t and "step" in t for t in self.cte_texts) else ""
        return f"WITH {recursive}{', '.join(self.cte_texts)} {query}", ordered

    def make_cte(self):
        c = self.c
        name = f"w{len(self.cte_texts) + 1}"
        if c.chance(15):
            start, table, link = c.of([("id = 1", "tree", "x.parent = step.id"), ("parent IS NULL", "local_tree", "x.parent = step.id"),
                                       ("id = 30", "tree", "x.id = step.parent")])
            self.cte_texts.append(f"{name} AS (WITH RECURSIVE step AS (SELECT id, parent FROM {table} WHERE {start} "
                                  f"UNION SELECT x.id, x.parent FROM {table} x JOIN step ON {link}) SELECT id, parent FROM step)")
            self.ctes.append((name, [Column("id", "i"), Column("parent", "i")], 30))
            return
        query, outputs, _ = self.select(1, [])
        hint = c.of(["", "", "", "MATERIALIZED ", "NOT MATERIALIZED "])
        self.cte_texts.append(f"{name} AS {hint}({query})")
        self.ctes.append((name, outputs, 150))

    # ---- FROM

    def alias(self):
        self.aliases += 1
        return f"t{self.aliases}"

    def source(self, depth, outer):
        c = self.c
        if depth > 0 and self.budget > 0 and c.chance(18):
            self.budget -= 1
            alias = self.alias()
            if c.chance(15):
                text, _, outputs = self.set_parts(depth - 1, None)
                return Source(alias, outputs, f"({text}) {alias}", 250, None)
            query, outputs, _ = self.select(depth - 1, outer if c.chance(0) else [])
            return Source(alias, outputs, f"({query}) {alias}", 150, None)
        if self.ctes and c.chance(45):
            name, outputs, rows = c.of(self.ctes)
            alias = self.alias()
            return Source(alias, outputs, f"{name} {alias}", rows, None)
        alias = self.alias()
        if c.chance(4):
            values = ", ".join(f"({c.of(LITERALS['i'][:7])}, {c.of(LITERALS['t'][:6])})" for _ in range(1 + c.below(3)))
            return Source(alias, [Column("p", "i"), Column("q", "t")], f"(VALUES {values}) {alias}(p, q)", 3, None)
        if c.chance(3):
            return Source(alias, [Column("g", "i")], f"generate_series(1, {1 + c.below(9)}) {alias}(g)", 8, [f"{alias}.g"])
        name = c.of(WEIGHTED)
        if name in VIEWS:
            return Source(alias, COLUMNS[name], f"{name} {alias}", VIEWS[name][2], None)
        key, _ = TABLES[name]
        return Source(alias, COLUMNS[name], f"{name} {alias}", max(1, len(ROWS[name])), key and [f"{alias}.{k}" for k in key])

    def join_pairs(self, left, right, rows):
        """Pairs of columns to join by that leave few rows; those of the shared key first."""
        out = []
        for s in left:
            for a in s.columns:
                for b in right.columns:
                    if a.kind == b.kind and self.may_meet(a, b) and rows * right.rows / max(a.distinct, b.distinct, 1) <= ROWS_MAX and a.kind[0] != "x":
                        out.append((0 if a.tag and b.tag else 1, a, b))
        out.sort(key=lambda p: p[0])
        return out

    @staticmethod
    def may_meet(a, b):
        """Texts of different columns are rarely equal; numbers are."""
        return a.kind == "i" or not a.values or not b.values or not set(a.values).isdisjoint(b.values)

    def tables(self, depth, outer):
        """FROM: text, sources."""
        c = self.c
        first = self.source(depth, outer)
        text, sources, rows = first.text, [first], first.rows
        for _ in range(c.of([0, 0, 0, 1, 1, 1, 1, 2, 2, 3])):
            right = self.source(depth, outer)
            pairs = self.join_pairs(sources, right, rows)
            if rows * right.rows <= ROWS_MAX and c.chance(10):
                condition, kind, rows = "true", c.of(["JOIN", "LEFT JOIN", "RIGHT JOIN"]), rows * right.rows
                if c.chance(50):
                    condition = self.condition(sources + [right], 0, [])
            elif pairs:
                keys = [p for p in pairs if p[0] == 0]
                _, a, b = c.of(keys) if keys and c.chance(60) else c.of(pairs)
                rows = max(rows, right.rows, int(rows * right.rows / max(a.distinct, b.distinct, 1)))
                kind = c.of(["JOIN", "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
                condition = f"{a.name} = {b.name}"
                if kind != "FULL JOIN" and c.chance(6):
                    condition = f"{a.name} IS NOT DISTINCT FROM {b.name}"
                if kind != "FULL JOIN" and c.chance(18):
                    condition += " AND " + self.condition(sources + [right], 0, [])
            else:
                break
            if kind == "JOIN" and c.chance(10):
                return_text = self.lateral(text, sources, depth)
                if return_text:
                    text, sources = return_text
                    continue
            text = f"{text} {kind} {right.text} ON {condition}"
            sources = sources + [right]
        return text, sources

    def lateral(self, text, sources, depth):
        """A sub-select that sees the tables on its left."""
        c = self.c
        if self.budget <= 0 or depth <= 0:
            return None
        self.budget -= 1
        inner = self.source(0, [])
        pairs = self.join_pairs(sources, inner, 1)
        if not pairs:
            return None
        _, a, b = c.of(pairs)
        alias = self.alias()
        if c.chance(50):
            query = f"SELECT count(*) AS c, {self.number_aggregate(inner)} AS s FROM {inner.text} WHERE {b.name} = {a.name}"
            columns = [Column("c", "i"), Column("s", "i")]
        else:
            names = [x for x in inner.columns if x.kind[0] != "x"][:4]
            shown = ", ".join(f"{x.name} AS c{i}" for i, x in enumerate(names))
            query = (f"SELECT {shown} FROM {inner.text} WHERE {b.name} = {a.name} "
                     f"ORDER BY {', '.join(str(i + 1) for i in range(len(names)))} LIMIT {1 + c.below(3)}")
            columns = [Column(f"c{i}", x.kind, x.tag) for i, x in enumerate(names)]
        join = c.of(["CROSS JOIN LATERAL", "LEFT JOIN LATERAL"])
        return (f"{text} {join} ({query}) {alias}{' ON true' if join[0] == 'L' else ''}",
                sources + [Source(alias, columns, "", 3, None)])

    def number_aggregate(self, source):
        numbers = [x for x in source.columns if x.kind == "i"]
        return f"max({self.c.of(numbers).name}::bigint)" if numbers else "count(*)"

    # ---- expressions

    def column(self, sources, kind=None):
        found = [x for s in sources for x in s.columns if (kind is None and x.kind[0] != "x") or x.kind == kind]
        return self.c.of(found) if found else Column("(1 + 0)", "i") if kind in (None, "i") else None

    def expression(self, sources, kind, depth=2):
        """An expression of a kind over columns."""
        c = self.c
        column = self.column(sources, kind)
        if depth <= 0 or not c.chance(40):
            return column.name if column else c.of(LITERALS[kind])
        e = lambda k=kind: self.expression(sources, k, depth - 1)  # noqa: E731
        if c.chance(20):
            return f"CASE WHEN {self.condition(sources, 0, [])} THEN {e()} ELSE {e()} END"
        if c.chance(15):
            return f"coalesce({e()}, {self.typed_literal(kind)})"
        if c.chance(5):
            return f"nullif({e()}, {self.typed_literal(kind)})"
        if kind == "i":
            return c.of([lambda: f"({e()}::bigint + {1 + c.below(9)})", lambda: f"({e()}::bigint % {2 + c.below(6)})",
                         lambda: f"({e()}::bigint * 2 - {e()}::bigint % 100)", lambda: f"length({e('t')})",
                         lambda: f"extract(month FROM {e('d')})::bigint", lambda: f"abs({e()}::bigint % 1000)",
                         lambda: f"greatest({e()}::bigint, {e()}::bigint)"])()
        if kind in ("n2", "n3"):
            return c.of([lambda: f"({e()} + {e()})", lambda: f"(-{e()})", lambda: f"round({e()} / 3, {kind[1]})",
                         lambda: f"({e()} * ({e('i')}::bigint % 10))", lambda: f"least({e()}, {e()})"])()
        if kind == "f":
            return c.of([lambda: f"({e()} + {e()})", lambda: f"({e()} * 2)", lambda: f"abs({e()})"])()
        if kind == "t":
            return c.of([lambda: f"lower({e()})", lambda: f"({e()} || {e()})", lambda: f"left({e()}, 2)",
                         lambda: f"({e('i')})::text", lambda: f"coalesce({e()}, '?')", lambda: f"({e('m')})::text",
                         lambda: f"substr({e()}, 2, 3)"])()
        if kind == "b":
            return f"({self.condition(sources, 0, [])})"
        if kind == "d":
            return c.of([lambda: f"({e()} + {c.below(40)})", lambda: f"date_trunc('month', {e()}::timestamp)::date",
                         lambda: f"greatest({e()}, {self.typed_literal('d')})"])()
        return column.name if column else self.typed_literal(kind)

    def typed_literal(self, kind):
        return self.c.of([v for v in LITERALS[kind] if v != "NULL" and v[0] != "N"])

    def condition(self, sources, depth, outer):
        """A boolean over the sources, and over `outer` in sub-selects."""
        c = self.c
        column = self.column(sources)
        if column is None:
            return "true"
        name, kind = column.name, column.kind
        value = lambda: c.of(column.values) if column.values and c.chance(75) else c.of(LITERALS[kind])  # noqa: E731
        pick = c.below(100)
        if pick < 12:
            return f"{name} = {value()}"
        if pick < 34:
            return f"{name} {c.of(['<', '>', '<=', '>=', '<>'])} {value()}"
        if pick < 40:
            return f"{name} IN ({', '.join(value() for _ in range(1 + c.below(4)))})"
        if pick < 46:
            return f"{name} IS {c.of(['NOT ', ''])}NULL"
        if pick < 52:
            other = self.column(sources, kind)
            return f"{name} {c.of(['=', '<', '<>', 'IS DISTINCT FROM'])} {other.name}"
        if pick < 60:
            return f"({self.condition(sources, depth, outer)} {c.of(['OR', 'AND', 'OR'])} {self.condition(sources, depth, outer)})"
        if pick < 64:
            return f"NOT ({self.condition(sources, depth, outer)})"
        if pick < 67:
            return f"({self.condition(sources, 0, outer)}) IS {c.of(['TRUE', 'NOT TRUE', 'FALSE', 'UNKNOWN'])}"
        if pick < 72:
            low, high = value(), value()
            return f"{name} BETWEEN {low} AND {high}"
        if pick < 76 and kind == "i":
            return f"{name} = ANY ('{{{', '.join(str(c.below(60)) for _ in range(1 + c.below(4)))}}}'::bigint[])"
        if pick < 80 and kind == "t":
            return f"{name} {c.of(['LIKE', 'NOT LIKE'])} '{c.of(['a', 'u', 'p', '_', 'n1'])}%'"
        if pick < 84:
            picked = c.of([k for k in NUMBERS])
            return f"{self.expression(sources, picked)} {c.of(['<', '>='])} {self.expression(sources, picked)}"
        if depth <= 0 or self.budget <= 0:
            return f"{name} = {c.of(LITERALS[kind])}"
        return self.sublink(column, sources, depth)

    def sublink(self, column, sources, depth):
        c = self.c
        self.budget -= 1
        inner = self.source(depth - 1, [])
        where = []
        pairs = self.join_pairs(sources, inner, 1)
        if pairs and c.chance(70):
            keys = [p for p in pairs if p[0] == 0]
            _, a, b = c.of(keys) if keys and c.chance(60) else c.of(pairs)
            where.append(f"{b.name} {c.of(['=', '=', '=', '<', '>'])} {a.name}" if a.kind != "b" else f"{b.name} = {a.name}")
        if c.chance(50):
            where.append(self.condition([inner], depth - 1, sources))
        tail = f" WHERE {' AND '.join(where)}" if where else ""
        same = [x for x in inner.columns if x.kind == column.kind]
        pick = c.below(4)
        if pick == 0 or not same:
            return f"{c.of(['', 'NOT '])}EXISTS (SELECT 1 FROM {inner.text}{tail})"
        if pick == 1:
            return f"{column.name} {c.of(['IN', 'NOT IN'])} (SELECT {c.of(same).name} FROM {inner.text}{tail})"
        if pick == 2 and column.kind not in ("b", "m", "u", "a"):
            best = c.of(same)
            return f"{column.name} {c.of(['=', '<', '>='])} (SELECT {c.of(['max', 'min'])}({best.name}) FROM {inner.text}{tail})"
        return f"{column.name} {c.of(['=', '>', '<='])} {c.of(['ANY', 'ALL'])} (SELECT {c.of(same).name} FROM {inner.text}{tail})" \
            if column.kind not in ("b", "a") else f"EXISTS (SELECT 1 FROM {inner.text}{tail})"

    # ---- SELECT

    def select(self, depth, outer, top=False, want=None):
        """(text, outputs, whether rows are in a total order)."""
        c = self.c
        text, sources = self.tables(depth, outer)
        where = [self.condition(sources, depth, outer) for _ in range(c.of([0, 0, 1, 1, 0, 1, 2]))]
        tail = f" WHERE {' AND '.join(where)}" if where else ""
        shape = c.below(100)
        if want is not None:
            items = [(self.expression(sources, k), k) for k in want]
            return self.finish(items, text, tail, "", depth, top, sources, plain=True)
        if shape < 45:
            items = [self.item(sources, top) for _ in range(1 + c.below(4))]
            if top and c.chance(7) and all(x.kind[0] != "x" for x in sources[0].columns):
                star = [(None, x.kind) for x in sources[0].columns]
                return self.finish(star, text, tail, "", depth, top, sources, shown=f"{sources[0].alias}.*")
            distinct = "DISTINCT " if c.chance(15) and all(k[0] != "x" for _, k in items) else ""
            if not distinct and c.chance(5):
                return self.distinct_on(text, tail, sources)
            if not distinct and depth > 0 and self.budget > 0 and c.chance(10):
                items.append(self.scalar_subselect(sources, depth))
            return self.finish(items, text, tail, distinct, depth, top, sources)
        if shape < 85:
            return self.grouped(sources, text, tail, depth, top)
        items = [self.item(sources, False) for _ in range(1 + c.below(2))]
        items += [self.window(sources) for _ in range(1 + c.below(2))]
        return self.finish(items, text, tail, "", depth, top, sources)

    def item(self, sources, top):
        c = self.c
        del top
        if c.chance(30):
            kind = c.of([k for k in KINDS if k not in ("u", "a", "s")])
            return self.expression(sources, kind), kind
        column = self.column(sources)
        return (column.name, column.kind) if column else ("1", "i")

    def scalar_subselect(self, sources, depth):
        c = self.c
        self.budget -= 1
        inner = self.source(depth - 1, [])
        pairs = self.join_pairs(sources, inner, 1)
        tail = ""
        if pairs and c.chance(80):
            _, a, b = c.of(pairs)
            tail = f" WHERE {b.name} = {a.name}"
        if c.chance(50):
            return f"(SELECT count(*) FROM {inner.text}{tail})", "i"
        column = self.column([inner])
        if column.kind in ("b", "u", "a", "m"):
            return f"(SELECT count({column.name}) FROM {inner.text}{tail})", "i"
        return f"(SELECT {c.of(['max', 'min'])}({column.name}) FROM {inner.text}{tail})", column.kind

    def distinct_on(self, text, tail, sources):
        c = self.c
        unique = [u for s in sources for u in (s.unique or [None])]
        key = self.item(sources, False)
        if None in unique or key[1] == "a" or not HAS_COLUMN.search(key[0]):
            return self.finish([key], text, tail, "DISTINCT ", 0, False, sources)
        column = self.column(sources)
        query = (f"SELECT DISTINCT ON ({key[0]}) {key[0]} AS c0, {column.name} AS c1 FROM {text}{tail} "
                 f"ORDER BY {key[0]}{c.of(['', ' DESC'])}, {', '.join(unique)}")
        return query, [Column("c0", key[1]), Column("c1", column.kind)], True

    def window(self, sources):
        c = self.c
        unique = [u for s in sources for u in (s.unique or [None])]
        total = None not in unique
        part = ""
        if c.chance(65):
            column = self.column(sources)
            part = f"PARTITION BY {column.name} "
        column = self.column(sources)
        order = f"ORDER BY {column.name}{c.of(['', ' DESC', ' NULLS FIRST'])}"
        number = self.expression(sources, "i", 1)
        if total and c.chance(60):
            order += ", " + ", ".join(unique)
            frame = c.of(["", "", " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING"])
            return c.of([lambda: (f"row_number() OVER ({part}{order})", "i"),
                         lambda: (f"lag({number}) OVER ({part}{order})", "i"),
                         lambda: (f"first_value({number}) OVER ({part}{order}{frame})", "i"),
                         lambda: (f"count(*) OVER ({part}{order}{frame})", "i"),
                         lambda: (f"max({number}) OVER ({part}{order}{frame})", "i"),
                         lambda: (f"ntile(3) OVER ({part}{order})", "i")])()
        return c.of([lambda: (f"rank() OVER ({part}{order})", "i"), lambda: (f"dense_rank() OVER ({part}{order})", "i"),
                     lambda: (f"count(*) OVER ({part}{order})", "i"), lambda: (f"count(*) OVER ({part.strip()})", "i"),
                     lambda: (f"min({number}) OVER ({part}{order} GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW)", "i"),
                     lambda: (f"sum({number}) OVER ({part}{order})", "xn")])()

    def some(self, sources, kind):
        """A column of a kind, or of another one cast to text."""
        column = self.column(sources, kind) or self.column(sources)
        return column.name if column.kind == kind else f"({column.name})::text"

    def aggregate(self, sources):
        """(text, kind) of one aggregate call."""
        c = self.c
        where = f" FILTER (WHERE {self.condition(sources, 0, [])})" if c.chance(15) else ""
        distinct = "DISTINCT " if c.chance(12) else ""
        column = self.column(sources)
        if column is None:
            return f"count(*){where}", "i"
        pick = c.below(100)
        if pick < 20:
            return f"count(*){where}", "i"
        if pick < 32:
            return f"count({distinct}{column.name}){where}", "i"
        if pick < 47 and column.kind not in ("b", "u", "a"):
            return f"{c.of(['max', 'min'])}({distinct}{column.name}){where}", column.kind
        if pick < 62:
            kind = c.of(["i", "n2", "n3", "f"])
            value = self.expression(sources, kind, 1)
            if kind == "i":
                return f"sum({distinct}({value})::bigint){where}", "xn"
            return f"sum({distinct}{value}){where}", kind
        if pick < 70:
            kind = c.of(["i", "n2", "n3", "f"])
            return f"avg({distinct}{self.expression(sources, kind, 1)}){where}", "xn"
        if pick < 74:
            kind = c.of(["i", "n3", "f"])
            return f"{c.of(['stddev', 'var_pop', 'variance', 'stddev_pop'])}({self.expression(sources, kind, 1)}){where}", "xn"
        if pick < 78:
            return f"{c.of(['bool_and', 'bool_or', 'every'])}({self.expression(sources, 'b', 1)}){where}", "b"
        if pick < 81:
            return f"{c.of(['bit_and', 'bit_or', 'bit_xor'])}({self.expression(sources, 'i', 1)}::bigint){where}", "i"
        if pick < 85:
            value = self.some(sources, "t")
            return f"string_agg({distinct}{value}, ',' ORDER BY {value}){where}", "t"
        if pick < 89:
            value = self.some(sources, c.of(["i", "t", "d"]))
            return f"array_agg({distinct}{value} ORDER BY {value}){where}", "xa"
        if pick < 91:
            value = self.expression(sources, "i", 0)
            return f"percentile_{c.of(['disc', 'cont'])}(0.5) WITHIN GROUP (ORDER BY {value}){where}", "xn"
        if pick < 93:
            value = self.some(sources, "t")
            return f"jsonb_agg({value} ORDER BY {value}){where}", "xj"
        if pick < 95:
            x, y = self.expression(sources, "f", 0), self.expression(sources, "f", 0)
            # Rounded: what is zero is 1e-15 in another order of the same floats.
            return c.of([f"regr_count({x}, {y}){where}", f"round((covar_pop({x}, {y}){where})::numeric, 6)"]), "xn"
        if pick < 97:
            return f"coalesce(sum({self.expression(sources, 'n2', 0)}), 0.00)", "n2"
        a, b = self.expression(sources, "i", 0), self.expression(sources, "i", 0)
        return f"(count({a}) + count({b}) * 2)", "i"

    def grouped(self, sources, text, tail, depth, top):
        c = self.c
        keys = []
        for _ in range(c.of([1, 1, 0, 1, 2, 2, 3])):
            key = self.item(sources, False)
            if key not in keys and key[1] != "a":
                keys.append(key)
        # Not constants: PostgreSQL folds them before it knows that ROLLUP makes them null, so what a window
        # or ORDER BY over one sees depends on its plan (a sort, a hash), which it does not promise.
        keys = [k for k in keys if HAS_COLUMN.search(k[0])]
        calls = [self.aggregate(sources) for _ in range(c.of([1, 1, 2, 2, 3]))]
        items = [k for k in keys if not c.chance(12)] + calls
        orders = True
        if keys:
            names = [k[0] for k in keys]
            if c.chance(10):
                by = c.of([f"ROLLUP ({', '.join(names)})", f"CUBE ({', '.join(names)})",
                           f"GROUPING SETS (({', '.join(names)}), ())", f"GROUPING SETS (({names[0]}), ({names[-1]}), ())"])
                items.append((f"GROUPING({names[0]})", "i"))
                # The same holds for a column that WHERE makes a constant, and for one that ON makes equal to
                # another: PostgreSQL does not sort by it.
                orders = not EQUALS_CONSTANT.search(text + tail) and not any(
                    f"{a} = {b}" in text + tail for a in names for b in names)
            else:
                by = ", ".join(names)
            tail += f" GROUP BY {by}"
        if c.chance(22):
            value, kind = self.aggregate(sources)
            if kind in LITERALS and kind not in ("a", "b"):
                tail += f" HAVING {value} {c.of(['>', '<', '>=', '='])} {c.of(LITERALS[kind])}"
            else:
                tail += f" HAVING count(*) > {c.below(4)}"
        if c.chance(6) and keys and orders:
            items.append((f"rank() OVER (ORDER BY count(*), {keys[0][0]})", "i"))
        if c.chance(8) and calls[0][1] == "i":
            items[-1:] = [(f"{calls[0][0]} * 10 + 1", "i")]
        distinct = "DISTINCT " if c.chance(4) and all(k[0] != "x" for _, k in items) else ""
        return self.finish(items, text, tail, distinct, depth, top, sources, plain=not orders)

    def finish(self, items, text, tail, distinct, depth, top, sources, plain=False, shown=None):
        """The select list, ORDER BY and LIMIT."""
        c = self.c
        del depth, sources
        shown = shown or ", ".join(f"{e} AS c{i}" for i, (e, _) in enumerate(items))
        query = f"SELECT {distinct}{shown} FROM {text}{tail}"
        outputs = [Column(f"c{i}", k, None, 20) for i, (_, k) in enumerate(items)]
        sortable = all(k[0] != "x" for _, k in items)
        ordered = False
        if not plain and c.chance(60 if top else 12):
            keys = [(i, k) for i, (_, k) in enumerate(items) if k[0] != "x"]
            if keys:
                query += " ORDER BY " + ", ".join(f"{i + 1}{c.of(['', '', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST'])}" for i, _ in keys)
                ordered = sortable
                if sortable and c.chance(55):
                    query += c.of([f" LIMIT {1 + c.below(12)}", f" LIMIT {1 + c.below(12)} OFFSET {c.below(4)}", f" OFFSET {c.below(6)}",
                                   f" FETCH FIRST {1 + c.below(5)} ROWS WITH TIES"])
        return query, outputs, ordered

    def set_parts(self, depth, want):
        c = self.c
        want = want or [c.of(["i", "t", "n2", "d", "b", "m"]) for _ in range(1 + c.below(3))]
        parts = [self.select(depth, [], want=want)[0] for _ in range(2 + (c.below(10) > 7))]
        text = parts[0]
        for p in parts[1:]:
            text += f" {c.of(['UNION ALL', 'UNION', 'EXCEPT', 'INTERSECT', 'EXCEPT ALL', 'INTERSECT ALL'])} {p}"
        return text, want, [Column(f"c{i}", k) for i, k in enumerate(want)]

    def set_operation(self, depth, top):
        c = self.c
        del top
        text, want, _ = self.set_parts(depth - 1, None)
        if not c.chance(70):
            return text, False
        text += " ORDER BY " + ", ".join(f"{i + 1}{c.of(['', ' DESC', ' NULLS FIRST'])}" for i in range(len(want)))
        if c.chance(50):
            text += f" LIMIT {1 + c.below(15)} OFFSET {c.below(3)}"
        return text, True


WRITES = [
    "UPDATE facts SET n = n + 5 WHERE k = {k}", "UPDATE facts SET flag = NOT flag, sub = 'new' WHERE k IN ({k}, {l})",
    "UPDATE facts SET grp = 1 WHERE n > {l}", "DELETE FROM marks WHERE k < {k}", "DELETE FROM facts WHERE k = {k}",
    "INSERT INTO marks (k, tag, w) VALUES ({k}, 'fresh', 3), ({l}, 'fresh', NULL) ON CONFLICT DO NOTHING",
    "INSERT INTO facts (k, seq, grp, n, val) VALUES ({k}, 99, 2, 7, 1.500)", "UPDATE users SET age = {l} WHERE id = {k}",
    "INSERT INTO ledger VALUES (900, {k}, 'mine', 1.00, 'ok')", "UPDATE ledger SET k = {l} WHERE id < 6",
    "UPDATE groups SET title = 'other' WHERE grp = 2", "DELETE FROM orders WHERE user_id BETWEEN {k} AND {l}",
    "INSERT INTO users (id, name, age) VALUES (70{k}, 'fresh', {l})", "DELETE FROM lonely WHERE n > 10",
]


def writes(seed):
    """What a transaction does before it reads."""
    r = random.Random(seed)
    chosen = r.sample(WRITES, r.choice((1, 1, 2, 3)))
    return [w.format(k=r.randrange(1, 60), l=r.randrange(1, 60)) for w in chosen]


def make(seed=None, given=None):
    """(text, ordered, choices)."""
    choices = Choices(seed, given)
    text, ordered = Maker(choices).statement()
    return text, ordered, choices.taken
