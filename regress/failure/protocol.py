"""The protocol by hand: prepared statements of SQL and of the protocol, pipelines, COPY, parameters."""

import random
import itertools
import struct
import threading
import time

import raw
import state
from report import expect, expect_that
from place import wait_for

Q, P, B, D, E, C = raw.query, raw.parse, raw.bind, raw.describe, raw.execute, raw.close
S, H = raw.SYNC, raw.FLUSH


def client(braid, dbname="plain", **more):
    r = raw.Raw(braid.port)
    r.login(database=dbname, **more)
    return r


def shape(messages):
    """Letters of the answer, what an error says, rows as they are."""
    out = []
    for kind, body in messages:
        if kind == "E":
            fields = raw.fields_of(body)
            out.append(("E" + fields["C"], fields["M"], fields.get("P")))
        elif kind == "D":
            out.append(raw.rows_of([(kind, body)])[0])
        elif kind not in "NS":
            out.append(kind if kind != "Z" else "Z" + body.decode())
    return out


# What a client sends in one go, and the shape of the answer; the same from PostgreSQL itself.
PREPARED = [
    ("PREPARE, EXECUTE", [Q("PREPARE q AS SELECT 5")], [Q("EXECUTE q")], [Q("DEALLOCATE q")], [Q("EXECUTE q")]),
    ("types", [Q("PREPARE q (int, text) AS SELECT $1 + 1, $2")], [Q("EXECUTE q ('4', 5)")],
     [Q("EXECUTE q (1)")], [Q("EXECUTE q ('x', 'y')")], [Q("DEALLOCATE ALL")]),
    ("a failed transaction and nothing", [Q("BEGIN; SELECT 1/0")], [Q("")], [P(""), S],
     [P("SELECT 1"), S], [Q("ROLLBACK")]),
    ("SET TRANSACTION and savepoints", [Q("BEGIN")], [Q("SAVEPOINT x")], [Q("SET TRANSACTION READ ONLY")],
     [Q("SHOW transaction_read_only")], [Q("ROLLBACK TO x")], [Q("SHOW transaction_read_only")], [Q("COMMIT")]),
    ("places of errors", [Q("PREPARE q (int) AS SELECT nothing, $1")], [Q("PREPARE q (int) AS SELECT $1")],
     [Q("EXECUTE q ('x')")], [Q("EXECUTE q ()")], [Q("EXECUTE  q(1, 2)")], [Q("EXECUTE q(nothing)")],
     [Q("EXPLAIN EXECUTE q('x')")], [Q("DEALLOCATE q")]),
    ("twice", [Q("PREPARE q AS SELECT 5")], [Q("PREPARE q AS SELECT 6")], [Q("DEALLOCATE q")]),
    ("bad", [Q("PREPARE q AS SELECT nothing")], [Q("EXECUTE q")], [Q("DEALLOCATE q")]),
    ("unknown type", [Q("PREPARE q (nonsense) AS SELECT $1")]),
    ("quoted name", [Q('PREPARE "Q ""q" AS SELECT 5')], [Q('EXECUTE "Q ""q"')], [Q("EXECUTE q")],
     [Q("DEALLOCATE ALL")]),
    ("in a batch", [Q("PREPARE q AS SELECT 5; EXECUTE q; EXECUTE q; DEALLOCATE q")]),
    ("in a batch, fails", [Q("PREPARE q AS SELECT 5; EXECUTE q; SELECT 1/0; EXECUTE q")], [Q("EXECUTE q")],
     [Q("DEALLOCATE q")]),
    ("rolled back", [Q("BEGIN")], [Q("PREPARE q AS SELECT 5")], [Q("ROLLBACK")], [Q("EXECUTE q")],
     [Q("DEALLOCATE q")]),
    ("in a transaction", [Q("PREPARE q AS SELECT 5")], [Q("BEGIN")], [Q("EXECUTE q")], [Q("EXECUTE z")],
     [Q("EXECUTE q")], [Q("ROLLBACK")], [Q("DEALLOCATE q")]),
    ("explain", [Q("PREPARE q (int) AS SELECT $1")], [Q("EXPLAIN (COSTS OFF) EXECUTE q(5)")],
     [Q("DEALLOCATE q")]),
    ("create table as", [Q("PREPARE q (int) AS SELECT $1 AS a")],
     [Q("CREATE TEMP TABLE t AS EXECUTE q(5); SELECT a FROM t; DROP TABLE t")], [Q("DEALLOCATE q")]),
    ("bound by the protocol", [Q("PREPARE q (int) AS SELECT $1 + 1")],
     [B(["4"], "q"), D("P"), E(), S], [D("S", "q"), S], [C("S", "q"), S], [Q("EXECUTE q(1)")]),
    ("of the protocol, by EXECUTE", [P("SELECT $1::int + 1", "q"), S], [Q("EXECUTE q(4)")],
     [Q("DEALLOCATE q")], [B(["4"], "q"), E(), S]),
    ("all by Parse", [P("PREPARE q (int) AS SELECT $1 + 1"), B(), D("P"), E(), S],
     [P("EXECUTE q(4)"), B(), D("P"), E(), S], [P("EXECUTE q(5)", "x"), D("S", "x"), S],
     [B((), "x"), E(), B((), "x"), E(), S], [P("DEALLOCATE q"), B(), E(), S],
     [Q("DEALLOCATE ALL")]),
    ("one pipeline", [P("PREPARE q AS SELECT 5"), B(), E(), P("EXECUTE q"), B(), E(), P("SELECT 6"), B(),
                      E(), S], [Q("DEALLOCATE q")]),
    ("a pipeline that fails", [P("PREPARE q AS SELECT 1/(5 - $1::int)"), B(), E(), P("EXECUTE q(5)"), B(),
                               E(), P("SELECT 6"), B(), E(), S], [Q("EXECUTE q(4)")],
     [Q("DEALLOCATE ALL")]),
    ("insert", [Q("CREATE TEMP TABLE t (a int)")], [Q("PREPARE q AS INSERT INTO t VALUES ($1) RETURNING a")],
     [Q("EXECUTE q(5)")], [Q("EXECUTE q(6)")], [Q("SELECT count(*) FROM t")], [Q("DROP TABLE t")],
     [Q("EXECUTE q(7)")], [Q("DEALLOCATE ALL")]),
    ("discard all", [Q("PREPARE q AS SELECT 5")], [Q("DISCARD ALL")], [Q("EXECUTE q")]),
]

