"""Writes whose rows come out of a read (PLAN_ROWS): what can go wrong between the two, and behind."""

import io
import socket
import threading

import psycopg
import psycopg2

from middle import LOST, World, ask
from report import Failed, expect, expect_that
from place import expect_error, wait_for
from workspace import Calm, auto, block

COUNT = 200
BIG = 20000

# Rows are found by a join on what is no key, so no shard can do it by itself.
BUMP = "UPDATE acct SET n = acct.n + 1 FROM names WHERE names.name = acct.name"
GONE = "DELETE FROM acct USING names WHERE names.name = acct.name AND names.id <= 50"
MOVE = "UPDATE acct SET id = id + 100000"


# What a WITH query writes is moved; its rows are joined by what is no key.
BOTH = "WITH d AS (UPDATE acct SET n = n + 1 RETURNING id, name)"
WITH = BOTH + " SELECT count(*) FROM d JOIN names ON names.name = d.name"
SLOW = BOTH + " SELECT count(*) FROM d JOIN names ON names.name = d.name WHERE pg_sleep(30)::text = d.name"


def prepare(place):
    braid = place.braid()
    braid.sql("CREATE TABLE acct (id bigint PRIMARY KEY, name text, n int DEFAULT 0, CHECK (n < 1000)) SHARD BY HASH (id)")
    braid.sql("CREATE TABLE names (id bigint PRIMARY KEY, name text) SHARD BY HASH (id)")
    braid.sql("CREATE TABLE big (id bigint PRIMARY KEY, k bigint, pad text) SHARD BY HASH (id)")
    braid.sql("CREATE TABLE numbered (id bigserial PRIMARY KEY, name text) SHARD BY HASH (id)")
    place.end(braid)


def fill(braid):
    c = auto(braid)
    for table, columns, more in (("acct", "(id, name, n)", ", 0"), ("names", "(id, name)", "")):
        ask(c, f"DELETE FROM {table}")
        values = ", ".join(f"({i}, 'name{i}'{more})" for i in range(1, COUNT + 1))
        ask(c, f"INSERT INTO {table} {columns} VALUES {values}")
    c.close()


def state(c):
    return ask(c, "SELECT count(*), coalesce(sum(n), 0), coalesce(sum(id), 0) FROM acct")[0]


SUM = COUNT * (COUNT + 1) // 2


def test_answers(place):
    with Calm(place) as braid:
        fill(braid)
        c = auto(braid)
        for times in range(1, 4):
            expect("a join", COUNT, ask(c, BUMP))
            expect("counted", (COUNT, times * COUNT, SUM), state(c))
        expect("moved", COUNT, ask(c, MOVE))
        expect("by key", (COUNT, 3 * COUNT, SUM + COUNT * 100000), state(c))
        for i, server in enumerate(place.servers):
            there = server.sql("SELECT id FROM acct", "app")
            for (key,) in there[:20]:
                got = ask(c, f"SELECT current_setting('port')::int FROM acct WHERE id = {key}")
                expect(f"row {key} is on shard {i}", [(server.port,)], got)
        expect("removed", 50, ask(c, GONE))
        expect("none", 0, ask(c, GONE))
        expect("left", COUNT - 50, state(c)[0])
        got = ask(c, BUMP + " AND names.id IN (60, 61, 62) RETURNING acct.n, names.id")
        expect("RETURNING", [(4, 60), (4, 61), (4, 62)], sorted(got))
        c.close()


def test_prepared(place):
    with Calm(place) as braid:
        fill(braid)
        with psycopg.connect(braid.dsn(), autocommit=True, prepare_threshold=0) as c:
            for i in range(5):
                got = c.execute("UPDATE acct SET n = acct.n + %s::int FROM names WHERE names.name = "
                                "acct.name AND names.id <= %s::bigint RETURNING acct.id, acct.n",
                                (2, 10), binary=bool(i % 2)).fetchall()
                expect("rows", [(k, 2 * i + 2) for k in range(1, 11)], sorted(got))
            with c.transaction():
                c.execute(BUMP)
                try:
                    with c.transaction():
                        c.execute("UPDATE acct SET n = acct.n + 5000 FROM names WHERE names.name = acct.name")
                    raise Failed("a check did not hold")
                except psycopg.errors.CheckViolation:
                    pass
                c.execute(BUMP)
            expect("sum", 100 + 2 * COUNT, c.execute("SELECT sum(n) FROM acct").fetchone()[0])


