"""What was counted: PgBouncer's SHOW commands column by column, exact numbers after known work over
two workers, statement shapes, latencies, errors, the slow log, and a log whose disk is full."""

import io
import json
import os
import time

import psycopg2

import metrics_text
from report import Failed, expect, expect_that
from place import ROWS, expect_error, wait_for

TEXT, INT, BIG, NUMERIC = 25, 23, 20, 1700

# PgBouncer 1.25: columns and their types (s text, i int4, q int8, n numeric), in its order.
SOCKET = ("type:s user:s database:s replication:s state:s addr:s port:i local_addr:s local_port:i "
          "connect_time:s request_time:s wait:i wait_us:i close_needed:i ptr:s link:s remote_pid:i "
          "tls:s application_name:s prepared_statements:i id:q")
FIGURES = ("server_assignment_count", "xact_count", "query_count", "received", "sent", "xact_time",
           "query_time", "wait_time", "client_parse_count", "server_parse_count", "bind_count",
           "client_login_count")
TOTALS_OF_STATS = ("database:s server_assignment_count:n xact_count:n query_count:n bytes_received:n "
                   "bytes_sent:n xact_time:n query_time:n wait_time:n ")
BOUNCER = {
    "STATS": "database:s " + " ".join(f"total_{f}:n" for f in FIGURES) + " "
             + " ".join(f"avg_{'recv' if f == 'received' else f}:n" for f in FIGURES),
    "STATS_TOTALS": TOTALS_OF_STATS + "client_parse_count:n server_parse_count:n bind_count:n "
                                      "client_login_count:n",
    "STATS_AVERAGES": TOTALS_OF_STATS + "avg_client_parse_count:n avg_server_parse_count:n "
                                        "avg_bind_count:n avg_client_login_count:n",
    "TOTALS": "name:s value:n",
    "POOLS": "database:s user:s cl_active:i cl_waiting:i cl_active_cancel_req:i "
             "cl_waiting_cancel_req:i sv_active:i sv_active_cancel:i sv_being_canceled:i sv_idle:i "
             "sv_used:i sv_tested:i sv_login:i maxwait:i maxwait_us:i pool_mode:s "
             "load_balance_hosts:s",
    "PEER_POOLS": "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i "
                  "sv_login:i",
    "CLIENTS": SOCKET,
    "SERVERS": SOCKET,
    "SOCKETS": SOCKET + " recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i "
                        "send_avail:i",
    "ACTIVE_SOCKETS": SOCKET + " recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i "
                               "pkt_avail:i send_avail:i",
    "LISTS": "list:s items:i",
    "USERS": "name:s pool_size:s reserve_pool_size:s pool_mode:s max_user_connections:i "
             "current_connections:i max_user_client_connections:i current_client_connections:i",
    "DATABASES": "name:s host:s port:i database:s force_user:s pool_size:i min_pool_size:i "
                 "reserve_pool_size:i server_lifetime:i pool_mode:s load_balance_hosts:s "
                 "max_connections:i current_connections:i max_client_connections:i "
                 "current_client_connections:i paused:i disabled:i",
    "PEERS": "peer_id:i host:s port:i pool_size:i",
    "CONFIG": "key:s value:s default:s changeable:s",
    "MEM": "name:s size:q used:q free:q memtotal:q",
    "DNS_HOSTS": "hostname:s ttl:q addrs:s",
    "DNS_ZONES": "zonename:s serial:q count:i",
    "VERSION": "version:s",
    "STATE": "key:s value:s",
}
# Tools that read by position, or make a dictionary of the rows, want no column more.
EXACT = ("LISTS", "CONFIG", "VERSION", "STATE")
LISTS = ["databases", "users", "peers", "pools", "peer_pools", "free_clients", "used_clients",
         "login_clients", "free_servers", "used_servers", "dns_names", "dns_zones", "dns_queries",
         "dns_pending"]
TYPES = {"s": TEXT, "i": INT, "q": BIG, "n": NUMERIC}


def show(braid, what):
    """Rows as dictionaries."""
    connection = braid.connect("pgbouncer")
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW {what};")
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]
    finally:
        connection.close()


