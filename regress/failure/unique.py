"""Global unique indexes: exactly one of several writers gets a value, whatever is killed; nothing gets past the lookup table."""

import random
import signal
import subprocess
import threading
import time

import psycopg2

from braid import build_dir
from place import TABLES, code_of, wait_for
from report import expect, expect_that
from workspace import Calm, auto

SESSIONS = 6
VALUES = 25


def make(c):
    with c.cursor() as cur:
        cur.execute("DROP TABLE IF EXISTS people")
        cur.execute("CREATE TABLE people (id bigint PRIMARY KEY, email text, n int) SHARD BY HASH (id)")
        cur.execute("CREATE UNIQUE INDEX people_email ON people (email) /* braid: global */")


def same(place):
    """Rows and lookup table, asked of the servers; returns the rows."""
    rows, seen = [], []
    for s in place.servers:
        rows += s.sql("SELECT email, id FROM people WHERE email IS NOT NULL", "app")
        seen += s.sql("SELECT email, id FROM braid.unique_people_email", "app")
        expect("notes that nobody took", [(0,)], s.sql("SELECT count(*) FROM braid.unique_changes", "app"))
    without, alone = sorted(set(rows) - set(seen)), sorted(set(seen) - set(rows))
    expect_that(f"the lookup table has what the rows have: rows without {without}, values without a row {alone}",
                sorted(rows) == sorted(seen))
    expect("each value once", len(rows), len({email for email, _ in rows}))
    return rows


