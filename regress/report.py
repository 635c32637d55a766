"""Counting of what passed and what did not."""

import sys
import time
import traceback


class Failed(Exception):
    """What a test found; the text is for people."""


def expect(what, expected, got):
    if expected != got:
        raise Failed(f"{what}: expected {expected!r}, got {got!r}")


def expect_that(what, truth):
    if not truth:
        raise Failed(what)


class Report:
    """Runs tests one after the other: `report.run("name", function, *args)`."""

    def __init__(self, verbose=False, only=None):
        self.verbose = verbose
        self.only = only
        self.passed = 0
        self.failed = 0

    def passes(self, name, seconds=None):
        self.passed += 1
        if self.verbose:
            took = "" if seconds is None else f" ({seconds:.1f} s)"
            print(f"ok      {name}{took}", flush=True)

    def fails(self, name, why):
        self.failed += 1
        print(f"FAILED  {name}\n        " + str(why).rstrip().replace("\n", "\n        "), flush=True)

    def skips(self, name, why):
        """What this machine cannot run is said, never counted."""
        print(f"skipped {name}: {why}", flush=True)

    def run(self, name, test, *args):
        """True when it passed; any exception but Ctrl-C is a failure of this test only."""
        if self.only and self.only not in name:
            return True
        begin = time.monotonic()
        try:
            test(*args)
        except Failed as e:
            self.fails(name, e)
            return False
        except Exception:  # the test itself broke: where, is what helps
            self.fails(name, traceback.format_exc(limit=-4))
            return False
        self.passes(name, time.monotonic() - begin)
        return True

    def run_all(self, braid, tests, *args):
        """One after the other; then the pgbraid that they share ends, if it is still there."""
        try:
            for test in tests:
                self.run(test.__name__, test, *args)
        finally:
            if braid.alive():
                braid.stop()

    def finish(self):
        """Print the counts; the exit status."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.stdout.flush()
        return 1 if self.failed or not self.passed else 0
