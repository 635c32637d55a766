"""psycopg2, psycopg 3 and asyncpg: what each does on the wire that the others do not."""

import asyncio
import datetime
import decimal
import io
import uuid

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras

from report import expect, expect_that

TABLES = {"things": {"hash": ["id"]}, "papers": {"hash": ["id"]}}
SCHEMA = ["CREATE TABLE things (id bigint PRIMARY KEY, name text, price numeric(10,2), made date, seen timestamptz, "
          "tags text[], ok boolean, data bytea, extra jsonb)",
          "CREATE TABLE papers (id uuid PRIMARY KEY, title text)"]
NOW = datetime.datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=datetime.timezone.utc)


def row_of(i):
    return (i, f"thing {i}", decimal.Decimal(i) / 4, datetime.date(2026, 1, 1 + i % 28), NOW, [f"t{i}", 'q"'], i % 2 == 0,
            bytes([i % 256, 0, 255]), None)


# ---- psycopg2 ------------------------------------------------------------------------------------


def test_psycopg2(braid, dbname):
    c = psycopg2.connect(braid.dsn(dbname))
    psycopg2.extras.register_uuid()
    with c, c.cursor() as cur:
        for i in range(1, 61):
            cur.execute("INSERT INTO things VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", row_of(i))
    with c, c.cursor() as cur:
        cur.execute("SELECT id, name, price, made, seen, tags, ok, data FROM things WHERE id = %s", (7,))
        got = list(cur.fetchone())
        got[7] = bytes(got[7])
        expect("a row", list(row_of(7)[:8]), got)
        cur.execute("SELECT id FROM things WHERE id = ANY(%s) ORDER BY id", ([3, 50, 9],))
        expect("an array of keys", [(3,), (9,), (50,)], cur.fetchall())
        key = uuid.uuid4()
        cur.execute("INSERT INTO papers VALUES (%s, %s) RETURNING id", (key, "it's"))
        expect("uuid", (key,), cur.fetchone())
        cur.execute("UPDATE papers SET title = %s WHERE id = %s", ("changed", key))
        expect("rowcount", 1, cur.rowcount)
        psycopg2.extras.execute_batch(cur, "UPDATE things SET name = %s WHERE id = %s", [(f"b{i}", i) for i in range(1, 21)])
        cur.execute("SELECT name FROM things WHERE id = 20")
        expect("execute_batch", ("b20",), cur.fetchone())
        cur.copy_expert("COPY papers FROM STDIN", io.StringIO("".join(f"{uuid.uuid4()}\tp{i}\n" for i in range(100))))
        cur.execute("SELECT count(*) FROM papers")
        expect("COPY", (101,), cur.fetchone())
    c.set_session(isolation_level="READ COMMITTED", readonly=True, autocommit=False)
    with c.cursor() as cur:
        try:
            cur.execute("DELETE FROM things WHERE id = 1")
            expect_that("read only", False)
        except psycopg2.Error as e:
            expect("read only", "25006", e.pgcode)
    c.rollback()
    c.close()


# ---- psycopg 3 -----------------------------------------------------------------------------------


def test_psycopg3(braid, dbname):
    with psycopg.connect(braid.dsn(dbname)) as c:
        for binary in (False, True):
            with c.cursor(binary=binary) as cur:
                for i in (7, 8, 51):
                    cur.execute("SELECT id, price, made, seen, tags, ok, data FROM things WHERE id = %b" if binary else
                                "SELECT id, price, made, seen, tags, ok, data FROM things WHERE id = %t", (i,))
                    r = row_of(i)
                    expect(f"binary={binary}", (r[0], r[2], r[3], r[4], r[5], r[6], r[7]), cur.fetchone())
                cur.execute("SELECT count(*), sum(price), min(made), max(id) FROM things WHERE id <= %s", (1000,))
                expect("an aggregate", (60, decimal.Decimal("457.50"), datetime.date(2026, 1, 1), 60), cur.fetchone())
                cur.execute("SELECT id FROM things WHERE id = ANY(%s) ORDER BY id", ([1, 2, 3],), prepare=True)
                expect("prepared", [(1,), (2,), (3,)], cur.fetchall())
                for i in range(1, 12):
                    cur.execute("SELECT name FROM things WHERE id = %s", (i,), prepare=True)
                    expect_that("a name", cur.fetchone() is not None)
        c.commit()
        with c.cursor() as cur:
            cur.executemany("UPDATE things SET ok = %s WHERE id = %s", [(True, i) for i in range(1, 21)])
            expect("executemany", 20, cur.rowcount)
        c.commit()
        with c.cursor() as cur:
            key = uuid.uuid4()
            cur.execute("INSERT INTO papers VALUES (%s, %s) RETURNING title", (key, "three"))
            expect("returning", ("three",), cur.fetchone())
            cur.execute("SELECT title FROM papers WHERE id = %s", (key,))
            expect("uuid", ("three",), cur.fetchone())
        c.rollback()
        with c.transaction():
            c.execute("UPDATE things SET name = 'outer' WHERE id = 1")
            try:
                with c.transaction():
                    c.execute("UPDATE things SET name = 'inner' WHERE id = 2")
                    raise psycopg.Rollback()
            except psycopg.Rollback:
                pass
        expect("nested", [("outer",), ("b2",)],
               c.execute("SELECT name FROM things WHERE id IN (1, 2) ORDER BY id").fetchall())


