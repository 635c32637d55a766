"""A man in the middle: the network between clients, pgbraid and servers is slow, stops, or breaks."""

import io
import select
import socket
import struct
import threading
import time

import psycopg2

import raw
from report import Failed, expect, expect_that
from place import expect_error, serves, wait_for

LOST = ("08006", "08004", "57P01", "08007", "57P03", "08001", "57P02", "40001")


class Middle:
    """Passes bytes on between whoever connects and 127.0.0.1:`target`; can be told not to, or to be slow."""

    def __init__(self, target):
        self.target = target
        self.delay_s = 0.0  # before each piece
        self.piece = 65536  # bytes of a piece
        self.frozen = False  # nothing passes, nothing is closed
        self.deaf = False  # the server's answers do not pass
        self.links = []
        self.lock = threading.Lock()
        self.closed = False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.closed:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.join, args=(here,), daemon=True).start()

    def join(self, here):
        while self.frozen and not self.closed:
            time.sleep(0.02)
        try:
            there = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            return reset(here)
        for s in (here, there):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.links.append((here, there))
        self.carry(here, there)

    def carry(self, here, there):
        """Both directions, until one side ends."""
        while not self.closed:
            if self.frozen:
                time.sleep(0.02)
                continue
            try:
                readable, _, _ = select.select([here, there], [], [], 0.05)
                for side, other in ((here, there), (there, here)):
                    if side not in readable or (self.deaf and side is there):
                        continue
                    data = side.recv(self.piece)
                    if not data:
                        return self.hang_up(here, there)
                    if self.delay_s:
                        time.sleep(self.delay_s)
                    other.sendall(data)
                if self.deaf:
                    time.sleep(0.005)
            except (OSError, ValueError):
                return self.hang_up(here, there)

    @staticmethod
    def hang_up(here, there):
        for s in (here, there):
            try:
                s.close()
            except OSError:
                pass

    def cut(self):
        """Every connection is reset, as by a router that has forgotten them."""
        with self.lock:
            links, self.links = self.links, []
        for here, there in links:
            reset(here)
            reset(there)

    def close(self):
        self.closed = True
        self.listener.close()
        self.cut()


def reset(s):
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in select()
        s.close()
    except OSError:
        pass


class World:
    """pgbraid with a man in the middle in front of each server."""

    def __init__(self, place, **sections):
        self.place = place
        self.middles = [Middle(server.port) for server in place.servers]
        self.braid = place.braid(servers=self.middles, **sections)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.calm()
                wait_for("it serves again", lambda: serves_or_not(self.braid), seconds=6)
                nothing_left(self.braid)
                self.place.end(self.braid)
        finally:
            for middle in self.middles:
                middle.close()

    def calm(self):
        for middle in self.middles:
            middle.frozen = middle.deaf = False
            middle.delay_s, middle.piece = 0.0, 65536
        self.braid.wait_healthy()


def serves_or_not(braid):
    try:
        serves(braid)
        return True
    except psycopg2.Error:
        return False  # a failure of a moment ago is told until the next try


def nothing_left(braid):
    """No client waits, none holds a server connection, no transaction is open."""
    def quiet():
        stats = braid.stats()
        return stats["connections"]["waiting"] == 0 and stats["connections"]["active"] == 0 and \
            stats["transactions"]["in_doubt"] == 0
    wait_for(f"nothing is left: {braid.stats()['connections']} {braid.stats()['transactions']}", quiet)


# ---- between pgbraid and the servers -----------------------------------------------------------------


def test_slow(place):
    """Bytes one by one, and late: every answer is right all the same."""
    with World(place) as world:
        for middle in world.middles:
            middle.piece = 7
            middle.delay_s = 0.0002
        c = world.braid.connect()
        with c.cursor() as cur:
            cur.execute("SELECT v FROM items WHERE id = 7")
            expect("routed", [("v7",)], cur.fetchall())
            cur.execute("SELECT id FROM items ORDER BY id LIMIT 20")
            expect("merged", [(i,) for i in range(1, 21)], cur.fetchall())
            cur.execute("BEGIN")
            cur.execute("UPDATE items SET v = v WHERE id IN (1, 2, 3, 4, 5, 6)")
            expect("updated", 6, cur.rowcount)
            cur.execute("COMMIT")
            out = io.StringIO()
            cur.copy_expert("COPY (SELECT id FROM items WHERE id <= 50) TO STDOUT", out)
            expect("copied", 50, len(out.getvalue().split()))
        c.close()