def shown_columns(cursor, name):
    cursor.execute(f"SHOW {name};")
    cursor.fetchall()
    expect(f"tag of SHOW {name}", "SHOW", cursor.statusmessage)
    return [(column.name, column.type_code) for column in cursor.description]


def pgbouncers_columns(braid):
    connection = braid.connect("pgbouncer")
    with connection.cursor() as cursor:
        for name, spec in BOUNCER.items():
            want = [(word.split(":")[0], TYPES[word.split(":")[1]]) for word in spec.split()]
            got = shown_columns(cursor, name)
            expect(f"SHOW {name}", want, got if name in EXACT else got[:len(want)])
        cursor.execute("SHOW LISTS")
        lists = dict(cursor.fetchall())
        expect("SHOW LISTS", LISTS, list(lists)[:len(LISTS)])
        cursor.execute("SHOW HELP")
        expect_that("help is a notice", "Console usage" in connection.notices[-1])
        cursor.execute("SHOW CONFIG")
        config = {row[0]: row[1] for row in cursor.fetchall()}
        expect("keys that exporters look for", ["5000", "20", "transaction"],
               [config[key] for key in ("max_client_conn", "default_pool_size", "pool_mode")])
    connection.close()
    expect_error("SHOW FDS", "0A000", lambda: show(braid, "FDS"), "cancel keys")


# What known tools ask, and which columns they turn into numbers (None: all but the texts).
TOOLS = [
    ("prometheus exporter", "SHOW STATS", ["database"], []),
    ("prometheus exporter", "SHOW DATABASES;", ["name", "host", "port", "database", "force_user", "pool_mode"],
     ["pool_size", "max_connections", "current_connections", "paused", "disabled"]),
    ("prometheus exporter", "SHOW STATS_TOTALS;", ["database"],
     ["query_count", "query_time", "bytes_received", "bytes_sent", "wait_time", "xact_count", "xact_time",
      "client_parse_count", "server_parse_count", "bind_count"]),
    ("prometheus exporter", "SHOW POOLS;", ["database", "user"],
     ["cl_active", "cl_active_cancel_req", "cl_waiting", "cl_waiting_cancel_req", "sv_active",
      "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait"]),
    ("telegraf", "SHOW STATS", ["database"], None),
    ("telegraf", "SHOW POOLS", ["database", "user", "pool_mode", "load_balance_hosts"], None),
    ("munin", "show pools;", ["database", "user"], ["cl_active", "cl_waiting", "sv_active", "sv_idle"]),
    ("munin", "show stats;", ["database"], ["avg_recv", "avg_sent", "avg_query_count"]),
]


def tools(braid):
    """Their queries as they send them; labels must tell rows apart, numbers must be numbers."""
    braid.sql("SELECT 1", "plain")
    connection = braid.connect("pgbouncer")
    with connection.cursor() as cursor:
        for tool, sql, labels, numbers in TOOLS:
            cursor.execute(sql)
            names = [column.name for column in cursor.description]
            rows = [dict(zip(names, row)) for row in cursor.fetchall()]
            keys = [tuple(row[label] for label in labels) for row in rows]
            expect(f"{tool}: rows of {sql} told apart", len(rows), len(set(keys)))
            for row in rows:
                for name in names if numbers is None else numbers:
                    if name not in labels:
                        int(row[name])
        cursor.execute("SHOW LISTS;")
        expect_that("all lists are numbers", all(float(items) >= 0 for _, items in cursor.fetchall()))
        cursor.execute("SHOW CONFIG;")
        config = {key: value for key, value, _, _ in cursor.fetchall()}
        for key in ("max_client_conn", "max_user_connections", "listen_port"):
            float(config[key])
    connection.close()


def one_per_worker(braid, dbname):
    """Connections on both workers: new clients go to the less busy one."""
    return [braid.connect(dbname) for _ in range(4)]


def counted(braid, database):
    return next(row for row in show(braid, "STATS") if row["database"] == database)


