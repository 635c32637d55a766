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
        expect_error("backwards", "0A000",
                     lambda: cur.execute("DECLARE c CURSOR FOR SELECT id FROM items; FETCH BACKWARD 1 FROM c"))
        c.rollback()
        cur.execute("DECLARE c CURSOR FOR SELECT id FROM items; CLOSE ALL")
        expect_error("closed", "34000", lambda: cur.execute("FETCH 1 FROM c"))
        c.rollback()
        c.autocommit = True
        expect_error("no block", "25P01", lambda: cur.execute("DECLARE c CURSOR FOR SELECT id FROM items"))
        c.close()


def test_scroll(place):
    """Back and forth, with other statements in between, and drivers' own words for it."""
    with Calm(place) as braid:
        c = begun(braid)
        cur, other = c.cursor(name="s", scrollable=True), c.cursor()
        cur.execute("SELECT id FROM items ORDER BY id")
        expect("first", ALL[:3], ids(cur.fetchmany(3)))
        other.execute("UPDATE items SET v = 'x' WHERE id < 10")
        cur.scroll(-2)
        expect("back by two", ALL[1:3], ids(cur.fetchmany(2)))
        cur.scroll(ROWS - 1, mode="absolute")
        expect("the last", ALL[-1:], ids(cur.fetchmany(5)))
        cur.scroll(0, mode="absolute")
        expect("all again", ALL, ids(cur.fetchall()))
        c.rollback()
        c.close()


def test_hold(place):
    """A cursor outlives its transaction, servers that vanish, and other clients; it ends with its session."""
    with Calm(place) as braid:
        c = braid.connect()
        c.autocommit = True
        cur, other = c.cursor(name="h", withhold=True), c.cursor()
        cur.execute("SELECT id FROM items ORDER BY id")
        expect("begun", ALL[:7], ids(cur.fetchmany(7)))
        other.execute("SELECT count(*) FROM items")
        for server in place.servers:
            server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app' AND "
                       "pid <> pg_backend_pid() AND backend_type = 'client backend'", "app")
        expect("it needs no server", ALL[7:], ids(cur.fetchall()))
        cur.close()
        expect_error("closed", "34000", lambda: other.execute("FETCH 1 FROM h"))
        other.execute("BEGIN; DECLARE t CURSOR WITH HOLD FOR SELECT id FROM items")
        expect_error("it cannot be prepared", "0A000", lambda: other.execute("PREPARE TRANSACTION 'p'"))
        other.execute("BEGIN; DECLARE t CURSOR WITH HOLD FOR SELECT id FROM items ORDER BY id; COMMIT")
        other.execute("SELECT count(*) FROM items a JOIN items b ON a.v = b.v || 'x'")
        other.execute("FETCH 2 FROM t")
        expect("behind a COMMIT in one text", [1, 2], ids(other.fetchall()))
        other.execute("DISCARD ALL")
        expect_error("discarded", "34000", lambda: other.execute("FETCH 1 FROM t"))
        c.close()
        expect("nothing is pinned or open", [(ROWS,)], braid.sql("SELECT count(*) FROM items"))


def test_limits(place):
    """What is kept is bounded, for all cursors of a session together."""
    with Calm(place, limits={"gather_memory_bytes": 1 << 20}) as braid:
        c = braid.connect()
        c.autocommit = True
        cur = c.cursor()
        cur.execute("DECLARE a CURSOR WITH HOLD FOR SELECT id, repeat('x', 3000) FROM items")
        expect_error("two of them are too much", "53200",
                     lambda: cur.execute("DECLARE b CURSOR WITH HOLD FOR SELECT id, repeat('x', 3000) FROM items"))
        cur.execute("FETCH 1 FROM a")
        cur.execute("CLOSE a; BEGIN; DECLARE b SCROLL CURSOR FOR SELECT id, repeat('x', 6000) FROM items; FETCH 5 FROM b")
        expect_error("read to its end", "53200", lambda: cur.execute("FETCH LAST FROM b"))
        cur.execute("ROLLBACK")
        cur.execute("DECLARE a CURSOR WITH HOLD FOR SELECT id FROM items; CLOSE a")
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


TESTS = [test_two_at_once, test_savepoints, test_ends, test_statements, test_scroll, test_hold, test_limits, test_psycopg]


def run(place, report):
    for test in TESTS:
        report.run(f"cursors: {test.__name__[5:]}", test, place)
