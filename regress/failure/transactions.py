"""Transactions over shards: what is held back for the commit, what cannot be prepared, deferred constraints,
savepoints with shards that join late. Beside compare/statements/transaction.sql, which asks one PostgreSQL, too."""

import os
import socket
import threading
import time

import psycopg
import psycopg2

from report import Failed, expect, expect_that
from place import expect_error, wait_for


def say(connection, sql):
    """Rows, or the command tag, or the SQLSTATE."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql)
        except psycopg2.Error as e:
            return e.pgcode
        return cursor.fetchall() if cursor.description else cursor.statusmessage


def play(connection, *steps):
    """Statement and what it must say, in turn; None: whatever."""
    for sql, expected in steps:
        got = say(connection, sql)
        if expected is not None and got != expected:
            raise Failed(f"{sql}: expected {expected!r}, got {got!r}")


def set_v(row, value):
    return f"UPDATE items SET v = '{value}' WHERE id = {row}"


def get_v(row):
    return f"SELECT v FROM items WHERE id = {row}"


class Stage:
    """A proxy, a row of each shard."""

    def __init__(self, place, **sections):
        self.place = place
        self.braid = place.braid(**sections)
        self.rows = [place.row_on(i) for i in range(3)]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None: # what a failed test has left locked must not hold up the others
            for server in self.place.servers:
                for gid, in server.sql("SELECT gid FROM pg_prepared_xacts WHERE database = 'app'", "app"):
                    server.sql("ROLLBACK PREPARED %s", "app", (gid,))
        self.braid.sql("UPDATE items SET v = 'v' || id")
        if kind is None:
            for i, server in enumerate(self.place.servers):
                expect(f"prepared transactions left on server {i}", [],
                       server.sql("SELECT gid FROM pg_prepared_xacts", "app"))
            self.place.end(self.braid)

    def connect(self, **more):
        return self.braid.connect(autocommit=True, **more)


def heard(listener):
    listener.poll()
    got = [n.payload for n in listener.notifies]
    del listener.notifies[:]
    return got


def notify(place):
    with Stage(place) as stage:
        home, one, two = stage.rows
        listener, a = stage.connect(), stage.connect()
        play(listener, ("LISTEN news", "LISTEN"))

        def hears(what, *payloads):
            got = []
            wait_for(what, lambda: got.extend(heard(listener)) or len(got) >= len(payloads))
            time.sleep(0.05)
            expect(what, list(payloads), got + heard(listener))

        play(a, ("BEGIN", "BEGIN"), ("NOTIFY news, '1'", "NOTIFY"), (set_v(one, "n"), "UPDATE 1"))
        time.sleep(0.1)
        expect("nothing before the commit", [], heard(listener))
        play(a, ("COMMIT", "COMMIT"))
        hears("one shard wrote", "1")
        play(a, ("BEGIN", "BEGIN"), (set_v(one, "n"), "UPDATE 1"), ("NOTIFY news, '2'", "NOTIFY"),
             (set_v(home, "n"), "UPDATE 1"), ("SAVEPOINT s", "SAVEPOINT"), ("NOTIFY news, 'no'", "NOTIFY"),
             ("ROLLBACK TO s", "ROLLBACK"), ("NOTIFY news, '3'", "NOTIFY"), (set_v(two, "n"), "UPDATE 1"),
             ("COMMIT", "COMMIT"))
        hears("two-phase commit", "2", "3")
        play(a, ("BEGIN", "BEGIN"), ("NOTIFY news, 'no'", "NOTIFY"), (set_v(home, "n"), "UPDATE 1"),
             (set_v(two, "n"), "UPDATE 1"), ("ROLLBACK", "ROLLBACK"))
        play(a, ("BEGIN", "BEGIN"), (set_v(home, "n"), "UPDATE 1"), ("NOTIFY news, '4'", "NOTIFY"),
             ("COMMIT", "COMMIT"), (f"{set_v(one, 'm')}; NOTIFY news, '5'; {set_v(two, 'm')}", "UPDATE 1"),
             ("NOTIFY news, '6'", "NOTIFY"))
        hears("home alone, a text of several statements, autocommit", "4", "5", "6")
        play(a, ("BEGIN", "BEGIN"), (f"NOTIFY news, '{'x' * 8000}'", "22023"), ("ROLLBACK", "ROLLBACK"))
        play(a, ("BEGIN", "BEGIN"), ("LISTEN own", "LISTEN"), (set_v(one, "n"), "UPDATE 1"),
             (set_v(two, "n"), "UPDATE 1"), ("COMMIT", "COMMIT"), ("NOTIFY own, 'me'", "NOTIFY"))
        expect("LISTEN held back", ["me"], heard(a))
        play(a, ("UNLISTEN *", "UNLISTEN"))
        for c in (listener, a):
            c.close()


def not_prepared(place):
    """What PostgreSQL would refuse at PREPARE is refused at the statement that makes it impossible."""
    with Stage(place) as stage:
        home, one, _ = stage.rows
        a = stage.connect()
        for sql in ("CREATE TEMP TABLE tt (a int)", "SELECT pg_export_snapshot()",
                    "SELECT pg_notify('news', 'x')",
                    "DECLARE c CURSOR WITH HOLD FOR SELECT relname FROM pg_class"):
            play(a, ("BEGIN", None), (sql, None), (set_v(one, "t"), "0A000"), ("ROLLBACK", "ROLLBACK"),
                 ("BEGIN", None), (set_v(one, "t"), "UPDATE 1"), (sql, "0A000"), ("ROLLBACK", "ROLLBACK"),
                 ("BEGIN", None), (set_v(home, "t"), "UPDATE 1"), (sql, None), (get_v(one), [(f"v{one}",)]),
                 ("COMMIT", "COMMIT"), (set_v(one, f"v{one}"), "UPDATE 1"), ("DISCARD ALL", None))
        play(a, ("CREATE TEMP TABLE tt (i int)", None))  # in an earlier transaction: to name it is enough
        for sql in ("SELECT count(*) FROM tt", "INSERT INTO tt VALUES (1)"):
            play(a, ("BEGIN", None), (sql, None), (set_v(home, "t"), "UPDATE 1"), (set_v(one, "t"), "0A000"), ("ROLLBACK", "ROLLBACK"),
                 ("BEGIN", None), (set_v(one, "t"), "UPDATE 1"), (set_v(home, "t"), "UPDATE 1"), (sql, "0A000"), ("ROLLBACK", None))
        play(a, ("BEGIN", None), ("SELECT count(*) FROM tt", [(0,)]), (set_v(one, "t"), "UPDATE 1"), ("COMMIT", "COMMIT"),
             ("DROP TABLE tt", "DROP TABLE"), (set_v(one, f"v{one}"), "UPDATE 1"))
        a.close()


def constraints(place):
    """Deferred constraints are checked at PREPARE; their error is the answer of COMMIT."""
    with Stage(place) as stage:
        home, one, two = stage.rows
        a = stage.connect()
        play(a, ("CREATE TABLE parent (id bigint PRIMARY KEY) SHARD BY HASH (id)", None),
             ("CREATE TABLE child (id bigint PRIMARY KEY, CONSTRAINT fk FOREIGN KEY (id) REFERENCES parent (id) "
              "DEFERRABLE) SHARD BY HASH (id) COLOCATE WITH parent", None),
             ("CREATE TABLE loc (id int PRIMARY KEY, p int, CONSTRAINT lfk FOREIGN KEY (p) REFERENCES loc (id) "
              "DEFERRABLE)", None))

        def child(row):
            return f"INSERT INTO child VALUES ({row})"

        play(a, (child(one), "23503"), ("SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS"), (child(one), "23503"),
             ("BEGIN", None), ("SET CONSTRAINTS nothing DEFERRED", "42704"), ("ROLLBACK", None),
             ("BEGIN", None), ("SET CONSTRAINTS fk, lfk DEFERRED", "SET CONSTRAINTS"), (child(one), "INSERT 0 1"),
             (child(two), "INSERT 0 1"), (f"INSERT INTO parent VALUES ({one}), ({two})", "INSERT 0 2"),
             ("INSERT INTO loc VALUES (1, 1)", "INSERT 0 1"), ("COMMIT", "COMMIT"))
        play(a, ("BEGIN", None), ("SET CONSTRAINTS ALL DEFERRED", None), (set_v(one, "c"), "UPDATE 1"),
             (child(home), "INSERT 0 1"), ("COMMIT", "23503"), (get_v(one), [(f"v{one}",)]),
             ("BEGIN", None), (set_v(one, "c"), "UPDATE 1"), ("SET CONSTRAINTS fk DEFERRED", None),
             (child(home), "INSERT 0 1"), ("SET CONSTRAINTS fk IMMEDIATE", "23503"), ("COMMIT", "ROLLBACK"),
             ("BEGIN", None), ("SAVEPOINT s", None), ("SET CONSTRAINTS ALL DEFERRED", None),
             ("ROLLBACK TO s", None), (child(home), "23503"), ("ROLLBACK", None),
             ("BEGIN", None), ("SET CONSTRAINTS ALL DEFERRED", None), ("COMMIT AND CHAIN", "COMMIT"),
             (child(home), "23503"), ("ROLLBACK", None))
        play(a, ("DROP TABLE child", None), ("DROP TABLE parent", None), ("DROP TABLE loc", None))
        a.close()


def savepoints(place):
    """Shards that join behind a savepoint; names used twice; errors; what was released."""
    with Stage(place) as stage:
        home, one, two = stage.rows
        a = stage.connect()
        play(a, ("BEGIN", None), (set_v(home, "0"), "UPDATE 1"), ("SAVEPOINT a", None), (set_v(one, "1"), "UPDATE 1"),
             ("SAVEPOINT a", None), (set_v(two, "2"), "UPDATE 1"), (set_v(one, "1b"), "UPDATE 1"),
             ("SELECT 1/0", "22012"), (get_v(two), "25P02"), ("SAVEPOINT b", "25P02"), ("ROLLBACK TO a", "ROLLBACK"),
             (get_v(two), [(f"v{two}",)]), (get_v(one), [("1",)]), ("RELEASE a", "RELEASE"),
             (set_v(two, "2b"), "UPDATE 1"), ("ROLLBACK TO a", "ROLLBACK"), (get_v(one), [(f"v{one}",)]),
             (get_v(two), [(f"v{two}",)]), (get_v(home), [("0",)]), (set_v(two, "2c"), "UPDATE 1"),
             ("RELEASE a", "RELEASE"), ("ROLLBACK TO a", "3B001"), ("ROLLBACK", "ROLLBACK"))
        play(a, ("BEGIN", None), ("SAVEPOINT a", None), ("SAVEPOINT b", None), (set_v(one, "x"), "UPDATE 1"),
             ("RELEASE b", "RELEASE"), (set_v(two, "x"), "UPDATE 1"), ("ROLLBACK TO a", "ROLLBACK"),
             (set_v(home, "kept"), "UPDATE 1"), (set_v(one, "kept"), "UPDATE 1"), ("COMMIT", "COMMIT"),
             (get_v(two), [(f"v{two}",)]), (get_v(one), [("kept",)]), (get_v(home), [("kept",)]))
        play(a, ("BEGIN", None), ("SAVEPOINT a", None), ("SET TRANSACTION READ ONLY", "SET"),
             (set_v(one, "x"), "25006"), ("ROLLBACK TO a", "ROLLBACK"), (set_v(two, "x"), "UPDATE 1"),
             ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "25001"), ("ROLLBACK", None))
        a.close()


def serializable(place):
    with Stage(place, txn={"serializable": "each"}) as stage:
        home, one, _ = stage.rows
        a = stage.connect()
        begin = ("BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN")
        play(a, begin, (get_v(home), [(f"v{home}",)]), (set_v(one, "s"), "UPDATE 1"), (set_v(home, "s"), "UPDATE 1"),
             ("COMMIT", "COMMIT"))
        stage.braid.config["databases"]["app"]["serializable"] = "one"
        stage.braid.write_files()
        stage.braid.process.send_signal(1)
        wait_for("the new configuration",
                 lambda: [say(a, s) for s in (begin[0], get_v(home), get_v(one), "ROLLBACK")][2] == "0A000")
        a.close()


def of_one_statement(place):
    """A write of one statement over shards is prepared where it has ended, while it waits elsewhere: whatever stops it there
    takes all of it back."""
    for ledger in ("local", "shard"):
        with Stage(place, ledger=ledger) as stage:
            for extended in (False, True):
                stops_of_one(stage, extended, ledger)
            home, one, two = stage.rows
            a = stage.connect()
            play(a, ("CREATE TABLE parent (id bigint PRIMARY KEY) SHARD BY HASH (id)", None),
                 ("CREATE TABLE child (id bigint PRIMARY KEY REFERENCES parent DEFERRABLE INITIALLY DEFERRED) "
                  "SHARD BY HASH (id) COLOCATE WITH parent", None), (f"INSERT INTO parent VALUES ({one}), ({home})", None))
            for rows in ((one, two), (two, one), (home, one, two)):
                play(a, ("INSERT INTO child VALUES " + ", ".join(f"({row})" for row in rows) + " RETURNING id", "23503"),
                     ("SELECT count(*) FROM child", [(0,)]))
            play(a, (f"INSERT INTO child VALUES ({one}), ({home}) RETURNING id", [(one,), (home,)]),
                 ("SELECT count(*) FROM child", [(2,)]), ("DROP TABLE child", None), ("DROP TABLE parent", None))
            a.close()


def stops_of_one(stage, extended, ledger):
    one, two, _ = stage.rows
    both = f"UPDATE items SET v = (10 / (length(v) - 1))::text WHERE id IN ({one}, {two})"
    done = "UPDATE 2"
    if ledger == "shard":  # there only INSERT is prepared so early
        both = (f"INSERT INTO items VALUES ({one}, 'n'), ({two}, 'n') ON CONFLICT (id) DO UPDATE "
                "SET v = (10 / (length(items.v) - 1))::text")
        done = "INSERT 0 2"

    def open_one():
        if not extended:
            return stage.connect()
        return psycopg.connect(host="127.0.0.1", port=stage.braid.port, user="app", password="secret", dbname="app",
                               autocommit=True)

    def write(connection, got):
        try:
            with connection.cursor() as cursor:
                cursor.execute(both, (), binary=True) if extended else cursor.execute(both)
                got.append(cursor.statusmessage)
        except (psycopg.Error, psycopg2.Error) as e:
            got.append(e.sqlstate if extended else e.pgcode)

    def commit(holder, _):
        play(holder, ("COMMIT", "COMMIT"))

    def fail(holder, _):
        play(holder, (set_v(two, "x"), "UPDATE 1"), ("COMMIT", "COMMIT"))

    def nothing(*_):
        pass

    before = [(f"v{one}",), (f"v{two}",)]
    for before_it, stop, answer in ((None, commit, done), (None, fail, "22012"), (None, lambda _, b: b.cancel(), "57014"),
                                    ("SET statement_timeout = 700", nothing, "57014"), ("SET lock_timeout = 700", nothing, "55P03"),
                                    (None, nothing, None)):
        stage.braid.sql("UPDATE items SET v = 'v' || id")
        a, b, got = stage.connect(), open_one(), []
        play(a, ("BEGIN", None), (f"SELECT v FROM items WHERE id = {two} FOR UPDATE", None))
        if before_it:
            b.cursor().execute(before_it)
        writer = threading.Thread(target=write, args=(b, got), daemon=True)
        writer.start()
        wait_for("a part that is prepared", lambda: got or prepared_gids(stage.place))
        if answer is None:  # the client goes away
            with socket.socket(fileno=os.dup(b.fileno())) as s:
                s.shutdown(socket.SHUT_RDWR)
        else:
            stop(a, b)
        writer.join(20)
        expect_that(f"no answer: {stop}", not writer.is_alive())
        if answer is not None:
            expect("the answer", [answer], got)
        wait_for("nothing prepared", lambda: not prepared_gids(stage.place))
        say(a, "ROLLBACK")
        after = [say(a, get_v(row))[0] for row in (one, two)]
        expect(f"rows after {answer}", [("10",), ("10",)] if answer == done else
               [before[0], ("x",)] if answer == "22012" else before, after)
        a.close()
        b.close()


def prepared_gids(place):
    return [gid for server in place.servers for gid in server.sql("SELECT gid FROM pg_prepared_xacts WHERE database = 'app'", "app")]


def spread_anew(place):
    """Tables that another pgbraid spreads anew are not used by transactions that began before: their rows would go to the wrong place."""
    with Stage(place) as stage:
        a, b = stage.connect(), stage.connect()
        two = place.braid()
        other = two.connect(autocommit=True)
        console = stage.braid.connect("pgbraid", autocommit=True)

        def maps():
            return stage.braid.tail(2000).count("MAP database=app")
        for number, (declared, becomes) in enumerate((
                ("", "SHARD BY HASH (id)"), ("SHARD BY HASH (id)", "REFERENCE"), ("REFERENCE", "SHARD BY HASH (id)"),
                ("SHARD BY HASH (id)", "SHARD BY HASH (other)"), ("REFERENCE", "LOCAL"), ("SHARD BY HASH (id)", "LOCAL"))):
            anew = f"anew{number}"  # of each name the other one hears for the first time
            play(b, (f"CREATE TABLE {anew} (id bigint, other bigint) {declared}", None))
            play(a, ("BEGIN", "BEGIN"), ("SELECT count(*) > 0 FROM items", [(True,)]))
            play(b, ("CREATE TABLE beside (id bigint) REFERENCE", None))
            play(a, (f"INSERT INTO {anew} VALUES (1, 2), (2, 1), (3, 3)", "INSERT 0 3"), ("ROLLBACK", "ROLLBACK"),
                 ("BEGIN", "BEGIN"), ("SELECT count(*) > 0 FROM items", [(True,)]))
            play(other, (f"ALTER TABLE {anew} {becomes}", "ALTER TABLE"))
            before = maps()
            console.cursor().execute("RELOAD")
            wait_for("the map is read again", lambda before=before: maps() > before, 30)
            play(a, (f"INSERT INTO {anew} VALUES (1, 2)", "40001"), ("ROLLBACK", "ROLLBACK"),
                 (f"INSERT INTO {anew} VALUES (1, 2), (2, 1), (3, 3)", "INSERT 0 3"),
                 (f"SELECT count(*) FROM {anew} WHERE id = 2 AND other = 1", [(1,)]), (f"SELECT count(*) FROM {anew}", [(3,)]))
            play(b, (f"DROP TABLE {anew}, beside", "DROP TABLE"))
        for c in (a, b, other, console):
            c.close()
        place.end(two)


def run(place, report):
    report.run("transactions: NOTIFY and LISTEN wait for the commit", notify, place)
    report.run("transactions: what cannot be prepared is refused early", not_prepared, place)
    report.run("transactions: SET CONSTRAINTS, deferred checks", constraints, place)
    report.run("transactions: savepoints and shards that join late", savepoints, place)
    report.run("transactions: what stops a write of one statement", of_one_statement, place)
    report.run("transactions: SERIALIZABLE over shards by a setting", serializable, place)
    report.run("transactions: tables that are spread anew", spread_anew, place)
