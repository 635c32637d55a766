"""What must cost nothing: memory for repeated statements."""

import time

import raw
from report import Failed

FEW, MANY = 100, 1000   # of each statement
SPARE = 20              # allocations of the process itself meanwhile: looks at the metrics


def allocations(braid):
    time.sleep(1.3)  # counted once a second
    for line in braid.http("/metrics")[1].splitlines():
        if line.startswith("pgbraid_allocations"):
            return int(float(line.split()[1]))
    raise Failed("no metric of allocations")


def unit(i, statement=""):
    parse = [] if statement else [raw.parse("SELECT v FROM items WHERE id = $1", types=(20,))]
    return b"".join(parse + [raw.bind((i,), statement=statement), raw.describe("P"), raw.execute(), raw.SYNC])


KINDS = {
    "simple": lambda i: raw.query(f"SELECT v FROM items WHERE id = {i}"),
    "extended": unit,
    "prepared": lambda i: unit(i, "s1"),
}


def run_some(client, kind, count):
    for i in range(count):
        parts = KINDS[kind](1 + i % 250)
        client.send(parts)
        got = client.until("Z")
        if any(letter == "E" for letter, _ in got):
            raise Failed(raw.codes_of(got))


def test_allocations(place, database):
    """A thousand statements more need no allocation more."""
    braid = place.braid(workers=1, log={"level": "warn"})
    place.servers[0].sql("CREATE TABLE IF NOT EXISTS items (id bigint, v text)", "plain")
    place.servers[0].sql("GRANT ALL ON items TO app", "plain")
    with raw.Raw(braid.port) as client:
        client.login(database=database)
        client.ask(raw.parse("SELECT v FROM items WHERE id = $1", "s1", (20,)), raw.SYNC)
        for kind in KINDS:
            run_some(client, kind, FEW)  # caches are filled, buffers have their size
        before = allocations(braid)
        for kind in KINDS:
            run_some(client, kind, MANY)
        more = allocations(braid) - before
    if more > SPARE:
        raise Failed(f"{more} allocations for {MANY} statements of each kind")
    place.end(braid)


def run(place, report):
    report.run("costs: no memory for repeated statements, one shard", test_allocations, place, "plain")
    report.run("costs: no memory for repeated statements, three shards", test_allocations, place, "app")
