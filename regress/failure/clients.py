"""Clients that vanish, cancel, wait, or share few server connections."""

import threading
import time

import psycopg2

import raw
from report import expect, expect_that
from place import expect_error, serves, wait_for

SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active' " \
           "AND pid <> pg_backend_pid()"


def sleepers(place):
    return sum(s.sql(SLEEPING)[0][0] for s in place.servers)


def busy(place):
    return sum(s.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND usename = 'app' "
                     "AND state <> 'idle'")[0][0] for s in place.servers)


def test_gone_in_copy(place):
    """Nothing of the COPY stays, the connections are free for others."""
    braid = place.braid(pool={"size": 1})
    for _ in range(3):
        r = raw.Raw(braid.port)
        r.login()
        r.send(raw.query("COPY items FROM STDIN"))
        r.until("G")
        r.send(*[raw.message("d", f"{i}\tgone\n".encode()) for i in range(200_000, 200_500)])
        time.sleep(0.05)
        r.socket.close()
    wait_for("nothing runs on", lambda: busy(place) == 0)
    expect("rows of the broken COPY", [(0,)], braid.sql("SELECT count(*) FROM items WHERE v = 'gone'"))
    serves(braid)
    r = raw.Raw(braid.port)
    r.login()
    r.send(raw.query("COPY items TO STDOUT"))
    r.until("H")
    r.socket.close()
    serves(braid)
    place.end(braid)


def test_copy_fail(place):
    braid = place.braid()
    with raw.Raw(braid.port) as r:
        r.login()
        r.send(raw.query("COPY items FROM STDIN"))
        r.until("G")
        r.send(raw.message("d", b"300001\tx\n"), raw.message("f", b"changed my mind\0"))
        got = r.until("Z")
        expect("CopyFail", ["57014"], raw.codes_of(got))
        r.send(raw.query("COPY items FROM STDIN"))
        r.until("G")
        r.send(raw.message("d", b"300002\tx\nnot a number\ty\n"), raw.message("c"))
        expect("a row that is none", ["22P02"], raw.codes_of(r.until("Z")))
        r.send(raw.query("COPY items FROM STDIN"))
        r.until("G")
        r.send(raw.message("d", b"300003\tx\n7\ttwice\n"), raw.message("c"))
        expect("a row that is there already", ["23505"], raw.codes_of(r.until("Z")))
        expect("rows that came in", [["0"]], raw.rows_of(r.ask(raw.query("SELECT count(*) FROM items WHERE id > 300000"))))
    serves(braid)
    place.end(braid)


def test_gone_in_query(place):
    """The servers stop working for a client that is gone."""
    braid = place.braid(pool={"size": 1})
    for sql in ("SELECT pg_sleep(30)", "SELECT v, pg_sleep(30) FROM items WHERE id = 7",
                "SELECT count(pg_sleep(1)) FROM items"):
        r = raw.Raw(braid.port)
        r.login()
        r.send(raw.query(sql))
        try:
            wait_for("it runs", lambda: sleepers(place) > 0, 3)
        finally:
            r.socket.close()
        wait_for(f"the servers stop: {sql}", lambda: sleepers(place) == 0)
        serves(braid)
    place.end(braid)


def test_gone_in_transaction(place):
    """Its transaction is rolled back and holds no lock."""
    braid = place.braid()
    r = raw.Raw(braid.port)
    r.login()
    r.ask(raw.query("BEGIN"))
    r.ask(raw.query("UPDATE items SET v = 'lost' WHERE id IN (1, 2, 3, 4, 5, 6)"))
    r.socket.close()
    wait_for("nothing is open", lambda: busy(place) == 0)
    expect("rolled back", [("v1",)], braid.sql("SELECT v FROM items WHERE id = 1"))
    braid.sql("UPDATE items SET v = v WHERE id IN (1, 2, 3, 4, 5, 6)")
    serves(braid)
    place.end(braid)


def cancelled(connection, sql, after=0.3):
    """Run sql, cancel it from another thread; the error."""
    timer = threading.Timer(after, connection.cancel)
    timer.start()
    begin = time.monotonic()
    try:
        with connection.cursor() as cur:
            e = expect_error(f"cancel of {sql}", "57014", lambda: cur.execute(sql))
    finally:
        timer.join()
    expect_that("the cancel took long", time.monotonic() - begin < 5)
    return e


