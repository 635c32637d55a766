"""The workspace: rows moved into temporary tables, and everything that can go wrong meanwhile."""

import io
import os
import socket
import threading
import time

import psycopg
import psycopg2

from middle import LOST, World, ask
from report import Failed, expect, expect_that
from place import ROWS, expect_error, wait_for

WIDE_ROWS = 12000
PAD = 400

# A join on a column that is no key: both sides move. Each row of items meets 40 of wide.
JOIN = "SELECT count(*), sum(w.id), max(i.v) FROM items i JOIN wide w ON w.k = i.id AND w.pad <> i.v"
JOINED = (WIDE_ROWS, WIDE_ROWS * (WIDE_ROWS + 1) // 2, "v99")
# Something that takes long behind the moves, and something that does not fit.
SLOW_REST = "SELECT count(*) FROM items i JOIN wide w ON w.k = i.id WHERE pg_sleep(30)::text = i.v"
SELF = "SELECT a.id, b.id FROM items a JOIN items b ON b.v = a.v WHERE a.id < 6 ORDER BY 1"


def prepare(place):
    braid = place.braid()
    braid.sql("CREATE TABLE wide (id bigint PRIMARY KEY, k bigint, pad text) SHARD BY HASH (id)")
    braid.sql("CREATE TABLE near (k bigint, v text)")
    braid.sql("INSERT INTO near SELECT g, 'near' || g FROM generate_series(1, 10) g")
    c = braid.connect()
    rows = io.StringIO("".join(f"{i}\t{i % ROWS + 1}\t{'x' * PAD}\n" for i in range(1, WIDE_ROWS + 1)))
    with c.cursor() as cur:
        cur.copy_expert("COPY wide FROM STDIN", rows)
    c.commit()
    c.close()
    place.end(braid)


def temporary_tables(place):
    return [s.sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'braid%%'", "app")[0][0]
            for s in place.servers]


def nothing_left(place):
    """No temporary table, no transaction that somebody forgot, no prepared one."""
    wait_for("temporary tables are gone", lambda: not any(temporary_tables(place)))

    def open_ones():
        return sum(s.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND state LIKE "
                         "'idle in%%'")[0][0] for s in place.servers)
    wait_for("no transaction is open", lambda: open_ones() == 0)


class Calm:
    """A proxy of the test's own, and nothing left behind."""

    def __init__(self, place, **sections):
        self.place = place
        self.braid = place.braid(**sections)

    def __enter__(self):
        return self.braid

    def __exit__(self, kind, *_):
        if kind is None:
            nothing_left(self.place)
            self.place.end(self.braid)


def block(braid):
    c = braid.connect()
    c.autocommit = False
    return c


def auto(braid):
    c = braid.connect()
    c.autocommit = True
    return c


# ---- it works ----------------------------------------------------------------------------------------


def test_answers(place):
    with Calm(place) as braid:
        c = auto(braid)
        for _ in range(3):
            expect("a join", [JOINED], ask(c, JOIN))
            expect("with itself", [(i, i) for i in range(1, 6)], ask(c, SELF))
        expect("a local table", [(i, f"near{i}") for i in range(1, 11)],
               ask(c, "SELECT i.id, n.v FROM items i JOIN near n ON n.k = i.id ORDER BY 1"))
        expect("no rows", [], ask(c, "SELECT i.id FROM items i JOIN wide w ON w.k = i.id WHERE i.v = 'no'"))
        both = ask(c, "SELECT 1; " + SELF)
        expect("several statements", [(i, i) for i in range(1, 6)], both)
        out = io.StringIO()
        with c.cursor() as cur:
            cur.copy_expert(f"COPY ({SELF}) TO STDOUT (FORMAT csv, HEADER)", out)
        expect("copied", ["id,id"] + [f"{i},{i}" for i in range(1, 6)], out.getvalue().split())
        with c.cursor() as cur:
            expect_error("not copied", "22012", lambda: cur.copy_expert(
                "COPY (SELECT 1 / (a.id - 2) FROM items a JOIN items b ON b.v = a.v) TO STDOUT",
                io.StringIO()))
        expect("tables", [0, 0, 0], temporary_tables(place))
        c.close()