def test_errors(place):
    """Whatever fails, on one shard or on all: nothing is half-done, and the session goes on."""
    with Calm(place) as braid:
        fill(braid)
        c = auto(braid)
        for what, code, sql in (
                ("the last step", "23505", "UPDATE acct SET id = 7"),
                ("a check on one shard", "23514",
                 "UPDATE acct SET n = CASE acct.id WHEN 77 THEN 5000 ELSE 1 END FROM names WHERE "
                 "names.name = acct.name"),
                ("the source", "22012",
                 "UPDATE acct SET n = 1 / (names.id - 9) FROM names WHERE names.name = acct.name"),
                ("no key", "23502", "UPDATE acct SET id = NULL")):
            expect_error(what, code, lambda sql=sql: ask(c, sql))
            expect(f"{what}: untouched", (COUNT, 0, SUM), state(c))
        b = block(braid)
        ask(b, BUMP)
        ask(b, "SAVEPOINT s")
        expect_error("in a block", "23505", lambda: ask(b, "UPDATE acct SET id = 7"))
        expect_error("failed", "25P02", lambda: ask(b, BUMP))
        ask(b, "ROLLBACK TO s")
        ask(b, BUMP)
        b.commit()
        expect("what stood", (COUNT, 2 * COUNT, SUM), state(c))
        b.close()
        c.close()


def test_limit(place):
    with Calm(place, limits={"gather_memory_bytes": 65536}) as braid:
        c = auto(braid)
        ask(c, "DELETE FROM big")
        for at in range(0, 3000, 1000):
            values = ", ".join(f"({i}, {i}, '{'x' * 40}')" for i in range(at + 1, at + 1001))
            ask(c, f"INSERT INTO big VALUES {values}")
        expect_error("too many rows", "53200", lambda: ask(c, "UPDATE big SET id = id + 1000000"))
        expect("untouched", [(3000, 3000)], ask(c, "SELECT count(*), max(id) FROM big"))
        c.close()


def test_large(place):
    """Many batches, over servers that do not keep up."""
    with World(place) as world:
        braid = world.braid
        c = auto(braid)
        ask(c, "DELETE FROM big")
        for at in range(0, BIG, 5000):
            values = ", ".join(f"({i}, {i}, '{'x' * 200}')" for i in range(at + 1, at + 5001))
            ask(c, f"INSERT INTO big VALUES {values}")
        for middle in world.middles:
            middle.piece = 16384
            middle.delay_s = 0.001
        expect("moved", BIG, ask(c, "UPDATE big SET id = id + 1000000"))
        expect("all", [(BIG, 1000001, 1000000 + BIG)], ask(c, "SELECT count(*), min(id), max(id) FROM big"))
        c.close()


# ---- two at once -------------------------------------------------------------------------------------


def test_no_lost_update(place):
    """Sessions that update the same rows: every update that was acknowledged is there, none twice."""
    with Calm(place, txn={"write_retries": 2}) as braid:
        fill(braid)
        done = []
        errors = []

        def work(number):
            try:
                c = auto(braid)
                ask(c, "SET lock_timeout = '3s'")
                count = 0
                for turn in range(12):
                    low = (number * 37 + turn * 13) % 100
                    try:
                        count += ask(c, f"{BUMP} AND names.id BETWEEN {low} AND {low + 80}")
                    except psycopg2.Error as e:
                        if e.pgcode not in ("40001", "40P01", "55P03"):
                            raise
                done.append(count)
                c.close()
            except psycopg2.Error as e:
                errors.append(f"{e.pgcode} {e}")

        def move():
            try:
                c = auto(braid)
                ask(c, "SET lock_timeout = '3s'")
                for turn in range(10):
                    way = "+" if turn % 2 == 0 else "-"
                    low = 0 if turn % 2 == 0 else 100000
                    try:
                        ask(c, f"UPDATE acct SET id = id {way} 100000 WHERE id BETWEEN {low + 1} AND {low + 40}")
                    except psycopg2.Error as e:
                        if e.pgcode not in ("40001", "40P01", "55P03"):
                            raise
                c.close()
            except psycopg2.Error as e:
                errors.append(f"{e.pgcode} {e}")
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        threads.append(threading.Thread(target=move))
        for t in threads:
            t.start()
        for t in threads:
            t.join(120)
        expect("errors", [], errors)
        expect_that("all have ended", not any(t.is_alive() for t in threads))
        c = auto(braid)
        rows, total, _ = state(c)
        expect("no row is lost, none is there twice", COUNT, rows)
        expect("every update is there once", sum(done), total)
        expect("names", [(COUNT,)], ask(c, "SELECT count(DISTINCT name) FROM acct"))
        c.close()


