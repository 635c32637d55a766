"""What a hand-made client does: one function per kind of work, each leaves the session idle."""

import socket
import time

import raw
from model import CHAOS, INT8, TEXT, UNKNOWN_OUTCOME, Statement, Wrong, int8

ITEMS = 300


def item(c):
    return c.rng.randrange(1, ITEMS + 1)


# ---- single statements

def simple_one(c):
    key, mark = item(c), c.mark()
    c.must(f"SELECT v, '{mark}' FROM items WHERE id = {key}", [[f"v{key}", mark]])


def simple_scatter(c):
    mark, low = c.mark(), item(c)
    kind = c.rng.randrange(5)
    high = min(low + 20, ITEMS)
    ids = range(low, high + 1)
    if kind == 0:
        c.must(f"SELECT id, '{mark}' FROM items WHERE id BETWEEN {low} AND {high}",
               [[str(i), mark] for i in ids])
    elif kind == 1:
        rows, _, errors = c.run(f"SELECT id, '{mark}' FROM items WHERE id >= {low} ORDER BY id"
                                " LIMIT 7")
        expected = [[str(i), mark] for i in range(low, min(low + 7, ITEMS + 1))]
        if rows != expected and not errors:
            raise Wrong(f"ORDER BY LIMIT from {low}: {rows}")
    elif kind == 2:
        c.must(f"SELECT count(*), sum(id), min('{mark}') FROM items WHERE id BETWEEN {low} AND {high}",
               [[str(len(ids)), str(sum(ids)), mark]])
    elif kind == 3:
        c.must(f"SELECT id % 3, count(*), min('{mark}') FROM items WHERE id BETWEEN {low} AND {high}"
               " GROUP BY 1",
               [[str(r), str(n), mark] for r in range(3)
                for n in [sum(1 for i in ids if i % 3 == r)] if n])
    else:
        rows, _, errors = c.run(f"SELECT '{mark}', id, repeat(v, 200) FROM items")
        if not errors and ([r[0] for r in rows] != [mark] * ITEMS or
                           any(r[2] != f"v{r[1]}" * 200 for r in rows)):
            raise Wrong(f"all rows: {len(rows)}")


def moved(c):
    """Statements that need a workspace: joins on columns that are no key, windows over everything."""
    mark, low = c.mark(), item(c)
    ids = range(low, min(low + 20, ITEMS) + 1)
    kind = c.rng.randrange(5)
    if kind == 0:
        c.must(f"SELECT a.id, b.id, '{mark}' FROM items a JOIN items b ON b.v = a.v "
               f"WHERE a.id BETWEEN {low} AND {ids[-1]}", [[str(i), str(i), mark] for i in ids])
    elif kind == 1:
        c.must(f"SELECT x.n, x.id, '{mark}' FROM (SELECT id, row_number() OVER (ORDER BY id) AS n "
               f"FROM items) x WHERE x.id = {low}", [[str(low), str(low), mark]])
    elif kind == 2:
        c.must(f"SELECT count(*), min('{mark}') FROM items a JOIN items b ON b.v = 'v' || (a.id + 1)",
               [[str(ITEMS - 1), mark]])
    elif kind == 3:
        key = c.rng.choice(c.own.ids())
        if c.must("BEGIN") is None and c.must(
                f"UPDATE own SET t = '{mark}' WHERE id = {key}", tag="UPDATE 1") is None:
            c.must(f"SELECT o.id FROM own o JOIN items i ON o.t = '{mark}' AND i.v = 'v{low}'",
                   [[str(key)]])
        end(c)
    else:
        _, _, errors = c.run(f"SELECT CAST(a.v || '{mark}' AS int) FROM items a JOIN items b ON b.v = a.v")
        if len(errors) != 1 or (mark not in errors[0]["M"] and errors[0]["C"] not in CHAOS):
            raise Wrong(f"expected an error with {mark}, got {errors}")