def test_own_writes(place):
    """Inside of a transaction its own writes are seen, also those of local tables; nothing stays."""
    with Calm(place) as braid:
        c = block(braid)
        for i in range(1, 6):
            expect("a write", 1, ask(c, f"UPDATE items SET v = 'mine{i % 2}' WHERE id = {i}"))
        expect("seen", [(1, 1), (1, 3), (1, 5), (2, 2), (2, 4)],
               ask(c, "SELECT a.id, b.id FROM items a JOIN items b ON b.v = a.v WHERE a.id < 3 "
                      "ORDER BY 1, 2"))
        ask(c, "INSERT INTO near VALUES (77, 'new')")
        expect("local", [("new",)], ask(c, "SELECT n.v FROM items i JOIN near n ON n.k = i.id AND i.id > 10"))
        ask(c, "SAVEPOINT s")
        expect_error("in the rest", "22012", lambda: ask(
            c, "SELECT 1 / (a.id - 2) FROM items a JOIN items b ON b.v = a.v"))
        expect_error("failed", "25P02", lambda: ask(c, SELF))
        ask(c, "ROLLBACK TO s")
        expect("after that", [("new",)],
               ask(c, "SELECT n.v FROM items i JOIN near n ON n.k = i.id AND i.id > 10"))
        c.rollback()
        expect("rolled back", [(i, i) for i in range(1, 6)], ask(c, SELF))
        ask(c, "UPDATE items SET v = v WHERE id IN (1, 2, 3, 4, 5, 6, 7)")
        expect("a join", [JOINED], ask(c, JOIN))
        c.commit()
        expect("committed over shards", [JOINED], ask(c, JOIN))
        c.close()


def test_again_and_again(place):
    """A source that has to wait behind its last row answers what it is told next, all the same."""
    with Calm(place) as braid:
        with psycopg.connect(braid.dsn(), autocommit=True, prepare_threshold=0) as c:
            c.execute("SET statement_timeout = '20s'")
            c.execute("CREATE TABLE piles (id bigint PRIMARY KEY, x bigint, y int) SHARD BY HASH (id)")
            c.execute("CREATE TABLE heaps (id bigint PRIMARY KEY, x bigint, y int, pad text) SHARD BY HASH (id)")
            for table, more in (("piles", ()), ("heaps", ("x" * 80,))):
                with c.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                    for i in range(1, 6001):
                        copy.write_row((i, i * 7919 % 6001, i % 100) + more)
                c.execute(f"ANALYZE {table}")
            for _ in range(150):
                got = c.execute("SELECT count(a.id) FROM piles a LEFT JOIN heaps b ON b.x = a.x WHERE b IS NULL").fetchone()
                expect("rows", 0, got[0])
            c.execute("DROP TABLE piles, heaps")


def test_modes(place):
    """READ ONLY, settings of the session and of the transaction, a role."""
    with Calm(place) as braid:
        c = auto(braid)
        ask(c, "BEGIN READ ONLY")
        expect("read only", [JOINED], ask(c, JOIN))
        expect("still", [("on",)], ask(c, "SHOW transaction_read_only"))
        ask(c, "COMMIT")
        ask(c, "SET default_transaction_read_only = on")
        expect("by default", [JOINED], ask(c, JOIN))
        ask(c, "RESET default_transaction_read_only")
        zone = "SELECT max(a.id::text || current_setting('TimeZone') || current_setting('my.x', true)) " \
               "FROM items a JOIN items b ON b.v = a.v WHERE a.id = 7"
        ask(c, "SET TimeZone = 'Asia/Tokyo'")
        ask(c, "BEGIN")
        ask(c, "SET LOCAL my.x = 'local'")
        expect("SET and SET LOCAL", [("7Asia/Tokyolocal",)], ask(c, zone))
        ask(c, "SET TimeZone = 'Asia/Seoul'")
        expect("SET in a transaction", [("7Asia/Seoullocal",)], ask(c, zone))
        ask(c, "ROLLBACK")
        ask(c, "SET my.x = ''")
        expect("rolled back", [("7Asia/Tokyo",)], ask(c, zone))
        c.close()


