"""
What a session leaves on a server connection: it must follow the session, and never meet another.

A table of things a client may do. Each is done by client A through a pool of one connection; then A
must see what it did, and B, which gets the same connection, must see a clean session: at once, or
when A is pinned after A has ended the state, and after A has left.
"""

import psycopg2

import pg
from report import Failed, expect, expect_that
from place import wait_for

# What a session can see of its own state; the same text for a session that has just begun.
FINGERPRINT = """
SELECT current_user, session_user,
       (SELECT string_agg(name || '=' || setting, ',' ORDER BY name) FROM pg_settings
         WHERE source = 'session'),
       (SELECT count(*) FROM pg_listening_channels()),
       (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
       (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
       (SELECT count(*) FROM pg_cursors WHERE is_holdable),
       (SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'pgbraid%'),
       nullif(current_setting('app.x', true), '')"""
CLEAN = ("app", "app", None, 0, 0, 0, 0, 0, None)

# name, statements of A, the reason in SHOW CLIENTS (None: not pinned),
# what A asks afterwards and sees, statements that end the state
STATES = [
    ("set", ["SET work_mem = '7MB'"], None, "SHOW work_mem", "7MB", ["RESET work_mem"]),
    ("set to default", ["SET work_mem = '7MB'", "SET work_mem TO DEFAULT"], None, "SHOW work_mem",
     "4MB", []),
    ("set custom", ["SET app.x = 'mine'"], None, "SHOW app.x", "mine", ["RESET app.x"]),
    ("set in transaction", ["BEGIN; SET work_mem = '7MB'; COMMIT"], None, "SHOW work_mem", "7MB",
     ["RESET ALL"]),
    ("set rolled back", ["BEGIN; SET work_mem = '7MB'; ROLLBACK"], None, "SHOW work_mem", "4MB", []),
    ("set rolled back, separately", ["BEGIN", "SET work_mem = '7MB'", "SELECT 1", "ROLLBACK"], None,
     "SHOW work_mem", "4MB", []),
    ("set to savepoint", ["BEGIN", "SET work_mem = '7MB'", "SAVEPOINT a", "SET work_mem = '9MB'",
                          "ROLLBACK TO a", "COMMIT"], None, "SHOW work_mem", "7MB", ["RESET ALL"]),
    ("set local", ["BEGIN", "SET LOCAL work_mem = '7MB'", "COMMIT"], None, "SHOW work_mem", "4MB", []),
    ("set local over set", ["BEGIN", "SET work_mem = '7MB'", "SET LOCAL work_mem = '9MB'", "COMMIT"],
     None, "SHOW work_mem", "7MB", ["RESET ALL"]),
    ("several statements", ["SET work_mem = '7MB'; SELECT 1"], None, "SHOW work_mem", "7MB",
     ["RESET ALL"]),
    ("several, the last fails", ["SET work_mem = '7MB'; SELECT 1/0"], None, "SHOW work_mem", "4MB", []),
    ("set timezone", ["SET TIME ZONE 'Asia/Tokyo'"], None, "SHOW timezone", "Asia/Tokyo",
     ["SET TIME ZONE DEFAULT"]),
    ("set timezone to interval", ["SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE"], None,
     "SHOW timezone", "<+02>-02", ["RESET ALL"]),
    ("set half of datestyle", ["SET datestyle TO postgres, mdy", "SET datestyle TO dmy"], None,
     "SHOW datestyle", "Postgres, DMY", ["RESET ALL"]),
    ("set half of datestyle, the same", ["SET datestyle TO postgres, dmy", "SET datestyle TO dmy"], None,
     "SHOW datestyle", "Postgres, DMY", ["RESET ALL"]),
    ("domain in the temporary schema", ["CREATE DOMAIN pg_temp.mine AS int"], "temp",
     "SELECT count(*) FROM pg_type WHERE typname = 'mine'", 1, ["DROP DOMAIN pg_temp.mine"]),
    ("set names", ["SET NAMES 'UTF8'"], None, "SHOW client_encoding", "UTF8", ["RESET ALL"]),
    ("set schema", ["SET SCHEMA 'pg_catalog'"], None, "SHOW search_path", "pg_catalog", ["RESET ALL"]),
    ("set seed", ["SET SEED TO 0.5"], None, "SELECT 1", 1, []),
    ("set search_path", ["SET search_path TO pg_catalog, public"], None, "SHOW search_path",
     "pg_catalog, public", ["RESET search_path"]),
    ("set characteristics", ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL "
                             "REPEATABLE READ"], None, "SHOW default_transaction_isolation",
     "repeatable read", ["RESET ALL"]),
    ("set characteristics, two", ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL "
                                  "SERIALIZABLE, READ ONLY"], None,
     "SHOW default_transaction_read_only", "on", ["RESET ALL"]),
    ("set role", ["SET ROLE other"], None, "SELECT current_user", "other", ["RESET ROLE"]),
    ("set role none", ["SET ROLE other", "SET ROLE NONE"], None, "SELECT current_user", "app", []),
    ("set role rolled back", ["BEGIN; SET ROLE other; ROLLBACK"], None, "SELECT current_user", "app", []),
    ("session authorization", ["SET SESSION AUTHORIZATION app"], None, "SELECT session_user", "app",
     ["RESET SESSION AUTHORIZATION"]),
    ("set_config", ["SELECT set_config('work_mem', '7MB', false)"], None, "SHOW work_mem", "7MB",
     ["RESET work_mem"]),
    ("set_config custom", ["SELECT set_config('app.x', 'mine', false)"], None, "SHOW app.x", "mine",
     ["RESET app.x"]),
    ("set_config local", ["SELECT set_config('work_mem', '7MB', true)"], None, "SHOW work_mem", "4MB",
     []),
    ("set_config rolled back", ["BEGIN; SELECT set_config('work_mem', '7MB', false); ROLLBACK"], None,
     "SHOW work_mem", "4MB", []),
    ("set_config of a column", ["SELECT set_config(n, '7MB', false) FROM (VALUES ('work_mem')) v(n)"],
     None, "SHOW work_mem", "7MB", ["RESET ALL"]),
    ("set_config in with", ["WITH x AS (SELECT set_config('work_mem', '7MB', false)) SELECT * FROM x"],
     None, "SHOW work_mem", "7MB", ["RESET ALL"]),
    ("update of pg_settings", ["UPDATE pg_settings SET setting = '7168' WHERE name = 'work_mem'"], None,
     "SHOW work_mem", "7MB", ["RESET ALL"]),
    ("function that sets", ["SELECT t_set('7MB')"], None, "SHOW work_mem", "7MB", ["RESET work_mem"]),
    ("function that sets a custom one", ["SELECT t_set_custom('mine')"], None, None, None, []),
    ("do that sets", ["DO $$ BEGIN SET work_mem = '7MB'; END $$"], None, "SHOW work_mem", "7MB",
     ["RESET work_mem"]),
    ("do that sets a custom one", ["DO $$ BEGIN PERFORM set_config('app.x', 'mine', false); END $$"],
     None, None, None, []),
    ("procedure that sets", ["CALL t_proc('7MB')"], None, "SHOW work_mem", "7MB", ["RESET ALL"]),
    ("listen", ["LISTEN news"], "listen", "SELECT * FROM pg_listening_channels()", "news",
     ["UNLISTEN news"]),
    ("listen, unlisten all", ["LISTEN news", "LISTEN more"], "listen",
     "SELECT count(*) FROM pg_listening_channels()", 2, ["UNLISTEN *"]),
    ("listen rolled back", ["BEGIN; LISTEN news; ROLLBACK"], None,
     "SELECT count(*) FROM pg_listening_channels()", 0, []),
    ("listen in a function", ["DO $$ BEGIN EXECUTE 'LISTEN news'; END $$"], "listen",
     "SELECT * FROM pg_listening_channels()", "news", ["UNLISTEN *"]),
    ("temporary table", ["CREATE TEMP TABLE t (i int)"], "temp", "SELECT count(*) FROM t", 0,
     ["DROP TABLE t"]),
    ("temporary table as", ["CREATE TEMP TABLE t AS SELECT 5 AS i"], "temp", "SELECT i FROM t", 5,
     ["DROP TABLE pg_temp.t"]),
    ("select into temp", ["SELECT 5 AS i INTO TEMP t"], "temp", "SELECT i FROM t", 5, ["DISCARD TEMP"]),
    ("temp by schema", ["CREATE TABLE pg_temp.t (i int)"], "temp", "SELECT count(*) FROM t", 0,
     ["DISCARD ALL"]),
    ("temp on commit drop", ["BEGIN", "CREATE TEMP TABLE t (i int) ON COMMIT DROP", "COMMIT"], None,
     None, None, []),
    ("temp rolled back", ["BEGIN; CREATE TEMP TABLE t (i int); ROLLBACK"], None, None, None, []),
    ("temp view", ["CREATE TEMP VIEW t AS SELECT 5 AS i"], "temp", "SELECT i FROM t", 5,
     ["DROP VIEW t"]),
    ("temp sequence", ["CREATE TEMP SEQUENCE t"], "temp", "SELECT nextval('t')", 1,
     ["DROP SEQUENCE t"]),
    ("temp in a function", ["SELECT t_temp()"], "temp", "SELECT count(*) FROM t", 0, ["DROP TABLE t"]),
    ("temp in do", ["DO $$ BEGIN CREATE TEMP TABLE t (i int); END $$"], "temp",
     "SELECT count(*) FROM t", 0, ["DROP TABLE t"]),
    ("cursor with hold", ["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 5", "COMMIT"], "cursor",
     "FETCH c", 5, ["CLOSE c"]),
    ("cursor with hold, close all", ["DECLARE c CURSOR WITH HOLD FOR SELECT 5"], "cursor",
     "FETCH c", 5, ["CLOSE ALL"]),
    ("cursor", ["BEGIN; DECLARE c CURSOR FOR SELECT 5; COMMIT"], None, None, None, []),
    ("advisory lock", ["SELECT pg_advisory_lock(7)"], "lock", "SELECT pg_try_advisory_lock(7)", True,
     ["SELECT pg_advisory_unlock(7), pg_advisory_unlock(7)"]),
    ("advisory lock, all", ["SELECT pg_advisory_lock(7)", "SELECT pg_advisory_lock_shared(8)"], "lock",
     None, None, ["SELECT pg_advisory_unlock_all()"]),
    ("advisory lock tried", ["SELECT pg_try_advisory_lock(7)"], "lock", None, None,
     ["SELECT pg_advisory_unlock(7)"]),
    ("advisory lock of a transaction", ["SELECT pg_advisory_xact_lock(7)"], None, None, None, []),
    ("advisory lock in a function", ["SELECT t_lock()"], "lock", None, None,
     ["SELECT pg_advisory_unlock(7)"]),
    ("advisory lock for a while", ["SELECT pg_advisory_lock(7), pg_advisory_unlock(7)"], None, None,
     None, []),
    ("prepare", ["PREPARE q AS SELECT 5"], None, "EXECUTE q", 5, ["DEALLOCATE q"]),
    ("prepare with types", ["PREPARE q (int, text) AS SELECT $1 + 1, $2"], None, "EXECUTE q(4, 'x')",
     5, ["DEALLOCATE ALL"]),
    ("prepare and discard plans", ["PREPARE q AS SELECT 5", "DISCARD PLANS"], None, "EXECUTE q", 5,
     ["DISCARD ALL"]),
    ("sequence", ["SELECT nextval('t_seq')"], None, None, None, []),
    ("insert with a sequence", ["INSERT INTO t_serial DEFAULT VALUES"], None, None, None, []),
]

