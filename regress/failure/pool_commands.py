"""The console's commands over pools, while clients work and wait. Called by pools.py."""

import os
import signal
import subprocess
import threading
import time

import psycopg2

from braid import build_dir
from pg import free_ports
from place import expect_error, wait_for
from report import expect, expect_that


def console(braid, words, user="app"):
    return braid.sql(words, "pgbraid", user=user)


def run(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


class Load:
    """Clients that run small transactions until they are told to stop; what went wrong."""

    def __init__(self, braid, count=4, databases=("one", "two")):
        self.errors = []
        self.done = [0] * count
        self.stop = threading.Event()
        self.threads = []
        for i in range(count):
            t = threading.Thread(target=self.work, args=(braid, i, databases[i % len(databases)]),
                                 daemon=True)
            t.start()
            self.threads.append(t)

    def work(self, braid, i, dbname):
        try:
            c = braid.connect(dbname, "amy")
            while not self.stop.is_set():
                run(c, "BEGIN")
                run(c, "SELECT pg_sleep(0.005)")
                run(c, "COMMIT")
                self.done[i] += 1
            c.close()
        except psycopg2.Error as e:
            self.errors.append(f"{dbname}: {e}")

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(20)


def column(braid, show, key, name):
    """The value of a column in the row whose first column is `key`."""
    c = braid.connect("pgbraid", "app")
    with c.cursor() as cursor:
        cursor.execute(show)
        at = [d.name for d in cursor.description].index(name)
        found = [row[at] for row in cursor.fetchall() if row[0] == key]
    c.close()
    return found[0] if found else None


def test_pause(pools):
    """PAUSE returns when every server connection is closed; RESUME lets all go on."""
    braid = pools.braid(pool={"query_wait_ms": 1000})
    load = Load(braid)
    time.sleep(0.3)
    for _ in range(3):
        console(braid, "PAUSE")
        expect("nothing is open", 0, pools.open_count())
        expect("state", "yes", column(braid, "SHOW STATE", "paused", "value"))
        expect_error("twice", "55000", lambda: console(braid, "PAUSE"))
        time.sleep(0.1)
        expect("still nothing", 0, pools.open_count())
        console(braid, "RESUME")
        before = sum(load.done)
        wait_for("they go on", lambda b=before: sum(load.done) > b, 5)
    expect_error("once is enough", "55000", lambda: console(braid, "RESUME"))
    console(braid, "PAUSE")
    time.sleep(1.3)  # longer than query_wait_ms: in PAUSE they wait for RESUME
    console(braid, "RESUME")
    load.end()
    expect("errors", [], load.errors)
    pools.end(braid)


def test_pause_one(pools):
    """One database waits, the other does not; new clients wait, too."""
    braid = pools.braid()
    load = Load(braid)
    time.sleep(0.2)
    console(braid, "PAUSE one")
    expect("paused", 1, column(braid, "SHOW DATABASES", "one", "paused"))
    expect("not the other", 0, column(braid, "SHOW DATABASES", "two", "paused"))
    expect("closed", 0, pools.open_count(datname="one"))
    before = load.done[1]
    wait_for("the other goes on", lambda: load.done[1] > before + 3, 5)
    late = threading.Thread(target=lambda: braid.sql("SELECT 1", "one"), daemon=True)
    late.start()
    time.sleep(0.2)
    expect_that("a new client waits", late.is_alive())
    expect_error("no such database", "3D000", lambda: console(braid, "PAUSE nothing"))
    console(braid, "RESUME one")
    late.join(5)
    expect_that("until RESUME", not late.is_alive())
    load.end()
    expect("errors", [], load.errors)
    pools.end(braid)


def test_pause_waits(pools):
    """It waits for the end of a transaction, does not hold the console up, and can be given up."""
    braid = pools.braid()
    c = braid.connect("one", "amy", autocommit=False)
    run(c, "SELECT 1")
    admin = braid.connect("pgbraid", "app")
    outcome = []

    def pause():
        try:
            run(admin, "PAUSE")
            outcome.append("paused")
        except psycopg2.Error as e:
            outcome.append(e.pgcode)
    t = threading.Thread(target=pause, daemon=True)
    t.start()
    wait_for("it has begun", lambda: column(braid, "SHOW STATE", "paused", "value") == "yes")
    expect("the transaction goes on", [(2,)], run(c, "SELECT 2"))
    expect("it still waits", [], outcome)
    admin.cancel()
    t.join(5)
    expect("given up", ["57014"], outcome)
    expect("and taken back", "no", column(braid, "SHOW STATE", "paused", "value"))
    t = threading.Thread(target=pause, daemon=True)
    t.start()
    wait_for("it has begun", lambda: column(braid, "SHOW STATE", "paused", "value") == "yes")
    c.commit()
    t.join(5)
    expect("done with the transaction", ["57014", "paused"], outcome)
    console(braid, "RESUME")
    expect("all is well", [(1,)], run(c, "SELECT 1"))
    c.close()
    gone = braid.connect("one", "amy", autocommit=False)
    run(gone, "SELECT 1")
    binary = os.path.join(build_dir(pools.build), "braidctl")
    p = subprocess.Popen([binary, "-c", braid.path, "pause"], stdout=subprocess.DEVNULL)
    wait_for("braidctl waits", lambda: column(braid, "SHOW STATE", "paused", "value") == "yes")
    p.kill()
    p.wait()
    wait_for("who has gone waits no more",
             lambda: column(braid, "SHOW STATE", "paused", "value") == "no", 5)
    gone.close()
    pools.end(braid)


def test_pause_shards(pools):
    """A transaction over shards is not cut in two."""
    second = pools.small
    braid = pools.braid(databases={"one": {"shards": {"a": {"primary": "s0"}, "b": {"primary": "s1"}},
                                           "tables": {"split": {"hash": ["id"]}}}},
                        servers={"s0": {"host": "127.0.0.1", "port": pools.server.port},
                                 "s1": {"host": "127.0.0.1", "port": second.port}},
                        pool={"size": 2})
    braid.sql("CREATE TABLE split (id int PRIMARY KEY, v int)", "one")
    braid.sql("INSERT INTO split SELECT i, 0 FROM generate_series(1, 40) AS i", "one") \
        if False else [braid.sql(f"INSERT INTO split VALUES ({i}, 0)", "one") for i in range(1, 21)]
    c = braid.connect("one", autocommit=False)
    run(c, "UPDATE split SET v = 1 WHERE id = 1")
    done = threading.Thread(target=lambda: console(braid, "PAUSE"), daemon=True)
    done.start()
    wait_for("it has begun", lambda: column(braid, "SHOW STATE", "paused", "value") == "yes")
    for i in range(2, 21):
        run(c, f"UPDATE split SET v = 1 WHERE id = {i}")
    c.commit()
    done.join(10)
    expect_that("PAUSE waited for the commit", not done.is_alive())
    for server in (pools.server, second):
        expect("nothing prepared is left", [(0,)], server.sql("SELECT count(*) FROM pg_prepared_xacts"))
    console(braid, "RESUME")
    expect("all of it is there", [(20,)], braid.sql("SELECT sum(v) FROM split", "one"))
    c.close()
    braid.sql("DROP TABLE split", "one")
    pools.end(braid)


def test_reconnect(pools):
    """Every connection is replaced when it comes free; WAIT_CLOSE waits for the last."""
    braid = pools.braid()
    c = braid.connect("one", "amy", autocommit=False)
    pid = run(c, "SELECT pg_backend_pid()")
    load = Load(braid, 2, ("one",))
    time.sleep(0.2)
    console(braid, "RECONNECT one")
    waits = threading.Thread(target=lambda: console(braid, "WAIT_CLOSE one"), daemon=True)
    waits.start()
    time.sleep(0.4)
    expect_that("a transaction is waited for", waits.is_alive())
    expect("and keeps its connection", pid, run(c, "SELECT pg_backend_pid()"))
    c.commit()
    waits.join(5)
    expect_that("done", not waits.is_alive())
    expect_that("another connection", run(c, "SELECT pg_backend_pid()") != pid)
    load.end()
    expect("errors", [], load.errors)
    c.close()
    console(braid, "RECONNECT")
    console(braid, "WAIT_CLOSE")
    pools.end(braid)


def test_disable(pools):
    braid = pools.braid()
    kept = braid.connect("one", "amy")
    console(braid, "DISABLE one")
    expect("shown", 1, column(braid, "SHOW DATABASES", "one", "disabled"))
    expect_error("a new client", None, lambda: braid.connect("one"), "is disabled")
    expect("one that was there", [(1,)], run(kept, "SELECT 1"))
    expect("another database", [(1,)], braid.sql("SELECT 1", "two"))
    console(braid, "ENABLE one")
    expect("again", [(1,)], braid.sql("SELECT 1", "one"))
    kept.close()
    pools.end(braid)


def test_kill(pools):
    braid = pools.braid()
    load = Load(braid, 4)
    time.sleep(0.3)
    console(braid, "KILL one")
    wait_for("server connections are gone", lambda: pools.open_count(datname="one") == 0, 5)
    wait_for("clients are gone", lambda: len(load.errors) == 2, 5)
    expect_that("only of that database", all(e.startswith("one") for e in load.errors))
    late = threading.Thread(target=lambda: braid.sql("SELECT 1", "one"), daemon=True)
    late.start()
    time.sleep(0.2)
    expect_that("new ones wait for RESUME", late.is_alive())
    console(braid, "RESUME one")
    late.join(5)
    expect_that("and are served", not late.is_alive())
    load.end()
    victim = braid.connect("one", "bob")
    client = column(braid, "SHOW CLIENTS", "C", "id") if False else client_of(braid, "bob")
    console(braid, f"KILL_CLIENT {client}")
    expect_error("killed", None, lambda: run(victim, "SELECT 1"))
    expect_error("twice", "22023", lambda: console(braid, f"KILL_CLIENT {client}"))
    pools.end(braid)


def client_of(braid, user):
    c = braid.connect("pgbraid", "app")
    with c.cursor() as cursor:
        cursor.execute("SHOW CLIENTS")
        names = [d.name for d in cursor.description]
        rows = [dict(zip(names, row)) for row in cursor.fetchall()]
    c.close()
    return [row["id"] for row in rows if row["user"] == user][0]


def test_suspend(pools):
    braid = pools.braid()
    load = Load(braid)
    time.sleep(0.2)
    console(braid, "SUSPEND")
    time.sleep(0.1)
    before = sum(load.done)
    time.sleep(0.3)
    expect("nobody works", before, sum(load.done))
    expect("shown", "yes", column(braid, "SHOW STATE", "suspended", "value"))
    console(braid, "RESUME")
    wait_for("they go on", lambda: sum(load.done) > before, 5)
    load.end()
    expect("errors", [], load.errors)
    pools.end(braid)


def ended(braid, seconds=10):
    wait_for("the process ends", lambda: not braid.alive(), seconds)
    expect("exit status", 0, braid.process.returncode)
    expect("complaints", [], braid.complaints())


def test_shutdown(pools):
    """At once; when servers are free; when clients have gone."""
    braid = pools.braid()
    c = braid.connect("one", autocommit=False)
    run(c, "SELECT 1")
    console(braid, "SHUTDOWN")
    ended(braid, 5)
    braid = pools.braid()
    c = braid.connect("one", autocommit=False)
    run(c, "SELECT 1")
    console(braid, "SHUTDOWN WAIT_FOR_SERVERS")
    time.sleep(0.8)
    expect("the transaction goes on", [(2,)], run(c, "SELECT 2"))
    c.commit()
    ended(braid)
    braid = pools.braid()
    c = braid.connect("one")
    console(braid, "SHUTDOWN WAIT_FOR_CLIENTS")
    time.sleep(0.8)
    expect("statements go on", [(1,)], run(c, "SELECT 1"))
    expect_error("no new clients", None, lambda: braid.connect("one"))
    c.close()
    ended(braid)


def test_signals(pools):
    """PgBouncer's signals, with its configuration file; USR1 and USR2 with ours."""
    braid = pools.braid()
    run(braid.connect("one"), "SELECT 1")
    os.kill(braid.process.pid, signal.SIGUSR1)
    wait_for("paused", lambda: pools.open_count() == 0, 5)
    expect("shown", "yes", column(braid, "SHOW STATE", "paused", "value"))
    os.kill(braid.process.pid, signal.SIGUSR2)
    expect("again", [(1,)], braid.sql("SELECT 1", "one"))
    os.kill(braid.process.pid, signal.SIGQUIT)
    ended(braid)
    for sig, waits in ((signal.SIGTERM, True), (signal.SIGINT, False), (signal.SIGQUIT, False)):
        process, port = start_ini(pools, sig.name)
        c = psycopg2.connect(host="127.0.0.1", port=port, dbname="one", user="app")
        c.autocommit = True
        run(c, "SELECT 1")
        process.send_signal(sig)
        if waits:
            time.sleep(1.0)
            expect("TERM waits for clients", [(1,)], run(c, "SELECT 1"))
            process.send_signal(sig)  # the second one does not
        expect(f"{sig.name}: exit status", 0, process.wait(10))
        c.close()


def start_ini(pools, name):
    folder = os.path.join(pools.fleet.folder, f"ini{name}")
    os.makedirs(folder, exist_ok=True)
    port = free_ports(1)[0]
    path = os.path.join(folder, "pgbouncer.ini")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"[databases]\none = host=127.0.0.1 port={pools.server.port}\n[pgbouncer]\n"
                f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = trust\n"
                "auth_file = users.txt\npool_mode = transaction\n"
                f"unix_socket_dir = {folder}\nlogfile = {folder}/log\n")
    with open(os.path.join(folder, "users.txt"), "w", encoding="utf-8") as f:
        f.write('"app" "x"\n')
    binary = os.path.join(build_dir(pools.build), "pgbraid")
    process = subprocess.Popen([binary, "-q", path], cwd=folder, stdin=subprocess.DEVNULL)
    pools.fleet.at_end.append(lambda: process.poll() is None and process.kill())

    def up():
        try:
            psycopg2.connect(host="127.0.0.1", port=port, dbname="one", user="app").close()
            return True
        except psycopg2.Error:
            return False
    wait_for("it is up", up, 10)
    return process, port


TESTS = [
    ("PAUSE", test_pause), ("PAUSE one", test_pause_one), ("PAUSE waits", test_pause_waits),
    ("PAUSE over shards", test_pause_shards), ("RECONNECT", test_reconnect),
    ("DISABLE", test_disable), ("KILL", test_kill), ("SUSPEND", test_suspend),
    ("SHUTDOWN", test_shutdown), ("signals", test_signals),
]
