"""braidctl schema check and verify: what differs between shards is shown, and nothing else."""

import os
import subprocess

from braid import build_dir
from report import expect, expect_that


def braidctl(place, *words):
    done = subprocess.run([os.path.join(build_dir(place.build), "braidctl"), "-c", place.braid.path, *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    return done.returncode, done.stdout


def start(place):
    place.fresh()
    c = place.connect()
    with c.cursor() as cur:
        for statement in [
                "CREATE TYPE mood AS ENUM ('sad', 'ok')",
                "CREATE TABLE users (id bigint PRIMARY KEY, name text DEFAULT 'x', m mood, CONSTRAINT named CHECK (name <> '')) SHARD BY HASH (id)",
                "CREATE INDEX users_name ON users (name)",
                "CREATE TABLE pairs (a int, b text, PRIMARY KEY (a, b)) SHARD BY HASH (a, b)",
                "CREATE TABLE days (d date, n int) SHARD BY RANGE (d) (BELOW ('2026-01-01') ON shard1, ON shard0)",
                "CREATE TABLE lists (r text, n int) SHARD BY LIST (r) (VALUES ('a', 'b') ON shard2, DEFAULT ON shard0)",
                "CREATE TABLE parts (id bigint, n int) PARTITION BY RANGE (n) SHARD BY HASH (id)",
                "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000)",
                "CREATE TABLE countries (code text PRIMARY KEY, name text) REFERENCE",
                "CREATE TABLE settings (k text PRIMARY KEY, v text)",
                "CREATE VIEW names AS SELECT id, name FROM users",
                "CREATE VIEW local AS SELECT k FROM settings",
                "CREATE FUNCTION doubled(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$\nSELECT\n  2 * $1\n$$",
                "CREATE POLICY p ON users USING (id > 0)",
                "GRANT SELECT ON users TO PUBLIC",
                "INSERT INTO users (id) VALUES " + ", ".join(f"({i})" for i in range(1, 100)),
                "INSERT INTO pairs VALUES " + ", ".join(f"({i}, 'ü{i}')" for i in range(1, 100)),
                "INSERT INTO days VALUES ('2025-01-01', 1), ('2026-01-01', 1)",
                "INSERT INTO lists VALUES ('a', 1), ('z', 1)",
                "INSERT INTO parts VALUES " + ", ".join(f"({i}, {i})" for i in range(1, 100)),
                "INSERT INTO countries VALUES ('de', 'x'), ('fr', 'y'), ('it', 'z')"]:
            cur.execute(statement)
    c.close()


def clean(place):
    start(place)
    expect("schema check", (0, "3 shards: no differences\n"), braidctl(place, "schema", "check"))
    status, text = braidctl(place, "verify")
    expect(f"verify: {text}", 0, status)
    for line in ("public.users: 99 rows, each on its shard", "public.countries: 3 equal copies of 3 rows", "public.parts: 99 rows"):
        expect_that(text, line in text)


def schema(place):
    start(place)
    for server, statement, words in [
            (1, "ALTER TABLE users ALTER name SET DEFAULT 'y'", ["shard1: column public.users.name differs", "- text", "default 'x'", "default 'y'"]),
            (1, "ALTER TABLE lists ALTER n TYPE bigint", ["shard1: column public.lists.n differs", "- integer", "+ bigint"]),
            (2, "ALTER TABLE users ADD COLUMN extra int", ["shard2: column public.users.extra should not be there"]),
            (2, "DROP INDEX users_name", ["shard2: index public.users.users_name is missing", "CREATE INDEX users_name"]),
            (1, "ALTER TABLE users DROP CONSTRAINT named", ["shard1: constraint public.users.named is missing"]),
            (1, "CREATE OR REPLACE FUNCTION doubled(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$\nSELECT\n  3 * $1\n$$",
             ["shard1: function public.doubled(integer) differs", "    -   2 * $1\n    +   3 * $1\n"]),
            (2, "DROP POLICY p ON users", ["shard2: policy public.users.p is missing"]),
            (1, "ALTER TYPE mood ADD VALUE 'up'", ["shard1: type public.mood differs", "'up'"]),
            (2, "REVOKE SELECT ON users FROM PUBLIC", ["shard2: table public.users differs"]),
            (2, "CREATE OR REPLACE VIEW names AS SELECT id, name || 'x' AS name FROM users", ["shard2: view public.names differs"]),
            (1, "DROP VIEW names", ["shard1: view public.names is missing"]),
            (1, "DROP TABLE parts_1", ["shard1: table public.parts_1 is missing"]),
            (2, "CREATE TABLE stray (a int)", ["shard2: table public.stray should not be there"]),
            (2, "CREATE TABLE settings (a int)", ["shard2: table public.settings should not be there"]),
            (0, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_name'::regclass", ["shard0: index public.users.users_name is not valid"])]:
        place.servers[server].sql(statement, "app")
        status, text = braidctl(place, "schema", "check")
        expect(f"{statement}: {text}", 1, status)
        for word in words:
            expect_that(f"{statement}: {word!r} in\n{text}", word in text)
    expect_that(text, "settings.k" not in text and "local" not in text)  # what is told by its table


def rows(place):
    start(place)
    place.servers[1].sql("UPDATE countries SET name = 'other' WHERE code = 'fr'; DELETE FROM countries WHERE code = 'de'", "app")
    place.servers[2].sql("INSERT INTO countries VALUES ('xx')", "app")
    place.servers[0].sql("DELETE FROM users; INSERT INTO users (id) SELECT generate_series(1, 60); INSERT INTO days VALUES ('2020-01-01', 2)", "app")
    place.servers[1].sql("INSERT INTO lists VALUES (NULL, 1)", "app")
    status, text = braidctl(place, "verify")
    expect(text, 1, status)
    for line in ("public.countries: the copy on shard1 (2 rows) is not that on shard0 (3 rows)", "    fr: other values", "    de: missing there",
                 "public.countries: the copy on shard2", "    xx: only there", "rows on shard0 belong elsewhere: (", ", ...\n",
                 "public.days: 1 rows on shard0 belong elsewhere: (2020-01-01)", "public.lists: 1 rows on shard1 belong elsewhere",
                 "public.pairs: 99 rows, each on its shard"):
        expect_that(f"{line!r} in\n{text}", line in text)


def failing(place):
    status, text = braidctl(place, "schema")
    expect(text, 2, status)
    status, text = braidctl(place, "verify", "-d", "nobody")
    expect(text, 2, status)
    place.servers[2].stop()
    status, text = braidctl(place, "schema", "check")
    place.servers[2].start()
    expect(text, 2, status)
    expect_that(text, "shard2" in text)


def run(place, report):
    for name, test in (("no differences", clean), ("schema", schema), ("rows", rows), ("failures", failing)):
        report.run(f"drift: {name}", test, place)
