"""What the failure schedule shares: three servers, one table over them, ways to expect an error."""

import os
import time

import psycopg2

import pg
from braid import Braid, config_for
from report import Failed, expect

TABLES = {"items": {"hash": ["id"]}, "notes": {"hash": ["id"], "colocate": "items"}}
ROWS = 300


class Place:
    """Servers, and proxies made for a test."""

    def __init__(self, fleet, build):
        self.fleet = fleet
        self.build = build
        self.count = 0
        self.servers = fleet.start(3)
        for server in self.servers:
            pg.prepare(server)
        braid = self.braid()
        braid.sql("CREATE TABLE items (id bigint PRIMARY KEY, v text)")
        braid.sql("CREATE TABLE notes (id bigint PRIMARY KEY, v text)")
        connection = braid.connect()
        with connection.cursor() as cursor:
            for i in range(1, ROWS + 1):
                cursor.execute("INSERT INTO items VALUES (%s, %s)", (i, f"v{i}"))
        connection.close()
        self.end(braid)

    def braid(self, start=True, servers=None, users=None, **sections):
        """A proxy of this test's own; `end` it."""
        self.count += 1
        sections.setdefault("service", {"health_interval_ms": 200, "health_timeout_ms": 1000})
        config = config_for(servers or self.servers, TABLES, **sections)
        braid = Braid(os.path.join(self.fleet.folder, f"braid{self.count}"), config, users=users,
                      build=self.build)
        self.fleet.at_end.append(braid.kill)
        return braid.start() if start else braid

    def end(self, braid, status=0):
        """Stop it: it must end well and without complaints of a sanitizer."""
        got = braid.stop()
        complaints = braid.complaints()
        if got != status or complaints:
            raise Failed(f"pgbraid ended with {got}, expected {status}; {complaints[:3]}\n"
                         + braid.tail(40))

    def shard_of(self, number):
        """Index of the server that holds row `number` of items."""
        for i, server in enumerate(self.servers):
            if server.sql(f"SELECT 1 FROM items WHERE id = {number}", "app"):
                return i
        raise Failed(f"no server holds row {number}")

    def row_on(self, shard, unlike=()):
        return self.servers[shard].sql(
            "SELECT min(id) FROM items WHERE NOT id = ANY(%s)", "app", ([*unlike, -1],))[0][0]


def serves(braid, dbname="app", **more):
    """The proxy answers, on one shard and over all."""
    expect("a routed query", [("v7",)], braid.sql("SELECT v FROM items WHERE id = 7", dbname, **more))
    expect("a query over all shards", [(ROWS,)], braid.sql("SELECT count(*) FROM items", dbname, **more))


def state_of(error):
    """SQLSTATE; psycopg2 does not keep that of a failed connect, so our text carries the rest."""
    return error.pgcode


def code_of(call):
    """Its SQLSTATE, 00000 when it did not fail."""
    try:
        call()
        return "00000"
    except psycopg2.Error as e:
        return e.pgcode


def expect_error(what, code, call, text=None):
    """`call` must fail with the SQLSTATE (None: any) and a message that holds `text`."""
    try:
        result = call()
    except psycopg2.Error as e:
        if code is not None and e.pgcode != code:
            raise Failed(f"{what}: expected {code}, got {e.pgcode}: {e}") from None
        if text is not None and text not in str(e):
            raise Failed(f"{what}: expected {text!r} in the error, got {e}") from None
        return e
    raise Failed(f"{what}: expected an error {code}, got {result!r}")


def wait_for(what, truth, seconds=10):
    """Until truth() holds."""
    until = time.monotonic() + seconds
    while True:
        got = truth()
        if got:
            return got
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.02)
