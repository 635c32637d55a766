"""A broker of Apache Kafka (KRaft, one node), from Maven Central, and what the sink makes of it."""

import os
import signal
import socket
import subprocess
import time

import maven
import pg
import sink_kafka
from report import expect, expect_that
from sink_place import soon, with_sum

VERSION = "3.7.1"
JARS = [("org.apache.kafka", "kafka_2.13", VERSION), ("org.apache.kafka", "kafka-tools", VERSION), ("org.slf4j", "slf4j-simple", "1.7.36")]
CLUSTER = "pgbraid-cluster-000001"  # 22 characters of base64
PREFIX = "cdc."
START_S = 180


class Broker:
    """`settings`: lines of server.properties, from the next start on."""

    def __init__(self, jars, folder):
        self.jars, self.folder, self.process = jars, folder, None
        self.port, self.controller = pg.free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        self.settings = {}
        os.makedirs(folder)
        self.write()
        done = self.java("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", self.path)
        if done.wait(START_S) != 0:
            raise RuntimeError(f"kafka.tools.StorageTool: {self.tail()}")

    @property
    def path(self):
        return os.path.join(self.folder, "server.properties")

    def write(self):
        lines = {"process.roles": "broker,controller", "node.id": "1", "controller.quorum.voters": f"1@127.0.0.1:{self.controller}",
                 "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller}",
                 "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}", "controller.listener.names": "CONTROLLER",
                 "log.dirs": os.path.join(self.folder, "data"), "num.partitions": "3", "offsets.topic.replication.factor": "1",
                 "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
                 "group.initial.rebalance.delay.ms": "0", **self.settings}
        with open(self.path, "w", encoding="utf-8") as f:
            f.writelines(f"{name}={value}\n" for name, value in lines.items())

    def java(self, *words):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            return subprocess.Popen(["java", "-Xms256m", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                                     "-cp", f"{self.jars}/*", *words], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def tail(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-20:])

    def start(self):
        self.write()
        self.process = self.java("kafka.Kafka", self.path)
        until = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"kafka.Kafka does not start: {self.tail()}") from None
                time.sleep(0.1)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def topic_of(table):
    topic = f"app.public.{table}"
    return PREFIX + (with_sum(topic, topic.replace(" ", "_")) if " " in topic else topic)


def table_of(place, table):
    """Rows of the table, of what is in its topic, in the order of each partition. Whatever is not in order is an error."""
    messages = sink_kafka.read(place.kafka, topic_of(table))
    first, keys = {}, {}
    for m in messages:
        expect(f"one of ours is in one of theirs: {m['partition']}", m["partition"] % place.kafka_partitions, m["there"])
        where = (m["partition"], m["offset"])
        again = where in keys
        key = m["value"]["idempotence_key"]
        expect(f"what comes again at {where}", keys.setdefault(where, key), key)
        if not again:
            first.setdefault(m["partition"], []).append(m["offset"])
            place.rows.apply(table, m["partition"], m["value"])
    return messages, first


def has_all(place):
    place.kafka_again = 0
    place.rows.clear()
    for table in place.tables:
        messages, first = table_of(place, table)
        for partition, offsets in first.items():
            expect(f"{table}: missing, or not in order, in partition {partition}", list(range(len(offsets))), offsets)
        records = next(t["records"] for t in place.console("SHOW CDC_TOPICS") if t["topic"] == f"app.public.{table}")
        expect(f"{table}: records", records, sum(map(len, first.values())))
        by_key = {}
        for m in messages:
            by_key.setdefault(m["value"]["idempotence_key"], {})[(m["partition"], m["offset"])] = m["value"]
        expect(f"{table}: two records with one idempotence key", [], [v for v in by_key.values() if len(v) > 1][:2])
        place.kafka_again += len(messages) - records
        place.expect_equal(f"{table}: rows of its topic", table, place.rows.of(table))


def gets_everything(place):
    place.disturb(place.broker)
    place.wait_for_sink("kafka")
    has_all(place)
    expect("dead letters", 0, place.sink("kafka")["dead_letters"])
    print(f"        {place.sink('kafka')['events']} events in the last life of pgbraid, {place.kafka_again} messages again", flush=True)


