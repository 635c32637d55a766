"""The PostgreSQL sink: tables of another server stay equal."""

import json
import subprocess

from report import expect, expect_that
from sink_place import soon


def rows(place):
    return dict(place.copy.sql("SELECT id, name FROM users", "app"))


def what_was_there_before_is_copied(place):
    """The first copy of each shard says that all that it gave before is gone; what the others gave is not."""
    soon("the rows there", lambda: rows(place), place.truth(), place)


def truncate_speaks_for_its_shard_and_partition(place):
    for i in range(4):
        place.sql("TRUNCATE users")
        place.sql(f"INSERT INTO users SELECT g, 'round {i}' FROM generate_series(1, {400 - i * 50}) g")
    soon("the rows there", lambda: rows(place), place.truth(), place)
    place.sql("TRUNCATE users")
    place.sql("INSERT INTO users SELECT g, 'n' || g FROM generate_series(1, 300) g")
    place.ctl("cdc", "snapshot", "users")
    place.sql("UPDATE users SET name = 'behind' WHERE id % 3 = 0")
    place.sql("DELETE FROM users WHERE id % 10 = 0")
    soon("the rows there", lambda: rows(place), place.truth(), place)
    soon("all of it", lambda: place.sink("pg")["lag"], 0, place)
    expect("rows in the end", place.truth(), rows(place))


def server_goes_down(place):
    place.copy.stop("immediate")
    place.sql("UPDATE users SET name = 'down' || id WHERE id < 60")
    place.sql("UPDATE users SET id = id + 1000 WHERE id = 7")
    soon("it fails", lambda: place.sink("pg")["failures"] > 0, True, place)
    expect_that("it waits", place.sink("pg")["retry_ms"] > 0)
    place.copy.start()
    soon("the rows there", lambda: rows(place), place.truth(), place)
    expect("dead letters", 0, place.sink("pg")["dead_letters"])


def large_values_that_an_update_leaves_alone(place):
    """They are not in the change. The row there has them, unless it comes from another partition."""
    place.sql("ALTER TABLE users ALTER name SET STORAGE EXTERNAL")
    place.sql("INSERT INTO users SELECT g, repeat('x', 9000) || g FROM generate_series(4001, 4060) g")
    place.sql("ALTER TABLE users ADD n int")
    place.sql("UPDATE users SET n = 1 WHERE id BETWEEN 4001 AND 4010")
    soon("the rows there", lambda: rows(place), place.truth(), place)
    expect("the new column", [(1,)] * 10, place.copy.sql("SELECT n FROM users WHERE n IS NOT NULL", "app"))
    expect("dead letters", 0, place.sink("pg")["dead_letters"])
    place.sql("UPDATE users SET id = id + 100 WHERE id BETWEEN 4001 AND 4060")
    soon("the keys there", lambda: set(rows(place)), set(place.truth()), place)
    soon("all of it", lambda: place.sink("pg")["lag"], 0, place)
    told = {letter["event"]["key"]["id"] for letter in place.dead_letters("pg")}
    have, want = rows(place), place.truth()
    expect("rows that are not as they should be", told, {k for k in want if have[k] != want[k]})
    expect_that(f"{len(told)} moved", len(told) < 60 and all(have[k] is None for k in told))
    place.sql("DELETE FROM users WHERE id > 4000")


def what_does_not_fit_is_a_dead_letter(place):
    before = place.sink("pg")["dead_letters"]
    place.copy.sql("ALTER TABLE users ADD CHECK (name <> 'bad')", "app")
    place.sql("CREATE TABLE keyless (a int)")
    place.sql("INSERT INTO keyless VALUES (77)")
    place.sql("INSERT INTO users SELECT g, CASE WHEN g % 40 = 0 THEN 'bad' ELSE 'good' END FROM generate_series(2001, 2100) g")
    want = {k: v for k, v in place.truth().items() if v != "bad"}
    soon("what fits", lambda: rows(place), want, place)
    soon("dead letters", lambda: place.sink("pg")["dead_letters"] - before >= 3, True, place)
    letters = place.dead_letters("pg")[before:]
    told = {(letter["event"]["value"]["source"]["table"], str((letter["event"]["key"] or {}).get("id"))): letter["error"]
            for letter in letters}
    expect("whose", {("users", "2040"), ("users", "2080"), ("keyless", "None")}, set(told))
    expect_that(told, "check constraint" in told["users", "2040"] and "no key" in told["keyless", "None"])
    place.sql("DELETE FROM users WHERE name = 'bad'")
    soon("the rows there", lambda: rows(place), place.truth(), place)


def names_are_only_names(place):
    """Who makes tables here must not get the rights that the sink has there."""
    column = "x$pgbraid_sql$||chr(34)||' int)';END$pgbraid$;CREATE ROLE x;--"
    odd = 'its "$pgbraid$" \\'
    place.sql(f'CREATE TABLE "{odd.replace(chr(34), 2 * chr(34))}" (id int PRIMARY KEY, "{column}" numeric(9,2), "a\'\\" text)')
    place.sql(f'INSERT INTO "{odd.replace(chr(34), 2 * chr(34))}" VALUES (1, 2.5, $$it\'s$$)')
    soon("the row there", lambda: place.copy.sql(f'SELECT * FROM "{odd.replace(chr(34), 2 * chr(34))}"', "app")[0][1:], (1, 2.5, "it's"), place)
    expect("types", [("numeric(9,2)",)], place.copy.sql(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname LIKE 'x$pgbraid%'", "app"))
    expect("roles", [(0,)], place.copy.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'x'", "app"))


def what_it_cannot_use_is_refused_at_once(place):
    for setting, value, word in (("sink_pg", "host=h dbname=d password=hidden", "password"), ("sink_pg", "host", "connection string"),
                                 ("sink_redis", "h:99999", "sink_redis"), ("sink_elastic", "search:9200", "sink_elastic"),
                                 ("sink_webhook", "https://me:hidden@h/", "sink_webhook"), ("sink_elastic_prefix", "_cdc", "sink_elastic_prefix"),
                                 ("sink_elastic_prefix", "Shop-", "sink_elastic_prefix"), ("sink_kafka_prefix", "a b", "sink_kafka_prefix")):
        config = {**place.braid.config, "cdc": {"enabled": "on", "databases": "app", setting: value}}
        path = place.write("other.yaml", json.dumps(config))
        done = subprocess.run([place.braid.binary, "--check", path], cwd=place.folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
        expect_that(f"{value}: {done.returncode} {done.stdout}", done.returncode != 0 and word in done.stdout)
        expect_that("no secret is told", "hidden" not in done.stdout)


def begin(place):
    """Its settings."""
    place.copy = place.fleet.start(1)[0]
    place.copy.sql("CREATE ROLE app LOGIN SUPERUSER")
    place.copy.sql("CREATE DATABASE app OWNER app")
    return {"sink_pg": f"host=127.0.0.1 port={place.copy.port} dbname=app user=app"}


CASES = (what_was_there_before_is_copied, truncate_speaks_for_its_shard_and_partition, server_goes_down,
         large_values_that_an_update_leaves_alone, names_are_only_names, what_it_cannot_use_is_refused_at_once,
         what_does_not_fit_is_a_dead_letter)