def test_cancel(place):
    braid = place.braid()
    for sql in ("SELECT pg_sleep(30)", "SELECT v, pg_sleep(30) FROM items WHERE id = 7",
                "SELECT count(pg_sleep(1)) FROM items",
                "UPDATE items SET v = v WHERE pg_sleep(1) IS NOT NULL AND id = 7"):
        c = braid.connect()
        if sql.startswith("UPDATE"):
            blocker = braid.connect(autocommit=False)
            with blocker.cursor() as cur:
                cur.execute("UPDATE items SET v = v WHERE id = 7")
            cancelled(c, "UPDATE items SET v = v WHERE id = 7")
            blocker.rollback()
            blocker.close()
        else:
            cancelled(c, sql)
        with c.cursor() as cur:
            cur.execute("SELECT 1")
            expect("the session goes on", (1,), cur.fetchone())
        c.close()
    wait_for("nothing sleeps on", lambda: sleepers(place) == 0)
    serves(braid)
    place.end(braid)


def test_late_cancel(place):
    """A cancel of a session that runs nothing hits nobody, whoever uses its server connection now."""
    braid = place.braid(pool={"size": 1})
    idle = braid.connect()
    with idle.cursor() as cur:
        cur.execute("SELECT 1")
    other = braid.connect()
    stop = threading.Event()

    def pester():
        while not stop.is_set():
            idle.cancel()

    thread = threading.Thread(target=pester)
    thread.start()
    try:
        with other.cursor() as cur:
            for _ in range(30):
                cur.execute("SELECT pg_sleep(0.02)")
                cur.execute("SELECT count(*) FROM items")
    finally:
        stop.set()
        thread.join()
    wrong = raw.Raw(braid.port)
    wrong.send(raw.request(raw.CANCEL_REQUEST, b"\0\0\0\1\0\0\0\2"))
    expect("a cancel with a wrong key is answered by nothing", [], wrong.rest())
    other.close()
    idle.close()
    serves(braid)
    place.end(braid)


def test_waiting(place):
    """With one server connection, clients are served in the order in which they came."""
    braid = place.braid(pool={"size": 1}, workers=1)
    holder = braid.connect(autocommit=False)
    with holder.cursor() as cur:
        cur.execute("SELECT v FROM items WHERE id = 7")
    served, clients = [], []

    def ask(number, connection):
        with connection.cursor() as cur:
            cur.execute("SELECT clock_timestamp() FROM items WHERE id = 7")
            served.append((cur.fetchone()[0], number))  # the server's clock: threads come as they like
        connection.close()

    # Connecting needs no server connection once its parameters are known; asking does.
    connections = [braid.connect() for _ in range(6)]
    for number, connection in enumerate(connections):
        thread = threading.Thread(target=ask, args=(number, connection))
        thread.start()
        clients.append(thread)
        wait_for("it waits", lambda n=number: braid.stats()["connections"]["waiting"] == n + 1)
    expect("nobody is served yet", [], served)
    holder.commit()
    for thread in clients:
        thread.join(10)
    expect("order of service", [0, 1, 2, 3, 4, 5], [number for _, number in sorted(served)])
    holder.close()
    serves(braid)
    place.end(braid)


def test_wait_timeout(place):
    braid = place.braid(pool={"size": 1, "query_wait_ms": 500})
    holder = braid.connect(autocommit=False)
    with holder.cursor() as cur:
        cur.execute("SELECT v FROM items WHERE id = 7")
    other = braid.connect()
    with other.cursor() as cur:
        begin = time.monotonic()
        expect_error("no connection in time", "57P03",
                     lambda: cur.execute("SELECT v FROM items WHERE id = 7"))
        took = time.monotonic() - begin
        expect_that(f"after {took:.2f} s", 0.4 < took < 3)
        holder.commit()
        cur.execute("SELECT v FROM items WHERE id = 7")
        expect("later it works", ("v7",), cur.fetchone())
    other.close()
    holder.close()
    place.end(braid)


def test_gathers_do_not_deadlock(place):
    """Statements over all shards with one connection per shard: none holds half and waits for ever."""
    braid = place.braid(pool={"size": 1})
    errors = []

    def work():
        try:
            c = braid.connect()
            with c.cursor() as cur:
                for _ in range(40):
                    cur.execute("SELECT count(*), min(v) FROM items")
                    cur.fetchall()
            c.close()
        except psycopg2.Error as e:
            errors.append(str(e))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    expect_that("they hang", not any(t.is_alive() for t in threads))
    expect("errors", [], errors)
    serves(braid)
    place.end(braid)


