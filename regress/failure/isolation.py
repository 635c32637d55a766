"""Isolation schedules: two or three sessions, their steps in many orders, on one PostgreSQL and on pgbraid over
three shards. What every step says, which ones wait, and what is in the tables afterwards must be the same.

In a step, {a} and {b} are rows of two shards, {c} and {d} two rows of the third one.
"""

import itertools
import queue
import random
import threading
import time

from report import Failed, expect, expect_that
from transactions import Stage, say

ORDERS = 4  # of each schedule; drawn, always the same ones
READ = "SELECT id, n FROM iso ORDER BY id"

# name: (steps of each session, words)
#   "any victim"   which session of a deadlock fails may differ: only the set of answers is compared
#   "leaves"       a BEFORE UPDATE trigger leaves rows whose n would be 13
SCHEDULES = {
    "lost updates are none": ([
        ["BEGIN", "UPDATE iso SET n = n + 1 WHERE id = {a}", "COMMIT"],
        ["BEGIN", "UPDATE iso SET n = n * 2 WHERE id = {a}", "COMMIT"]], ""),
    "read committed looks at the new row": ([
        ["BEGIN", "UPDATE iso SET n = 50 WHERE id = {a}", "COMMIT"],
        ["UPDATE iso SET n = n + 1 WHERE id = {a} AND n < 20 RETURNING n", "SELECT n FROM iso WHERE id = {a}"]], ""),
    "updates over all shards": ([
        ["BEGIN", "UPDATE iso SET n = n + 1 WHERE n < 20", "COMMIT"],
        ["BEGIN", "UPDATE iso SET n = 30 WHERE id = {b}", "ROLLBACK"]], ""),
    "repeatable read conflicts": ([
        ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT sum(n) FROM iso", "UPDATE iso SET n = 1 WHERE id = {b}",
         "COMMIT"],
        ["UPDATE iso SET n = n + 5 WHERE id = {b}", "UPDATE iso SET n = n + 5 WHERE id = {a}"]], ""),
    "write skew on one shard, serializable": ([
        ["BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT n FROM iso WHERE id = {d}", "UPDATE iso SET n = 0 WHERE id = {c}",
         "COMMIT"],
        ["BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT n FROM iso WHERE id = {c}", "UPDATE iso SET n = 0 WHERE id = {d}",
         "COMMIT"]], ""),
    "transfers in one order": ([
        ["BEGIN", "UPDATE iso SET n = n - 1 WHERE id = {a}", "UPDATE iso SET n = n + 1 WHERE id = {b}", "COMMIT"],
        ["BEGIN", "UPDATE iso SET n = n - 2 WHERE id = {a}", "UPDATE iso SET n = n + 2 WHERE id = {b}", "COMMIT"]], ""),
    "transfers in different orders": ([
        ["BEGIN", "UPDATE iso SET n = n - 1 WHERE id = {a}", "UPDATE iso SET n = n + 1 WHERE id = {b}", "COMMIT"],
        ["BEGIN", "UPDATE iso SET n = n - 1 WHERE id = {b}", "UPDATE iso SET n = n + 1 WHERE id = {a}", "COMMIT"]],
        "any victim"),
    "three in a ring": ([
        ["BEGIN", "UPDATE iso SET n = 1 WHERE id = {a}", "UPDATE iso SET n = 1 WHERE id = {b}", "ROLLBACK"],
        ["BEGIN", "UPDATE iso SET n = 1 WHERE id = {b}", "UPDATE iso SET n = 1 WHERE id = {c}", "ROLLBACK"],
        ["BEGIN", "UPDATE iso SET n = 1 WHERE id = {c}", "UPDATE iso SET n = 1 WHERE id = {a}", "ROLLBACK"]],
        "any victim"),
    "a read over shards beside a transfer": ([
        ["BEGIN", "UPDATE iso SET n = n - 7 WHERE id = {a}", "UPDATE iso SET n = n + 7 WHERE id = {b}", "COMMIT"],
        ["SET braid.snapshot = on", "SELECT sum(n) FROM iso", "SELECT count(*) FROM iso WHERE n > 10"]], ""),
    "repeatable read reads over shards": ([
        ["BEGIN", "UPDATE iso SET n = n - 7 WHERE id = {a}", "UPDATE iso SET n = n + 8 WHERE id = {b}", "COMMIT"],
        ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT n FROM iso WHERE id = {c}", "SELECT sum(n) FROM iso",
         "COMMIT"]], ""),
    "row locks": ([
        ["BEGIN", "SELECT n FROM iso WHERE id = {a} FOR UPDATE", "UPDATE iso SET n = 3 WHERE id = {b}", "COMMIT"],
        ["SELECT n FROM iso WHERE id = {a} FOR SHARE NOWAIT", "SELECT n FROM iso WHERE id = {a} FOR UPDATE SKIP LOCKED",
         "UPDATE iso SET n = n + 1 WHERE id = {a}"]], ""),
    "savepoints give locks back": ([
        ["BEGIN", "UPDATE iso SET n = 1 WHERE id = {a}", "SAVEPOINT s", "UPDATE iso SET n = 1 WHERE id = {b}",
         "ROLLBACK TO s", "COMMIT"],
        ["UPDATE iso SET n = n + 1 WHERE id = {b}", "UPDATE iso SET n = n + 1 WHERE id = {a}"]], ""),
    "advisory locks meet wherever the transaction is": ([
        ["BEGIN", "UPDATE iso SET n = 1 WHERE id = {a}", "SELECT pg_advisory_xact_lock(7, 8)", "COMMIT"],
        ["BEGIN", "UPDATE iso SET n = 1 WHERE id = {b}", "SELECT pg_try_advisory_xact_lock(7, 8)",
         "SELECT pg_try_advisory_xact_lock_shared(7)", "ROLLBACK"]], ""),
    "schema changes wait for writers": ([
        ["BEGIN", "INSERT INTO iso VALUES (1001, 1), (1002, 2)", "COMMIT"],
        ["ALTER TABLE iso ADD COLUMN more int", "SELECT count(*) FROM iso WHERE more IS NULL"]], ""),
    "unique keys wait for each other": ([
        ["BEGIN", "INSERT INTO iso VALUES (2001, 1)", "COMMIT"],
        ["INSERT INTO iso VALUES (2001, 2), (2002, 2)", "SELECT count(*) FROM iso"]], ""),
    "prepared transactions keep their locks": ([
        ["BEGIN", "UPDATE iso SET n = n + 1 WHERE id IN ({a}, {b})", "PREPARE TRANSACTION 'iso'",
         "COMMIT PREPARED 'iso'"],
        ["UPDATE iso SET n = n * 3 WHERE id = {b}", "SELECT sum(n) FROM iso"]], ""),
    "rows that a trigger leaves are no rows that another session has changed": ([
        ["BEGIN", "UPDATE iso SET n = 50 WHERE id = {a}", "COMMIT"],
        ["UPDATE iso SET n = 13 + (id = {b})::int WHERE id IN (SELECT id FROM iso ORDER BY id LIMIT 9) RETURNING id, n",
         "UPDATE iso SET n = 13 WHERE id IN (SELECT id FROM iso ORDER BY id LIMIT 9) RETURNING id, n"]], "leaves"),
    "a cursor's row that another session has changed": ([
        ["BEGIN", "DECLARE c CURSOR FOR SELECT id, n FROM iso WHERE id IN ({a}, {b}) ORDER BY id = {b} FOR KEY SHARE", "FETCH 1 FROM c",
         "UPDATE iso SET n = n + 1 WHERE CURRENT OF c RETURNING id, n", "COMMIT"],
        ["UPDATE iso SET n = n * 2 WHERE id = {a}"]], ""),
}
LEAVES = """CREATE OR REPLACE FUNCTION iso_leaves() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF NEW.n = 13 THEN RETURN NULL; END IF; RETURN NEW; END'"""


