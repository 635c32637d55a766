"""pg_dump of a sharded database through the proxy is one dump of the whole: it can be restored into one
PostgreSQL, which then has all rows, and through pgbraid into empty shards, where tables are sharded again.
"""

import os
import re
import subprocess

from pg import BIN
from report import Failed, expect, expect_that

SCHEMA = [
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "CREATE DOMAIN amount AS numeric(10,2) CHECK (VALUE >= 0)",
    "CREATE TYPE pair AS (a int, b mood)",
    "CREATE SCHEMA \"Odd Place\"",
    "CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'",
    "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, m mood, p pair, twice int GENERATED ALWAYS AS (7) STORED) "
    "SHARD BY HASH (id)",
    "CREATE TABLE orders (user_id bigint REFERENCES users, id bigint, total amount, note text DEFAULT 'no''ne', PRIMARY KEY (user_id, id)) "
    "SHARD BY HASH (user_id) COLOCATE WITH users",
    "CREATE UNIQUE INDEX users_email ON users (email) /* braid: global */",
    "CREATE INDEX orders_total ON orders (total) WHERE total > 1",
    "CREATE TABLE visits (day date, page text) SHARD BY RANGE (day) (BELOW ('2026-04-01') ON shard0, BELOW ('2026-07-01') ON shard1, ON shard2)",
    "CREATE TABLE regions (code text, n int) SHARD BY LIST (code) (VALUES ('a', 'b') ON shard1, DEFAULT ON shard2)",
    "CREATE TABLE \"Odd Place\".\"Odd\"\"Table\" (\"Key\" text PRIMARY KEY, v bytea) SHARD BY HASH (\"Key\")",
    "CREATE TABLE countries (code text PRIMARY KEY, name text) REFERENCE",
    "CREATE TABLE settings (name text PRIMARY KEY, value text)",
    "CREATE SEQUENCE numbers START 42",
    "CREATE VIEW named AS SELECT name FROM settings",
    "COMMENT ON TABLE users IS 'people; it''s them'",
    "COMMENT ON COLUMN orders.total IS 'in cents'",
    "GRANT SELECT ON users TO PUBLIC",
]
TABLES = ["users", "orders", "visits", "regions", '"Odd Place"."Odd""Table"', "countries", "settings"]


def fill(place):
    place.fresh()
    c = place.braid.connect("app")
    with c.cursor() as cur:
        for statement in SCHEMA:
            cur.execute(statement)
        for i in range(60):
            cur.execute("INSERT INTO users VALUES (%s, %s, %s, %s)", (i, f"line\n{i}\t\\", ("sad", "ok", None)[i % 3], f"({i},ok)"))
            cur.execute("INSERT INTO orders VALUES (%s, %s, %s)", (i, i, i * 1.25))
            cur.execute("INSERT INTO visits VALUES (%s, 'p')", (f"2026-{i % 12 + 1:02}-10",))
            cur.execute("INSERT INTO regions VALUES (%s, %s)", ("abcd"[i % 4], i))
            cur.execute('INSERT INTO "Odd Place"."Odd""Table" VALUES (%s, %s)', (f"k{i}", bytes([i])))
        cur.execute("INSERT INTO countries VALUES ('de', 'Germany'), ('fr', NULL)")
        cur.execute("INSERT INTO settings VALUES ('a', 'b')")
        cur.execute("SELECT nextval('numbers')")
    c.close()


def contents(c):
    out = {}
    with c.cursor() as cur:
        for table in TABLES:
            cur.execute(f"SELECT * FROM {table}")
            out[table] = sorted(map(repr, (tuple(bytes(v) if isinstance(v, memoryview) else v for v in r) for r in cur.fetchall())))
        cur.execute("SELECT last_value, is_called FROM numbers")
        out["numbers"] = cur.fetchall()
    c.close()
    return out


def run_tool(*words, ok=True, text=None):
    done = subprocess.run([f"{BIN}/{words[0]}", *words[1:]], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, timeout=120, env={**os.environ, "PGOPTIONS": "", "LC_ALL": "C.UTF-8"})
    if ok and done.returncode != 0:
        raise Failed(f"{words}: {done.stderr[-2000:]}")
    return done


def sorted_dump(text):
    """The dump with the rows of each COPY in order, for they come in any."""
    out, rows = [], None
    for line in text.splitlines():
        if rows is not None and line != "\\.":
            rows.append(line)
        elif rows is not None:
            out += sorted(rows) + [line]
            rows = None
        elif not re.match(r"\\(un)?restrict |-- Dumped|COMMENT ON TABLE braid.unique_changes|.*unique_changes_id_seq'|.*has_table_privilege", line):
            out.append(line)
            rows = [] if line.startswith("COPY ") else None
    return out


def into_plain(place):
    want = contents(place.braid.connect("app"))
    dump = run_tool("pg_dump", place.braid.dsn("app")).stdout
    run_tool("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", place.direct_dsn(), text=dump)
    expect("rows in one PostgreSQL", want, contents(place.direct()))
    plain = place.direct()
    with plain.cursor() as cur:  # triggers of the global unique index know that they are elsewhere
        cur.execute("BEGIN")
        cur.execute("UPDATE users SET email = 'x' || email")
        cur.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cur.execute("ROLLBACK")
    plain.close()
    again = run_tool("pg_dump", place.direct_dsn()).stdout
    expect("the dump of the copy", sorted_dump(dump), sorted_dump(again))


