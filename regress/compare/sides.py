"""The two sides of a comparison: a client that keeps bytes as they come, and what differs in two answers.

Rows stay DataRow bodies: two answers are equal when their bytes are, in one order or in any. Only when
they are not, values are looked at: floats may differ by their last bits (a sum of floats depends on
the order of the rows in PostgreSQL itself), and types of the user's own have another OID on every
server, also inside of binary values.
"""

import re
import socket
import struct
from collections import Counter

import raw

FLOATS = {700: "!f", 701: "!d"}
FLOAT_TOLERANCE = 1e-12
FLOAT4_TOLERANCE = 1e-6
OWN_TYPES = 16384  # OIDs from here on are those of objects made by users
OWN_TYPES_EXACT = True  # whether their names are compared, or only that they are types of the user's own
ANSWER_SECONDS_MAX = 60
MODES = ("simple", "binary", "prepared")
READS = re.compile(r"\s*\(*(SELECT|VALUES|TABLE|WITH(?!.*\b(INSERT|UPDATE|DELETE)\b))", re.S | re.I)
SHOWN_MAX = 400  # characters of differing rows
COLUMNS_DIFFER = "columns"  # begins the words about them
COPY_BINARY = b"PGCOPY\n\xff\r\n\0"


class Part:
    """What one statement gave: columns are (name, type, typmod, format)."""

    def __init__(self):
        self.columns = self.rows = self.tag = None


class Answer:
    """Everything up to ReadyForQuery; `parts` has more than one for several statements in one text."""

    def __init__(self, code=None, message="", parts=()):
        self.code, self.message, self.parts = code, message, list(parts)

    @property
    def rows(self):
        return self.parts[-1].rows if self.parts else None

    @property
    def columns(self):
        return self.parts[-1].columns if self.parts else None

    @property
    def tag(self):
        return self.parts[-1].tag if self.parts else None


def copy_rows(chunks):
    """Rows of COPY TO: lines, or the tuples of the binary format."""
    data = b"".join(chunks)
    if not data.startswith(COPY_BINARY):
        return data.splitlines(keepends=True)
    at = len(COPY_BINARY) + 8 + struct.unpack_from("!I", data, len(COPY_BINARY) + 4)[0]
    rows = []
    while True:
        count, begin = struct.unpack_from("!h", data, at)[0], at
        at += 2
        if count < 0:
            break
        for _ in range(count):
            at += 4 + max(struct.unpack_from("!i", data, at)[0], 0)
        rows.append(data[begin:at])
    return rows + [b"after the end: " + data[at:]] if at < len(data) else rows


def columns_of(body):
    out, at = [], 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        end = body.index(0, at)
        name = body[at:end].decode()
        _, _, kind, _, mod, form = struct.unpack_from("!IHIhih", body, end + 1)
        out.append((name, kind, mod, form))
        at = end + 19
    return tuple(out)


def fields(body):
    """The values of a DataRow, None for NULL."""
    out, at = [], 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        n = struct.unpack_from("!i", body, at)[0]
        at += 4
        out.append(None if n < 0 else bytes(body[at:at + n]))
        at += max(n, 0)
    return out


def values_sent(params, binary):
    """(types, values, formats) as psycopg would send Python's values."""
    from psycopg.adapt import PyFormat, Transformer  # only where parameters are
    t = Transformer()
    types, values = [], []
    for p in params:
        if p is None:
            types.append(0)
            values.append(None)
            continue
        dumper = t.get_dumper(p, PyFormat.BINARY if binary else PyFormat.TEXT)
        types.append(dumper.oid)
        values.append(bytes(dumper.dump(p)))
    return types, values, [1 if binary else 0] * len(values)


def values_written(sql, params):
    """The statement with its parameters as literals."""
    from psycopg.sql import Literal
    todo = iter(params)
    return re.sub(r"(?<!%)%s", lambda _: Literal(next(todo)).as_string(None), sql).replace("%%", "%")