class Player(threading.Thread):
    """A session; says what its steps say."""

    def __init__(self, connect):
        super().__init__(daemon=True)
        self.connection = connect()
        self.steps, self.said = queue.Queue(), queue.Queue()
        self.start()

    def run(self):
        while (sql := self.steps.get()) is not None:
            self.said.put(say(self.connection, sql))

    def end(self, waits=False):
        if waits:  # it has failed: nobody may hang on its locks
            self.connection.cancel()
        self.steps.put(None)
        self.join(30)
        self.connection.close()


class Side:
    """Where a schedule is played: connections, and servers whose locks tell who waits."""

    def __init__(self, connect, servers, dbname, rows, suffix):
        self.connect, self.dbname, self.rows, self.suffix = connect, dbname, rows, suffix
        self.watchers = [server.connect(dbname) for server in servers]
        self.admin = connect()

    def someone_waits(self):
        for watcher in self.watchers:
            with watcher.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                               "WHERE NOT l.granted AND a.datname = %s", (self.dbname,))
                if cursor.fetchone()[0]:
                    return True
        return False

    def fill(self, words):
        say(self.admin, "DROP TABLE IF EXISTS iso")
        expect("CREATE TABLE", "CREATE TABLE",
               say(self.admin, f"CREATE TABLE iso (id bigint PRIMARY KEY, n int){self.suffix}"))
        values = ", ".join(f"({row}, 10)" for row in self.rows.values())
        expect("INSERT", f"INSERT 0 {len(self.rows)}", say(self.admin, f"INSERT INTO iso VALUES {values}"))
        if words == "leaves":
            expect("the function", "CREATE FUNCTION", say(self.admin, LEAVES))
            expect("the trigger", "CREATE TRIGGER",
                   say(self.admin, "CREATE TRIGGER leaves BEFORE UPDATE ON iso FOR EACH ROW EXECUTE FUNCTION iso_leaves()"))

    def play(self, sessions, order, words):
        """Lines "session step: what it said", with "waits" where it did."""
        self.fill(words)
        players = [Player(self.connect) for _ in sessions]
        at, busy, lines = [0] * len(sessions), {}, []

        def hear(wait_s):
            """Take what was said; until one of `busy` has, for so long."""
            until = time.monotonic() + wait_s
            while True:
                for number in sorted(busy):
                    if not players[number].said.empty():
                        lines.append(f"{number} {busy.pop(number)}: {players[number].said.get()}")
                        return True
                if time.monotonic() > until:
                    return False
                time.sleep(0.002)

        def settle(number):
            """Until step of `number` has ended or is known to wait."""
            begin = time.monotonic()
            while number in busy:
                if not hear(0.05) and self.someone_waits() and not hear(0.1):
                    lines.append(f"{number} waits")
                    return
                expect_that(f"{busy.get(number)} hangs", time.monotonic() - begin < 30)

        try:
            left = list(order)
            while left or busy:
                number = next((n for n in left if n not in busy), None)
                if number is None:  # whoever has steps left waits
                    expect_that(f"{busy} wait for ever; {lines}", hear(15))
                    continue
                left.remove(number)
                sql = sessions[number][at[number]].format(**self.rows)
                at[number] += 1
                busy[number] = sql
                players[number].steps.put(sql)
                settle(number)
                while busy and hear(0.05):
                    pass
        finally:
            for player in players:
                player.end(players.index(player) in busy)
        lines.append(f"rows: {say(self.admin, READ)}")
        return lines

    def end(self):
        say(self.admin, "DROP TABLE IF EXISTS iso")
        say(self.admin, "DROP FUNCTION IF EXISTS iso_leaves()")
        for c in (*self.watchers, self.admin):
            c.close()


