"""The Elasticsearch sink, against a server of the test that knows as much of the protocol, and refuses items on purpose."""

import http.server
import json
import threading

from report import expect, expect_that
from sink_place import soon

INDEX = "cdc-app.public.users"
GO = "ctx.op = ctx._source._braid == params.by ? 'delete' : 'none'"


class Elastic(http.server.ThreadingHTTPServer):
    """`judge`: of an action and its _id a status that it fails with, or None. `script`: statuses of the next _bulk requests,
    below 0 of such as are done nevertheless."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        self.indexes, self.mappings, self.hidden, self.dates = {}, {}, {}, {}
        self.script, self.statuses = [], []
        self.judge = lambda action, key: None
        self.lock = threading.RLock()
        super().__init__(("127.0.0.1", 0), ElasticRequest)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass

    def rows(self):
        with self.lock:
            return {doc["id"]: doc.get("name") for doc in self.indexes.get(INDEX, {}).values()}

    def item(self, action, key, index, body):
        """What an action does: status and error."""
        docs = self.indexes[index]
        failed = self.judge(action, key)
        if failed:
            return failed, {"type": "on_purpose", "reason": f"[{key}]: \"refused\""}
        self.hidden.setdefault(index, set()).add(key)
        if action == "index":
            status = 200 if key in docs else 201
            docs[key] = body
            return status, None
        if key not in docs:
            return 404, {"type": "document_missing_exception", "reason": f"[{key}]: document missing"}
        if "doc" in body:
            docs[key].update(body["doc"])
        else:
            if body["script"]["source"] != GO:
                raise ValueError("an unknown script")
            if docs[key]["_braid"] == body["script"]["params"]["by"]:
                del docs[key]
        return 200, None


class ElasticRequest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def do_PUT(self):
        body, es = json.loads(self.body()), self.server
        index, _, what = self.path[1:].partition("/")
        with es.lock:
            if what == "_mapping" and index not in es.indexes:
                self.answer(404, {"error": {"type": "index_not_found_exception", "reason": "no such index"}})
                return
            if what == "":
                es.indexes[index] = {}
                body = body["mappings"]
                es.dates[index] = body["date_detection"]
            es.mappings[index] = body["properties"]
        self.answer(200, {"acknowledged": True})

    def do_POST(self):
        body, es = self.body(), self.server
        with es.lock:
            if self.path == "/_bulk":
                self.bulk(body.decode())
                return
            index, _, what = self.path[1:].partition("/")
            if what == "_refresh":
                es.hidden[index] = set()
            else:
                expect("what is asked for", "_delete_by_query?refresh=true", what)
                expect("a keyword", "keyword", es.mappings[index]["_braid"]["type"])
                owner = json.loads(body)["query"]["term"]["_braid"]
                docs = es.indexes[index]
                for key in [k for k, doc in docs.items() if doc["_braid"] == owner and k not in es.hidden[index]]:
                    del docs[key]
            self.answer(200, {"deleted": 0, "failures": []})

    def bulk(self, text):
        es = self.server
        answers = es.script.pop(0) if es.script else 200
        es.statuses.append(abs(answers))
        if answers > 0 and answers != 200:
            self.answer(answers, {"error": {"type": "on_purpose", "reason": "no"}, "status": answers})
            return
        lines = text.split("\n")
        expect("the last line has an end", "", lines.pop())
        if any(not 0 < len(meta["_id"].encode()) <= 512 for head in lines[::2] for meta in json.loads(head).values()):
            self.answer(400, {"error": {"type": "action_request_validation_exception", "reason": "id is too long"}, "status": 400})
            return
        items = []
        for head, body in zip(lines[::2], lines[1::2]):
            (action, meta), = json.loads(head).items()
            status, error = es.item(action, meta["_id"], meta["_index"], json.loads(body))
            items.append({action: {"_index": meta["_index"], "_id": meta["_id"], "status": status, **({"error": error} if error else {})}})
        self.answer(abs(answers), {"took": 1, "errors": any("error" in v for i in items for v in i.values()), "items": items})


def equal_soon(place):
    soon("the documents", place.elastic.rows, place.truth(), place)


def gets_everything(place):
    soon("what was there", lambda: place.sink("elastic")["lag"], 0, place)
    before, dead = len(place.elastic.statuses), place.sink("elastic")["dead_letters"]
    place.elastic.script = [503, 429, 413]
    place.sql("TRUNCATE users")
    place.sql("INSERT INTO users SELECT g, 'n' || g FROM generate_series(30000, 30300) g")
    place.sql("UPDATE users SET name = 'elastic' WHERE id BETWEEN 30100 AND 30200")
    place.sql("UPDATE users SET id = id + 1000 WHERE id BETWEEN 30010 AND 30030")
    place.sql("DELETE FROM users WHERE id BETWEEN 30250 AND 30300")
    equal_soon(place)
    expect("it was tried again", [503, 429, 413], [s for s in place.elastic.statuses[before:] if s != 200][:3])
    for _ in range(3):
        place.sql("TRUNCATE users")
        place.sql("INSERT INTO users SELECT g, 'again' FROM generate_series(30000, 30100) g")
    equal_soon(place)
    expect("dead letters", dead, place.sink("elastic")["dead_letters"])


def items_fail_on_purpose(place):
    es, tries, dead = place.elastic, [], len(place.dead_letters("elastic"))

    def judge(_, key):
        if key == "31050" and len(tries) < 3:
            tries.append(key)
            return 429
        return 400 if key in ("31007", "31093") else None

    es.judge = judge
    place.sql("INSERT INTO users SELECT g, 'first' FROM generate_series(31000, 31100) g")
    place.sql("UPDATE users SET name = 'second' WHERE id >= 31000")
    want = {k: v for k, v in place.truth().items() if k not in (31007, 31093)}
    soon("all but those that are refused", es.rows, want, place)
    soon("all of it", lambda: place.sink("elastic")["lag"], 0, place)
    expect("too busy for one", 3, len(tries))
    letters = place.dead_letters("elastic")
    expect("dead letters", {31007, 31093}, {x["event"]["key"]["id"] for x in letters[dead:]})
    expect_that(letters[dead]["error"], letters[dead]["error"].startswith("status 400: on_purpose"))
    es.judge = lambda action, key: None
    place.sql("DELETE FROM users WHERE id IN (31007, 31093)")
    equal_soon(place)


def large_values_that_an_update_leaves_alone(place):
    before = place.sink("elastic")["dead_letters"]
    place.sql("ALTER TABLE users ALTER name SET STORAGE EXTERNAL")
    place.sql("ALTER TABLE users ADD IF NOT EXISTS n int")
    place.sql("INSERT INTO users (id, name) SELECT g, repeat('x', 9000) || g FROM generate_series(32000, 32010) g")
    place.sql("UPDATE users SET n = 5 WHERE id >= 32000")
    equal_soon(place)
    soon("all of it", lambda: place.sink("elastic")["lag"], 0, place)
    expect("the new field", 11, sum(d.get("n") == 5 for d in place.elastic.indexes[INDEX].values()))
    place.elastic.script = [-503] * 3  # the batch is done, and comes again: what it updates is not there any more
    place.sql("BEGIN; UPDATE users SET n = 6 WHERE id >= 32000; DELETE FROM users WHERE id >= 32000; COMMIT")
    equal_soon(place)
    soon("all of it", lambda: place.sink("elastic")["lag"], 0, place)
    expect("it came again", [], place.elastic.script)
    expect("dead letters", before, place.sink("elastic")["dead_letters"])


def what_no_id_can_be_is_a_dead_letter(place):
    """A server refuses the whole request for it. And fields are not left to their first values."""
    dead = len(place.dead_letters("elastic"))
    place.sql("CREATE TABLE looks (key text PRIMARY KEY, f float8)")
    place.sql("INSERT INTO looks VALUES ('a', 1), ('', 2), (repeat('k', 512), 3), (repeat('k', 513), 4)")
    soon("those that can be", lambda: sorted(place.elastic.indexes.get("cdc-app.public.looks", {})), ["a", "k" * 512], place)
    soon("dead letters", lambda: sorted(x["event"]["key"]["key"] for x in place.dead_letters("elastic")[dead:]), ["", "k" * 513], place)
    expect("a float", "double", place.elastic.mappings["cdc-app.public.looks"]["f"]["type"])
    expect("texts are no dates", False, place.elastic.dates["cdc-app.public.looks"])


def begin(place):
    """Its settings."""
    place.elastic = Elastic()
    return {"sink_elastic": f"http://127.0.0.1:{place.elastic.server_address[1]}/", "sink_elastic_prefix": "cdc-",
            "sink_elastic_topics": "app.public.users, app.public.looks"}


CASES = (gets_everything, items_fail_on_purpose, large_values_that_an_update_leaves_alone, what_no_id_can_be_is_a_dead_letter)
