"""One moment in time: money moves between shards while its sum is read. With braid.snapshot on the
sum never moves; with it off the same window shows a torn read, so that the test proves itself.

The window is made certain by a man in the middle that holds back COMMIT PREPARED on one shard."""

import io
import os
import random
import select
import signal
import socket
import threading
import time

import psycopg
import psycopg2

import raw
from middle import Middle
from report import Failed, expect, expect_that
from place import expect_error, wait_for
from restart import Generations

ACCOUNTS = 60
START = 100
TOTAL = ACCOUNTS * START
SUM = "SELECT sum(balance) FROM accounts"


class Holder(Middle):
    """Holds back whatever carries COMMIT PREPARED to its server while `hold` is set."""

    def __init__(self, target):
        self.hold = False
        self.holding = 0  # pieces held back now
        self.pause_s = 0.0  # ... or only for so long, now and then
        self.cut_held = False  # what is held is dropped, with its connection
        self.mute = False  # what the proxy sends is swallowed
        super().__init__(target)

    def carry(self, here, there):
        while not self.closed:
            try:
                readable, _, _ = select.select([here, there], [], [], 0.05)
                if here in readable:
                    data = here.recv(65536)
                    if not data:
                        return self.hang_up(here, there)
                    if b"COMMIT PREPARED" in data and not self.pass_commit():
                        return self.hang_up(here, there)
                    if not self.mute:
                        there.sendall(data)
                if there in readable:
                    data = there.recv(65536)
                    if not data:
                        return self.hang_up(here, there)
                    here.sendall(data)
            except (OSError, ValueError):
                return self.hang_up(here, there)

    def pass_commit(self):
        if self.pause_s:
            time.sleep(random.uniform(0, self.pause_s))
        self.holding += 1
        while self.hold and not self.closed:
            if self.cut_held:
                self.holding -= 1
                return False
            time.sleep(0.002)
        self.holding -= 1
        return True


class Bank:
    """pgbraid over three servers, a holder in front of each; accounts over all of them."""

    def __init__(self, place, **txn):
        self.place = place
        self.holders = [Holder(server.port) for server in place.servers]
        self.braid = place.braid(servers=self.holders,
                                 txn={"snapshot_wait_ms": 5000, "recover_interval_ms": 100, **txn})
        self.braid.sql("DROP TABLE IF EXISTS accounts")
        self.braid.sql("CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL) "
                       "SHARD BY HASH (id)")
        self.braid.sql("INSERT INTO accounts VALUES "
                       + ", ".join(f"({i}, {START})" for i in range(1, ACCOUNTS + 1)))
        # a row of each shard, and one more
        self.rows = [[row for row, in server.sql("SELECT id FROM accounts ORDER BY id", "app")]
                     for server in place.servers]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            for holder in self.holders:
                holder.hold = holder.cut_held = holder.mute = False
                holder.pause_s = 0.0
            if kind is None:
                self.braid.sql("DROP TABLE accounts")
                self.place.end(self.braid)
        finally:
            for holder in self.holders:
                holder.close()

    def connect(self, snapshot=None, autocommit=True):
        c = self.braid.connect(autocommit=True)
        if snapshot is not None:
            c.cursor().execute(f"SET braid.snapshot = {snapshot}")
        c.autocommit = autocommit
        return c

    def move(self, one, two, amount=10, connection=None):
        c = connection or self.braid.connect(autocommit=False)
        cur = c.cursor()
        cur.execute("UPDATE accounts SET balance = balance - %s WHERE id = %s", (amount, one))
        cur.execute("UPDATE accounts SET balance = balance + %s WHERE id = %s", (amount, two))
        c.commit()
        if connection is None:
            c.close()

    def held_move(self, a, b):
        """A transfer from shard a to b whose COMMIT PREPARED hangs on b, and is done on a."""
        self.holders[b].hold = True
        one, two = self.rows[a][0], self.rows[b][0]
        thread = threading.Thread(target=swallow, args=(self.move, one, two), daemon=True)
        before = self.on_server(a, one)
        thread.start()
        wait_for("COMMIT PREPARED is held back", lambda: self.holders[b].holding > 0)
        wait_for("the other shard has it", lambda: self.on_server(a, one) != before)
        return thread

    def on_server(self, shard, row):
        return self.place.servers[shard].sql("SELECT balance FROM accounts WHERE id = %s", "app",
                                             (row,))[0][0]

    def metric(self, name):
        return counter(self.braid, name)