# The same over three shards: what A asks is answered by every shard.
EACH = "SELECT current_setting('work_mem'), nullif(current_setting('app.x', true), ''), current_user " \
       "FROM items WHERE id = {}"
SHARDED = [
    ("set", ["SET work_mem = '7MB'"], None, ("7MB", None, "app"), ["RESET work_mem"]),
    ("set custom", ["SET app.x = 'mine'"], None, ("4MB", "mine", "app"), ["RESET ALL"]),
    ("set in transaction", ["BEGIN", "SELECT count(*) FROM items", "SET work_mem = '7MB'", "COMMIT"], None,
     ("7MB", None, "app"), ["DISCARD ALL"]),
    ("set rolled back", ["BEGIN", "SELECT count(*) FROM items", "SET work_mem = '7MB'", "ROLLBACK"], None,
     ("4MB", None, "app"), []),
    ("set to savepoint", ["BEGIN", "SET work_mem = '7MB'", "SAVEPOINT a", "SET work_mem = '9MB'",
                          "SELECT count(*) FROM items", "ROLLBACK TO a", "COMMIT"], None, ("7MB", None, "app"),
     ["RESET ALL"]),
    ("set local", ["BEGIN", "SET LOCAL work_mem = '7MB'", "SELECT count(*) FROM items", "COMMIT"], None,
     ("4MB", None, "app"), []),
    ("set role", ["SET ROLE other"], None, ("4MB", None, "other"), ["RESET ROLE"]),
    ("listen", ["LISTEN news"], "listen", ("4MB", None, "app"), ["UNLISTEN news"]),
    ("temporary table", ["CREATE TEMP TABLE t (i int)", "INSERT INTO t VALUES (1)"], "temp",
     ("4MB", None, "app"), ["DROP TABLE t"]),
    ("advisory lock", ["SELECT pg_advisory_lock(7)"], "lock", ("4MB", None, "app"),
     ["SELECT pg_advisory_unlock(7)"]),
    ("cursor with hold", ["DECLARE c CURSOR WITH HOLD FOR SELECT 5"], "cursor", ("4MB", None, "app"),
     ["CLOSE c"]),
]

