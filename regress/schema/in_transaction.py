"""A transaction that changes tables reads and writes them as changed, before COMMIT."""

import psycopg
import psycopg2

from report import Failed, expect


def start(place):
    place.fresh()
    return place.connect()


def run_all(cur, statements):
    for statement in statements:
        cur.execute(statement)


def create_and_fill(place):
    c = start(place)
    other = place.connect()
    with c.cursor() as cur:
        run_all(cur, [
            "BEGIN",
            "CREATE TABLE users (id bigint PRIMARY KEY, name text) SHARD BY HASH (id)",
            "INSERT INTO users VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')",
            "ALTER TABLE users ADD COLUMN age int",
            "UPDATE users SET age = id * 10",
            "CREATE TABLE orders (user_id bigint REFERENCES users, n int, PRIMARY KEY (user_id, n)) SHARD BY HASH (user_id) COLOCATE WITH users",
            "CREATE INDEX orders_n ON orders (n)",
            "INSERT INTO orders VALUES (1, 1), (2, 1), (2, 2)",
            "CREATE TABLE countries (code text PRIMARY KEY) REFERENCE",
            "INSERT INTO countries VALUES ('de')",
            "CREATE TABLE local (a int)",
            "INSERT INTO local VALUES (7)",
            "CREATE VIEW old AS SELECT * FROM users WHERE age > 20",
        ])
        cur.execute("SELECT sum(age), (SELECT count(*) FROM orders o JOIN users u ON u.id = o.user_id) FROM users")
        expect("sum", (100, 3), cur.fetchone())
        cur.execute("SELECT count(*) FROM old, countries, local")
        expect("view", 2, cur.fetchone()[0])
        cur.execute("ALTER TABLE users RENAME COLUMN age TO years")
        cur.execute("SELECT years FROM users WHERE id = 3")
        expect("renamed", 30, cur.fetchone()[0])
        with other.cursor() as o:  # nobody else knows of it
            try:
                o.execute("SELECT * FROM users")
                raise Failed("seen by another session before COMMIT")
            except psycopg2.Error as e:
                expect("not there yet", "42P01", e.pgcode)
        cur.execute("COMMIT")
        cur.execute("SELECT count(*) FROM old")
        expect("after", 2, cur.fetchone()[0])
    with other.cursor() as o:
        o.execute("SELECT sum(years) FROM users")
        expect("others", 100, o.fetchone()[0])
    place.expect_each("index", "to_regclass('orders_n') IS NOT NULL", [True] * 3)
    other.close()
    c.close()


def savepoints(place):
    c = start(place)
    with c.cursor() as cur:
        run_all(cur, ["CREATE TABLE t (id int PRIMARY KEY) SHARD BY HASH (id)", "BEGIN", "INSERT INTO t VALUES (1)", "SAVEPOINT a",
                      "ALTER TABLE t ADD COLUMN b int", "INSERT INTO t VALUES (2, 2)", "ROLLBACK TO a"])
        cur.execute("SELECT * FROM t ORDER BY 1")
        expect("rolled back", [(1,)], cur.fetchall())
        run_all(cur, ["CREATE TABLE u (id int PRIMARY KEY) SHARD BY HASH (id)", "INSERT INTO u VALUES (5)", "ROLLBACK TO a"])
        try:
            cur.execute("SELECT * FROM u")
            raise Failed("u is still there")
        except psycopg2.Error as e:
            expect("u", "42P01", e.pgcode)
        run_all(cur, ["ROLLBACK TO a", "INSERT INTO t VALUES (3)", "COMMIT"])
        cur.execute("SELECT count(*) FROM t")
        expect("rows", 2, cur.fetchone()[0])
        run_all(cur, ["BEGIN", "DROP TABLE t", "CREATE TABLE t (name text PRIMARY KEY) SHARD BY HASH (name)", "INSERT INTO t VALUES ('x'), ('y')", "ROLLBACK"])
        cur.execute("SELECT count(*) FROM t WHERE id < 10")
        expect("rows after all", 2, cur.fetchone()[0])
    c.close()


