#!/usr/bin/env python3
"""All shards as one replication stream, read by pg_recvlogical and by psycopg2's replication connections.

usage: streams.py [--build DIR] [--only CASE]

Writers work on two shards, also on both in one transaction. Readers are killed in the middle, and pgbraid is; what
they have at the end, applied to an empty table, is what the shards have. And what clients do wrong is refused.
"""

import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "regress"))
sys.path.insert(0, os.path.join(ROOT, "regress", "cdc"))

import psycopg2  # noqa: E402
import psycopg2.extras  # noqa: E402

import pg  # noqa: E402
from raw import CANCEL_REQUEST, Raw, codes_of, fields_of, letters, message, query, request  # noqa: E402
from report import expect, expect_that  # noqa: E402
from ways import main  # noqa: E402

RECV = os.path.join(pg.BIN, "pg_recvlogical")
CASES = []
PATIENCE_S = 120


def case(function):
    CASES.append(function)
    return function


def until(what, function):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if (value := function()):
            return value
        time.sleep(0.05)
    raise RuntimeError(f"after {PATIENCE_S} s still not: {what}")


# ---- readers ---------------------------------------------------------------------------------------------------------

class Receiver:
    """pg_recvlogical and the file that it writes."""

    def __init__(self, place, slot):
        self.place, self.slot = place, slot
        self.path = os.path.join(place.braid.folder, f"{slot}.jsonl")
        self.process = None

    def words(self, *more):
        return [RECV, "-d", self.place.dsn(), "-S", self.slot, *more]

    def run(self, *more):
        done = subprocess.run(self.words(*more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S,
                              check=False)
        return done.returncode, done.stdout

    def start(self, *more):
        with open(self.path + ".log", "ab") as log:
            self.process = subprocess.Popen(self.words("--start", "-f", self.path, "-s", "1", "-F", "1", *more), stdout=log, stderr=log)

    def end(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)

    def said(self):
        with open(self.path + ".log", encoding="utf-8") as f:
            return f.read()

    def messages(self):
        """What is there now. A killed reader leaves a torn line; the whole one comes again behind it, on the same line."""
        try:
            with open(self.path, encoding="utf-8") as f:
                lines = f.read().split("\n")[:-1]
        except OSError:
            return []
        out = []
        for line in lines:
            at = 0
            while True:
                try:
                    out.append(json.loads(line[at:]))
                    break
                except ValueError:
                    at = min(i for i in (line.find('{"status":', at + 1), line.find('{"topic":', at + 1)) if i > 0)
        return out


class Table:
    """The messages of a stream, applied; what is wrong with them is a failure."""

    def __init__(self):
        self.rows, self.order, self.open, self.seen, self.places = {}, {}, None, set(), []
        self.shards = {}

    def apply(self, message):
        if message.get("status") == "BEGIN":
            self.open = [message, []]
            self.shards.setdefault(message["id"], set()).add(message["shard"])
        elif message.get("status") == "END":
            begin, changes = self.open
            expect("END is its BEGIN's", (begin["place"], begin["id"]), (message["place"], message["id"]))
            self.places.append(begin["place"])
            for change in changes:
                self.change(change)
            self.open = None
        else:
            expect_that("a change is in a transaction", self.open is not None)
            self.open[1].append(message)

    def change(self, message):
        value = message["value"]
        source = value["source"]
        key = value["idempotence_key"] + str(message["partition"])
        if not message["topic"].endswith(".users") or key in self.seen:
            return
        self.seen.add(key)
        place = (source["epoch"], source["lsn"], source["index"])
        expect_that("changes of a shard come in order", self.order.get(source["shard"], (0, 0, 0)) <= place)
        self.order[source["shard"]] = place
        if value["op"] in "crud" and value["before"]:
            self.rows.pop(value["before"]["id"], None)
        if value["op"] == "d":
            self.rows.pop(message["key"]["id"], None)
        elif value["op"] in "cru":
            self.rows[value["after"]["id"]] = value["after"]["name"]


class Writers(threading.Thread):
    """Transactions on both shards, one behind the other, until told to stop."""

    def __init__(self, place, first):
        super().__init__(daemon=True)
        self.place, self.first, self.count, self.stop = place, first, 0, threading.Event()

    def run(self):
        conn = None
        while not self.stop.is_set():
            try:
                conn = conn or psycopg2.connect(self.place.dsn())
                with conn.cursor() as cur:
                    at = self.first + self.count * 3
                    cur.execute("INSERT INTO users VALUES (%s, 'a'), (%s, 'b'), (%s, 'c')", (at, at + 1, at + 2))
                    cur.execute("UPDATE users SET name = name || %s WHERE id IN (%s, %s)", (str(self.count), at, at - 3))
                    if self.count % 3 == 0:
                        cur.execute("DELETE FROM users WHERE id = %s", (at + 1,))
                conn.commit()
            except psycopg2.Error:
                conn = None
                time.sleep(0.05)
            self.count += 1

    def end(self):
        self.stop.set()
        self.join(PATIENCE_S)


def rows_now(place):
    return dict(place.sql("SELECT id, name FROM users"))


def compare(place, read):
    """Everything that the shards have comes."""
    wanted = rows_now(place)

    def same():
        table = Table()
        for message in read():
            table.apply(message)
        return table if table.rows == wanted else None
    return until("the table equals the shards'", same)


# ---- cases -----------------------------------------------------------------------------------------------------------

def from_the_beginning(place, slot):
    """A slot that has all that ever was."""
    place.console(f"CDC_RESET slot:{slot}:braid_json app.braid.transactions earliest")


def has_confirmed(place, slot):
    """Everything that there is."""
    return [0] == [row["lag"] for row in place.console("SHOW CDC_GROUPS") if row["group"] == f"slot:{slot}:braid_json"]


@case
def pg_recvlogical_is_killed_and_goes_on(place):
    reader = Receiver(place, "recv")
    expect("created", (0, ""), reader.run("--create-slot", "-P", "braid_json"))
    from_the_beginning(place, "recv")
    writers = Writers(place, 10000)
    writers.start()
    for round_ in range(3):
        had = len(reader.messages())
        reader.start()
        until("messages come", lambda least=had: len(reader.messages()) > least + 50)
        reader.end(signal.SIGKILL)
    had = len(reader.messages())
    reader.start()
    until("messages come", lambda: len(reader.messages()) > had)
    expect("it is a member", [1], [g["members"] for g in place.console("SHOW CDC_GROUPS") if g["group"] == "slot:recv:braid_json"])
    try:
        from_the_beginning(place, "recv")
        expect_that("nobody sets it back meanwhile", False)
    except psycopg2.errors.ObjectNotInPrerequisiteState:
        pass
    status, text = Receiver(place, "recv").run("--create-slot", "-P", "braid_json")
    expect_that(text, status == 1 and "already exists" in text)
    place.braid.restart()  # in the middle; pg_recvlogical connects again by itself
    had = len(reader.messages())
    until("it goes on", lambda: len(reader.messages()) > had + 50)
    writers.end()
    table = compare(place, reader.messages)
    expect_that("transactions of both shards", {s for s in table.order} == {"shard0", "shard1"})
    both = [i for i, shards in table.shards.items() if len(shards) == 2]
    expect_that("the pieces of a two-phase commit have one id, and no other has two", both and all(i.startswith("pgbraid_") for i in both))
    until("what came is confirmed", lambda: has_confirmed(place, "recv"))
    expect("it ends as asked", 0, reader.end(signal.SIGINT))
    had = len(reader.messages())
    place.sql("INSERT INTO users VALUES (1000, 'late')")
    reader.start()
    until("the next one", lambda: len(reader.messages()) > had)
    compare(place, reader.messages)
    new = reader.messages()[had:]
    expect_that("what was confirmed does not come again", new[0]["place"] > max(m["place"] for m in reader.messages()[:had] if "place" in m))
    status, text = Receiver(place, "recv").run("--start", "-f", "-", "--no-loop")
    expect("one reader at a time", 1, status)
    expect_that(text, "is active" in text)
    reader.end(signal.SIGINT)
    until("dropped", lambda: reader.run("--drop-slot") == (0, ""))  # its reader may still be about to go
    status, text = reader.run("--drop-slot")
    expect_that(text, status == 1 and "does not exist" in text)


@case
def pg_recvlogical_without_boundaries(place):
    reader = Receiver(place, "plainer")
    expect("created", (0, ""), reader.run("--create-slot", "-P", "braid_json"))
    reader.start("-o", "transactions=off")
    place.sql("INSERT INTO users SELECT i, 'few' FROM generate_series(2000, 2009) i")
    until("ten", lambda: len(reader.messages()) >= 10)
    expect("only changes", {"few"}, {m["value"]["after"]["name"] for m in reader.messages()})
    until("they are confirmed", lambda: has_confirmed(place, "plainer"))
    expect("ends", 0, reader.end(signal.SIGINT))
    expect("nothing is left", 10, len(reader.messages()))
    reader.start("-o", "transactions=off")
    place.sql("DELETE FROM users WHERE id BETWEEN 2000 AND 2009")
    until("ten more", lambda: len(reader.messages()) >= 20)
    expect("no more than that", (20, {"d"}), (len(reader.messages()), {m["value"]["op"] for m in reader.messages()[10:]}))
    reader.end(signal.SIGINT)
    reader.run("--drop-slot")


def replication(place, **more):
    return psycopg2.connect(place.dsn(), connection_factory=psycopg2.extras.LogicalReplicationConnection, **more)


def read_some(cur, count, seconds=PATIENCE_S):
    """Up to so many messages."""
    out = []
    end = time.monotonic() + seconds
    while len(out) < count and time.monotonic() < end:
        message = cur.read_message()
        if message is None:
            select.select([cur], [], [], 0.1)
        else:
            out.append(message)
    return out


@case
def psycopg2_goes_on_behind_what_it_has_confirmed(place):
    conn = replication(place)
    cur = conn.cursor()
    cur.execute("IDENTIFY_SYSTEM")
    expect("one line", ("app", 1), cur.fetchall()[0][3:] + (len(cur.description) // 4,))
    cur.create_replication_slot("py", output_plugin="braid_json")
    name, position, snapshot, plugin = cur.fetchone()
    expect("the slot", ("py", None, "braid_json"), (name, snapshot, plugin))
    expect_that("a position", "/" in position)
    cur.execute("SELECT count(*) FROM users")  # an ordinary session too
    expect_that("rows", cur.fetchone()[0] > 0)
    for i in range(20):
        place.sql("INSERT INTO users VALUES (%s, 'py'), (%s, 'py')", (3000 + 2 * i, 3001 + 2 * i))
    cur.start_replication("py", decode=True, options={"transactions": "on"})
    got = read_some(cur, 25)
    ends = [m for m in got if '"END"' in m.payload]
    confirmed = ends[2]
    cur.send_feedback(write_lsn=got[-1].data_start, flush_lsn=confirmed.data_start, reply=True)
    read_some(cur, 1, 0.5)
    conn.close()
    before = [json.loads(m.payload) for m in got[:got.index(confirmed) + 1]]
    conn = replication(place)
    cur = conn.cursor()
    until("the slot is free", lambda: started(cur, "py"))
    table = Table()
    for message in before:
        table.apply(message)
    changes = len(table.seen)
    while len(table.seen) < 40:
        new = read_some(cur, 1)
        expect_that(f"the rest comes, not only {len(table.seen)} of 40", new)
        table.apply(json.loads(new[0].payload))
        cur.send_feedback(flush_lsn=new[0].data_start)
    expect("what was confirmed does not come again, the rest does", [], [p for p in table.places if table.places.count(p) > 1])
    expect_that("some of it", 0 < changes < 40)
    expect("all rows", {3000 + i for i in range(40)}, set(table.rows))
    conn.close()
    conn = replication(place)
    cur = conn.cursor()
    until("dropped", lambda: dropped(cur, "py"))
    conn.close()


@case
def an_online_restart_ends_a_stream_and_loses_nothing(place):
    conn = replication(place)
    conn.cursor().create_replication_slot("handed", output_plugin="braid_json")
    from_the_beginning(place, "handed")
    writers = Writers(place, 300000)
    writers.start()
    messages = []

    def read():
        """Until the connection is lost, or for a while; what was read is confirmed."""
        nonlocal conn
        try:
            if conn.closed:
                conn = replication(place)
            cur = conn.cursor()
            if not started(cur, "handed"):
                return
            while True:
                new = read_some(cur, 20, 2)
                messages.extend(json.loads(m.payload) for m in new)
                if len(new) < 20:
                    conn.close()
                    return
                cur.send_feedback(flush_lsn=new[-1].data_start, reply=True)
        except psycopg2.Error:
            conn.close()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    until("messages come", lambda: len(messages) > 40)
    old = place.braid.process
    with open(place.braid.log_path, "ab") as log:
        new = subprocess.Popen([place.braid.binary, "-R", "-c", place.braid.path], cwd=place.braid.folder, stdin=subprocess.DEVNULL,
                               stdout=log, stderr=log)
    expect("the old one ends", 0, old.wait(PATIENCE_S))
    place.braid.process = new
    place.braid.wait_healthy(PATIENCE_S)
    reader.join(PATIENCE_S)
    expect_that("the stream has ended", conn.closed)
    until("more was written", lambda least=writers.count: writers.count > least + 20)
    writers.end()
    wanted = rows_now(place)

    def same():
        read()
        table = Table()
        for message in messages:
            if message.get("status") == "BEGIN":
                table.open = None  # a transaction that was cut off comes again
            table.apply(message)
        return table.rows == wanted
    until("the table equals the shards'", same)


# ---- by hand ---------------------------------------------------------------------------------------------------------

def replicating(place, user="app"):
    raw = Raw(place.braid.port, timeout=PATIENCE_S)
    raw.login(user=user, database="app", replication="database")
    return raw


def feedback(position, wants_answer=0):
    return message("d", b"r" + struct.pack("!QQQqB", position, position, position, 0, wants_answer))


def started_raw(place, slot):
    def attempt():
        raw = replicating(place)
        raw.send(query(f"START_REPLICATION SLOT {slot} LOGICAL 0/0"))
        kind, body = raw.next()
        if kind == "W":
            return raw
        expect("busy still", ("E", "55006"), (kind, fields_of(body)["C"]))
        raw.socket.close()
        return None
    return until("it streams", attempt)


def events(place):
    return sum(row["records"] for row in place.console("SHOW CDC_TOPICS") if row["topic"] == "app.public.users")


@case
def what_is_not_a_stream_is_refused(place):
    wanted = {
        "CREATE_REPLICATION_SLOT x LOGICAL pgoutput_2": "0A000",
        "CREATE_REPLICATION_SLOT x PHYSICAL": "0A000",
        "CREATE_REPLICATION_SLOT x LOGICAL braid_json EXPORT_SNAPSHOT": "0A000",
        "START_REPLICATION SLOT none LOGICAL 0/0": "42704",
        "START_REPLICATION 0/0": "0A000",
        "START_REPLICATION SLOT hand LOGICAL FFFFFFFF/FFFFFFFF": "22023",
        "START_REPLICATION SLOT hand LOGICAL 0/0 (x 'y')": "22023",
        "START_REPLICATION SLOT hand LOGICAL": "42601",
        "CREATE_REPLICATION_SLOT hand LOGICAL braid_json": "42710",
        "DROP_REPLICATION_SLOT none": "42704",
        "BASE_BACKUP": "0A000",
        "START_REPLICATION " + "x" * 100000: "42601",
    }
    with replicating(place) as raw:
        expect("created", "TDCZ", letters(raw.ask(query("CREATE_REPLICATION_SLOT hand LOGICAL braid_json"))))
        for sql, code in wanted.items():
            expect(sql[:80], [code], codes_of(raw.ask(query(sql))))
        raw.ask(query("BEGIN"))
        expect("in a transaction", ["25001"], codes_of(raw.ask(query("IDENTIFY_SYSTEM"))))
        raw.ask(query("ROLLBACK"))
        expect("SHOW", "TDCZ", letters(raw.ask(query("SHOW wal_segment_size"))))
    with replicating(place, "other") as raw:
        expect("not for everybody", ["42501"], codes_of(raw.ask(query("START_REPLICATION SLOT hand LOGICAL 0/0"))))
    with Raw(place.braid.port) as raw:
        raw.login()
        expect("an ordinary connection has no such commands", ["42601"], codes_of(raw.ask(query("IDENTIFY_SYSTEM"))))


@case
def a_stream_ends_by_copy_done_by_cancel_and_by_nonsense(place):
    with replicating(place) as raw:
        raw.ask(query("CREATE_REPLICATION_SLOT ends LOGICAL braid_json"))
    with started_raw(place, "ends") as raw:
        raw.send(feedback(1, 1))
        kind, body = raw.next()
        expect("a keepalive for the asking", ("d", b"k"), (kind, body[:1]))
        raw.send(message("c"))
        got = [m for m in raw.until("Z") if m[0] != "d"]
        expect("the end", "cCCZ", letters(got))
        expect("and goes on", "TDCZ", letters(raw.ask(query("IDENTIFY_SYSTEM"))))
    with started_raw(place, "ends") as raw:
        with Raw(place.braid.port) as other:
            other.send(request(CANCEL_REQUEST, struct.pack("!I", raw.pid) + raw.key))
        got = raw.until("Z")
        expect("cancelled", ["57014"], codes_of(got))
        expect("and goes on", "TDCZ", letters(raw.ask(query("SELECT 1"))))
    nonsense = [message("d"), message("d", b"r"), message("d", b"r" + b"x" * 40), message("d", b"z" * 34), query("SELECT 1"),
                message("P", b"\0\0"), message("d", os.urandom(34).replace(b"r", b"q").replace(b"h", b"q")), message("S") + message("y")]
    for what in nonsense:
        with started_raw(place, "ends") as raw:
            raw.send(what)
            codes = codes_of(raw.rest())
            expect(repr(what)[:60], ["08P01"], codes)
    with started_raw(place, "ends") as raw:
        raw.send(feedback(2**64 - 1))  # more than was ever given
        place.sql("INSERT INTO users VALUES (4000, 'end')")
        raw.until("d")
    with started_raw(place, "ends") as raw:
        until("it comes, for it was not confirmed", lambda: b"4000" in raw.next()[1])


@case
def who_says_nothing_is_asked_and_then_gone(place):
    with replicating(place) as raw:
        raw.ask(query("CREATE_REPLICATION_SLOT quiet LOGICAL braid_json"))
    place.braid.config["cdc"]["stream_timeout_ms"] = 2000
    place.braid.write_files()
    place.braid.reload()
    with started_raw(place, "quiet") as raw:
        begin = time.monotonic()
        while time.monotonic() - begin < 3:  # who answers stays
            kind, body = raw.next()
            if kind == "d" and body[:1] == b"k" and body[-1]:
                raw.send(feedback(1))
        got = raw.rest()
        expect_that("asked", any(k == "d" and b[:1] == b"k" and b[-1] for k, b in got))
        expect("gone", ["57P05"], codes_of(got))
    place.braid.config["cdc"]["stream_timeout_ms"] = 60000
    place.braid.write_files()
    place.braid.reload()


@case
def a_reader_that_does_not_read_costs_little(place):
    """Its bytes wait in the log, not in memory; and what it did not read it gets later."""
    with replicating(place) as raw:
        raw.ask(query("CREATE_REPLICATION_SLOT slow LOGICAL braid_json"))
    raw = started_raw(place, "slow")
    sizes = []
    for round_ in range(4):  # the first two fill what is kept anyway
        records = events(place)
        for i in range(5):
            first = 100000 + round_ * 5000 + i * 1000
            place.sql("INSERT INTO users SELECT i, repeat('x', 4000) FROM generate_series(%s, %s) i", (first, first + 999))
        until("all is in the log", lambda least=records + 5000: events(place) >= least)
        sizes.append(place.braid.memory_kb())
    expect_that(f"40 MB wait outside of memory: {sizes} kB", sizes[3] - max(sizes[:2]) < 15000)
    seen = 0
    while seen < 20000:
        kind, body = raw.next()
        seen += kind == "d" and b"xxxx" in body
    raw.socket.close()
    place.sql("DELETE FROM users WHERE id >= 100000")


def started(cur, slot):
    try:
        cur.start_replication(slot, decode=True)
        return True
    except psycopg2.errors.ObjectInUse:
        return False


def dropped(cur, slot):
    try:
        cur.drop_replication_slot(slot)
        return True
    except psycopg2.errors.ObjectInUse:
        return False


if __name__ == "__main__":
    sys.exit(main(__doc__, CASES))