def test_psycopg3_cursors(braid, dbname):
    """Named cursors are DECLAREd with parameters, and described as portals."""
    with psycopg.connect(braid.dsn(dbname)) as c:
        for sql, params, count, first in [
                ("SELECT id, name FROM things WHERE id <= %s ORDER BY id", (30,), 30, 1),
                ("SELECT id FROM things WHERE id = %s", (7,), 1, 7),
                ("SELECT id FROM things WHERE id = ANY(%s) ORDER BY id DESC", ([1, 2, 3],), 3, 3),
                ("SELECT a.id FROM things a, things b WHERE a.price = b.price AND b.id <= %s AND a.id < %s ORDER BY b.id, a.id LIMIT 5",
                 (20, 4), 3, 1),
                ("SELECT count(*) + %s FROM things WHERE id <= %s", (1, 60), 1, 61),
                ("SELECT g FROM generate_series(1, %s::int) g", (25,), 25, 1)]:
            with c.cursor(name="a cursor") as cur:
                cur.itersize = 7
                cur.execute(sql, params)
                rows = list(cur)
                expect(sql, (count, first), (len(rows), rows[0][0]))
        try:
            with c.cursor(name="bad") as cur:
                cur.execute("SELECT id FROM things WHERE id < %s", ("x",))
            expect_that("an error", False)
        except psycopg.errors.InvalidTextRepresentation:
            c.rollback()
        expect("and on", (1,), c.execute("SELECT 1").fetchone())


def test_psycopg3_copy(braid, dbname):
    with psycopg.connect(braid.dsn(dbname)) as c, c.cursor() as cur:
        with cur.copy("COPY things (id, name, tags) FROM STDIN") as copy:
            for i in range(1001, 1201):
                copy.write_row((i, f"copied\t{i}\\", ["a", None]))
        cur.execute("SELECT count(*), min(name), max(name) FROM things WHERE id > 1000")
        expect("rows", (200, "copied\t1001\\", "copied\t1200\\"), cur.fetchone())
        with cur.copy("COPY (SELECT id, name FROM things WHERE id > 1100) TO STDOUT") as copy:
            copy.set_types(["int8", "text"])
            expect("out", {(i, f"copied\t{i}\\") for i in range(1101, 1201)}, set(copy.rows()))
        cur.execute("DELETE FROM things WHERE id > 1000")
        expect("deleted", 200, cur.rowcount)


