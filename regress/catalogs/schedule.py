#!/usr/bin/python3
"""What clients read of a sharded database as a whole: COPY TO, pg_dump, types with OIDs of their own,
EXPLAIN, and the catalog as psql and ORMs ask it. The same is asked of one PostgreSQL where it can be.

    schedule.py [--build DIR] [--only WORD] [--verbose]
"""

import argparse
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import pg  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Failed, Report  # noqa: E402

# One module each, in this order; each has its SUBJECT, fill(place), and TESTS that need what it filled.
SCHEDULES = ["copy_out", "oids", "dump", "explain", "reflect", "start_settings"]


class Place:
    """Three servers with a sharded database `app`, and `plain`: one PostgreSQL, asked beside the proxy."""

    def __init__(self, fleet, build):
        self.fleet = fleet
        self.servers = fleet.start(3)
        for server in self.servers:
            pg.prepare(server)
        self.braid = Braid(os.path.join(fleet.folder, "braid"), config_for(self.servers), build=build)
        fleet.at_end.append(self.braid.kill)

    def fresh(self):
        """Empty databases, and a proxy that has just started."""
        self.end()
        for server in self.servers:
            for dbname in ("app", "plain"):
                server.sql("DROP OWNED BY app CASCADE", dbname)
                server.sql("DROP SCHEMA IF EXISTS braid CASCADE", dbname)
        self.braid.start()

    def end(self):
        status = self.braid.stop()
        if status not in (0, None) or self.braid.complaints():
            raise Failed(f"pgbraid ended with {status}; {self.braid.complaints()[:3]}\n{self.braid.tail()}")

    def direct(self):
        """The one PostgreSQL."""
        return self.servers[0].connect("plain", user="app", host="127.0.0.1")

    def direct_dsn(self):
        return f"host=127.0.0.1 port={self.servers[0].port} dbname=plain user=app"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--only")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report(args.verbose, args.only)
    with pg.Fleet() as fleet:
        place = Place(fleet, args.build)
        for name in SCHEDULES:
            part = importlib.import_module(name)
            if report.run(f"{part.SUBJECT}: tables are filled", part.fill, place):
                for words, test in part.TESTS:
                    report.run(f"{part.SUBJECT}: {words}", test, place)
        report.run("pgbraid ends well", place.end)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
