"""A node of OpenSearch from Maven Central, started by SearchNode.java, and what the sink makes of it."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import maven
import pg
from report import expect, expect_that
from sink_place import soon, with_sum

VERSION = "2.19.1"
JARS = [("org.opensearch", "opensearch", VERSION), ("org.opensearch.plugin", "transport-netty4-client", VERSION),
        ("org.opensearch.plugin", "lang-painless", VERSION), ("org.opensearch.plugin", "reindex-client", VERSION), ("org.apache.logging.log4j", "log4j-core", "2.21.0")]
NODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "SearchNode.java")
PREFIX = "cdc-"
START_S = 300
PAGE = 5000


class Node:
    """`settings`: of the node, from the next start on."""

    def __init__(self, jars, folder):
        self.jars, self.folder, self.process = jars, folder, None
        self.port, self.transport = pg.free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {}
        os.makedirs(folder)

    def start(self):
        settings = {"path.home": self.folder, "http.port": self.port, "transport.port": self.transport, **self.settings}
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(["java", "-Xms512m", "-Xmx512m", "-cp", f"{self.jars}/*", NODE,
                                             *(f"{k}={v}" for k, v in settings.items())],
                                            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while True:
            try:
                self.ask("GET", "/_cluster/health?wait_for_status=yellow&timeout=5s")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"OpenSearch does not start: {self.tail()}") from None
                time.sleep(0.2)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def restart(self, **settings):
        self.settings = {name.replace("__", "."): value for name, value in settings.items()}
        self.kill()
        self.start()

    def tail(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-20:])

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, method=method, headers={"Content-Type": "application/json"},
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def documents(self, index):
        """By _id."""
        self.ask("POST", f"/{index}/_refresh")
        out, after = {}, None
        while True:
            hits = self.ask("POST", f"/{index}/_search", {"size": PAGE, "sort": [{"_id": "asc"}], **({"search_after": after} if after else {})})
            hits = hits["hits"]["hits"]
            out.update((hit["_id"], hit["_source"]) for hit in hits)
            if len(hits) < PAGE:
                return out
            after = hits[-1]["sort"]


def index_of(table):
    topic = f"app.public.{table}"
    small = topic.lower().replace(" ", "x")
    return PREFIX + (topic if small == topic else with_sum(topic, small))


def rows_of(place, table):
    """Documents as rows; the _id is the key."""
    keys, out = place.tables[table][0], {}
    for name, doc in place.node.documents(index_of(table)).items():
        key = tuple(doc[k] for k in keys)
        expect("the _id", str(key[0]) if len(keys) == 1 else [str(k) for k in key], name if len(keys) == 1 else json.loads(f"[{name}]"))
        expect_that("who gave it", "/" in doc.pop("_braid"))
        out[key] = doc
    return out


def equal(place):
    for table in place.tables:
        place.expect_equal(f"{table}: documents", table, rows_of(place, table))


def gets_everything(place):
    place.disturb(place.node)
    place.wait_for_sink("elastic")
    equal(place)
    expect("dead letters", [], [(x["error"], x["event"]["topic"], x["event"]["key"], x["event"]["value"]["op"]) for x in place.dead_letters("elastic")])


def deletes_and_truncates(place):
    """Each of its own: what another shard or partition has given since stays."""
    for _ in range(3):
        place.sql("TRUNCATE users, events")
        place.sql("INSERT INTO users (id, name) SELECT g, 'again' FROM generate_series(1, 2000) g")
        place.sql("UPDATE users SET id = id + 10000 WHERE id % 5 = 0")
        place.sql("DELETE FROM users WHERE id % 7 = 0")
        place.sql("INSERT INTO events SELECT g, g, now() FROM generate_series(1, 300) g")
    place.sql('DELETE FROM "Odd Keys" WHERE v % 2 = 0')
    place.wait_for_sink("elastic")
    equal(place)
    expect("dead letters", [], [(x["error"], x["event"]["topic"], x["event"]["key"], x["event"]["value"]["op"]) for x in place.dead_letters("elastic")])


def too_busy_is_tried_again(place):
    """429, of the request (no memory left for it) and of an item (the index takes no writes: its disk is full)."""
    place.node.restart(indexing_pressure__memory__limit="20kb")
    place.sql("INSERT INTO users (id, name) SELECT g, repeat('x', 1000) FROM generate_series(20000, 20100) g")
    soon("it says so", lambda: "429" in place.sink("elastic")["error"], True, place)
    print(f"        it says: {place.sink('elastic')['error']}", flush=True)
    place.node.restart()
    place.wait_for_sink("elastic")
    place.node.ask("PUT", f"/{index_of('users')}/_settings", {"index.blocks.read_only_allow_delete": True})
    place.sql("INSERT INTO users (id, name) SELECT g, 'full' FROM generate_series(20200, 20300) g")
    soon("it says so", lambda: "read-only" in place.sink("elastic")["error"], True, place)
    print(f"        it says: {place.sink('elastic')['error']}", flush=True)
    place.node.ask("PUT", f"/{index_of('users')}/_settings", {"index.blocks.read_only_allow_delete": None})
    place.wait_for_sink("elastic")
    equal(place)
    expect("dead letters", [], [(x["error"], x["event"]["topic"], x["event"]["key"], x["event"]["value"]["op"]) for x in place.dead_letters("elastic")])


def too_large_goes_in_halves(place):
    """413."""
    place.node.restart(http__max_content_length="100kb")
    dead = len(place.dead_letters("elastic"))
    place.sql("INSERT INTO users (id, name) SELECT g, repeat('x', 5000) FROM generate_series(21000, 21100) g")
    place.sql("INSERT INTO users (id, name) VALUES (21200, repeat('x', 150000))")
    place.sql("INSERT INTO users (id, name) VALUES (21201, 'small')")
    place.wait_for_sink("elastic")
    expect("dead letters", [21200], [x["event"]["key"]["id"] for x in place.dead_letters("elastic")[dead:]])
    place.node.restart()
    place.sql("UPDATE users SET name = 'smaller' WHERE id = 21200")
    place.wait_for_sink("elastic")
    equal(place)


def what_does_not_fit_is_a_dead_letter(place):
    """400, of an item: the field has another type by now."""
    dead = len(place.dead_letters("elastic"))
    place.sql('ALTER TABLE "Odd Keys" ALTER v TYPE text')
    place.sql("INSERT INTO \"Odd Keys\" VALUES ('fits', '5'), ('does not', 'five'), ('fits, too', '6')")
    place.wait_for_sink("elastic")
    letters = place.dead_letters("elastic")[dead:]
    expect("dead letters", ["does not"], [x["event"]["key"]["key"] for x in letters])
    print(f"        it says: {letters[0]['error']}", flush=True)
    docs = place.node.documents(index_of("Odd Keys"))
    expect("the others", (True, False, True), tuple(k in docs for k in ("fits", "does not", "fits, too")))
    place.sql("DELETE FROM \"Odd Keys\" WHERE v = 'five'")
    place.sql('ALTER TABLE "Odd Keys" ALTER v TYPE int USING v::int')


def looks_deceive_nobody(place):
    """Texts that look like dates, floats that look like whole numbers, keys that no _id can be."""
    dead = len(place.dead_letters("elastic"))
    place.sql("CREATE TABLE looks (key text PRIMARY KEY, name text, f float8)")
    place.sql("INSERT INTO looks VALUES ('a', '2026-01-02', 1), ('b', 'hello', 1.5), ('c', '12', 'NaN'), ('d', '', 1e300), ('', 'empty', 0)")
    place.sql("INSERT INTO looks VALUES (repeat('k', 600), 'long', 0), (repeat('k', 512), 'not too long', -1)")
    place.wait_for_sink("elastic")
    expect("dead letters", ["", "k" * 600], sorted(x["event"]["key"]["key"] for x in place.dead_letters("elastic")[dead:]))
    docs = place.node.documents(index_of("looks"))
    expect("documents", ["a", "b", "c", "d", "k" * 512], sorted(docs))
    expect("NaN", "NaN", docs["c"]["f"])
    hits = place.node.ask("POST", f"/{index_of('looks')}/_search", {"query": {"range": {"f": {"gt": 1.2}}}})["hits"]["hits"]
    expect("above 1.2", ["b", "d"], sorted(hit["_id"] for hit in hits))


def begin(place):
    """Its settings."""
    jars = maven.jars(os.path.join(place.servers_folder, f"opensearch-{VERSION}"), JARS)
    place.node = Node(jars, os.path.join(place.fleet.folder, "search"))
    place.fleet.at_end.append(place.node.kill)
    place.node.start()
    return {"sink_elastic": place.node.url, "sink_elastic_prefix": PREFIX, "sink_timeout_ms": 30000, "sink_batch": 500}


CASES = (gets_everything, deletes_and_truncates, too_busy_is_tried_again, too_large_goes_in_halves, what_does_not_fit_is_a_dead_letter,
         looks_deceive_nobody)
