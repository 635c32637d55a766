"""What the tests of sinks share: one pgbraid over two shards, and rows as events say they are."""

import json
import os
import subprocess
import time

import psycopg2

from braid import Braid, config_for
from report import expect

LOGICAL = ["wal_level = logical", "max_replication_slots = 10", "max_wal_senders = 10"]
WAIT_S = 120
USERS = {"users": {"hash": ["id"]}}
USERS_BEFORE = ("CREATE TABLE users (id int PRIMARY KEY, name text)",
                "INSERT INTO users SELECT g, 'early' || g FROM generate_series(1, 300) g")


class Rows:
    """Rows of `users` by key, of events in the order of each partition. What is gone is said per shard and partition."""

    def __init__(self):
        self.rows, self.owners = {}, {}

    def apply(self, event):
        value = event["value"]
        if value["source"]["table"] != "users":
            return
        owner = value["source"]["shard"], event["partition"]
        gone = [k for k, o in self.owners.items() if o == owner] if value["op"] == "t" else []
        if value["op"] in ("u", "d") and value["before"] and self.owners.get(value["before"]["id"]) == owner:
            gone = [value["before"]["id"]]
        for key in gone:
            del self.rows[key], self.owners[key]
        if value["after"]:
            self.rows[value["after"]["id"]] = value["after"]["name"]
            self.owners[value["after"]["id"]] = owner


def rows_of(events):
    out = Rows()
    for event in events:
        out.apply(event)
    return out.rows


class Place:
    """`tables`: which are sharded how; `before`: statements before capture is on."""

    def __init__(self, fleet, build, shards=2, tables=USERS, before=USERS_BEFORE):
        self.fleet = fleet
        self.servers = fleet.start(shards, options=LOGICAL)
        for server in self.servers:
            server.sql("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'secret'")
            for name in ("app", "plain"):
                server.sql(f"CREATE DATABASE {name} OWNER app")
        self.folder = os.path.join(fleet.folder, "braid")
        os.makedirs(self.folder)
        config = config_for(self.servers, tables, service={"user": "app"}, auth={"admin_users": "app"})
        self.braid = Braid(self.folder, config, users={"app": "secret"}, build=build)
        self.braid.start()
        for statement in before:
            self.sql(statement)

    def begin(self, sinks):
        """Capture is on from now, with these settings of cdc for the sinks."""
        self.braid.stop()
        self.braid.config["cdc"] = {"enabled": "on", "databases": "app", "sink_timeout_ms": 1000, "sink_batch": 50, **sinks}
        self.braid.write_files()
        self.braid.start()

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def sql(self, statement):
        return self.braid.sql(statement)

    def ctl(self, *words):
        binary = os.path.join(os.path.dirname(self.braid.binary), "braidctl")
        done = subprocess.run([binary, "-c", self.braid.path, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, cwd=self.folder, check=False)
        expect(f"{words}: {done.stdout}", 0, done.returncode)

    def console(self, statement):
        conn = self.braid.connect("pgbraid")
        with conn.cursor() as cur:
            cur.execute(statement)
            names = [c[0] for c in cur.description]
            rows = [dict(zip(names, row)) for row in cur.fetchall()]
        conn.close()
        return rows

    def sink(self, name):
        return next(s for s in self.console("SHOW CDC_SINKS") if s["sink"] == name)

    def truth(self):
        return {key: name for server in self.servers for key, name in server.sql("SELECT id, name FROM users", "app")}

    def dead_letters(self, sink):
        try:
            with open(os.path.join(self.folder, "data", "cdc", f"dead-{sink}.jsonl"), encoding="utf-8") as f:
                return [json.loads(line) for line in f]
        except FileNotFoundError:
            return []


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def with_sum(topic, shown):
    """What a sink calls a topic whose name the other side does not take."""
    return f"{shown}-{crc32c(topic.encode()):08x}"


def soon(what, get, want, place):
    """Sinks are behind; in the end they are equal."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            have = get()
        except (psycopg2.Error, OSError, EOFError) as e:
            have = str(e)
        if have == want:
            return
        if time.monotonic() > until:
            if isinstance(want, dict) and isinstance(have, dict):
                missing, extra = sorted(set(want.items()) - set(have.items())), sorted(set(have.items()) - set(want.items()))
                have, want = f"{len(missing)} missing: {missing[:3]}, {len(extra)} too many: {extra[:3]}", "equal rows"
            expect(f"{what}; {place.console('SHOW CDC_SINKS')}", want, have)
        time.sleep(0.05)
