"""Lists of statements that write: after each list all tables hold the same on both sides.

statements/write/*.sql, in which a comment `-- list WORDS` before a statement begins a list. The tables are not
filled anew for each: what pgbraid refuses is not run on the other side, so both stay equal. Further words, beside
those of compare.py:
    -- shape        values of this list are volatile (on its first statement): after it tables need only have the
                    same numbers of rows, and copies of a reference table must be equal to each other
After each list the servers themselves are asked, not pgbraid: count and hash of the rows of each table that it
names, those of shards added up; copies of reference tables each by itself. At the end of a file of all tables.
"""

import os

from world import RICH, RICH_TABLES, SCHEMA, TABLES

ALL_TABLES = TABLES + RICH_TABLES
LOCAL = {"local_notes", "ledger", "local_tree"}
REFERENCE = {s.split()[2] for s in SCHEMA + RICH if s.endswith(" REFERENCE")}


def group(statements):
    """[(words, statements)] of a file."""
    out = []
    for st in statements:
        name = next((w[5:] for w in st.words if w.startswith("list ")), None)
        if name is not None or not out:
            out.append((name or "first", []))
        out[-1][1].append(st)
    return out


def sums_of(server, tables):
    query = " UNION ALL ".join(
        f"SELECT '{t}', count(*), coalesce(sum(hashtextextended(x::text, 0)::numeric), 0)::text FROM {t} x" for t in tables)
    return {name: (count, int(total)) for name, count, total in server.sql(query, "app")}


def differences(compare, tables, shape=False):
    """Words about tables that are not the same, or None."""
    plain = sums_of(compare.plain, tables)
    here = [[t for t in tables if t not in LOCAL or i == 0] for i, _ in enumerate(compare.shards)]
    shards = [sums_of(server, names) if names else {} for server, names in zip(compare.shards, here)]
    wrong = []
    for table in tables:
        parts = [s[table] for s in shards if table in s]
        if table in REFERENCE:
            if len(set(parts)) > 1:
                wrong.append(f"copies of {table} differ: {parts}")
            mine = parts[0]
        else:
            mine = tuple(map(sum, zip(*parts)))
        if mine[0] != plain[table][0] or (not shape and mine != plain[table]):
            wrong.append(f"{table}: {mine[0]} rows against {plain[table][0]}"
                         + (", others" if mine[0] == plain[table][0] else ""))
    return "; ".join(wrong) or None


class Lists:
    """Runs files of lists; what is refused leaves both sides as they are."""

    def __init__(self, compare):
        self.compare = compare

    def ready(self):
        self.compare.fill(rich=True, few=True)

    def run_file(self, path, mode, parse_file, judged):
        """judged(path, where, statement, verdict, words) counts each statement."""
        name = os.path.basename(path)[:-4]
        ours, theirs = self.compare.sides(mode)
        for words, statements in group(parse_file(path)):
            where = f"{len(self.compare.shards)} shards, {mode}, write/{name}, {words}"
            if statements[0].has("not on one shard") and len(self.compare.shards) == 1:
                continue
            for st in statements:
                if st.has("only plain") and mode != "simple":
                    continue
                verdict, said = self.compare.run_statement(st, ours, theirs)
                judged(path, where, st, verdict, said)
            for side in (ours, theirs):
                if side.in_transaction:
                    side.run("ROLLBACK")
            shape = statements[0].has("shape")
            text = " ".join(st.sql for st in statements)
            wrong = differences(self.compare, [t for t in ALL_TABLES if t in text] or ALL_TABLES[:1], shape)
            self.compare.report_tables(path, where, wrong)
            if wrong or shape:
                ours.close()
                theirs.close()
                self.ready()
                ours, theirs = self.compare.sides(mode)
        ours.close()
        theirs.close()
        self.compare.report_tables(path, f"{len(self.compare.shards)} shards, {mode}, write/{name}", differences(self.compare, ALL_TABLES))
