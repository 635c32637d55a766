"""ALTER TABLE ... SHARD BY, REFERENCE, LOCAL: a table with rows is spread anew, whole or not at all."""

import threading
import time

import psycopg2

from report import Failed, expect, expect_that

ROWS = 3000


def start(place):
    place.fresh()
    c = place.connect()
    with c.cursor() as cur:
        cur.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
        cur.execute("CREATE TABLE people (id bigint PRIMARY KEY, name text COLLATE \"C\" NOT NULL, m mood DEFAULT 'ok', tags text[], "
                    "twice bigint GENERATED ALWAYS AS (id * 2) STORED, region text, CONSTRAINT positive CHECK (id > 0), "
                    "CONSTRAINT named UNIQUE (id, name)) WITH (fillfactor = 70)")
        cur.execute("CREATE INDEX people_name ON people (lower(name)) WHERE name <> ''")
        cur.execute("CREATE FUNCTION clean() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name = trim(NEW.name); RETURN NEW; END'")
        cur.execute("CREATE TRIGGER clean BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION clean()")
        cur.execute("COMMENT ON TABLE people IS 'it''s them'")
        cur.execute("COMMENT ON COLUMN people.m IS 'mood'")
        cur.execute("GRANT SELECT (name) ON people TO PUBLIC")
        cur.execute("ALTER TABLE people ALTER name SET STATISTICS 77")
        cur.execute("INSERT INTO people (id, name, tags, region) SELECT g, E' n\\t' || g, ARRAY['a', E'\\\\', NULL], 'r' || g % 3 "
                    f"FROM generate_series(1, {ROWS}) g")
        cur.execute("UPDATE people SET m = NULL, region = NULL WHERE id % 10 = 0")
    return c


CONTENT = ("SELECT count(*), count(m), sum(id), sum(twice), count(DISTINCT name), "
           "sum(array_length(tags, 1)) FROM people")
SHAPE = """md5((SELECT string_agg(format('%s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, attstattarget, attgenerated), ',' ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = 'people'::regclass AND attnum > 0) ||
    (SELECT string_agg(pg_get_constraintdef(oid), ',' ORDER BY conname) FROM pg_constraint WHERE conrelid = 'people'::regclass) ||
    (SELECT string_agg(pg_get_indexdef(indexrelid), ',' ORDER BY pg_get_indexdef(indexrelid)) FROM pg_index WHERE indrelid = 'people'::regclass) ||
    (SELECT string_agg(pg_get_triggerdef(oid) || tgenabled::text, ',' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'people'::regclass AND NOT tgisinternal) ||
    (SELECT string_agg(description, ',' ORDER BY objsubid) FROM pg_description WHERE objoid = 'people'::regclass) ||
    (SELECT string_agg(attacl::text, ',') FROM pg_attribute WHERE attrelid = 'people'::regclass) ||
    (SELECT reloptions::text || relowner::regrole::text FROM pg_class WHERE oid = 'people'::regclass))"""


def one(c, sql):
    with c.cursor() as cur:
        cur.execute(sql)
        return cur.fetchone()


def do(c, *statements):
    with c.cursor() as cur:
        for statement in statements:
            cur.execute(statement)


def refused(c, sql, code="0A000"):
    try:
        do(c, sql)
    except psycopg2.Error as e:
        expect(sql, code, e.pgcode)
        return e
    raise Failed(f"{sql}: is not refused")


def counts(place):
    return place.each("(SELECT count(*)::int FROM people)")


def round_trip(place):
    """local, hash, range, list, reference, and back."""
    c = start(place)
    do(c, "DROP TRIGGER clean ON people")  # reference tables have none
    other = place.connect()
    content = one(c, CONTENT)
    shape = place.servers[0].sql("SELECT " + SHAPE, "app")[0][0]
    for statement, kind in (("SHARD BY HASH (id)", "spread"), ("REFERENCE", "copies"), ("SHARD BY HASH (id)", "spread"),
                            ("SHARD BY RANGE (id) (BELOW (1000) ON shard2, BELOW (2000) ON shard0, ON shard1)", "spread"),
                            ("SHARD BY HASH (id)", "spread"), ("LOCAL", "home"), ("REFERENCE", "copies"), ("LOCAL", "home"),
                            ("SHARD BY RANGE (id) (BELOW (100) ON shard1, ON shard2)", "spread"), ("REFERENCE", "copies")):
        do(c, f"ALTER TABLE people {statement}")
        expect(statement, content, one(other, CONTENT))
        expect(statement, (f"n\t{ROWS}",), one(other, f"SELECT name FROM people WHERE id = {ROWS}"))
        if kind == "home":
            place.expect_each(statement, "to_regclass('people') IS NOT NULL", [True, False, False])
            continue
        n = counts(place)
        expect(f"{statement}: {n}", ROWS * (3 if kind == "copies" else 1), sum(n))
        place.expect_each(f"{statement}: shape", SHAPE, [shape] * 3)
        if "BELOW (1000)" in statement:
            expect("pieces", [1000, 1001, 999], n)
    other.close()
    c.close()