def exact_numbers(braid):
    before = counted(braid, "plain")
    connections = one_per_worker(braid, "plain")
    for connection in connections:
        with connection.cursor() as cursor:
            for _ in range(5):
                cursor.execute("SELECT 1")  # a request, a transaction
            cursor.execute("BEGIN")
            cursor.execute("SELECT 2")
            cursor.execute("COMMIT")        # three requests, one transaction
            try:
                cursor.execute("SELECT 1/0")
            except psycopg2.errors.DivisionByZero:
                pass
        connection.close()
    after = wait_for("logins and work are counted", lambda: (
        counted(braid, "plain") if counted(braid, "plain")["total_query_count"]
        - before["total_query_count"] >= 36 else None))
    grown = {name: int(after[name] - before[name]) for name in after if name.startswith("total_")}
    expect("queries", 4 * 9, grown["total_query_count"])
    expect("transactions", 4 * 7, grown["total_xact_count"])
    expect("logins", 4, grown["total_client_login_count"])
    expect("errors", 4, grown["total_error_count"])
    expect("parses and binds", (0, 0, 0), (grown["total_client_parse_count"],
                                           grown["total_server_parse_count"],
                                           grown["total_bind_count"]))
    expect_that("a connection is assigned per transaction",
                grown["total_server_assignment_count"] >= 28)
    for name in ("received", "sent", "query_time", "xact_time"):
        expect_that(f"{name} is counted", grown[f"total_{name}"] > 0)
    expect_that("a query takes no longer than its transaction",
                grown["total_query_time"] <= grown["total_xact_time"])


def as_pgbouncer_counts(braid):
    """What PgBouncer 1.18 counts for this: 22 queries (one per ReadyForQuery), 14 transactions."""
    import psycopg  # pylint: disable=import-outside-toplevel
    before = counted(braid, "plain")
    connection = braid.connect("plain")
    with connection.cursor() as cursor:
        for sql in ("SELECT 1; SELECT 2; SELECT 3", "BEGIN", "SELECT 1", "SELECT 2", "COMMIT",
                    "SET work_mem = '5MB'", "SELECT 1/0", "BEGIN", "SELECT 1/0", "ROLLBACK",
                    "CREATE TABLE counted (a int)"):
            try:
                cursor.execute(sql)
            except psycopg2.errors.DivisionByZero:
                pass
        cursor.copy_expert("COPY counted FROM STDIN", io.StringIO("1\n2\n3\n"))
        cursor.copy_expert("COPY counted TO STDOUT", io.StringIO())
    connection.close()
    with psycopg.connect(braid.dsn("plain"), autocommit=True, prepare_threshold=None) as connection:
        for i in range(4):
            connection.execute("SELECT %s::int", (i,))
        with connection.transaction():
            connection.execute("SELECT %s::int", (1,))
            connection.execute("SELECT %s::int", (2,))
        with connection.pipeline():
            for i in range(5):
                connection.execute("SELECT %s::int", (i,))
    after = counted(braid, "plain")
    expect("queries and transactions", (22, 14),
           tuple(int(after[name] - before[name]) for name in ("total_query_count", "total_xact_count")))
    rows = {row["query"]: row for row in show(braid, "QUERIES") if row["database"] == "plain"}
    expect("rows of COPY", (3, 3), (rows["COPY counted FROM STDIN"]["rows"],
                                    rows["COPY counted TO STDOUT"]["rows"]))
    braid.sql("DROP TABLE counted", "plain")


def extended_numbers(braid):
    import psycopg  # pylint: disable=import-outside-toplevel
    before = counted(braid, "plain")
    with psycopg.connect(braid.dsn("plain"), autocommit=True) as connection:
        for _ in range(6):
            connection.execute("SELECT %s::int + 1000", (1,), prepare=True)
    after = counted(braid, "plain")
    grown = {name: int(after[name] - before[name]) for name in after if name.startswith("total_")}
    expect("binds", 6, grown["total_bind_count"])
    expect("parses of the client", 1, grown["total_client_parse_count"])
    expect_that("parses on servers", 1 <= grown["total_server_parse_count"] <= 2)


