"""The Redis sink: a stream per table, in a server that is stopped, killed, full and in the way."""

import json
import os
import signal
import socket
import subprocess
import time

from pg import free_ports
from report import expect, expect_that
from sink_place import rows_of, soon

PASSWORD = "s3cr3t-redis"
STREAM = b"cdc:app.public.users"


class RedisError(Exception):
    """The server has refused a command."""


class Redis:
    """A server with a log that is synced before each answer, and a client without a library."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_ports(1)[0], None
        os.makedirs(folder)

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.folder, "--appendonly", "yes",
                 "--appendfsync", "always", "--save", "", "--requirepass", PASSWORD],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 30
        while True:
            try:
                self.ask("PING")
                return
            except (OSError, EOFError, RedisError):
                if time.monotonic() > until or self.process.poll() is not None:
                    raise
                time.sleep(0.02)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, *words):
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as s, s.makefile("rb") as answers:
            for command in (("AUTH", PASSWORD), words):
                parts = [w if isinstance(w, bytes) else str(w).encode() for w in command]
                s.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
                out = self.read(answers)
            return out

    def read(self, answers):
        line = answers.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b"$":
            return answers.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
        if kind == b"*":
            return [self.read(answers) for _ in range(int(rest))]
        return rest


def events(place):
    out = []
    for _, fields in place.redis.ask("XRANGE", STREAM, "-", "+"):
        f = dict(zip(fields[::2], fields[1::2]))
        out.append({"key": json.loads(f[b"key"]), "value": json.loads(f[b"value"]), "partition": int(f[b"partition"]),
                    "offset": int(f[b"offset"])})
    return out


def rows(place):
    return rows_of(events(place))


def gets_everything(place):
    place.sql("INSERT INTO users SELECT g, 'n' || g FROM generate_series(10000, 10300) g")
    place.sql("UPDATE users SET name = 'redis' WHERE id BETWEEN 10100 AND 10200")
    place.sql("DELETE FROM users WHERE id >= 10250")
    soon("the stream's rows", lambda: rows(place), place.truth(), place)
    expect("dead letters", 0, place.sink("redis")["dead_letters"])
    soon("all of it", lambda: place.sink("redis")["lag"], 0, place)
    shown = {s["sink"]: s for s in json.loads(place.braid.http("/stats")[1])["sinks"]}
    events_kept = place.sink("redis")["events"]
    expect("in /stats", (events_kept, 0, 0), (shown["redis"]["events"], shown["redis"]["lag_records"], shown["redis"]["dead_letters"]))
    metrics = place.braid.http("/metrics")[1]
    expect_that("in /metrics", f'pgbraid_sink_events_total{{sink="redis"}} {events_kept}\n' in metrics
                and 'pgbraid_sink_lag_records{sink="redis"} 0\n' in metrics)


def killed_and_frozen_in_the_middle(place):
    for i in range(6):
        place.sql(f"UPDATE users SET name = 'k{i}-' || id WHERE id >= 10000")
        if i == 1:
            place.redis.kill()
        elif i == 3:
            place.redis.start()
        elif i == 4:
            place.redis.process.send_signal(signal.SIGSTOP)
    soon("it gives up", lambda: "no answer within 1000 ms" in place.sink("redis")["error"], True, place)
    place.redis.process.send_signal(signal.SIGCONT)
    soon("the stream's rows", lambda: rows(place), place.truth(), place)
    expect_that("it failed before", place.sink("redis")["failures"] > 0)
    seen, last = {}, {}
    for e in events(place):
        where, key = (e["partition"], e["offset"]), e["value"]["idempotence_key"]
        expect(f"what comes again at {where}", key, seen.setdefault(where, key))
        last.setdefault(e["partition"], []).append(e["offset"])
    for partition, offsets in last.items():
        first = list(dict.fromkeys(offsets))
        expect(f"order in partition {partition}", sorted(first), first)
        expect(f"holes in partition {partition}", list(range(len(first))), first)
    expect("idempotence keys", len(seen), len(set(seen.values())))


def full_is_no_fault_of_the_data(place):
    place.redis.ask("CONFIG", "SET", "maxmemory", "1")
    place.sql("INSERT INTO users VALUES (11000, 'full')")
    soon("it is refused", lambda: "OOM" in place.sink("redis")["error"], True, place)
    place.redis.ask("CONFIG", "SET", "maxmemory", "0")
    soon("the stream's rows", lambda: rows(place), place.truth(), place)
    expect("dead letters", 0, place.sink("redis")["dead_letters"])


def wrong_type_is_a_dead_letter(place):
    place.redis.ask("SET", "cdc:app.public.other", "in the way")
    place.sql("CREATE TABLE other (id int PRIMARY KEY, name text)")
    place.sql("INSERT INTO other VALUES (1, 'lost')")
    soon("dead letters", lambda: place.sink("redis")["dead_letters"] > 0, True, place)
    letters = [x for x in place.dead_letters("redis") if x["event"]["value"]["op"] == "c"]
    expect("whose", [{"id": 1, "name": "lost"}], [x["event"]["value"]["after"] for x in letters])
    expect_that(letters[0]["error"], letters[0]["error"].startswith("WRONGTYPE"))
    place.redis.ask("DEL", "cdc:app.public.other")
    place.sql("INSERT INTO other VALUES (2, 'there')")
    soon("the next one", lambda: len(place.redis.ask("XRANGE", "cdc:app.public.other", "-", "+")), 1, place)


def password_is_read_again_and_told_nobody(place):
    place.write("redis.secret", "wrong-" + PASSWORD + "\n")
    place.redis.kill()
    place.redis.start()
    place.sql("INSERT INTO users VALUES (11001, 'secret')")
    soon("it is refused", lambda: "AUTH" in place.sink("redis")["error"], True, place)
    place.write("redis.secret", "default " + PASSWORD + "\n")
    soon("the stream's rows", lambda: rows(place), place.truth(), place)
    shown = place.braid.log() + str(place.console("SHOW CDC_SINKS")) + str(place.console("SHOW CONFIG"))
    expect_that("the password is nowhere", PASSWORD not in shown)


def begin(place):
    """Its settings."""
    place.redis = Redis(os.path.join(place.fleet.folder, "redis"))
    place.fleet.at_end.append(place.redis.kill)
    place.redis.start()
    return {"sink_redis": f"127.0.0.1:{place.redis.port}/0", "sink_redis_prefix": "cdc:",
            "sink_redis_secret": place.write("redis.secret", PASSWORD + "\n"), "sink_redis_topics": "app.*"}


CASES = (gets_everything, killed_and_frozen_in_the_middle, full_is_no_fault_of_the_data, wrong_type_is_a_dead_letter,
         password_is_read_again_and_told_nobody)
