#!/usr/bin/python3
"""`make demo`: three PostgreSQL servers, pgbraid in front, a shop, a tour.

    demo.py start [--exit]    --exit: check every answer, stop all, say so by the exit status
    demo.py stop

DEMO_SHARD_PORT (first of three), DEMO_PORT and DEMO_HTTP_PORT choose other ports.
"""

import argparse
import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import pg  # noqa: E402
from braid import ROOT, Braid, build_dir  # noqa: E402
from report import Failed  # noqa: E402
from shop import SCHEMA, Shop  # noqa: E402
from tour import Tour  # noqa: E402

FOLDER = os.path.join(ROOT, "build", "demo")
COPY_ROWS = 20_000
STATE = os.path.join(FOLDER, "state.json")

CONFIG = """\
# Written by `make demo`.
listen: ["127.0.0.1:{port}"]
http: "127.0.0.1:{http_port}"
data_dir: ./data
workers: 2
auth: {{ method: scram-sha-256, users_file: users.txt }}
servers:
  s0: {{ host: 127.0.0.1, port: {ports[0]} }}
  s1: {{ host: 127.0.0.1, port: {ports[1]} }}
  s2: {{ host: 127.0.0.1, port: {ports[2]} }}
databases:
  app:
    shards: {{ shard0: {{ primary: s0 }}, shard1: {{ primary: s1 }}, shard2: {{ primary: s2 }} }}
  plain:
    shards: {{ only: {{ primary: s0 }} }}
"""


def fail(text):
    print(f"demo: {text}", file=sys.stderr)
    sys.exit(1)


def port_of(name, default):
    text = os.environ.get(name) or str(default)
    if not text.isdigit() or not 1 <= int(text) <= 65533:
        fail(f"{name}={text} is not a port number")
    return int(text)


class DemoBraid(Braid):
    """With a configuration for people to read."""

    def __init__(self, folder, text, users, port, http_port):
        self.text = text
        super().__init__(folder, {}, users, port=port, http_port=http_port)

    def write_files(self):
        super().write_files()
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(self.text)


