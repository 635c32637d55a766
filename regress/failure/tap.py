"""A man in the middle that understands the protocol: it stops at a chosen message and lets something happen.

    tap = Tap(server)                       listens on tap.port, passes everything on to the server
    trap = Trap("PREPARE TRANSACTION", "answer", 0, action)
    Tap.set(trap, taps)                     on the 1st answer to such a statement, on any of them

`action(tap)` runs before the message is passed on; when it returns "cut", the message is lost and the connection is
reset. Simple queries are looked at, and statements of the extended protocol whose Parse came over the same connection:
what two-phase commit is made of.
"""

import socket
import struct
import threading

from middle import reset

VERBS = ("BEGIN", "PREPARE TRANSACTION", "SELECT braid.decide", "COMMIT PREPARED", "ROLLBACK PREPARED", "COMMIT", "ROLLBACK")
SSL_REQUEST, GSS_REQUEST, CANCEL = 80877103, 80877104, 80877102


class Trap:
    """Strikes once: at the message number `skip` (from 0) of those that are `side` ("request", "answer") of `verb`."""

    def __init__(self, verb, side, skip, action, server=None):
        self.verb, self.side, self.skip, self.action, self.server = verb, side, skip, action, server
        self.lock = threading.Lock()
        self.taken = False
        self.struck = threading.Event()  # and the action is over

    def at(self, tap, verb, side):
        with self.lock:
            if self.taken or side != self.side or (self.verb is not None and verb != self.verb) or \
                    (self.server is not None and tap.number != self.server):
                return None
            if self.skip > 0:
                self.skip -= 1
                return None
            self.taken = True
        try:
            return self.action(tap)
        finally:
            self.struck.set()


class Link:
    """One connection through the tap: a thread for each direction."""

    def __init__(self, tap, here, there):
        self.tap, self.here, self.there = tap, here, there
        # What will be answered by a ReadyForQuery, oldest first: the verbs of its statements; None: not of interest
        self.asked = []
        self.bound = []  # those since the last Sync or query
        self.waits_for_byte = 0  # answers to an SSLRequest
        self.started = False
        self.texts = {}  # name of a prepared statement: its first bytes

    def run(self):
        threading.Thread(target=self.pump, args=(self.here, self.there, self.request), daemon=True).start()
        threading.Thread(target=self.pump, args=(self.there, self.here, self.answer), daemon=True).start()

    def pump(self, side, other, look):
        held = b""
        try:
            while True:
                data = side.recv(65536)
                if not data:
                    break
                held = look(held + data, other)
                if held is None:
                    break
        except OSError:
            pass
        reset(self.here)
        reset(self.there)

    def request(self, data, other):
        """Pass on whole messages; what is left of the last one, None: cut."""
        at = 0
        while len(data) - at >= 5:
            if not self.started:
                length, code = struct.unpack_from("!ii", data, at) if len(data) - at >= 8 else (1 << 30, 0)
                if len(data) - at < length:
                    break
                self.waits_for_byte += code in (SSL_REQUEST, GSS_REQUEST)
                self.started = code not in (SSL_REQUEST, GSS_REQUEST, CANCEL)
                if self.started:
                    self.asked.append([])
                at += length
                continue
            kind, length = data[at:at + 1], struct.unpack_from("!i", data, at + 1)[0] + 1
            if len(data) - at < length:
                break
            if kind == b"P":
                name, text = data[at + 5:at + length].split(b"\0", 2)[:2]
                self.texts[name] = text
            if kind in b"QSB":
                text = data[at + 5:at + 45] if kind == b"Q" else b""
                if kind == b"B":
                    text = self.texts.get(data[at + 5:at + length].split(b"\0", 2)[1], b"")
                verb = next((v for v in VERBS if text.startswith(v.encode())), None)
                trap = self.tap.trap  # it is taken away by another thread
                if verb is not None and trap is not None:
                    other.sendall(data[:at])
                    data, at = data[at:], 0
                    if trap.at(self.tap, verb, "request") == "cut":
                        return None
                if kind != b"S":
                    self.bound.append(verb)
                if kind != b"B":  # a query may stand behind a BEGIN that was executed
                    self.asked.append(self.bound)
                    self.bound = []
            at += length
        other.sendall(data[:at])
        return data[at:]

    def answer(self, data, other):
        at = 0
        while self.waits_for_byte and len(data) > at:
            self.waits_for_byte -= 1
            at += 1
        while len(data) - at >= 5:
            kind, length = data[at:at + 1], struct.unpack_from("!i", data, at + 1)[0] + 1
            if len(data) - at < length:
                break
            verbs = self.asked[0] if self.asked else self.bound
            verb = verbs[0] if verbs and kind in b"CE" else None
            if kind == b"C" and len(verbs) > 1:
                verbs.pop(0)
            trap = self.tap.trap
            if kind in b"CE" and verb is not None and trap is not None:
                other.sendall(data[:at])
                data, at = data[at:], 0
                if trap.at(self.tap, verb, "answer") == "cut":
                    return None
            if kind == b"Z" and self.asked:
                self.asked.pop(0)
            at += length
        other.sendall(data[:at])
        return data[at:]


class Tap:
    def __init__(self, server, number):
        self.server, self.number, self.trap = server, number, None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                reset(here)
                continue
            for s in (here, there):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Link(self, here, there).run()

    @staticmethod
    def set(trap, taps):
        for tap in taps:
            tap.trap = trap

    def close(self):
        self.listener.close()
