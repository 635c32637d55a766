"""EXPLAIN shows the distributed plan, whatever the rung, in every format: one document that parses, with each
server's own inside. ANALYZE tells rows and bytes as they really were; what it runs is run.
"""

import json
import re
import xml.etree.ElementTree as xml

import psycopg2

from raw import Raw, SYNC, bind, describe, execute, parse, rows_of
from report import Failed, expect, expect_that

SCHEMA = [
    "CREATE TABLE users (id bigint PRIMARY KEY, name text, age int) SHARD BY HASH (id)",
    "CREATE TABLE orders (id bigint, user_id bigint, amount numeric(10,2), PRIMARY KEY (user_id, id)) SHARD BY HASH (user_id) COLOCATE WITH users",
    "CREATE TABLE countries (code text PRIMARY KEY, name text) REFERENCE",
    "CREATE TABLE here (id int, note text)",
    "INSERT INTO here VALUES (1, 'a'), (2, 'b'), (900, 'c')",
    "INSERT INTO countries VALUES ('de', 'Germany')",
]
# Statement, rung, words that its text must have
STATEMENTS = [
    ("SELECT * FROM here", "pass", "Route to shard0 (home of tables that are not sharded)"),
    ("SELECT * FROM countries", "pass", "(the same on every shard)"),
    ("SELECT * FROM users WHERE id = 7", "route", "users.id = 7, hash 0x"),
    ("SELECT * FROM users WHERE id IN (1, 2, 3) ORDER BY id", "prune", "Merge Sort (key: column 1)"),
    ("SELECT * FROM users", "spread", "SQL: SELECT * FROM users"),
    ("SELECT age % 3 AS m, count(*), avg(age), stddev(age) FROM users GROUP BY 1 ORDER BY 1 LIMIT 2", "spread", "Aggregate (groups: 1, count, avg, "),
    ("SELECT u.name FROM users u JOIN orders o ON o.id = u.age", "workspace", "Move braid_w1"),
    ("SELECT u.name, h.note FROM users u, here h WHERE h.id = u.id", "workspace", "Rest on"),
    ("SELECT name, rank() OVER (ORDER BY age) FROM users", "workspace", "Reason: "),
    ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r JOIN users u ON u.age = r.n", "workspace", "SQL: WITH RECURSIVE"),
]


def fill(place):
    place.fresh()
    c = place.braid.connect("app")
    with c.cursor() as cur:
        for statement in SCHEMA:
            cur.execute(statement)
        cur.execute("INSERT INTO users VALUES " + ", ".join(f"({i}, 'name {i}', {i % 7})" for i in range(60)))
        cur.execute("INSERT INTO orders VALUES " + ", ".join(f"({i}, {i}, {i}.5)" for i in range(40)))
    c.close()


def ask(c, statement):
    with c.cursor() as cur:
        cur.execute(statement)
        return cur.fetchall()


def text_of(c, statement):
    return "\n".join(r[0] for r in ask(c, statement))


