"""A table changes its place while others write it: no statement that was planned before lands where rows lie elsewhere now."""

import os
import socket
import threading
import time

import psycopg2

from place import code_of
from report import expect, expect_that
from workspace import Calm, auto

CHANGES = ("SHARD BY HASH (id)", "REFERENCE", "LOCAL", "SHARD BY HASH (id)", "LOCAL", "REFERENCE", "LOCAL")


def make(c):
    with c.cursor() as cur:
        cur.execute("DROP TABLE IF EXISTS moving")
        cur.execute("CREATE TABLE moving (id bigint PRIMARY KEY, n int)")


class Writer(threading.Thread):
    """Inserts ids of its own, alone or two in a transaction, and counts up those it has, until it is told to stop."""

    def __init__(self, braid, number):
        super().__init__(daemon=True)
        self.c, self.number = auto(braid), number
        self.ids, self.updates, self.done, self.error = [], 0, False, None

    def step(self, cur, number):
        if number % 3 == 2:
            cur.execute("UPDATE moving SET n = n + 1 WHERE id = %s", (self.ids[number % len(self.ids)],))
            self.updates += cur.rowcount
            return
        new = [self.number * 10**6 + 2 * number + i for i in range(1 + number % 3)]
        if len(new) > 1:
            cur.execute("BEGIN")
        for i in new:
            cur.execute("INSERT INTO moving VALUES (%s, 0)", (i,))
        if len(new) > 1:
            cur.execute("COMMIT")
        self.ids += new

    def run(self):
        number = 0
        try:
            with self.c.cursor() as cur:
                while not self.done:
                    self.step(cur, number)
                    number += 1
        except psycopg2.Error as e:
            self.error = e
        self.c.close()


def test_writers(place):
    with Calm(place) as braid:
        c = auto(braid)
        make(c)
        writers = [Writer(braid, i + 1) for i in range(4)]
        for w in writers:
            w.start()
        with c.cursor() as cur:
            for change in CHANGES:
                time.sleep(0.1)
                cur.execute(f"ALTER TABLE moving {change}")
        for w in writers:
            w.done = True
        for w in writers:
            w.join(60)
        expect("errors", [None] * 4, [w.error for w in writers])
        rows = place.servers[0].sql("SELECT id, n FROM moving", "app")
        expect("ids", sorted(i for w in writers for i in w.ids), sorted(i for i, _ in rows))
        expect("updates", sum(w.updates for w in writers), sum(n for _, n in rows))
        c.close()


def test_open_transaction(place):
    """It is waited for, so long; then nothing has changed, and nobody is held any more."""
    with Calm(place, pool={"suspend_timeout_ms": 1000}) as braid:
        c, other = auto(braid), auto(braid)
        make(c)
        with c.cursor() as cur, other.cursor() as theirs:
            theirs.execute("BEGIN")
            theirs.execute("INSERT INTO moving VALUES (1, 0)")
            expect("too long", "55P03", code_of(lambda: cur.execute("ALTER TABLE moving SHARD BY HASH (id)")))
            theirs.execute("INSERT INTO moving VALUES (2, 0)")
            theirs.execute("COMMIT")
            theirs.execute("BEGIN")
            theirs.execute("INSERT INTO moving VALUES (3, 0)")
            ending = threading.Timer(0.4, lambda: theirs.execute("COMMIT"))
            ending.start()
            expect("in time", "00000", code_of(lambda: cur.execute("ALTER TABLE moving SHARD BY HASH (id)")))
            ending.join()
            theirs.execute("SELECT count(*) FROM moving")
            expect("rows", [(3,)], theirs.fetchall())
        c.close()
        other.close()


def test_cancel(place):
    """Who waits for the others can be told to stop, as in any statement."""
    with Calm(place, pool={"suspend_timeout_ms": 60000}) as braid:
        c, other = auto(braid), auto(braid)
        make(c)
        with c.cursor() as cur, other.cursor() as theirs:
            theirs.execute("BEGIN")
            theirs.execute("INSERT INTO moving VALUES (1, 0)")
            cancelling = threading.Timer(0.3, c.cancel)
            cancelling.start()
            expect("cancelled", "57014", code_of(lambda: cur.execute("ALTER TABLE moving SHARD BY HASH (id)")))
            cancelling.join()
            cur.execute("SELECT count(*) FROM moving")
            expect("and goes on", [(0,)], cur.fetchall())
            theirs.execute("COMMIT")
        c.close()
        other.close()


def test_owner_goes(place):
    """In its transaction, and while it waits: the others go on."""
    with Calm(place) as braid:
        c, other = auto(braid), auto(braid)
        make(c)
        with other.cursor() as theirs:
            with c.cursor() as cur:
                cur.execute("BEGIN")
                cur.execute("ALTER TABLE moving SHARD BY HASH (id)")
                third = auto(braid)
                with third.cursor() as again:
                    got = []
                    held = threading.Thread(target=lambda: got.append(code_of(lambda: again.execute("INSERT INTO moving VALUES (5, 0)"))))
                    held.start()
                    time.sleep(0.3)
                    expect("it waits", [], got)
                    c.close()
                    held.join(30)
                    expect("then it is done", ["00000"], got)
                    again.execute("BEGIN")
                    again.execute("INSERT INTO moving VALUES (6, 0)")
                    waiting = auto(braid)
                    asks = threading.Thread(target=lambda: code_of(lambda: waiting.cursor().execute("ALTER TABLE moving SHARD BY HASH (id)")))
                    asks.start()
                    time.sleep(0.3)
                    socket.socket(fileno=os.dup(waiting.fileno())).shutdown(socket.SHUT_RDWR)
                    asks.join(30)
                    again.execute("COMMIT")
                third.close()
            theirs.execute("SELECT count(*) FROM moving")
            expect("rows", [(2,)], theirs.fetchall())
            expect("and another one", "00000", code_of(lambda: theirs.execute("ALTER TABLE moving REFERENCE")))
        expect_that("copies", all(s.sql("SELECT count(*) FROM moving", "app") == [(2,)] for s in place.servers))
        other.close()


TESTS = (test_writers, test_open_transaction, test_cancel, test_owner_goes)


def run(place, report):
    for test in TESTS:
        report.run(f"still: {test.__name__[5:]}", test, place)
