"""Clients that change workers while they work: everything that is theirs goes along."""

import threading
import time

import psycopg

from place import expect_error
from report import Failed, expect, expect_that

CLIENTS = 8


def moved(braid):
    for line in braid.http("/metrics")[1].splitlines():
        if line.startswith("pgbraid_client_moves"):
            return int(float(line.split()[1]))
    raise Failed("no metric of moves")


def one_client(braid, number, until, failures):
    """Settings, prepared statements and answers of one client, over and over, in bursts."""
    try:
        with psycopg.connect(braid.dsn(), autocommit=True, prepare_threshold=1) as c:
            c.execute(f"SET work_mem TO '{1000 + number}kB'")
            c.execute(f"SET application_name TO 'client {number}'")
            while time.monotonic() < until:
                for i in range(1, 60):
                    got = c.execute("SELECT v FROM items WHERE id = %s", (i,)).fetchall()
                    if got != [(f"v{i}",)]:
                        raise Failed(f"row {i}: {got}")
                with c.transaction():
                    c.execute("SELECT v FROM items WHERE id = %s", (number + 1,))
                got = c.execute("SHOW work_mem").fetchall() + c.execute("SHOW application_name").fetchall()
                if got != [(f"{1000 + number}kB",), (f"client {number}",)]:
                    raise Failed(f"settings: {got}")
                if number >= CLIENTS // 2:
                    time.sleep(0.3)
    except Exception as e:  # noqa: BLE001
        failures.append(f"client {number}: {e!r}")


def test_work_goes_on(place):
    """At the least load clients are moved about, and nothing is lost on the way."""
    braid = place.braid(workers=3, worker_fill=1, pool={"size": 5})
    failures = []
    until = time.monotonic() + 3
    threads = [threading.Thread(target=one_client, args=(braid, n, until, failures))
               for n in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expect("failures", [], failures)
    if moved(braid) == 0:
        raise Failed("nobody was moved")
    place.end(braid)


def test_cancel_follows(place):
    """A cancel request finds a client that has moved since it logged in."""
    braid = place.braid(workers=3, worker_fill=1)
    until = time.monotonic() + 2
    failures = []
    threads = [threading.Thread(target=one_client, args=(braid, n, until, failures)) for n in range(4)]
    for t in threads:
        t.start()
    connections = [braid.connect() for _ in range(6)]
    while time.monotonic() < until:
        for c in connections:
            with c.cursor() as cursor:
                cursor.execute("SELECT v FROM items WHERE id = 1")
    for t in threads:
        t.join()
    for c in connections:
        timer = threading.Timer(0.2, c.cancel)
        timer.start()
        with c.cursor() as cursor:
            expect_error("the statement", "57014",
                         lambda cur=cursor: cur.execute("SELECT pg_sleep(30)"))
        timer.join()
        c.close()
    expect("failures", [], failures)
    place.end(braid)


def test_identity_stays(place):
    """A server connection that changes workers leaves behind who it was: one for two workers."""
    braid = place.braid(workers=2, worker_fill=0, pool={"size": 1})
    until = time.monotonic() + 1.5
    failures = []

    def ask(changes, wanted):
        try:
            with psycopg.connect(braid.dsn("plain", user="postgres"), autocommit=True) as c:
                if changes:
                    c.execute("SET SESSION AUTHORIZATION app")
                while time.monotonic() < until:
                    got = c.execute("SELECT session_user, current_user").fetchone()
                    if got != (wanted, wanted):
                        raise Failed(f"{wanted} is {got}")
        except Exception as e:  # noqa: BLE001
            failures.append(repr(e))

    threads = [threading.Thread(target=ask, args=words)
               for words in ((1, "app"), (0, "postgres"), (1, "app"), (0, "postgres"))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expect("failures", [], failures)
    place.end(braid)


def test_holders_go_first(place):
    """Who holds a connection gets one of another shard beyond pool.size, though somebody on another
    worker has waited for it longer."""
    braid = place.braid(workers=2, worker_fill=0, pool={"size": 1, "query_wait_ms": 6000})
    a, b = (place.row_on(i) for i in range(2))
    update = "UPDATE items SET v = v WHERE id = %s"
    # by turns on one worker and the other
    one, two, _, late = connections = [psycopg.connect(braid.dsn()) for _ in range(4)]
    for c, row in ((one, a), (two, b)):
        c.execute(update, (row,))
    waits = []

    def wait():
        try:
            waits.append(late.execute("SELECT v FROM items WHERE id = %s", (b,)).fetchone())
        except Exception as e:  # noqa: BLE001
            waits.append(repr(e))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    one.execute("SELECT v FROM items WHERE id = %s", (b,))
    expect_that("it did not wait for the other's end", time.monotonic() - began < 3)
    one.rollback()
    two.rollback()
    thread.join()
    expect("who waited", [(f"v{b}",)], waits)
    for c in connections:
        c.close()
    place.end(braid)


def run(place, report):
    report.run("moves: work goes on", test_work_goes_on, place)
    report.run("moves: a cancel request follows", test_cancel_follows, place)
    report.run("moves: nobody gets another's identity", test_identity_stays, place)
    report.run("moves: holders go first", test_holders_go_first, place)