def large_row(c):
    key, n = item(c), c.rng.choice([1000, 70000, 300000, 2000000])
    rows, _, errors = c.run(f"SELECT repeat(v, {n}), '{key}' FROM items WHERE id = {key}")
    if not errors and rows != [[f"v{key}" * n, str(key)]]:
        raise Wrong(f"a row of {n} repeats differs")


def statement_error(c):
    mark = c.mark()
    where = c.rng.choice([f" WHERE id = {item(c)}", ""])
    _, _, errors = c.run(f"SELECT CAST(v || '{mark}' AS int) FROM items{where}")
    if len(errors) != 1 or (mark not in errors[0]["M"] and errors[0]["C"] not in CHAOS):
        raise Wrong(f"expected an error with {mark}, got {errors}")


def own_write(c):
    key = c.rng.choice(c.own.ids())
    code = c.must(f"UPDATE own SET n = n + 1, t = '{c.mark()}' WHERE id = {key}", tag="UPDATE 1")
    if code is None or code in UNKNOWN_OUTCOME:
        c.own.add(key, sure=code is None)
    c.own.check(c, key)


def own_write_many(c):
    ids = c.rng.sample(c.own.ids(), 4)
    text = ", ".join(map(str, ids))
    code = c.must(f"UPDATE own SET n = n + 1 WHERE id IN ({text})", tag="UPDATE 4")
    for key in ids:
        if code is None or code in UNKNOWN_OUTCOME:
            c.own.add(key, sure=code is None)
    for key in ids:
        c.own.check(c, key)


def batch(c):
    """Several statements in one simple query: all or none."""
    ids = c.rng.sample(c.own.ids(), c.rng.randrange(1, 4))
    bad = c.rng.random() < 0.3
    mark = c.mark()
    parts = [f"UPDATE own SET n = n + 1 WHERE id = {key}" for key in ids]
    parts.insert(c.rng.randrange(len(parts) + 1), f"SELECT '{mark}'")
    if bad:
        parts.append(f"SELECT CAST('{mark}' AS int) FROM items")
    rows, tags, errors = c.run("; ".join(parts))
    codes = [e["C"] for e in errors]
    expected = errors and (codes[0] in CHAOS or (bad and mark in errors[0]["M"]))
    if errors and (len(errors) > 1 or not expected):
        raise Wrong(f"batch: {errors}")
    if not errors and (bad or rows != [[mark]] or len(tags) != len(parts)):
        raise Wrong(f"batch {parts}: {rows} {tags}")
    if not errors or codes[0] in UNKNOWN_OUTCOME:
        for key in ids:
            c.own.add(key, sure=not errors)
    for key in ids:
        c.own.check(c, key)


# ---- transactions

def transfer(c):
    a, b = c.rng.sample(range(1, c.place.accounts + 1), 2)
    if c.rng.random() < 0.5:
        a, b = min(a, b), max(a, b)
    by = c.rng.randrange(1, 50)
    steps = ["BEGIN", f"UPDATE accounts SET balance = balance - {by} WHERE id = {a}",
             f"UPDATE accounts SET balance = balance + {by} WHERE id = {b}"]
    if c.rng.random() < 0.3:
        steps.insert(2, "SAVEPOINT s1")
        steps.append(f"UPDATE accounts SET balance = balance + 1000 WHERE id = {item(c) % 50 + 1}")
        steps.append("ROLLBACK TO s1")
        steps.append(f"UPDATE accounts SET balance = balance + {by} WHERE id = {b}")
    for sql in steps:
        if c.must(sql) is not None:
            break
    else:
        c.must("COMMIT" if c.rng.random() < 0.8 else "ROLLBACK")
        if c.status == "I":
            return
    end(c)


def end(c):
    rows, _, errors = c.run("ROLLBACK")
    if c.status != "I":
        raise Wrong(f"ROLLBACK left {c.status}: {rows} {errors}")


