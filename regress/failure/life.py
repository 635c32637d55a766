"""Life of the process: configuration files good and bad, reload, stop, the admin console."""

import os
import signal
import subprocess
import threading
import time

import psycopg2

from braid import build_dir
from pg import free_ports
from report import Failed, expect, expect_that
from place import expect_error, serves, wait_for

CONTRACT = """\
listen: ["127.0.0.1:6432"]
http: "127.0.0.1:6480"
data_dir: ./data
workers: 2
log: { level: info }
auth: { method: scram-sha-256, users_file: users.txt }
tls: { client: { mode: disable }, server: { mode: prefer } }
service: { user: app }
pool: { mode: transaction, size: 20, max_clients: 5000 }
servers:
  s0: { host: 127.0.0.1, port: 5501 }
  s1: { host: 127.0.0.1, port: 5502 }
  s2: { host: 127.0.0.1, port: 5503 }
databases:
  app:
    dbname: app
    shards: { shard0: { primary: s0 }, shard1: { primary: s1 }, shard2: { primary: s2 } }
    tables:
      users:     { hash: [id] }
      orders:    { hash: [user_id], colocate: users }
      countries: { reference: true }
      events:    { range: [day], splits: [ { below: "2026-01-01", shard: shard0 }, { shard: shard1 } ] }
  plain:
    dbname: plain
    shards: { only: { primary: s0 } }
"""

# What is replaced, by what, the line of the complaint, a word that must be in it.
BROKEN = [
    ("workers: 2", "wrokers: 2", 4, "wrokers"),
    ("workers: 2", "workers: many", 4, "workers"),
    ("workers: 2", "workers: -3", 4, "workers"),
    ("level: info", "level: loud", 5, "loud"),
    ("method: scram-sha-256", "method: kerberos", 6, "kerberos"),
    ("users_file: users.txt", "users_file: nothing.txt", 6, "nothing.txt"),
    ("mode: transaction", "mode: magic", 9, "magic"),
    ("size: 20", "size: 0", 9, "size"),
    ('"127.0.0.1:6432"', '"127.0.0.1:99999"', 1, "99999"),
    ("port: 5502", "port: x", 12, "x"),
    ("primary: s2", "primary: s9", 17, "s9"),
    ("colocate: users", "colocate: nobody", 20, "nobody"),
    ("{ reference: true }", "{ replicated: true }", 21, "replicated"),
    ("hash: [id]", "hash: []", 19, "hash"),
    ("{ shard: shard1 } ] }", "{ shard: shard7 } ] }", 22, "shard7"),
    ("{ shard: shard1 } ] }", '{ below: "2025-01-01", shard: shard1 } ] }', 22, "2025-01-01"),
    ("    dbname: app", "    dbname: app\n    dbname: other", 17, "dbname"),
    ("servers:", "servers: [", 12, "line 10"),
]