def kinds(place):
    """Parts of a dump, and the other formats."""
    dsn = place.braid.dsn("app")
    text = run_tool("pg_dump", "--schema-only", dsn).stdout
    expect_that("schema only", "CREATE TABLE public.users" in text and "COPY " not in text)
    text = run_tool("pg_dump", "--data-only", "-t", "users", dsn).stdout
    expect("one table", 1, text.count("COPY "))
    text = run_tool("pg_dump", "--exclude-schema=braid", dsn).stdout
    left = [line for line in text.splitlines() if "braid" in line and "braid_users_email_" not in line]
    expect("without our schema, but for triggers of a global unique index", [], left)
    text = run_tool("pg_dump", "--data-only", "--inserts", "-t", "users", dsn).stdout  # reads through a cursor
    expect("INSERTs of one table", 60, text.count("INSERT INTO public.users"))
    path = os.path.join(place.fleet.folder, "dump.custom")
    run_tool("pg_dump", "-Fc", "-f", path, dsn)
    expect_that("custom format", "TABLE DATA public orders" in run_tool("pg_restore", "-l", path).stdout)
    place.servers[0].sql("DROP OWNED BY app CASCADE", "plain")
    place.servers[0].sql("DROP SCHEMA IF EXISTS braid CASCADE", "plain")
    run_tool("pg_restore", "--exit-on-error", "-d", place.direct_dsn(), path)
    expect("rows after pg_restore", contents(place.braid.connect("app")), contents(place.direct()))


def into_shards(place):
    """Through pgbraid into servers where nothing is: CREATE TABLE in the dump has no SHARD BY, but schema braid tells."""
    want = contents(place.braid.connect("app"))
    dump = run_tool("pg_dump", place.braid.dsn("app")).stdout
    path = os.path.join(place.fleet.folder, "dump.custom")
    run_tool("pg_dump", "-Fc", "-f", path, place.braid.dsn("app"))
    place.fresh()
    run_tool("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", place.braid.dsn("app"), text=run_tool("pg_restore", "-f", "-", path).stdout)
    expect("rows", want, contents(place.braid.connect("app")))
    counts = [s.sql("SELECT count(*) FROM users", "app")[0][0] for s in place.servers]
    expect("users on the shards", 60, sum(counts))
    expect_that(f"each shard has some: {counts}", all(counts))
    expect("countries everywhere", [2, 2, 2], [s.sql("SELECT count(*) FROM countries", "app")[0][0] for s in place.servers])
    expect("settings on the home shard", [1, 0, 0],
           [s.sql("SELECT count(*) FROM pg_class WHERE relname = 'settings'", "app")[0][0] for s in place.servers])
    again = run_tool("pg_dump", place.braid.dsn("app")).stdout
    expect("the dump of the copy", sorted_dump(dump), sorted_dump(again))


def settings_of_a_dump(place):
    """What pg_dump asks of its session: set_config(), PREPARE."""
    c = place.braid.connect("app")
    with c.cursor() as cur:
        cur.execute("SELECT pg_catalog.set_config('search_path', '\"Odd Place\", public', false)")
        expect("set_config()", [('"Odd Place", public',)], cur.fetchall())
        cur.execute("SHOW search_path")
        expect("search_path", [('"Odd Place", public',)], cur.fetchall())
        cur.execute('SELECT count(*) FROM "Odd""Table"')
        expect("a table of it, on all shards", [(60,)], cur.fetchall())
        cur.execute("SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'no_such_setting'")
        expect("a setting that is not there", [], cur.fetchall())
        cur.execute("SELECT set_config(name, '7s', false) AS was FROM pg_settings WHERE name = 'statement_timeout'")
        expect("one that is", [("7s",)], cur.fetchall())
        cur.execute("SELECT count(*) FROM pg_settings WHERE name = 'statement_timeout' AND setting = '7000'")
        expect("it holds", [(1,)], cur.fetchall())
        cur.execute("SELECT set_config('app.user', 'o''neil', false)")
        for i in range(4):
            cur.execute(f"SELECT current_setting('app.user') FROM users WHERE id = {i}")
            expect("on every shard", [("o'neil",)], cur.fetchall())
        cur.execute("BEGIN")
        cur.execute("SELECT set_config('app.user', 'inside', true)")
        cur.execute("SELECT DISTINCT current_setting('app.user') FROM users")
        expect("local to a transaction", [("inside",)], cur.fetchall())
        cur.execute("ROLLBACK")
        cur.execute("SELECT DISTINCT current_setting('app.user') FROM users")
        expect("after it", [("o'neil",)], cur.fetchall())
        cur.execute("PREPARE q (oid) AS SELECT relname FROM pg_class WHERE oid = $1")
        cur.execute("EXECUTE q('countries'::regclass)")
        expect("EXECUTE", [("countries",)], cur.fetchall())
        cur.execute("PREPARE r AS SELECT name FROM countries WHERE code = $1")
        cur.execute("EXECUTE r('de')")
        expect("of a reference table", [("Germany",)], cur.fetchall())
        cur.execute("DEALLOCATE q")
    c.close()


SUBJECT = "pg_dump"
TESTS = [
    ("settings and prepared statements", settings_of_a_dump),
    ("into one PostgreSQL", into_plain),
    ("parts and formats", kinds),
    ("into empty shards", into_shards),
]
