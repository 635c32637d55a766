"""Tables and rows that both sides of the comparison have, and a suffix that only one side knows."""

import random
import re

# SHARD BY and REFERENCE go to the proxy only; the plain server gets the statement without them.
SUFFIX = re.compile(r"\s+(SHARD\s+BY\s+.*|REFERENCE)\s*$", re.S | re.I)

SCHEMA = [
    """CREATE TABLE users (id bigint PRIMARY KEY, name text, email varchar(40), age int, score numeric(10,2),
       joined date, active boolean, ratio float8, tags text[]) SHARD BY HASH (id)""",
    """CREATE TABLE orders (id bigint NOT NULL, user_id bigint NOT NULL, amount numeric(12,2), status text,
       placed timestamp, note text, PRIMARY KEY (user_id, id)) SHARD BY HASH (user_id) COLOCATE WITH users""",
    """CREATE TABLE items (user_id bigint NOT NULL, order_id bigint NOT NULL, line int NOT NULL, product int,
       quantity int, PRIMARY KEY (user_id, order_id, line)) SHARD BY HASH (user_id) COLOCATE WITH users""",
    """CREATE TABLE docs (id uuid PRIMARY KEY, body text, size smallint) SHARD BY HASH (id)""",
    """CREATE TABLE names (name text PRIMARY KEY, n int) SHARD BY HASH (name)""",
    """CREATE TABLE pairs (a int, b text, v int, PRIMARY KEY (a, b)) SHARD BY HASH (a, b)""",
    """CREATE TABLE events (day date NOT NULL, kind text, n int, PRIMARY KEY (day, kind))
       SHARD BY RANGE (day) (BELOW ('2026-04-01') ON shard0, BELOW ('2026-08-01') ON shard1, ON shard2)""",
    """CREATE TABLE regions (code text NOT NULL, city text, people int, PRIMARY KEY (code, city))
       SHARD BY LIST (code) (VALUES ('de', 'at') ON shard0, VALUES ('fr') ON shard1, DEFAULT ON shard2)""",
    """CREATE TABLE "Odd Table" ("Key Col" bigint PRIMARY KEY, "select" text, "a""b" int)
       SHARD BY HASH ("Key Col")""",
    "CREATE TABLE countries (code text PRIMARY KEY, name text, big boolean) REFERENCE",
    "CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(8,2)) REFERENCE",
    "CREATE TABLE local_notes (id int PRIMARY KEY, body text)",
]
TABLES = ["users", "orders", "items", "docs", "names", "pairs", "events", "regions", '"Odd Table"', "countries",
          "products", "local_notes"]


def for_plain(statement):
    """The statement as PostgreSQL itself understands it."""
    return SUFFIX.sub("", statement) if statement.lstrip()[:6].upper() == "CREATE" else statement


def rows(seed=11):
    """table -> lines for COPY."""
    r = random.Random(seed)

    def maybe(value, chance=0.1):
        return "\\N" if r.random() < chance else str(value)

    out = {t: [] for t in TABLES}
    words = ["alpha", "beta", "Gamma", "delta", "épsilon", "zeta", "", "it's", 'quo"te', "back\\\\slash", "tab\\tbed"]
    for i in range(1, 121):
        out["users"].append("\t".join([
            str(i), maybe(f"user {i % 37}"), maybe(f"u{i}@example.org"), maybe(r.randrange(18, 90)),
            maybe(f"{r.randrange(-5000, 100000) / 100:.2f}"), maybe(f"2025-{r.randrange(1, 13):02}-{r.randrange(1, 29):02}"),
            maybe(r.choice("tf")), maybe(r.randrange(0, 64) / 8), maybe("{a,b}" if i % 2 else "{}")]))
    order = 0
    for i in range(1, 121):
        for _ in range(r.choice((0, 1, 2, 3))):
            order += 1
            out["orders"].append("\t".join([
                str(order), str(i), maybe(f"{r.randrange(100, 90000) / 100:.2f}"), maybe(r.choice(("paid", "open", "sent"))),
                maybe(f"2026-{r.randrange(1, 13):02}-{r.randrange(1, 29):02} {r.randrange(24):02}:30:00"), maybe(r.choice(words), 0.3)]))
            for line in range(1, r.randrange(1, 5)):
                out["items"].append(f"{i}\t{order}\t{line}\t{maybe(r.randrange(1, 21))}\t{maybe(r.randrange(1, 9))}")
    for i in range(40):
        out["docs"].append(f"{r.getrandbits(128):032x}\t{maybe(r.choice(words))}\t{maybe(r.randrange(-9, 300))}")
    for i in range(50):
        out["names"].append(f"n{i} {words[i % 11]}\t{maybe(i % 7)}")
    for a in range(10):
        for b in "xyz":
            out["pairs"].append(f"{a}\t{b}\t{maybe(a * 3 + ord(b))}")
    for m in range(1, 13):
        for kind in ("in", "out"):
            out["events"].append(f"2026-{m:02}-{r.randrange(1, 29):02}\t{kind}\t{maybe(r.randrange(100))}")
    for code in ("de", "at", "fr", "it", "es", "DE"):
        for city in ("one", "two", "three"):
            out["regions"].append(f"{code}\t{city}\t{maybe(r.randrange(1000, 9000))}")
    for i in range(1, 31):
        out['"Odd Table"'].append(f"{i}\t{maybe(r.choice(words))}\t{maybe(i * i)}")
    for code, name in (("de", "Germany"), ("at", "Austria"), ("fr", "France"), ("it", "Italy"), ("es", "Spain")):
        out["countries"].append(f"{code}\t{name}\t{'t' if name > 'C' else 'f'}")
    for i in range(1, 21):
        out["products"].append(f"{i}\tproduct {i}\t{maybe(f'{i * 3}.50')}")
    for i in range(1, 11):
        out["local_notes"].append(f"{i}\t{maybe(r.choice(words))}")
    return out