def test_changed_between(place):
    """A row that another changes between being found and being written."""
    with Calm(place) as braid:
        fill(braid)
        holder, writer = block(braid), auto(braid)
        ask(holder, "UPDATE acct SET n = 500 WHERE id = 5")
        got = []
        t = threading.Thread(target=lambda: got.append(ask(writer, BUMP)))
        t.start()
        wait_for("it waits for the row", lambda: waits(place))
        holder.commit()
        t.join(60)
        expect("begun again", [COUNT], got)
        expect("both are there", (COUNT, COUNT + 500, SUM), state(writer))
        ask(holder, "UPDATE acct SET n = n + 1 WHERE id = 5")
        late = block(braid)
        errors = []

        def fails():
            try:
                ask(late, BUMP)
            except psycopg2.Error as e:
                errors.append(e.pgcode)
        t = threading.Thread(target=fails)
        t.start()
        wait_for("it waits for the row", lambda: waits(place))
        holder.commit()
        t.join(60)
        expect("in a block it is the client's to repeat", ["40001"], errors)
        late.rollback()
        expect("nothing else", (COUNT, COUNT + 501, SUM), state(writer))
        for c in (holder, writer, late):
            c.close()


def waits(place):
    return any(s.sql("SELECT count(*) FROM pg_locks WHERE NOT granted", "app")[0][0] for s in place.servers)


# ---- somebody goes away ------------------------------------------------------------------------------


def stuck(braid, place, sql=BUMP):
    """A session in the middle of its step, and who holds it there."""
    holder, writer = block(braid), auto(braid)
    ask(holder, "UPDATE acct SET n = n WHERE id IN (5, 6, 7, 8, 9)")
    errors = []

    def work():
        try:
            ask(writer, sql)
            errors.append(None)
        except psycopg2.Error as e:
            errors.append(e.pgcode or "08006")
    t = threading.Thread(target=work)
    t.start()
    wait_for("it waits for the row", lambda: waits(place))
    return holder, writer, t, errors


def test_cancel(place):
    with Calm(place) as braid:
        fill(braid)
        holder, writer, t, errors = stuck(braid, place)
        writer.cancel()
        t.join(30)
        expect("canceled", ["57014"], errors)
        holder.rollback()
        expect("nothing was done", (COUNT, 0, SUM), state(writer))
        expect("it goes on", COUNT, ask(writer, BUMP))
        for c in (holder, writer):
            c.close()


def test_client_gone(place):
    with Calm(place) as braid:
        fill(braid)
        holder, writer, t, _ = stuck(braid, place)
        s = socket.socket(fileno=socket.dup(writer.fileno()))
        s.shutdown(socket.SHUT_RDWR)
        s.close()
        t.join(30)
        holder.rollback()
        c = auto(braid)
        expect("nothing was done", (COUNT, 0, SUM), state(c))
        expect("it goes on", COUNT, ask(c, BUMP))
        c.close()
        holder.close()


def test_server_gone(place, *statement):
    """A shard is lost in the middle of a step, or of a write that is moved."""
    for index in range(3):
        with World(place) as world:
            braid = world.braid
            fill(braid)
            holder, writer, t, errors = stuck(braid, place, *statement)
            world.middles[index].cut()
            try:
                holder.rollback()
            except psycopg2.Error:
                pass
            holder.close()
            t.join(60)
            expect_that(f"told: {errors}", len(errors) == 1 and (errors[0] is None or errors[0] in LOST))
            world.calm()
            c = auto(braid)
            total = COUNT if errors[0] is None else 0
            expect("all or nothing", (COUNT, total, SUM), state(c))
            writer.close()
            c.close()


# ---- a WITH query that writes, moved -----------------------------------------------------------------