OBJECTS = """
DO $$ BEGIN CREATE ROLE other; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT other TO app;
CREATE SEQUENCE IF NOT EXISTS t_seq;
CREATE TABLE IF NOT EXISTS t_serial (id serial);
CREATE OR REPLACE FUNCTION t_set(v text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN RETURN set_config('work_mem', v, false); END $$;
CREATE OR REPLACE FUNCTION t_set_custom(v text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN RETURN set_config('app.x', v, false); END $$;
CREATE OR REPLACE FUNCTION t_temp() RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN CREATE TEMP TABLE t (i int); END $$;
CREATE OR REPLACE FUNCTION t_lock() RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_lock(7); END $$;
CREATE OR REPLACE PROCEDURE t_proc(v text) LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('work_mem', v, false); END $$;
GRANT ALL ON t_serial, t_seq, t_serial_id_seq TO public"""


def ask(connection, sql):
    """First column of the first row, None without rows."""
    with connection.cursor() as cur:
        cur.execute(sql)
        if cur.description is None:
            return None
        row = cur.fetchone()
        return None if row is None else row[0]


def do(connection, statements):
    for sql in statements:
        try:
            ask(connection, sql)
        except psycopg2.errors.DivisionByZero:
            pass


def pin_of(braid, name):
    """What SHOW CLIENTS says of the client with this application_name."""
    admin = psycopg2.connect(braid.dsn("pgbraid"))
    admin.autocommit = True
    try:
        with admin.cursor() as cur:
            cur.execute("SHOW CLIENTS")
            names = [d[0] for d in cur.description]
            for row in cur.fetchall():
                words = dict(zip(names, row))
                if words["application_name"] == name:
                    return words.get("pinned") or None
    finally:
        admin.close()
    raise Failed(f"client {name} is not in SHOW CLIENTS")