def texts(place):
    c = place.braid.connect("app")
    for statement, rung, words in STATEMENTS:
        text = text_of(c, f"EXPLAIN (COSTS OFF) {statement}")
        expect_that(f"{statement}: {words} in\n{text}", words in text)
        ran = text_of(c, f"EXPLAIN (ANALYZE, COSTS OFF, BUFFERS, WAL, VERBOSE, SETTINGS, SUMMARY) {statement}")
        expect_that(f"{statement}: actual rows in\n{ran}", "actual time=" in ran)
        if rung not in ("pass", "route"):
            expect_that(f"{statement}: figures in\n{ran}", re.search(r"\(rows=\d+ bytes=\d+ time=\d+\.\d+ ms\)", ran))
        untimed = text_of(c, f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {statement}")
        expect_that(f"{statement}: no times in\n{untimed}", "time=" not in untimed)
    text = text_of(c, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM users WHERE age = 3 ORDER BY id LIMIT 4")
    expect_that(f"4 rows in\n{text}", "Answer: (rows=4 " in text)
    rows = [int(n) for n in re.findall(r"On shard\d: \(rows=(\d+) ", text)]
    expect_that(f"rows of the shards: {rows}", len(rows) == 3 and sum(rows) >= 4)
    expect_that("verbose says why", "Reason: no condition binds the sharding key to a value" in text_of(c, "EXPLAIN (VERBOSE) SELECT * FROM users"))


def plan_of(document):
    """Our own object in the document, and all documents of servers in it."""
    inside = []

    def walk(node):
        if isinstance(node, dict):
            for name, value in node.items():
                if name == "Explain":
                    inside.append(value)
                else:
                    walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)
    walk(document)
    return document[0]["Plan"], inside


def documents(place):
    c = place.braid.connect("app")
    for statement, rung, _ in STATEMENTS:
        for options in ("FORMAT json", "FORMAT json, ANALYZE, VERBOSE, BUFFERS"):
            rows = ask(c, f"EXPLAIN ({options}) {statement}")
            expect("rows", 1, len(rows))
            document = rows[0][0] if not isinstance(rows[0][0], str) else json.loads(rows[0][0])
            if rung == "pass":
                expect_that(f"{statement}: the server's own", "Node Type" in document[0]["Plan"])
                continue
            plan, inside = plan_of(document)
            expect(f"{statement}: rung", rung, plan["Rung"])
            expect_that(f"{statement}: plans of servers", inside and all("Node Type" in d[0]["Plan"] for d in inside))
            if rung == "workspace":
                expect_that(f"{statement}: moves", all(m["SQL"].startswith("SELECT") for m in plan["Moves"]) and "SQL" in plan["Rest"])
            if "ANALYZE" in options and rung in ("spread", "prune"):
                expect_that(f"{statement}: figures", plan["Actual Rows"] >= 0 and all("Actual Bytes" in p for p in plan["Parts"]))
        for options in ("FORMAT xml", "FORMAT xml, ANALYZE"):
            tree = xml.fromstring(ask(c, f"EXPLAIN ({options}) {statement}")[0][0])
            expect_that("root", tree.tag.endswith("explain"))
            if rung != "pass":
                expect("rung", rung, tree.find(".//{*}Rung").text)
                expect_that("plans of servers", tree.findall(".//{*}Explain//{*}Node-Type"))
        for options in ("FORMAT yaml", "FORMAT yaml, ANALYZE"):
            text = ask(c, f"EXPLAIN ({options}) {statement}")[0][0]
            if rung != "pass":
                yaml_document(text, rung)


def yaml_document(text, rung):
    try:
        import yaml
    except ImportError:
        expect_that(text, f'Rung: "{rung}"' in text and not re.search(r"^(?! |- Plan:)", text, re.M))
        return
    plan, inside = plan_of(yaml.safe_load(text))
    expect(f"rung in\n{text}", rung, plan["Rung"])
    expect_that(f"plans of servers in\n{text}", inside and all("Node Type" in d[0]["Plan"] for d in inside))


def parameters(place):
    """The extended protocol, with parameters in text and binary."""
    with Raw(place.braid.port) as raw:
        raw.login()
        for statement, values, words in (
                ("SELECT * FROM users WHERE id = $1", ["7"], "Route to "),
                ("SELECT * FROM users WHERE age = $1 ORDER BY id LIMIT $2", ["3", "2"], "Merge Sort"),
                ("SELECT u.name FROM users u JOIN orders o ON o.id = u.age WHERE o.amount > $1", ["3"], "Move braid_w1"),
                ("UPDATE users SET age = $1 WHERE id = $2", ["3", "2"], "Update on users")):
            for options in ("(COSTS OFF)", "(COSTS OFF, ANALYZE)"):
                text = f"EXPLAIN {options} {statement}"
                got = raw.ask(parse(text), describe("S"), SYNC)
                parameters = [int.from_bytes(b[:2], "big") for k, b in got if k == "t"]
                expect(f"{text}: parameters ({got})", [len(values)], parameters)
                got = raw.ask(parse(text), bind(values), describe("P"), execute(), SYNC)
                expect_that(f"{text}: {got}", any(words in r[0] for r in rows_of(got)))
        got = raw.ask(parse("EXPLAIN (FORMAT json) SELECT * FROM users WHERE age = $1"), bind(["3"]), describe("P"), execute(), SYNC)
        expect("type of the column", (114).to_bytes(4, "big"), [b for k, b in got if k == "T"][0][-12:-8])
    import psycopg
    with psycopg.connect(place.braid.dsn("app"), autocommit=True) as c:
        rows = c.execute("EXPLAIN (FORMAT json) SELECT * FROM users WHERE age = %s", (3,)).fetchall()
        expect("psycopg 3 reads it", "spread", rows[0][0][0]["Plan"]["Rung"])


def effects(place):
    """ANALYZE of a write writes once, and is rolled back with its transaction; of a read in one sees what it wrote."""
    c = place.braid.connect("app", autocommit=False)
    before = int(ask(c, "SELECT sum(age) FROM users")[0][0])
    text_of(c, "EXPLAIN ANALYZE UPDATE users SET age = age + 100")
    expect("once", before + 6000, int(ask(c, "SELECT sum(age) FROM users")[0][0]))
    text = text_of(c, "EXPLAIN (ANALYZE, COSTS OFF) SELECT u.name FROM users u JOIN orders o ON o.id + 100 = u.age")
    expect_that(f"own writes in\n{text}", "actual" in text)
    c.rollback()
    expect("rolled back", before, int(ask(c, "SELECT sum(age) FROM users")[0][0]))
    c.rollback()
    for statement, code in (("EXPLAIN EXECUTE q", "26000"), ("EXPLAIN (FORMAT odd) SELECT * FROM users", "22023"),
                            ("EXPLAIN (ANALYZE) SELECT 1 / (id - 5) FROM users", "22012"), ("EXPLAIN SELECT nothing FROM users", "42703"),
                            ("EXPLAIN ANALYZE SELECT u.name FROM users u JOIN orders o ON o.id = u.age / (u.id - 5)", "22012")):
        try:
            ask(c, statement)
            raise Failed(f"{statement}: no error")
        except psycopg2.Error as e:
            expect(f"{statement}: {e}", code, e.pgcode)
        c.rollback()
    expect("goes on", [(60,)], ask(c, "SELECT count(*) FROM users"))
    c.close()


# Statement, lines that EXPLAIN must have, in this order
WRITES = [
    ("UPDATE users u SET age = s.c FROM (SELECT age, count(*) AS c FROM users GROUP BY age) s WHERE s.age = u.age",
     ["Write of rows", "  Reason: ", "  Write users by key (id)", "    SQL: UPDATE users ", "(rows)", "  Source", "    Workspace on ", "      Move braid_w1"]),
    ("UPDATE users SET id = id + 1000 WHERE age = 3",
     ["Write of rows", "  Reason: a row with another key", "  Write users by key (id): rows that go to another shard", "SQL: DELETE",
      "  Write users by key (id): rows that stay on their shard", "SQL: UPDATE", "  Write users by key (id): rows that go to another shard", "SQL: INSERT", "  Source", "    Append", "On shard0:"]),
    ("INSERT INTO here SELECT id, name FROM users WHERE age = 2",
     ["Write of rows", "  Reason: the rows are on other shards", "  Write to the home shard", "    SQL: INSERT INTO here", "  Source", "    Append", "      Shards: shard0, shard1, shard2 (3 of 3)"]),
    ("INSERT INTO countries SELECT 'c' || id, name FROM users WHERE id = 5",
     ["Write of rows", "  Reason: every copy must get the same values", "  Write countries to every shard", "    SQL: INSERT INTO countries", "  Source", "    Route to ", "      SQL: SELECT"]),
    ("DELETE FROM users u USING orders o WHERE o.id = u.age", ["Write of rows", "  Write users by key (id)", "    SQL: DELETE FROM users", "  Source", "Move braid_w1"]),
]


def writes(place):
    """Rows that are read first: where they go, and how they are read. Nothing is written."""
    c = place.braid.connect("app")
    before = [ask(c, f"SELECT count(*), sum(hashtext(name)::bigint) FROM {t} t") for t in ("users", "countries")]
    for statement, lines in WRITES:
        text = text_of(c, f"EXPLAIN (COSTS OFF) {statement}")
        at = 0
        for line in lines:
            at = text.find(line, at)
            expect_that(f"{statement}: {line} in\n{text}", at >= 0)
            at += len(line)
        rows = ask(c, f"EXPLAIN (FORMAT json) {statement}")
        plan, inside = plan_of(rows[0][0] if not isinstance(rows[0][0], str) else json.loads(rows[0][0]))
        expect(f"{statement}: rung", "rows", plan["Rung"])
        expect(f"{statement}: steps", len([line for line in lines if "  Write " in line]), len(plan["Writes"]))
        expect_that(f"{statement}: {plan}", all(w["SQL"] and w["Target"] and w["Rows"] for w in plan["Writes"]) and plan["Source"]["Rung"] and plan["Reason"])
        expect_that(f"{statement}: plans of servers", inside and all("Node Type" in d[0]["Plan"] for d in inside))
        tree = xml.fromstring(ask(c, f"EXPLAIN (FORMAT xml) {statement}")[0][0])
        expect_that("plans of servers", tree.findall(".//{*}Source//{*}Explain//{*}Node-Type"))
        yaml_document(ask(c, f"EXPLAIN (FORMAT yaml) {statement}")[0][0], "rows")
        try:
            text_of(c, f"EXPLAIN ANALYZE {statement}")
            raise Failed(f"EXPLAIN ANALYZE {statement}: no error")
        except psycopg2.Error as e:
            expect(f"{statement}: {e}", "0A000", e.pgcode)
            expect_that(f"hint of {e}", "Leave ANALYZE out" in str(e))
    with Raw(place.braid.port) as raw:
        raw.login()
        text = "EXPLAIN (COSTS OFF) UPDATE users SET id = id + $1, name = $2 WHERE age = $3"
        for parts in ((parse(text), SYNC), (parse(text), describe("S"), SYNC)):
            expect_that("it is parsed", "E" not in [k for k, _ in raw.ask(*parts)])
            got = raw.ask(parse(text), bind(["1000", "x", "3"]), describe("P"), execute(), SYNC)
            expect_that(f"{text}: {got}", any("Write users by key (id)" in r[0] for r in rows_of(got)))
    expect("nothing was written", before,
           [ask(c, f"SELECT count(*), sum(hashtext(name)::bigint) FROM {t} t") for t in ("users", "countries")])


def split(place):
    """An INSERT of several rows: each shard's part of it; ANALYZE inserts them."""
    c = place.braid.connect("app", autocommit=False)
    values = ", ".join(f"({i}, 'x', 1)" for i in range(200, 212))
    text = text_of(c, f"EXPLAIN (COSTS OFF) INSERT INTO users VALUES {values}")
    parts = re.findall(r"On (shard\d):\n +SQL: INSERT INTO users VALUES (.*)\n +Insert on users", text)
    expect(f"shards in\n{text}", ["shard0", "shard1", "shard2"], [shard for shard, _ in parts])
    expect("ids", list(range(200, 212)), sorted(int(i) for _, rows in parts for i in re.findall(r"\((\d+), 'x', 1\)", rows)))
    expect("none is there", [(0,)], ask(c, "SELECT count(*) FROM users WHERE id BETWEEN 200 AND 211"))
    plan, inside = plan_of(ask(c, f"EXPLAIN (FORMAT json) INSERT INTO users VALUES {values}")[0][0])
    expect_that(f"parts of {plan}", all(p["SQL"].startswith("INSERT INTO users VALUES (2") for p in plan["Parts"]) and len(inside) == 3)
    text_of(c, f"EXPLAIN (ANALYZE) INSERT INTO users VALUES {values}")
    expect("all are there", [(12,)], ask(c, "SELECT count(*) FROM users WHERE id BETWEEN 200 AND 211"))
    c.rollback()
    with Raw(place.braid.port) as raw:
        raw.login()
        text = "EXPLAIN (COSTS OFF) INSERT INTO users (id, name) VALUES ($1, $2), ($3, $4), ($5, $6), ($7, $8)"
        for _ in range(2):
            got = raw.ask(parse(text), bind(["1001", "a", "1002", "b", "1003", "c", "1004", "d"]), describe("P"), execute(), SYNC)
            expect_that(f"{text}: {got}", any("Write shard by shard" in r[0] for r in rows_of(got)))
            text += " RETURNING id"
        wrong = "EXPLAIN INSERT INTO users (id, nothing) VALUES ($1, $2), ($3, $4)"
        got = raw.ask(parse(wrong), bind(["1001", "a", "1002", "b"]), describe("P"), execute(), SYNC)
        expect(f"{wrong}: {got}", 1, len([1 for k, body in got if k == "E" and b"C42703" in body]))
        expect("goes on", [["1"]], [list(r) for r in rows_of(raw.ask(parse("SELECT $1::int"), bind(["1"]), execute(), SYNC))])
    c.close()


SUBJECT = "EXPLAIN"
TESTS = [
    ("texts", texts),
    ("JSON, XML, YAML", documents),
    ("parameters", parameters),
    ("writes that read first", writes),
    ("INSERT that is split", split),
    ("ANALYZE runs it", effects),
]
