"""Copies of reference tables stay equal, whoever writes them at once, and nobody is told that they were not."""

import random
import threading

import psycopg2

from place import expect_error, wait_for
from report import expect, expect_that
from workspace import Calm, auto

ROUNDS = 12
EXPECTED = ("40001", "40P01")  # what PostgreSQL itself says to one of several writers


def make(c):
    with c.cursor() as cur:
        cur.execute("DROP TABLE IF EXISTS lines, plans")
        cur.execute("CREATE TABLE plans (id bigint PRIMARY KEY, n int, flag bool) REFERENCE")
        cur.execute("CREATE TABLE lines (id bigint PRIMARY KEY, plan bigint REFERENCES plans ON DELETE SET NULL, n int) REFERENCE")
        cur.execute("INSERT INTO plans SELECT i, 0, i % 2 = 0 FROM generate_series(1, 20) i")
        cur.execute("INSERT INTO lines SELECT i, i % 20 + 1, 0 FROM generate_series(1, 60) i")


def copies(place):
    return [[sorted(s.sql(f"SELECT * FROM {table}", "app"), key=str) for s in place.servers] for table in ("plans", "lines")]


def same(place):
    for of_table in copies(place):
        expect_that("copies are equal", all(rows == of_table[0] for rows in of_table[1:]))


WRITES = (
    "UPDATE plans SET n = n + 1",
    "UPDATE plans SET n = n + 1 WHERE flag",
    "UPDATE plans SET flag = NOT flag WHERE id % 3 = {i} % 3",
    "INSERT INTO plans VALUES ({new}, 0, true)",
    "DELETE FROM plans WHERE id = (SELECT min(id) FROM plans)",
    "INSERT INTO plans SELECT id + 1000000, n, flag FROM plans WHERE id % 5 = 0 ON CONFLICT (id) DO UPDATE SET n = excluded.n",
    "DELETE FROM plans WHERE n > 30",
    "UPDATE lines SET n = n + 1 WHERE plan IS NULL",
    "INSERT INTO lines SELECT {new}, max(id), 1 FROM plans",
    "DELETE FROM lines WHERE plan IS NULL AND id % 2 = 0",
    "UPDATE plans SET n = (random() * 9)::int WHERE id % 4 = {i} % 4",
)