def test_with(place):
    with Calm(place) as braid:
        fill(braid)
        c = auto(braid)
        for times in range(1, 4):
            expect("a write and a join", [(COUNT,)], ask(c, WITH))
            expect("done", (COUNT, times * COUNT, SUM), state(c))
        b = block(braid)
        expect("in a block", [(COUNT,)], ask(b, WITH))
        b.rollback()
        expect("rolled back", (COUNT, 3 * COUNT, SUM), state(c))
        with psycopg.connect(braid.dsn(), autocommit=True) as p:
            for times in range(4, 8):
                got = p.execute(WITH + " WHERE d.id > %s", (50,), prepare=True).fetchall()
                expect("prepared", [(COUNT - 50,)], got)
                expect("done", (COUNT, times * COUNT, SUM), state(c))
        before = state(c)
        expect_error("a cursor", "0A000", lambda: ask(b, f"DECLARE x CURSOR FOR {WITH}"))
        b.rollback()
        out = io.StringIO()
        with c.cursor() as cur:
            cur.copy_expert(f"COPY ({WITH}) TO STDOUT", out)
        expect("copied", f"{COUNT}\n", out.getvalue())
        expect("done", (COUNT, before[1] + COUNT, SUM), state(c))
        ask(c, "DELETE FROM numbered")
        expect("ids are drawn", 20, ask(c, "WITH d AS (DELETE FROM acct WHERE id <= 20 RETURNING name) "
                                           "INSERT INTO numbered (name) SELECT name FROM d"))
        expect("all are there", [(20, 20)], ask(c, "SELECT count(*), count(DISTINCT name) FROM numbered"))
        expect("and gone", [(COUNT - 20,)], ask(c, "SELECT count(*) FROM acct"))
        b.close()
        c.close()


def test_with_errors(place):
    """Whatever fails in the statement undoes the write."""
    with Calm(place) as braid:
        fill(braid)
        c = auto(braid)
        ask(c, "UPDATE acct SET n = 999 WHERE id = 7")
        before = state(c)
        expect_error("a check", "23514", lambda: ask(c, WITH))
        expect("the write fails on one shard", before, state(c))
        ask(c, "UPDATE acct SET n = 0 WHERE id = 7")
        before = state(c)
        expect_error("the rest", "22012", lambda: ask(c, BOTH + " SELECT 1 / (count(*) - count(*)) FROM d JOIN names "
                                                     "ON names.name = d.name"))
        expect("the rest fails", before, state(c))
        expect_error("a key", "23505", lambda: ask(c, BOTH + " INSERT INTO names SELECT names.id, names.name FROM d "
                                                  "JOIN names ON names.name = d.name"))
        expect("a later write fails", before, state(c))
        expect("it goes on", [(COUNT,)], ask(c, WITH))
        c.close()


def sleeps(place):
    return any(s.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
                     "wait_event = 'PgSleep'")[0][0] for s in place.servers)


def test_with_cancel(place):
    with Calm(place) as braid:
        fill(braid)
        holder, writer, t, errors = stuck(braid, place, WITH)
        writer.cancel()
        t.join(30)
        expect("canceled in the write", ["57014"], errors)
        holder.rollback()
        expect("nothing was done", (COUNT, 0, SUM), state(writer))
        t = threading.Thread(target=lambda: errors.append(failure(writer, SLOW)))
        t.start()
        wait_for("the rest runs", lambda: sleeps(place))
        writer.cancel()
        t.join(60)
        expect("canceled in the rest", ["57014"] * 2, errors)
        expect("nothing was done", (COUNT, 0, SUM), state(writer))
        expect("it goes on", [(COUNT,)], ask(writer, WITH))
        for c in (holder, writer):
            c.close()


def failure(c, sql):
    try:
        ask(c, sql)
    except psycopg2.Error as e:
        return e.pgcode
    return None


def test_with_server_gone(place):
    test_server_gone(place, WITH)