# Everything else that must be as from PostgreSQL itself.
PIPELINES = [
    ("empty query", [Q("")], [Q(" ; ")], [P(""), B(), D("P"), E(), S]),
    ("errors skip to Sync", [P("SELECT 1/0"), B(), E(), P("SELECT 1"), B(), E(), S], [Q("SELECT 1")]),
    ("several segments", [P("SELECT 1"), B(), E(), S, P("SELECT 1/0"), B(), E(), S, P("SELECT 2"), B(), E(), S]),
    ("row limits", [P("SELECT * FROM generate_series(1, 5)"), B(), E("", 2), E("", 2), E("", 2), S]),
    ("a named portal in a transaction", [Q("BEGIN")],
     [P("SELECT * FROM generate_series(1, 5)"), B((), "", "p"), E("p", 2), S],
     [Q("SELECT 'between'")], [E("p", 2), S], [C("P", "p"), S], [E("p", 2), S], [Q("ROLLBACK")]),
    ("a portal ends with its transaction", [P("SELECT 1"), B((), "", "p"), S], [E("p"), S]),
    ("describe of both kinds", [P("SELECT $1::int, $2::text", "d"), D("S", "d"), B(["1", "x"], "d"),
                                D("P"), E(), C("S", "d"), S]),
    ("binary", [P("SELECT $1::int4 + 1", "", [23]), B([struct.pack("!i", 41)], formats=[1]), D("P"), E(), S]),
    ("a duplicate name", [P("SELECT 1", "n"), S], [P("SELECT 2", "n"), S], [C("S", "n"), S],
     [P("SELECT 2", "n"), S], [C("S", "n"), S]),
    ("close of nothing", [C("S", "nothing"), C("P", "nothing"), S]),
    ("nothing known", [B((), "nothing"), S], [D("S", "nothing"), S], [D("P", "nothing"), S], [E("nothing"), S]),
    ("one statement only by Parse", [P("SELECT 1; SELECT 2"), S]),
    ("several in a query", [Q("SELECT 1; SELECT 2; SELECT 3")], [Q("SELECT 1; SELECT 1/0; SELECT 3")]),
    ("several, one transaction", [Q("CREATE TEMP TABLE t (a int)")],
     [Q("INSERT INTO t VALUES (1); INSERT INTO t VALUES (1/0)")], [Q("SELECT count(*) FROM t")],
     [Q("INSERT INTO t VALUES (1); COMMIT; INSERT INTO t VALUES (1/0)")], [Q("SELECT count(*) FROM t")],
     [Q("BEGIN; INSERT INTO t VALUES (2)")], [Q("ROLLBACK")], [Q("SELECT count(*) FROM t")], [Q("DROP TABLE t")]),
    ("transaction control", [Q("COMMIT AND CHAIN")], [Q("ROLLBACK AND CHAIN")], [Q("ROLLBACK TO a")],
     [Q("RELEASE a")], [Q("SAVEPOINT a")], [Q("COMMIT")], [Q("SELECT 1; COMMIT; SELECT 2")],
     [Q("SELECT 1; COMMIT AND CHAIN; SELECT 2")], [Q("SELECT 1; ROLLBACK; SELECT 2")],
     [Q("BEGIN; BEGIN; SELECT 1; COMMIT")], [Q("SELECT 1; BEGIN READ ONLY; CREATE TABLE x (a int)")],
     [Q("ROLLBACK")], [Q("BEGIN")], [Q("BEGIN READ ONLY")], [Q("SHOW transaction_read_only")],
     [Q("COMMIT AND CHAIN")], [Q("SHOW transaction_read_only")], [Q("SELECT 1/0")], [Q("COMMIT AND CHAIN")],
     [Q("SELECT 1")], [Q("ROLLBACK TO nowhere")], [Q("ROLLBACK")]),
    ("two-phase commit", [Q("BEGIN; SET work_mem = '7MB'; PREPARE TRANSACTION 'braid_a'")],
     [Q("SHOW work_mem")], [Q("COMMIT PREPARED 'braid_a'")], [Q("RESET ALL")],
     [Q("BEGIN")], [Q("SET work_mem = '7MB'")], [Q("CREATE TEMP TABLE x (a int)")],
     [Q("PREPARE TRANSACTION 'braid_b'")], [Q("SHOW work_mem")], [Q("BEGIN; SELECT 1/0")],
     [Q("PREPARE TRANSACTION 'braid_c'")], [Q("SELECT 1")], [Q("PREPARE TRANSACTION 'braid_d'")]),
    ("begin in a pipeline", [P("BEGIN"), B(), E(), P("SELECT 1"), B(), E(), S], [Q("SELECT 1")], [Q("COMMIT")]),
    ("a pipeline is one transaction", [Q("CREATE TEMP TABLE t (a int)")],
     [P("INSERT INTO t VALUES (1)"), B(), E(), P("SELECT 1/0"), B(), E(), S], [Q("SELECT count(*) FROM t")],
     [Q("DROP TABLE t")]),
    ("copy in", [Q("CREATE TEMP TABLE t (a int)")],
     [Q("COPY t FROM STDIN"), raw.message("d", b"1\n2\n"), raw.message("c")],
     [Q("COPY t FROM STDIN"), raw.message("d", b"3\n"), raw.message("f", b"no\0")],
     [Q("COPY t FROM STDIN"), raw.message("d", b"3\nx\n"), raw.message("d", b"4\n"), raw.message("c")],
     [Q("SELECT count(*) FROM t")],
     [P("COPY t FROM STDIN"), B(), E(), raw.message("d", b"5\n"), raw.message("c"), S],
     [P("COPY t FROM STDIN"), B(), E(), raw.message("d", b"6\n"), raw.message("f", b"no\0"), S],
     [P("COPY t FROM STDIN"), B(), E(), raw.message("d", b"x\n"), raw.message("c"), S],
     [Q("SELECT count(*) FROM t")],
     [Q("COPY t FROM STDIN; SELECT 1"), raw.message("d", b"7\n"), raw.message("c")],
     [Q("DROP TABLE t")]),
    ("copy out", [Q("COPY (SELECT 1) TO STDOUT")], [P("COPY (SELECT 1) TO STDOUT"), B(), E(), S],
     [Q("COPY (SELECT 1/0) TO STDOUT")],
     [P("COPY (SELECT 1) TO STDOUT"), B(), E(), P("SELECT 2"), B(), E(), S]),
    ("a function call", [raw.message("F", struct.pack("!IHHHi4sH", 1403 and 65, 1, 1, 2, 4, b"\0\0\0\5", 0))]),
    ("settings", [Q("SET work_mem = 'nonsense'")], [Q("SET nothing_such = 1")], [Q("SET a.b = 1")],
     [Q("SHOW a.b")], [Q("BEGIN; SET a.b = 2; SAVEPOINT s; SET a.b = 3; ROLLBACK TO s")], [Q("SHOW a.b")],
     [Q("ROLLBACK")], [Q("SHOW a.b")], [Q("RESET ALL")], [Q("SET LOCAL a.b = 4; SHOW a.b")], [Q("SHOW a.b")]),
    ("settings by Parse", [P("SET work_mem = '7MB'"), B(), E(), P("SHOW work_mem"), B(), E(), S],
     [P("SET work_mem = 'x'"), B(), E(), P("SHOW work_mem"), B(), E(), S], [Q("SHOW work_mem")], [Q("RESET ALL")]),
]