def counter(braid, name):
    for line in braid.http("/metrics")[1].splitlines():
        if line.startswith(f"pgbraid_{name}_total "):
            return int(float(line.split()[1]))
    raise Failed(f"no counter {name}")


def swallow(call, *args):
    try:
        call(*args)
    except psycopg2.Error:
        pass


def ask(connection, sql=SUM):
    with connection.cursor() as cur:
        cur.execute(sql)
        return cur.fetchone()[0]


def later(seconds, call):
    timer = threading.Timer(seconds, call)
    timer.start()
    return timer


# ---- a window that is certain -------------------------------------------------------------------


def one_window(place):
    with Bank(place) as bank:
        off, on = bank.connect("off"), bank.connect("on")
        expect("nothing moves", TOTAL, int(ask(off)))
        thread = bank.held_move(0, 1)
        torn = int(ask(off))
        expect("off: the transfer is seen on one shard and not on the other", TOTAL - 10, torn)
        timer = later(0.5, lambda: setattr(bank.holders[1], "hold", False))
        began = time.monotonic()
        expect("on: it waits, and sees all of it", TOTAL, int(ask(on)))
        expect_that("it cannot have waited", time.monotonic() - began > 0.3)
        timer.join()
        thread.join(10)
        expect("after", (TOTAL, TOTAL), (int(ask(off)), int(ask(on))))
        expect_that("nothing was counted",
                    bank.metric("snapshots") >= 2 and bank.metric("snapshot_waits") >= 1)


def ways_to_ask(place):
    """Everything that reads over several shards outside of a block waits for the same moment."""
    with Bank(place) as bank:
        rows = sorted(bank.rows[0][:1] + bank.rows[1][:1])
        asks = {
            "a list of keys": lambda c: c.execute(
                f"SELECT sum(balance) FROM accounts WHERE id IN ({rows[0]}, {rows[1]})").fetchone()[0],
            "sorted rows": lambda c: sum(r[0] for r in c.execute(
                f"SELECT balance FROM accounts WHERE id IN ({rows[0]}, {rows[1]}) ORDER BY 1").fetchall()),
            "prepared": lambda c: c.execute(
                "SELECT sum(balance) FROM accounts WHERE id = ANY(%s)", (rows,),
                prepare=True).fetchone()[0],
            "COPY": lambda c: copied(c, rows),
            "simple": lambda c: psycopg.ClientCursor(c).execute(
                "SELECT sum(balance) FROM accounts WHERE id IN (%s, %s)", rows).fetchone()[0],
        }
        for what, call in asks.items():
            with psycopg.connect(bank.braid.dsn(), autocommit=True,
                                 options="-c braid.snapshot=on") as c:
                expect(f"{what} before", 2 * START, int(call(c)))
                bank.held_move(0, 1)
                later(0.15, lambda: setattr(bank.holders[1], "hold", False))
                expect(what, 2 * START, int(call(c)))
                expect(f"{what} after", 2 * START, int(call(c)))
                with c.pipeline():
                    one = c.execute(f"SELECT sum(balance) FROM accounts WHERE id IN ({rows[0]}, {rows[1]})")
                    two = c.execute("SELECT balance FROM accounts WHERE id = %s", (rows[0],))
                    expect("in a pipeline", 2 * START, int(one.fetchone()[0]))
                    two.fetchone()


def copied(connection, rows, tail=""):
    with connection.cursor() as cur:
        with cur.copy(f"COPY (SELECT id, balance FROM accounts {tail}) TO STDOUT") as copy:
            return sum(int(row[1]) for row in copy.rows() if int(row[0]) in rows)


