"""What lies in data_dir, as an operator sees it: `braidctl store check|dump|stats|bench`."""

import os
import shutil
import subprocess

import psycopg2

from ledger import fleet_of
from place import wait_for
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
    os.truncate(segment, 0)
    expect_that("and a segment that has lost all", f"{segment}: 0 bytes are no segment" in store(braid, "check", copy, status=1))
    expect_that("nobody is shown the rest of it", "0 bytes are no segment" in store(braid, "dump", f"{copy}/wal", status=2))
    os.unlink(os.path.join(copy, "map", "KIND"))
    said = store(braid, "check", copy, status=1)
    expect_that(f"a store without its KIND is not passed by: {said}", "map: files, but no KIND" in said)
    empty = os.path.join(place.fleet.folder, "empty")
    os.makedirs(empty)
    expect_that("nothing there is said so", "no store and no log" in store(braid, "check", empty, status=2))


def changes(braid, more=""):
    """None as long as the log has no such topic."""
    try:
        return braid.sql(f"SELECT * FROM braid.changes('t', limit => 5000{more})")
    except psycopg2.errors.UndefinedTable:
        return []


def test_change_log(place):
    """Its stores are a folder further down, beside more files than a data folder has."""
    servers, make = fleet_of(place, "stores_cdc", 2, options=("wal_level = logical",))
    for server in servers:
        server.sql("ALTER ROLE app SUPERUSER")
        server.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int)", "app")
    braid = make(service={"user": "app"}, cdc={"enabled": "on", "databases": "app", "partitions": 100})
    braid.sql("INSERT INTO t SELECT g, 1 FROM generate_series(1, 2000) g")
    wait_for("the rows are in the log", lambda: len(changes(braid)) >= 2000, seconds=30)
    expect_that("a group reads", changes(braid, ", group => 'g', ack => now"))
    data = os.path.join(braid.folder, "data")
    expect_that("in use", "cdc/offsets: not looked at: " in store(braid, "check", data))
    place.end(braid)
    expect_that("many files", len(os.listdir(os.path.join(data, "cdc"))) > 100)
    said = store(braid, "check", data)
    expect_that(f"all of them: {said}", all(f"{name}: whole" in said for name in ("/map", "/cdc/offsets", "/cdc/index")))
    with open(os.path.join(data, "cdc", "offsets", "tree"), "r+b") as f:
        f.truncate(4096)
    said = store(braid, "check", data, status=1)
    expect_that(f"damage there: {said}", "cdc/offsets" in said and "cdc/index: whole" in said)


def run(place, report):
    report.run("stores: the log of a running one, and a damaged one", test_log, place)
    report.run("stores: those of the change log", test_change_log, place)