def converse(r, rounds):
    return [shape(r.ask(*parts)) for parts in rounds]


def same_as_server(place, braid, name, *rounds):
    """pgbraid answers as PostgreSQL does; a second client moves the connection about meanwhile."""
    server = raw.Raw(place.servers[0].port)
    server.login(user="app", database="plain")
    expected = converse(server, rounds)
    server.socket.close()
    with client(braid) as r, client(braid) as other:
        for part, want in zip(rounds, expected):
            expect(f"{name}: {part}", want, shape(r.ask(*part)))
            if r.state == "I":
                other.send(Q("SELECT 1"))
                time.sleep(0)
                other.until("Z")
    with client(braid) as r:
        expect(f"{name}, alone", expected, converse(r, rounds))


def test_status(place, braid):
    """ParameterStatus tells what the session sees, whatever moves it."""
    with client(braid) as r:
        def seen(sql, *end):
            r.ask(Q(sql))
            value = raw.rows_of(r.ask(Q("SHOW timezone")))[0][0]
            expect(f"TimeZone after {sql}", value, r.parameters["TimeZone"])
            return value
        first = seen("SELECT 1")
        expect("SET", "Asia/Tokyo", seen("SET timezone = 'Asia/Tokyo'"))
        expect("a failed transaction", "Asia/Tokyo", seen("BEGIN; SET timezone = 'UTC'; ROLLBACK"))
        r.ask(Q("BEGIN"))
        r.ask(Q("SET timezone = 'Europe/Rome'"))
        expect("inside", "Europe/Rome", seen("SAVEPOINT s"))
        r.ask(Q("SET LOCAL timezone = 'Asia/Tokyo'"))
        expect("back to the savepoint", "Europe/Rome", seen("ROLLBACK TO s"))
        expect("rolled back", "Asia/Tokyo", seen("ROLLBACK"))
        r.ask(Q("BEGIN"))
        r.ask(Q("SET LOCAL timezone = 'Europe/Rome'"))
        expect("local", "Asia/Tokyo", seen("COMMIT"))
        seen("SELECT set_config('timezone', 'Europe/Rome', false)")
        seen("BEGIN; SELECT set_config('timezone', 'Asia/Tokyo', true); COMMIT")
        expect("reset", first, seen("RESET ALL"))
        seen("SET timezone = 'Asia/Tokyo'")
        expect("discard", first, seen("DISCARD ALL"))