def in_a_block(place):
    """READ COMMITTED: each statement of a block has a moment of its own, and sees the block's writes."""
    with Bank(place) as bank:
        two = [bank.rows[0][0], bank.rows[1][0]]
        with psycopg.connect(bank.braid.dsn(), options="-c braid.snapshot=on") as c:
            few = "SELECT sum(balance) FROM accounts WHERE id = ANY(%s)"
            for prepare in (False, True, True):
                c.execute("SELECT balance FROM accounts WHERE id = %s", two[:1])
                bank.held_move(0, 1)
                timer = later(0.15, lambda: setattr(bank.holders[1], "hold", False))
                expect("a sum", 2 * START,
                       int(c.execute(few, (two,), prepare=prepare).fetchone()[0]))
                expect_that("it did not wait", not bank.holders[1].hold)
                timer.join()
                c.execute("INSERT INTO accounts VALUES (1000, 5), (1001, 6)")
                expect("its own writes", TOTAL + 11, int(c.execute(SUM).fetchone()[0]))
                expect("COPY of what is put in order", 2 * START, copied(c, two, "ORDER BY id"))
                expect("sorted", 2 * START, sum(r[0] for r in c.execute(
                    "SELECT balance FROM accounts WHERE id = ANY(%s) ORDER BY id", (two,)).fetchall()))
                c.rollback()
            bank.held_move(0, 1)
            timer = later(0.15, lambda: setattr(bank.holders[1], "hold", False))
            cur = psycopg.ClientCursor(c)
            cur.execute(f"SELECT balance FROM accounts WHERE id = {two[0]}; " + SUM)
            cur.nextset()
            expect("several statements in one text", TOTAL, int(cur.fetchone()[0]))
            timer.join()
        old = bank.connect("on", autocommit=False)
        ask(old)
        expect_error("COPY of rows as they are", "0A000", lambda: old.cursor().copy_expert(
            "COPY accounts TO STDOUT", io.StringIO()), "REPEATABLE READ")
        old.rollback()
        expect_error("an error in the first round", "42703",
                     lambda: ask(old, "SELECT sum(balances) FROM accounts"))
        expect_error("the block has failed", "25P02", lambda: ask(old))
        old.rollback()
        expect_error("an error in the last round", "22012",
                     lambda: ask(old, "SELECT 1 / (balance - balance) FROM accounts"))
        old.rollback()
        expect("and goes on", TOTAL, int(ask(old)))
        old.close()


def locks_outside_of_the_gap(place):
    """A table that a held commit has locked is waited for before the gap, not in it."""
    with Bank(place) as bank:
        bank.braid.sql("CREATE TABLE log (id bigint PRIMARY KEY) SHARD BY HASH (id)")
        bank.braid.sql("INSERT INTO log VALUES " + ", ".join(f"({i})" for i in range(1, 20)))
        c = bank.connect("on", autocommit=False)
        ask(c, SUM)
        bank.holders[1].hold = True
        thread = threading.Thread(target=swallow, args=(bank.braid.sql, "TRUNCATE log"), daemon=True)
        thread.start()
        wait_for("COMMIT PREPARED is held back", lambda: bank.holders[1].holding > 0)
        got = []
        reader = threading.Thread(target=lambda: got.append(int(ask(c, "SELECT count(*) FROM log"))),
                                  daemon=True)
        reader.start()
        time.sleep(0.2)
        expect("it waits", [], got)
        writer = bank.braid.connect(autocommit=False)
        began = time.monotonic()
        bank.move(bank.rows[0][1], bank.rows[2][1], connection=writer)
        expect_that("and nobody else does", time.monotonic() - began < 2)
        bank.holders[1].hold = False
        thread.join(10)
        reader.join(10)
        expect("the table is empty everywhere", [0], got)
        c.rollback()
        bank.braid.sql("DROP TABLE log")


