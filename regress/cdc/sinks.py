#!/usr/bin/env python3
"""Sinks of the change log against servers that fail on purpose.

usage: sinks.py [--build DIR] [--only WORD] [--verbose]

One pgbraid over two shards with a sink of every kind. What each has at the end, applied by key,
equals the shards; what it refuses for good is a dead letter; one that hangs holds nobody up; and no
secret is in the log or on the console.
"""

import argparse
import http.server
import json
import os
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "regress"))

import pg  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Report, expect, expect_that  # noqa: E402

LOGICAL = ["wal_level = logical", "max_replication_slots = 10", "max_wal_senders = 10"]
SECRET = "s3cr3t-bearer"
WAIT_S = 120


class Hook(http.server.ThreadingHTTPServer):
    """A web hook. `script`: what to do with the next requests, then `judge` decides: a status, "close" or "hang"."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        self.events, self.script, self.statuses, self.headers = [], [], [], []
        self.judge = lambda events: 200
        self.lock = threading.Lock()
        self.hanging = threading.Event()  # set: those who hang go on
        super().__init__(("127.0.0.1", 0), HookRequest)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/hook?token=abc"

    def handle_error(self, request, client_address):
        pass

    def state(self):
        """Rows by key, as the events say."""
        rows = {}
        with self.lock:
            for event in self.events:
                value = event["value"]
                if value["op"] in ("u", "d") and value["before"]:
                    rows.pop(value["before"]["id"], None)
                if value["after"]:
                    rows[value["after"]["id"]] = value["after"]["name"]
        return rows


class HookRequest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, text=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self):
        hook = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        events = json.loads(body)["events"]
        with hook.lock:
            step = hook.script.pop(0) if hook.script else hook.judge(events)
            hook.statuses.append(step)
            hook.headers.append(dict(self.headers))
        if step == "hang":
            hook.hanging.wait(60)
        if step in ("hang", "close"):
            self.close_connection = True
            return
        if step == 200:
            with hook.lock:
                hook.events += events
        told = f"no: {self.headers['Authorization']}".encode() if step >= 400 else b""
        self.answer(step, told, [("Retry-After", "1")] if step == 503 else [])


class Place:
    def __init__(self, fleet, args):
        self.servers = fleet.start(2, options=LOGICAL)
        for server in self.servers:
            server.sql("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'secret'")
            for name in ("app", "plain"):
                server.sql(f"CREATE DATABASE {name} OWNER app")
        self.hook = Hook()
        self.folder = os.path.join(fleet.folder, "braid")
        os.makedirs(self.folder)
        config = config_for(self.servers, {"users": {"hash": ["id"]}}, service={"user": "app"},
                            auth={"admin_users": "app"},
                            cdc={"enabled": "on", "databases": "app", "sink_timeout_ms": 1000, "sink_batch": 50,
                                 "sink_webhook": "@" + self.write("hook.url", self.hook.url + "\n"),
                                 "sink_webhook_headers": self.write("hook.headers", f"Authorization: Bearer {SECRET}\n")})
        self.braid = Braid(self.folder, config, users={"app": "secret"}, build=args.build)
        self.braid.start()
        self.sql("CREATE TABLE users (id int PRIMARY KEY, name text)")

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def sql(self, statement):
        return self.braid.sql(statement)

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


def soon(what, get, want, place):
    """Sinks are behind; in the end they are equal."""
    until = time.monotonic() + WAIT_S
    while True:
        have = get()
        if have == want:
            return
        if time.monotonic() > until:
            if isinstance(want, dict):
                missing, extra = sorted(set(want.items()) - set(have.items())), sorted(set(have.items()) - set(want.items()))
                have, want = f"{len(missing)} missing: {missing[:3]}, {len(extra)} too many: {extra[:3]}", "equal rows"
            expect(f"{what}; {place.console('SHOW CDC_SINKS')}", want, have)
        time.sleep(0.05)


# ---- web hook ------------------------------------------------------------------------------------

def hook_gets_everything(place):
    hook = place.hook
    hook.script = ["hang", "close", 503]
    place.sql("INSERT INTO users SELECT g, 'n' || g FROM generate_series(1, 300) g")
    place.sql("UPDATE users SET name = 'other' WHERE id < 50")
    place.sql("UPDATE users SET id = id + 1000 WHERE id = 7")
    place.sql("DELETE FROM users WHERE id BETWEEN 100 AND 120")
    soon("the hook's rows", hook.state, place.truth(), place)
    hook.hanging.set()
    expect("it was tried again", ["hang", "close", 503, 200], hook.statuses[:4])
    expect_that("batches", max(hook.statuses.count(200), 1) < len(hook.events))
    expect("the header", {f"Bearer {SECRET}"}, {h["Authorization"] for h in hook.headers})
    expect("dead letters", 0, place.sink("webhook")["dead_letters"])


def hook_buries_what_is_refused(place):
    hook = place.hook
    bad = {2001, 2033, 2090}
    hook.judge = lambda events: 400 if any(e["key"]["id"] in bad for e in events) else 200
    place.sql("INSERT INTO users SELECT g, 'p' || g FROM generate_series(2000, 2100) g")
    want = {k: v for k, v in place.truth().items() if k not in bad}
    soon("all but those that are refused", hook.state, want, place)
    soon("counted", lambda: place.sink("webhook")["dead_letters"] >= 3, True, place)
    letters = place.dead_letters("webhook")
    expect("dead letters", bad, {letter["event"]["key"]["id"] for letter in letters})
    expect_that(letters[0]["error"], letters[0]["error"].startswith("status 400"))
    hook.judge = lambda events: 200
    place.sql("DELETE FROM users WHERE id IN (2001, 2033, 2090)")


def secrets_stay_secret(place):
    hook = place.hook
    hook.judge = lambda events: 401
    place.sql("INSERT INTO users VALUES (3000, 'x')")
    soon("it fails", lambda: place.sink("webhook")["failures"] > 0 and place.sink("webhook")["error"] != "", True, place)
    error = place.sink("webhook")["error"]
    expect_that(error, "status 401" in error)
    shown = place.braid.log() + str(place.console("SHOW CDC_SINKS")) + str(place.console("SHOW CONFIG")) + str(place.dead_letters("webhook"))
    expect_that("the bearer's secret is nowhere", SECRET not in shown)
    expect_that("the query of the URL is nowhere", "token=abc" not in shown)
    place.write("hook.headers", "Authorization: Bearer other\n")  # read again after a failure
    hook.judge = lambda events: 200
    soon("the hook's rows", hook.state, place.truth(), place)
    expect("the new header", "Bearer other", hook.headers[-1]["Authorization"])


def who_hangs_does_not_hold_the_end_up(place):
    hook = place.hook
    hook.hanging.clear()
    hook.judge = lambda events: "hang"
    place.sql("INSERT INTO users VALUES (4000, 'x')")
    soon("it hangs", lambda: hook.statuses[-1], "hang", place)
    begin = time.monotonic()
    expect("exit status", 0, place.braid.stop())
    expect_that("it took long", time.monotonic() - begin < 20)
    hook.hanging.set()
    hook.judge = lambda events: 200
    place.braid.start()
    soon("the hook's rows", hook.state, place.truth(), place)


CASES = (hook_gets_everything, hook_buries_what_is_refused, secrets_stay_secret, who_hangs_does_not_hold_the_end_up)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--only")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    report = Report(verbose=args.verbose, only=args.only)
    with pg.Fleet() as fleet:
        place = Place(fleet, args)
        try:
            for case in CASES:
                report.run(case.__name__, case, place)
        finally:
            if place.braid.alive():
                place.braid.stop()
        report.run("no complaints", lambda: expect("complaints", [], place.braid.complaints()))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