def test_portions(place):
    """More rows than a statement may hold are read and written piece by piece, of one snapshot, all or none."""
    with Calm(place, limits={"gather_memory_bytes": 3 << 20}) as braid:
        fill(braid)
        c = auto(braid)
        ask(c, "DELETE FROM big")
        pad = "repeat('p', 400)"
        many = f"INSERT INTO big SELECT a.id * 1000 + b.id, b.id, {pad} FROM acct a, names b WHERE b.id <= 60"
        expect("a workspace's rows, 5 MB", 12000, ask(c, many))
        copy = "INSERT INTO big SELECT id + 1000000, k, pad FROM big"
        for at, count in enumerate((12000, 24000)):
            expect("what is inserted is not read again", count,
                   ask(c, copy.replace("1000000", str(1000000 * (at + 1)))))
        expect("generated", 30000, ask(c, f"INSERT INTO big SELECT g + 5000000, 1, {pad} FROM generate_series(1, 30000) g"))
        expect("in order", 5000, ask(c, f"INSERT INTO big SELECT id + 6000000, k, pad FROM big WHERE id > 5000000 ORDER BY id LIMIT 5000"))
        expect("found by another table", 12000, ask(c, "UPDATE big SET k = names.id FROM names WHERE names.id = big.id / 1000"))
        expect("all of them", [(83000, 83000)], ask(c, "SELECT count(*), count(DISTINCT id) FROM big"))
        expect_error("the last rows fail", "23505", lambda: ask(
            c, "INSERT INTO big SELECT CASE WHEN g = 29999 THEN 5000001 ELSE g + 7000000 END, 1, repeat('p', 400) FROM generate_series(1, 30000) g"))
        expect_error("the source fails late", "22012", lambda: ask(
            c, "INSERT INTO big SELECT id + 7000000, 1 / (id - 5029990), pad FROM big WHERE id > 5000000 ORDER BY id"))
        expect("as it was", [(83000,)], ask(c, "SELECT count(*) FROM big"))
        b = block(braid)
        expect("in a transaction", 12000, ask(b, copy.replace("1000000", "8000000") + " WHERE id < 1000000"))
        ask(b, "DELETE FROM big WHERE id > 5000000 AND id < 8000000")
        ask(b, "ALTER TABLE big ADD COLUMN also int")
        b.rollback()
        expect("rolled back", [(83000,)], ask(c, "SELECT count(*) FROM big"))
        ask(c, "DELETE FROM big")
        b.close()
        c.close()


def test_materialized_owner(place):
    """REFRESH of a materialized view over shards runs its query with the rights of who sends it: so only its owner may."""
    for server in place.servers:
        server.sql("CREATE ROLE keeper; GRANT keeper TO app; GRANT CREATE ON SCHEMA public TO keeper; "
                   "GRANT SELECT ON acct TO keeper; CREATE ROLE passer; GRANT passer TO app", "app")
    with Calm(place) as braid:
        c = auto(braid)
        ask(c, "SET ROLE keeper")
        ask(c, "CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM acct")
        before = ask(c, "SELECT n FROM kept")
        ask(c, "RESET ROLE")
        ask(c, "INSERT INTO acct (id, name) VALUES (990001, 'one more')")
        e = expect_error("a member of the owner's role", "0A000", lambda: ask(c, "REFRESH MATERIALIZED VIEW kept"))
        expect_that(f"who may: {e}", "Connect as keeper" in str(e))
        ask(c, "SET ROLE passer")
        expect_error("somebody else", "42501", lambda: ask(c, "REFRESH MATERIALIZED VIEW public.kept"))
        expect_error("nothing", "42P01", lambda: ask(c, "REFRESH MATERIALIZED VIEW nothing"))
        ask(c, "SET ROLE keeper")
        expect("as it was", before, ask(c, "SELECT n FROM kept"))
        ask(c, "REFRESH MATERIALIZED VIEW kept")
        expect("the owner", [(before[0][0] + 1,)], ask(c, "SELECT n FROM kept"))
        ask(c, "DROP MATERIALIZED VIEW kept")
        ask(c, "RESET ROLE")
        ask(c, "DELETE FROM acct WHERE id = 990001")
        c.close()
    for server in place.servers:
        server.sql("DROP OWNED BY keeper; DROP ROLE keeper; DROP ROLE passer", "app")


TESTS = [test_with, test_with_errors, test_with_cancel, test_with_server_gone, test_answers, test_prepared, test_errors, test_limit, test_portions, test_large, test_no_lost_update,
         test_changed_between, test_cancel, test_client_gone, test_server_gone, test_materialized_owner]


def run(place, report):
    if report.only and not any(report.only in f"rows: {t.__name__[5:]}" for t in TESTS):
        return
    prepare(place)
    for test in TESTS:
        report.run(f"rows: {test.__name__[5:]}", test, place)
