"""Bytes that no good client sends: random ones in every state, lies about lengths, broken messages."""

import random
import struct

import raw
from report import expect, expect_that
from place import ROWS, serves

SEED = 20261120
ROUNDS = 40


def at_start(r):
    del r


def at_password(r):
    r.send(raw.startup())
    r.next()


def at_ready(r):
    login(r)


def in_transaction(r):
    login(r)
    r.ask(raw.query("BEGIN"), raw.query("INSERT INTO items VALUES (100001, 'x')"))


def in_extended(r):
    login(r)
    r.send(raw.parse("SELECT v FROM items WHERE id = $1", "s"), raw.bind([7], "s"))


def in_copy(r):
    login(r)
    r.send(raw.query("COPY items FROM STDIN"))
    r.until("GE")
    r.send(raw.message("d", b"100002\tx\n"))


def in_spread(r):
    login(r)
    r.send(raw.query("SELECT * FROM items a ORDER BY v"))


STATES = [at_start, at_password, at_ready, in_transaction, in_extended, in_copy, in_spread]


def login(r):
    r.send(raw.startup())
    while True:
        kind, body = r.next()
        if kind == "R" and body[:4] == b"\0\0\0\3":
            r.send(raw.message("p", b"secret\0"))
        if kind == "Z":
            return
        if kind == "E":
            raise RuntimeError(raw.fields_of(body))


def garbage(rng):
    """Random bytes of three kinds: anything; a known letter and a wild length; a plausible frame."""
    kind = rng.randrange(3)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 200))
    letter = rng.choice("QPBEDCSHdcfpFX!z").encode()
    body = rng.randbytes(rng.randrange(0, 100))
    if kind == 1:
        length = rng.choice((0, 1, 3, 4, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, rng.getrandbits(32)))
        return letter + struct.pack("!I", length) + body
    return letter + struct.pack("!I", len(body) + 4) + body


def test_random(place):
    """Whatever they are, the proxy answers errors or closes, and serves the next client."""
    braid = place.braid(auth={"method": "password", "users_file": "users.txt", "login_timeout_ms": 3000})
    for state in STATES:
        for number in range(ROUNDS):
            rng = random.Random(f"{SEED} {state.__name__} {number}")
            with raw.Raw(braid.port) as r:
                state(r)
                try:
                    for _ in range(rng.randrange(1, 4)):
                        r.send(garbage(rng))
                    r.socket.shutdown(1)
                    r.rest()
                except OSError:  # closed by the other side already
                    pass
        braid.check_alive()
        # A CopyDone among the bytes ends the COPY well, whatever its body holds, as in PostgreSQL.
        kept = braid.sql(f"DELETE FROM items WHERE id > {ROWS} RETURNING id", password="secret")
        may = ([], [(100002,)]) if state is in_copy else ([],)
        expect_that(f"rows of {state.__name__}: {kept}", kept in may)
        serves(braid, password="secret")
    place.end(braid)


def test_one_byte_at_a_time(place):
    braid = place.braid()
    with raw.Raw(braid.port) as r:
        r.socket.setsockopt(6, 1, 1)  # TCP_NODELAY
        for byte in raw.startup() + raw.query("SELECT v FROM items WHERE id = 7"):
            r.send(bytes([byte]))
        r.until("Z")
        expect("the answer", [["v7"]], raw.rows_of(r.until("Z")))
    place.end(braid)


def test_sizes(place):
    """Packets longer than allowed are refused at their header, before they are read."""
    braid = place.braid(limits={"message_bytes": 65536})
    for length in (0, 3, 7, 10_001, 0x7FFFFFFF, 0xFFFFFFFF):
        with raw.Raw(braid.port) as r:
            r.send(struct.pack("!I", length) + b"\0" * 4)
            got = r.rest()
            expect_that(f"startup packet of {length}: {raw.codes_of(got)}",
                        raw.codes_of(got) in ([], ["08P01"]))
    with raw.Raw(braid.port) as r:
        r.login()
        r.send(b"Q" + struct.pack("!I", 0x40000000))
        got = r.rest()
        expect_that(f"a message of a gigabyte: {raw.codes_of(got)}",
                    raw.codes_of(got) in (["54000"], ["08P01"]))
    with raw.Raw(braid.port) as r:
        r.login()
        got = r.ask(raw.query("SELECT '" + "x" * 60_000 + "'"))
        expect("one just below the limit", 60_000, len(raw.rows_of(got)[0][0]))
    for length in (0, 1, 2, 3):
        with raw.Raw(braid.port) as r:
            r.login()
            r.send(b"Q" + struct.pack("!I", length))
            expect(f"a message of length {length}", ["08P01"], raw.codes_of(r.rest()))
    serves(braid)
    place.end(braid)


def ask_code(r, *parts):
    return raw.codes_of(r.ask(*parts))


