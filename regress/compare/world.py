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