class Side:
    """A client. simple: a Query; binary: unnamed, binary results; prepared: named, first text, then binary."""

    def __init__(self, port, mode="simple", database="app", user="app"):
        self.port, self.mode, self.database, self.user = port, mode, database, user
        self.raw = None
        self.names = {}
        self.open()

    def open(self):
        self.close()
        self.names = {}
        self.raw = raw.Raw(self.port, ANSWER_SECONDS_MAX)
        self.raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw.login(user=self.user, database=self.database)

    def close(self):
        if self.raw is not None:
            self.raw.socket.close()
            self.raw = None

    @property
    def in_transaction(self):
        return self.raw.state != "I"

    def run(self, sql, data=None, params=None, portal=0):
        """One answer; a lost connection is one, too, and opened anew."""
        try:
            if self.mode == "simple" or data is not None:
                self.send_query(values_written(sql, params) if params is not None else sql)
                return self.read(data)
            if portal:
                return self.run_portal(sql, params, portal)
            if self.mode == "binary":
                self.send_extended(sql, params)
                return self.read()
            return self.run_prepared(sql, params)
        except (raw.Closed, OSError) as e:
            self.open()
            return Answer("lost", f"{type(e).__name__}: {e}")

    def run_once(self, sql, params=None):
        """Without keeping it prepared."""
        if self.mode == "simple":
            return self.run(sql, None, params)
        self.send_extended(sql, params)
        return self.read()

    def send_query(self, sql):
        self.raw.socket.sendall(raw.query(sql))

    def bound(self, sql, params, binary_values):
        """The text with $n, types, values and formats."""
        if params is None:
            return sql, (), (), ()
        numbers = iter(range(1, len(params) + 1))
        sql = re.sub(r"(?<!%)%s", lambda _: f"${next(numbers)}", sql).replace("%%", "%")
        return sql, *values_sent(params, binary_values)

    def send_extended(self, sql, params=None, results=(1,)):
        text, types, values, formats = self.bound(sql, params, True)
        self.raw.send(raw.parse(text, types=types), raw.bind(values, formats=formats, results=results),
                      raw.describe("P"), raw.execute(), raw.SYNC)

    def run_prepared(self, sql, params):
        text, types, values, formats = self.bound(sql, params, False)
        name = self.names.get((text, tuple(types)))
        parse = []
        if name is None:
            name = f"s{len(self.names)}"
            parse = [raw.parse(text, name, types)]
        def execute(results):
            return [raw.bind(values, statement=name, formats=formats, results=results), raw.describe("P"),
                    raw.execute(), raw.SYNC]
        self.raw.send(*parse, *execute((0,)))
        first = self.read()
        if first.code is None or not parse:
            self.names[(text, tuple(types))] = name
        else:
            self.raw.ask(raw.close("S", name), raw.SYNC)
        if first.code is None and READS.match(sql):
            self.raw.send(*execute((1,)))
            again = self.read()
            return Answer(again.code, again.message, first.parts + again.parts)
        return first

    def run_portal(self, sql, params, rows_max):
        """As many Executes as it takes, with a limit of rows."""
        text, types, values, formats = self.bound(sql, params, True)
        self.raw.send(raw.parse(text, types=types), raw.bind(values, formats=formats, results=(1,)),
                      raw.describe("P"))
        parts, part, executes = [], Part(), 0
        part.rows = []
        while True:
            self.raw.send(raw.execute("", rows_max), raw.FLUSH)
            executes += 1
            got = self.raw.until("sCEZ")
            part.rows += [bytes(body) for kind, body in got if kind == "D"]
            for kind, body in got:
                if kind == "T":
                    part.columns = columns_of(body)
            if got[-1][0] != "s":
                break
        self.raw.send(raw.SYNC)
        if got[-1][0] == "E":
            self.raw.until("Z")
            error = raw.fields_of(got[-1][1])
            return Answer(error["C"], error["M"], parts)
        part.tag = f"{got[-1][1][:-1].decode()} after {executes}"
        self.raw.until("Z")
        return Answer(None, "", [part])

    def read(self, data=None):
        """The answer up to ReadyForQuery."""
        r, parts, part, copy, error = self.raw, [], Part(), None, None
        buffer, at = r.buffer, 0
        r.buffer = b""
        while True:
            while len(buffer) - at < 5 or len(buffer) - at <= (n := int.from_bytes(buffer[at + 1:at + 5], "big")):
                got = r.socket.recv(262144)
                if not got:
                    raise raw.Closed()
                buffer = buffer[at:] + got
                at = 0
            kind, body = buffer[at], buffer[at + 5:at + 1 + n]
            at += 1 + n
            if kind == 68:  # D
                if part.rows is None:
                    part.rows = []
                part.rows.append(body)
            elif kind == 84:  # T
                part.columns, part.rows = columns_of(body), []
            elif kind == 67:  # C
                part.tag = body[:-1].decode()
                if copy is not None:
                    part.rows, copy = copy_rows(copy), None
                parts.append(part)
                part = Part()
            elif kind == 69:  # E
                words = raw.fields_of(body)
                error = error or (words["C"], words["M"])
                if words.get("S") in ("FATAL", "PANIC"):
                    raise raw.Closed(f"{words['C']} {words['M']}")
            elif kind == 72:  # H
                copy = []
            elif kind == 100:  # d
                copy.append(body)
            elif kind == 71:  # G
                r.send(raw.message("d", (data or "").encode()), raw.message("c"))
            elif kind == 90:  # Z
                r.state = chr(body[0])
                r.buffer = buffer[at:]
                return Answer(*(error or (None, "")), parts)