class Writer(threading.Thread):
    """Random statements, alone or several in a transaction, some of them taken back."""

    def __init__(self, braid, number):
        super().__init__(daemon=True)
        self.braid, self.number = braid, number
        self.random = random.Random(number)
        self.done, self.errors, self.count = 0, [], 0

    def statement(self, cur):
        self.count += 1
        cur.execute(self.random.choice(WRITES).format(i=self.count, new=self.number * 10**7 + self.count))

    def transaction(self, cur):
        draw = self.random
        cur.execute(draw.choice(("BEGIN", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ")))
        self.statement(cur)
        if draw.randrange(3) == 0:
            cur.execute("SAVEPOINT s")
            self.statement(cur)
            cur.execute("ROLLBACK TO s")
        self.statement(cur)
        cur.execute(draw.choice(("COMMIT", "COMMIT", "ROLLBACK")))

    def run(self):
        c = auto(self.braid)
        with c.cursor() as cur:
            for _ in range(ROUNDS):
                try:
                    (self.statement if self.random.randrange(2) else self.transaction)(cur)
                    self.done += 1
                except psycopg2.Error as e:
                    self.errors.append((e.pgcode, str(e)))
                    cur.execute("ROLLBACK")
        c.close()


def test_race(place):
    """Through two pgbraids at once."""
    with Calm(place) as one:
        c = auto(one)
        make(c)
        two = place.braid()
        writers = [Writer((one, two)[i % 2], i + 1) for i in range(6)]
        for w in writers:
            w.start()
        for w in writers:
            w.join(240)
        expect("threads that hang", 0, sum(w.is_alive() for w in writers))
        expect_that("most were done", sum(w.done for w in writers) > 6 * ROUNDS / 3)
        expect("other errors", [], [e for w in writers for e in w.errors if e[0] not in EXPECTED])
        same(place)
        c.close()
        place.end(two)


def test_queue(place):
    """The second writer waits on the home shard, and sees what the first has done."""
    with Calm(place) as braid:
        c, other = auto(braid), auto(braid)
        make(c)
        done = []
        with c.cursor() as cur:
            cur.execute("BEGIN")
            cur.execute("SAVEPOINT s")
            cur.execute("UPDATE plans SET flag = true")
            cur.execute("ROLLBACK TO s")  # which lets others in again
            with other.cursor() as theirs:
                theirs.execute("UPDATE plans SET flag = true WHERE id = 1")
            cur.execute("INSERT INTO plans VALUES (100, 0, true)")

            def second():
                with other.cursor() as theirs:
                    theirs.execute("UPDATE plans SET n = 7 WHERE flag")
                    done.append(theirs.rowcount)
            t = threading.Thread(target=second, daemon=True)
            t.start()
            wait_for("it waits", lambda: done or any(s.sql(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'")
                for s in place.servers), 30)
            expect("not before the first is done", [], done)
            cur.execute("SELECT count(*) FROM plans")
            expect("readers do not wait", [(21,)], cur.fetchall())
            cur.execute("COMMIT")
        t.join(60)
        expect("and meets its row", [12], done)
        same(place)
        c.close()
        other.close()


def test_made_anew(place):
    """Writers through two pgbraids keep each other out, also while one has not heard yet that the table was made anew."""
    with Calm(place) as braid:
        later = place.braid()
        c, theirs = auto(braid), auto(later)
        with c.cursor() as cur, theirs.cursor() as other:
            make(c)
            other.execute("UPDATE plans SET n = 1")
            make(c)
            other.execute("BEGIN")
            other.execute("UPDATE plans SET flag = true WHERE id = 1")
            cur.execute("SET lock_timeout = '300ms'")
            expect_error("another row, at the same time", "55P03", lambda: cur.execute("UPDATE plans SET n = 7 WHERE id = 2"))
            other.execute("COMMIT")
            cur.execute("UPDATE plans SET n = 7 WHERE id = 2")
        same(place)
        c.close()
        theirs.close()
        place.end(later)


def test_cascade(place):
    """A statement that may change rows of another reference table by a foreign key waits for its writers, too."""
    with Calm(place, pool={"query_timeout_ms": 1500}) as braid:
        c, other = auto(braid), auto(braid)
        make(c)
        with c.cursor() as cur, other.cursor() as theirs:
            cur.execute("BEGIN")
            cur.execute("INSERT INTO lines VALUES (1000, NULL, 0)")
            for statement, waits in (("UPDATE plans SET n = 1 WHERE id = 2", False), ("INSERT INTO plans VALUES (101, 0, true)", False),
                                     ("UPDATE plans SET id = 102 WHERE id = 101", True), ("DELETE FROM plans WHERE id = 101", True)):
                try:
                    theirs.execute(statement)
                    expect_that(f"{statement} should wait", not waits)
                except psycopg2.errors.QueryCanceled:
                    expect_that(f"{statement} should not wait", waits)
            cur.execute("COMMIT")
        same(place)
        c.close()
        other.close()


def test_columns(place):
    """A column whose values each copy would make up for itself is refused."""
    with Calm(place) as braid:
        c = auto(braid)
        make(c)
        with c.cursor() as cur:
            for number, change in enumerate((
                    "ADD COLUMN {} float8 DEFAULT random()", "ADD COLUMN {} timestamptz DEFAULT now()",
                    "ADD COLUMN {} timestamptz DEFAULT CURRENT_TIMESTAMP", "ADD COLUMN {} timestamptz DEFAULT 'now'",
                    "ADD COLUMN {} int DEFAULT pg_backend_pid()", "ALTER COLUMN n TYPE float8 USING random()")):
                expect_error(change, "0A000", lambda text=change.format(f"c{number}"): cur.execute(f"ALTER TABLE plans {text}"))
            cur.execute("ALTER TABLE plans ADD COLUMN same text DEFAULT 'x' || 1, ALTER COLUMN n TYPE text USING n::text")
            cur.execute("ALTER TABLE plans ADD COLUMN r float8")
            cur.execute("UPDATE plans SET r = random()")
            cur.execute("ALTER TABLE plans ALTER COLUMN r SET DEFAULT random()")
            cur.execute("INSERT INTO plans (id) VALUES (200)")
        same(place)
        c.close()


def test_locks(place):
    """Who locks a row of a reference table keeps out all others that lock it."""
    with Calm(place) as braid:
        c, other = auto(braid), auto(braid)
        make(c)
        beside = ["SELECT p.n FROM items i JOIN plans p ON p.id = 1 WHERE i.id = %d FOR UPDATE" % place.row_on(i)
                  for i in range(len(place.servers))]
        alone = "SELECT n FROM plans WHERE id = 1 FOR UPDATE"
        with c.cursor() as cur, other.cursor() as theirs:
            for way in beside:
                expect_error(way, "0A000", lambda way=way: cur.execute(way))
                cur.execute(way + " OF i")
            cur.execute("BEGIN")
            cur.execute(alone)
            theirs.execute("SET lock_timeout = '200ms'")
            expect_error("the other", "55P03", lambda: theirs.execute(alone))
            cur.execute("COMMIT")
        c.close()
        other.close()


TESTS = (test_race, test_queue, test_made_anew, test_cascade, test_columns, test_locks)


def run(place, report):
    for test in TESTS:
        report.run(f"copies: {test.__name__[5:]}", test, place)
