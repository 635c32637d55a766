"""currval() and lastval() behind their transaction: of this session and nobody else's, or 55000, however few server connections there are."""

import io
import random
import threading

import psycopg
import psycopg2

import raw
from report import expect, expect_that
from workspace import Calm, auto

SESSIONS = 5
ROUNDS = 60
FEW = {"pool": {"size": 2}}
BLOCK = {"sequence": {"block": 10}}
NOT_DEFINED = psycopg2.errors.ObjectNotInPrerequisiteState
MAKE = (
    "CREATE TABLE drawn_far (id serial PRIMARY KEY, v text) SHARD BY HASH (id)",
    "CREATE TABLE drawn_near (id bigserial PRIMARY KEY, v text)",
    "CREATE SEQUENCE drawn_s",
    "CREATE FUNCTION drawn_f() RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RETURN nextval('drawn_s'); END$$",
)
DROP = ("DROP TABLE drawn_far, drawn_near", "DROP FUNCTION drawn_f()", "DROP SEQUENCE drawn_s")


def ask(c, sql):
    with c.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


class Session:
    """What PostgreSQL would say, beside what is said."""

    def __init__(self, braid, number, seed):
        self.c = auto(braid)
        self.random = random.Random(seed * 100 + number)
        self.name = f"{seed}-{number}"
        self.count = 0
        self.known = {}
        self.last = None
        self.unseen = False
        self.told = self.refused = 0

    def drew(self, sequence, value):
        self.known[sequence] = value
        self.last = sequence

    def row(self, table):
        """Without RETURNING: what it drew is looked up."""
        self.count += 1
        v = f"{self.name}-{self.count}"
        ask(self.c, f"INSERT INTO {table} (v) VALUES ('{v}')")
        self.drew(f"{table}_id_seq", ask(self.c, f"SELECT id FROM {table} WHERE v = '{v}'"))

    def rows(self):
        with self.c.cursor() as cursor:
            cursor.execute("INSERT INTO drawn_far (v) VALUES ('x'), ('y'), ('z') RETURNING id")
            self.drew("drawn_far_id_seq", [row[0] for row in cursor.fetchall()][-1])

    def function(self):
        self.drew("drawn_s", ask(self.c, "SELECT drawn_f()"))
        self.unseen = True

    def block(self):
        ask(self.c, "BEGIN")
        for step in self.random.sample((lambda: self.row("drawn_near"), self.rows, self.sequence, self.check), 3):
            step()
        ask(self.c, self.random.choice(("COMMIT", "ROLLBACK")))

    def sequence(self):
        self.drew("drawn_s", ask(self.c, "SELECT nextval('drawn_s')"))

    def move(self):
        """Not lastval()'s sequence, unless it is that one."""
        self.known["drawn_s"] = ask(self.c, "SELECT setval('drawn_s', (SELECT last_value + 3 FROM drawn_s))")
        self.unseen = True

    def forget(self):
        ask(self.c, "DISCARD SEQUENCES")
        self.known, self.last = {}, None

    def check(self):
        for sequence in sorted(self.known) + [None]:
            question = "SELECT lastval()" if sequence is None else f"SELECT currval('{sequence}')"
            answer = self.known.get(self.last) if sequence is None else self.known[sequence]
            if self.c.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_INTRANS:
                ask(self.c, "SAVEPOINT a")
            try:
                got = ask(self.c, question)
                self.told += 1
                expect(f"{self.name}: {question}", answer, got)
            except NOT_DEFINED:
                self.refused += 1
                if self.c.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_INERROR:
                    ask(self.c, "ROLLBACK TO a")

    def work(self):
        steps = (lambda: self.row("drawn_far"), lambda: self.row("drawn_near"), self.rows, self.sequence, self.block)
        for _ in range(ROUNDS):
            pick = self.random.random()
            step = self.function if pick < 0.05 else self.move if pick < 0.08 else self.forget if pick < 0.1 else self.random.choice(steps)
            step()
            self.check()


def run_sessions(braid, seed):
    sessions = [Session(braid, i, seed) for i in range(SESSIONS)]
    failed = []

    def work(session):
        try:
            session.work()
        except Exception as e:  # is told by the test
            failed.append(e)
    threads = [threading.Thread(target=work, args=(s,)) for s in sessions]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    for s in sessions:
        s.c.close()
    if failed:
        raise failed[0]
    return sum(s.told for s in sessions), sum(s.refused for s in sessions)


def with_tables(place, test, **sections):
    with Calm(place, **sections) as braid:
        c = auto(braid)
        for sql in MAKE:
            ask(c, sql)
        try:
            test(braid, c)
        finally:
            c.close()
            with auto(braid) as end:
                for sql in DROP:
                    ask(end, sql)
            end.close()


def test_few_connections(place):
    """Five sessions over two connections: most is answered, and nothing with another's value."""
    def test(braid, c):
        told, refused = run_sessions(braid, 1)
        expect_that(f"{told} answers, {refused} times 55000", told > refused)
    with_tables(place, test, **FEW)


def test_blocks(place):
    """The same with ids that come out of blocks; and RETURNING is not needed for them."""
    def test(braid, c):
        ask(c, "INSERT INTO drawn_far (v) VALUES ('a')")
        expect("of a block", ask(c, "SELECT max(id) FROM drawn_far"), ask(c, "SELECT currval('drawn_far_id_seq')"))
        told, refused = run_sessions(braid, 2)
        expect_that(f"{told} answers, {refused} times 55000", told > refused)
    with_tables(place, test, **FEW, **BLOCK)


