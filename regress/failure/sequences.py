"""sequence.block: ids drawn in blocks are given once, whatever is killed; setval, RESTART and transactions are followed."""

import io
import re
import signal
import threading
import time

import psycopg
import psycopg2

from place import wait_for
from report import expect, expect_that
from transactions import prepared_gids as prepared
from workspace import Calm, auto

SESSIONS = 6
BLOCK = {"sequence": {"block": 20}}


def ask(c, sql):
    with c.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()] if cursor.description else cursor.rowcount


def blocks(braid):
    return int(re.search(r"^pgbraid_sequence_blocks\S* (\d+)", braid.http("/metrics")[1], re.M).group(1))


def plain(braid, **words):
    return psycopg2.connect(host="127.0.0.1", port=braid.port, dbname="app", user="app", password="secret", **words)


def durable(braid):
    """The servers of the tests forget the last commits when they are killed, unless they are asked not to."""
    c = auto(braid)
    ask(c, "SET synchronous_commit = on")
    return c


def make(c, table="seqs"):
    ask(c, f"DROP TABLE IF EXISTS {table}")
    ask(c, f"CREATE TABLE {table} (id bigserial PRIMARY KEY, v int, small smallint GENERATED ALWAYS AS IDENTITY) SHARD BY HASH (id)")


def test_blocks(place):
    """Distinct in all sessions and protocols; the home shard is asked once for many."""
    with Calm(place, **BLOCK) as braid:
        c = auto(braid)
        make(c)
        before = blocks(braid)
        ids = ask(c, "INSERT INTO seqs (v) VALUES (1) RETURNING id")
        ids += ask(c, "INSERT INTO seqs (v) VALUES (2), (3), (4) RETURNING id")
        ids += ask(c, "INSERT INTO seqs (id, v) VALUES (DEFAULT, 5), (DEFAULT, 6) RETURNING id")
        ask(c, "INSERT INTO seqs DEFAULT VALUES")
        expect("without RETURNING", 2, ask(c, "INSERT INTO seqs (v) VALUES (7), (8)"))
        expect("ids of one session rise", sorted(set(ids)), ids)
        with psycopg.connect(host="127.0.0.1", port=braid.port, dbname="app", user="app", password="secret", autocommit=True) as p:
            for i in range(30):
                ids += [row[0] for row in p.execute("INSERT INTO seqs (v) VALUES (%s), (%s) RETURNING id", (i, i + 1), prepare=i > 3)]
        expect_that("blocks were drawn", 0 < blocks(braid) - before <= 2 * 10)
        expect("no id is there twice", len(set(ids)), len(ids))
        expect("rows", [(69, 69, 69)], braid.sql("SELECT count(*), count(DISTINCT id), count(DISTINCT small) FROM seqs"))
        expect("they are where they are looked for", [[i] for i in ids[::9]], [ask(c, f"SELECT id FROM seqs WHERE id = {i}") for i in ids[::9]])
        expect("more than a block at once", 100, ask(c, "INSERT INTO seqs (v) VALUES " + ", ".join(f"({i})" for i in range(100))))
        try:
            ask(c, "INSERT INTO seqs (v) VALUES ('x')")
            expect_that("a value that is none is refused", False)
        except psycopg2.DataError:
            pass
        ask(c, "DROP TABLE seqs")
        c.close()


def test_transactions(place):
    """In a block, too; and what is rolled back gives no id twice."""
    with Calm(place, **BLOCK) as braid:
        c = auto(braid)
        make(c)
        t = plain(braid)
        ids = []
        for i in range(40):
            ids += ask(t, "INSERT INTO seqs (v) VALUES (1), (2) RETURNING id")
            t.rollback() if i % 3 == 0 else t.commit()
        expect("no id was given twice", len(set(ids)), len(ids))
        expect("rows", 52, ask(c, "SELECT count(*) FROM seqs")[0])
        ask(c, "DROP TABLE seqs")
        t.close()
        c.close()


def test_moved(place):
    """setval(), RESTART and RESTART IDENTITY take effect at once, in every session."""
    with Calm(place, **BLOCK) as braid:
        sessions = [auto(braid) for _ in range(4)]
        c = sessions[0]
        make(c)

        def next_ids():
            return [ask(s, "INSERT INTO seqs (v) VALUES (1) RETURNING id")[0] for s in sessions]
        next_ids()
        ask(c, "SELECT setval('seqs_id_seq', 1000)")
        expect_that("setval is followed", all(i > 1000 for i in next_ids()))
        ask(c, "ALTER SEQUENCE seqs_id_seq RESTART WITH 5000")
        expect_that("RESTART is followed", all(i >= 5000 for i in next_ids()))
        t = plain(braid)
        ask(t, "SELECT setval('seqs_id_seq', 9000)")
        expect_that("inside of a transaction", ask(t, "INSERT INTO seqs (v) VALUES (1) RETURNING id")[0] > 9000)
        t.rollback()
        t.close()
        expect_that("and by others", all(i > 9000 for i in next_ids()))
        ask(c, "TRUNCATE seqs RESTART IDENTITY")
        expect_that("RESTART IDENTITY is followed", all(i < 9000 for i in next_ids()))
        ask(c, "DROP TABLE seqs")
        make(c)
        expect_that("a new table begins anew", min(next_ids()) == 1)
        ask(c, "DROP TABLE seqs")
        for s in sessions:
            s.close()


