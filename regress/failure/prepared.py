"""PREPARE TRANSACTION of clients, over shards: one name, all shards or none, whoever dies in between."""

import random
import signal
import threading
import time

import psycopg2

from report import expect, expect_that
from place import wait_for
from snapshot import Holder
from transactions import Stage, get_v, play, say, set_v

PARTS = "SELECT gid FROM pg_prepared_xacts WHERE database = 'app' ORDER BY gid"


def prepared(place):
    """Names on each server."""
    return [[gid for gid, in server.sql(PARTS, "app")] for server in place.servers]


def nothing_left(place, what):
    wait_for(f"{what}: nothing is left prepared", lambda: prepared(place) == [[], [], []], 20)


def life(place):
    with Stage(place) as stage:
        home, one, two = stage.rows
        a, b = stage.connect(), stage.connect()
        name = "it's: a %s name"
        text = name.replace("'", "''")
        play(a, ("BEGIN", None), (set_v(one, "p"), "UPDATE 1"), (set_v(two, "p"), "UPDATE 1"), (get_v(home), None),
             (f"PREPARE TRANSACTION '{text}'", "PREPARE TRANSACTION"), (get_v(one), [(f"v{one}",)]),
             ("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()", [(name,)]))
        play(b, ("SET lock_timeout = '200ms'", None), (set_v(two, "b"), "55P03"), ("RESET lock_timeout", None))
        expect("parts", [1, 1, 1], [len(names) for names in prepared(place)])
        a.close()
        b.close()
        # whoever is restarted
        stage.braid.restart()
        for server in place.servers:
            server.restart()
        stage.braid.wait_healthy()
        wait_for("all servers answer", lambda: stage.braid.sql("SELECT count(*) FROM items") == [(300,)])
        time.sleep(0.5)
        expect("still there", [1, 1, 1], [len(names) for names in prepared(place)])
        a = stage.connect()
        play(a, ("BEGIN", None), (f"COMMIT PREPARED '{text}'", "25001"), ("ROLLBACK", None),
             (f"COMMIT PREPARED '{text}'", "COMMIT PREPARED"), (get_v(one), [("p",)]), (get_v(two), [("p",)]),
             (f"COMMIT PREPARED '{text}'", "42704"), (f"ROLLBACK PREPARED '{text}'", "42704"))
        play(a, ("BEGIN", None), (set_v(home, "q"), None), (set_v(one, "q"), None), ("PREPARE TRANSACTION 'q'", None),
             ("ROLLBACK PREPARED 'q'", "ROLLBACK PREPARED"), (get_v(home), [(f"v{home}",)]), (get_v(one), [("p",)]))
        a.close()


def refusals(place):
    with Stage(place) as stage:
        _, one, two = stage.rows
        a = stage.connect()
        play(a, ("PREPARE TRANSACTION 'x'", "ROLLBACK"), ("BEGIN", None), ("SELECT 1/0", "22012"),
             ("PREPARE TRANSACTION 'x'", "ROLLBACK"), ("SELECT 1", [(1,)]),
             ("BEGIN", None), (set_v(one, "x"), None), ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
             ("BEGIN", None), (set_v(two, "x"), None), ("PREPARE TRANSACTION 'x'", "42710"),
             (get_v(two), [(f"v{two}",)]), ("COMMIT PREPARED 'x'", "COMMIT PREPARED"), (get_v(one), [("x",)]))
        for sql in ("PREPARE TRANSACTION 'pgbraid_1'", f"PREPARE TRANSACTION '{'x' * 126}'"):
            play(a, ("BEGIN", None), (set_v(one, "y"), None), (sql, "22023"), ("SELECT 1", [(1,)]),
                 ("BEGIN", None), ("ROLLBACK", None))
        play(a, ("BEGIN", None), ("NOTIFY x", None), (set_v(one, "y"), None), ("PREPARE TRANSACTION 'n'", "0A000"),
             (get_v(one), [("x",)]), ("BEGIN", None), (f"PREPARE TRANSACTION '{'x' * 125}'", "PREPARE TRANSACTION"),
             (f"ROLLBACK PREPARED '{'x' * 125}'", "ROLLBACK PREPARED"), (get_v(one), [("x",)]))
        a.close()


def leftovers(place):
    """What a pgbraid that died leaves behind: home's commit log says what becomes of it."""
    with Stage(place) as stage:
        home, one, _ = stage.rows
        server, other = place.servers[0], place.servers[1]
        system = server.sql("SELECT system_identifier FROM pg_control_system()", "app")[0][0]

        def part(end, name, of=None):
            """A part on shard 1 that names a transaction of home which ended so."""
            c = server.connect("app", user="app", host="127.0.0.1")
            cur = c.cursor()
            cur.execute("BEGIN")
            cur.execute("SELECT txid_current()")
            xid = cur.fetchone()[0]
            cur.execute(end)
            gid = f"pgbraid_user_{of or system:016x}_{xid}_1_0:{name}"
            o = other.connect("app", user="app", host="127.0.0.1")
            ocur = o.cursor()
            ocur.execute("BEGIN")
            ocur.execute("UPDATE items SET v = %s WHERE id = %s", (name, one))
            ocur.execute("PREPARE TRANSACTION %s", (gid,))
            o.close()
            return c

        def after_a_look(what):
            stage.braid.restart()
            time.sleep(0.3)
            nothing_left(place, what)

        part("COMMIT", "left").close()
        after_a_look("home has committed")
        expect("then so is the part", [("left",)], stage.braid.sql(get_v(one)))
        part("ROLLBACK", "gone").close()
        after_a_look("home has rolled back")
        expect("then so is the part", [("left",)], stage.braid.sql(get_v(one)))
        c = part("SELECT 1", "open")
        stage.braid.restart()
        time.sleep(1.5)
        expect("home is at it still", 1, len(prepared(place)[1]))
        c.cursor().execute("PREPARE TRANSACTION 'open'")
        stage.braid.restart()
        time.sleep(1.5)
        expect("home has prepared", [1, 1, 0], [len(n) for n in prepared(place)])
        expect("its part is found by any pgbraid", "COMMIT PREPARED",
               say(c2 := stage.connect(), "COMMIT PREPARED 'open'"))
        c2.close()
        c.close()
        expect("and committed", [("open",)], stage.braid.sql(get_v(one)))
        part("COMMIT", "foreign", of=12345).close()
        stage.braid.restart()
        time.sleep(1.5)
        names = prepared(place)[1]
        expect("another home's part is left alone", 1, len(names))
        other.sql(f"ROLLBACK PREPARED '{names[0]}'", "app")


