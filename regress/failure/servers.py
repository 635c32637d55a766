"""Servers that are down, die, or stop answering."""

import threading
import time

import psycopg2

import pg
from report import expect, expect_that
from place import expect_error, serves, wait_for

LOST = ("08006", "08004", "57P01", "08007", "57P03", "25P02", "08001", "57P02")


def lost_code(what, call):
    """The statement must fail as one does whose server is gone."""
    e = expect_error(what, None, call)
    expect_that(f"{what}: SQLSTATE {e.pgcode}: {e}", e.pgcode in LOST or e.pgcode is None)
    return e


def test_down_at_start(place):
    """The proxy comes up without a server; what needs the others works, and all of it once it is up."""
    down = place.servers[2]
    down.stop()
    try:
        braid = place.braid(start=False)
        braid.start(wait=False)
        braid.wait_http()
        expect_that("health is not ok", wait_for("a verdict", lambda: braid.http("/health")[0] != 200))
        wait_for("it is seen", lambda: not braid.stats()["backends"]["s2"]["healthy"])
        expect("the one-shard database does not mind", [(1,)], braid.sql("SELECT 1", "plain"))
        here = [place.row_on(0), place.row_on(1)]
        for row in here:
            expect("rows of servers that are up", [(f"v{row}",)],
                   braid.sql(f"SELECT v FROM items WHERE id = {row}"))
        lost_code("a query over all", lambda: braid.sql("SELECT count(*) FROM items"))
    finally:
        down.start()
    braid.wait_healthy()
    serves(braid)
    place.end(braid)


def test_home_down_at_start(place):
    """Without the home shard there is no catalog; it is read as soon as there is one."""
    for server in place.servers:
        server.stop()
    try:
        braid = place.braid(start=False)
        braid.start(wait=False)
        braid.wait_http()
        lost_code("nothing is up", lambda: braid.sql("SELECT 1"))
    finally:
        for server in place.servers:
            server.start()
    braid.wait_healthy()
    serves(braid)
    place.end(braid)


def die_during(place, braid, shard, sql, params=None):
    """Kill the backend processes of a server while sql runs on it."""
    connection = braid.connect()
    try:
        timer = threading.Timer(0.3, place.servers[shard].restart)
        timer.start()
        with connection.cursor() as cur:
            lost_code(sql, lambda: cur.execute(sql, params))
        timer.join()
        braid.wait_healthy()
        if not connection.closed:
            with connection.cursor() as cur:
                cur.execute("SELECT count(*) FROM items")
                expect("the session goes on", 300, cur.fetchone()[0])
    finally:
        connection.close()


def test_killed_in_query(place):
    braid = place.braid()
    row = place.row_on(1)
    die_during(place, braid, 1, f"SELECT v, pg_sleep(20) FROM items WHERE id = {row}")
    serves(braid)
    die_during(place, braid, 1, "SELECT count(pg_sleep(0.2)) FROM items")
    serves(braid)
    place.end(braid)


def test_killed_in_transaction(place):
    """What was done on other shards is undone."""
    braid = place.braid()
    one, two = place.row_on(0), place.row_on(1)
    connection = braid.connect(autocommit=False)
    with connection.cursor() as cur:
        cur.execute(f"UPDATE items SET v = 'half' WHERE id = {one}")
        cur.execute(f"UPDATE items SET v = 'half' WHERE id = {two}")
        place.servers[1].restart()
        lost_code("commit", connection.commit)
    connection.close()
    braid.wait_healthy()
    expect("nothing of it", [(0,)], braid.sql("SELECT count(*) FROM items WHERE v = 'half'"))
    for server in place.servers:
        expect("prepared", [(0,)], server.wait_sql("SELECT count(*) FROM pg_prepared_xacts",
                                                   lambda rows: rows == [(0,)]))
    serves(braid)
    place.end(braid)


def test_idle_connections_die(place):
    """Server connections that broke while idle are not handed out."""
    braid = place.braid()
    connections = [braid.connect() for _ in range(4)]
    for c in connections:
        with c.cursor() as cur:
            cur.execute("SELECT count(*) FROM items")
    for server in place.servers:
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    wait_for("they are noticed", lambda: all(
        b["connections"] - b["active"] == b["idle"] for b in braid.stats()["backends"].values()))
    time.sleep(0.2)
    for c in connections:
        with c.cursor() as cur:
            cur.execute("SELECT count(*) FROM items")
            expect("rows", 300, cur.fetchone()[0])
        c.close()
    serves(braid)
    place.end(braid)


def test_terminated_in_transaction(place):
    """pg_terminate_backend in a transaction: the client hears of it, the next transaction works."""
    braid = place.braid()
    row = place.row_on(1)
    connection = braid.connect(autocommit=False)
    with connection.cursor() as cur:
        cur.execute(f"UPDATE items SET v = 'cut' WHERE id = {row}")
        place.servers[1].sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                             "WHERE state = 'idle in transaction'")
        time.sleep(0.2)
        lost_code("the next statement", lambda: cur.execute(f"SELECT v FROM items WHERE id = {row}"))
    if not connection.closed:
        connection.rollback()
        with connection.cursor() as cur:
            cur.execute(f"SELECT v FROM items WHERE id = {row}")
            expect("undone", (f"v{row}",), cur.fetchone())
    connection.close()
    serves(braid)
    place.end(braid)


