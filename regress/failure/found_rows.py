"""Writes whose rows are found first, many at once: nothing is lost, nothing is done twice, copies stay copies."""

import random
import threading
import time

import psycopg2

from report import expect, expect_that
from transactions import Stage

SECONDS = 5
MAY_FAIL = ("40001", "40P01", "55P03")  # the client tries again


def race(stage, count, turn, may_fail=MAY_FAIL):
    """`count` sessions take turns until the time is over; what went wrong otherwise than it may."""
    wrong = []
    stop = time.monotonic() + SECONDS

    def session(number):
        rng = random.Random(number)
        c = stage.connect()
        with c.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
            while time.monotonic() < stop and not wrong:
                try:
                    turn(cursor, rng)
                except psycopg2.Error as e:
                    if e.pgcode not in may_fail:
                        wrong.append(str(e))
        c.close()

    threads = [threading.Thread(target=session, args=(i,), daemon=True) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    expect("errors", [], wrong)


def sums(place):
    with Stage(place) as stage:
        c = stage.connect()
        cursor = c.cursor()
        cursor.execute("CREATE TABLE sums (id bigint PRIMARY KEY, n bigint, part int) SHARD BY HASH (id)")
        cursor.execute("CREATE TABLE copies (id int PRIMARY KEY, n bigint, r float8) REFERENCE")
        cursor.execute("CREATE TABLE steps (id int PRIMARY KEY, by int)")
        cursor.execute("INSERT INTO steps VALUES (1, 1)")
        cursor.execute("INSERT INTO copies VALUES (1, 0, 0)")
        cursor.execute("INSERT INTO sums VALUES " + ", ".join(f"({i}, 0, {i % 5})" for i in range(1, 41)))
        added, copied = [], []

        def turn(cursor, rng):
            part = rng.randrange(5)
            what = rng.randrange(4)
            if what == 0:
                cursor.execute(f"UPDATE sums SET n = n + by FROM steps WHERE steps.id = 1 AND part = {part}")
                added.append(cursor.rowcount)
            elif what == 1:
                cursor.execute(f"UPDATE sums SET n = n + 1 WHERE part = {part}")
                added.append(cursor.rowcount)
            elif what == 2:
                cursor.execute(f"UPDATE sums SET id = CASE WHEN id > 100 THEN id - 100 ELSE id + 100 END WHERE part = {part}")
            else:
                cursor.execute("UPDATE copies SET n = n + 1, r = random()")
                copied.append(cursor.rowcount)

        race(stage, 5, turn)
        expect_that("nothing was added", sum(added) > 0 and sum(copied) > 0)
        cursor.execute("SELECT count(*), sum(n)::bigint FROM sums")
        expect("rows, and what was added", (40, sum(added)), cursor.fetchone())
        copies = [server.sql("SELECT n, r FROM copies", "app") for server in place.servers]
        expect("copies", [copies[0]] * 3, copies)
        expect("what was added to the copies", sum(copied), copies[0][0][0])
        cursor.execute("DROP TABLE sums, copies, steps")
        c.close()


def queue(place):
    with Stage(place) as stage:
        c = stage.connect()
        cursor = c.cursor()
        cursor.execute("CREATE TABLE jobs (id bigint PRIMARY KEY, state text) SHARD BY HASH (id)")
        cursor.execute("INSERT INTO jobs VALUES " + ", ".join(f"({i}, 'new')" for i in range(1, 151)))
        taken = []

        def turn(cursor, _):
            cursor.execute("UPDATE jobs SET state = 'taken' WHERE id = (SELECT id FROM jobs WHERE state = 'new' "
                           "ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id")
            rows = cursor.fetchall()
            taken.extend(row[0] for row in rows)
            if not rows:
                time.sleep(0.05)

        race(stage, 5, turn)
        cursor.execute("SELECT id FROM jobs WHERE state = 'taken' ORDER BY id")
        expect("jobs taken", sorted(taken), [row[0] for row in cursor.fetchall()])
        expect_that("no job was taken", taken)
        cursor.execute("DROP TABLE jobs")
        c.close()


def copies_queue(place):
    with Stage(place) as stage:
        c = stage.connect()
        cursor = c.cursor()
        cursor.execute("CREATE TABLE counters (id int PRIMARY KEY, n bigint) REFERENCE")
        cursor.execute("INSERT INTO counters VALUES (1, 0)")
        counted = []

        def turn(cursor, _):
            cursor.execute("UPDATE counters SET n = n + 1 RETURNING n")
            counted.extend(row[0] for row in cursor.fetchall())

        race(stage, 4, turn, may_fail=())
        expect("numbers given, each once", list(range(1, len(counted) + 1)), sorted(counted))
        cursor.execute("DROP TABLE counters")
        c.close()


def run(place, report):
    report.run("copies of one row: who writes it queues, nobody is a deadlock's victim", copies_queue, place)
    report.run("rows that are found first: sums, copies and new keys at once", sums, place)
    report.run("rows that are found first: each job of a queue is taken once", queue, place)