def refused_by_the_broker_is_a_dead_letter(place):
    """It takes no batch that is larger; messages beside such a one are kept."""
    place.broker.settings = {"message.max.bytes": "100000"}
    place.broker.kill()
    place.broker.start()
    dead = len(place.dead_letters("kafka"))
    place.sql("INSERT INTO users (id, name) SELECT g, repeat('x', 20000) FROM generate_series(5000, 5020) g")
    place.sql("INSERT INTO users (id, name) VALUES (5100, repeat('x', 120000))")
    place.sql("INSERT INTO users (id, name) SELECT g, 'small' FROM generate_series(5101, 5120) g")
    place.wait_for_sink("kafka")
    letters = place.dead_letters("kafka")[dead:]
    expect("dead letters", [5100], [x["event"]["key"]["id"] for x in letters])
    messages, _ = table_of(place, "users")
    there = {m["value"]["after"]["id"] for m in messages if m["value"]["after"]}
    expect("the others", set(), {*range(5000, 5021), *range(5101, 5121)} - there)
    place.broker.settings = {}
    place.broker.kill()
    place.broker.start()


def a_topic_that_is_not_there_is_waited_for(place):
    place.kafka.ask(f"create {topic_of('users')}")  # where it is there, that changes nothing
    place.broker.settings = {"auto.create.topics.enable": "false"}
    place.broker.kill()
    place.broker.start()
    place.sql("CREATE TABLE late (id int PRIMARY KEY, name text)")
    place.sql("INSERT INTO late VALUES (1, 'one')")
    soon("it says so", lambda: f"there is no topic {topic_of('late')}" in place.sink("kafka")["error"], True, place)
    place.sql("INSERT INTO users (id, name) VALUES (6000, 'others go on')")
    soon("other tables", lambda: 6000 in {m["value"]["after"]["id"] for m in table_of(place, "users")[0] if m["value"]["after"]}, True, place)
    expect("made", [], place.kafka.ask(f"create {topic_of('late')}"))
    expect_that("what docs/CDC.md says of . and _", "collides" in str(place.kafka.ask(f"create {PREFIX}app.public_late")))
    soon("it is there", lambda: [m["key"] for m in sink_kafka.read(place.kafka, topic_of("late"))], ['{"id":1}'], place)
    soon("no error", lambda: place.sink("kafka")["error"], "", place)


def a_frozen_broker_does_not_hold_the_end_up(place):
    place.broker.process.send_signal(signal.SIGSTOP)
    place.sql("INSERT INTO users (id, name) VALUES (7000, 'frozen')")
    time.sleep(1)
    begin = time.monotonic()
    expect("exit status", 0, place.braid.stop())
    expect_that(f"it took {time.monotonic() - begin} s", time.monotonic() - begin < 10)
    place.broker.process.send_signal(signal.SIGCONT)
    place.braid.start()
    place.wait_for_sink("kafka")
    messages, _ = table_of(place, "users")
    expect_that("it is there", 7000 in {m["value"]["after"]["id"] for m in messages if m["value"]["after"]})


def begin(place):
    """Its settings."""
    jars = maven.jars(os.path.join(place.servers_folder, f"kafka-{VERSION}"), JARS)
    place.broker = Broker(jars, os.path.join(place.fleet.folder, "kafka"))
    place.fleet.at_end.append(place.broker.kill)
    place.broker.start()
    place.kafka = sink_kafka.Kafka(place.fleet.folder, place.broker.address)
    place.fleet.at_end.append(place.kafka.kill)
    place.kafka_partitions = 3
    return {"sink_kafka": place.broker.address, "sink_timeout_ms": 5000, "sink_batch": 200, "sink_kafka_prefix": PREFIX,
            "sink_kafka_properties": place.write("kafka.properties", "linger.ms=2\nreconnect.backoff.max.ms=500\n")}


CASES = (gets_everything, refused_by_the_broker_is_a_dead_letter, a_topic_that_is_not_there_is_waited_for,
         a_frozen_broker_does_not_hold_the_end_up)