def test_session_mode(place):
    """There the server knows all but blocks."""
    for sections in ({}, BLOCK):
        def test(braid, c):
            told, refused = run_sessions(braid, 3)
            expect_that(f"{told} answers, {refused} times 55000", told > refused)
        with_tables(place, test, pool={"mode": "session"}, **sections)


def test_drivers(place):
    """$1 for the sequence; statements that stay prepared; a pipeline; COPY."""
    def test(braid, c):
        with psycopg.connect(host="127.0.0.1", port=braid.port, dbname="app", user="app", password="secret", autocommit=True) as p:
            for i in range(12):
                got = p.execute("INSERT INTO drawn_far (v) VALUES (%s) RETURNING id", (str(i),)).fetchone()[0]
                expect("by parameter", got, p.execute("SELECT currval(%s)", ("drawn_far_id_seq",)).fetchone()[0])
                expect("prepared", got, p.execute("SELECT lastval()", prepare=True).fetchone()[0])
                expect("in binary", got, p.execute("SELECT lastval() AS l", binary=True).fetchone()[0])
                p.execute("INSERT INTO drawn_near (v) VALUES (%s)", (str(i),), prepare=True)
                near = p.execute("SELECT max(id) FROM drawn_near").fetchone()[0]
                expect("both", (near, got), p.execute("SELECT lastval(), currval(%s)", ("drawn_far_id_seq",)).fetchone())
            with p.pipeline():
                first = p.execute("SELECT lastval()")
                p.execute("INSERT INTO drawn_near (v) VALUES ('p')")
                last = p.execute("SELECT lastval()")
                expect("in front of it", near, first.fetchone()[0])
                expect("behind it", near + 1, last.fetchone()[0])
        with c.cursor() as cursor:
            cursor.copy_expert("COPY drawn_far (v) FROM STDIN", io.StringIO("a\nb\n"))
        expect("COPY", ask(c, "SELECT max(id) FROM drawn_far"), ask(c, "SELECT lastval()"))
    with_tables(place, test)


def test_behind_an_error(place):
    """Asked before the error in front of it is known: it is refused as anything else in such a block."""
    def test(braid, c):
        with raw.Raw(braid.port) as r:
            r.login()
            r.ask(raw.query("BEGIN; SAVEPOINT a"))
            r.send(*(part for sql in ("SELECT 1/0", "SELECT currval('drawn_s')")
                     for part in (raw.parse(sql), raw.bind(), raw.execute(), raw.SYNC)))
            expect("the error", ["22012"], raw.codes_of(r.until("Z")))
            expect("in the block", ["25P02"], raw.codes_of(r.until("Z")))
            expect("which goes on", [["1"]], raw.rows_of(r.ask(raw.query("ROLLBACK TO a; SELECT nextval('drawn_s')"))))
    with_tables(place, test)


def test_rights(place):
    """Who may not use the sequence any more is not told, though he drew."""
    def test(braid, c):
        ask(c, "INSERT INTO drawn_far (v) VALUES ('a')")
        other = auto(braid)
        ask(other, "REVOKE ALL ON SEQUENCE drawn_far_id_seq FROM app")
        for question in ("SELECT currval('drawn_far_id_seq')", "SELECT currval('drawn_far_id_seq'), lastval()"):
            try:
                ask(c, question)
                expect_that("it is refused", False)
            except psycopg2.errors.InsufficientPrivilege:
                pass
        ask(other, "GRANT ALL ON SEQUENCE drawn_far_id_seq TO app")
        expect("it is known still", ask(c, "SELECT max(id) FROM drawn_far"), ask(c, "SELECT lastval()"))
        ask(c, "BEGIN")
        ask(c, "SELECT nextval('drawn_s')")
        ask(c, "INSERT INTO drawn_far (v) VALUES ('b')")
        ask(other, "REVOKE ALL ON SEQUENCE drawn_s FROM app")
        expect("another one is told", ask(c, "SELECT max(id) FROM drawn_far"), ask(c, "SELECT currval('drawn_far_id_seq')"))
        ask(c, "COMMIT")
        ask(other, "GRANT ALL ON SEQUENCE drawn_s TO app")
        other.close()
    with_tables(place, test)


def test_temporary(place):
    """A temporary sequence hides another of its name."""
    def test(braid, c):
        expect("the other one", 1, ask(c, "SELECT nextval('drawn_s')"))
        ask(c, "CREATE TEMPORARY SEQUENCE drawn_s START 70")
        expect("the temporary one", 70, ask(c, "SELECT nextval('drawn_s')"))
        expect("is asked", 70, ask(c, "SELECT currval('drawn_s')"))
        try:
            expect("the other one, too", 1, ask(c, "SELECT currval('public.drawn_s')"))
        except NOT_DEFINED:
            pass
        ask(c, "DROP SEQUENCE pg_temp.drawn_s")
        try:
            expect("and afterwards", 1, ask(c, "SELECT currval('drawn_s')"))
        except NOT_DEFINED:
            pass
    with_tables(place, test)


TESTS = (test_temporary, test_few_connections, test_blocks, test_session_mode, test_drivers, test_behind_an_error, test_rights)


def run(place, report):
    for test in TESTS:
        report.run(f"drawn: {test.__name__[5:]}", test, place)
