"""Pools: every limit, every timeout, modes, servers that are slow, full or gone."""

import os
import threading
import time

import psycopg2

import pg
import pool_commands
import raw
from braid import Braid
from report import Failed, expect, expect_that
from place import expect_error, wait_for

USERS = ("app", "amy", "bob", "eve")


class Pools:
    """One server that all tests share, a second one with few connections, proxies for a test."""

    def __init__(self, fleet, build):
        self.fleet = fleet
        self.build = build
        self.count = 0
        self.server = fleet.start(1)[0]
        pg.prepare(self.server, databases=("one", "two"), users=[(u, "x") for u in USERS])
        self.small = fleet.start(1, options=("max_connections = 8",
                                             "superuser_reserved_connections = 1",
                                             "max_wal_senders = 0"))[0]
        pg.prepare(self.small, databases=("one",), users=(("app", "x"),))

    def braid(self, databases=None, server=None, start=True, **sections):
        self.count += 1
        shards = {"shards": {"only": {"primary": "s0"}}}
        databases = databases or {"one": {}, "two": {}}
        config = {
            "workers": sections.pop("workers", 2),
            "auth": {"method": "trust", "users_file": "users.txt", "admin_users": "app"},
            "servers": {"s0": {"host": "127.0.0.1", "port": (server or self.server).port}},
            "databases": {name: {**shards, **more} for name, more in databases.items()},
            "service": {"health_interval_ms": 60000, "user": "app"},
            **sections,
        }
        braid = Braid(os.path.join(self.fleet.folder, f"pools{self.count}"), config,
                      users={u: "x" for u in USERS}, build=self.build)
        self.fleet.at_end.append(braid.kill)
        return braid.start() if start else braid

    @staticmethod
    def end(braid):
        got = braid.stop()
        complaints = braid.complaints()
        if got != 0 or complaints:
            raise Failed(f"pgbraid ended with {got}; {complaints[:3]}\n{braid.tail(40)}")

    def clear(self):
        """Nothing of a test that failed disturbs the next one."""
        for end in self.fleet.at_end:
            end()
        self.fleet.at_end = []
        wait_for("no connections are left", lambda: self.open_count() == 0, 10)

    def open_count(self, server=None, **where):
        """Server connections of clients, as the server sees them; not those of pgbraid itself."""
        words = "".join(f" AND {k} = '{v}'" for k, v in where.items())
        return (server or self.server).sql(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
            "datname IN ('one', 'two') AND application_name NOT LIKE 'pgbraid%'" + words)[0][0]


def ask(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def sleepers(braid, count, seconds, dbname="one", user="app"):
    """Threads that each run one pg_sleep(); (list of errors or None, join function)."""
    results = [None] * count

    def work(i):
        try:
            braid.sql(f"SELECT pg_sleep({seconds})", dbname, user=user)
            results[i] = "done"
        except psycopg2.Error as e:
            results[i] = e
    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(count)]
    for t in threads:
        t.start()
    return results, lambda: [t.join(30) for t in threads]


def busiest(pools, seconds, count=None, **where):
    """The most connections seen while the threads of `count` run."""
    most = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        most = max(most, pools.open_count(**where))
        time.sleep(0.03)
    return most


# ---- limits -------------------------------------------------------------------------------------


def test_sizes(pools):
    """Precedence of pool sizes: user, database, all."""
    braid = pools.braid({"one": {"pool": {"size": 3}}, "two": {}}, pool={"size": 2},
                        users={"bob": {"pool": {"size": 1}}})
    for dbname, user, size in (("one", "amy", 3), ("two", "amy", 2), ("one", "bob", 1)):
        results, join = sleepers(braid, 6, 0.15, dbname, user)
        expect(f"connections of {user} to {dbname}", size,
               busiest(pools, 0.5, datname=dbname, usename=user))
        join()
        expect("all are answered", ["done"] * 6, results)
    pools.end(braid)


