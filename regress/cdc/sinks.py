#!/usr/bin/env python3
"""Sinks of the change log against servers that fail on purpose.

usage: sinks.py [--build DIR] [--sink NAME] [--only WORD] [--verbose]

One pgbraid over two shards with a sink of every kind (sink_*.py). What each has at the end, applied
by key, equals the shards; what it refuses for good is a dead letter; one that hangs holds nobody up;
and no secret is in the log or on the console.
"""

import argparse
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "regress"))

import pg  # noqa: E402
import sink_elastic  # noqa: E402
import sink_hook  # noqa: E402
import sink_kafka  # noqa: E402
import sink_pg  # noqa: E402
import sink_redis  # noqa: E402
from report import Report, expect  # noqa: E402
from sink_place import Place  # noqa: E402

SINKS = {"pg": sink_pg, "redis": sink_redis, "elastic": sink_elastic, "kafka": sink_kafka, "hook": sink_hook}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--sink", choices=sorted(SINKS))
    parser.add_argument("--only")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    report = Report(verbose=args.verbose, only=args.only)
    sinks = {name: sink for name, sink in SINKS.items() if args.sink in (None, name)}
    with pg.Fleet() as fleet:
        place = Place(fleet, args.build)
        settings = {}
        for sink in sinks.values():
            settings.update(sink.begin(place))
        place.begin(settings)
        try:
            for name, sink in sinks.items():
                for case in sink.CASES:
                    report.run(f"{name}: {case.__name__}", case, place)
        finally:
            if place.braid.alive():
                place.braid.stop()
        report.run("no complaints", lambda: expect("complaints", [], place.braid.complaints()))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