def clean(braid, what, dbname="plain"):
    b = braid.connect(dbname, options="-c statement_timeout=20s")
    try:
        with b.cursor() as cur:
            cur.execute("RESET statement_timeout")
            cur.execute("SET statement_timeout TO DEFAULT")
            cur.execute(FINGERPRINT)
            got = cur.fetchone()
            got = got[:2] + ((got[2] or "").replace("statement_timeout=20000", "") or None,) + got[3:]
            expect(f"B sees, {what}", CLEAN, got)
            for sql in ("SELECT lastval()", "SELECT currval('t_seq')") if dbname == "plain" else ():
                try:
                    cur.execute(sql)
                except psycopg2.errors.ObjectNotInPrerequisiteState:
                    continue
                raise Failed(f"B sees {sql} of another session, {what}")
        expect(f"B's time zone, {what}", b.info.parameter_status("TimeZone"), ask(b, "SHOW timezone"))
    finally:
        b.close()


def one(braid, session_mode, statements, pin, question, answer, end):
    a = braid.connect("plain", application_name="a")
    try:
        do(a, statements)
        if question is not None:
            expect("A sees", answer, ask(a, question))
        if not session_mode:
            wait_for(f"A is pinned by {pin}", lambda: pin_of(braid, "a") == pin, 2)
            if pin is None:
                clean(braid, "while A is there")
                if question is not None and "nextval" not in question:
                    expect("A sees after B was served", answer, ask(a, question))
            do(a, end)
            wait_for("A is not pinned any longer", lambda: pin_of(braid, "a") is None, 5)
            clean(braid, "when A has ended its state")
            expect_that("A is clean", pin is None or ask(a, "SELECT 1") == 1)
            do(a, statements)
    finally:
        a.close()
    clean(braid, "when A has left")


def each_shard(connection, rows):
    with connection.cursor() as cur:
        for row in rows:
            cur.execute(EACH.format(row))
            yield cur.fetchone()


def all_clean(braid, rows, what):
    clean(braid, what, "app")
    b = braid.connect("app")
    expect(f"B sees on each shard, {what}", [("4MB", None, "app")] * 3, list(each_shard(b, rows)))
    b.close()


