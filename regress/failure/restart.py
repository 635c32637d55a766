"""Online restart: a new process takes over the sockets, the ledger and the clients of the running one."""

import os
import signal
import socket
import subprocess
import threading
import time

import psycopg2

import raw
from place import ROWS, expect_error, serves, wait_for
from report import Failed, expect, expect_that

RESTARTS = 20
ACCOUNTS = 60
SUM = ACCOUNTS * 100


class Generations:
    """A proxy whose processes follow one another."""

    def __init__(self, place, **sections):
        self.braid = place.braid(**sections)
        self.processes = [self.braid.process]

    def follow(self, wait=True, path=None):
        """Start a successor of the running process; when it serves, it is the proxy's process."""
        served = self.braid.count("this process serves from now on")
        log = open(self.braid.log_path, "ab")
        new = subprocess.Popen([self.braid.binary, "-R", "-c", path or self.braid.path], cwd=self.braid.folder,
                               stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.processes.append(new)
        if wait:
            wait_for("the successor serves",
                     lambda: self.braid.count("this process serves from now on") > served or new.poll() is not None, 20)
            if new.poll() is not None:
                raise Failed(f"the successor ended with {new.poll()}\n{self.braid.tail(40)}")
            self.braid.process = new
        return new

    def one_left(self, seconds=15):
        """Every process but the newest has ended well."""
        for process in self.processes[:-1]:
            try:
                expect("exit status of a process that was replaced", 0, process.wait(seconds))
            except subprocess.TimeoutExpired:
                raise Failed(f"a process that was replaced does not end\n{self.braid.tail(40)}") from None
        self.processes = self.processes[-1:]


def test_state_moves(place):
    """Settings, prepared statements of both kinds, the cancel key and half a request go along."""
    all_of_them = Generations(place, pool={"shutdown_wait_ms": 1000})
    braid = all_of_them.braid
    c = braid.connect(application_name="traveller")
    with c.cursor() as cur:
        cur.execute("SET work_mem TO '7MB'")
    p = braid.connect("plain")
    with p.cursor() as cur:
        cur.execute("PREPARE mine(bigint) AS SELECT $1 + 1")
    r = raw.Raw(braid.port)
    r.login(options="-c statement_timeout=12345")
    r.ask(raw.parse("SELECT v FROM items WHERE id = $1", "q", (20,)), raw.SYNC)
    console = braid.connect("pgbraid")
    in_transaction = braid.connect("plain", autocommit=False)
    with in_transaction.cursor() as cur:
        cur.execute("SELECT pg_backend_pid()")
        pid = cur.fetchone()[0]
    for _ in range(2):
        all_of_them.follow()
        expect("the protocol's statement", [["v7"]],
               raw.rows_of(r.ask(raw.bind(("7",), "q"), raw.execute(), raw.SYNC)))
        expect("a startup option", [["12345ms"]], raw.rows_of(r.ask(raw.query("SHOW statement_timeout"))))
        with c.cursor() as cur:
            cur.execute("SHOW work_mem")
            expect("a setting", "7MB", cur.fetchone()[0])
        wait_for("the console knows its name", lambda: any(
            "traveller" in map(str, row) for row in braid.sql("SHOW CLIENTS", "pgbraid")))
        with p.cursor() as cur:
            cur.execute("EXECUTE mine(9)")
            expect("SQL's statement", 10, cur.fetchone()[0])
        with in_transaction.cursor() as cur:  # it stays where its transaction is
            cur.execute("SELECT pg_backend_pid()")
            expect("the same server connection", pid, cur.fetchone()[0])
        in_transaction.commit()
        r.send(raw.query("SELECT pg_sleep(20)"))
        time.sleep(0.3)
        with raw.Raw(braid.port) as canceller:
            canceller.send(raw.request(raw.CANCEL_REQUEST, r.pid.to_bytes(4, "big") + r.key))
        expect_that("the cancel key", any(k == "E" and raw.fields_of(b)["C"] == "57014" for k, b in r.until("Z")))
        all_of_them.one_left()
        with in_transaction.cursor() as cur:
            cur.execute("SELECT pg_backend_pid()")
            pid = cur.fetchone()[0]
    expect_error("the console does not go along", None, lambda: console.cursor().execute("SHOW VERSION"))
    for one in (c, p, console, in_transaction):
        one.close()
    r.socket.close()
    serves(braid)
    place.end(braid)


class Load:
    """Clients that ask, transfer over shards, and connect anew, until stopped; what went wrong."""

    def __init__(self, braid):
        self.braid = braid
        self.stop = threading.Event()
        self.wrong = []
        self.counts = {"statements": 0, "transfers": 0, "retries": 0, "connects": 0}
        kinds = [self.ask, self.ask, self.transfer, self.transfer, self.connect]
        self.threads = [threading.Thread(target=self.run, args=(kind, i)) for i, kind in enumerate(kinds)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join(30)

    def run(self, kind, number):
        try:
            kind(number)
        except Exception as e:  # noqa: BLE001 - told by the main thread
            self.wrong.append(f"{kind.__name__}: {type(e).__name__} {e}")

    def ask(self, number):
        c = self.braid.connect()
        with c.cursor() as cur:
            cur.execute(f"SET application_name TO 'asker{number}'")
            while not self.stop.is_set():
                cur.execute("SELECT v FROM items WHERE id = 7")
                if cur.fetchone() != ("v7",):
                    self.wrong.append("ask: another row")
                self.counts["statements"] += 1
                time.sleep(0.001)
        c.close()

    def transfer(self, number):
        c = self.braid.connect(autocommit=False)
        at = number
        with c.cursor() as cur:
            while not self.stop.is_set():
                at = (at * 7 + 3) % ACCOUNTS
                a, b = sorted((at, (at + 1 + number) % ACCOUNTS))
                if a == b:
                    continue
                try:
                    cur.execute("UPDATE notes SET v = (v::int - 1)::text WHERE id = %s", (a,))
                    cur.execute("UPDATE notes SET v = (v::int + 1)::text WHERE id = %s", (b,))
                    c.commit()
                    self.counts["transfers"] += 1
                except psycopg2.Error as e:
                    if e.pgcode not in ("40001", "40P01"):
                        raise
                    self.counts["retries"] += 1
                    c.rollback()
        c.close()

    def connect(self, _):
        while not self.stop.is_set():
            self.braid.connect("plain").close()
            self.counts["connects"] += 1


def total(place):
    return sum(int(s.sql("SELECT coalesce(sum(v::int), 0) FROM notes", "app")[0][0]) for s in place.servers)


def test_under_load(place):
    braid = place.braid()
    c = braid.connect()
    with c.cursor() as cur:
        cur.execute("SET lock_timeout TO 0")
        cur.execute("DELETE FROM notes WHERE id < %s", (ACCOUNTS,))
        for i in range(ACCOUNTS):
            cur.execute("INSERT INTO notes VALUES (%s, '100')", (i,))
    c.close()
    place.end(braid)
    all_of_them = Generations(place, restart={"wait_ms": 20000})
    braid = all_of_them.braid
    idle = [braid.connect() for _ in range(20)]
    for i, c in enumerate(idle):
        with c.cursor() as cur:
            cur.execute(f"SET work_mem TO '{1025 + i}kB'")
    with Load(braid) as load:
        for _ in range(RESTARTS):
            all_of_them.follow()
            for i, c in enumerate(idle):
                with c.cursor() as cur:
                    cur.execute("SHOW work_mem")
                    expect("a setting of an idle client", f"{1025 + i}kB", cur.fetchone()[0])
            if load.wrong:
                break
    expect("what went wrong", [], load.wrong[:5])
    for c in idle:
        c.close()
    all_of_them.one_left()
    expect("sum of all accounts", SUM, total(place))
    for server in place.servers:
        expect("prepared transactions left", [(0,)], server.sql("SELECT count(*) FROM pg_prepared_xacts"))
    expect_that(f"there was a load: {load.counts}", min(load.counts["statements"], load.counts["transfers"],
                                                        load.counts["connects"]) > RESTARTS)
    serves(braid)
    place.end(braid)


def test_death(place):
    """Whichever process dies at whichever moment, one goes on serving."""
    all_of_them = Generations(place)
    braid = all_of_them.braid
    place.end(braid)
    braid.config["pid_file"] = "braid.pid"
    braid.write_files()
    braid.start()
    pid_path = os.path.join(braid.folder, "braid.pid")
    c = braid.connect()
    for stopped_ms in (0, 5, 20, 60, 120, 250):  # the successor dies while it prepares
        ended = braid.count("this process ends")
        new = all_of_them.follow(wait=False)
        time.sleep(stopped_ms / 1000)
        new.kill()
        new.wait()
        all_of_them.processes.remove(new)
        time.sleep(0.1)
        if braid.count("this process ends") > ended:
            break  # it had handed over everything; that was the service itself that died
        wait_for("the old process serves", lambda: braid.sql("SELECT 1", "plain") == [(1,)])
        wait_for("with a ledger", lambda: two_shards(braid))
        with open(pid_path, encoding="utf-8") as f:
            expect("the pid file is the old one's again", braid.process.pid, int(f.read()))
    braid.kill()
    braid.start()
    c.close()

    asked = braid.count("a successor asks for the sockets")
    served = braid.count("this process serves")
    new = all_of_them.follow(wait=False)  # the old one dies: the new one goes on alone
    wait_for("the successor has the sockets", lambda: braid.count("a successor asks for the sockets") > asked)
    braid.process.kill()
    braid.process.wait()
    braid.process = new
    wait_for("it serves", lambda: braid.count("this process serves") > served or new.poll() is not None, 20)
    serves(braid)
    expect_that("it commits over shards", two_shards(braid))
    place.end(braid)


def two_shards(braid):
    """A commit over two shards works."""
    try:
        c = braid.connect(autocommit=False)
        with c.cursor() as cur:
            for i in range(12):
                cur.execute("UPDATE items SET v = v WHERE id = %s", (i + 1,))
        c.commit()
        c.close()
        return True
    except psycopg2.Error:
        return False


def test_unix_and_pid_file(place):
    """The socket's file stays the running process's; the pid file follows; nobody to follow is fine."""
    folder = os.path.join(place.fleet.folder, "restart_unix")
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    all_of_them = Generations(place, pid_file="braid.pid")
    braid = all_of_them.braid
    place.end(braid)
    braid.config["listen"] = [*braid.config["listen"], f"{folder}:{braid.port}"]
    braid.write_files()
    all_of_them.processes = [all_of_them.follow(wait=False)]
    braid.process = all_of_them.processes[0]
    braid.wait_healthy()
    path = os.path.join(folder, f".s.PGSQL.{braid.port}")
    pid_path = os.path.join(braid.folder, "braid.pid")
    c = psycopg2.connect(host=folder, port=braid.port, dbname="plain", user="app")
    for _ in range(2):
        all_of_them.follow()
        all_of_them.one_left()
        with c.cursor() as cur:
            cur.execute("SELECT 1")
        with open(pid_path, encoding="utf-8") as f:
            expect("pid file", braid.process.pid, int(f.read()))
        psycopg2.connect(host=folder, port=braid.port, dbname="plain", user="app").close()
        c.rollback()
    c.close()
    place.end(braid)
    expect("the socket's file", False, os.path.exists(path))
    expect("the pid file", False, os.path.exists(pid_path))


def run(place, report):
    report.run("restart: what a client has goes along", test_state_moves, place)
    report.run("restart: unix socket, pid file", test_unix_and_pid_file, place)
    report.run("restart: a process dies in the middle", test_death, place)
    report.run("restart: 20 times under load", test_under_load, place)