def orders_of(sessions, name):
    """Some of the ways in which the steps can follow each other; those of one session keep their order."""
    rng = random.Random(name)
    steps = [number for number, session in enumerate(sessions) for _ in session]
    some = {tuple(sorted(steps)), tuple(sorted(steps, reverse=True))}
    possible = len(set(itertools.islice(itertools.permutations(steps), 5000)))
    while len(some) < min(ORDERS, possible):
        rng.shuffle(steps)
        some.add(tuple(steps))
    return sorted(some)


def as_set(lines):
    """Without who waited, and without which of the sessions it was."""
    return sorted(line.split(": ", 1)[1] for line in lines if ": " in line and not line.startswith("rows"))


def by_session(lines):
    """An answer and what it sets free come at the same time: only the order within each session counts."""
    return sorted(lines, key=lambda line: line[0])


def compare(sides, name, sessions, words):
    one, many = sides
    for order in orders_of(sessions, name):
        expected, got = (side.play(sessions, order, words) for side in (one, many))
        change = as_set if words == "any victim" else by_session
        expected, got = change(expected), change(got)
        if expected != got:
            both = "\n".join(f"  {x!s:70} | {y}" for x, y in itertools.zip_longest(expected, got, fillvalue=""))
            raise Failed(f"order {order}: PostgreSQL | pgbraid\n{both}")


def run(place, report):
    if report.only and report.only not in "isolation: " and not report.only.startswith("isolation"):
        return
    with Stage(place) as stage:
        a, b = place.row_on(1), place.row_on(2)
        c = place.row_on(0)
        rows = {"a": a, "b": b, "c": c, "d": place.row_on(0, unlike=(c,))}
        server = place.servers[0]
        sides = [Side(lambda: server.connect("plain", user="app", host="127.0.0.1"), [server], "plain", rows, ""),
                 Side(stage.connect, place.servers, "app", rows, " SHARD BY HASH (id)")]
        for name, (sessions, words) in SCHEDULES.items():
            report.run(f"isolation: {name}", compare, sides, name, sessions, words)
        for side in sides:
            side.end()