# The richer world of the files that only read, and of the generator: every type, every placement.
RICH = [
    "CREATE SCHEMA other",
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "CREATE TYPE spot AS (x int, label text)",
    "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    """CREATE TABLE kinds (id int PRIMARY KEY, small smallint, big bigint, num numeric, money2 numeric(14,2), f4 real, f8 float8,
       t text, v varchar(20), c char(6), b boolean, d date, ts timestamp, tz timestamptz, tm time, iv interval, u uuid,
       by bytea, j json, jb jsonb, ia int[], ta text[], m mood, r int4range, ip inet, bits varbit, p positive, s spot)
       SHARD BY HASH (id)""",
    """CREATE TABLE facts (k bigint NOT NULL, seq int NOT NULL, grp int, sub text, val numeric(12,3), x float8, n int,
       day date, at timestamptz, flag boolean, m mood, PRIMARY KEY (k, seq)) SHARD BY HASH (k) COLOCATE WITH users""",
    """CREATE TABLE marks (k bigint NOT NULL, tag text NOT NULL, w int, PRIMARY KEY (k, tag))
       SHARD BY HASH (k) COLOCATE WITH users""",
    """CREATE TABLE stock (tenant int NOT NULL, code text NOT NULL, id int NOT NULL, qty int, amount numeric(10,2),
       PRIMARY KEY (tenant, code, id)) SHARD BY HASH (tenant, code)""",
    "CREATE TABLE lonely (k bigint NOT NULL, n int NOT NULL, t text, PRIMARY KEY (k, n)) SHARD BY HASH (k)",
    "CREATE TABLE nothing (id int PRIMARY KEY, n int, t text, amount numeric(8,2)) SHARD BY HASH (id)",
    """CREATE TABLE levels (lv int NOT NULL, n int, t text) SHARD BY RANGE (lv)
       (BELOW (-10) ON shard0, BELOW (100) ON shard1, ON shard2)""",
    """CREATE TABLE sites (site int NOT NULL, n int, t text) SHARD BY LIST (site)
       (VALUES (1, 2) ON shard0, VALUES (3) ON shard1, DEFAULT ON shard2)""",
    """CREATE TABLE tree (id int PRIMARY KEY, parent int, label text) SHARD BY HASH (id)""",
    """CREATE TABLE edges (a int NOT NULL, b int NOT NULL, w int, PRIMARY KEY (a, b)) SHARD BY HASH (a)""",
    """CREATE TABLE scripts (id int PRIMARY KEY, s text, sc text COLLATE "C", si text COLLATE "en-x-icu", sv varchar(30) COLLATE "de-x-icu")
       SHARD BY HASH (id)""",
    "CREATE TABLE other.users (id bigint PRIMARY KEY, who text) SHARD BY HASH (id)",
    "CREATE TABLE rates (cur text NOT NULL, day date NOT NULL, rate numeric(10,4), PRIMARY KEY (cur, day)) REFERENCE",
    "CREATE TABLE groups (grp int PRIMARY KEY, title text, m mood) REFERENCE",
    "CREATE TABLE ledger (id int PRIMARY KEY, k bigint, t text, amount numeric(10,2), m mood)",
    "CREATE TABLE local_tree (id int PRIMARY KEY, parent int)",
]
RICH_TABLES = ["kinds", "facts", "marks", "stock", "lonely", "nothing", "levels", "sites", "tree", "edges", "scripts",
               "other.users", "rates", "groups", "ledger", "local_tree"]


class Lines:
    """Rows of one table as lines of COPY."""

    def __init__(self, r):
        self.r, self.lines = r, []

    def maybe(self, value, chance=0.1):
        return None if self.r.random() < chance else value

    def add(self, *values):
        def text(v):
            if v is None:
                return "\\N"
            return str(v).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
        self.lines.append("\t".join(map(text, values)))


NUMERICS = ["0", "1", "1.5", "-2.50", "3.14159265358979323846", "12345678901234567890.123456789", "-1e30", "1e-20", "NaN",
            "Infinity", "-Infinity", "99999999999999999999999999999999", "-0.001", "42", "7.25"]
FLOAT8S = ["0.5", "-1.25", "1e300", "-1e300", "1e-300", "NaN", "Infinity", "-Infinity", "3.75", "1024", "-7", "0.1"]
TEXTS = ["", " ", "a", "A", "abc", "Abc", "ABC", "ab c", "äpfel", "Äpfel", "e\u0301t\u00e9", "\u00e9t\u00e9", "ŻÓŁW", "żółw", "日本語",
         "ß", "ss", "😀", "it's", 'quo"te', "back\\slash", "tab\tbed", "two\nlines", "null", "NULL", "z", "Z", "_", "-", "10", "9"]
STAMPS = ["2026-01-01 00:00:00+00", "2026-01-01 01:00:00+01", "2026-03-29 01:30:00+00", "2026-10-25 00:30:00+00", "infinity",
          "-infinity", "1970-01-01 00:00:00.000001+00", "2025-12-31 23:59:59.999999-08", "0044-03-15 12:00:00+00 BC"]
INTERVALS = ["0", "1 day", "-1 day", "25:30:01.5", "1 mon", "1 year -3 days", "40 days", "-00:00:00.000001", "2 mons 3 days"]
JSONS = ["null", "1", '"x"', "[]", "{}", '{"a": 1}', '{"b": [1, 2, {"c": null}], "a": "ä"}', "[1, 2.50, true]", '{"a": {"b": "deep"}}']


def fill_kinds(out, r):
    def pick(values, chance=0.12):
        return out.maybe(r.choice(values), chance)
    for i in range(1, 61):
        out.add(i if i % 7 else -i, pick([0, 1, -1, 32767, -32768, r.randrange(-99, 99)]),
                pick([0, 7, -7, 2**63 - 1, -2**63, r.randrange(10**12)]), pick(NUMERICS),
                pick([f"{r.randrange(-10**6, 10**6) / 100:.2f}", "999999999999.99", "0.00"]),
                pick(["0.5", "-1.25", "1e30", "NaN", "Infinity", "3.75"]), pick(FLOAT8S), pick(TEXTS), pick(TEXTS), pick(["a", "a ", "Ab", "zz", ""]),
                pick("tf"), pick(["2026-01-01", "2025-12-31", "infinity", "-infinity", "0044-03-15 BC", "2026-02-28"]),
                pick(["2026-01-01 00:00:00", "2026-06-30 12:34:56.789", "infinity", "1999-12-31 23:59:59.999999"]), pick(STAMPS),
                pick(["00:00", "24:00:00", "12:34:56.789", "23:59:59.999999"]), pick(INTERVALS),
                pick([f"{r.getrandbits(128):032x}", "0" * 32]), pick(["\\x", "\\x00", "\\x00ff", "\\x6162", "\\x61"]),
                pick(JSONS), pick(JSONS), pick(["{}", "{1,2,3}", "{1,NULL}", "{{1,2},{3,4}}", "{-5}"]),
                pick(["{}", "{a,b}", '{"a,b",NULL,""}', "{ä}"]), pick(["sad", "ok", "happy"]),
                pick(["empty", "[1,5)", "(,3]", "[7,)", "(,)", "[2,3)"]), pick(["10.0.0.1", "10.0.0.0/8", "::1", "192.168.1.5/24"]),
                pick(["", "0", "1", "1010", "11110000"]), pick([1, 2, 99, 1000000]), pick(["(1,a)", '(,"x y")', "(3,)", "(-1,ä)"]))


def fill_facts(out, marks, r):
    for k in range(1, 61):
        for seq in range(r.choice((0, 1, 2, 3, 4, 5, 6))):
            out.add(k, seq, out.maybe(r.randrange(8)), out.maybe(r.choice(["aa", "ab", "b", "Ca", "cb", "ä", ""])),
                    out.maybe(f"{r.randrange(-10**6, 10**6) / 1000:.3f}"), out.maybe(r.randrange(-4000, 4000) / 16),
                    out.maybe(r.randrange(-20, 60)), out.maybe(f"2026-{r.randrange(1, 7):02}-{r.randrange(1, 29):02}"),
                    out.maybe(f"2026-0{r.randrange(1, 7)}-1{r.randrange(10)} {r.randrange(24):02}:15:00+0{r.randrange(4)}"),
                    out.maybe(r.choice("tf")), out.maybe(r.choice(["sad", "ok", "happy"])))
        for tag in r.sample(["red", "green", "blue", "élan", "x"], r.choice((0, 0, 1, 2, 3))):
            marks.add(k + r.choice((0, 0, 0, 40)), tag, marks.maybe(r.randrange(10)))


def fill_small(out, r):
    for tenant in range(1, 6):
        for code in ("a", "b", "ç"):
            for i in range(r.randrange(5)):
                out["stock"].add(tenant, code, i, out["stock"].maybe(r.randrange(-5, 30)), out["stock"].maybe(f"{r.randrange(10**5) / 100:.2f}"))
    for n in range(25):
        out["lonely"].add(7, n, out["lonely"].maybe(r.choice(TEXTS[:12])))
    for i in range(40):
        out["levels"].add(r.choice((-500, -11, -10, -9, 0, 1, 50, 99, 100, 101, 2**31 - 1, -2**31)), out["levels"].maybe(i % 6), out["levels"].maybe(r.choice("xyz")))
        out["sites"].add(r.choice((1, 2, 3, 3, 4, 5, -1)), out["sites"].maybe(i % 5), out["sites"].maybe(r.choice("xyz")))
    for i in range(1, 41):
        out["tree"].add(i, None if i < 4 else r.randrange(1, i), f"node {i}")
        out["local_tree"].add(i, None if i < 3 else i // 2)
        out["ledger"].add(i, out["ledger"].maybe(r.randrange(1, 70)), out["ledger"].maybe(r.choice(["red", "green", "paid", "aa", "x"])),
                          out["ledger"].maybe(f"{r.randrange(-9000, 9000) / 100:.2f}"), out["ledger"].maybe(r.choice(["sad", "ok", "happy"])))
    for a, b in sorted({(r.randrange(1, 16), r.randrange(1, 16)) for _ in range(45)}):
        out["edges"].add(a, b, out["edges"].maybe(r.randrange(1, 10)))
    for i, t in enumerate(TEXTS):
        out["scripts"].add(i, t, t, t, t)
    for i in range(1, 21):
        out["other.users"].add(i, f"other {i}")
    for cur in ("eur", "usd", "jpy"):
        for month in range(1, 7):
            out["rates"].add(cur, f"2026-0{month}-01", out["rates"].maybe(f"{r.randrange(1, 20000) / 10000:.4f}"))
    for g in range(7):
        out["groups"].add(g, out["groups"].maybe(f"group {g}"), out["groups"].maybe(("sad", "ok", "happy")[g % 3]))


def rich_rows(seed=7):
    """table -> lines for COPY."""
    r = random.Random(seed)
    out = {t: Lines(r) for t in RICH_TABLES}
    fill_kinds(out["kinds"], r)
    fill_facts(out["facts"], out["marks"], r)
    fill_small(out, r)
    for t in ("marks",):  # two ways to the same key
        seen = {}
        for line in out[t].lines:
            seen.setdefault(tuple(line.split("\t")[:2]), line)
        out[t].lines = list(seen.values())
    return {t: out[t].lines for t in RICH_TABLES}


# What random statements read is less: joins and sub-selects of theirs multiply rows.
FEW = {"users": 40, "orders": 60, "items": 80, "docs": 20, "names": 25, "facts": 70, "marks": 40}


def few_rows(lines_by_table):
    """The first lines of the tables of FEW; they have the same keys."""
    return {table: lines[:FEW.get(table)] for table, lines in lines_by_table.items()}