def test_broken_messages(place):
    """A well-framed message with a body that is none: 08P01, and where PostgreSQL goes on, so do we."""
    braid = place.braid()
    bodies = {
        "a query without its end": raw.message("Q", b"SELECT 1"),
        "Parse without types": raw.message("P", b"a\0SELECT 1\0"),
        "Parse with too many types": raw.message("P", b"a\0SELECT 1\0" + struct.pack("!H", 9)),
        "Bind that is cut": raw.bind([7, 8])[:1] + struct.pack("!I", 12) + raw.bind([7, 8])[5:13],
        "Bind with a length past its end":
            raw.message("B", b"\0\0" + struct.pack("!HHi", 0, 1, 1000) + b"x" + struct.pack("!H", 0)),
        "Bind with a negative length":
            raw.message("B", b"\0\0" + struct.pack("!HHi", 0, 1, -7) + struct.pack("!H", 0)),
        "Execute without its number": raw.message("E", b"\0"),
        "Describe of nothing": raw.message("D", b""),
        "Describe of an unknown kind": raw.message("D", b"Q\0"),
        "Close of an unknown kind": raw.message("C", b"Q\0"),
    }
    for name, bad in bodies.items():
        with raw.Raw(braid.port) as r:
            r.login()
            if name.startswith("Bind"):
                r.send(raw.parse("SELECT $1::int"))
            r.send(bad, raw.SYNC)
            try:
                got = r.until("Z")
                expect(name, ["08P01"], raw.codes_of(got))
                expect(f"{name}, then", [["1"]], raw.rows_of(r.ask(raw.query("SELECT 1"))))
            except raw.Closed:
                pass  # a FATAL is as good where the frame cannot be trusted
    with raw.Raw(braid.port) as r:
        r.login()
        r.send(raw.message("z"))
        expect("a letter that is no message", ["08P01"], raw.codes_of(r.rest()))
    with raw.Raw(braid.port) as r:
        r.login()
        r.send(raw.message("F", b"\0" * 12))
        got = r.until("ZE")
        expect_that(f"a function call: {raw.codes_of(got)}", raw.codes_of(got) == ["0A000"])
    serves(braid)
    place.end(braid)


def test_extended_errors(place):
    """Errors in the extended protocol skip to Sync, as the protocol says."""
    braid = place.braid()
    with raw.Raw(braid.port) as r:
        r.login()
        expect("a statement that is not there", ["26000"], ask_code(r, raw.bind([], "nope"), raw.execute(), raw.SYNC))
        expect("a portal that is not there", ["34000"], ask_code(r, raw.execute("nope"), raw.SYNC))
        expect("describe a statement that is not there", ["26000"], ask_code(r, raw.describe("S", "nope"), raw.SYNC))
        expect("close of what is not there", "3Z", raw.letters(r.ask(raw.close("S", "nope"), raw.SYNC)))
        expect("syntax error skips the rest", "EZ",
               raw.letters(r.ask(raw.parse("SELEC 1"), raw.bind(), raw.execute(), raw.SYNC)))
        expect("the same name twice", ["42P05"],
               ask_code(r, raw.parse("SELECT 1", "a"), raw.parse("SELECT 2", "a"), raw.SYNC))
        expect("two errors, two Syncs", ["26000", "34000"],
               raw.codes_of(r.ask(raw.bind([], "nope"), raw.SYNC) + r.ask(raw.execute("nope"), raw.SYNC)))
        expect("too few parameters", ["08P01"],
               ask_code(r, raw.parse("SELECT v FROM items WHERE id = $1"), raw.bind([]), raw.execute(), raw.SYNC))
        expect("a key that is no number", ["22P02"],
               ask_code(r, raw.parse("SELECT v FROM items WHERE id = $1"), raw.bind(["x"]), raw.execute(), raw.SYNC))
        expect("a null key", [],
               ask_code(r, raw.parse("SELECT v FROM items WHERE id = $1"), raw.bind([None]), raw.execute(), raw.SYNC))
        expect("empty", "12IZ", raw.letters(r.ask(raw.parse(""), raw.bind(), raw.execute(), raw.SYNC)))
        expect("a portal in pieces", "12DsDCZ", raw.letters(r.ask(
            raw.parse("SELECT id FROM items WHERE id = 7 UNION ALL SELECT 1"), raw.bind(),
            raw.execute("", 1), raw.execute("", 0), raw.SYNC)))
        expect("Flush gives what there is", "1", raw.letters((r.send(raw.parse("SELECT 1", "f"), raw.FLUSH), r.until("1"))[1]))
        r.ask(raw.SYNC)
    serves(braid)
    place.end(braid)


def run(place, report):
    report.run("bytes: random ones in every state", test_random, place)
    report.run("bytes: one at a time", test_one_byte_at_a_time, place)
    report.run("bytes: sizes", test_sizes, place)
    report.run("bytes: broken messages", test_broken_messages, place)
    report.run("bytes: errors of the extended protocol", test_extended_errors, place)