def one_text(place):
    """Several statements in one simple query, as Prisma sends its scripts."""
    c = start(place)
    with c.cursor() as cur:
        cur.execute("CREATE TABLE t (id int PRIMARY KEY) SHARD BY HASH (id); INSERT INTO t VALUES (1), (2); "
                    "CREATE TABLE u (id int PRIMARY KEY, t int) SHARD BY HASH (id); ALTER TABLE u ADD COLUMN z int; "
                    "INSERT INTO u VALUES (1, 1, 1); SELECT count(*) FROM t, u")
        expect("rows", (2,), cur.fetchone())
        try:
            cur.execute("CREATE TABLE v (id int PRIMARY KEY) SHARD BY HASH (id); INSERT INTO v VALUES (1), (1)")
            raise Failed("twice the same key")
        except psycopg2.Error as e:
            expect("key", "23505", e.pgcode)
    place.expect_each("v", "to_regclass('v') IS NULL", [True] * 3)
    c.close()


def extended(place):
    """Named and unnamed statements, in a transaction and behind it."""
    place.fresh()
    with psycopg.connect(f"host=127.0.0.1 port={place.braid.port} dbname=app user=app", prepare_threshold=0) as c:
        c.execute("CREATE TABLE t (id int PRIMARY KEY, a int) SHARD BY HASH (id)")
        for i in range(9):
            c.execute("INSERT INTO t VALUES (%s, %s)", (i, i))
        c.execute("ALTER TABLE t ADD COLUMN b int DEFAULT 2")
        expect("sum", (18,), c.execute("SELECT sum(b) FROM t WHERE id >= %s", (0,)).fetchone())
        c.execute("SAVEPOINT s")
        c.execute("DROP TABLE t")
        c.execute("ROLLBACK TO s")
        expect("one", (4, 4, 2), c.execute("SELECT * FROM t WHERE id = %s", (4,)).fetchone())
        c.commit()
        expect("one", (4, 4, 2), c.execute("SELECT * FROM t WHERE id = %s", (4,)).fetchone())
        c.execute("INSERT INTO t VALUES (%s, %s)", (100, 1))
        c.rollback()
        expect("count", (9,), c.execute("SELECT count(*) FROM t").fetchone())


def functions(place):
    """A function that was made is called by what it does now."""
    c = start(place)
    with c.cursor() as cur:
        run_all(cur, ["CREATE TABLE t (id int PRIMARY KEY, a int) SHARD BY HASH (id)", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)", "BEGIN",
                      "CREATE FUNCTION a_of(k int) RETURNS int STABLE LANGUAGE sql AS 'SELECT a FROM t WHERE id = k'"])
        cur.execute("SELECT a_of(2)")
        expect("function", 2, cur.fetchone()[0])
        run_all(cur, ["CREATE FUNCTION up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.a = 9; RETURN NEW; END'",
                      "CREATE TRIGGER up BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION up()", "INSERT INTO t VALUES (4, 4)", "COMMIT"])
        cur.execute("SELECT a FROM t WHERE id = 4")
        expect("trigger", 9, cur.fetchone()[0])
    c.close()


def failed(place):
    """An error after DDL: the transaction is failed, nothing stays."""
    c = start(place)
    with c.cursor() as cur:
        run_all(cur, ["BEGIN", "CREATE TABLE t (id int PRIMARY KEY) SHARD BY HASH (id)"])
        try:
            cur.execute("INSERT INTO t VALUES (1), (1)")
        except psycopg2.Error as e:
            expect("key", "23505", e.pgcode)
        try:
            cur.execute("SELECT 1")
        except psycopg2.Error as e:
            expect("failed", "25P02", e.pgcode)
        cur.execute("COMMIT")
        expect("tag", "ROLLBACK", cur.statusmessage)
        run_all(cur, ["BEGIN", "CREATE TABLE t (id int PRIMARY KEY) SHARD BY HASH (id)", "COMMIT", "INSERT INTO t VALUES (1)"])
    c.close()
    c = place.connect()  # and one that goes away in the middle
    with c.cursor() as cur:
        run_all(cur, ["BEGIN", "CREATE TABLE gone (id int PRIMARY KEY) SHARD BY HASH (id)", "INSERT INTO gone VALUES (1)"])
    c.close()
    c = place.connect()
    with c.cursor() as cur:
        cur.execute("CREATE TABLE gone (id int PRIMARY KEY) SHARD BY HASH (id)")
    c.close()


def run(place, report):
    for name, test in (("create and fill", create_and_fill), ("savepoints", savepoints), ("one text", one_text),
                       ("extended protocol", extended), ("functions and triggers", functions), ("errors", failed)):
        report.run(f"in a transaction: {name}", test, place)
