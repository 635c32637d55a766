#!/usr/bin/env python3
"""What people do by hand to what change capture stands on: each loss is seen, and made good by a copy.

usage: by_hand.py [--build DIR] [--only WORD] [--verbose]

Publications that are altered, tables that are dropped and made again, rows that a policy hides, a
server that is put back to an older state, transactions that stand in the way of a copy.
"""

import argparse
import os
import signal
import shutil
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "regress"))
sys.path.insert(0, os.path.join(ROOT, "regress", "cdc"))

import pg  # noqa: E402
import source  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Report, expect, expect_that  # noqa: E402
from source import LOGICAL, TABLES, VERSION  # noqa: E402

FAST = "watch=100"


class Test(source.Test):
    def begin(self, options="", tables=TABLES, servers=None):
        """A source that reads, of all tables or of some."""
        tool = self.fresh(1, servers)
        self.restart(tool, options if tables is TABLES else f"{options} tables={','.join(tables)}", wait=False)
        tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")
        return tool, tool.servers[0]

    def restart(self, tool, options=None, wait=True):
        if tool.process is not None and tool.process.poll() is None:
            tool.kill()
        tool.start(options if options is None else f"{FAST} {options}")
        if wait:
            tool.wait(lambda look: look[0]["doing"] == "reading", "the stream")

    def refused(self, tool, word):
        look = tool.wait(lambda look: look[0]["doing"] == "waiting" and word in look[0]["error"], f"a refusal with \"{word}\"")
        expect_that(f"a hint: {tool.tail()}", "hint=\"\"" not in tool.tail().splitlines()[-1])
        return look

    def ids(self, tool, table):
        """Keys of the rows as the log has them, applied in order."""
        replica = source.Replica(tool.log(0))
        for record in tool.log(0):
            replica.apply(record)
        return sorted(int(row["id"]) for row in replica.tables.get(table, {}).values()), replica.gaps

    # ---- publications

    def altered(self):
        """Statements, rows or columns that a publication leaves out are a gap, and in the way until it is made good."""
        changes = [("SET (publish = 'insert')", "SET (publish = 'insert, update, delete, truncate')", "kinds of statements")]
        if VERSION >= 13:
            changes += [("SET (publish_via_partition_root = true)", "SET (publish_via_partition_root = false)", "partitions")]
        if VERSION >= 15:
            changes += [("SET TABLE plain WHERE (id > 0), large", "SET TABLE plain, large", "rows or columns")]
        for change, back, word in changes:
            tool, s = self.begin(tables=["plain", "large"])
            s.sql("INSERT INTO plain VALUES (1, 'a'), (2, 'a')", "app")
            tool.catch_up()
            s.sql(f"ALTER PUBLICATION pgbraid_cdc {change}", "app")
            s.sql("INSERT INTO plain VALUES (-3, 'c'); DELETE FROM plain WHERE id = 1", "app")
            self.refused(tool, word)
            s.sql(f"ALTER PUBLICATION pgbraid_cdc {back}", "app")
            tool.catch_up()
            got, gaps = self.ids(tool, "plain")
            tool.stop()
            expect(f"rows after {change}", [-3, 2], got)
            expect_that(f"a gap that says why: {gaps}", len(gaps) == 1 and word in gaps[0])

    def made_before(self):
        """One that somebody has made is taken as it is only when nothing is missing."""
        tool = self.fresh(1)
        (s,) = tool.servers
        s.sql("CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)", "app")
        s.sql("CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10); INSERT INTO parted VALUES (1)", "app")
        if VERSION >= 13:
            s.sql("CREATE PUBLICATION pgbraid_cdc FOR ALL TABLES WITH (publish_via_partition_root = true)", "app")
            self.restart(tool, "", wait=False)
            self.refused(tool, "partitions")
            s.sql("DROP PUBLICATION pgbraid_cdc", "app")
        s.sql("CREATE PUBLICATION pgbraid_cdc FOR TABLE plain", "app")
        self.restart(tool, "", wait=False)
        self.refused(tool, "not for all tables")
        s.sql("DROP PUBLICATION pgbraid_cdc", "app")
        tool.catch_up()
        got, gaps = self.ids(tool, "part")
        tool.stop()
        expect("rows of the partition", ([1], []), (got, gaps))

    def dropped(self):
        """A publication that is dropped while nothing is written, and one that is made again at once."""
        tool, s = self.begin()
        s.sql("INSERT INTO plain VALUES (1)", "app")
        tool.catch_up()
        s.sql("DROP PUBLICATION pgbraid_cdc", "app")
        tool.wait(lambda look: look[0]["gaps"] == 1 and look[0]["doing"] == "reading", "a gap")
        s.sql("INSERT INTO plain VALUES (2)", "app")
        self.settle(tool)
        tool.stop()

    # ---- tables

    def made_again(self):
        """A captured table that is dropped and made again, or renamed away, while it is read."""
        tool, s = self.begin(tables=["plain", "large"])
        s.sql("INSERT INTO plain VALUES (1); INSERT INTO large VALUES (1, 'a')", "app")
        tool.catch_up()
        s.sql(f"DROP TABLE plain; {TABLES['plain']}; INSERT INTO plain VALUES (2)", "app")
        tool.wait(lambda look: look[0]["rows_copied"] == 1 and look[0]["doing"] == "reading", "the new table's row")
        s.sql("INSERT INTO plain VALUES (3)", "app")
        tool.catch_up()
        expect("rows of the second", ([2, 3], []), self.ids(tool, "plain"))
        s.sql(f"ALTER TABLE plain RENAME TO old; {TABLES['plain'].replace('PRIMARY KEY', 'CONSTRAINT third PRIMARY KEY')}; INSERT INTO plain VALUES (4)", "app")
        tool.wait(lambda look: look[0]["rows_copied"] == 2 and look[0]["doing"] == "reading", "the third table's row")
        tool.catch_up()
        expect("rows of the third", ([4], []), self.ids(tool, "plain"))
        expect("copies of the other table", 1, sum(r.get("content") == "copy" for r in tool.log(0) if r.get("table") == "large"))
        tool.stop()

    def out_and_in(self):
        """A table that leaves the publication or cdc.tables, while the source is down too, comes back whole."""
        tool, s = self.begin(tables=["plain", "large"])
        s.sql("INSERT INTO plain VALUES (1)", "app")
        tool.catch_up()
        tool.kill()
        s.sql("ALTER PUBLICATION pgbraid_cdc DROP TABLE plain", "app")
        s.sql("INSERT INTO plain VALUES (2)", "app")
        self.restart(tool)
        tool.catch_up()
        expect("rows after the publication was mended", ([1, 2], []), self.ids(tool, "plain"))
        self.restart(tool, "tables=large")
        s.sql("INSERT INTO plain VALUES (3)", "app")
        tool.catch_up()
        self.restart(tool, "tables=large,plain")
        tool.catch_up()
        expect("rows after the setting was mended", ([1, 2, 3], []), self.ids(tool, "plain"))
        self.restart(tool, "tables=large,plain,none", wait=False)
        self.refused(tool, "public.none")
        expect_that("a hint that names the setting", "cdc.tables must name" in tool.tail())
        tool.kill()

    def identities_gone(self):
        """Keys that are no replica identity: deferrable, or an index that was dropped."""
        tool = self.fresh(1)
        (s,) = tool.servers
        s.sql("CREATE TABLE later (id int PRIMARY KEY DEFERRABLE, a text); INSERT INTO later VALUES (1)", "app")
        s.sql("CREATE TABLE lost (id int NOT NULL, a text); CREATE UNIQUE INDEX by_id ON lost (id)", "app")
        s.sql("ALTER TABLE lost REPLICA IDENTITY USING INDEX by_id; DROP INDEX by_id; INSERT INTO lost VALUES (1)", "app")
        self.restart(tool, "", wait=False)
        self.refused(tool, "public.later, public.lost")
        s.sql("UPDATE later SET a = 'x'; UPDATE lost SET a = 'x'", "app")  # goes on working: nothing is published
        self.restart(tool, "full=1")
        s.sql("UPDATE later SET a = 'y'; UPDATE lost SET a = 'y'", "app")
        tool.catch_up()
        tool.stop()
        got = [(r["table"], r["old"]["a"]) for r in tool.log(0) if r["op"] == "update"]
        expect("updates", [("later", "x"), ("lost", "x")], got)

    # ---- servers

    def policy(self):
        """A copy never leaves out rows because a policy hides them from the service user."""
        tool = self.fresh(1)
        (s,) = tool.servers
        s.sql("DROP ROLE IF EXISTS capture")
        s.sql("CREATE ROLE capture LOGIN REPLICATION")
        s.sql("INSERT INTO plain VALUES (1), (2); ALTER TABLE plain ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON plain USING (id = 1)", "app")
        s.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO capture; CREATE PUBLICATION pgbraid_cdc FOR ALL TABLES", "app")
        tool.user = "capture"
        self.restart(tool, "", wait=False)
        self.refused(tool, "row-level security")
        s.sql("ALTER ROLE capture BYPASSRLS")
        tool.catch_up()
        self.restart(tool)
        got = self.ids(tool, "plain")
        tool.kill()
        expect("rows", ([1, 2], []), got)

    def put_back(self):
        """A server that was put back to an older state, on the same timeline, is a gap."""
        (s,) = self.fleet.start(1, options=LOGICAL)
        tool, s = self.begin(servers=[s])
        s.sql("INSERT INTO plain VALUES (1)", "app")
        tool.catch_up()
        tool.kill()
        s.stop("fast")
        older = f"{s.folder}.older"
        pg.run_quiet(pg.as_server("cp", "-a", s.folder, older), "cp")
        s.start()
        self.restart(tool)
        s.sql("INSERT INTO plain SELECT g, 'lost' FROM generate_series(2, 3000) g", "app")
        tool.catch_up()
        tool.kill()
        s.stop("fast")
        shutil.rmtree(s.folder)
        os.rename(older, s.folder)
        s.start()
        s.sql("INSERT INTO plain VALUES (2, 'another life')", "app")
        self.restart(tool)
        replicas, _ = self.settle(tool)
        tool.stop()
        s.stop("immediate")
        gaps = replicas[0].gaps
        expect_that(f"a gap that says why: {gaps}", len(gaps) == 1 and "older state" in gaps[0])

    def refusals(self):
        """What a server refuses is said with what to do."""
        (s,) = self.fleet.start(1, options=[*LOGICAL, "max_wal_senders = 0"])
        tool = self.fresh(servers=[s])
        self.restart(tool, "", wait=False)
        self.refused(tool, "max_wal_senders")
        expect_that(tool.tail(), "raise max_wal_senders" in tool.tail())
        tool.kill()
        s.stop("immediate")

    def left_behind(self):
        """Slots that nobody reads any more are named: of a database that was taken out, of one that was captured once, of a data_dir that is lost."""
        self.fresh(2)
        servers = self.servers[:2]
        servers[0].sql("DROP DATABASE IF EXISTS plain")
        servers[0].sql("CREATE DATABASE plain")
        config = config_for(servers, {"plain": {"hash": ["id"]}}, auth={"admin_users": "postgres"}, service={"user": "postgres"},
                            cdc={"enabled": "on", "replica_identity": "full"})
        braid = Braid(f"{self.fleet.folder}/braid_left", config, build=self.args.build)
        self.fleet.at_end.append(braid.kill)

        def slots(count):
            """Of those who read: database and slot."""
            until = time.monotonic() + 60
            while time.monotonic() < until:
                rows = braid.sql("SHOW CDC", "pgbraid", user="postgres")
                if len(rows) == count and all(row[2] == "reading" for row in rows):
                    return {row[:2]: row[3] for row in rows}
                time.sleep(0.1)
            raise source.Wrong(f"{count} do not read: {rows}\n{braid.tail()}")

        def named(slot):
            until = time.monotonic() + 20
            while time.monotonic() < until:
                with open(braid.log_path, encoding="utf-8") as f:
                    lines = [line for line in f if "CDC_SLOT_LEFT" in line and f"slot={slot} " in line]
                if lines:
                    expect_that(lines[-1], f"pg_drop_replication_slot('{slot}')" in lines[-1])
                    return len(lines)
                time.sleep(0.1)
            raise source.Wrong(f"{slot} is not named\n{braid.tail()}")

        braid.start()
        first = slots(3)
        expect_that(braid.tail(), "CDC_SLOT_LEFT" not in braid.tail())
        del braid.config["databases"]["plain"]
        braid.write_files()
        braid.reload()
        expect("by a reload", 1, named(first["plain", "only"]))
        braid.config["cdc"]["enabled"] = "off"
        braid.write_files()
        braid.stop()
        braid.start()
        expect("by a start without change capture", [2, 1, 1], [named(slot) for slot in (first["plain", "only"], first["app", "shard0"], first["app", "shard1"])])
        braid.stop()
        shutil.rmtree(f"{braid.folder}/data")
        braid.config["cdc"]["enabled"] = "on"
        braid.write_files()
        braid.start()
        second = slots(2)
        expect("without data_dir", [2, 2], [named(first[key]) for key in second])
        braid.stop()
        for s in servers:
            s.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        servers[0].sql("DROP DATABASE plain")

    # ---- copies

    def long_transaction(self):
        """A copy that waits for a transaction holds up neither the stream nor its slot."""
        tool, s = self.begin("tries=300")
        s.sql("ALTER SYSTEM SET wal_sender_timeout = '2s'")
        s.sql("SELECT pg_reload_conf()")
        s.sql("BEGIN; INSERT INTO plain VALUES (1, 'left'); PREPARE TRANSACTION 'left'", "app")
        tool.process.send_signal(signal.SIGUSR1)
        until = time.monotonic() + 6
        number = 10
        while time.monotonic() < until:
            number += 1
            s.sql(f"INSERT INTO plain VALUES ({number})", "app")
            tool.wait(lambda look, n=number: any(r["op"] == "insert" and r["new"]["id"] == str(n) for r in tool.log(0)), "a row", 5)
            time.sleep(0.2)
        expect("attachments", 1, tool.look()[0]["attaches"])
        expect_that("who stands in the way", "CDC_WAITS" in tool.tail())
        s.sql("COMMIT PREPARED 'left'", "app")
        tool.wait(lambda look: look[0]["rows_copied"] >= number - 10 and look[0]["doing"] == "reading", "the copy")
        self.settle(tool)
        tool.stop()
        s.sql("ALTER SYSTEM RESET wal_sender_timeout")
        s.sql("SELECT pg_reload_conf()")
        source.expect_one_slot(s)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    args.short = True
    pg.stop_on_signals()
    report = Report(args.verbose, args.only)
    tool = source.build_tool(args.build)
    with pg.Fleet(keep=args.keep) as fleet:
        servers = fleet.start(2, options=LOGICAL)
        test = Test(args, tool, fleet, servers, report)
        for name in ("altered", "made_before", "dropped", "made_again", "out_and_in", "identities_gone", "policy", "put_back",
                     "refusals", "left_behind", "long_transaction"):
            report.run(name, getattr(test, name))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