def test_cut_in_result(place):
    """The connection is reset in the middle of a long result: an error, never a short result."""
    with World(place) as world:
        shard = place.shard_of(7)
        for _ in range(3):
            c = world.braid.connect()
            world.middles[shard].piece, world.middles[shard].delay_s = 2000, 0.002
            threading.Timer(0.3, world.middles[shard].cut).start()
            e = expect_error("a long result", None, lambda c=c: ask(
                c, "SELECT repeat('x', 1000), g FROM items, generate_series(1, 4000) g WHERE id = 7"))
            expect_that(f"an error of a lost server: {e.pgcode} {e}", e.pgcode in LOST or c.closed)
            world.calm()
            c.close()


def ask(c, sql):
    with c.cursor() as cur:
        cur.execute(sql)
        return cur.fetchall() if cur.description else cur.rowcount


def test_cut_in_copy(place):
    """The same in a COPY FROM STDIN: nothing of it is there."""
    with World(place) as world:
        c = world.braid.connect()
        rows = iter(f"{i}\tcopied\n" for i in range(10_000, 40_000))

        class Source(io.RawIOBase):
            def __init__(self):
                super().__init__()
                self.count = 0

            def read(self, _=-1):
                self.count += 1
                if self.count == 20:
                    world.middles[1].cut()
                return "".join(next(rows, "") for _ in range(200))

        with c.cursor() as cur:
            expect_error("COPY", None, lambda: cur.copy_expert("COPY items FROM STDIN", Source(), size=8192))
        c.close()
        world.braid.wait_healthy()
        wait_for("no row is there", lambda: world.braid.sql("SELECT count(*) FROM items WHERE id >= 10000") == [(0,)])


def test_answer_of_commit_lost(place):
    """The COMMIT arrives, its answer does not: the client is told that it cannot be known."""
    with World(place, txn={"prepare_timeout_ms": 1500, "recover_interval_ms": 200}) as world:
        row = place.row_on(1)
        c = world.braid.connect()
        c.autocommit = True
        ask(c, "BEGIN")
        ask(c, f"UPDATE items SET v = v WHERE id = {row}")
        world.middles[1].deaf = True
        timer = threading.Timer(0.5, world.middles[1].cut)
        timer.start()
        e = expect_error("COMMIT", None, lambda: ask(c, "COMMIT"))
        expect_that(f"an unknown outcome has a code of its own: {e.pgcode} {e}", e.pgcode in ("08007", "08006"))
        timer.join()
        c.close()


def test_two_phase_over_broken_network(place):
    """Cuts at every moment of two-phase commits: both rows change, or none."""
    with World(place, txn={"prepare_timeout_ms": 1500, "recover_interval_ms": 100}) as world:
        a, b = place.row_on(0), place.row_on(1)
        set_both(world.braid, a, b, "start")
        told = "start"
        for i in range(12):
            timer = threading.Timer(0.0015 * i, world.middles[i % 2].cut)
            timer.start()
            try:
                set_both(world.braid, a, b, f"t{i}")
                told = f"t{i}"
                certain = True
            except psycopg2.Error:
                certain = False
            timer.join()
            world.braid.wait_healthy()
            rows = wait_for("both or none", lambda: same_rows(world.braid, a, b))
            expect_that(f"round {i}: {rows} after {told} (certain: {certain})",
                        rows[0] == told or not certain)
            told = rows[0]
        set_both(world.braid, a, b, "x")
        for row in (a, b):
            world.braid.sql(f"UPDATE items SET v = 'v{row}' WHERE id = {row}")


def set_both(braid, a, b, value):
    c = braid.connect(autocommit=False)
    try:
        ask(c, f"UPDATE items SET v = '{value}' WHERE id = {a}")
        ask(c, f"UPDATE items SET v = '{value}' WHERE id = {b}")
        c.commit()
    finally:
        c.close()


def same_rows(braid, a, b):
    try:
        rows = [v for (v,) in braid.sql(f"SELECT v FROM items WHERE id IN ({a}, {b})")]
    except psycopg2.Error:
        return None
    return rows if len(rows) == 2 and rows[0] == rows[1] else None