def transaction(c):
    """Statements of all kinds between BEGIN and its end, with savepoints and errors."""
    pending, saved, unknown = {}, None, set()
    if c.must("BEGIN") is not None:
        return end(c)
    for _ in range(c.rng.randrange(1, 7)):
        kind = c.rng.randrange(7)
        key = c.rng.choice(c.own.ids())
        code = None
        if kind <= 2:
            code = c.must(f"UPDATE own SET n = n + 1 WHERE id = {key}", tag="UPDATE 1")
            pending[key] = pending.get(key, 0) + 1
        elif kind == 3:
            code = c.must("SAVEPOINT sp")
            saved = dict(pending) if code is None else saved
        elif kind == 4 and saved is not None:
            if c.rng.random() < 0.5:
                statement_error(c)
                if c.status != "E":
                    raise Wrong(f"an error in a transaction left {c.status}")
            _, _, errors = c.run("ROLLBACK TO sp")
            if errors:
                break
            pending = dict(saved)
        elif kind == 5:
            mark = c.mark()
            code = c.must(f"SET LOCAL my.local = '{mark}'")
            rows, _, errors = c.run(f"SELECT current_setting('my.local'), id FROM items "
                                    f"WHERE id = {item(c)}")
            if not errors and rows[0][0] != mark:
                raise Wrong(f"SET LOCAL: expected {mark}, got {rows}")
        else:
            simple_scatter(c)
        if code is not None or c.status == "E":
            break
    if c.rng.random() < 0.7:
        rows, tags, errors = c.run("COMMIT")
        committed = not errors and tags == ["COMMIT"]
        if errors and errors[0]["C"] not in CHAOS:
            raise Wrong(f"COMMIT: {errors}")
        if errors and errors[0]["C"] in UNKNOWN_OUTCOME:
            unknown = set(pending)
        if c.status != "I":
            raise Wrong(f"COMMIT left {c.status} {tags} {errors}")
    else:
        committed = False
        end(c)
    for key, by in pending.items():
        if committed or key in unknown:
            c.own.add(key, by, sure=committed)
        c.own.check(c, key)


# ---- settings

def settings(c):
    name, value = c.rng.choice([
        ("work_mem", f"{c.rng.randrange(1001, 9000, 2)}kB"),
        ("application_name", c.mark()), ("my.word", c.mark()),
        ("search_path", f"public, s{c.rng.randrange(5)}")])
    quoted = value if name == "search_path" else f"'{value}'"
    mode = c.rng.randrange(4)
    if mode == 0:
        if c.must(f"SET {name} TO {quoted}") is None:
            c.settings[name] = value
    elif mode == 1:
        if c.must(f"RESET {name}") is None:
            c.settings.pop(name, None)
            if name == "application_name":
                c.settings[name] = c.token
    else:
        good = c.must("BEGIN") is None and c.must(f"SET {name} TO {quoted}") is None
        good = good and c.must(f"SELECT '{c.mark()}' FROM items WHERE id = {item(c)}") is None
        if mode == 2 and good:
            _, tags, _ = c.run("COMMIT")
            if tags == ["COMMIT"]:
                c.settings[name] = value
        end(c)
    check_settings(c)


def check_settings(c):
    where = c.rng.choice([f"id = {item(c)}", f"id IN ({item(c)}, {item(c)}, {item(c)})"])
    for name, value in c.settings.items():
        rows, _, errors = c.run(f"SELECT current_setting('{name}') FROM items WHERE {where}")
        if errors:
            if errors[0]["C"] not in CHAOS:
                raise Wrong(f"{name}: {errors}")
        elif any(row[0] != value for row in rows):
            raise Wrong(f"{name}: expected {value}, got {rows}")
    if "my.word" not in c.settings:
        rows, _, errors = c.run(f"SELECT current_setting('my.word', true) FROM items WHERE {where}")
        if not errors and any(row[0] for row in rows):
            raise Wrong(f"my.word of another session: {rows}")


