#!/usr/bin/python3
"""Schema changes over three shards: every class of statements, what goes shard by shard, tables that
become sharded, drift, and migration tools.

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
from report import Failed, Report, expect  # noqa: E402

# One module each, in this order; each has run(place, report).
SCHEDULES = ["statements", "steps", "in_transaction", "shard_by", "drift", "migrations"]


class Place:
    """Three servers with a sharded database `app`, seen through the proxy by `app` and by a superuser."""

    def __init__(self, fleet, build):
        self.fleet = fleet
        self.build = build
        self.servers = fleet.start(3, options=["max_prepared_transactions = 50"])
        for server in self.servers:
            pg.prepare(server)
        self.braid = Braid(os.path.join(fleet.folder, "braid"), config_for(self.servers), build=build,
                           users={"app": "secret", pg.SUPERUSER: "secret"})
        fleet.at_end.append(self.braid.kill)
        self.braid.start()

    def connect(self, user="app", **more):
        return self.braid.connect("app", user=user, **more)

    def root(self):
        return self.connect(pg.SUPERUSER)

    def each(self, expression):
        """The value of an SQL expression on each server, as a list."""
        return [server.sql(f"SELECT {expression}", "app")[0][0] for server in self.servers]

    def expect_each(self, what, expression, values):
        expect(what, values, self.each(expression))

    def fresh(self):
        """Empty databases."""
        self.end()
        for server in self.servers:
            server.sql("DROP OWNED BY app CASCADE", "app")
            server.sql("DROP SCHEMA public CASCADE", "app")  # what a superuser has made
            server.sql("CREATE SCHEMA public AUTHORIZATION pg_database_owner", "app")
            server.sql("GRANT USAGE ON SCHEMA public TO PUBLIC", "app")
            server.sql("DROP SCHEMA IF EXISTS braid CASCADE", "app")
        self.braid.start()

    def end(self):
        status = self.braid.stop()
        if status not in (0, None) or self.braid.complaints():
            raise Failed(f"pgbraid ended with {status}; {self.braid.complaints()[:3]}\n{self.braid.tail()}")


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
            importlib.import_module(name).run(place, report)
        report.run("pgbraid ends well", place.end)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