class Types:
    """Names of types by OID on one server, looked up beside the client."""

    def __init__(self, server, database="app"):
        self.server, self.database = server, database
        self.names = {}

    def name(self, oid):
        if oid < OWN_TYPES:
            return oid
        if oid not in self.names:
            got = self.server.sql("SELECT n.nspname || '.' || t.typname FROM pg_type t JOIN pg_namespace n "
                                  f"ON n.oid = t.typnamespace WHERE t.oid = {oid}", self.database)
            if not got:
                return "own"  # not committed yet, or dropped
            self.names[oid] = got[0][0]
        return self.names[oid]

    def load(self):
        got = self.server.sql("SELECT t.oid, n.nspname || '.' || t.typname FROM pg_type t JOIN pg_namespace n "
                              f"ON n.oid = t.typnamespace WHERE t.oid >= {OWN_TYPES}", self.database)
        self.names = dict(got)


class Judge:
    """Says what is different between an answer of pgbraid and one of PostgreSQL."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs  # Types of both

    def differs(self, mine, real, ordered, values=True):
        """None, or words."""
        if mine.code != real.code:
            return f"SQLSTATE {mine.code} against {real.code}: {mine.message or real.message}"
        if len(mine.parts) != len(real.parts):
            return f"{len(mine.parts)} results against {len(real.parts)}"
        for a, b in zip(mine.parts, real.parts):
            wrong = self.part_differs(a, b, ordered, values)
            if wrong:
                return wrong
        return None

    def part_differs(self, a, b, ordered, values):
        if a.tag != b.tag:
            return f"tag {a.tag} against {b.tag}"
        if a.columns != b.columns:
            mine, real = self.named(a.columns, self.ours), self.named(b.columns, self.theirs)
            if mine != real:
                return f"{COLUMNS_DIFFER} {mine} against {real}"
        if a.rows == b.rows:
            return None
        if a.rows is None or b.rows is None:
            return "rows against none"
        if len(a.rows) != len(b.rows):
            return f"{len(a.rows)} rows against {len(b.rows)}" + self.only(a, b)
        if not values:
            return None
        if not ordered and sorted(a.rows) == sorted(b.rows):
            return None
        return self.values_differ(a, b, ordered)

    @staticmethod
    def named(columns, types):
        return columns and [(n, types.name(t) if t >= OWN_TYPES and OWN_TYPES_EXACT else min(t, OWN_TYPES), m, f)
                            for n, t, m, f in columns]

    def same_oids(self, a, b):
        """Their rows as they would be with our OIDs of types of the user's own."""
        by_name = {n: oid for oid, n in self.ours.names.items()}
        swaps = {struct.pack("!I", oid): struct.pack("!I", by_name[n])
                 for oid, n in self.theirs.names.items() if n in by_name and by_name[n] != oid}
        if not swaps:
            return list(b.rows)
        old = re.compile(b"|".join(map(re.escape, swaps)), re.S)
        return [old.sub(lambda m: swaps[m[0]], bytes(row)) for row in b.rows]

    def values_differ(self, a, b, ordered):
        rows = b.rows
        if b.columns and any(c[3] == 1 for c in b.columns):
            rows = self.same_oids(a, b)
            if rows == a.rows or (not ordered and sorted(rows) == sorted(a.rows)):
                return None
        if not a.columns or not any(c[1] in FLOATS for c in a.columns):
            return "other rows" + self.only(a, b, rows, ordered)
        mine, real = ([self.floats(r, a.columns) for r in side] for side in (a.rows, rows))
        if not ordered:
            mine.sort(key=self.sort_key)
            real.sort(key=self.sort_key)
        if all(self.close(x, y, a.columns) for x, y in zip(mine, real)):
            return None
        return "other rows" + self.only(a, b, rows, ordered)

    @staticmethod
    def floats(row, columns):
        out = fields(row)
        for i, (_, kind, _, form) in enumerate(columns):
            if kind in FLOATS and out[i] is not None:
                out[i] = struct.unpack(FLOATS[kind], out[i])[0] if form else float(out[i])
        return out

    @staticmethod
    def sort_key(row):
        rest = [(v is not None, v or b"") for v in row if not isinstance(v, float)]
        return rest, [(v == v, v) for v in row if isinstance(v, float)]

    @staticmethod
    def close(x, y, columns):
        for (_, kind, _, _), v, w in zip(columns, x, y):
            if v == w or (v != v and w != w):
                continue
            if not isinstance(v, float) or not isinstance(w, float):
                return False
            limit = FLOAT_TOLERANCE if kind == 701 else FLOAT4_TOLERANCE
            if not abs(v - w) <= limit * max(abs(v), abs(w)):
                return False
        return True

    @staticmethod
    def only(a, b, rows=None, ordered=False):
        """The rows that only one side has, or the first that is elsewhere."""
        def shown(row, columns):
            return row if columns is None else [None if v is None else v.decode(errors="backslashreplace")
                                                for v in fields(row)]
        rows = b.rows if rows is None else rows
        mine, theirs = Counter(map(bytes, a.rows)), Counter(map(bytes, rows))
        if mine == theirs and ordered:
            at = next(i for i, (x, y) in enumerate(zip(a.rows, rows)) if x != y)
            return (f": row {at + 1} is {str(shown(a.rows[at], a.columns))[:SHOWN_MAX]} "
                    f"against {str(shown(rows[at], b.columns))[:SHOWN_MAX]}")
        left, right = ([shown(r, a.columns) for r in (x - y).elements()][:3]
                       for x, y in ((mine, theirs), (theirs, mine)))
        return f": only of pgbraid {str(left)[:SHOWN_MAX]}, only of PostgreSQL {str(right)[:SHOWN_MAX]}"


def top_level(sql):
    """The statement without what stands in parentheses, strings and comments, in upper case."""
    sql = re.sub(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$", " ", sql, flags=re.S)
    out, depth = [], 0
    for piece in re.split(r"([()])", sql):
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if depth == 0:
            out.append(piece)
    return " ".join(out).upper()


def is_ordered(sql):
    return re.search(r"\bORDER\s+BY\b", top_level(sql)) is not None
