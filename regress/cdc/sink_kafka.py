"""The Kafka sink, against librdkafka's mock brokers (kafka_tool.c), which refuse and go down."""

import json
import os
import subprocess
import threading

from report import expect, expect_that
from sink_place import rows_of, soon

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOPIC = "cdc.app.public.users"
PROPERTIES = "# for the test\nlinger.ms=1\nreconnect.backoff.max.ms=500\n"
TOO_LARGE, NOT_LEADER = 10, 6  # errors of Kafka's protocol


class Kafka:
    """The tool's process: mock brokers, or those at the address."""

    def __init__(self, folder, *address):
        tool = os.path.join(folder, "kafka_tool")
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-o", tool, "regress/cdc/kafka_tool.c", "-lrdkafka"],
                       cwd=ROOT, check=True)
        self.process = subprocess.Popen([tool, *address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.lock = threading.Lock()
        self.address = self.process.stdout.readline().decode().strip()

    def ask(self, command):
        with self.lock:
            self.process.stdin.write(command.encode() + b"\n")
            self.process.stdin.flush()
            lines = []
            while True:
                line = self.process.stdout.readline()
                if not line:
                    raise EOFError
                if line == b"done\n":
                    return lines
                lines.append(line.decode())

    def kill(self):
        self.process.kill()
        self.process.wait()


def read(kafka, topic):
    """Its messages, those of each of its partitions in their order."""
    out = []
    *lines, last = kafka.ask(f"read {topic}")
    if last != "end\n":
        raise OSError(f"{topic}: {last}")
    for line in lines:
        head, value = line.rstrip("\n").split("\t", 1)
        there, partition, offset, key = head.split(" ", 3)
        out.append({"there": int(there), "partition": int(partition), "offset": int(offset), "key": key, "value": json.loads(value)})
    return out


def events(place):
    return read(place.kafka, TOPIC)


def rows(place):
    return rows_of(events(place))


def gets_everything_in_order(place):
    place.sql("TRUNCATE users")
    place.sql("INSERT INTO users SELECT g, 'n' || g FROM generate_series(20000, 20300) g")
    place.sql("UPDATE users SET name = 'kafka' WHERE id BETWEEN 20100 AND 20200")
    place.sql("DELETE FROM users WHERE id >= 20250")
    soon("the topic's rows", lambda: rows(place), place.truth(), place)
    all_events = events(place)
    expect_that("several partitions there", len({e["there"] for e in all_events}) > 1)
    expect("one of ours is in one of theirs", [], [e for e in all_events if e["there"] != e["partition"] % 4])
    keys = {e["key"] for e in all_events if e["value"]["op"] == "c"}
    expect_that(sorted(keys)[:1], '{"id":20000}' in keys)
    expect("dead letters", 0, place.sink("kafka")["dead_letters"])


def brokers_refuse_and_go_down(place):
    place.kafka.ask(f"fail 3 {NOT_LEADER}")
    place.sql("UPDATE users SET name = 'leader-' || id")
    place.kafka.ask("down")
    place.sql("UPDATE users SET name = 'down-' || id WHERE id < 20200")
    place.sql("DELETE FROM users WHERE id < 20050")
    soon("it gives up", lambda: "not kept within" in place.sink("kafka")["error"], True, place)
    place.kafka.ask("up")
    soon("the topic's rows", lambda: rows(place), place.truth(), place)
    first = {}
    for e in events(place):
        first.setdefault(e["partition"], {})[e["offset"]] = None
    for partition, offsets in first.items():
        expect(f"holes in partition {partition}", list(range(len(offsets))), list(offsets))
    expect("dead letters", 0, place.sink("kafka")["dead_letters"])


def too_large_is_a_dead_letter(place):
    place.sql(f"INSERT INTO users VALUES (21000, '{'x' * 1100000}')")
    place.sql("INSERT INTO users VALUES (21001, 'small')")
    soon("dead letters", lambda: place.sink("kafka")["dead_letters"], 1, place)
    letter = place.dead_letters("kafka")[0]
    expect_that(letter["error"], "too large" in letter["error"])
    expect("whose", {"id": 21000}, letter["event"]["key"])
    want = {k: v for k, v in place.truth().items() if k != 21000}
    soon("the others", lambda: rows(place), want, place)
    place.sql("DELETE FROM users WHERE id = 21000")
    soon("the topic's rows", lambda: rows(place), place.truth(), place)


def refused_with_others_comes_alone(place):
    """The broker refuses a whole request: those that are innocent must not be dead letters."""
    place.kafka.ask(f"fail 1 {TOO_LARGE}")
    place.sql("INSERT INTO users SELECT g, 'innocent' FROM generate_series(22000, 22050) g")
    soon("the topic's rows", lambda: rows(place), place.truth(), place)
    expect("dead letters", 1, place.sink("kafka")["dead_letters"])


def properties_of_topics_are_obeyed(place):
    """What librdkafka keeps per topic, too; it says so itself when one contradicts the promises."""
    place.write("kafka.properties", PROPERTIES + "queuing.strategy=lifo\n")
    place.braid.stop()
    place.braid.start()
    place.sql("INSERT INTO users VALUES (23000, 'fifo')")
    soon("it is told", lambda: "queuing.strategy" in place.sink("kafka")["error"], True, place)
    place.write("kafka.properties", PROPERTIES)
    soon("the topic's rows", lambda: rows(place), place.truth(), place)


def begin(place):
    """Its settings."""
    place.kafka = Kafka(place.fleet.folder)
    place.fleet.at_end.append(place.kafka.kill)
    place.kafka.ask(f"create {TOPIC}")
    return {"sink_kafka": place.kafka.address, "sink_kafka_prefix": "cdc.", "sink_kafka_topics": "app.public.users",
            "sink_kafka_properties": place.write("kafka.properties", PROPERTIES)}


CASES = (gets_everything_in_order, brokers_refuse_and_go_down, too_large_is_a_dead_letter, refused_with_others_comes_alone,
         properties_of_topics_are_obeyed)