def check_file(place, text, arguments=("--check",)):
    """(exit status, stderr) of pgbraid -c FILE --check."""
    folder = os.path.join(place.fleet.folder, "contract")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "pgbraid.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    with open(os.path.join(folder, "users.txt"), "w", encoding="utf-8") as f:
        f.write('"app" "secret"\n')
    done = subprocess.run([os.path.join(build_dir(place.build), "pgbraid"), "-c", path, *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20,
                          check=False)
    return done.returncode, done.stdout


def test_contract(place):
    expect("the contract's file", 0, check_file(place, CONTRACT)[0])
    expect("without tls and service", 0, check_file(place, "".join(
        line for line in CONTRACT.splitlines(True) if not line.startswith(("tls:", "service:")))
        .replace("scram-sha-256", "trust"))[0])
    for old, new, line, word in BROKEN:
        if CONTRACT.count(old) < 1:
            raise Failed(f"{old!r} is not in the contract")
        status, text = check_file(place, CONTRACT.replace(old, new, 1))
        expect(f"exit status for {new!r}: {text}", 2, status)
        expect_that(f"{new!r}: line {line} and {word!r} in {text!r}",
                    f"pgbraid.yaml:{line}:" in text and word in text)
    expect("a file that is not there", 2, check_file(place, "", ("-c", "/nonexistent/x.yaml"))[0])


def test_start_errors(place):
    """An address in use, a data folder in use: exit 2 and one clear line."""
    braid = place.braid()
    with open(braid.path, encoding="utf-8") as f:
        text = f.read()
    one, two = free_ports(2)
    address = text.replace("./data", "./other").replace(f":{braid.http_port}", f":{one}")
    folder = text.replace(f":{braid.port}", f":{one}").replace(f":{braid.http_port}", f":{two}")
    for name, changed, word in (("address", address, str(braid.port)), ("folder", folder, "LOCK")):
        path = os.path.join(braid.folder, f"{name}.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(changed)
        done = subprocess.run([braid.binary, "-c", path], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, timeout=20, check=False)
        expect(f"{name}: exit status: {done.stdout}", 2, done.returncode)
        expect_that(f"{name}: {word} in {done.stdout!r}", word in done.stdout)
    serves(braid)
    place.end(braid)


def test_reload(place):
    braid = place.braid(pool={"max_clients": 50})
    kept = braid.connect(autocommit=False)
    with kept.cursor() as cur:
        cur.execute("SELECT v FROM items WHERE id = 7")
    braid.config["databases"]["second"] = {"dbname": "app", "shards": {
        "only": {"primary": "s0"}}}
    braid.users["late"] = "x"
    braid.write_files()
    expect_error("before the reload", None, lambda: braid.sql("SELECT 1", "second"), "second")
    braid.reload()
    expect("a new database", [(1,)], wait_for("second", lambda: try_sql(braid, "SELECT 1", "second")))
    with kept.cursor() as cur:
        cur.execute("SELECT v FROM items WHERE id = 8")
        expect("the open transaction goes on", ("v8",), cur.fetchone())
    kept.commit()
    kept.close()
    good = dict(braid.config)
    braid.config = {**good, "nonsense": 1}
    braid.write_files()
    braid.reload()
    expect_that("the log says why", "RELOAD_FAILED" in braid.log() and "nonsense" in braid.log())
    serves(braid)
    expect("still there", [(1,)], braid.sql("SELECT 1", "second"))
    braid.config = good
    del braid.config["databases"]["second"]
    braid.write_files()
    braid.reload()
    expect_error("gone again", None, lambda: braid.sql("SELECT 1", "second"), "second")
    serves(braid)
    place.end(braid)


def try_sql(braid, sql, dbname):
    try:
        return braid.sql(sql, dbname)
    except psycopg2.Error:
        return None


def test_term_drains(place):
    """SIGTERM: no new clients, idle ones go, an open transaction may end."""
    braid = place.braid(pool={"shutdown_wait_ms": 10000})
    idle = braid.connect()
    working = braid.connect(autocommit=False)
    with working.cursor() as cur:
        cur.execute("UPDATE items SET v = v WHERE id IN (1, 2, 3, 4, 5)")
        braid.process.send_signal(signal.SIGTERM)
        wait_for("no new clients", lambda: refuses(braid))
        with idle.cursor() as other:
            e = expect_error("the idle one", None, lambda: other.execute("SELECT 1"))
            expect_that(f"idle: {e.pgcode} {e}", e.pgcode in ("57P01", None))
        cur.execute("SELECT v FROM items WHERE id = 7")
        expect("the transaction goes on", ("v7",), cur.fetchone())
    working.commit()
    begin = time.monotonic()
    expect("exit status", 0, braid.process.wait(20))
    expect_that("it ends with its last transaction", time.monotonic() - begin < 5)
    expect("complaints", [], braid.complaints())
    idle.close()
    working.close()


def refuses(braid):
    try:
        braid.connect().close()
        return False
    except psycopg2.OperationalError:
        return True


def test_term_twice(place):
    """A transaction that does not end is cut by the second SIGTERM, or after shutdown_wait_ms."""
    for second in (True, False):
        braid = place.braid(pool={"shutdown_wait_ms": 60000 if second else 700})
        working = braid.connect(autocommit=False)
        with working.cursor() as cur:
            cur.execute("UPDATE items SET v = 'cut' WHERE id IN (1, 2, 3, 4, 5)")
        braid.process.send_signal(signal.SIGTERM)
        wait_for("no new clients", lambda b=braid: refuses(b))
        if second:
            braid.process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        expect("exit status", 0, braid.process.wait(20))
        expect_that("soon", time.monotonic() - begin < 5)
        expect("complaints", [], braid.complaints())
        working.close()
    braid = place.braid()
    expect("undone", [("v1",)], braid.sql("SELECT v FROM items WHERE id = 1"))
    serves(braid)
    place.end(braid)


def test_stop_under_load(place):
    """Clients that never pause: SIGTERM ends the process all the same, and every error is a clean one."""
    braid = place.braid(pool={"shutdown_wait_ms": 5000})
    errors = []

    def work():
        try:
            c = braid.connect()
            with c.cursor() as cur:
                while True:
                    cur.execute("SELECT v FROM items WHERE id = 7")
                    cur.execute("SELECT count(*) FROM items")
        except psycopg2.Error as e:
            errors.append(e.pgcode)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    expect("exit status", 0, braid.stop())
    for t in threads:
        t.join(10)
    expect_that(f"SQLSTATEs {set(errors)}", set(errors) <= {"57P01", None})
    expect("complaints", [], braid.complaints())


def console(braid, words, user="app"):
    c = braid.connect("pgbraid", user=user)
    try:
        with c.cursor() as cur:
            cur.execute(words)
            if cur.description is None:
                return None
            names = [column.name for column in cur.description]
            return [dict(zip(names, row)) for row in cur.fetchall()]
    finally:
        c.close()


def test_console(place):
    braid = place.braid()
    serves(braid)
    tables = {row["table"] if "table" in row else row["name"]: row for row in console(braid, "SHOW TABLES")}
    expect_that(f"tables: {tables}", any("items" in name for name in tables))
    for words in ("SHOW COMMANDS", "SHOW VERSION", "SHOW DATABASES", "SHOW POOLS", "SHOW CLIENTS", "SHOW SERVERS",
                  "SHOW LISTS", "SHOW USERS", "SHOW CONFIG", "SHOW MEM", "SHOW STATS", "SHOW STATS_TOTALS",
                  "SHOW STATS_AVERAGES", "SHOW TOTALS", "SHOW SHARDS", "SHOW STATE"):
        expect_that(f"{words} has rows", console(braid, words))
    console(braid, "SHOW TRANSACTIONS")
    expect("shards", 4, len(console(braid, "SHOW SHARDS")))
    expect_error("a command that is none", "42601", lambda: console(braid, "SHOW ME"))
    said = braid.connect("pgbraid", user="app")
    with said.cursor() as cur:
        cur.execute("RELOAD")
        expect("a reload that needs no restart", [], said.notices)
        braid.config["workers"] = 3
        braid.write_files()
        for again in ("a reload", "a second one"):
            del said.notices[:]
            cur.execute("RELOAD")
            expect_that(f"{again} says what needs a restart: {said.notices}",
                        [n for n in said.notices if n.endswith("waits for a restart: workers\n")])
        del said.notices[:]
    said.close()
    victim = braid.connect()
    with victim.cursor() as cur:
        cur.execute("SELECT 1")
    console(braid, "KILL app")
    with victim.cursor() as cur:
        expect_error("killed", None, lambda: cur.execute("SELECT 1"))
    console(braid, "RESUME app")
    serves(braid)
    place.end(braid)


def test_http(place):
    braid = place.braid()
    serves(braid)
    expect("health", 200, braid.http("/health")[0])
    stats = braid.stats()
    for section, names in {"connections": ["active", "idle", "waiting"],
                           "queries": ["total", "reads", "writes", "single_shard", "multi_shard"],
                           "transactions": ["one_phase", "two_phase", "aborted", "in_doubt"]}.items():
        for name in names:
            expect_that(f"{section}.{name} is a number", isinstance(stats[section][name], int))
    for backend in stats["backends"].values():
        expect_that(f"{backend}", backend["healthy"] is True and backend["latency_ms"] >= 0)
    status, text = braid.http("/metrics")
    expect("metrics", 200, status)
    expect_that("OpenMetrics ends with EOF", text.endswith("# EOF\n"))
    expect("a page that is not there", 404, braid.http("/nothing")[0])
    before = braid.stats()["queries"]
    braid.sql("SELECT v FROM items WHERE id = 7")
    braid.sql("UPDATE items SET v = v WHERE id = 7")
    braid.sql("SELECT count(*) FROM items")
    after = braid.stats()["queries"]
    got = {name: after[name] - before[name] for name in ("total", "reads", "writes", "single_shard", "multi_shard")}
    expect("what was counted", {"total": 3, "reads": 2, "writes": 1, "single_shard": 2, "multi_shard": 1}, got)
    place.end(braid)


def run(place, report):
    report.run("life: configuration files", test_contract, place)
    report.run("life: address and folder in use", test_start_errors, place)
    report.run("life: reload", test_reload, place)
    report.run("life: SIGTERM drains", test_term_drains, place)
    report.run("life: SIGTERM twice, and its limit", test_term_twice, place)
    report.run("life: stop under load", test_stop_under_load, place)
    report.run("life: console", test_console, place)
    report.run("life: HTTP", test_http, place)
