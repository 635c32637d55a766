"""The maps that were in force: SHOW MAP_HISTORY, SHOW MAP_AT, `braidctl map`, over restarts, kills and reloads."""

from ledger import ctl
from place import expect_error, wait_for
from report import expect, expect_that


def epochs(braid):
    """(epoch, why, changes) of database app, the newest first."""
    rows = braid.sql("SHOW MAP_HISTORY app", "pgbraid")
    return [(int(epoch), why, changes) for _, epoch, _, why, changes in rows]


def in_force(braid):
    names = [row[0] for row in braid.sql("SHOW DATABASES", "pgbraid")]
    return int(braid.sql("SHOW DATABASES", "pgbraid")[names.index("app")][-2])


def test_history(place):
    """Each map is there with why and what changed; a restart, a kill and the same file change nothing."""
    braid = place.braid()
    (first, why, changes), = epochs(braid)
    expect("the first one", (1, "start"), (first, why))
    expect_that(f"with all that is in it: {changes}", "+ table public.items HASH (id bigint), ring 1, declared in the file" in changes)
    expect("it is in force", 1, in_force(braid))
    braid.sql("CREATE TABLE kept (id bigint PRIMARY KEY, v text) SHARD BY HASH (id)")
    expect("declared in SQL", (2, "sql", "+ table public.kept HASH (id bigint), ring 1, declared in SQL"), epochs(braid)[0])
    braid.sql("CREATE TABLE here_only (v text)")
    expect("a table that no map has", 2, epochs(braid)[0][0])
    braid.sql("DROP TABLE here_only")
    running = ctl(braid, "map", "history", "-d", "app")
    expect_that(f"braidctl while it runs: {running}", "declared in SQL" in running and "start" in running)
    lines = ctl(braid, "map", "at", "1")
    expect_that(f"the map of an epoch: {lines}", "shard shard2 weight 1" in lines and "kept" not in lines)
    expect_error("no such epoch", "42704", lambda: braid.sql("SHOW MAP_AT app 77", "pgbraid"), "never had a map of epoch 77")
    place.end(braid)
    stopped = ctl(braid, "map", "history")
    expect_that(f"braidctl while it does not: {stopped}", "app epoch 2 since" in stopped and "    + table public.kept" in stopped)
    expect_that("and a map", "table public.kept HASH (id bigint), ring 1" in ctl(braid, "map", "at", "2"))
    ctl(braid, "map", "at", "3", status=2)
    ctl(braid, "map", "at", "x", status=2)
    braid.start()
    expect("the same after a restart", (2, 2), (in_force(braid), epochs(braid)[0][0]))
    braid.restart()
    expect("and after a kill", (2, 2), (in_force(braid), epochs(braid)[0][0]))
    braid.config["databases"]["app"]["tables"]["lookup"] = {"reference": True}
    braid.write_files()
    braid.reload()
    expect("another file", (3, "reload", "+ table public.lookup REFERENCE, declared in the file"), epochs(braid)[0])
    braid.reload()
    expect("the same file", 3, epochs(braid)[0][0])
    braid.sql("DROP TABLE kept")
    wait_for("dropped", lambda: epochs(braid)[0][1:] == ("sql", "- table public.kept HASH (id bigint), ring 1, declared in SQL"))
    expect("in force", 4, in_force(braid))
    place.end(braid)


def run(place, report):
    report.run("history: maps by epoch", test_history, place)