def with_trigger(place):
    """Triggers come along, in the state they have; they do not fire for rows that move."""
    c = start(place)
    do(c, "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'",
       "CREATE TRIGGER no BEFORE DELETE ON people FOR EACH ROW EXECUTE FUNCTION no()",
       "CREATE TRIGGER off BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION no()", "ALTER TABLE people DISABLE TRIGGER off")
    shape = place.servers[0].sql("SELECT " + SHAPE, "app")[0][0]
    content = one(c, CONTENT)
    for statement in ("SHARD BY HASH (id)", "SHARD BY RANGE (id) (BELOW (1000) ON shard2, ON shard1)", "LOCAL", "SHARD BY HASH (id)"):
        do(c, f"ALTER TABLE people {statement}")
        expect(statement, content, one(c, CONTENT))
    place.expect_each("shape", SHAPE, [shape] * 3)
    do(c, "INSERT INTO people (id, name) VALUES (99999, ' x ')")
    expect("trigger", ("x",), one(c, "SELECT name FROM people WHERE id = 99999"))
    refused(c, "DELETE FROM people WHERE id = 99999", "P0001")
    c.close()


def refusals(place):
    c = start(place)
    do(c, "CREATE TABLE child (id bigint REFERENCES people)", "CREATE VIEW v AS SELECT id FROM people")
    do(c, "CREATE VIEW u AS SELECT id FROM v")
    expect_that("views by name", "views use it: public.u, public.v\n" in str(refused(c, "ALTER TABLE people SHARD BY HASH (id)")))
    do(c, "DROP VIEW u, v")
    expect_that("foreign keys by name", "foreign keys refer to it: child_id_fkey of public.child\n" in
                str(refused(c, "ALTER TABLE people SHARD BY HASH (id)")))
    do(c, "DROP TABLE child")
    expect_that("unique", "must contain" in str(refused(c, "ALTER TABLE people SHARD BY HASH (name)")))
    refused(c, "ALTER TABLE people SHARD BY HASH (nothing)", "42703")
    refused(c, "ALTER TABLE people SHARD BY HASH (tags)")
    refused(c, "ALTER TABLE people LOCAL")
    refused(c, "ALTER TABLE nobody SHARD BY HASH (id)", "42P01")
    refused(c, "ALTER TABLE people SHARD BY HASH", "42601")
    do(c, "ALTER TABLE people DROP CONSTRAINT people_pkey, DROP CONSTRAINT named")
    refused(c, "ALTER TABLE people SHARD BY HASH (region)", "23502")
    refused(c, "ALTER TABLE people SHARD BY LIST (region) (VALUES ('r0') ON shard0)", "23502")
    expect("whole", ROWS, one(c, "SELECT count(*) FROM people")[0])
    place.expect_each("only at home", "to_regclass('people') IS NOT NULL", [True, False, False])
    do(c, "UPDATE people SET region = 'r9' WHERE region IS NULL",
       "ALTER TABLE people SHARD BY LIST (region) (VALUES ('r0', 'r1') ON shard1, DEFAULT ON shard2)")
    expect("whole", ROWS, one(c, "SELECT count(*) FROM people")[0])
    expect("list", 0, counts(place)[0])
    c.close()


def several_columns(place):
    """Keys of several columns and of text are placed by SQL as by pgbraid."""
    place.fresh()
    c = place.connect()
    do(c, "CREATE TABLE k (a int, b text, c uuid, d varchar(9), e smallint, n int)",
       "INSERT INTO k SELECT g, 'ü' || g, gen_random_uuid(), g, g % 100, g FROM generate_series(1, 300) g")
    for keys in ("a, b, c, d, e", "c", "d, a", "b"):
        do(c, f"ALTER TABLE k SHARD BY HASH ({keys})")
        columns = keys.split(", ")
        with c.cursor() as cur:
            cur.execute(f"SELECT {keys}, n FROM k ORDER BY n")
            rows = cur.fetchall()
            expect(keys, 300, len(rows))
            for row in rows[:60]:
                where = " AND ".join(f"{name} = %s" for name in columns)
                cur.execute(f"SELECT n FROM k WHERE {where}", row[:-1])
                expect(f"{keys} = {row}", (row[-1],), cur.fetchone())
        n = place.each("(SELECT count(*)::int FROM k)")
        expect_that(f"{keys}: {n}", sum(n) == 300 and min(n) > 50)
    c.close()


