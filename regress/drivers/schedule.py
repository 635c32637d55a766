#!/usr/bin/python3
"""Programs that people really use, against the one-shard and the sharded database.

    schedule.py [--build DIR] [--only WORD]
"""

import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import orm  # noqa: E402
import others  # noqa: E402
import pg  # noqa: E402
import pgbench  # noqa: E402
import python  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Failed, Report  # noqa: E402


class Place:
    def __init__(self, fleet, build):
        self.fleet, self.build, self.count = fleet, build, 0
        self.servers = fleet.start(3)
        for server in self.servers:
            pg.prepare(server)

    def clean(self):
        for server in self.servers:
            for dbname in ("app", "plain"):
                server.sql("DROP OWNED BY app CASCADE", dbname)

    def braid(self, tables):
        self.count += 1
        braid = Braid(os.path.join(self.fleet.folder, f"braid{self.count}"), config_for(self.servers, tables),
                      build=self.build)
        self.fleet.at_end.append(braid.kill)
        return braid.start()

    def end(self, braid):
        status = braid.stop()
        if status != 0 or braid.complaints():
            raise Failed(f"pgbraid ended with {status}; {braid.complaints()[:3]}\n{braid.tail()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--only")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report(verbose=True, only=args.only)
    with pg.Fleet() as fleet:
        place = Place(fleet, args.build)
        for schedule in (pgbench, orm, python, others):
            schedule.run(place, report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