def test_prepared(place):
    """Parameters and results in text and binary, prepared and not, in pipelines."""
    sql = "SELECT a.id, b.v, (a.id * 1.5)::numeric FROM items a JOIN items b ON b.v = a.v " \
          "WHERE a.id > %s AND b.v <> %s ORDER BY 1 LIMIT %s"
    with Calm(place) as braid:
        with psycopg.connect(host="127.0.0.1", port=braid.port, dbname="app", user="app",
                             autocommit=True) as c:
            want = [(i, f"v{i}", i * 3 / 2) for i in (4, 5, 7)]
            for binary in (False, True):
                for prepare in (False, True, True):
                    got = c.execute(sql, (3, "v6", 3), binary=binary, prepare=prepare).fetchall()
                    expect(f"binary {binary} prepare {prepare}", want,
                           [(a, b, float(n)) for a, b, n in got])
            with c.pipeline():
                answers = [c.execute(sql, (i, "v6", 1)) for i in (1, 2)]
                single = c.execute("SELECT v FROM items WHERE id = 9")
                answers.append(c.execute(sql, (9, "", 1)))
            expect("pipelined", [2, 3, 10], [a.fetchone()[0] for a in answers])
            expect("between them", ("v9",), single.fetchone())
            described = c.execute(sql, (3, "", 0), prepare=True).description
            expect("described", [20, 25, 1700], [d.type_code for d in described])


def test_types(place):
    """Types of users, whose numbers differ between servers, collations, type modifiers, odd names."""
    with Calm(place) as braid:
        c = auto(braid)
        for sql in ("CREATE TYPE mood AS ENUM ('bad', 'good')", "CREATE TYPE pair AS (a int, m mood)",
                    "CREATE DOMAIN short AS varchar(5) CHECK (length(value) < 6)",
                    'CREATE TABLE odd (id int PRIMARY KEY, "A ""b" mood, ms mood[], p pair, s short, '
                    'n numeric(6,2), t text COLLATE "C", c char(4), r int4range, b bytea, j jsonb, '
                    'ts timestamptz, nothing text) SHARD BY HASH (id)'):
            ask(c, sql)
        for i in range(1, 9):
            ask(c, f"""INSERT INTO odd VALUES ({i}, 'good', '{{bad,NULL,good}}', '(1,bad)', 'x{i}', {i}.5,
                       E'a\\tb\\n{i % 3}\\\\', 'c', '[1,{i + 1})', '\\x00ff', '{{"a": [1, null]}}',
                       '2024-02-29 12:00+00', NULL)""")
        want = ask(c, "SELECT * FROM odd WHERE id = 4")
        for _ in range(2):
            expect("values", want, ask(
                c, "SELECT a.* FROM odd a JOIN odd b ON b.s = a.s AND b.t = a.t WHERE a.id = 4"))
            expect("as PostgreSQL types them", [("mood", "mood[]", "pair", "numeric", "character", "7.50")],
                   ask(c, """SELECT pg_typeof(a."A ""b")::text, pg_typeof(a.ms)::text, pg_typeof(a.p)::text,
                             pg_typeof(a.n)::text, pg_typeof(a.c)::text, max(a.n)::text
                             FROM odd a JOIN odd b ON b.s = a.s WHERE a.id = 7 GROUP BY 1, 2, 3, 4, 5"""))
            expect("ordered by its collation", [(3,), (6,), (1,)],
                   ask(c, "SELECT a.id FROM odd a JOIN odd b ON b.s = a.s ORDER BY a.t, a.id LIMIT 3"))
        for sql in ("DROP TABLE odd", "DROP TYPE pair", "DROP TYPE mood", "DROP DOMAIN short"):
            ask(c, sql)
        c.close()


