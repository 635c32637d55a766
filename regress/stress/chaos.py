"""What happens beside the clients: schema changes, killed backends, reloads; and drivers."""

import asyncio

import psycopg2

import raw
from model import CHAOS, Wrong

MOVING = CHAOS | {"42P01", "42P07", "23505", "XX000", "0A000", "42703", "42701", "22P02"}


def schema_changes(place, rng, number):
    """CREATE, ALTER and DROP of tables of its own; sometimes of names that others use, too."""
    c = raw.Raw(place.port, place.patience)
    c.login(application_name=f"ddl{number}")
    name = f"moving{number}" if rng.random() < 0.7 else "moving"
    for sql in (f"CREATE TABLE {name} (id bigint, v text) SHARD BY HASH (id)",
                f"INSERT INTO {name} VALUES (1, 'a')",
                f"ALTER TABLE {name} ADD COLUMN w int",
                f"SELECT count(*) FROM {name}",
                "ALTER TABLE items ADD COLUMN IF NOT EXISTS extra int",
                f"DROP TABLE IF EXISTS {name}"):
        if place.over():
            break
        codes = raw.codes_of(c.ask(raw.query(sql)))
        if set(codes) - MOVING:
            raise Wrong(f"{sql}: {codes}")
        place.breathe(rng.random() * 0.05)
    c.send(raw.TERMINATE)
    c.socket.close()


def crash_server(place, rng):
    """A server ends at once and comes back, as after a crash; clients see errors and go on."""
    place.breathe(1)
    if rng.random() < 0.06 and not place.over():
        rng.choice(place.servers).restart("immediate")


def kill_backends(place, rng):
    """One backend of the proxy on one server ends."""
    server = rng.choice(place.servers)
    server.sql("SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE "
               "datname = 'app' AND backend_type = 'client backend' ORDER BY random() LIMIT 1) x")
    place.breathe(0.1 + rng.random() * 0.4)


def reload(place, rng):
    place.braid.process.send_signal(1)
    place.breathe(0.2 + rng.random())


def psycopg2_client(place, rng, number):
    c = place.braid.connect(application_name=f"py2x{number}", connect_timeout=10)
    try:
        with c.cursor() as cur:
            for _ in range(10):
                key = rng.randrange(1, 301)
                try:
                    cur.execute("SELECT v, %s FROM items WHERE id = %s", (f"t{key}", key))
                    if cur.fetchall() != [(f"v{key}", f"t{key}")]:
                        raise Wrong("psycopg2 got a foreign row")
                except psycopg2.Error as e:
                    if e.pgcode not in CHAOS:
                        raise Wrong(f"psycopg2: {e.pgcode} {e}") from None
    finally:
        c.close()


def psycopg3_client(place, rng, number):
    import psycopg
    with psycopg.connect(place.braid.dsn(application_name=f"py3x{number}", connect_timeout=10),
                         autocommit=True, prepare_threshold=rng.choice([0, 2, None])) as c:
        for _ in range(6):
            keys = [rng.randrange(1, 301) for _ in range(5)]
            bad = rng.random() < 0.3
            try:
                with c.pipeline():
                    cursors = [c.execute("SELECT v, %s::int8 FROM items WHERE id = %s", (k, k),
                                         binary=rng.random() < 0.5) for k in keys]
                    if bad:
                        c.execute("SELECT 1/%s FROM items WHERE id = %s", (0, keys[0]))
                        c.execute("SELECT 1")
                for k, cur in zip(keys, cursors):
                    if cur.fetchall() != [(f"v{k}", k)]:
                        raise Wrong("psycopg3 got a foreign row")
                if bad:
                    raise Wrong("psycopg3: no error from the pipeline")
            except psycopg.Error as e:
                place.errors[f"psycopg3 {e.sqlstate}"] += 1
                if not place.args.calm and ("exit pipeline" in str(e) or e.sqlstate == "26000"):
                    return  # a backend was killed: psycopg is confused about what it prepared
                if e.sqlstate not in CHAOS | {"22012"}:
                    raise Wrong(f"psycopg3: {e.sqlstate} {e}") from None


def asyncpg_client(place, rng, number):
    import asyncpg

    async def main():
        c = await asyncpg.connect(host="127.0.0.1", port=place.port, user="app", database="app",
                                  server_settings={"application_name": f"apgx{number}"}, timeout=10)
        try:
            for _ in range(10):
                key = rng.randrange(1, 301)
                try:
                    row = await c.fetchrow("SELECT v, $2::text FROM items WHERE id = $1", key,
                                           f"t{key}")
                    if tuple(row) != (f"v{key}", f"t{key}"):
                        raise Wrong("asyncpg got a foreign row")
                    rows = await c.fetch("SELECT id FROM items WHERE id <= $1 ORDER BY id", key)
                    if [r[0] for r in rows] != list(range(1, key + 1)):
                        raise Wrong("asyncpg: rows of a merge")
                except asyncpg.PostgresError as e:
                    if e.sqlstate not in CHAOS:
                        raise Wrong(f"asyncpg: {e.sqlstate} {e}") from None
        finally:
            await c.close(timeout=10)
    asyncio.run(main())