def test_frozen_in_prepare(place):
    """A server that stops answering in PREPARE TRANSACTION: the commit fails in time, all is undone."""
    braid = place.braid(txn={"prepare_timeout_ms": 1000, "recover_interval_ms": 200})
    one, two = place.row_on(0), place.row_on(2)
    connection = braid.connect(autocommit=False)
    frozen = place.servers[2]
    try:
        with connection.cursor() as cur:
            cur.execute(f"UPDATE items SET v = 'frozen' WHERE id = {one}")
            cur.execute(f"UPDATE items SET v = 'frozen' WHERE id = {two}")
        frozen.freeze()
        begin = time.monotonic()
        expect_error("commit", None, connection.commit)
        took = time.monotonic() - begin
        expect_that(f"in {took:.1f} s", took < 8)
        expect("others go on", [(f"v{place.row_on(1)}",)],
               braid.sql(f"SELECT v FROM items WHERE id = {place.row_on(1)}"))
    finally:
        frozen.resume()
    connection.close()
    braid.wait_healthy()
    for server in place.servers:
        expect("prepared", [(0,)], server.wait_sql("SELECT count(*) FROM pg_prepared_xacts",
                                                   lambda rows: rows == [(0,)]))
    expect("nothing of it", [(0,)], braid.sql("SELECT count(*) FROM items WHERE v = 'frozen'"))
    serves(braid)
    place.end(braid)


def test_no_prepared_transactions(place):
    """max_prepared_transactions = 0 on a server: the commit over shards fails whole, with its reason."""
    weak = place.fleet.add(options=["max_prepared_transactions = 0"])
    weak.start()
    strong = place.fleet.start(1)[0]
    for server in (weak, strong):
        pg.prepare(server)
    braid = place.braid(servers=[strong, weak], start=False)
    braid.start(wait=False)
    braid.wait_http()
    wait_for("it serves", lambda: try_sql(braid, "SELECT 1"))
    e = expect_error("a table on both", None,
                     lambda: braid.sql("CREATE TABLE items (id bigint PRIMARY KEY, v text)"))
    expect_that(f"the reason is told: {e}", "max_prepared_transactions is 0" in str(e))
    for server in (weak, strong):
        expect("it is nowhere", [(None,)], server.sql("SELECT to_regclass('items')", "app"))
    expect("in doubt", 0, braid.stats()["transactions"]["in_doubt"])
    place.end(braid)
    weak.stop()
    strong.stop()


def try_sql(braid, sql):
    try:
        braid.sql(sql)
        return True
    except psycopg2.Error:
        return False


def test_server_shutdown(place):
    """A fast shutdown says 57P01 to idle connections; later the server serves again."""
    braid = place.braid()
    serves(braid)
    place.servers[1].stop("fast")
    lost_code("while it is down", lambda: braid.sql("SELECT count(*) FROM items"))
    row = place.row_on(0)
    expect("others go on", [(f"v{row}",)], braid.sql(f"SELECT v FROM items WHERE id = {row}"))
    place.servers[1].start()
    braid.wait_healthy()
    serves(braid)
    place.end(braid)


def test_too_many_at_server(place):
    """The server has fewer connections than the pool may open: clients wait for those that are open."""
    small = place.fleet.add(options=["max_connections = 8", "superuser_reserved_connections = 3"])
    small.start()
    pg.prepare(small)
    braid = place.braid(servers=[small], pool={"size": 20, "query_wait_ms": 20000})
    errors, done = [], []

    def work():
        try:
            for _ in range(5):
                done.append(braid.sql("SELECT pg_sleep(0.05)", "plain"))
        except psycopg2.Error as e:
            errors.append(f"{e.pgcode} {e}")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(40)
    expect_that("they hang", not any(t.is_alive() for t in threads))
    expect_that(f"all are served: {len(done)} of 80, {errors[:2]}", len(done) == 80)
    wait_for("it is fine again", lambda: try_plain(braid), 15)
    place.end(braid)
    small.stop()


def test_holders_of_two_workers(place):
    """Transactions over two shards on two workers, each with a connection that another one needs, all get on."""
    braid = place.braid(workers=2, worker_fill=0, pool={"size": 1}, txn={"prepare_timeout_ms": 20000})
    rows = [[id_ for (id_,) in place.servers[shard].sql("SELECT id FROM items ORDER BY id LIMIT 12", "app")]
            for shard in (0, 1)]
    until = time.monotonic() + 2
    done = [0] * 12

    def work(number):
        pair = [rows[0][number], rows[1][number]]
        c = braid.connect(autocommit=False)
        while time.monotonic() < until:
            with c.cursor() as cur:
                for row in pair if number % 2 else reversed(pair):
                    cur.execute(f"UPDATE items SET v = v WHERE id = {row}")
            c.commit()
            done[number] += 1
        c.close()

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(max(0.0, until + 15 - time.monotonic()))
    expect_that(f"nobody waits for ever: {done}", not any(t.is_alive() for t in threads) and min(done) > 0)
    serves(braid)
    place.end(braid)


def try_plain(braid):
    try:
        braid.sql("SELECT 1", "plain")
        return True
    except psycopg2.Error:
        return False


def run(place, report):
    report.run("servers: one down at start", test_down_at_start, place)
    report.run("servers: all down at start", test_home_down_at_start, place)
    report.run("servers: killed in a query", test_killed_in_query, place)
    report.run("servers: killed in a transaction", test_killed_in_transaction, place)
    report.run("servers: idle connections cut", test_idle_connections_die, place)
    report.run("servers: terminated in a transaction", test_terminated_in_transaction, place)
    report.run("servers: frozen in PREPARE TRANSACTION", test_frozen_in_prepare, place)
    report.run("servers: without prepared transactions", test_no_prepared_transactions, place)
    report.run("servers: shut down and up again", test_server_shutdown, place)
    report.run("servers: fewer connections than the pool", test_too_many_at_server, place)
    report.run("servers: holders of two workers", test_holders_of_two_workers, place)