def verify(place, braid, finds=None):
    """`braidctl verify` finds every row of both tables where it belongs, and the same in both, or says what is wrong."""
    done = subprocess.run([f"{build_dir(place.build)}/braidctl", "-c", f"{braid.folder}/pgbraid.yaml", "verify", "app"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    expect_that(f"verify: {done.returncode} {done.stdout[-500:]}", (done.returncode == 0) == (finds is None))
    expect_that(f"verify: {done.stdout[-500:]}", finds is None or finds in done.stdout)
    expect_that(f"the lookup table is looked at: {done.stdout[-500:]}", "unique_people_email" in done.stdout)


def check_schema(place, braid):
    done = subprocess.run([f"{build_dir(place.build)}/braidctl", "-c", f"{braid.folder}/pgbraid.yaml", "schema", "check"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    expect(f"schema check: {done.stdout[-500:]}", 0, done.returncode)


def threads_of(count, work):
    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    expect("threads that hang", 0, sum(t.is_alive() for t in threads))


def test_race(place):
    """Through two pgbraids at once."""
    with Calm(place) as one:
        c = auto(one)
        make(c)
        two = place.braid()
        codes, lock = {}, threading.Lock()

        def work(number):
            mine = auto((one, two)[number % 2])
            with mine.cursor() as cur:
                for v in range(VALUES):
                    code = code_of(lambda v=v: cur.execute("INSERT INTO people VALUES (%s, %s)", (number * 1000 + v, f"v{v}")))
                    with lock:
                        codes.setdefault(v, []).append(code)
            mine.close()
        threads_of(SESSIONS, work)
        for v in range(VALUES):
            expect(f"one gets v{v}", ["00000"] + ["23505"] * (SESSIONS - 1), sorted(codes[v]))
        expect("rows", VALUES, len(same(place)))
        verify(place, one)
        server = next(s for s in place.servers if s.sql("SELECT 1 FROM people", "app"))
        # by hand, with the trigger off
        server.sql("ALTER TABLE people DISABLE TRIGGER braid_people_email_update", "app")
        server.sql("UPDATE people SET email = email || '!' WHERE id = (SELECT min(id) FROM people)", "app")
        server.sql("ALTER TABLE people ENABLE ALWAYS TRIGGER braid_people_email_update", "app")
        verify(place, one, finds="unique_people_email: has not")
        server.sql("ALTER TABLE people DISABLE TRIGGER braid_people_email_update", "app")
        server.sql("UPDATE people SET email = left(email, -1) WHERE email LIKE '%%!'", "app")
        server.sql("ALTER TABLE people ENABLE ALWAYS TRIGGER braid_people_email_update", "app")
        verify(place, one)
        check_schema(place, one)
        c.close()
        place.end(two)


def test_wait(place):
    """The second one waits for the first, and gets the value when that is rolled back."""
    with Calm(place) as braid:
        c, other = auto(braid), auto(braid)
        make(c)
        for first, end, code in ((1, "COMMIT", "23505"), (3, "ROLLBACK", "00000")):
            with c.cursor() as cur:
                cur.execute("BEGIN")
                cur.execute("INSERT INTO people VALUES (%s, %s)", (first, end))
                got = []

                def second(first=first, end=end, got=got):
                    with other.cursor() as theirs:
                        got.append(code_of(lambda: theirs.execute("INSERT INTO people VALUES (%s, %s)", (first + 1, end))))
                t = threading.Thread(target=second, daemon=True)
                t.start()
                wait_for("it waits", lambda: any(s.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                                                 for s in place.servers), 30)
                cur.execute(end)
                t.join(60)
            expect(f"after {end}", [code], got)
        same(place)
        c.close()
        other.close()


def test_on_its_way(place):
    """A value whose transaction has committed where its row is, and not yet where the value is, is waited for."""
    with Calm(place) as braid:
        c = auto(braid)
        make(c)
        with c.cursor() as cur:
            cur.execute("INSERT INTO people SELECT i, 'w' || i FROM generate_series(1, 30) i")
        ways = ("DELETE FROM people WHERE id = %s", "UPDATE people SET email = email || '!' WHERE id = %s",
                "UPDATE people SET email = NULL WHERE id = %s", "UPDATE people SET id = id + 100 WHERE id = %s")
        for number, way in enumerate(ways):
            server, row = next((s, rows[0]) for s in place.servers for rows in [s.sql(
                "SELECT u.email, u.id FROM braid.unique_people_email u WHERE NOT EXISTS (SELECT FROM people p WHERE p.id = u.id)",
                "app")] if rows)
            server.sql("DELETE FROM braid.unique_people_email WHERE email = %s", "app", (row[0],))
            behind = server.connect("app")
            with behind.cursor() as cur:
                cur.execute("BEGIN")
                cur.execute("INSERT INTO braid.unique_people_email VALUES (%s, %s)", row)
                cur.execute(f"PREPARE TRANSACTION 'behind {number}'")
            got = []

            def work(way=way, got=got, row=row):
                with c.cursor() as cur:
                    got.append(code_of(lambda: cur.execute(way, (row[1],))))
            t = threading.Thread(target=work, daemon=True)
            t.start()
            wait_for("it waits", lambda got=got, server=server: got or server.sql(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), 30)
            expect(f"{way}: not before the value is there", [], got)
            with behind.cursor() as cur:
                cur.execute(f"COMMIT PREPARED 'behind {number}'")
            behind.close()
            t.join(60)
            expect(way, ["00000"], got)
            same(place)
        c.close()


def test_renewed(place):
    """Functions of an index that an earlier pgbraid has made are made anew."""
    with Calm(place) as braid:
        c = auto(braid)
        make(c)
        c.close()
        for server in place.servers:
            server.sql("COMMENT ON FUNCTION braid.unique_take() IS 'pgbraid unique 1'", "app")
            server.sql("CREATE OR REPLACE FUNCTION braid.unique_people_email(gone text, come text, building boolean) RETURNS void "
                       "LANGUAGE sql AS 'SELECT'", "app")
        place.end(place.braid())
        braid.sql("INSERT INTO people SELECT i, 'n' || i FROM generate_series(1, 30) i")
        expect("rows", 30, len(same(place)))


def test_upsert(place):
    """ON CONFLICT counts every new row once, whoever else writes the same value."""
    with Calm(place) as braid:
        c = auto(braid)
        make(c)
        counted, lock = {}, threading.Lock()

        def work(number):
            mine = auto(braid)
            with mine.cursor() as cur:
                for i in range(VALUES):
                    email = f"u{i % 5}"
                    code = code_of(lambda i=i, email=email: cur.execute(
                        "INSERT INTO people VALUES (%s, %s, 1) ON CONFLICT (email) DO UPDATE SET n = people.n + 1",
                        (number * 1000 + i, email)))
                    expect_that(f"done, or to be repeated: {code}", code in ("00000", "40001"))
                    with lock:
                        counted[email] = counted.get(email, 0) + (code == "00000")
            mine.close()
        threads_of(SESSIONS, work)
        with c.cursor() as cur:
            cur.execute("SELECT email, n FROM people ORDER BY email")
            expect("every one that was answered, once", sorted(counted.items()), cur.fetchall())
        same(place)
        verify(place, braid)
        c.close()


def test_configured(place):
    """global_unique of the configuration: a tool's own statement makes such an index, any other is refused."""
    shards = {f"shard{i}": {"primary": f"s{i}"} for i in range(len(place.servers))}
    tables = {**TABLES, "clubs": {"hash": ["id"], "global_unique": ["name", "town, street"]}}
    with Calm(place, databases={"app": {"dbname": "app", "shards": shards, "tables": tables}}) as braid:
        c = auto(braid)
        with c.cursor() as cur:
            cur.execute("CREATE TABLE clubs (id bigint PRIMARY KEY, name text, town text, street text)")
            cur.execute("CREATE UNIQUE INDEX clubs_name ON clubs USING btree (name)")
            cur.execute("CREATE UNIQUE INDEX clubs_place ON clubs (street, town)")
            for columns in ("town", "name, town", "town, street, name", "lower(name)"):
                expect(columns, "0A000", code_of(lambda x=columns: cur.execute(f"CREATE UNIQUE INDEX other ON clubs ({x})")))
            cur.execute("INSERT INTO clubs SELECT g, 'c' || g, 't', 's' || g FROM generate_series(1, 9) g")
            for row in ("10, 'c3', 't', 's10'", "11, 'c11', 't', 's4'"):
                expect(row, "23505", code_of(lambda x=row: cur.execute(f"INSERT INTO clubs VALUES ({x})")))
            cur.execute("DROP TABLE clubs")
        c.close()


def test_past_pgbraid(place):
    """What pgbraid does not see is refused by the server, by whatever way it comes."""
    with Calm(place) as braid:
        c = auto(braid)
        make(c)
        with c.cursor() as cur:
            cur.execute("INSERT INTO people SELECT i, 'p' || i FROM generate_series(1, 30) i")
            cur.execute("CREATE FUNCTION add_one(who bigint, what text) RETURNS void LANGUAGE plpgsql AS "
                        "$$ BEGIN INSERT INTO people VALUES (who, what); END $$")
            expect("a function", "0A000", code_of(lambda: cur.execute("SELECT add_one(99, 'p1')")))
            expect("its notes are not for clients", "0A000", code_of(lambda: cur.execute("SELECT * FROM braid.unique_take()")))
            expect("nor is the other end", "0A000",
                   code_of(lambda: cur.execute("SELECT braid.unique_people_email('', '[]', false)")))
            cur.execute("BEGIN")
            cur.execute("SET CONSTRAINTS ALL IMMEDIATE")
            expect("at once is too early", "0A000", code_of(lambda: cur.execute("INSERT INTO people VALUES (99, 'x')")))
            cur.execute("ROLLBACK")
            cur.execute("DROP FUNCTION add_one")
        server = next(s for s in place.servers if s.sql("SELECT 1 FROM people WHERE id = 1", "app"))
        for statement in ("INSERT INTO people VALUES (1000, 'past')", "DELETE FROM people WHERE id = 1",
                          "UPDATE people SET email = 'past' WHERE id = 1"):
            expect(statement, "0A000", code_of(lambda s=statement: server.sql(s, "app")))
        server.sql("UPDATE people SET n = 5 WHERE id = 1", "app")
        expect("rows", 30, len(same(place)))
        c.close()


def test_look_up(place):
    """One shard is asked by those who may read the table; a row that is on its way loses no update."""
    with Calm(place) as braid:
        c = auto(braid)
        make(c)
        with c.cursor() as cur:
            cur.execute("INSERT INTO people SELECT i, 'p' || i, 0 FROM generate_series(1, 30) i")
            cur.execute("EXPLAIN SELECT n FROM people WHERE email = 'p7'")
            expect_that("EXPLAIN says so", cur.fetchone()[0].startswith("Look up in people_email"))
            for server in place.servers:
                server.sql("CREATE ROLE looker")
                server.sql("GRANT looker TO app")
            for grant, code in ((None, "42501"), ("SELECT (email, n)", "00000"), ("SELECT", "00000")):
                if grant is not None:
                    cur.execute(f"GRANT {grant} ON people TO looker")
                cur.execute("SET ROLE looker")
                got = code_of(lambda: cur.execute("SELECT n FROM people WHERE email = 'p7'"))
                expect(f"with {grant}", code, got)
                if got == "00000":
                    expect("its row", [(0,)], cur.fetchall())
                cur.execute("RESET ROLE")
            cur.execute("ALTER TABLE people ENABLE ROW LEVEL SECURITY")
            cur.execute("SET ROLE looker")
            cur.execute("SELECT n FROM people WHERE email = 'p7'")
            expect("row security", [], cur.fetchall())
            cur.execute("RESET ROLE")
            cur.execute("ALTER TABLE people DISABLE ROW LEVEL SECURITY")
            cur.execute("REVOKE ALL ON people FROM looker")
            for server in place.servers:
                server.sql("DROP ROLE looker")
        counted, lock = [], threading.Lock()

        def work(number):
            mine = auto(braid)
            with mine.cursor() as cur:
                for _ in range(40):
                    if number == 0:
                        code_of(lambda: cur.execute("UPDATE people SET id = id + 1 WHERE email = 'p30'"))
                    elif code_of(lambda: cur.execute("UPDATE people SET n = n + 1 WHERE email = 'p30'")) == "00000":
                        with lock:
                            counted.append(cur.rowcount)
            mine.close()
        threads_of(SESSIONS, work)
        with c.cursor() as cur:
            cur.execute("SELECT n FROM people WHERE email = 'p30'")
            expect("every update that was answered, once", [(sum(counted),)], cur.fetchall())
        expect("rows", 30, len(same(place)))
        c.close()


class Writer(threading.Thread):
    """Inserts, updates and deletes of its own ids until the connection breaks; `state` is what was answered,
    `doubt` the ids of statements that may have been done or not."""

    def __init__(self, braid, number, seed):
        super().__init__(daemon=True)
        self.braid, self.number, self.random = braid, number, random.Random(seed)
        self.state, self.doubt, self.done = {}, set(), False

    def run(self):
        try:
            c = self.braid.connect()
        except psycopg2.Error:
            return
        with c.cursor() as cur:
            while not self.done:
                who = self.number * 100 + self.random.randrange(20)
                email = f"{self.number}-{self.random.randrange(30)}"
                try:
                    if who not in self.state:
                        cur.execute("INSERT INTO people VALUES (%s, %s)", (who, email))
                        self.state[who] = email
                    elif self.random.randrange(3):
                        cur.execute("UPDATE people SET email = %s WHERE id = %s", (email, who))
                        self.state[who] = email
                    else:
                        cur.execute("DELETE FROM people WHERE id = %s", (who,))
                        del self.state[who]
                except psycopg2.Error as e:
                    if e.pgcode != "23505":
                        self.doubt.add(who)
                    if c.closed:
                        return
        c.close()


def prepared(place):
    return [gid for s in place.servers for (gid,) in s.sql("SELECT gid FROM pg_prepared_xacts WHERE database = 'app'")]


def test_kill(place):
    """Of the proxy and of servers in the middle of writes: rows and lookup table go together."""
    with Calm(place, txn={"recover_interval_ms": 200}) as braid:
        c = auto(braid)
        make(c)
        c.close()
        draw = random.Random(7)
        for kill in range(4):
            wait_for("all servers take part again", lambda: code_of(lambda: braid.sql("DELETE FROM people")) == "00000", 60)
            writers = [Writer(braid, i, kill * 10 + i) for i in range(SESSIONS)]
            for w in writers:
                w.start()
            time.sleep(draw.uniform(0.2, 0.6))
            if kill % 2 == 0:
                braid.process.kill()
                braid.process.wait()
                braid.start(seconds=60)
            else:
                server = place.servers[kill % 3]
                server.signal_all(signal.SIGKILL)
                while server.pid() is not None:
                    time.sleep(0.01)
                server.start()
                braid.wait_healthy(60)
            for w in writers:
                w.done = True
            for w in writers:
                w.join(60)
            wait_for("nothing is left prepared", lambda: not prepared(place), 60)
            rows = {who: email for email, who in same(place)}
            for w in writers:
                for who, email in w.state.items():
                    expect_that(f"what was answered is there: {who}, {email}", who in w.doubt or rows.get(who) == email)
        verify(place, braid)


TESTS = (test_race, test_wait, test_on_its_way, test_renewed, test_upsert, test_configured, test_past_pgbraid, test_look_up, test_kill)


def run(place, report):
    for test in TESTS:
        report.run(f"unique: {test.__name__[5:]}", test, place)
