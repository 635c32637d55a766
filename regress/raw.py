"""A client that speaks the protocol by hand, to say what no driver would say."""

import socket
import struct

V30 = 3 << 16
V32 = (3 << 16) | 2
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102


def startup(user="app", database="app", version=V30, **params):
    words = {"user": user, "database": database, **params}
    body = struct.pack("!I", version)
    for name, value in words.items():
        if value is not None:
            body += name.encode() + b"\0" + value.encode() + b"\0"
    body += b"\0"
    return struct.pack("!I", len(body) + 4) + body


def request(code, more=b""):
    return struct.pack("!II", 8 + len(more), code) + more


def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def query(sql):
    return message("Q", sql.encode() + b"\0")


def parse(sql, name="", types=()):
    return message("P", name.encode() + b"\0" + sql.encode() + b"\0"
                   + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(values=(), statement="", portal="", formats=(), results=()):
    body = portal.encode() + b"\0" + statement.encode() + b"\0"
    body += struct.pack(f"!H{len(formats)}H", len(formats), *formats)
    body += struct.pack("!H", len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            data = value if isinstance(value, bytes) else str(value).encode()
            body += struct.pack("!i", len(data)) + data
    body += struct.pack(f"!H{len(results)}H", len(results), *results)
    return message("B", body)


def describe(kind="S", name=""):
    return message("D", kind.encode() + name.encode() + b"\0")


def close(kind="S", name=""):
    return message("C", kind.encode() + name.encode() + b"\0")


def execute(portal="", rows=0):
    return message("E", portal.encode() + b"\0" + struct.pack("!I", rows))


SYNC = message("S")
FLUSH = message("H")
TERMINATE = message("X")


class Closed(Exception):
    """The other side closed the connection."""


def fields_of(body):
    """Fields of an ErrorResponse: letter -> text."""
    return {part[:1].decode(): part[1:].decode(errors="replace")
            for part in body.split(b"\0") if part}


class Raw:
    """A connection; `state` of the last ReadyForQuery."""

    def __init__(self, port, timeout=15):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.buffer = b""
        self.state = None
        self.pid = self.key = None
        self.parameters = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *parts):
        self.socket.sendall(b"".join(parts))

    def take(self, count):
        while len(self.buffer) < count:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                raise Closed()
            self.buffer += data
        head, self.buffer = self.buffer[:count], self.buffer[count:]
        return head

    def next(self):
        """(letter, body) of the next message."""
        head = self.take(5)
        return chr(head[0]), self.take(struct.unpack("!I", head[1:])[0] - 4)

    def until(self, letters):
        """Messages up to the first of `letters`, with it."""
        out = []
        while True:
            kind, body = self.next()
            out.append((kind, body))
            if kind == "Z":
                self.state = body.decode()
            if kind == "K":
                self.pid, self.key = struct.unpack("!I", body[:4])[0], body[4:]
            if kind == "S":
                name, value = body.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            if kind in letters:
                return out

    def rest(self):
        """Everything up to the close."""
        out = []
        try:
            while True:
                out.append(self.next())
        except Closed:
            return out

    def login(self, **words):
        self.send(startup(**words))
        got = self.until("ZE")
        if got[-1][0] == "E":
            raise RuntimeError(fields_of(got[-1][1]))
        return got

    def ask(self, *parts):
        """Send; the letters and bodies up to ReadyForQuery."""
        self.send(*parts)
        return self.until("Z")


def letters(messages):
    return "".join(kind for kind, _ in messages)


def rows_of(messages):
    """DataRows as lists of text."""
    out = []
    for kind, body in messages:
        if kind == "D":
            count, at, row = struct.unpack("!H", body[:2])[0], 2, []
            for _ in range(count):
                n = struct.unpack("!i", body[at:at + 4])[0]
                at += 4
                row.append(None if n < 0 else body[at:at + n].decode())
                at += max(n, 0)
            out.append(row)
    return out


def codes_of(messages):
    return [fields_of(body)["C"] for kind, body in messages if kind == "E"]