# ---- what goes wrong ---------------------------------------------------------------------------------


def test_errors(place):
    """Of a source, of the rest: the server's words, one error, and the next statement works."""
    with Calm(place) as braid:
        c = auto(braid)
        for _ in range(2):
            expect_error("in a source", "22P02", lambda: ask(
                c, "SELECT count(*) FROM (SELECT v::int AS n FROM items) a JOIN wide w ON w.k = a.n"))
            expect_error("in the rest", "22012", lambda: ask(
                c, "SELECT 1 / (a.id - 2) FROM items a JOIN items b ON b.v = a.v"))
            expect_error("a limit that no shard hears of", "2201W", lambda: ask(
                c, "SELECT a.id FROM items a JOIN items b ON b.v = a.v LIMIT -1"))
            expect_error("no such column", "42703", lambda: ask(
                c, "SELECT a.nothing FROM items a JOIN items b ON b.v = a.v"))
            expect("the next", [JOINED], ask(c, JOIN))
        c.close()


def test_no_temp(place):
    """Who may make no temporary tables is told so."""
    for server in place.servers:
        server.sql("REVOKE TEMP ON DATABASE app FROM public")
    try:
        for server in place.servers:
            server.sql("CREATE ROLE guest LOGIN")
            server.sql("GRANT SELECT ON items, wide TO guest", "app")
        with Calm(place, users={"app": "secret", "guest": "guest"}) as braid:
            c = braid.connect(user="guest")
            c.autocommit = True
            for _ in range(2):
                expect_error("refused", "42501", lambda: ask(c, SELF), "temporary")
            c.close()
    finally:
        for server in place.servers:
            server.sql("GRANT TEMP ON DATABASE app TO public")
            server.sql("DROP OWNED BY guest", "app")
            server.sql("DROP ROLE guest")


def hurry(middles, slowly):
    for middle in middles:
        middle.piece, middle.delay_s = (3000, 0.01) if slowly else (65536, 0.0)


def cancelled(c, sql, after_s, middles, code="57014"):
    def stop():
        c.cancel()
        time.sleep(0.2)
        hurry(middles, slowly=False)
    timer = threading.Timer(after_s, stop)
    timer.start()
    begin = time.monotonic()
    try:
        return expect_error("cancelled", code, lambda: ask(c, sql))
    finally:
        timer.join()
        expect_that("at once", time.monotonic() - begin < 15)


def test_cancel(place):
    """In the middle of a move and of the rest."""
    with World(place) as world:
        c = auto(world.braid)
        expect("before", [JOINED], ask(c, JOIN))
        hurry(world.middles, slowly=True)
        cancelled(c, JOIN, 0.5, world.middles)
        expect("after", [JOINED], ask(c, JOIN))
        cancelled(c, SLOW_REST, 0.7, [])
        expect("after the rest", [JOINED], ask(c, JOIN))
        ask(c, "BEGIN")
        cancelled(c, SLOW_REST, 0.7, [])
        expect_error("failed", "25P02", lambda: ask(c, SELF))
        ask(c, "ROLLBACK")
        expect("in the end", [JOINED], ask(c, JOIN))
        c.close()
    nothing_left(place)


def test_timeout(place):
    with Calm(place, pool={"query_timeout_ms": 1500}) as braid:
        c = auto(braid)
        for _ in range(2):
            expect_error("too slow", "57014", lambda: ask(c, SLOW_REST), "query timeout")
            expect("after", [JOINED], ask(c, JOIN))
        c.close()


