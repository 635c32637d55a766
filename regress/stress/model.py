"""A client that knows what every answer must be.

It speaks the protocol by hand (raw.Raw). Each statement carries a token of its own that has to come
back, in a row or in the text of an error; each client writes rows of its own only, and knows what
must stand in them.
"""

import struct
import time

import raw

INT8, TEXT = 20, 25
# What a client may meet because of the harness: cancels, killed backends, lock waits.
CHAOS = {"57014", "57P01", "08004", "08006", "08007", "55P03", "40P01", "57P03", "40001"}
UNKNOWN_OUTCOME = {"08007", "57P01", "57014"}


class Wrong(Exception):
    """The proxy answered something that cannot be right."""


class Statement:
    """One statement of a pipeline: how it is sent and what must come."""

    def __init__(self, sql, values=(), types=(), rows=None, tag=None, fails=None, text=None,
                 name=""):
        self.sql, self.values, self.types, self.name = sql, values, types, name
        self.rows, self.tag, self.fails, self.text = rows, tag, fails, text

    def messages(self, parse=True, describe=True):
        out = [raw.parse(self.sql, self.name, self.types)] if parse else []
        out.append(raw.bind(self.values, self.name))
        if describe:
            out.append(raw.describe("P"))
        out.append(raw.execute())
        return out


class Client(raw.Raw):
    """One connection with a model of its settings."""

    def __init__(self, place, rng, number):
        super().__init__(place.port, timeout=place.patience)
        self.place, self.rng, self.number = place, rng, number
        self.serial = 0
        self.status = "I"
        self.token = f"c{number}x{rng.randrange(1 << 30)}"
        self.settings = {"application_name": self.token}
        self.prepared = {}
        self.send(raw.startup(application_name=self.token))
        got = self.until("ZE")
        if got[-1][0] == "E":
            error = raw.fields_of(got[-1][1])
            if error["C"] in CHAOS and not place.args.calm:
                raise raw.Closed()  # its first server connection was killed
            raise Wrong(f"login: {error}")

    def mark(self):
        self.serial += 1
        return f"{self.token}n{self.serial}"

    # ---- asking

    def run(self, sql):
        """A simple query: (rows, tags, errors)."""
        return self.read(self.ask(raw.query(sql)), sql)

    def read(self, messages, what):
        before, self.status = self.status, messages[-1][1].decode()
        tags = [body[:-1].decode() for kind, body in messages if kind == "C"]
        errors = [raw.fields_of(body) for kind, body in messages if kind == "E"]
        for error in errors:
            self.place.note_error(error, what)
        if errors and errors[0]["C"] == "25P02" and before != "E":
            raise Wrong(f"{what!r}: nobody was told why the transaction had failed: {errors}")
        return raw.rows_of(messages), tags, errors

    def must(self, sql, rows=None, tag=None, chaos=True):
        """None when the statement succeeds with these rows and this tag; the SQLSTATE when it fails
        by the harness's own making."""
        got, tags, errors = self.run(sql)
        if errors:
            if len(errors) == 1 and (errors[0]["C"] in CHAOS and chaos):
                return errors[0]["C"]
            raise Wrong(f"{sql!r}: {errors}")
        if rows is not None and sorted(got) != sorted(rows):
            raise Wrong(f"{sql!r}: expected {rows}, got {got[:5]}")
        if tag is not None and tags[-1:] != [tag]:
            raise Wrong(f"{sql!r}: expected tag {tag}, got {tags}")
        return None

    def leave(self, politely=True):
        try:
            if politely:
                self.send(raw.TERMINATE)
            self.socket.close()
        except OSError:
            pass


def int8(value):
    return struct.pack("!q", value)


class Own:
    """Rows that only one client writes: id -> possible values of n."""

    PER_CLIENT = 12

    def __init__(self, number):
        base = 1000 + number * 100
        self.known = {base + i: {0} for i in range(self.PER_CLIENT)}

    def ids(self):
        return list(self.known)

    def check(self, client, key):
        """What is committed is there; on a shard that was lost while committing a little later."""
        until = time.monotonic() + (0 if client.place.args.calm else 5)
        while True:
            rows, _, errors = client.run(f"SELECT n, '{client.mark()}' FROM own WHERE id = {key}")
            if errors:
                if errors[0]["C"] in CHAOS:
                    return
                raise Wrong(f"reading own row: {errors}")
            n = int(rows[0][0])
            if n in self.known[key]:
                self.known[key] = {n}
                return
            if time.monotonic() > until:
                raise Wrong(f"own row {key} holds {n}, must be one of {sorted(self.known[key])}")
            time.sleep(0.1)

    def add(self, key, by=1, sure=True):
        after = {n + by for n in self.known[key]}
        self.known[key] = after if sure else after | self.known[key]


def pick(rng, weighted):
    names = list(weighted)
    return rng.choices(names, [weighted[n] for n in names])[0]