def test_prepared_over_backends(place):
    """Statements prepared once run on whichever server connection comes, in transaction pooling."""
    braid = place.braid(pool={"size": 3})
    with raw.Raw(braid.port) as a, raw.Raw(braid.port) as b:
        for r, sql in ((a, "SELECT v FROM items WHERE id = $1"), (b, "SELECT id FROM items WHERE v = $1")):
            r.login()
            expect("prepared", "1Z", raw.letters(r.ask(raw.parse(sql, "same_name"), raw.SYNC)))
        holders = []
        for i in range(1, 13):
            if i % 3 == 0:  # take server connections away, so that the next one is another
                holder = braid.connect(autocommit=False)
                with holder.cursor() as cur:
                    cur.execute("SELECT v FROM items WHERE id = 7")
                holders.append(holder)
                if len(holders) > 2:
                    holders.pop(0).close()
            got = a.ask(raw.bind([i], "same_name"), raw.execute(), raw.SYNC)
            expect("by id", [[f"v{i}"]], raw.rows_of(got))
            got = b.ask(raw.bind([f"v{i}"], "same_name"), raw.execute(), raw.SYNC)
            expect("by value", [[str(i)]], raw.rows_of(got))
        for holder in holders:
            holder.close()
        expect("closed", "3Z", raw.letters(a.ask(raw.close("S", "same_name"), raw.SYNC)))
        expect("gone", ["26000"], raw.codes_of(a.ask(raw.bind([1], "same_name"), raw.SYNC)))
        expect("the other one is not", [["5"]],
               raw.rows_of(b.ask(raw.bind(["v5"], "same_name"), raw.execute(), raw.SYNC)))
    # A change of the table under a prepared statement of SELECT *.
    with raw.Raw(braid.port) as r:
        r.login()
        r.ask(raw.parse("SELECT * FROM notes WHERE id = $1", "n"), raw.SYNC)
        braid.sql("INSERT INTO notes VALUES (1, 'note')")
        expect("before", [["1", "note"]], raw.rows_of(r.ask(raw.bind([1], "n"), raw.execute(), raw.SYNC)))
        braid.sql("ALTER TABLE notes ADD COLUMN w int")
        got = r.ask(raw.bind([1], "n"), raw.execute(), raw.SYNC)
        expect_that(f"rows or 0A000 after ALTER: {raw.codes_of(got)}",
                    raw.codes_of(got) == ["0A000"] or raw.rows_of(got) == [["1", "note", None]])
        braid.sql("ALTER TABLE notes DROP COLUMN w")
        braid.sql("DELETE FROM notes")
    serves(braid)
    place.end(braid)


def test_two_workers(place):
    """Clients of both workers at once; the sum of what they did is right."""
    braid = place.braid(pool={"size": 4}, workers=2)
    for i in (1, 2, 3, 4):
        braid.sql(f"INSERT INTO notes VALUES ({i}, '0')")
    errors = []

    def work(number):
        try:
            c = braid.connect()
            with c.cursor() as cur:
                for i in range(60):
                    cur.execute("UPDATE notes SET v = v::int + 1 WHERE id = %s", (1 + (number + i) % 4,))
                    cur.execute("SELECT sum(id) FROM items")
                    if int(cur.fetchone()[0]) != 300 * 301 // 2:
                        errors.append("sum")
            c.close()
        except psycopg2.Error as e:
            errors.append(str(e))

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    expect("errors", [], errors[:3])
    got = braid.sql("SELECT v FROM notes")
    expect("updates", 12 * 60, sum(int(row[0]) for row in got))
    braid.sql("DELETE FROM notes")
    opened = sum(s.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND usename = 'app'")[0][0]
                 for s in place.servers)
    # A session that holds a shard may go past pool.size for its next one, or sessions could block
    # each other for ever; the service user's own connections come on top.
    expect_that(f"{opened} server connections for a pool of 4 on 3 shards", opened <= 3 * 12)
    serves(braid)
    place.end(braid)


def run(place, report):
    report.run("clients: gone in COPY", test_gone_in_copy, place)
    report.run("clients: COPY that fails", test_copy_fail, place)
    report.run("clients: gone in a query", test_gone_in_query, place)
    report.run("clients: gone in a transaction", test_gone_in_transaction, place)
    report.run("clients: cancel", test_cancel, place)
    report.run("clients: late cancels", test_late_cancel, place)
    report.run("clients: waiting in order", test_waiting, place)
    report.run("clients: waiting too long", test_wait_timeout, place)
    report.run("clients: gathers with one connection", test_gathers_do_not_deadlock, place)
    report.run("clients: prepared statements over server connections", test_prepared_over_backends, place)
    report.run("clients: two workers", test_two_workers, place)
