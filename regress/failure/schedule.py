#!/usr/bin/python3
"""The failure schedule: what clients, servers and files can do wrong, one function each.

    schedule.py [--build DIR] [--only WORD] [--verbose] [--keep]
"""

import argparse
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import pg  # noqa: E402
from report import Report  # noqa: E402
from place import Place  # noqa: E402

# One module each, in this order; each has run(place, report).
SCHEDULES = [
    "logins",
    "auth",
    "bad_bytes",
    "clients",
    "moves",
    "costs",
    "unnamed",
    "state",
    "protocol",
    "replication",
    "stats",
    "servers",
    "pools",
    "replicas",
    "middle",
    "ledger",
    "stores",
    "workspace",
    "rows",
    "ids",
    "unique",
    "copies",
    "still",
    "transit",
    "history",
    "sequences",
    "drawn",
    "others",
    "cursors",
    "snapshot",
    "transactions",
    "timeouts",
    "deadlocks",
    "prepared",
    "isolation",
    "found_rows",
    "life",
    "listen",
    "dropin",
    "restart",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--only")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report(args.verbose, args.only)
    with pg.Fleet(keep=args.keep) as fleet:
        place = Place(fleet, args.build)
        for name in SCHEDULES:
            importlib.import_module(name).run(place, report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