# ---- the extended protocol

def some_statement(c):
    """(Statement, changes own row)."""
    mark, key, kind = c.mark(), item(c), c.rng.randrange(10)
    if kind <= 2:
        return Statement("SELECT v, $2::text FROM items WHERE id = $1", (key, mark), (INT8, TEXT),
                         rows=[[f"v{key}", mark]]), None
    if kind == 3:
        return Statement("SELECT count(*), min($1::text) FROM items", (mark,), (TEXT,),
                         rows=[["300", mark]]), None
    if kind == 4:
        return Statement("SELECT id, $2::text FROM items WHERE id <= $1 ORDER BY id", (5, mark),
                         (INT8, TEXT), rows=[[str(i), mark] for i in range(1, 6)]), None
    if kind == 9:
        return Statement("SELECT a.id, $2::text FROM items a JOIN items b ON b.v = a.v WHERE a.id = $1",
                         (key, mark), (INT8, TEXT), rows=[[str(key), mark]]), None
    if kind == 5:
        return Statement("SELECT $1::text", (mark,), (), rows=[[mark]]), None
    own = c.rng.choice(c.own.ids())
    return Statement("UPDATE own SET n = n + 1, t = $2 WHERE id = $1", (own, mark), (INT8, TEXT),
                     tag="UPDATE 1"), own


def failing_statement(c):
    mark, kind = c.mark(), c.rng.randrange(4)
    if kind == 0:
        return Statement("SELECT CAST($1::text AS int)", (mark,), (), fails={"22P02"}, text=mark)
    if kind == 1:
        return Statement("SELECT CAST(v || $2::text AS int) FROM items WHERE id = $1",
                         (item(c), mark), (INT8, TEXT), fails={"22P02"}, text=mark)
    if kind == 2:
        return Statement("SELECT max(CAST(v || $1::text AS int)) FROM items", (mark,), (TEXT,),
                         fails={"22P02"}, text=mark)
    return Statement(f"SELECT nothing_{mark} FROM items WHERE id = $1", (1,), (INT8,),
                     fails={"42703"}, text=mark)


def pipeline(c):
    """Segments of statements, each ended by Sync, all sent before anything is read."""
    segments = []
    for _ in range(c.rng.randrange(1, 5)):
        statements, broken = [], False
        for _ in range(c.rng.randrange(1, 6)):
            if c.rng.random() < 0.12:
                statements.append((failing_statement(c), None))
                broken = True
            else:
                statements.append(some_statement(c))
            if c.rng.random() < 0.4 and statements[-1][0].fails is None:
                s = statements[-1][0]
                s.name = "p" + str(abs(hash(s.sql)) % 100000)
        segments.append((statements, broken))
    sent = []
    parsed = set(c.prepared)
    for statements, broken in segments:
        failed = False
        for s, _ in statements:
            again = s.name == "" or s.name not in parsed
            sent.extend(s.messages(parse=again))
            s.parsed = again
            failed = failed or s.fails is not None
            if again and s.name and not failed:
                parsed.add(s.name)
            if c.rng.random() < 0.1:
                sent.append(raw.FLUSH)
        sent.append(raw.SYNC)
    data = b"".join(sent)
    while data:
        n = len(data) if c.rng.random() < 0.5 else c.rng.randrange(1, len(data) + 1)
        c.socket.sendall(data[:n])
        data = data[n:]
        if data and c.rng.random() < 0.5:
            time.sleep(c.rng.random() * 0.004)
    tolerated = set(CHAOS)
    for statements, _ in segments:
        if read_segment(c, statements, tolerated):
            tolerated.add("26000")  # what it should have prepared is not there