def statement_shapes(braid):
    for connection in one_per_worker(braid, "app"):
        with connection.cursor() as cursor:
            for number in (3, 4, 5):
                cursor.execute("SELECT  v FROM items WHERE id = %s -- secret comment", (number,))
            cursor.execute("SELECT count(*) FROM items WHERE v <> 'top secret'")
            try:
                cursor.execute("INSERT INTO items VALUES (1, 'top secret')")
            except psycopg2.errors.UniqueViolation:
                pass
        connection.close()
    for sql in ("CREATE TABLE later (id int)", "ALTER TABLE later SHARD BY HASH (id)", "DROP TABLE later"):
        braid.sql(sql, "app")
    rows = {row["query"]: row for row in show(braid, "QUERIES") if row["database"] == "app"}
    expect_that("what only pgbraid can parse, as it was written", "ALTER TABLE later SHARD BY HASH (id)" in rows)
    one = rows["SELECT v FROM items WHERE id = $1"]
    expect("calls and rows", (12, 12, 0), (one["calls"], one["rows"], one["errors"]))
    expect_that("min <= mean <= max", one["min_us"] <= one["mean_us"] <= one["max_us"])
    expect_that("bytes", one["bytes"] > 12 * 10)
    many = rows["SELECT count(*) FROM items WHERE v <> $1"]
    expect("over all shards", (4, "shard0,shard1,shard2"), (many["calls"], many["shards"]))
    failed = rows["INSERT INTO items VALUES ($1, $2)"]
    expect("errors", (4, 4), (failed["calls"], failed["errors"]))
    expect_that("no value is shown", "secret" not in str(rows))
    expect("SHOW QUERIES 1", 1, len(show(braid, "QUERIES 1")))
    errors = {(row["sqlstate"], row["origin"]): row["count"] for row in show(braid, "ERRORS")}
    expect_that("unique violations of servers", errors[("23505", "server")] >= 4)
    over_http = json.loads(braid.http("/stats/queries")[1])
    texts = {row["query"]: row for row in over_http["queries"]}
    expect("calls over HTTP", 12, texts["SELECT v FROM items WHERE id = $1"]["calls"])


def latencies(braid):
    rows = show(braid, "LATENCY")
    kinds = {(row["kind"], row["name"]) for row in rows}
    expect_that("databases and users", {("database", "app"), ("database", "plain"),
                                        ("user", "app")} <= kinds)
    shards = {row["shard"]: row for row in rows if row["kind"] == "shard" and row["name"] == "app"}
    expect("shards", {"shard0", "shard1", "shard2"}, set(shards))
    expect("roles", {"primary"}, {row["role"] for row in shards.values()})
    for row in rows:
        expect_that("percentiles ascend", row["p50_us"] <= row["p95_us"] <= row["p99_us"]
                    <= row["p999_us"] <= max(row["max_us"], row["p999_us"]))


def http_numbers(braid):
    stats = braid.stats()
    database = stats["latency"]["databases"]["app"]
    expect_that("histograms in /stats", database["count"] > 0 and database["p99_us"] >= database["p50_us"])
    families = metrics_text.parse(braid.http("/metrics")[1])
    expect_that("request histograms", families["pgbraid_request_seconds"].kind == "histogram")
    total = sum(sample.value for sample in families["pgbraid_request_seconds"].samples
                if sample.name == "pgbraid_request_seconds_count"
                and sample.labels.get("database") == "app")
    expect_that("the same number of requests", total >= database["count"])


def names_are_bounded(place):
    braid = place.braid(stats={"names_max": 1})
    braid.sql("SELECT 1", "plain")
    braid.sql("SELECT 1", "app")
    families = metrics_text.parse(braid.http("/metrics")[1])
    names = {sample.labels["database"] for sample in families["pgbraid_request_seconds"].samples}
    expect("databases by name", True, len(names) == 2 and "other" in names)
    place.end(braid)


def waits(place):
    braid = place.braid(pool={"size": 1})
    a, b = braid.connect("plain"), braid.connect("plain")
    with a.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1")
    import threading  # pylint: disable=import-outside-toplevel
    def work():
        with b.cursor() as cursor:
            cursor.execute("SELECT 2")
    thread = threading.Thread(target=work)
    thread.start()
    wait_for("somebody waits",
             lambda: [row["cl_waiting"] for row in show(braid, "POOLS")] == [1])
    time.sleep(0.1)
    with a.cursor() as cursor:
        cursor.execute("COMMIT")
    thread.join()
    row = next(r for r in show(braid, "LATENCY") if (r["kind"], r["name"]) == ("database", "plain"))
    expect_that("the wait is seen", row["wait_max_us"] >= 90000)
    expect_that("in SHOW STATS too", counted(braid, "plain")["total_wait_time"] >= 90000)
    a.close()
    b.close()
    place.end(braid)