def cut_and_noticed(world, shard):
    """The links of a shard are reset; back when pgbraid knows."""
    def count():
        return world.braid.tail(1000).count("BACKEND_LOST")
    before = count()
    world.middles[shard].cut()
    wait_for("the loss is noticed", lambda: count() > before)


def test_transaction_told_of_loss(place):
    """What comes first behind the loss of a shard says that it was lost, whatever it is."""
    row = place.row_on(0)
    with World(place) as world:
        for sql in ("SAVEPOINT b", "RELEASE a", "ROLLBACK TO a", "BEGIN", "SET TRANSACTION READ ONLY",
                    "SELECT 1", "SET work_mem = '1MB'", "FETCH 1 FROM c", "COMMIT"):
            with raw.Raw(world.braid.port) as c:
                c.login()
                c.ask(raw.query(f"BEGIN; UPDATE items SET v = v WHERE id = {row}"))
                c.ask(raw.query("SAVEPOINT a"))
                cut_and_noticed(world, 0)
                got = c.ask(raw.query(sql))
                expect(sql, ["08006"], raw.codes_of(got))
                if sql != "COMMIT":
                    expect(f"{sql} again", ["25P02"], raw.codes_of(c.ask(raw.query(sql))))
                    expect("the end", "CZ", raw.letters(c.ask(raw.query("ROLLBACK"))))
                expect("it is over", "I", c.state)


def test_portal_lost(place):
    """A shard goes with the portal that was bound there, while another one is being told BEGIN."""
    here, there = place.row_on(0), place.row_on(1)
    update = "UPDATE items SET v = v WHERE id = $1"
    with World(place) as world:
        for more in ([raw.describe("P"), raw.execute()], [raw.execute()], [raw.close("P", ""), raw.execute()]):
            with raw.Raw(world.braid.port) as c:
                c.login()
                for row in (here, there):  # connections are there, so that nothing waits for one
                    c.ask(raw.query(f"SELECT v FROM items WHERE id = {row}"))
                c.send(raw.parse(update, "", (20,)), raw.bind((here,)), raw.execute(), raw.FLUSH)
                expect("one shard", "12C", raw.letters(c.until("C")))
                world.middles[0].deaf = True  # so that its BEGIN stays in flight
                c.send(raw.parse(update, "", (20,)), raw.bind((there,)), raw.FLUSH)
                expect("and another, by Flush alone", "12", raw.letters(c.until("2")))
                cut_and_noticed(world, 1)
                world.middles[0].deaf = False
                got = c.ask(*more, raw.SYNC)
                closed = len(more) == 2 and more[0][:1] == b"C"
                expect("the portal is gone", ["34000" if closed else "08006"], raw.codes_of(got))
                expect("the transaction, too", "I", c.state)
                expect("it goes on", [[f"v{here}"]],
                       raw.rows_of(c.ask(raw.query(f"SELECT v FROM items WHERE id = {here}"))))


def test_state_lost_in_commit(place):
    """LISTEN goes with its connection while that answers COMMIT: the client may not go on as if it listened."""
    with World(place) as world:
        with raw.Raw(world.braid.port) as c:
            c.login(database="plain")
            c.ask(raw.query("LISTEN news"))
            c.ask(raw.query("BEGIN"))
            c.ask(raw.query("SELECT 1"))
            world.middles[0].deaf = True
            c.send(raw.query("COMMIT"))
            time.sleep(0.1)
            cut_and_noticed(world, 0)
            world.middles[0].deaf = False
            got = c.rest()
            expect_that(f"an error, then the end of the session: {raw.letters(got)} {raw.codes_of(got)}",
                        raw.codes_of(got)[-1:] == ["08006"] and
                        raw.fields_of(got[-1][1])["S"] == "FATAL")


def test_late_failure(place):
    """A shard that cannot be reached fails the statement that waited for it, and no later one."""
    here, there = place.row_on(0), place.row_on(1)
    update = "UPDATE items SET v = v WHERE id = $1"
    with World(place, pool={"connect_timeout_ms": 1500}) as world:
        with raw.Raw(world.braid.port) as c:
            c.login()
            c.send(raw.parse(update, "", (20,)), raw.bind((here,)), raw.execute(), raw.FLUSH)
            expect("one shard", "12C", raw.letters(c.until("C")))
            world.middles[1].frozen = True
            c.send(raw.parse(update, "", (20,)), raw.bind((there,)), raw.execute())
            time.sleep(0.2)  # it waits for a connection now
            cut_and_noticed(world, 0)
            expect("the loss is told at once", ["08006"], raw.codes_of(c.until("E")))
            time.sleep(2)  # and the connection was not to be had
            expect("the end of the segment", "Z", raw.letters(c.ask(raw.SYNC)))
            got = c.ask(raw.query(f"SELECT v FROM items WHERE id = {here}"))
            expect("the next statement", [[f"v{here}"]], raw.rows_of(got))