def read_segment(c, statements, tolerated):
    """True when the harness's own doing made it fail."""
    messages = c.until("Z")
    if messages[-1][1] != b"I":
        raise Wrong(f"pipeline outside a transaction: status {messages[-1][1]}")
    at, changed = 0, []
    error = None
    for s, own in statements:
        part = []
        while messages[at][0] not in "CEZI":
            part.append(messages[at])
            at += 1
        if s.name and part and part[0][0] == "1":
            c.prepared[s.name] = s.sql
        kind, body = messages[at]
        what = f"{s.sql} {s.values}"
        if kind == "E":
            error = raw.fields_of(body)
            c.place.note_error(error, what)
            at += 1
            if s.fails is None or error["C"] not in s.fails or s.text not in error["M"]:
                if error["C"] not in tolerated:
                    raise Wrong(f"{what}: unexpected {error}")
            break
        if kind == "Z":
            # A backend lost behind the last statement leaves an error in front of it; else:
            raise Wrong(f"{what}: no answer; segment {[m[0] for m in messages]} "
                        f"{[x.sql for x, _ in statements]}")
        letters = "".join(k for k, _ in part if k != "S" and k != "N").replace("D", "")
        if s.fails is not None:
            raise Wrong(f"{what}: did not fail")
        expected = ("1" if s.parsed else "") + "2" + ("T" if s.rows is not None else "n")
        if letters != expected:
            raise Wrong(f"{what}: expected {expected}, got {letters}; {[m[0] for m in messages]} "
                        f"{[(x.name, x.parsed, x.sql[:22]) for x, _ in statements]}")
        if s.rows is not None and raw.rows_of(part) != s.rows:
            raise Wrong(f"{what}: expected {s.rows}, got {raw.rows_of(part)[:4]}")
        if s.tag is not None and body[:-1].decode() != s.tag:
            raise Wrong(f"{what}: expected {s.tag}, got {body}")
        at += 1
        if own is not None:
            changed.append(own)
    rest = [m for m in messages[at:] if m[0] not in "NS"]
    if error is None and len(rest) == 2 and rest[0][0] == "E":
        error = raw.fields_of(rest[0][1])  # the commit by Sync failed
        c.place.note_error(error, "Sync")
        if error["C"] not in CHAOS:
            raise Wrong(f"Sync: {error}")
    elif [m[0] for m in rest] != ["Z"]:
        raise Wrong(f"after the segment: {[m[0] for m in rest]} {raw.codes_of(rest)} behind {error}; "
                    f"{[x.sql for x, _ in statements]}")
    for own in changed:
        if error is None or error["C"] in UNKNOWN_OUTCOME:
            c.own.add(own, sure=error is None)
    return error is not None and error["C"] in tolerated


def pipeline_in_tx(c):
    if c.must("BEGIN") is not None:
        return end(c)
    own = c.rng.choice(c.own.ids())
    mark = c.mark()
    good = Statement("UPDATE own SET n = n + 1, t = $2 WHERE id = $1", (own, mark), (INT8, TEXT))
    bad = failing_statement(c)
    c.send(*good.messages(), *bad.messages(), raw.SYNC)
    messages = c.until("Z")
    codes = raw.codes_of(messages)
    if len(codes) != 1 or messages[-1][1] != b"E":
        raise Wrong(f"error in a pipelined transaction ({bad.sql}): {codes} {messages[-1]}")
    _, tags, errors = c.run("COMMIT")
    if errors and errors[0]["C"] not in CHAOS or not errors and tags != ["ROLLBACK"]:
        raise Wrong(f"COMMIT of a failed transaction: {tags} {errors}")
    c.own.check(c, own)


