"""Cursors and portals over several shards: rows in portions, other statements in between, and what ends them."""

import psycopg
import psycopg2

from place import ROWS, expect_error, wait_for
from report import expect
from workspace import Calm

ALL = list(range(1, ROWS + 1))


def ids(rows):
    return [r[0] for r in rows]


def begun(braid):
    """A client whose statements are all in transactions."""
    c = braid.connect()
    c.autocommit = False
    return c


def test_two_at_once(place):
    """Two cursors take turns, and the transaction writes and reads meanwhile."""
    with Calm(place) as braid:
        c = begun(braid)
        up, down, other = c.cursor(name="up"), c.cursor(name="down"), c.cursor()
        up.execute("SELECT id FROM items ORDER BY id")
        down.execute("SELECT id FROM items ORDER BY id DESC")
        for i in range(5):
            expect("upwards", ALL[i * 20:i * 20 + 20], ids(up.fetchmany(20)))
            expect("downwards", ALL[::-1][i * 7:i * 7 + 7], ids(down.fetchmany(7)))
            other.execute("UPDATE items SET v = v || '.' WHERE id = %s", (i + 1,))
            other.execute("SELECT count(*) FROM items")
            expect("all rows are there", (ROWS,), other.fetchone())
        c.rollback()
        c.close()


def test_savepoints(place):
    """A cursor goes with the savepoint it was opened behind, and no other."""
    with Calm(place) as braid:
        c = begun(braid)
        early, late, other = c.cursor(name="early"), c.cursor(name="late"), c.cursor()
        early.execute("SELECT id FROM items ORDER BY id")
        expect("first", [1, 2], ids(early.fetchmany(2)))
        other.execute("SAVEPOINT a")
        late.execute("SELECT id FROM items ORDER BY id")
        expect("second", [1], ids(late.fetchmany(1)))
        other.execute("ROLLBACK TO a")
        expect_error("it is gone", "34000", lambda: late.fetchmany(1))
        other.execute("ROLLBACK TO a")
        expect("the other goes on", [3, 4], ids(early.fetchmany(2)))
        c.rollback()
        c.close()


def test_ends(place):
    """Errors in the middle, a client that vanishes, a server that does: nothing is left."""
    with Calm(place) as braid:
        c = begun(braid)
        broken = c.cursor(name="broken")
        broken.execute("SELECT 1 / (id - 150) FROM items ORDER BY id")
        expect_error("a row fails", "22012", lambda: broken.fetchall())
        c.rollback()
        lost = c.cursor(name="lost")
        lost.execute("SELECT id FROM items ORDER BY id")
        expect("begun", [1], ids(lost.fetchmany(1)))
        place.servers[1].sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app' AND "
                             "state = 'idle in transaction'", "app")

        def is_lost():
            try:
                lost.fetchmany(1)
            except psycopg2.Error:
                return True
            return False
        wait_for("a server is lost", is_lost)
        c.rollback()
        expect("all is well again", [(ROWS,)], braid.sql("SELECT count(*) FROM items"))
        c.close()
        gone = begun(braid)
        left = gone.cursor(name="left")
        left.execute("SELECT id FROM items ORDER BY id")
        left.fetchmany(1)
        gone.close()


def test_statements(place):
    """What SQL can say of a cursor, and what is refused."""
    with Calm(place) as braid:
        c = begun(braid)
        cur = c.cursor()
        cur.execute("DECLARE c CURSOR FOR SELECT id FROM items ORDER BY id; MOVE 10 IN c; FETCH 2 FROM c")
        expect("behind a move", [(11,), (12,)], cur.fetchall())
        expect_error("twice", "42P03", lambda: cur.execute("DECLARE c CURSOR FOR SELECT id FROM items"))
        c.rollback()
        for text in ("DECLARE c SCROLL CURSOR FOR SELECT id FROM items",
                     "DECLARE c CURSOR WITH HOLD FOR SELECT id FROM items",
                     "DECLARE c CURSOR FOR SELECT id FROM items; FETCH BACKWARD 1 FROM c"):
            expect_error(text, "0A000", lambda text=text: cur.execute(text))
            c.rollback()
        cur.execute("DECLARE c CURSOR FOR SELECT id FROM items; CLOSE ALL")
        expect_error("closed", "34000", lambda: cur.execute("FETCH 1 FROM c"))
        c.rollback()
        c.autocommit = True
        expect_error("no block", "25P01", lambda: cur.execute("DECLARE c CURSOR FOR SELECT id FROM items"))
        c.close()


def test_psycopg(place):
    """Server cursors of psycopg 3, which describe the portal, also over a workspace."""
    with Calm(place) as braid:
        c = psycopg.connect(f"host=127.0.0.1 port={braid.port} dbname=app user=app")
        for text in ("SELECT id FROM items ORDER BY id",
                     "SELECT rank() OVER (ORDER BY id) FROM items ORDER BY 1"):
            with c.cursor(name="s") as cur:
                cur.itersize = 17
                cur.execute(text)
                expect(text, ALL, [r[0] for r in cur])
            c.commit()
        c.close()


TESTS = [test_two_at_once, test_savepoints, test_ends, test_statements, test_psycopg]


def run(place, report):
    for test in TESTS:
        report.run(f"cursors: {test.__name__[5:]}", test, place)