def test_frozen_link(place):
    """A link that swallows everything holds up its own shard only, and not for ever."""
    with World(place, pool={"connect_timeout_ms": 800, "size": 3}) as world:
        shard = place.shard_of(7)
        others = [place.row_on(i) for i in range(3) if i != shard]
        serves(world.braid)
        world.middles[shard].frozen = True
        stuck = [world.braid.connect() for _ in range(4)]
        threads = [threading.Thread(target=quietly, args=(c, "SELECT v FROM items WHERE id = 7")) for c in stuck]
        for t in threads:
            t.start()
        begin = time.monotonic()
        for row in others * 5:
            expect("other shards", [(f"v{row}",)], world.braid.sql(f"SELECT v FROM items WHERE id = {row}"))
        expect_that("and they are quick", time.monotonic() - begin < 5)
        wait_for("the server is seen as unhealthy", lambda: world.braid.http("/health")[0] != 200)
        world.middles[shard].cut()
        for t in threads:
            t.join(15)
            expect_that("nobody waits for ever", not t.is_alive())
        for c in stuck:
            c.close()
        world.calm()
        serves(world.braid)  # back-off ends with the health check that finds the server up


def quietly(c, sql):
    try:
        ask(c, sql)
    except psycopg2.Error:
        pass


# ---- between clients and pgbraid ---------------------------------------------------------------------


def test_clients_cut(place):
    """Clients whose connections are reset in the middle of everything leave nothing behind."""
    braid = place.braid(pool={"size": 4})
    middle = Middle(braid.port)
    works = ["SELECT v FROM items WHERE id = 7", "SELECT count(*) FROM items", "SELECT pg_sleep(5)",
             "BEGIN; UPDATE items SET v = v WHERE id IN (1, 2, 3, 4, 5, 6, 7, 8); SELECT pg_sleep(5)",
             "SELECT i.id, repeat('x', 500) FROM items i, generate_series(1, 200) ORDER BY 1"]
    try:
        for round_ in range(3):
            threads = []
            for sql in works * 3:
                c = psycopg2.connect(host="127.0.0.1", port=middle.port, user="app", dbname="app",
                                     password="secret")
                c.autocommit = True
                threads.append(threading.Thread(target=quietly, args=(c, sql)))
                threads[-1].start()
            time.sleep(0.05 + 0.1 * round_)
            middle.cut()
            for t in threads:
                t.join(15)
                expect_that("every client noticed", not t.is_alive())
        nothing_left(braid)
        for server in place.servers:
            rows = server.wait_sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'",
                                   lambda rows: rows == [(0,)])
            expect("no statement of theirs runs on", [(0,)], rows)
        serves(braid)
        place.end(braid)
    finally:
        middle.close()


def test_connect_storm(place):
    """Connects at 10,000 a minute: trust, a statement, gone; some say nothing at all."""
    braid = place.braid(auth={"method": "trust", "users_file": "users.txt"}, pool={"size": 4})
    begin, count = time.monotonic(), 1200
    silent = []
    for i in range(count):
        if i % 10 == 0:
            silent.append(socket.create_connection(("127.0.0.1", braid.port)))
            if len(silent) > 20:
                reset(silent.pop(0))
            continue
        with raw.Raw(braid.port) as c:
            c.login()
            if i % 3:
                expect("a statement", [["v7"]], raw.rows_of(c.ask(raw.message("Q", b"SELECT v FROM items WHERE id = 7\0"))))
            if i % 2:
                c.send(raw.TERMINATE)
    took = time.monotonic() - begin
    for s in silent:
        s.close()
    print(f"        {count / took * 60:.0f} connects per minute", flush=True)
    nothing_left(braid)
    if took > 60:
        raise Failed(f"{count} connects took {took:.0f} s")
    wait_for("all are gone", lambda: braid.stats()["connections"]["idle"] == 0)
    place.end(braid)


def run(place, report):
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            report.run(f"middle: {name[5:].replace('_', ' ')}", test, place)