def cursors(place):
    """What is read in portions is of the moment when it was opened."""
    with Bank(place) as bank:
        on = bank.connect("on", autocommit=False)
        cur = on.cursor()
        bank.held_move(0, 1)
        timer = later(0.15, lambda: setattr(bank.holders[1], "hold", False))
        cur.execute("DECLARE c CURSOR FOR SELECT id, balance FROM accounts ORDER BY id")
        timer.join()
        cur.execute("FETCH 10 FROM c")
        rows = cur.fetchall()
        bank.move(bank.rows[0][0], bank.rows[2][0])
        cur.execute("FETCH ALL FROM c")
        rows += cur.fetchall()
        expect("a cursor", (ACCOUNTS, TOTAL), (len(rows), sum(r[1] for r in rows)))
        on.rollback()
        on.close()
        r = raw.Raw(bank.braid.port)
        r.login(options="-c braid.snapshot=on")
        bank.held_move(0, 1)
        timer = later(0.15, lambda: setattr(bank.holders[1], "hold", False))
        got = r.ask(raw.parse("SELECT id, balance FROM accounts ORDER BY id", "q"), raw.bind((), "q"),
                    raw.execute(rows=7), raw.execute(rows=30), raw.execute(), raw.SYNC)
        timer.join()
        rows = raw.rows_of(got)
        expect("a portal in portions", (ACCOUNTS, TOTAL), (len(rows), sum(int(r[1]) for r in rows)))
        expect("and again", [[str(TOTAL)]], raw.rows_of(r.ask(raw.query(SUM))))


IN_A_WORKSPACE = (
    "SELECT sum(x) FROM (SELECT balance AS x FROM accounts ORDER BY balance LIMIT 1000) q",
    "SELECT max(s) FROM (SELECT sum(balance) OVER () AS s FROM accounts) q",
    "SELECT sum(a.balance) FROM accounts a JOIN holders n ON n.id = a.id",
    "SELECT (SELECT sum(balance) FROM accounts WHERE id % 2 = 0) + (SELECT sum(balance) FROM accounts WHERE id % 2 = 1)",
)


def workspace(place):
    """What moves rows reads all of them at one moment, also several times."""
    with Bank(place) as bank:
        bank.braid.sql("CREATE TABLE holders (id bigint, name text)")
        bank.braid.sql(f"INSERT INTO holders SELECT i, 'n' || i FROM generate_series(1, {ACCOUNTS}) i")
        on, off = bank.connect("on"), bank.connect("off")
        for statement in IN_A_WORKSPACE:
            expect(statement, (TOTAL, TOTAL), (int(ask(on, statement)), int(ask(off, statement))))
            bank.held_move(0, 1)
            expect(f"off: {statement}", TOTAL - 10, int(ask(off, statement)))
            timer = later(0.15, lambda: setattr(bank.holders[1], "hold", False))
            expect(f"on: {statement}", TOTAL, int(ask(on, statement)))
            timer.join()
            cur = off.cursor()
            cur.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            for _ in range(2):
                cur.execute(statement)
                expect(f"REPEATABLE READ: {statement}", TOTAL, int(cur.fetchone()[0]))
                swallow(bank.move, bank.rows[0][0], bank.rows[2][0])
            cur.execute("COMMIT")
        cur = on.cursor()
        cur.execute("BEGIN")
        expect_error("in a READ COMMITTED block", "0A000", lambda: cur.execute(IN_A_WORKSPACE[0]),
                     "REPEATABLE READ")
        cur.execute("ROLLBACK")
        bank.braid.sql("DROP TABLE holders")


# ---- REPEATABLE READ ----------------------------------------------------------------------------