def unnamed_again(c):
    """The unnamed statement is bound again and again without a new Parse."""
    got = c.ask(raw.parse("SELECT v, $2::text FROM items WHERE id = $1", "", (INT8, TEXT)), raw.SYNC)
    if set(raw.codes_of(got)) & CHAOS:
        return
    for _ in range(4):
        key, mark = item(c), c.mark()
        got = c.ask(raw.bind((int8(key), mark), "", "", (1, 0)), raw.describe("P"), raw.execute(),
                    raw.SYNC)
        errors = [raw.fields_of(b) for k, b in got if k == "E"]
        if errors and errors[0]["C"] not in CHAOS:
            raise Wrong(f"unnamed statement again: {errors}")
        if not errors and raw.rows_of(got) != [[f"v{key}", mark]]:
            raise Wrong(f"unnamed statement again: {raw.rows_of(got)}")


def deallocate(c):
    if c.prepared:
        name = c.rng.choice(sorted(c.prepared))
        got = c.ask(raw.close("S", name), raw.SYNC)
        if raw.letters(got) != "3Z":
            raise Wrong(f"Close: {raw.letters(got)}")
        del c.prepared[name]


def bad_parse_again(c):
    """A name whose Parse failed is free."""
    name, mark = c.mark(), c.mark()
    got = c.ask(raw.parse(f"SELECT nothing FROM items WHERE id = {item(c)}", name),
                raw.describe("S", name), raw.SYNC)
    if raw.codes_of(got) != ["42703"] and not set(raw.codes_of(got)) & CHAOS:
        raise Wrong(f"a bad Parse: {raw.codes_of(got)}")
    got = c.ask(raw.parse(f"SELECT '{mark}'", name), raw.bind((), name), raw.execute(),
                raw.close("S", name), raw.SYNC)
    if raw.rows_of(got) != [[mark]] and not set(raw.codes_of(got)) & CHAOS:
        raise Wrong(f"a name whose Parse failed: {raw.codes_of(got)} {raw.letters(got)}")


# ---- COPY

def copy_in(c):
    base = 10 ** 6 + c.number * 10 ** 5 + c.serial * 20 % 10 ** 5
    c.serial += 1
    fail = c.rng.choice(["", "", "bad", "fail", "many"])
    lines = [f"{base + i}\tw{base + i}\n" for i in range(20)]
    if fail == "bad":
        lines[c.rng.randrange(20)] = f"{base}\tx\ty\n"
    if fail == "many":
        lines = [f"{base + i}\t" + "z" * 20000 + "\n" for i in range(60)]
    c.send(raw.query("COPY bulk (id, v) FROM STDIN"))
    got = c.until("GZ")
    if got[-1][0] == "Z":
        if not set(raw.codes_of(got)) & CHAOS:
            raise Wrong(f"COPY: {raw.codes_of(got)}")
        return
    data = "".join(lines).encode()
    while data:
        n = c.rng.randrange(1, len(data) + 1)
        c.send(raw.message("d", data[:n]))
        data = data[n:]
    c.send(raw.message("f", b"tired\0") if fail == "fail" else raw.message("c"))
    _, tags, errors = c.read(c.until("Z"), "COPY FROM")
    if errors and errors[0]["C"] not in CHAOS and fail not in ("bad", "fail"):
        raise Wrong(f"COPY FROM: {errors}")
    if not errors and (fail in ("bad", "fail") or tags != [f"COPY {len(lines)}"]):
        raise Wrong(f"COPY FROM ({fail}): {tags}")
    c.must(f"DELETE FROM bulk WHERE id >= {base} AND id < {base + 60}")


def copy_out(c):
    c.send(raw.query("COPY items (id, v) TO STDOUT"))
    got = c.until("Z")
    lines = sorted(body.decode() for kind, body in got if kind == "d")
    if not raw.codes_of(got) and lines != sorted(f"{i}\tv{i}\n" for i in range(1, ITEMS + 1)):
        raise Wrong(f"COPY TO: {len(lines)} lines")


# ---- cancels and leaving