def test_client_gone(place):
    """In the middle of a move, of the rest, and in a transaction."""
    with World(place) as world:
        for sql in (JOIN, SLOW_REST):
            for begin in ("", "BEGIN; "):
                hurry(world.middles, slowly=sql == JOIN)
                c = auto(world.braid)
                if begin:
                    ask(c, "BEGIN")
                    ask(c, "UPDATE items SET v = v WHERE id = 1")
                thread = threading.Thread(target=lambda c=c, sql=sql: failing(c, sql))
                thread.start()
                time.sleep(0.6)
                hang_up(c)
                thread.join(20)
                world.calm()
                nothing_left(place)


def failing(c, sql):
    try:
        ask(c, sql)
    except psycopg2.Error:
        pass


def hang_up(c):
    """The client's socket is gone, whatever libpq thinks of it."""
    s = socket.socket(fileno=os.dup(c.fileno()))
    s.shutdown(socket.SHUT_RDWR)
    s.close()


def test_server_gone(place):
    """Connections of the workspace's server, or of another source, are cut in the middle of a move."""
    with World(place) as world:
        for shard in (0, 1):
            for begin in (False, True):
                c = auto(world.braid)
                wait_for("it works again", lambda c=c: works(c), seconds=15)
                if begin:
                    ask(c, "BEGIN")
                    ask(c, "SELECT count(*) FROM items")
                hurry(world.middles, slowly=True)
                threading.Timer(0.5, lambda shard=shard: cut(world.middles, shard)).start()
                e = expect_error(f"shard{shard} cut", None, lambda c=c: ask(c, JOIN))
                expect_that(f"an error of a lost server: {e.pgcode} {e}", e.pgcode in LOST)
                world.calm()
                if begin:
                    expect_error("failed", None, lambda c=c: ask(c, SELF))
                    ask(c, "ROLLBACK")
                wait_for("it works again", lambda c=c: works(c), seconds=15)
                c.close()
    nothing_left(place)


def cut(middles, shard):
    middles[shard].cut()
    hurry(middles, slowly=False)


def works(c):
    try:
        return ask(c, SELF) == [(i, i) for i in range(1, 6)]
    except psycopg2.Error:
        return False


def test_late_answers(place):
    """The rest fails, or ends, before a slow source has answered the end of its own transaction."""
    full = "SELECT {} FROM items a FULL JOIN items b ON b.v = a.v || '' AND a.id < 5"
    with World(place) as world:
        c = auto(world.braid)
        expect("before", [(ROWS + ROWS - 4,)], ask(c, full.format("count(*)")))
        world.middles[1].delay_s = 0.2
        for _ in range(2):
            expect("counted", [(ROWS + ROWS - 4,)], ask(c, full.format("count(*)")))
            nothing_held(world.braid)
            expect_error("failed", "22012", lambda: ask(c, full.format("1 / (a.id - 2)")))
            nothing_held(world.braid)
        c.close()
    nothing_left(place)


def nothing_held(braid):
    """Although the client says nothing more."""
    wait_for("connections are given back", lambda: braid.stats()["connections"]["active"] == 0, seconds=5)


def test_slow_workspace(place):
    """A workspace that does not take its rows stops the sources; the proxy keeps little of them."""
    with World(place) as world:
        c = auto(world.braid)
        expect("before", [JOINED], ask(c, JOIN))
        before = world.braid.memory_kb()
        world.middles[0].piece, world.middles[0].delay_s = 8000, 0.005
        most = [0]
        stop = threading.Event()

        def look():
            while not stop.wait(0.02):
                most[0] = max(most[0], world.braid.memory_kb())
        thread = threading.Thread(target=look)
        thread.start()
        expect("slowly", [JOINED], ask(c, JOIN))
        stop.set()
        thread.join()
        moved = WIDE_ROWS * PAD / 1024
        if "address" in world.braid.binary:
            moved *= 10  # a sanitizer keeps what was freed
        expect_that(f"memory grew by {most[0] - before} KiB for {moved:.0f} KiB moved",
                    most[0] - before < moved * 0.8)
        c.close()
    nothing_left(place)