def slow_and_sampled_log(place):
    braid = place.braid(log={"slow_ms": 100, "routing_sample": 2, "stats_ms": 200, "format": "json"})
    connection = braid.connect("app")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.2), 'top secret'")
        cursor.execute("SELECT v FROM items WHERE id = 7")
        cursor.execute("SELECT v FROM items WHERE id = 7")
    connection.close()
    wait_for("the traffic line", lambda: braid.count('"TRAFFIC"'))
    events = [json.loads(line) for line in braid.log().splitlines() if line.startswith("{")]
    slow = [e for e in events if e["event"] == "STATEMENT_SLOW"]
    expect("one slow statement", ["SELECT pg_sleep($1), $2"], [e["shape"] for e in slow])
    expect_that("how long and where", slow[0]["took_ms"] >= 200 and "primary" in slow[0]["route"])
    routed = [e["msg"] for e in events if e["event"] == "STATEMENT_ROUTED"]
    expect_that("a sample of routes", 1 <= len(routed) <= 2
                and routed[0].startswith("routed SELECT to shard") and routed[0].endswith(" ms"))
    expect_that("no values in the log", "secret" not in braid.log())
    place.end(braid)


def averages(place):
    braid = place.braid(stats={"period_ms": 1000})
    connection = braid.connect("plain")
    until = time.monotonic() + 15
    while time.monotonic() < until and not counted(braid, "plain")["avg_query_count"]:
        with connection.cursor() as cursor:
            for _ in range(50):
                cursor.execute("SELECT 1")
    row = counted(braid, "plain")
    connection.close()
    expect_that("averages of the last period", row["avg_query_count"] > 0 and row["avg_query_time"] > 0
                and row["avg_xact_count"] > 0 and row["avg_recv"] > 0 and row["avg_sent"] > 0)
    place.end(braid)


def full_disk(place):
    """Where log lines cannot be written, clients are served all the same; with room they go on."""
    braid = place.braid(start=False)
    path = os.path.join(braid.folder, "full.log")
    os.symlink("/dev/full", path)
    braid.config["log"] = {"level": "info", "file": path}
    braid.write_files()
    braid.start()
    for _ in range(50):
        expect("served", [(ROWS,)], braid.sql("SELECT count(*) FROM items"))
    os.unlink(path)
    braid.config["log"]["connections"] = "off"
    braid.write_files()
    os.kill(braid.process.pid, 1)
    wait_for("the log goes on", lambda: os.path.isfile(path) and "LOG_DROPPED" in read(path))
    before = read(path).count("CLIENT_LOGIN")
    braid.sql("SELECT 1")
    braid.sql("SELECT 1")
    wait_for("goodbyes are logged", lambda: read(path).count("CLIENT_CLOSED") >= 2)
    expect("logins are not", before, read(path).count("CLIENT_LOGIN"))
    os.rename(path, path + ".1")
    os.kill(braid.process.pid, 1)
    wait_for("rotated", lambda: os.path.isfile(path) and "RELOAD" in read(path))
    place.end(braid)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def run(place, report):
    braids = []

    def begin():
        braids.append(place.braid(workers=2, stats={"queries_max": 200}))

    def asked(test):
        return lambda: test(braids[0])

    report.run("stats: begin", begin)
    for name, test in (("PgBouncer's columns", pgbouncers_columns), ("known tools", tools),
                       ("exact numbers", exact_numbers),
                       ("as PgBouncer counts", as_pgbouncer_counts),
                       ("extended protocol", extended_numbers), ("shapes", statement_shapes),
                       ("latencies", latencies), ("HTTP", http_numbers), ("the end", place.end)):
        report.run(f"stats: {name}", asked(test))
    for name, test in (("names are bounded", names_are_bounded), ("waits", waits),
                       ("slow and sampled log", slow_and_sampled_log), ("averages", averages),
                       ("full disk for logs", full_disk)):
        report.run(f"stats: {name}", test, place)