def test_pipeline(braid, dbname):
    with psycopg.connect(braid.dsn(dbname), autocommit=True) as c:
        with c.pipeline() as p, c.cursor() as one, c.cursor() as two, c.cursor() as three:
            one.execute("SELECT name FROM things WHERE id = %s", (3,))
            two.execute("SELECT count(*) FROM things")
            three.execute("SELECT id FROM things WHERE id = %s", (44,))
            p.sync()
            expect("one", ("b3",), one.fetchone())
            expect("two", (60,), two.fetchone())
            expect("three", (44,), three.fetchone())
        with c.pipeline(), c.cursor() as cur:
            for i in range(1, 51):
                cur.execute("UPDATE things SET price = %s WHERE id = %s", (i, i))
        expect("updates in a pipeline", (sum(range(1, 51)),),
               c.execute("SELECT sum(price) FROM things WHERE id <= 50").fetchone())
        try:
            with c.pipeline(), c.cursor() as cur:
                cur.execute("UPDATE things SET price = 0 WHERE id = 1")
                cur.execute("SELECT 1 / 0")
                cur.execute("UPDATE things SET price = 0 WHERE id = 2")
            expect_that("an error", False)
        except psycopg.errors.DivisionByZero:
            pass
        expect("all of it is undone", [(1,), (2,)],
               c.execute("SELECT price FROM things WHERE id IN (1, 2) ORDER BY id").fetchall())
        with c.transaction(), c.pipeline(), c.cursor() as cur:
            cur.execute("UPDATE things SET price = 100 WHERE id = 1")
            cur.execute("UPDATE things SET price = 100 WHERE id = 2")
            cur.execute("SELECT sum(price) FROM things WHERE id IN (1, 2)")
        expect("a transaction", (200,), c.execute("SELECT sum(price) FROM things WHERE id IN (1, 2)").fetchone())


# ---- asyncpg -------------------------------------------------------------------------------------


async def use_asyncpg(braid, dbname):
    c = await asyncpg.connect(host="127.0.0.1", port=braid.port, user="app", database=dbname, ssl=False)
    row = await c.fetchrow("SELECT id, price, made, tags, ok FROM things WHERE id = $1", 21)
    expect("a row", (21, decimal.Decimal(21), datetime.date(2026, 1, 22), ["t21", 'q"'], False), tuple(row))
    expect("all", 60, (await c.fetch("SELECT count(*) FROM things"))[0][0])
    for i in range(1, 30):
        expect("many times", i, await c.fetchval("SELECT id FROM things WHERE id = $1", i))
    rows = await c.fetch("SELECT id FROM things WHERE id = ANY($1::bigint[]) ORDER BY id", [5, 6, 7])
    expect("array", [5, 6, 7], [r["id"] for r in rows])
    async with c.transaction():
        await c.execute("UPDATE things SET name = $1 WHERE id = $2", "a", 31)
        await c.execute("UPDATE things SET name = $1 WHERE id = $2", "b", 32)
    rows = await c.fetch("SELECT name FROM things WHERE id IN (31, 32) ORDER BY id")
    expect("a transaction", ["a", "b"], [r["name"] for r in rows])
    try:
        async with c.transaction():
            await c.execute("UPDATE things SET name = 'lost' WHERE id = 31")
            await c.execute("INSERT INTO things (id) VALUES (32)")
    except asyncpg.UniqueViolationError:
        pass
    expect("rolled back", "a", await c.fetchval("SELECT name FROM things WHERE id = 31"))
    await c.executemany("UPDATE things SET name = $2 WHERE id = $1", [(i, f"m{i}") for i in range(1, 11)])
    expect("executemany", "m10", await c.fetchval("SELECT name FROM things WHERE id = 10"))
    await c.close()
    pool = await asyncpg.create_pool(host="127.0.0.1", port=braid.port, user="app", database=dbname, ssl=False,
                                     min_size=2, max_size=5)

    async def ask(i):
        async with pool.acquire() as p:
            return await p.fetchval("SELECT id FROM things WHERE id = $1", i)

    expect("a pool", list(range(1, 41)), await asyncio.gather(*(ask(i) for i in range(1, 41))))
    await pool.close()


def test_asyncpg(braid, dbname):
    asyncio.run(asyncio.wait_for(use_asyncpg(braid, dbname), 60))


def run(place, report):
    for dbname, tables in (("plain", {}), ("app", TABLES)):
        place.clean()
        braid = place.braid(tables)
        for sql in SCHEMA:
            braid.sql(sql, dbname)
        report.run(f"psycopg2 ({dbname})", test_psycopg2, braid, dbname)
        report.run(f"psycopg 3 ({dbname})", test_psycopg3, braid, dbname)
        report.run(f"psycopg 3 ({dbname}): named cursors", test_psycopg3_cursors, braid, dbname)
        report.run(f"psycopg 3: COPY ({dbname})", test_psycopg3_copy, braid, dbname)
        report.run(f"psycopg 3: pipeline ({dbname})", test_pipeline, braid, dbname)
        report.run(f"asyncpg ({dbname})", test_asyncpg, braid, dbname)
        report.run(f"drivers: the end ({dbname})", place.end, braid)