class Demo:
    def __init__(self):
        self.is_terminal = sys.stdout.isatty()
        first = port_of("DEMO_SHARD_PORT", 5501)
        self.shard_ports = [first, first + 1, first + 2]
        self.port = port_of("DEMO_PORT", 6432)
        self.http_port = port_of("DEMO_HTTP_PORT", 6480)
        self.password = secrets.token_hex(6)
        self.servers = []
        self.braid = None
        self.fleet = None

    def dsn(self, dbname):
        return f"host=127.0.0.1 port={self.port} user=app dbname={dbname}"

    def sql(self, statement):
        return self.braid.sql(statement, password=self.password)

    def stats(self):
        return self.braid.stats()

    # ---- starting --------------------------------------------------------------------------------

    def check_ports(self):
        busy = [p for p in (*self.shard_ports, self.port, self.http_port) if not pg.port_is_free(p)]
        if busy:
            listed = ", ".join(map(str, busy))
            fail(f"something listens already on port {listed}. Choose others, for example:\n"
                 "    make demo DEMO_SHARD_PORT=5601 DEMO_PORT=7432 DEMO_HTTP_PORT=7480\n"
                 "(DEMO_SHARD_PORT is the first of three)")

    def choose_folder(self):
        """build/demo, unless the user postgres cannot go there or the path is too long for a socket."""
        os.makedirs(FOLDER, exist_ok=True)
        reach = subprocess.run(pg.as_server("test", "-x", FOLDER), cwd="/", check=False).returncode == 0
        if reach and len(FOLDER) < 80:
            return FOLDER
        folder = f"/tmp/pgbraid_demo_{self.port}"
        print(f"demo: PostgreSQL cannot use {FOLDER}; the data goes to {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def start_servers(self):
        print(f"Starting three PostgreSQL servers on ports {', '.join(map(str, self.shard_ports))}")
        self.fleet = pg.Fleet(self.choose_folder())
        hba = ["host all all 127.0.0.1/32 scram-sha-256"]
        self.servers = self.fleet.start(3, self.shard_ports, hba=hba)
        for server in self.servers:
            pg.prepare(server, users=(("app", self.password),))

    def start_braid(self):
        print(f"Starting pgbraid on port {self.port}, HTTP on {self.http_port}")
        text = CONFIG.format(port=self.port, http_port=self.http_port, ports=self.shard_ports)
        self.braid = DemoBraid(self.fleet.folder, text, {"app": self.password}, self.port, self.http_port)
        self.fleet.at_end.append(self.braid.stop)
        self.braid.start()

    def save_state(self):
        state = {"folder": self.fleet.folder, "pid": self.braid.process.pid, "config": self.braid.path,
                 "servers": [{"folder": s.folder, "port": s.port} for s in self.servers]}
        with open(STATE, "w", encoding="utf-8") as f:
            json.dump(state, f)

    # ---- loading ---------------------------------------------------------------------------------

    def progress(self, table, rows_count, seconds, done):
        rate = f"{done / max(seconds, 0.001):,.0f} rows/s"
        if self.is_terminal:
            filled = 30 * done // rows_count
            print(f"\r  {table:<12} [{'#' * filled:<30}] {done:>9,} rows  {rate:<16}", end="", flush=True)
        elif done == rows_count:
            print(f"  {table:<12} {done:>9,} rows  {rate}", flush=True)

    def load(self, shop):
        for statement in SCHEMA:
            self.sql(statement)
        connection = self.braid.connect(password=self.password)
        with connection.cursor() as cursor:
            for table, make in shop.tables:
                lines = make()
                shop.rows_count[table] = len(lines)
                begin = time.monotonic()

                for at in range(0, len(lines), COPY_ROWS):
                    part = lines[at:at + COPY_ROWS]
                    cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO("".join(part)))
                    if cursor.rowcount != len(part):
                        raise Failed(f"COPY {table}: {cursor.rowcount} rows of {len(part)}")
                    self.progress(table, len(lines), time.monotonic() - begin, at + len(part))
                if self.is_terminal:
                    print()
        connection.close()

    def start(self, leave):
        begin = time.monotonic()
        if is_running():
            fail("it runs already; `make demo-stop` stops it")
        if not os.path.exists(os.path.join(build_dir(), "pgbraid")):
            fail("build/release/pgbraid is missing; run make")
        self.check_ports()
        shutil.rmtree(FOLDER, ignore_errors=True)
        pg.stop_on_signals()
        self.start_servers()
        self.start_braid()
        print("Creating the shop and loading it through COPY")
        shop = Shop()
        self.load(shop)
        tour = Tour(self, shop)
        tour.run()
        seconds = time.monotonic() - begin
        if leave:
            print(f"\nDemo: {tour.checks} answers checked, all right; {seconds:.0f} s")
            status = self.braid.stop()
            self.fleet.close()
            shutil.rmtree(FOLDER, ignore_errors=True)
            if status != 0:
                fail(f"pgbraid ended with exit status {status}")
        else:
            self.save_state()
            self.fleet.detach()
            print(f"\nAll of it is up (it took {seconds:.0f} s). Your turn:\n\n"
                  f'    PGPASSWORD={self.password} psql "{self.dsn("app")}"\n\n'
                  f"The password of app is {self.password}. The admin console is the database pgbraid: SHOW HELP.\n"
                  f"The configuration is {self.braid.path}.\n"
                  "`make demo-stop` stops everything and deletes the data.")


# ---- stopping ------------------------------------------------------------------------------------


def read_state():
    try:
        with open(STATE, encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


def is_ours(state):
    """Whether the process of the state file still is that pgbraid."""
    try:
        with open(f"/proc/{state['pid']}/cmdline", "rb") as f:
            return state["config"].encode() in f.read().split(b"\0")
    except OSError:
        return False


def is_running():
    state = read_state()
    return state is not None and is_ours(state)


def stop():
    state = read_state()
    if state is None:
        print("demo: nothing to stop")
        return
    if is_ours(state):
        os.kill(state["pid"], signal.SIGTERM)
        until = time.monotonic() + 30
        while is_ours(state) and time.monotonic() < until:
            time.sleep(0.05)
    for s in state["servers"]:
        pg.Server(s["folder"], s["port"]).stop()
    shutil.rmtree(state["folder"], ignore_errors=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    print("demo: stopped, data deleted")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["start", "stop"])
    parser.add_argument("--exit", action="store_true")
    args = parser.parse_args()
    if args.what == "stop":
        stop()
        return
    demo = Demo()
    try:
        demo.start(args.exit)
    except (Failed, RuntimeError, pg.psycopg2.Error) as e:
        log = demo.braid.tail() if demo.braid else ""
        if demo.fleet:
            demo.fleet.close()
        fail(f"{e}\n--- the end of pgbraid's log ---\n{log}")
    except KeyboardInterrupt:
        if demo.fleet:
            demo.fleet.close()
        fail("interrupted; everything is stopped")


if __name__ == "__main__":
    main()