def test_ends(place):
    """INCREMENT BY, CYCLE, and the last value."""
    with Calm(place, **BLOCK) as braid:
        c = auto(braid)
        make(c)
        ask(c, "ALTER SEQUENCE seqs_id_seq INCREMENT BY -3 MINVALUE -1000 RESTART WITH -1")
        expect("downwards", [-1, -4, -7], ask(c, "INSERT INTO seqs (v) VALUES (1), (2), (3) RETURNING id"))
        ask(c, "ALTER SEQUENCE seqs_id_seq INCREMENT BY 1 MINVALUE 1 MAXVALUE 5 RESTART WITH 1")
        expect("to the last one", [1, 2, 3, 4, 5], [ask(c, "INSERT INTO seqs (v) VALUES (1) RETURNING id")[0] for _ in range(5)])
        try:
            ask(c, "INSERT INTO seqs (v) VALUES (1)")
            expect_that("it has no more", False)
        except psycopg2.errors.SequenceGeneratorLimitExceeded:
            pass
        ask(c, "DELETE FROM seqs WHERE id BETWEEN 1 AND 5")
        ask(c, "ALTER SEQUENCE seqs_id_seq CYCLE")
        expect("around", [1, 2, 3, 4], ask(c, "INSERT INTO seqs (v) VALUES (1), (2), (3), (4) RETURNING id"))
        ask(c, "DROP TABLE seqs")
        c.close()


def test_kills(place):
    """Ids of a pgbraid that was killed, and those of another one beside it, meet nobody's."""
    with Calm(place, **BLOCK) as braid:
        c = auto(braid)
        make(c)
        c.close()
        done = []
        for _ in range(2):
            stop = threading.Event()

            def work():
                try:
                    s = auto(braid)
                    while not stop.is_set():
                        done.extend(ask(s, "INSERT INTO seqs (v) VALUES (1), (2) RETURNING id"))
                except psycopg2.Error:
                    pass
            threads = [threading.Thread(target=work) for _ in range(SESSIONS)]
            begun = len(done)
            for t in threads:
                t.start()
            while len(done) < begun + 200 and any(t.is_alive() for t in threads):
                stop.wait(0.01)
            braid.kill()
            stop.set()
            for t in threads:
                t.join()
            braid.start()
        expect("no id was given twice", len(set(done)), len(done))
        rows = braid.sql("SELECT count(*), count(DISTINCT id) FROM seqs")[0]
        expect_that(f"what was told is there, once: {rows}", rows[0] == rows[1] >= len(done))
        c = auto(braid)
        ask(c, "DROP TABLE seqs")
        c.close()


def test_home_is_killed(place):
    """Two pgbraids draw from one sequence, and its server is killed: a block is on disk before its first id is given."""
    with Calm(place, **BLOCK) as one:
        two = place.braid(**BLOCK)
        c = auto(one)
        make(c)
        c.close()
        done, copied, lock = [], [], threading.Lock()

        def insert(braid, stop):
            while not stop.is_set():
                try:
                    s = durable(braid)
                    while not stop.is_set():
                        ids = ask(s, "INSERT INTO seqs (v) VALUES (1), (2) RETURNING id")
                        with lock:
                            done.extend(ids)
                except psycopg2.Error:
                    stop.wait(0.02)

        def copy(braid, stop):
            while not stop.is_set():
                try:
                    s = durable(braid)
                    while not stop.is_set():
                        with s.cursor() as cur:
                            cur.copy_expert("COPY seqs (v) FROM STDIN", io.StringIO("7\n" * 30))
                        copied.append(30)
                except psycopg2.Error:
                    stop.wait(0.02)
        home = place.servers[0]
        for _ in range(2):
            stop = threading.Event()
            threads = [threading.Thread(target=work, args=(braid, stop)) for braid in (one, two) for work in (insert, insert, copy)]
            begun = len(done)
            for t in threads:
                t.start()
            wait_for("writes", lambda n=begun: len(done) >= n + 100 and copied, 60)
            home.signal_all(signal.SIGKILL)
            while home.pid() is not None:
                time.sleep(0.01)
            home.start()
            one.wait_healthy(60)
            two.wait_healthy(60)
            begun = len(done)
            wait_for("writes go on", lambda n=begun: len(done) >= n + 100, 60)
            stop.set()
            for t in threads:
                t.join(60)
        wait_for("nothing is left prepared", lambda: not prepared(place), 60)
        expect("no id was given twice", len(set(done)), len(done))
        c = auto(one)
        rows = ask(c, "SELECT id FROM seqs WHERE v <> 7")
        expect("no row has the id of another", [(0,)], one.sql("SELECT count(*) - count(DISTINCT id) FROM seqs"))
        lost = sorted(set(done) - set(rows))
        expect_that(f"what was told is there: {len(lost)} are lost, {lost[:8]}; {[one.sql(f'SELECT * FROM seqs WHERE id = {i}') for i in lost[:4]]}", not lost)
        expect_that("copies, too", one.sql("SELECT count(*) FROM seqs WHERE v = 7")[0][0] >= sum(copied))
        ask(c, "DROP TABLE seqs")
        c.close()
        place.end(two)


TESTS = (test_blocks, test_transactions, test_moved, test_ends, test_kills, test_home_is_killed)


def run(place, report):
    for test in TESTS:
        report.run(f"sequences: {test.__name__[5:]}", test, place)