def test_notify(place, braid):
    """A notification comes at once, also while the client is idle, and only to who listens."""
    with client(braid) as a, client(braid) as b:
        a.ask(Q("LISTEN news"))
        b.ask(Q("NOTIFY news, 'hello'"))
        kind, body = a.next()
        expect("the notification", ("A", b"news\0hello\0"), (kind, body[4:]))
        expect("who notifies hears nothing", ["T", ["1"], "C", "ZI"], shape(b.ask(Q("SELECT 1"))))
        a.ask(Q("BEGIN"))
        b.ask(Q("NOTIFY news, 'later'"))
        expect("not inside a transaction", ["T", ["1"], "C", "ZT"], shape(a.ask(Q("SELECT 1"))))
        expect("after it", True, "A" in raw.letters(a.ask(Q("COMMIT"))) or a.next()[0] == "A")
        a.ask(Q("UNLISTEN *"))
        b.ask(Q("NOTIFY news"))
        expect("not any longer", ["T", ["1"], "C", "ZI"], shape(a.ask(Q("SELECT 1"))))


def test_waiting_portal(place, braid):
    """The unnamed portal waits while its pipeline writes on a second shard, and so becomes a transaction."""
    here, there = place.row_on(0), place.row_on(1)
    with client(braid, "app") as c:
        got = c.ask(P("UPDATE items SET v = v WHERE id = $1", "u", (20,)), B((here,), "u"), E(), B((here,), "u"),
                    B((there,), "u", "other"), E(), E("other"), S)
        expect("all of it", (["12C22CCZ"], []), ([raw.letters(got)], raw.codes_of(got)))