def cut(place):
    """The shard is lost when it should commit its part: home has decided."""
    holders = [Holder(server.port) for server in place.servers]
    try:
        braid = place.braid(servers=holders, txn={"recover_interval_ms": 100})
        one, two = place.row_on(1), place.row_on(2)
        c = braid.connect(autocommit=True)
        play(c, ("BEGIN", None), (set_v(one, "cut"), None), (set_v(two, "cut"), None),
             ("PREPARE TRANSACTION 'cut'", "PREPARE TRANSACTION"))
        holders[2].hold = holders[2].cut_held = True
        expect("home has decided", "COMMIT PREPARED", say(c, "COMMIT PREPARED 'cut'"))
        holders[2].hold = holders[2].cut_held = False
        nothing_left(place, "recovery goes on")
        expect("both", [("cut",), ("cut",)], braid.sql(f"SELECT v FROM items WHERE id IN ({one}, {two})"))
        braid.sql("UPDATE items SET v = 'v' || id")
        c.close()
        place.end(braid)
    finally:
        for holder in holders:
            holder.close()


def killed(place, kills=6):
    """kill -9 of pgbraid while clients prepare and commit transfers: the sum stays, what was acknowledged is there."""
    rng = random.Random(5)
    braid = place.braid(txn={"recover_interval_ms": 100})
    braid.sql("CREATE TABLE money (id bigint PRIMARY KEY, n bigint NOT NULL) SHARD BY HASH (id)")
    braid.sql("INSERT INTO money VALUES " + ", ".join(f"({i}, 100)" for i in range(1, 31)))
    braid.sql("CREATE TABLE done (id text PRIMARY KEY) SHARD BY HASH (id)")
    told, stop = set(), threading.Event()

    def teller(number):
        mine = random.Random(number)
        turn = 0
        while not stop.is_set():
            try:
                c = braid.connect(autocommit=True)
                while not stop.is_set():
                    turn += 1
                    name = f"t{number}_{turn}"
                    x, y = sorted(mine.sample(range(1, 31), 2))
                    cur = c.cursor()
                    cur.execute("BEGIN")
                    cur.execute(f"UPDATE money SET n = n - 1 WHERE id = {x}")
                    cur.execute(f"UPDATE money SET n = n + 1 WHERE id = {y}")
                    cur.execute(f"INSERT INTO done VALUES ('{name}')")
                    cur.execute(f"PREPARE TRANSACTION '{name}'")
                    if mine.random() < 0.8:
                        cur.execute(f"COMMIT PREPARED '{name}'")
                        told.add(name)
                    else:
                        cur.execute(f"ROLLBACK PREPARED '{name}'")
            except psycopg2.Error:
                time.sleep(0.02)

    threads = [threading.Thread(target=teller, args=(i,), daemon=True) for i in range(4)]
    for t in threads:
        t.start()
    for _ in range(kills):
        time.sleep(rng.uniform(0.2, 0.9))
        braid.process.send_signal(signal.SIGKILL)
        braid.process.wait()
        braid.start()
        for name in prepared(place)[0]:  # what nobody will end any more; some may be under way again
            if not name.startswith("pgbraid_"):
                c = braid.connect(autocommit=True)
                if say(c, f"COMMIT PREPARED '{name}'") == "COMMIT PREPARED":
                    told.add(name)
                c.close()
    stop.set()
    for t in threads:
        t.join(30)
    c = braid.connect(autocommit=True)
    for name in prepared(place)[0]:
        if not name.startswith("pgbraid_"):
            play(c, (f"ROLLBACK PREPARED '{name}'", "ROLLBACK PREPARED"))
    nothing_left(place, f"after {kills} kills")
    expect("the sum", [(3000,)], braid.sql("SELECT sum(n) FROM money"))
    there = {row for row, in braid.sql("SELECT id FROM done")}
    expect("acknowledged but not there", set(), told - there)
    expect_that(f"only {len(told)} transfers", len(told) > 5)
    c.close()
    braid.sql("DROP TABLE money")
    braid.sql("DROP TABLE done")
    place.end(braid)


def run(place, report):
    report.run("prepared: one name over shards, restarts", life, place)
    report.run("prepared: refusals", refusals, place)
    report.run("prepared: what a dead pgbraid left behind", leftovers, place)
    report.run("prepared: a shard lost in COMMIT PREPARED", cut, place)
    report.run("prepared: kill -9 under load", killed, place)
