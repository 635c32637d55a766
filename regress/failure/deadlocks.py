"""Deadlocks over several shards: no server sees them. One transaction gets 40P01 within a second or so, the others
go on; plain waits, however long, cost nobody anything."""

import random
import threading
import time

import psycopg
import psycopg2

from report import Failed, expect, expect_that
from snapshot import counter
from transactions import Stage, get_v, play, say, set_v

LIMIT_S = 8  # on a machine with other work; alone it takes 0.6


def ring(stage, count, end="ROLLBACK", connect=None):
    """`count` sessions, each holds a row of its own and wants the next one's; what each got, and the time."""
    sessions = [(connect or stage.connect)() for _ in range(count)]
    got = [None] * count
    for i, c in enumerate(sessions):
        play(c, ("BEGIN", None), (set_v(stage.rows[i], f"own{i}"), "UPDATE 1"))
    begin = time.monotonic()

    def want(i):
        got[i] = say(sessions[i], set_v(stage.rows[(i + 1) % count], f"next{i}"))
        if got[i] == "UPDATE 1":
            say(sessions[i], "COMMIT")

    threads = [threading.Thread(target=want, args=(i,), daemon=True) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
        expect_that("somebody waits for ever", not t.is_alive())
    took = time.monotonic() - begin
    expect(f"answers of {count}", ["40P01"] + ["UPDATE 1"] * (count - 1), sorted(got))
    expect_that(f"{count} sessions: {took:.1f} s", took < LIMIT_S)
    victim = sessions[got.index("40P01")]
    play(victim, (get_v(stage.rows[0]), "25P02"), (end, None))
    return sessions, got


def rings(place):
    with Stage(place) as stage:
        for count in (2, 3):
            before = counter(stage.braid, "tx_deadlocks")
            sessions, _ = ring(stage, count)
            expect("tx_deadlocks", before + 1, counter(stage.braid, "tx_deadlocks"))
            for c in sessions:
                c.close()
        expect_that("the log tells", "TX_DEADLOCK" in stage.braid.tail(2000))


def names(place):
    """The message names sessions and shards; the victim goes on behind its savepoint."""
    with Stage(place) as stage:
        one, two, _ = stage.rows
        a, b = stage.connect(), stage.connect()
        play(a, ("BEGIN", None), (set_v(one, "a"), "UPDATE 1"))
        play(b, ("BEGIN", None), (set_v(stage.rows[2], "kept"), "UPDATE 1"), ("SAVEPOINT s", None),
             (set_v(two, "b"), "UPDATE 1"))
        waiter = threading.Thread(target=say, args=(a, set_v(two, "a")), daemon=True)
        waiter.start()
        with b.cursor() as cursor:
            try:
                cursor.execute(set_v(one, "b"))
                raise Failed("no deadlock")
            except psycopg2.Error as e:
                expect("SQLSTATE", "40P01", e.pgcode)
                for word in ("waits on shard shard0 for client", "waits on shard shard1 for client"):
                    expect_that(f"{word!r} in {e}", word in e.diag.message_detail)
        # b is silent, and yet a goes on: what b had locked behind its savepoint is free on every shard
        waiter.join(10)
        expect_that("the other one goes on", not waiter.is_alive())
        play(a, ("COMMIT", "COMMIT"))
        play(b, (get_v(one), "25P02"), ("ROLLBACK TO s", "ROLLBACK"), (set_v(one, "b2"), "UPDATE 1"),
             ("COMMIT", "COMMIT"), (get_v(stage.rows[2]), [("kept",)]), (get_v(one), [("b2",)]),
             (get_v(two), [("a",)]))
        a.close()
        b.close()


def extended(place):
    """psycopg 3: the extended protocol."""
    with Stage(place) as stage:
        one, two, _ = stage.rows
        a, b = (psycopg.connect(host="127.0.0.1", port=stage.braid.port, user="app", password="secret",
                                dbname="app") for _ in range(2))
        sql = "UPDATE items SET v = %s WHERE id = %s"
        a.execute(sql, ("a", one))
        b.execute(sql, ("b", two))
        got = []

        def want(c, row):
            try:
                c.execute(sql, ("x", row))
                c.commit()
                got.append("ok")
            except psycopg.Error as e:
                got.append(e.sqlstate)
                c.rollback()

        threads = [threading.Thread(target=want, args=x, daemon=True) for x in ((a, two), (b, one))]
        for t in threads:
            t.start()
        for t in threads:
            t.join(30)
        expect("answers", ["40P01", "ok"], sorted(got))
        a.close()
        b.close()


def prepared_part(place):
    """A write of one statement over shards is prepared where it is done, and waits elsewhere: who waits for that part, waits
    for it."""
    with Stage(place) as stage:
        one, two, three = stage.rows
        both = f"UPDATE items SET v = 'both' WHERE id IN ({one}, {two})"
        for extended_protocol in (False, True):
            a, c = stage.connect(), stage.connect()
            b = psycopg.connect(host="127.0.0.1", port=stage.braid.port, user="app", password="secret", dbname="app",
                                autocommit=True) if extended_protocol else stage.connect()
            before = counter(stage.braid, "tx_deadlocks")
            play(a, ("BEGIN", None), (set_v(two, "a"), "UPDATE 1"))
            got = []

            def write():
                try:
                    with b.cursor() as cursor:
                        cursor.execute(both, (), binary=True) if extended_protocol else cursor.execute(both)
                    got.append("ok")
                except (psycopg.Error, psycopg2.Error) as e:
                    got.append(e.sqlstate if extended_protocol else e.pgcode)
                    expect_that(f"the words: {e}", "deadlock detected over several shards" in str(e))

            writer = threading.Thread(target=write, daemon=True)
            writer.start()
            until = time.monotonic() + 20
            while not stage.place.servers[0].sql("SELECT gid FROM pg_prepared_xacts", "app") and time.monotonic() < until:
                time.sleep(0.02)
            waiter = threading.Thread(target=say, args=(c, set_v(one, "c")), daemon=True)  # a plain wait: no cycle
            waiter.start()
            time.sleep(1.5)
            expect("nobody is stopped for waiting", [], got)
            begin = time.monotonic()
            expect("the older one goes on", "UPDATE 1", say(a, set_v(one, "a")))
            expect_that(f"{time.monotonic() - begin:.1f} s", time.monotonic() - begin < LIMIT_S)
            writer.join(20)
            expect("the younger one", ["40P01"], got)
            play(a, (set_v(three, "a"), "UPDATE 1"), ("COMMIT", "COMMIT"))
            waiter.join(20)
            expect_that("the waiter goes on", not waiter.is_alive())
            play(c, (get_v(two), [("a",)]))
            expect_that("whoever of both came last", say(c, get_v(one)) in ([("a",)], [("c",)]))
            expect("tx_deadlocks", before + 1, counter(stage.braid, "tx_deadlocks"))
            for connection in (a, b, c):
                connection.close()


def plain_waits(place):
    """A contended bank: rows locked in one order, some transactions slow. Nobody is a victim."""
    with Stage(place, txn={"deadlock_check_ms": 100}) as stage:
        row_lock, wrong = threading.Lock(), []
        until = time.monotonic() + 6
        looks = [0]

        def teller(seed):
            rng = random.Random(seed)
            c = stage.connect()
            while time.monotonic() < until and not wrong:
                some = sorted(rng.sample(stage.rows, rng.choice((2, 3))))
                steps = ["BEGIN", *(set_v(r, f"t{seed}") for r in some)]
                for sql in steps:
                    got = say(c, sql)
                    if got not in ("BEGIN", "UPDATE 1"):
                        wrong.append((sql, got))
                        break
                time.sleep(rng.choice((0, 0, 0.3)))
                say(c, rng.choice(("COMMIT", "ROLLBACK")))
                with row_lock:
                    looks[0] += 1
            c.close()

        threads = [threading.Thread(target=teller, args=(i,), daemon=True) for i in range(10)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        expect("errors", [], wrong)
        expect("victims", 0, counter(stage.braid, "tx_deadlocks"))
        expect_that(f"only {looks[0]} transactions", looks[0] > 15)


def switched_off(place):
    with Stage(place, txn={"deadlock_check_ms": 0}) as stage:
        one, two, _ = stage.rows
        a, b = stage.connect(), stage.connect()
        play(a, ("BEGIN", None), (set_v(one, "a"), "UPDATE 1"))
        play(b, ("BEGIN", None), ("SET LOCAL lock_timeout = '1500ms'", None), (set_v(two, "b"), "UPDATE 1"))
        waiter = threading.Thread(target=say, args=(a, set_v(two, "a")), daemon=True)
        waiter.start()
        play(b, (set_v(one, "b"), "55P03"), ("ROLLBACK", None))
        waiter.join(10)
        play(a, ("ROLLBACK", None))
        a.close()
        b.close()


def run(place, report):
    report.run("deadlocks: rings of two and three sessions", rings, place)
    report.run("deadlocks: the message, savepoints, a silent victim", names, place)
    report.run("deadlocks: extended protocol", extended, place)
    report.run("deadlocks: a part that is prepared already", prepared_part, place)
    report.run("deadlocks: plain waits have no victim", plain_waits, place)
    report.run("deadlocks: switched off", switched_off, place)