def test_shared_limits(pools):
    """Connections per database, per user and in all; idle ones of others make room."""
    for pool, where in (({"max_db_connections": 3}, {"datname": "one"}),
                        ({"max_user_connections": 2}, {"usename": "amy"}),
                        ({"max_servers_total": 4}, {})):
        limit = list(pool.values())[0]
        braid = pools.braid(pool={"size": 5, **pool})
        for user in ("app", "bob"):  # these stay behind, idle
            results, join = sleepers(braid, 2, 0.1, "one", user)
            join()
        results, join = sleepers(braid, 5, 0.1, "one", "amy")
        more, join_more = sleepers(braid, 5, 0.1, "two", "amy")
        last, join_last = sleepers(braid, 5, 0.1, "one", "eve")
        most = busiest(pools, 0.8, **where)
        for j in (join, join_more, join_last):
            j()
        expect(f"{pool}: all are answered", ["done"] * 15, results + more + last)
        expect_that(f"{pool}: at most {limit} at once, not {most}", 0 < most <= limit)
        pools.end(braid)


def test_limits_in_turn(pools):
    """A busy pool does not keep another one out for ever."""
    braid = pools.braid(pool={"size": 4, "max_servers_total": 4})
    stop = threading.Event()

    def busy():
        c = braid.connect("one", "amy")
        while not stop.is_set():
            ask(c, "SELECT pg_sleep(0.01)")
        c.close()
    threads = [threading.Thread(target=busy, daemon=True) for _ in range(12)]
    for t in threads:
        t.start()
    time.sleep(0.3)
    begin = time.monotonic()
    for _ in range(3):
        expect("the other pool", [(1,)], braid.sql("SELECT 1", "two", user="bob"))
    took = time.monotonic() - begin
    stop.set()
    for t in threads:
        t.join(10)
    expect_that(f"three statements within 5 s, not {took:.1f}", took < 5)
    pools.end(braid)


def test_clients(pools):
    """Clients per database and per user."""
    braid = pools.braid({"one": {"pool": {"max_client_connections": 2}}, "two": {}},
                        users={"bob": {"pool": {"max_client_connections": 1}}})
    kept = [braid.connect("one", "amy"), braid.connect("one", "eve")]
    expect_error("a third client", None, lambda: braid.connect("one", "app"),
                 "no more connections allowed for database \"one\"")
    kept.append(braid.connect("two", "bob"))
    expect_error("a second client of bob", None, lambda: braid.connect("two", "bob"),
                 "no more connections allowed for user \"bob\"")
    for c in kept:
        c.close()
    wait_for("room again", lambda: can_connect(braid, "one", "bob"))
    pools.end(braid)


def can_connect(braid, dbname, user):
    try:
        braid.connect(dbname, user).close()
        return True
    except psycopg2.Error:
        return False


def test_reserve(pools):
    """The reserve opens for who has waited long, and closes again."""
    braid = pools.braid(pool={"size": 1, "reserve_size": 2, "reserve_after_ms": 1200})
    results, join = sleepers(braid, 3, 2.2)
    time.sleep(0.2)
    expect("before the delay", 1, pools.open_count(datname="one"))
    wait_for("with the reserve", lambda: pools.open_count(datname="one") == 3, 5)
    join()
    expect("all are answered", ["done"] * 3, results)
    wait_for("the size again", lambda: pools.open_count(datname="one") == 1, 5)
    pools.end(braid)


def test_min_size(pools):
    """Kept open while the pool has clients, opened again in the background."""
    braid = pools.braid(pool={"min_size": 3, "server_idle_ms": 200})
    c = braid.connect("one")
    wait_for("the minimum", lambda: pools.open_count(datname="one") == 3, 5)
    pools.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'one'")
    wait_for("the minimum again", lambda: pools.open_count(datname="one") == 3, 8)
    c.close()
    wait_for("nobody is there", lambda: pools.open_count(datname="one") == 0, 8)
    pools.end(braid)


def closed_for(braid, why):
    return sum("BACKEND_CLOSED" in line and why in line for line in braid.log().splitlines())


def test_ages(pools):
    """Idle time and lifetime end connections, but not all at once."""
    braid = pools.braid(pool={"server_lifetime_ms": 2000})
    _, join = sleepers(braid, 8, 0.2)
    join()
    counts = set()
    until = time.monotonic() + 3.5
    while time.monotonic() < until and 0 not in counts:
        counts.add(pools.open_count(datname="one"))
        time.sleep(0.02)
    expect_that(f"they end one after the other: {counts}", 0 in counts and len(counts) > 3)
    expect_that("the log names the setting", closed_for(braid, "pool.server_lifetime_ms") >= 4)
    pools.end(braid)
    braid = pools.braid(pool={"server_idle_ms": 300})
    braid.sql("SELECT 1", "one")
    wait_for("an idle one is closed", lambda: pools.open_count(datname="one") == 0, 5)
    expect_that("the log names the setting", closed_for(braid, "pool.server_idle_ms") == 1)
    pools.end(braid)