# ---- limits ------------------------------------------------------------------------------------------


def test_limits(place):
    with Calm(place, workspace={"max_bytes": 1000000}) as braid:
        c = auto(braid)
        for _ in range(2):
            expect_error("more than max_bytes", "53400", lambda: ask(c, JOIN), "workspace.max_bytes")
            expect("a small one", [(i, i) for i in range(1, 6)], ask(c, SELF))
        ask(c, "BEGIN")
        expect_error("in a transaction", "53400", lambda: ask(c, JOIN))
        expect_error("failed", "25P02", lambda: ask(c, SELF))
        ask(c, "ROLLBACK")
        expect("after", [(i, i) for i in range(1, 6)], ask(c, SELF))
        c.close()
    with Calm(place, workspace={"total_bytes": 2500000}) as braid:
        c = auto(braid)
        expect_error("more than total_bytes", "53400", lambda: ask(c, JOIN), "workspace.total_bytes")
        for _ in range(5):
            expect("given back", [(i, i) for i in range(1, 6)], ask(c, SELF))
        c.close()


def test_pool_of_one(place):
    """One connection per shard for everybody: nobody waits for ever, inside of transactions or not."""
    with Calm(place, pool={"size": 1, "query_wait_ms": 30000}) as braid:
        errors = []

        def work(number):
            try:
                c = block(braid) if number % 2 else auto(braid)
                for i in range(4):
                    if number % 2:
                        ask(c, f"SELECT v FROM items WHERE id = {number * 7 + i}")
                    if ask(c, SELF) != [(i, i) for i in range(1, 6)]:
                        errors.append("another answer")
                    c.commit()
                c.close()
            except psycopg2.Error as e:
                errors.append(f"{e.pgcode} {e}")
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(90)
        expect("errors", [], errors)
        expect_that("all have ended", not any(t.is_alive() for t in threads))


def test_place(place):
    """workspace.place: the shard it names has the tables, unless a table of the home shard is read."""
    where = "SELECT max(current_setting('port')::int) FROM items a JOIN items b ON b.v = a.v"
    for word, shard in (("home", 0), ("shard2", 2), ("least_busy", None)):
        with Calm(place, workspace={"place": word}) as braid:
            c = auto(braid)
            for _ in range(2):
                got = ask(c, where)[0][0]
                expect_that(f"{word}: {got}", shard is None or got == place.servers[shard].port)
                expect("with a local table", [(10,)],
                       ask(c, "SELECT count(*) FROM items i JOIN near n ON n.k = i.id"))
            ask(c, "BEGIN")
            expect("in a transaction", [(10,)],
                   ask(c, "SELECT count(*) FROM items i JOIN near n ON n.k = i.id"))
            ask(c, "COMMIT")
            c.close()


def test_figures(place):
    with Calm(place) as braid:
        c = auto(braid)
        ask(c, SELF)
        figures = braid.stats()["totals"] if "totals" in braid.stats() else braid.stats()
        text = braid.http("/metrics")[1]
        for name in ("workspace_statements", "workspace_moves", "workspace_rows", "workspace_bytes"):
            lines = [x for x in text.splitlines() if name in x and not x.startswith("#")]
            if not lines or float(lines[0].split()[-1]) <= 0:
                raise Failed(f"{name}: {lines} {str(figures)[:100]}")
        c.close()


TESTS = [test_answers, test_own_writes, test_again_and_again, test_modes, test_prepared, test_types, test_errors, test_no_temp, test_cancel,
         test_timeout, test_client_gone, test_server_gone, test_late_answers, test_slow_workspace, test_limits,
         test_pool_of_one, test_place, test_figures]


def run(place, report):
    if report.only and not any(report.only in f"workspace: {t.__name__[5:]}" for t in TESTS):
        return
    prepare(place)
    for test in TESTS:
        report.run(f"workspace: {test.__name__[5:]}", test, place)