def test_typed_by_the_driver(place, braid):
    """EXECUTE writes the statement out where shards have a part in it: with the types that PREPARE named, never without those of a Parse."""
    row = place.row_on(1)
    with client(braid, "app") as c:
        c.ask(P(f"SELECT 7 / $1 FROM items WHERE id = {row}", "typed", (701,)), P(f"SELECT 7 / $1 FROM items WHERE id = {row}", "open"), S)
        expect("float8, by the driver", ["2", ["3.5"], "C", "ZI"], shape(c.ask(B(["2"], "typed"), E(), S)))
        expect("float8, by EXECUTE", ["E0A000"], [shape(c.ask(Q("EXECUTE typed(2)")))[0][0]])
        expect("as its place asks for", ["T", ["3"], "C", "ZI"], shape(c.ask(Q("EXECUTE open(2)"))))


def test_old_plans(place, braid):
    """After ALTER TABLE: EXECUTE goes on; the protocol's are told once, whatever connection is next."""
    place.servers[0].sql("DROP TABLE IF EXISTS wide; CREATE TABLE wide (a int); INSERT INTO wide VALUES (1); "
                         "GRANT ALL ON wide TO app", "plain")
    rs = [client(braid) for _ in range(2)]
    for r in rs:  # each in a transaction: both server connections know them
        expect("made", ["ZT"], [shape(r.ask(Q("BEGIN")))[-1]])
        r.ask(P("SELECT * FROM wide", "p"), B((), "p"), E(), S)
        r.ask(Q("PREPARE q AS SELECT * FROM wide"))
        expect("runs", ["T", ["1"], "C", "ZT"], shape(r.ask(Q("EXECUTE q"))))
    for r in rs:
        r.ask(Q("COMMIT"))
    place.servers[0].sql("ALTER TABLE wide ADD b int", "plain")
    if braid.config["pool"]["mode"] == "session":  # then all is as the server has it
        expect("the server's error", "E0A000", shape(rs[0].ask(Q("EXECUTE q")))[0][0])
        return
    expect("EXECUTE sees the new column", ["T", ["1", None], "C", "ZI"], shape(rs[0].ask(Q("EXECUTE q"))))
    errors = 0
    for _ in range(3):
        for r in rs:
            got = raw.letters(r.ask(B((), "p"), E(), S))
            errors += "E" in got
    expect_that(f"{errors} errors", errors <= 1)
    rs[0].ask(Q("BEGIN"))
    rs[1].ask(Q("BEGIN"))
    for r in rs:  # on both server connections
        expect("EXECUTE", ["T", ["1", None], "C", "ZT"], shape(r.ask(Q("EXECUTE q"))))
        expect("Bind", ["2", ["1", None], "C", "ZT"], shape(r.ask(B((), "p"), E(), S)))
    for r in rs:
        r.socket.close()