def test_many_users(pools):
    """Thousands of users that came once leave nothing behind."""
    names = [f"u{i}" for i in range(1000)]
    pools.server.sql("DO $$ BEGIN FOR i IN 0..999 LOOP EXECUTE format('CREATE ROLE u%s LOGIN', i); "
                     "END LOOP; END $$")
    braid = pools.braid(pool={"server_idle_ms": 200, "pool_idle_ms": 200, "max_servers_total": 50})

    def some(part):
        for name in part:
            braid.sql("SELECT 1", "one", user=name)
    threads = [threading.Thread(target=some, args=(names[i::4],)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    wait_for("no pool is left", lambda: len(braid.sql("SHOW POOLS", "pgbraid")) <= 1, 10)
    pools.end(braid)


def test_order(pools):
    """Who came first is served first, within what a journey between workers costs."""
    braid = pools.braid(pool={"size": 1})
    hold = braid.connect("one", autocommit=False)
    ask(hold, "SELECT 1")
    order = []

    def work(i):
        braid.sql("SELECT pg_sleep(0.05)", "one")
        order.append(i)
    waiting = [braid.connect("one") for _ in range(5)]
    threads = []
    for i, c in enumerate(waiting):
        def one(i=i, c=c):
            ask(c, "SELECT pg_sleep(0.05)")
            order.append(i)
        t = threading.Thread(target=one, daemon=True)
        t.start()
        threads.append(t)
        time.sleep(0.08)
    hold.commit()
    for t in threads:
        t.join(20)
    expect("order of arrival", [0, 1, 2, 3, 4], order)
    pools.end(braid)


# ---- timeouts -----------------------------------------------------------------------------------


def test_wait(pools):
    """query_wait_ms of pool, database and user; the notice before."""
    braid = pools.braid({"one": {"pool": {"query_wait_ms": 600}}, "two": {}},
                        pool={"size": 1, "query_wait_notify_ms": 200},
                        users={"bob": {"query_wait_ms": 100, "pool": {"size": 1}}})
    for user, least, most in (("amy", 0.5, 3), ("bob", 0.05, 0.55)):
        hold = braid.connect("one", user, autocommit=False)
        ask(hold, "SELECT 1")
        other = braid.connect("one", user)
        begin = time.monotonic()
        expect_error("the wait", "57P03", lambda c=other: ask(c, "SELECT 1"), "came free within")
        took = time.monotonic() - begin
        expect_that(f"{user} waited {took:.2f} s", least <= took <= most)
        if user == "amy":
            expect_that(f"a notice: {other.notices}", "queued" in "".join(other.notices))
        hold.close()
        wait_for("the session lives", lambda c=other: ask(c, "SELECT 1") == [(1,)])
        other.close()
    pools.end(braid)


def test_query_timeout(pools):
    """A statement is cancelled; the session goes on."""
    braid = pools.braid(users={"amy": {"query_timeout_ms": 300}})
    c = braid.connect("one", "amy")
    for _ in range(2):
        expect_error("a long statement", "57014", lambda: ask(c, "SELECT pg_sleep(20)"),
                     "due to query timeout")
        expect("a short one", [(1,)], ask(c, "SELECT 1"))
    expect("nobody else", [("",)], braid.sql("SELECT pg_sleep(0.5)", "one", user="bob"))
    braid.config["users"] = {"amy": {"query_timeout_ms": "10s"}}
    braid.write_files()
    braid.reload()
    expect("the new limit holds", [("",)], ask(c, "SELECT pg_sleep(0.5)"))
    c.close()
    pools.end(braid)


def test_query_timeout_extended(pools):
    """Also of requests that come as Parse, Bind, Execute, Sync; message by message; in session mode."""
    for mode in ("transaction", "session"):
        braid = pools.braid(pool={"mode": mode}, users={"amy": {"query_timeout_ms": 300}})
        with raw.Raw(braid.port) as c:
            c.login(user="amy", database="one")
            whole = (raw.parse("SELECT pg_sleep(4)"), raw.bind(), raw.execute(), raw.SYNC)
            for parts in (whole, whole, (*whole[:1], raw.describe(), *whole[1:]), (raw.parse("SELECT pg_sleep(4)", name="q"), raw.SYNC),
                          (raw.bind(statement="q"), raw.describe("P"), raw.execute(), raw.SYNC)):
                got = raw.codes_of(c.ask(*parts))
                expect(f"{mode}, {parts[0][:1]}", [] if len(parts) == 2 else ["57014"], got)
        pools.end(braid)


def test_client_timeouts(pools):
    """Silent inside a transaction, silent outside, a transaction that takes long."""
    cases = (("idle_transaction_timeout_ms", "BEGIN", "SELECT 1", "25P03", "idle-in-transaction"),
             ("client_idle_timeout_ms", "SELECT 1", "SELECT 1", "57P05", "idle-session"),
             ("transaction_timeout_ms", "BEGIN", "SELECT pg_sleep(5)", "25P04", "transaction"),
             ("transaction_timeout_ms", "SELECT 1", "SELECT pg_sleep(5)", "25P04", "transaction"))
    for setting, first, second, code, words in cases:
        braid = pools.braid(pool={setting: 500})
        with raw.Raw(braid.port) as c:
            c.login(user="app", database="one")
            c.ask(raw.query(first))
            begin = time.monotonic()
            if "sleep" in second:
                c.send(raw.query(second))
            else:
                time.sleep(0.25)
                c.ask(raw.query(second))  # it speaks: the time begins again
            got = c.rest()
            took = time.monotonic() - begin
        expect(f"{setting}: SQLSTATE", [code], raw.codes_of(got))
        expect_that(f"{setting}: {got}", words in str(got) and setting in str(got))
        least = 0.4 if "sleep" in second else 0.7
        expect_that(f"{setting}: in time, not {took:.2f}", least < took < 4)
        expect("what the session left is clean", [(1,)], braid.sql("SELECT 1", "one"))
        pools.end(braid)


def test_frozen_server(pools):
    """A server that stops answering holds nobody beyond the query timeout, and is asked later."""
    braid = pools.braid(server=pools.small, databases={"one": {}},
                        pool={"query_timeout_ms": 500, "cancel_grace_ms": 300, "size": 2,
                              "connect_timeout_ms": 700, "server_login_retry_ms": 500})
    c = braid.connect("one")
    ask(c, "SELECT 1")
    pools.small.freeze()
    try:
        begin = time.monotonic()
        expect_error("a statement", "57014", lambda: ask(c, "SELECT 1"), "query timeout")
        took = time.monotonic() - begin
        expect_that(f"within grace, not {took:.1f} s", took < 4)
        begin = time.monotonic()
        expect_error("the next one", None, lambda: ask(c, "SELECT 1"))
        expect_error("and one more", None, lambda: ask(c, "SELECT 1"))
        took = time.monotonic() - begin
        expect_that(f"a server known to fail answers quickly, not {took:.1f} s", took < 4)
    finally:
        pools.small.resume()
    wait_for("back again", lambda: answers(c), 10)
    c.close()
    pools.end(braid)


def answers(connection):
    try:
        return ask(connection, "SELECT 1") == [(1,)]
    except psycopg2.Error:
        return False


# ---- servers ------------------------------------------------------------------------------------


def test_full_server(pools):
    """53300 of the server: who can wait waits, who cannot is told at once; it is not down."""
    braid = pools.braid(server=pools.small, databases={"one": {}}, pool={"size": 20})
    results, join = sleepers(braid, 16, 0.2)
    join()
    expect("the pool is larger than the server", ["done"] * 16, results)
    pools.end(braid)
    wait_for("the server is empty", lambda: pools.open_count(pools.small) == 0)
    taken = [pools.small.connect("one", "app", host="127.0.0.1") for _ in range(5)]
    while True:
        try:
            taken.append(pools.small.connect("one", "app", host="127.0.0.1"))
        except psycopg2.Error:
            break
    braid = pools.braid(server=pools.small, databases={"one": {}}, start=False)
    braid.start(wait=False)
    braid.wait_http()
    begin = time.monotonic()
    expect_error("others have all of it", None, lambda: braid.connect("one"), "server s0 refused user")
    expect_that("told quickly", time.monotonic() - begin < 5)
    for t in taken:
        t.close()
    wait_for("room again", lambda: can_connect(braid, "one", "app"), 10)
    pools.end(braid)


def test_dead_server(pools):
    """Refused connects are told quickly, name the server, and do not come in crowds."""
    port = pg.free_ports(1)[0]
    braid = pools.braid(start=False, pool={"server_login_retry_ms": 2000})
    braid.config["servers"]["s0"]["port"] = port
    braid.write_files()
    braid.start(wait=False)
    braid.wait_http()
    begin = time.monotonic()
    for i in range(40):
        expect_error("no server", None, lambda i=i: braid.connect("one", USERS[i % 4]),
                     "server s0")
    expect_that("quickly", time.monotonic() - begin < 3)
    tries = braid.log().count("msg=BACKEND_LOST") or braid.count("BACKEND_LOST")
    expect_that(f"few attempts, not {tries}", tries < 20)
    pools.end(braid)


def test_stale(pools):
    """A connection that was idle long is asked before it is used."""
    braid = pools.braid(pool={"server_check_delay_ms": 0, "size": 2})
    for _ in range(3):
        expect("with a check", [(1,)], braid.sql("SELECT 1", "one"))
    pools.server.freeze()
    pools.server.resume()
    pools.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'one'")
    expect("after all were killed", [(1,)], braid.sql("SELECT 1", "one"))
    pools.end(braid)
    braid = pools.braid(pool={"server_check_delay_ms": 0, "server_check_query": "SELECT no_such()"})
    expect_that("a check that fails costs a new connection, no error",
                [(1,)] == braid.sql("SELECT 1", "one") == braid.sql("SELECT 1", "one"))
    pools.end(braid)


def test_round_robin(pools):
    braid = pools.braid(workers=1, pool={"size": 3, "server_round_robin": "on"})
    _, join = sleepers(braid, 3, 0.2)
    join()
    pids = {braid.sql("SELECT pg_backend_pid()", "one")[0][0] for _ in range(6)}
    expect("all are used", 3, len(pids))
    pools.end(braid)
    braid = pools.braid(workers=1, pool={"size": 3})
    _, join = sleepers(braid, 3, 0.2)
    join()
    pids = {braid.sql("SELECT pg_backend_pid()", "one")[0][0] for _ in range(6)}
    expect("the last one is used", 1, len(pids))
    pools.end(braid)


def test_own_connections(pools):
    """connect_query and startup settings of a database."""
    braid = pools.braid({"one": {"connect_query": "SET statement_timeout = 12345",
                                 "settings": {"TimeZone": "Asia/Tokyo"}},
                         "two": {"connect_query": "SELECT no_such()"}})
    expect("startup setting", [("Asia/Tokyo",)], braid.sql("SHOW timezone", "one"))
    expect("connect_query", [("12345ms",)], braid.sql("SHOW statement_timeout", "one"))
    expect("one that fails is logged only", [(1,)], braid.sql("SELECT 1", "two"))
    expect_that("it is logged", "no_such" in braid.log())
    pools.end(braid)


# ---- modes --------------------------------------------------------------------------------------


def test_modes(pools):
    """Mode of all, of a database, of a user."""
    braid = pools.braid({"one": {"pool": {"mode": "session"}}, "two": {}}, pool={"size": 1},
                        users={"eve": {"pool": {"mode": "statement", "size": 1}}})
    keeps = braid.connect("one", "amy")
    ask(keeps, "SELECT 1")
    ask(keeps, "CREATE TEMP TABLE t AS SELECT 1")
    other = threading.Thread(target=lambda: braid.sql("SELECT 1", "one", user="amy"), daemon=True)
    other.start()
    time.sleep(0.3)
    expect_that("session mode keeps it", other.is_alive())
    keeps.close()
    other.join(5)
    expect_that("until it ends", not other.is_alive())
    expect_error("and it was cleaned", "42P01",
                 lambda: braid.sql("SELECT * FROM pg_temp.t", "one", user="amy"))
    a = braid.connect("two", "amy")
    b = braid.connect("two", "amy")
    expect("transaction mode", [[(1,)]] * 4, [ask(c, "SELECT 1") for c in (a, b, a, b)])
    s = braid.connect("two", "eve")
    expect("statement mode", [(1,)], ask(s, "SELECT 1"))
    expect_error("a transaction", "0A000", lambda: ask(s, "BEGIN"), "statement pooling mode")
    expect("the next", [(1,)], ask(s, "SELECT 1"))
    for c in (a, b, s):
        c.close()
    pools.end(braid)


def test_mode_change(pools):
    """From session to transaction mode and back under load: nothing leaks, nobody is lost."""
    braid = pools.braid(pool={"mode": "session", "size": 4})
    stop = threading.Event()
    errors = []

    def load(user):
        c = braid.connect("one", user)
        n = 0
        while not stop.is_set():
            try:
                n += 1
                ask(c, f"SET my.mark = '{user}'")
                if ask(c, "SHOW my.mark") != [(user,)]:
                    raise Failed("another one's setting")
                ask(c, "BEGIN")
                ask(c, "SELECT 1")
                ask(c, "COMMIT")
            except (psycopg2.Error, Failed) as e:
                errors.append(f"{user} {n}: {e}")
                return
        c.close()
    keeper = braid.connect("one", "bob")
    ask(keeper, "CREATE TEMP TABLE mine AS SELECT 7 AS v")
    threads = [threading.Thread(target=load, args=(u,), daemon=True)
               for u in ("amy", "amy", "eve", "eve", "app")]
    for t in threads:
        t.start()
    for mode in ("transaction", "session", "transaction"):
        time.sleep(0.3)
        braid.config["pool"]["mode"] = mode
        braid.write_files()
        braid.reload()
    time.sleep(0.3)
    expect("what needs its connection keeps it", [(7,)], ask(keeper, "SELECT v FROM mine"))
    more, join = sleepers(braid, 8, 0.05, "one", "amy")
    join()
    expect("transaction mode is in force", ["done"] * 8, more)
    stop.set()
    for t in threads:
        t.join(10)
    expect("errors", [], errors)
    keeper.close()
    pools.end(braid)


def test_dirty(pools):
    """A client that goes away inside a transaction leaves a clean connection, the same one."""
    braid = pools.braid(workers=1, pool={"size": 1})
    c = braid.connect("one", autocommit=False)
    pid = ask(c, "SELECT pg_backend_pid()")
    ask(c, "SET LOCAL statement_timeout = 999")
    ask(c, "CREATE TABLE half (v int)")
    c.close()
    expect("the same connection", pid, braid.sql("SELECT pg_backend_pid()", "one"))
    expect("rolled back", [(None,)], braid.sql("SELECT to_regclass('half')", "one"))
    expect("settings too", [("0",)], braid.sql("SHOW statement_timeout", "one"))
    pools.end(braid)
    braid = pools.braid(workers=1, pool={"size": 1, "server_reset_query_always": "on",
                                         "server_reset_query": "SELECT 1; SELECT 2"})
    for i in range(3):
        c = braid.connect("one")
        ask(c, f"SET my.x = '{i}'")
        expect("its own setting", [(str(i),)], ask(c, "SHOW my.x"))
        c.close()
    pools.end(braid)


TESTS = [
    ("sizes", test_sizes), ("shared limits", test_shared_limits), ("in turn", test_limits_in_turn),
    ("clients", test_clients), ("reserve", test_reserve), ("min size", test_min_size),
    ("ages", test_ages), ("many users", test_many_users), ("order", test_order),
    ("wait", test_wait), ("query timeout", test_query_timeout),
    ("query timeout of the extended protocol", test_query_timeout_extended),
    ("client timeouts", test_client_timeouts), ("frozen server", test_frozen_server),
    ("full server", test_full_server), ("dead server", test_dead_server), ("stale", test_stale),
    ("round robin", test_round_robin), ("own connections", test_own_connections),
    ("modes", test_modes), ("mode change", test_mode_change), ("dirty", test_dirty),
]



def run(place, report):
    pools = Pools(place.fleet, place.build)
    for name, test in TESTS + pool_commands.TESTS:
        report.run(f"pools: {name}", test, pools)
        pools.clear()