def interrupted(place):
    """Canceled, or a shard refuses at the end: the table is as it was."""
    c = start(place)
    holder = place.servers[2].connect("app")
    do(holder, "CREATE TABLE public.people_in_the_way (a int)", "CREATE INDEX people_name ON people_in_the_way (a)")
    refused(c, "ALTER TABLE people SHARD BY HASH (id)", "42P07")
    expect("whole", ROWS, one(c, "SELECT count(*) FROM people")[0])
    place.expect_each("only at home", "to_regclass('people') IS NOT NULL", [True, False, False])
    do(holder, "DROP TABLE people_in_the_way")
    reader = place.servers[0].connect("app")
    reader.autocommit = False
    do(reader, "SELECT count(*) FROM people")
    result = []

    def change():
        try:
            do(c, "ALTER TABLE people SHARD BY HASH (id)")
            result.append("done")
        except psycopg2.Error as e:
            result.append(e.pgcode)
    thread = threading.Thread(target=change)
    thread.start()
    time.sleep(0.5)
    c.cancel()
    thread.join(30)
    reader.rollback()
    expect("canceled", ["57014"], result)
    expect("whole", ROWS, one(c, "SELECT count(*) FROM people")[0])
    do(c, "BEGIN", "ALTER TABLE people SHARD BY HASH (id)", "UPDATE people SET m = 'sad' WHERE id < 11")
    expect("inside", 10, one(c, "SELECT count(*) FROM people WHERE m = 'sad'")[0])
    do(c, "ROLLBACK")
    expect("after ROLLBACK", (ROWS, 0), one(c, "SELECT count(*), count(*) FILTER (WHERE m = 'sad') FROM people"))
    place.expect_each("only at home", "to_regclass('people') IS NOT NULL", [True, False, False])
    holder.close()
    reader.close()
    c.close()


def killed(place):
    """pgbraid is killed at any moment: afterwards the table is the old one or the new one, whole."""
    c = start(place)
    content = one(c, CONTENT)
    spread = False
    for i in range(8):
        def change():
            try:
                do(c, "ALTER TABLE people LOCAL" if spread else "ALTER TABLE people SHARD BY HASH (id)")
            except psycopg2.Error:
                pass
        thread = threading.Thread(target=change)
        thread.start()
        time.sleep(0.02 + 0.06 * i)
        place.braid.kill()
        thread.join(30)
        place.braid.start()
        for server in place.servers:
            left = server.wait_sql("SELECT gid FROM pg_prepared_xacts", lambda rows: not rows, "app", 30)
            expect("prepared transactions", [], left)
        c = place.connect()
        expect(f"kill {i}", content, one(c, CONTENT))
        there = place.each("to_regclass('people') IS NOT NULL")
        spread = there[1]
        expect(f"kill {i}", [True, spread, spread], there)
        if spread:
            expect(f"kill {i}", ROWS, sum(counts(place)))
    c.close()


def colocated(place):
    c = start(place)
    do(c, "CREATE TABLE orders (person bigint, n int, PRIMARY KEY (person, n))", "INSERT INTO orders SELECT g, 1 FROM generate_series(1, 500) g",
       "ALTER TABLE people SHARD BY HASH (id)", "ALTER TABLE orders SHARD BY HASH (person) COLOCATE WITH people",
       "ALTER TABLE orders ADD FOREIGN KEY (person) REFERENCES people")
    expect("join", 500, one(c, "SELECT count(*) FROM orders o JOIN people p ON p.id = o.person")[0])
    refused(c, "ALTER TABLE people LOCAL")
    refused(c, "ALTER TABLE orders SHARD BY HASH (n) COLOCATE WITH people")
    c.close()


def run(place, report):
    for name, test in (("there and back", round_trip), ("with triggers", with_trigger),
                       ("refusals", refusals), ("keys of several columns", several_columns),
                       ("interrupted", interrupted), ("killed", killed),
                       ("colocated", colocated)):
        report.run(f"SHARD BY: {name}", test, place)
