"""What lies in data_dir, as an operator sees it: `braidctl store check|dump|stats|bench`."""

import os
import shutil
import subprocess

from ledger import fleet_of
from report import expect, expect_that


def store(braid, *words, status=0):
    done = subprocess.run([os.path.join(os.path.dirname(braid.binary), "braidctl"), "store", *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    expect(f"braidctl store {' '.join(words)}: {done.stdout}", status, done.returncode)
    return done.stdout


def test_log(place):
    """The log of a running pgbraid, and a damaged copy of it."""
    _, make = fleet_of(place, "stores", 2)
    braid = make()
    braid.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int)")
    for n in range(5):
        braid.sql("INSERT INTO t VALUES " + ", ".join(f"({n * 20 + i}, 1)" for i in range(20)))
    data = os.path.join(braid.folder, "data")
    said = store(braid, "check", data)
    expect_that(f"whole, while it runs: {said}", "wal: whole, " in said and "map: not looked at: " in said)
    lines = store(braid, "dump", f"{data}/wal").splitlines()
    expect_that("a line per record: lsn, type, bytes", len(lines) > 5 and all(len(line.split("\t")) == 3 for line in lines))
    expect_that("counted by type", "records_type_4 " in store(braid, "stats", f"{data}/wal"))
    copy = os.path.join(place.fleet.folder, "damaged")
    shutil.copytree(data, copy)
    place.end(braid)
    expect_that("whole, when it has ended", "map: whole" in store(braid, "check", data))
    segment = os.path.join(copy, "wal", "wal-0000000000000001")
    with open(segment, "r+b") as f:
        f.seek(64 + 24)  # the body of the first record
        byte = f.read(1)
        f.seek(64 + 24)
        f.write(bytes([byte[0] ^ 1]))
    expect_that("damage by file and offset", f"{segment}: bad checksum at offset 64" in store(braid, "check", copy, status=1))
    empty = os.path.join(place.fleet.folder, "empty")
    os.makedirs(empty)
    expect_that("nothing there is said so", "no store and no log" in store(braid, "check", empty, status=2))


def run(place, report):
    report.run("stores: the log of a running one, and a damaged one", test_log, place)