def test_versions(place, braid):
    """Protocol 3.2 has long keys; newer versions and unknown options are negotiated."""
    for version, more, kind, key in ((raw.V30, {}, None, 4), (raw.V32, {}, None, 32), (raw.V30 + 9, {}, raw.V32, 32),
                                     (raw.V30 + 1, {}, raw.V30, 4),
                                     (raw.V32, {"_pq_.shiny": "1", "_pq_.new": "2"}, raw.V32, 32)):
        with raw.Raw(braid.port) as r:
            got = dict(r.login(database="plain", version=version, **more))
            expect(f"{version:#x} is negotiated", kind is not None, "v" in got)
            if kind is not None:
                newest, count = struct.unpack("!II", got["v"][:8])
                expect("version and options", (kind, sorted(more)),
                       (newest, sorted(x.decode() for x in got["v"][8:].split(b"\0") if x)))
                expect("options counted", len(more), count)
            expect("bytes of the key", key, len(r.key))
            for wrong in (r.key[:-1] + b"\0\1"[r.key[-1] == 0:][:1], b"\0" * 8):
                r.send(Q("SELECT pg_sleep(0.2)"))
                c = raw.Raw(braid.port)
                c.send(raw.request(raw.CANCEL_REQUEST, struct.pack("!I", r.pid) + wrong))
                expect("a wrong key is not answered", [], c.rest())
                expect("... and does nothing", [], raw.codes_of(r.until("Z")))
            r.send(Q("SELECT pg_sleep(30)"))
            time.sleep(0.2)
            c = raw.Raw(braid.port)
            c.send(raw.request(raw.CANCEL_REQUEST, struct.pack("!I", r.pid) + r.key))
            expect("a cancel is not answered", [], c.rest())
            expect("canceled", ["57014"], raw.codes_of(r.until("Z")))