def cancel(c):
    where = c.rng.choice([f" WHERE id = {item(c)}", " WHERE id < 3 OR id > 298"])
    if c.rng.random() < 0.3:
        c.must("BEGIN")
    c.send(raw.query(c.rng.choice([
        f"SELECT pg_sleep(0.05), '{c.mark()}' FROM items{where}",
        f"SELECT count(pg_sleep(0.001)), '{c.mark()}' FROM items a JOIN items b ON b.v = a.v"])))
    for _ in range(c.rng.randrange(1, 3)):
        time.sleep(c.rng.random() * 0.06)
        with socket.create_connection(("127.0.0.1", c.place.port), c.place.patience) as s:
            s.sendall(raw.request(raw.CANCEL_REQUEST, c.pid.to_bytes(4, "big") + c.key))
            s.settimeout(c.place.patience)
            s.recv(1)
    _, _, errors = c.read(c.until("Z"), "cancelled")
    if errors and errors[0]["C"] not in CHAOS:
        raise Wrong(f"cancel: {errors}")
    if c.status != "I":
        end(c)
    time.sleep(0.002)


def vanish(c):
    """The client goes in the middle of something; True: this connection is over."""
    key = item(c)
    own = c.rng.choice(c.own.ids())
    write = f"UPDATE own SET n = n + 0 WHERE id = {own}"
    parts = c.rng.choice([
        [raw.query(f"SELECT pg_sleep(0.1) FROM items WHERE id = {key}")],
        [raw.query("SELECT pg_sleep(0.01), repeat(v, 2000) FROM items")],
        [raw.query("SELECT repeat(v, 100000) FROM items")],
        [raw.query("SELECT repeat(a.v, 1000), b.id FROM items a JOIN items b ON b.v = a.v")],
        [raw.query(f"BEGIN; {write}")],
        [raw.query("BEGIN"), raw.query("UPDATE own SET n = n + 0 WHERE id IN "
                                       f"({', '.join(map(str, c.own.ids()))})"), raw.query("COMMIT")],
        [raw.query("UPDATE own SET n = n + 0 WHERE id IN "
                   f"({', '.join(map(str, c.own.ids()))})")],
        [raw.query("COPY bulk FROM STDIN"), raw.message("d", b"999999999\thalf")],
        [raw.query("COPY items TO STDOUT")],
        [raw.parse("SELECT v FROM items WHERE id = $1", "", (INT8,)), raw.bind((key,)), raw.execute()],
        [raw.parse(write), raw.bind(), raw.execute(), raw.FLUSH],
        [raw.query("SELECT 1")[:7]],
        [raw.query(f"CREATE TABLE gone{c.number} (id int) SHARD BY HASH (id)")],
        [raw.query(f"DROP TABLE IF EXISTS gone{c.number}")],
    ])
    for part in parts:
        c.send(part)
        if c.rng.random() < 0.5:
            time.sleep(c.rng.random() * 0.02)
    if c.rng.random() < 0.3:
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    c.socket.close()
    return True


def slow_reader(c):
    """Asks for a lot and reads late, so that servers are paused."""
    c.send(raw.query("SELECT id, repeat(v, 3000) FROM items ORDER BY id"))
    time.sleep(c.rng.random() * 0.1)
    got = c.until("Z")
    expected = [str(i) for i in range(1, ITEMS + 1)]
    if not raw.codes_of(got) and [r[0] for r in raw.rows_of(got)] != expected:
        raise Wrong("a slow reader got other rows")


def reconnect(c):
    c.leave()
    return True


MIX = {
    simple_one: 10, simple_scatter: 8, moved: 8, large_row: 1, statement_error: 4, own_write: 6,
    own_write_many: 4, batch: 5, transfer: 10, transaction: 8, settings: 6, check_settings: 2,
    pipeline: 16, pipeline_in_tx: 3, unnamed_again: 3, deallocate: 2, bad_parse_again: 2, copy_in: 3,
    copy_out: 1, cancel: 4, vanish: 4, slow_reader: 1, reconnect: 2,
}