def one_sharded(place, braid, rows, statements, pin, answer, end):
    a = braid.connect("app", application_name="a")
    try:
        do(a, statements)
        expect("A sees on each shard", [answer] * 3, list(each_shard(a, rows)))
        wait_for(f"A is pinned by {pin}", lambda: pin_of(braid, "a") == pin, 5)
        if pin is None:
            all_clean(braid, rows, "while A is there")
            expect("A sees after B was served", [answer] * 3, list(each_shard(a, rows)))
        do(a, end)
        wait_for("A is not pinned any longer", lambda: pin_of(braid, "a") is None, 5)
        all_clean(braid, rows, "when A has ended its state")
        do(a, statements)
    finally:
        a.close()
    all_clean(braid, rows, "when A has left")


def test_statement_mode(place, braid):
    """Every statement is a transaction: settings follow, blocks are refused."""
    a = braid.connect("plain", application_name="a")
    do(a, ["SET work_mem = '7MB'", "PREPARE q AS SELECT 5"])
    clean(braid, "in statement mode")
    expect("settings follow", "7MB", ask(a, "SHOW work_mem"))
    expect("EXECUTE", 5, ask(a, "EXECUTE q"))
    try:
        ask(a, "BEGIN")
    except psycopg2.errors.FeatureNotSupported:
        a.close()
        return
    raise Failed("BEGIN was accepted in statement mode")


def test_mode_changes(place):
    """Clients that stay in session mode and new ones of transaction mode send the same SET."""
    braid = place.braid(pool={"size": 1, "mode": "session"}, workers=1)
    old = braid.connect("plain")
    with old.cursor() as cursor:
        cursor.execute("SELECT 1")
    braid.config["pool"] = {"size": 2, "mode": "transaction"}
    braid.write_files()
    braid.reload()
    new, other = braid.connect("plain"), braid.connect("plain")

    def show(c):
        with c.cursor() as cursor:
            cursor.execute("SHOW work_mem")
            return cursor.fetchone()[0]

    wait_for("the new mode", lambda: show(new) and show(other))
    for c in (old, old, new):
        with c.cursor() as cursor:
            cursor.execute("SET work_mem TO '7MB'")
    for _ in range(2):
        expect("who set nothing", "4MB", show(other))
        expect("who did", ("7MB", "7MB"), (show(old), show(new)))
    for c in (old, new, other):
        c.close()
    place.end(braid)


def test_load(place, braid):
    """Only a superuser may load what lies outside of plugins; nothing unloads a library."""
    a = psycopg2.connect(braid.dsn("plain", pg.SUPERUSER, application_name="a"))
    a.autocommit = True
    with a.cursor() as cur:
        cur.execute("LOAD 'auto_explain'")
        wait_for("A is pinned by load", lambda: pin_of(braid, "a") == "load", 5)
        cur.execute("SHOW auto_explain.log_format")
        expect("the library is loaded", ("text",), cur.fetchone())
        cur.execute("DISCARD ALL")
        wait_for("A is not pinned any longer", lambda: pin_of(braid, "a") is None, 5)
        try:
            cur.execute("SHOW auto_explain.log_format")
        except psycopg2.errors.UndefinedObject:
            a.close()
            return
    raise Failed("the connection with the library was used again")


def run(place, report):
    place.servers[0].sql(OBJECTS, "plain")
    for server in place.servers:
        server.sql("DO $$ BEGIN CREATE ROLE other; EXCEPTION WHEN duplicate_object THEN NULL; END $$; "
                   "GRANT other TO app; GRANT SELECT ON items TO other", "app")
    braid = place.braid(pool={"size": 1, "mode": "statement", "query_wait_ms": 4000}, workers=1)
    report.run("state.statement mode", test_statement_mode, place, braid)
    report.run("state.mode changes", test_mode_changes, place)
    place.end(braid)
    for mode in ("transaction", "session"):
        braid = place.braid(pool={"size": 1, "mode": mode, "query_wait_ms": 4000}, workers=1)
        for name, *row in STATES:
            report.run(f"state.{mode}.{name}", one, braid, mode == "session", *row)
        if mode == "transaction":
            rows = [place.row_on(i) for i in range(3)]
            for name, *row in SHARDED:
                report.run(f"state.sharded.{name}", one_sharded, place, braid, rows, *row)
            report.run("state.load", test_load, place, braid)
        place.end(braid)
