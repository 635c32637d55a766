"""The web hook's sink: a server that hangs, closes and refuses."""

import http.server
import json
import threading
import time

from report import expect, expect_that
from sink_place import rows_of, soon

SECRET = "s3cr3t-bearer"


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
        with self.lock:
            return rows_of(self.events)


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


def gets_everything(place):
    hook = place.hook
    place.sql("INSERT INTO users SELECT g, 'n' || g FROM generate_series(5000, 5300) g")
    place.sql("UPDATE users SET name = 'other' WHERE id < 50")
    place.sql("UPDATE users SET id = id + 1000 WHERE id = 7")
    place.sql("DELETE FROM users WHERE id BETWEEN 5100 AND 5120")
    soon("the hook's rows", hook.state, place.truth(), place)
    place.sql("TRUNCATE users")
    place.sql("INSERT INTO users SELECT g, 'n' || g FROM generate_series(1, 100) g")
    soon("the hook's rows", hook.state, place.truth(), place)
    hook.hanging.set()
    expect("it was tried again", ["hang", "close", 503, 200], hook.statuses[:4])
    expect_that("batches", max(hook.statuses.count(200), 1) < len(hook.events))
    expect("the header", {f"Bearer {SECRET}"}, {h["Authorization"] for h in hook.headers})
    expect("dead letters", 0, place.sink("webhook")["dead_letters"])


def buries_what_is_refused(place):
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


def begin(place):
    """Its settings."""
    place.hook = Hook()
    place.hook.script = ["hang", "close", 503]
    return {"sink_webhook": "@" + place.write("hook.url", place.hook.url + "\n"),
            "sink_webhook_headers": place.write("hook.headers", f"Authorization: Bearer {SECRET}\n")}


CASES = (gets_everything, buries_what_is_refused, secrets_stay_secret, who_hangs_does_not_hold_the_end_up)