def test_cancels(place, braid):
    """Who cancels all the time stops nobody else, though both use the same server connections."""
    until = time.monotonic() + 2
    wrong, stopped = [], []
    turn = itertools.count()

    def bystander():
        with client(braid) as r:
            while time.monotonic() < until:
                wrong.extend(raw.codes_of(r.ask(Q("SELECT pg_sleep(0.003)"))))
                wrong.extend(raw.codes_of(r.ask(P("SELECT 1"), B(), E(), S)))

    def nervous():
        with client(braid) as r:
            while time.monotonic() < until:
                c = raw.Raw(braid.port)
                # Most end before the request arrives, which is what this is about; some cannot.
                r.send(Q(f"SELECT pg_sleep({1 if next(turn) % 10 == 0 else 0.002})"))
                c.send(raw.request(raw.CANCEL_REQUEST, struct.pack("!I", r.pid) + r.key))
                stopped.extend(raw.codes_of(r.until("Z")))
                c.socket.close()

    threads = [threading.Thread(target=t) for t in (bystander, bystander, bystander, nervous, nervous)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expect("nobody else was stopped", [], wrong)
    expect("some were stopped", {"57014"}, set(stopped))


def test_leaving(place, braid):
    """Clients that leave anywhere, with a word or without one: what they held is clean for others."""
    dice = random.Random(5)
    for number in range(150):
        name, *rounds = dice.choice([c for c in PREPARED + PIPELINES if c[0] != "two-phase commit"])
        data = b"".join(b"".join(parts) for parts in rounds)
        r = client(braid)
        r.send(data[:dice.randrange(len(data) + 1)], dice.choice((b"", raw.TERMINATE, raw.TERMINATE[:3])))
        if dice.random() < 0.5:
            time.sleep(dice.random() * 0.01)
        r.socket.close()
    state.clean(braid, "after clients that left in the middle")
    expect("nothing is open", [(0,)], place.servers[0].sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'plain' AND usename = 'app' AND state <> 'idle'"))


def test_garbage(place, braid):
    """Random bytes, and messages with random bodies, at any place of a conversation."""
    dice = random.Random(7)
    for _ in range(150):
        name, *rounds = dice.choice([c for c in PREPARED + PIPELINES if c[0] != "two-phase commit"])
        messages = [part for parts in rounds for part in parts]
        r = client(braid)
        for part in messages[:dice.randrange(len(messages))]:
            r.send(part)
        if dice.random() < 0.5:
            r.send(dice.randbytes(dice.randrange(1, 200)))
        else:
            r.send(raw.message(dice.choice("QPBDECHSFdcf"), dice.randbytes(dice.randrange(0, 60))), S)
        if dice.random() < 0.3:
            time.sleep(dice.random() * 0.01)
        r.socket.close()
    state.clean(braid, "after garbage")
    expect_that("pgbraid lives", braid.alive())


def test_startup(place, braid):
    """Any setting, in any form; a bad one refuses the connection with the server's words."""
    with client(braid, work_mem="7MB", options="-c statement_timeout=9s --lock_timeout=8s -c a.b=x\\ y") as r:
        for name, value in (("work_mem", "7MB"), ("statement_timeout", "9s"), ("lock_timeout", "8s"), ("a.b", "x y")):
            expect(name, [[value]], raw.rows_of(r.ask(Q(f"SHOW {name}"))))
        r.ask(Q("SET work_mem = '9MB'"))
        r.ask(Q("RESET work_mem"))
        expect("RESET goes back to it", [["7MB"]], raw.rows_of(r.ask(Q("SHOW work_mem"))))
        r.ask(Q("DISCARD ALL"))
        expect("so does DISCARD ALL", [["7MB"]], raw.rows_of(r.ask(Q("SHOW work_mem"))))
    for words in ({"work_mem": "nonsense"}, {"nothing_such": "1"}, {"options": "-c nothing_such=1"},
                  {"options": "-c work_mem=x"}, {"datestyle": "silly"}, {"options": "-c"}, {"options": "-c a"},
                  {"options": "-z 5"}, {"options": "--work_mem"}, {"search_path": "a b"}, {"role": "nobody"},
                  {"options": "-c shared_buffers=1"}, {"options": "-c log_statement=all"},
                  {"timezone": "xx"}, {"geqo": "maybe"}):
        errors = []
        for port in (place.servers[0].port, braid.port):
            r = raw.Raw(port)
            r.send(raw.startup(user="app", database="plain", **words))
            got = r.until("ZE")
            expect(f"{words} refuses", "E", got[-1][0])
            fields = raw.fields_of(got[-1][1])
            errors.append((fields["S"], fields["C"], fields["M"]))
            r.socket.close()
        expect(f"{words}", errors[0], errors[1])


TESTS = (test_status, test_notify, test_waiting_portal, test_typed_by_the_driver, test_old_plans, test_versions, test_cancels, test_leaving,
         test_garbage, test_startup)


def run(place, report):
    place.servers[0].sql(state.OBJECTS, "plain")
    for mode in ("transaction", "session"):
        braid = place.braid(pool={"size": 2, "mode": mode, "query_wait_ms": 5000}, workers=1)
        for name, *rounds in PREPARED + PIPELINES:
            report.run(f"protocol.{mode}.{name}", same_as_server, place, braid, name, *rounds)
        for test in TESTS:
            report.run(f"protocol.{mode}.{test.__name__[5:]}", test, place, braid)
        place.end(braid)
