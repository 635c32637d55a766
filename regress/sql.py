#!/usr/bin/python3
"""regress/sql/NAME.sql through psql and pgbraid, compared with regress/expected/NAME.out.

What a client reads is pinned to the letter: plans, errors with their SQLSTATE, hints and context.
A file may begin with `-- database: plain` (default: app, three shards) or `-- database: pgbraid`.

    sql.py [--build DIR] [--only NAME] [--write]     --write: take what came as what is expected
"""

import argparse
import difflib
import glob
import os
import re
import subprocess
import sys

import pg
from braid import Braid, config_for
from report import Failed, Report

HERE = os.path.dirname(os.path.abspath(__file__))
TABLES = {"users": {"hash": ["id"]}, "orders": {"hash": ["user_id"], "colocate": "users"},
          "countries": {"reference": True}}
# What changes from run to run: where in PostgreSQL's source an error was raised, ports, folders.
VOLATILE = [
    (re.compile(r"^LOCATION: .*\n", re.M), ""),
    (re.compile(r"port \d{4,5}"), "port PORT"),
    (re.compile(r"\(cost=\S+ rows=\d+ width=\d+\)"), "(COST)"),
    (re.compile(r'^CONTEXT:  shard "shard\d"', re.M), 'CONTEXT:  shard "shardN"'),  # the first one that fails
    (re.compile(r"/tmp/pgbraid_test\.\w+"), "FOLDER"),
]


class Schedule:
    def __init__(self, fleet, args):
        self.servers = fleet.start(3)
        for server in self.servers:
            pg.prepare(server)
        self.write = args.write
        self.braid = Braid(os.path.join(fleet.folder, "braid"), config_for(self.servers, TABLES), build=args.build)
        fleet.at_end.append(self.braid.kill)

    def fresh(self):
        if self.braid.stop() not in (0, None):
            raise Failed(f"pgbraid did not end well\n{self.braid.tail()}")
        for server in self.servers:
            for dbname in ("app", "plain"):
                server.sql("DROP OWNED BY app CASCADE", dbname)
        self.braid.start()

    def psql(self, path, database):
        done = subprocess.run(["psql", "-X", "-a", "-q", "-v", "VERBOSITY=verbose", "-f", path,
                               self.braid.dsn(database)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False, timeout=120,
                              env={**os.environ, "PGOPTIONS": "", "PGAPPNAME": "", "LC_ALL": "C.UTF-8"})
        text = re.sub(r"^psql:\S+?:(\d+): ", "", done.stdout, flags=re.M)
        for pattern, word in VOLATILE:
            text = pattern.sub(word, text)
        return text

    def test(self, path):
        self.fresh()
        with open(path, encoding="utf-8") as f:
            m = re.match(r"-- database: (\w+)", f.readline())
        got = self.psql(path, m[1] if m else "app")
        name = os.path.basename(path)[:-4]
        expected = os.path.join(HERE, "expected", f"{name}.out")
        if self.write:
            with open(expected, "w", encoding="utf-8") as f:
                f.write(got)
            return
        with open(expected, encoding="utf-8") as f:
            want = f.read()
        if got != want:
            diff = difflib.unified_diff(want.splitlines(), got.splitlines(), "expected", "got", n=2, lineterm="")
            raise Failed("\n".join(list(diff)[:60]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report(verbose=True)
    with pg.Fleet() as fleet:
        schedule = Schedule(fleet, args)
        for path in sorted(glob.glob(os.path.join(HERE, "sql", "*.sql"))):
            if args.only in path:
                report.run(os.path.basename(path)[:-4], schedule.test, path)
        report.run("the end", schedule.fresh)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
