"""pgbench as it comes: tables made by `-i` through the proxy, then its scripts in every query mode."""

import os
import re
import subprocess

import pg
from report import Failed, expect, expect_that

PGBENCH_TABLES = {
    "pgbench_accounts": {"hash": ["aid"]},
    "pgbench_branches": {"hash": ["bid"]},
    "pgbench_tellers": {"hash": ["tid"]},
    "pgbench_history": {"hash": ["aid"], "colocate": "pgbench_accounts"},
}
SCALE = 2
ACCOUNTS = 100_000 * SCALE


def pgbench(braid, dbname, *words, seconds=120):
    done = subprocess.run([f"{pg.BIN}/pgbench", "-h", "127.0.0.1", "-p", str(braid.port), "-U", "app", *words, dbname],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=seconds,
                          env={**os.environ, "PGOPTIONS": ""})
    if done.returncode != 0 or "error:" in done.stdout:
        raise Failed(f"pgbench {' '.join(words)} {dbname}: exit status {done.returncode}\n{done.stdout[-1500:]}")
    return done.stdout


def transactions(text):
    return int(re.search(r"number of transactions actually processed: (\d+)", text)[1])


def test_init(place, braid, dbname, sharded):
    """-i drops, creates, fills by COPY, vacuums and adds primary keys."""
    pgbench(braid, dbname, "-i", "-q", "-s", str(SCALE), "-I", "dtgvp")
    expect("accounts", [(ACCOUNTS,)], braid.sql("SELECT count(*) FROM pgbench_accounts", dbname))
    counts = [s.sql("SELECT count(*) FROM pgbench_accounts", dbname)[0][0] if sharded or i == 0 else 0
              for i, s in enumerate(place.servers)]
    expect("on the servers together", ACCOUNTS, sum(counts))
    if sharded:
        expect_that(f"spread: {counts}", min(counts) > ACCOUNTS / 4)
    pgbench(braid, dbname, "-i", "-q", "-s", "1")  # again, over what is there
    expect("accounts of scale 1", [(100_000,)], braid.sql("SELECT count(*) FROM pgbench_accounts", dbname))
    pgbench(braid, dbname, "-i", "-q", "-s", str(SCALE))


def test_select(braid, dbname, mode):
    text = pgbench(braid, dbname, "-n", "-S", "-M", mode, "-c", "6", "-j", "2", "-t", "200")
    expect("transactions", 1200, transactions(text))


def test_tpcb(place, braid, dbname, mode, sharded):
    """Updates of accounts, tellers and branches on different shards: two-phase commits; sums must agree."""
    before = braid.stats()["transactions"]
    count_before = int(braid.sql("SELECT count(*) FROM pgbench_history", dbname)[0][0])
    text = pgbench(braid, dbname, "-n", "-M", mode, "-c", "4", "-j", "2", "-t", "50", "--max-tries=20")
    done = transactions(text)
    expect("transactions", 200, done)
    sums = [braid.sql(f"SELECT sum({column}) FROM {table}", dbname)[0][0] for column, table in
            (("abalance", "pgbench_accounts"), ("tbalance", "pgbench_tellers"), ("bbalance", "pgbench_branches"),
             ("delta", "pgbench_history"))]
    expect_that(f"sums are equal: {sums}", len({int(s) for s in sums}) == 1)
    expect("history", count_before + done, int(braid.sql("SELECT count(*) FROM pgbench_history", dbname)[0][0]))
    after = braid.stats()["transactions"]
    if sharded:
        expect_that(f"two-phase commits: {before} {after}", after["two_phase"] - before["two_phase"] >= done / 2)
        for server in place.servers:
            expect("prepared transactions", [(0,)], server.sql("SELECT count(*) FROM pg_prepared_xacts"))
    expect("in doubt", 0, after["in_doubt"])


def run(place, report):
    for dbname, tables, sharded in (("plain", {}, False), ("app", PGBENCH_TABLES, True), ("app", {}, False)):
        name = dbname if not sharded else "app, sharded"
        name = "app, tables undeclared" if dbname == "app" and not sharded else name
        place.clean()
        braid = place.braid(tables)
        report.run(f"pgbench -i ({name})", test_init, place, braid, dbname, sharded)
        for mode in ("simple", "extended", "prepared"):
            report.run(f"pgbench -S -M {mode} ({name})", test_select, braid, dbname, mode)
        for mode in ("simple", "extended", "prepared"):
            report.run(f"pgbench TPC-B -M {mode} ({name})", test_tpcb, place, braid, dbname, mode, sharded)
        report.run(f"pgbench: the end ({name})", place.end, braid)