def repeatable_read(place):
    with Bank(place) as bank:
        a, b, c = (rows[0] for rows in bank.rows)
        reader = bank.connect(autocommit=True)
        cur = reader.cursor()
        one = "SELECT balance FROM accounts WHERE id = %s"
        cur.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        bank.move(a, b)
        cur.execute(one, (a,))
        expect("the snapshot is taken at the first statement, not at BEGIN", START - 10, cur.fetchone()[0])
        bank.move(b, c, 20)
        cur.execute(one, (b,))
        expect("a shard that is asked later shows the same moment", START + 10, cur.fetchone()[0])
        cur.execute(SUM)
        expect("and so does the sum", TOTAL, int(cur.fetchone()[0]))
        cur.execute("SAVEPOINT s")
        cur.execute("INSERT INTO accounts VALUES (1000, 7)")
        cur.execute(SUM)
        expect("its own writes are seen", TOTAL + 7, int(cur.fetchone()[0]))
        cur.execute("ROLLBACK TO s")
        cur.execute(SUM)
        expect("and taken back", TOTAL, int(cur.fetchone()[0]))
        expect_error("who comes second is told", "40001", lambda: cur.execute(
            "UPDATE accounts SET balance = 0 WHERE id = %s", (c,)))
        cur.execute("ROLLBACK")
        cur.execute("BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cur.execute("SET LOCAL work_mem = '8MB'")
        bank.move(a, b)
        cur.execute("LOCK TABLE accounts IN ACCESS SHARE MODE")
        bank.move(a, b)
        cur.execute(one, (a,))
        expect("SET and LOCK take no snapshot", START - 30, cur.fetchone()[0])
        cur.execute("SHOW work_mem")
        expect("what was set is set", "8MB", cur.fetchone()[0])
        cur.execute("UPDATE accounts SET balance = balance + 1 WHERE id IN (%s, %s)", (a, b))
        cur.execute("COMMIT")
        expect("a commit over two shards", TOTAL + 2, int(ask(reader)))


def repeatable_read_in_a_window(place):
    with Bank(place) as bank:
        reader = bank.connect(autocommit=True)
        cur = reader.cursor()
        bank.held_move(0, 1)
        later(0.3, lambda: setattr(bank.holders[1], "hold", False))
        cur.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for _ in range(3):
            cur.execute(SUM)
            expect("the sum", TOTAL, int(cur.fetchone()[0]))
        cur.execute("COMMIT AND CHAIN")
        bank.move(bank.rows[0][0], bank.rows[2][0], 5)
        cur.execute(f"SELECT balance FROM accounts WHERE id = {bank.rows[0][0]}")
        expect("the next one is later", START - 15, cur.fetchone()[0])
        cur.execute("COMMIT")
        cur.execute("SET default_transaction_isolation = 'repeatable read'")
        cur.execute("UPDATE accounts SET balance = balance WHERE id < 10")
        cur.execute("SELECT 1; " + SUM)
        expect("as the default", TOTAL, int(cur.fetchone()[0]))


def levels(place):
    with Bank(place) as bank:
        cur = bank.connect().cursor()
        cur.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        cur.execute(f"SELECT balance FROM accounts WHERE id = {bank.rows[0][0]}")
        expect_error("SERIALIZABLE stays on one shard", "0A000", lambda: cur.execute(SUM), "SERIALIZABLE")
        cur.execute("ROLLBACK")
        expect_error("no snapshot from elsewhere", "0A000", lambda: cur.execute(
            "BEGIN; SET TRANSACTION SNAPSHOT '00000003-0000001B-1'"), "SNAPSHOT")
        cur.execute("ROLLBACK")
        cur.execute("SET braid.snapshot = on")
        cur.execute("BEGIN")
        cur.execute(f"SELECT balance FROM accounts WHERE id = {bank.rows[0][0]}")
        cur.execute("SET LOCAL braid.snapshot = off")
        cur.execute(SUM)
        cur.execute("COMMIT")
        cur.execute("SHOW braid.snapshot")
        expect("SET LOCAL is over", "on", cur.fetchone()[0])
        cur.execute("RESET braid.snapshot")
        cur.execute("SHOW braid.snapshot")
        expect("RESET", "off", cur.fetchone()[0])
        expect_error("a bad value", "22023", lambda: cur.execute("SET braid.snapshot = maybe"))
        expect_error("no such setting", "42704", lambda: cur.execute("SET braid.snapshots = on"))
        expect_error("a bad value at startup", None, lambda: bank.braid.connect(
            options="-c braid.snapshot=maybe"), "braid.snapshot")


def of_the_configuration(place):
    for where in ("txn", "databases", "users"):
        braid = place.braid(start=False)
        if where == "txn":
            braid.config["txn"] = {"snapshot": "on"}
        elif where == "databases":
            braid.config["databases"]["app"]["snapshot"] = "on"
        else:
            braid.config["users"] = {"app": {"snapshot": "on", "repeatable_read": "one"}}
        braid.write_files()
        braid.start()
        expect(where, [("on",)], braid.sql("SHOW braid.snapshot"))
        c = braid.connect()
        cur = c.cursor()
        cur.execute("SELECT count(*) FROM items")
        expect_that(f"{where}: no snapshot was taken", counter(braid, "snapshots") == 1)
        cur.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cur.execute("SELECT v FROM items WHERE id = 7")
        if where == "users":
            expect_error("repeatable_read: one", "0A000",
                         lambda: cur.execute("SELECT count(*) FROM items"), "txn.repeatable_read")
        else:
            cur.execute("SELECT count(*) FROM items")
        c.close()
        place.end(braid)


# ---- what goes wrong ----------------------------------------------------------------------------


def in_doubt(place):
    """The shard is lost between its PREPARE and its COMMIT PREPARED, and recovery is held, too."""
    with Bank(place, snapshot_wait_ms=300) as bank:
        off, on = bank.connect("off"), bank.connect("on")
        ask(off), ask(on)
        thread = bank.held_move(0, 1)
        bank.holders[1].cut_held = True
        thread.join(10)
        wait_for("recovery has it", lambda: bank.braid.sql("SHOW TRANSACTIONS", "pgbraid"))
        expect("off: torn", TOTAL - 10, int(ask(off)))
        began = time.monotonic()
        expect_error("on: told", "40001", lambda: ask(on), "not yet on all of them")
        expect_that("it was told late", 0.2 < time.monotonic() - began < 4)
        c = on.cursor()
        c.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        expect_error("REPEATABLE READ, too", "40001", lambda: c.execute(
            f"SELECT balance FROM accounts WHERE id = {bank.rows[2][0]}"), "not yet on all of them")
        c.execute("ROLLBACK")
        one, two = bank.rows[1][1], bank.rows[2][1]
        expect("reads of other pairs of shards go on", 2 * START, int(ask(
            on, f"SELECT sum(balance) FROM accounts WHERE id IN ({one}, {two})")))
        bank.move(bank.rows[0][1], bank.rows[2][1])
        bank.holders[1].hold = bank.holders[1].cut_held = False
        wait_for("recovery", lambda: not bank.braid.sql("SHOW TRANSACTIONS", "pgbraid"))
        expect("and then", TOTAL, int(ask(on)))


def slow_commit(place):
    """Nobody waits for one commit whose shard does not answer for longer than he said."""
    with Bank(place, snapshot_wait_ms=300) as bank:
        on = bank.connect("on")
        ask(on)
        thread = bank.held_move(0, 1)
        stop = []

        def read_on():
            c = bank.connect("on")
            while not stop:
                swallow(ask, c)
        readers = [threading.Thread(target=read_on, daemon=True) for _ in range(3)]
        for r in readers:
            r.start()
        writer = bank.braid.connect(autocommit=False)
        began = time.monotonic()
        for _ in range(5):
            bank.move(bank.rows[0][1], bank.rows[2][1], connection=writer)
        expect_that("commits starve", time.monotonic() - began < 4)
        expect_error("a read of its shards", "40001", lambda: ask(on), "not yet on all of them")
        row = bank.braid.sql("SHOW FENCES", "pgbraid")[0]
        expect("SHOW FENCES", ("app", 1), (row[0], row[6]))
        one, two = bank.rows[1][1], bank.rows[2][2]
        expect("others go on", 2 * START, int(ask(
            on, f"SELECT sum(balance) FROM accounts WHERE id IN ({one}, {two})")))
        stop.append(1)
        bank.holders[1].hold = False
        thread.join(10)
        for r in readers:
            r.join(10)
        expect("in the end", TOTAL, int(ask(on)))


def dead_in_the_gap(place):
    """A shard that does not answer in the gap: the read fails, and commits go on."""
    with Bank(place, snapshot_wait_ms=300) as bank:
        on = bank.connect("on")
        ask(on)
        bank.holders[2].mute = True
        writer = bank.braid.connect(autocommit=False)
        began = time.monotonic()
        reader = threading.Thread(target=swallow, args=(ask, on), daemon=True)
        reader.start()
        time.sleep(0.05)
        bank.move(bank.rows[0][1], bank.rows[1][1], connection=writer)
        expect_that("the commit waited for the dead shard", time.monotonic() - began < 4)
        reader.join(10)
        expect_that("the read hangs", not reader.is_alive())
        bank.holders[2].mute = False
        for holder in bank.holders:
            holder.cut()
        wait_for("it serves again", lambda: sums_up(bank))


def sums_up(bank):
    try:
        return int(ask(bank.connect("on"))) == TOTAL
    except psycopg2.Error:
        return False


def cancelled(place):
    with Bank(place) as bank:
        on = bank.connect("on")
        ask(on)
        thread = bank.held_move(0, 1)
        later(0.2, on.cancel)
        began = time.monotonic()
        expect_error("a read that waits can be cancelled", "57014", lambda: ask(on))
        expect_that("it waited on", time.monotonic() - began < 3)
        gone = bank.connect("on")
        later(0.2, lambda: socket.socket(fileno=os.dup(gone.fileno())).shutdown(socket.SHUT_RDWR))
        expect_error("a client that goes away", None, lambda: ask(gone))
        bank.holders[1].hold = False
        thread.join(10)
        expect("after", TOTAL, int(ask(on)))


# ---- load ---------------------------------------------------------------------------------------


class Mover(threading.Thread):
    def __init__(self, bank, seed):
        super().__init__(daemon=True)
        self.bank, self.random = bank, random.Random(seed)
        self.done, self.stop = 0, False

    def run(self):
        connection = None
        while not self.stop:
            try:
                connection = connection or self.bank.braid.connect(autocommit=False)
                one, two = sorted(self.random.sample(range(1, ACCOUNTS + 1), 2))
                self.bank.move(one, two, self.random.randrange(-5, 6), connection)
                self.done += 1
            except psycopg2.Error:
                try:
                    connection.rollback()
                except (psycopg2.Error, AttributeError):
                    connection = None
                    time.sleep(0.02)


class Summer(threading.Thread):
    """Adds everything up again and again, alone or twice in a REPEATABLE READ transaction."""

    def __init__(self, bank, snapshot, level=None):
        super().__init__(daemon=True)
        self.bank, self.snapshot, self.level = bank, snapshot, level
        self.sums, self.codes, self.stop = [], {}, False

    def run(self):
        connection = None
        while not self.stop:
            try:
                connection = connection or self.bank.connect(self.snapshot)
                if self.level is None:
                    self.sums.append(int(ask(connection)))
                    continue
                cur = connection.cursor()
                cur.execute(f"BEGIN ISOLATION LEVEL {self.level}")
                for _ in range(3):
                    cur.execute(SUM)
                    self.sums.append(int(cur.fetchone()[0]))
                cur.execute("COMMIT")
            except psycopg2.Error as e:
                self.codes[e.pgcode] = self.codes.get(e.pgcode, 0) + 1
                try:
                    connection.cursor().execute("ROLLBACK")
                except (psycopg2.Error, AttributeError):
                    connection = None
                    time.sleep(0.02)

    def wrong(self):
        return [s for s in self.sums if s != TOTAL]


def run_load(bank, readers, seconds, meanwhile=None):
    movers = [Mover(bank, seed) for seed in range(4)]
    for thread in movers + readers:
        thread.start()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if meanwhile is None:
            time.sleep(0.05)
        else:
            meanwhile()
    for thread in movers + readers:
        thread.stop = True
    for thread in movers + readers:
        thread.join(30)
        expect_that("somebody hangs", not thread.is_alive())
    return sum(m.done for m in movers)


def load(place):
    with Bank(place) as bank:
        bank.holders[1].pause_s = 0.004
        on = [Summer(bank, "on") for _ in range(3)] + [Summer(bank, "off", "REPEATABLE READ")]
        off = [Summer(bank, "off")]
        moved = run_load(bank, on + off, 4)
        for reader in on:
            expect("sums that moved", [], reader.wrong()[:5])
            expect("errors of a reader", {}, reader.codes)
        expect_that("with it off nothing was torn: the test proves nothing", off[0].wrong())
        reads = sum(len(r.sums) for r in on)
        expect_that(f"only {reads} reads and {moved} transfers", reads > 200 and moved > 50)


def load_with_kills(place):
    """Servers are killed and recovery runs; reads fail then, but never see half of a transfer."""
    with Bank(place, snapshot_wait_ms=500) as bank:
        readers = [Summer(bank, "on"), Summer(bank, "on"), Summer(bank, "off", "REPEATABLE READ")]
        rng = random.Random(7)

        def strike():
            time.sleep(0.8)
            server = place.servers[rng.randrange(3)]
            server.signal_all(signal.SIGKILL)
            while server.pid() is not None:
                time.sleep(0.01)
            server.start()
            bank.braid.wait_healthy(30)
        moved = run_load(bank, readers, 6, strike)
        for reader in readers:
            expect("sums that moved", [], reader.wrong()[:5])
            bad = {code: n for code, n in reader.codes.items()
                   if code not in ("40001", "08006", "08004", "57P01", "57P02", "57P03", "08007",
                                   "08001", None)}
            expect("unexpected errors", {}, bad)
        expect_that("nothing was read", sum(len(r.sums) for r in readers) > 50)
        expect_that("nothing moved", moved > 10)
        wait_for("recovery", lambda: sums_up(bank), seconds=20)


def load_with_restarts(place):
    """Processes follow one another; the commits of one and the reads of the other do not meet."""
    with Bank(place) as bank:
        bank.holders[1].pause_s = 0.004
        generations = Generations.__new__(Generations)
        generations.braid, generations.processes = bank.braid, [bank.braid.process]
        readers = [Summer(bank, "on"), Summer(bank, "on"), Summer(bank, "off", "REPEATABLE READ")]

        def follow():
            time.sleep(0.3)
            generations.follow()
        moved = run_load(bank, readers, 4, follow)
        generations.one_left()
        for reader in readers:
            expect("sums that moved", [], reader.wrong()[:5])
            bad = {code: n for code, n in reader.codes.items() if code not in ("40001", "57P01", "08006", None)}
            expect("unexpected errors", {}, bad)
        expect_that("nothing was read", sum(len(r.sums) for r in readers) > 30)
        expect_that("nothing moved", moved > 10)


def run(place, report):
    report.run("snapshot: a held commit is seen whole or not at all", one_window, place)
    report.run("snapshot: every way to ask", ways_to_ask, place)
    report.run("snapshot: READ COMMITTED blocks", in_a_block, place)
    report.run("snapshot: locks are waited for outside of the gap", locks_outside_of_the_gap, place)
    report.run("snapshot: cursors and portals", cursors, place)
    report.run("snapshot: the workspace", workspace, place)
    report.run("snapshot: REPEATABLE READ over shards", repeatable_read, place)
    report.run("snapshot: REPEATABLE READ waits for a held commit", repeatable_read_in_a_window, place)
    report.run("snapshot: levels and settings", levels, place)
    report.run("snapshot: on by the configuration", of_the_configuration, place)
    report.run("snapshot: a commit in doubt", in_doubt, place)
    report.run("snapshot: a slow commit", slow_commit, place)
    report.run("snapshot: a dead shard in the gap", dead_in_the_gap, place)
    report.run("snapshot: cancelled", cancelled, place)
    report.run("snapshot: load", load, place)
    report.run("snapshot: load while servers die", load_with_kills, place)
    report.run("snapshot: load while pgbraid is restarted", load_with_restarts, place)
