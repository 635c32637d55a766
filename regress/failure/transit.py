"""Rows that go to another shard while statements over several shards write: none is left out, and none is written twice."""

import random
import threading
import time

import psycopg2

from report import expect, expect_that
from workspace import Calm, auto

ROWS = 12
SECONDS = 1.5
EXPECTED = ("40001", "40P01")  # a mover that others were faster than; a deadlock


def make(c):
    """Row r has the key 2r or 2r + 1, and goes from one to the other."""
    with c.cursor() as cur:
        cur.execute("DROP TABLE IF EXISTS travellers")
        cur.execute("CREATE TABLE travellers (id bigint PRIMARY KEY, r int, name text, n int) SHARD BY HASH (id)")
        cur.execute(f"INSERT INTO travellers SELECT 2 * r, r, 'name ' || r, 0 FROM generate_series(1, {ROWS}) r")


def lone_mover(cur, draw):
    r = draw.randrange(1, ROWS + 1)
    cur.execute("UPDATE travellers SET id = %s WHERE id = %s", draw.choice(((2 * r, 2 * r + 1), (2 * r + 1, 2 * r))))
    return []


def mover_of_many(cur, draw):
    cur.execute("UPDATE travellers SET id = id # 1 WHERE r %% 3 = %s", (draw.randrange(3),))
    expect("rows that go", ROWS // 3, cur.rowcount)
    return []


def mover_of_three(cur, draw):
    cur.execute("BEGIN")
    for _ in range(3):
        lone_mover(cur, draw)
    cur.execute("COMMIT")
    return []


def everywhere(cur, draw):
    cur.execute("UPDATE travellers SET n = n + 1")
    return list(range(1, ROWS + 1))


def two_keys(cur, draw):
    r = draw.randrange(1, ROWS + 1)
    cur.execute("UPDATE travellers SET n = n + 1 WHERE id IN (%s, %s) RETURNING r", (2 * r, 2 * r + 1))
    return [r]


def by_name(cur, draw):
    r = draw.randrange(1, ROWS + 1)
    cur.execute("UPDATE travellers SET n = n + 1 WHERE name = %s", (f"name {r}",))
    return [r]


def read_first(cur, draw):
    """The rows are found by a SELECT."""
    cur.execute("UPDATE travellers SET n = n + 1 + (random() * 0)::int WHERE r IN (SELECT max(r) - 1 FROM travellers)")
    return [ROWS - 1]


def two_in_a_block(cur, draw):
    cur.execute("BEGIN")
    done = everywhere(cur, draw) + two_keys(cur, draw)
    cur.execute("COMMIT")
    return done


def locked_first(cur, draw):
    cur.execute("BEGIN")
    cur.execute("SELECT id FROM travellers WHERE r <= 3 FOR UPDATE")
    expect("rows locked", 3, len(cur.fetchall()))
    for r in (1, 2, 3):
        cur.execute("UPDATE travellers SET n = n + 1 WHERE id IN (%s, %s)", (2 * r, 2 * r + 1))
    cur.execute("COMMIT")
    return [1, 2, 3]


class Worker(threading.Thread):
    """Does one thing over and over, until the time is up, and keeps how often each row was covered."""

    def __init__(self, braid, what, number, until):
        super().__init__(daemon=True)
        self.c, self.what, self.until = auto(braid), what, until
        self.random = random.Random(number)
        self.covered, self.done, self.refused, self.error = {}, 0, [], None

    def run(self):
        with self.c.cursor() as cur:
            while time.monotonic() < self.until and self.error is None:
                try:
                    for r in self.what(cur, self.random):
                        self.covered[r] = self.covered.get(r, 0) + 1
                    self.done += 1
                except psycopg2.Error as e:
                    self.refused.append(e.pgcode)
                    self.error = None if e.pgcode in EXPECTED else e
                    if self.error is None:
                        cur.execute("ROLLBACK")
                except Exception as e:  # noqa: BLE001
                    self.error = e
        self.c.close()


def race(braids, work, seconds=SECONDS):
    c = auto(braids[0])
    make(c)
    until = time.monotonic() + seconds
    workers = [Worker(braids[i % len(braids)], what, i, until) for i, what in enumerate(work)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(60)
    expect("threads that hang", 0, sum(w.is_alive() for w in workers))
    expect("other errors", [], [w.error for w in workers if w.error is not None])
    with c.cursor() as cur:
        cur.execute("SELECT r, n FROM travellers ORDER BY r")
        found = cur.fetchall()
    c.close()
    expect("counts", [(r, sum(w.covered.get(r, 0) for w in workers)) for r in range(1, ROWS + 1)], found)
    expect_that("some of it was done", sum(w.done for w in workers) > len(workers))


def test_race(place):
    """Through two pgbraids. One writer of many rows at a time: two of them could wait for each other's rows."""
    with Calm(place) as one:
        two = place.braid()
        for many in (everywhere, two_in_a_block, locked_first):
            race((one, two), (lone_mover, many, mover_of_three, two_keys, mover_of_many, by_name, read_first, lone_mover))
        place.end(two)


def beside(braid, statement):
    """A statement of another session, which is under way; its number of rows, or its error."""
    got = []

    def work():
        c = auto(braid)
        try:
            with c.cursor() as cur:
                cur.execute(statement)
                got.append(cur.rowcount)
        except psycopg2.Error as e:
            got.append(e.pgcode)
        c.close()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(0.3)
    return thread, got


def test_open_move(place):
    """Who writes over shards waits for a row on its way, and finds it; who names a key does not wait."""
    with Calm(place) as braid:
        other = place.braid()
        c = auto(braid)
        make(c)
        with c.cursor() as cur:
            cur.execute("CREATE UNIQUE INDEX travellers_name ON travellers (name) /* braid: global */")
            other.sql("SELECT count(*) FROM travellers")
            for statement, rows in (("UPDATE travellers SET n = n + 1", ROWS), ("UPDATE travellers SET n = n + 1 WHERE name = 'name 1'", 1),
                                    ("SELECT id FROM travellers WHERE r = 1 FOR UPDATE", 1),
                                    ("UPDATE travellers SET n = n + 1 FROM (SELECT 1 AS one OFFSET 0) x WHERE r = one", 1),
                                    ("DELETE FROM travellers WHERE r = 1", 1)):
                for through in (braid, other):
                    if "DELETE" in statement and through is other:
                        continue
                    cur.execute("BEGIN")
                    cur.execute("UPDATE travellers SET id = id # 1 WHERE r <= 4")
                    thread, got = beside(through, statement)
                    expect(f"{statement} waits", [], got)
                    with auto(through) as quick, quick.cursor() as theirs:
                        theirs.execute("UPDATE travellers SET n = n WHERE id = %s", (2 * ROWS,))
                        expect("who names a key", 1, theirs.rowcount)
                    cur.execute("COMMIT")
                    thread.join(30)
                    expect(statement, [rows], got)
            cur.execute("BEGIN")
            cur.execute("SAVEPOINT s")
            cur.execute("UPDATE travellers SET id = id # 1 WHERE r <= 4")
            cur.execute("ROLLBACK TO s")
            thread, got = beside(other, "UPDATE travellers SET n = n + 1")
            thread.join(30)
            expect("nobody waits for what was taken back", [ROWS - 1], got)
            cur.execute("ROLLBACK")
            cur.execute("DROP TABLE travellers")
        c.close()
        place.end(other)


def test_mover_gives_way(place):
    """To a transaction that wants a lock which the mover has, and has one that the mover wants; through two pgbraids."""
    with Calm(place) as braid:
        other = place.braid()
        c = auto(braid)
        make(c)
        two = [min(i for (i,) in s.sql("SELECT id FROM travellers", "app")) for s in place.servers[1:3]]
        other.sql("SELECT count(*) FROM travellers")
        with c.cursor() as cur:
            cur.execute("BEGIN")
            cur.execute("UPDATE travellers SET n = n + 1 WHERE id IN (%s, %s)", two)
            thread, got = beside(other, "UPDATE travellers SET id = id # 1")
            expect("the mover waits", [], got)
            cur.execute("UPDATE travellers SET n = n + 1")
            expect("the writer does not", ROWS, cur.rowcount)
            cur.execute("COMMIT")
            thread.join(30)
            expect("rows that went", [ROWS], got)
            cur.execute("SELECT sum(n) FROM travellers")
            expect("counted", [(ROWS + 2,)], cur.fetchall())
        c.close()
        place.end(other)


def test_mover_dies(place):
    """What it had locked is free at once."""
    with Calm(place) as braid:
        other = place.braid()
        c = auto(braid)
        make(c)
        other.sql("SELECT count(*) FROM travellers")
        mover = place.braid()
        d = auto(mover)
        with d.cursor() as cur:
            cur.execute("BEGIN")
            cur.execute("UPDATE travellers SET id = id # 1 WHERE r <= 4")
            thread, got = beside(other, "UPDATE travellers SET n = n + 1")
            expect("it waits", [], got)
            mover.kill()
            thread.join(30)
            expect("rows", [ROWS], got)
        c.close()
        place.end(other)


TESTS = (test_race, test_open_move, test_mover_gives_way, test_mover_dies)


def run(place, report):
    for test in TESTS:
        report.run(f"transit: {test.__name__[5:]}", test, place)
