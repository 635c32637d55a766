"""PostgreSQL servers of our own, in a folder that is deleted at the end.

A `Fleet` makes one data folder with initdb and copies it for every server. PostgreSQL refuses to run
as root: then everything of it runs as the user postgres. Nothing listens beyond 127.0.0.1.
"""

import atexit
import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import psycopg2

SUPERUSER = "postgres"


def find_bin():
    """The folder of the newest PostgreSQL up to 18, but 15 (what we test with) when it is there."""
    if os.environ.get("PGBIN"):
        return os.environ["PGBIN"]
    found = {int(p.split("/")[-2]): p for p in glob.glob("/usr/lib/postgresql/[0-9]*/bin")}
    if not found:
        sys.exit("regress: no PostgreSQL server programs; run conf/install-deps")
    return found.get(15, found[max(found)])


BIN = find_bin()


def version():
    """15 and so on."""
    text = subprocess.run([f"{BIN}/postgres", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(text.split()[2].split(".")[0])


def as_server(*words):
    """The command, run as a user that PostgreSQL accepts."""
    return ["runuser", "-u", "postgres", "--", *words] if os.getuid() == 0 else list(words)


def run_quiet(words, what):
    done = subprocess.run(words, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{what}: exit status {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


# `make check` gives each of its lanes a part: what one has stopped and starts again keeps its ports.
PORTS = range(*map(int, os.environ.get("REGRESS_PORTS", "12000-32000").split("-")))


def free_ports(count, among=PORTS):
    """
    Ports nobody listens on at this moment. Not from the kernel's own range (32768 on): between our
    question and the server's start, somebody's outgoing connection could take one of those.
    """
    rng = random.SystemRandom()
    found = []
    while len(found) < count:
        port = rng.choice(among)
        if port not in found and port_is_free(port):
            found.append(port)
    return found


def free_port_run(count, among=PORTS):
    """The first of `count` ports one after the other, as free_ports() chooses."""
    while True:
        first = free_ports(1, among)[0]
        if all(port_is_free(first + i) for i in range(count)):
            return first


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            s.listen(1)
        except OSError:
            return False
        return True


class Server:
    """One PostgreSQL server. `options` are lines of postgresql.conf, `hba` those of pg_hba.conf."""

    def __init__(self, folder, port):
        self.folder = folder
        self.port = port
        self.log = f"{folder}.log"
        self.socket_dir = os.path.dirname(folder)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        if os.getuid() == 0:
            shutil.chown(path, "postgres", "postgres")
        os.chmod(path, 0o600)
        return path

    def configure(self, options=(), hba=()):
        lines = [
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self.socket_dir}'",
            "max_prepared_transactions = 100",
            "max_connections = 200",
            "shared_buffers = 64MB",
            "autovacuum = off",
            "log_line_prefix = '%m [%p] %u@%d '",
            "log_destination = 'stderr'",
            *options,
        ]
        self.write("postgresql.auto.conf", "\n".join(lines) + "\n")
        rules = hba or ["host all all 127.0.0.1/32 trust"]
        self.write("pg_hba.conf", "\n".join(["local all postgres trust", *rules]) + "\n")

    def ctl(self, *words):
        return run_quiet(as_server(f"{BIN}/pg_ctl", "-D", self.folder, *words), f"pg_ctl {words}")

    def start(self):
        try:
            self.ctl("-w", "-t", "60", "-s", "-l", self.log, "start")
        except RuntimeError as e:
            raise RuntimeError(f"{e}\n{self.tail()}") from None

    def stop(self, mode="fast"):
        self.resume()
        if self.pid() is not None:
            self.ctl("-w", "-t", "60", "-s", "-m", mode, "stop")

    def restart(self, mode="immediate"):
        self.stop(mode)
        self.start()

    def reload(self):
        self.ctl("-s", "reload")

    def pid(self):
        try:
            with open(os.path.join(self.folder, "postmaster.pid"), encoding="utf-8") as f:
                pid = int(f.readline())
            os.kill(pid, 0)
            return pid
        except (OSError, ValueError):
            return None

    def children(self):
        """The postmaster and all its processes."""
        pid = self.pid()
        if pid is None:
            return []
        out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], stdout=subprocess.PIPE,
                             text=True, check=False).stdout
        return [pid, *map(int, out.split())]

    def signal_all(self, sig):
        for pid in self.children():
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass

    def freeze(self):
        """SIGSTOP to the postmaster and its processes: connections stay, nothing answers."""
        self.signal_all(signal.SIGSTOP)

    def resume(self):
        self.signal_all(signal.SIGCONT)

    def tail(self, lines=20):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""

    def connect(self, dbname="postgres", user=SUPERUSER, **more):
        """A connection of the superuser over the socket, beside the proxy; autocommit."""
        host = more.pop("host", self.socket_dir)
        c = psycopg2.connect(host=host, port=self.port, dbname=dbname, user=user, **more)
        c.autocommit = True
        return c

    def sql(self, statement, dbname="postgres", params=None):
        """Rows of one statement of the superuser, None when it has none."""
        c = self.connect(dbname)
        try:
            with c.cursor() as cur:
                cur.execute(statement, params)
                return cur.fetchall() if cur.description else None
        finally:
            c.close()

    def wait_sql(self, statement, accept, dbname="postgres", seconds=15):
        """Ask until accept(rows) or the time is over; the last rows."""
        until = time.monotonic() + seconds
        while True:
            rows = self.sql(statement, dbname)
            if accept(rows) or time.monotonic() > until:
                return rows
            time.sleep(0.05)


class Fleet:
    """Servers in one folder: `with Fleet() as fleet: a, b = fleet.start(2)`."""

    def __init__(self, folder=None, keep=False):
        self.keep = keep
        self.folder = folder or tempfile.mkdtemp(prefix="pgbraid_test.", dir="/tmp")
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o755)
        self.pg = os.path.join(self.folder, "pg")
        self.servers = []
        self.at_end = []  # called before the servers stop
        self._template = os.path.join(self.pg, "template")
        atexit.register(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _make_template(self):
        os.makedirs(self.pg, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.pg, "postgres", "postgres")
        run_quiet(as_server(f"{BIN}/initdb", "-N", "-A", "trust", "-U", SUPERUSER, "-E", "UTF8",
                            "--locale=C.UTF-8", "-D", self._template), "initdb")

    def add(self, port=None, fsync=False, options=(), hba=()):
        """A server, not started yet."""
        if not os.path.isdir(self._template):
            self._make_template()
        folder = os.path.join(self.pg, f"s{len(self.servers)}")
        run_quiet(as_server("cp", "-a", self._template, folder), "cp")
        server = Server(folder, port or free_ports(1)[0])
        fast = [] if fsync else ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]
        server.configure([*fast, *options], hba)
        self.servers.append(server)
        return server

    def start(self, count, ports=None, **more):
        ports = ports or free_ports(count)
        added = [self.add(port, **more) for port in ports]
        for server in added:
            server.start()
        return added

    def detach(self):
        """Leave everything running and in place when the program ends."""
        atexit.unregister(self.close)

    def close(self):
        atexit.unregister(self.close)
        for end in reversed(self.at_end):
            end()
        self.at_end = []
        for server in self.servers:
            try:
                server.stop("immediate")
            except RuntimeError as e:
                print(f"regress: {e}", file=sys.stderr)
        if self.keep:
            print(f"regress: kept {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def stop_on_signals():
    """SIGTERM and SIGHUP end the program as Ctrl-C does: with everything cleaned up."""
    def leave(number, _):
        sys.exit(128 + number)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    # Shells ignore these for what they start in the background, and children inherit that.
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def prepare(server, databases=("app", "plain"), users=(("app", "secret"),), owner="app"):
    """Roles and databases as the proxy's configuration names them."""
    for name, password in users:
        server.sql(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'")
    for name in databases:
        server.sql(f'CREATE DATABASE "{name}" OWNER "{owner}"')
