"""What is measured: PostgreSQL servers, and the proxies in front of them, all of our own."""

import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "regress"))

import psycopg2  # noqa: E402

import braid  # noqa: E402
import cost  # noqa: E402
import pg  # noqa: E402

BIN = pg.BIN
leave_on_signals = pg.stop_on_signals

SHARDS = 3
MANY = 2000          # databases, and users, of the row about thousands of them
MANY_ASKED = 100     # of these databases somebody has asked something
POOL = 20            # server connections of a pool, for every proxy
SESSION_POOL = 100   # PgBouncer's session pooling needs one for each client
USER, SCRAM_USER, PASSWORD = "app", "login", "a password of the bench"
TABLES = {
    "pgbench_accounts": {"hash": ["aid"]},
    "pgbench_history": {"hash": ["aid"], "colocate": "pgbench_accounts"},
    "pgbench_tellers": {"hash": ["tid"]},
    "pgbench_branches": {"hash": ["bid"]},
}
GRANT = f"GRANT SELECT ON pgbench_accounts, pgbench_branches TO {SCRAM_USER}"


class Failure(Exception):
    """Something of the bench does not work; the text is for people."""


class Target:
    """A place to connect to, and the process whose cost counts (None: no proxy)."""

    def __init__(self, name, port, dbname, servers, pid=None, user=USER, tls=False):
        self.name = name
        self.port = port
        self.dbname = dbname
        self.servers = servers
        self.pid = pid
        self.user = user
        self.tls = tls

    def words(self):
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", self.user]

    def connect(self):
        c = psycopg2.connect(host="127.0.0.1", port=self.port, dbname=self.dbname, user=self.user,
                             password=PASSWORD)
        c.autocommit = True
        return c


class Bouncer:
    """A PgBouncer. It refuses to run as root."""

    def __init__(self, folder, server, method, users, more=None, databases=()):
        self.path = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        self.folder = folder
        self.port = pg.free_ports(1)[0]
        os.makedirs(folder)
        settings = {
            "listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": "",
            "auth_type": method, "auth_file": f"{folder}/users.txt",
            "default_pool_size": POOL, "max_client_conn": 20000,
            "log_connections": 0, "log_disconnections": 0, "log_stats": 0, **(more or {}),
        }
        where = f"host=127.0.0.1 port={server.port} dbname=plain"
        with open(f"{folder}/pgbouncer.ini", "w", encoding="utf-8") as f:
            f.write("[databases]\n")
            f.write(f"plain = {where} pool_mode=transaction\n")
            f.write(f"plain_session = {where} pool_mode=session pool_size={SESSION_POOL}\n")
            f.writelines(f"{name} = {where} pool_mode=transaction\n" for name in databases)
            f.write("[pgbouncer]\n")
            f.writelines(f"{name} = {value}\n" for name, value in settings.items())
        with open(f"{folder}/users.txt", "w", encoding="utf-8") as f:
            f.writelines(f'"{user}" "{secret}"\n' for user, secret in users.items())
        self.process = None

    def start(self):
        other = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        with open(f"{self.folder}/log", "wb") as log:
            self.process = subprocess.Popen([self.path, f"{self.folder}/pgbouncer.ini"], cwd="/",
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, **other)
        until = time.monotonic() + 10
        while pg.port_is_free(self.port):
            if self.process.poll() is not None or time.monotonic() > until:
                with open(f"{self.folder}/log", encoding="utf-8") as f:
                    raise Failure(f"PgBouncer does not start\n{f.read()[-2000:]}")
            time.sleep(0.02)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Stage:
    """
    Everything that runs: three servers; `plain` with all rows on the first, `app` over all three;
    PgBouncer and pgbraid with trust, and once more with SCRAM.
    """

    def __init__(self, scale, workers, say):
        self.scale = scale
        self.workers = workers
        self.say = say
        self.broken = {}  # name of a target: why it cannot be used
        self.fleet = pg.Fleet()
        self.braids = {}
        self.bouncers = {}

    def start(self):
        self.say("starting PostgreSQL servers")
        # Every connection that can be open at once: direct, and the pools of all proxies.
        options = ["max_connections = 1000", "shared_buffers = 384MB", "max_wal_size = 4GB",
                   "checkpoint_timeout = 1h"]
        hba = [f"host all {SCRAM_USER} 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 trust"]
        self.servers = self.fleet.start(SHARDS, options=options, hba=hba)
        self._make_roles()
        self._start_proxies()
        self._load()

    def _make_roles(self):
        first, *rest = self.servers
        pg.prepare(first, users=((USER, PASSWORD), (SCRAM_USER, PASSWORD)))
        rows = first.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", params=(SCRAM_USER,))
        self.verifier = rows[0][0]
        for server in rest:
            pg.prepare(server, users=((USER, PASSWORD), (SCRAM_USER, self.verifier)))

    def _start_proxies(self):
        self.start_bouncer("trust", "trust")
        self.start_bouncer("scram", "scram-sha-256")
        self.start_braid("trust", "trust", self.workers)
        self.start_braid("one", "trust", 1)
        self.start_braid("scram", "scram-sha-256", self.workers)
        self._make_certificate()
        files = {"cert": self.certificate, "key": self.key}
        tls = {"client_tls_sslmode": "require", "client_tls_cert_file": self.certificate,
               "client_tls_key_file": self.key}
        for name, method in (("tls", "trust"), ("scram_tls", "scram-sha-256")):
            self.start_bouncer(name, method, tls)
            self.start_braid(name, method, self.workers, tls={"client": {"mode": "require", **files}})
        self._start_many()
        self.start_braid("all", "trust", self.workers, pool={"prepare_unnamed": "all"})

    def _make_certificate(self):
        """RSA of 2048 bits, as most have."""
        folder = f"{self.fleet.folder}/tls"
        os.makedirs(folder)
        self.certificate, self.key = f"{folder}/server.crt", f"{folder}/server.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-keyout", self.key, "-out", self.certificate],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        if os.getuid() == 0:
            shutil.chown(self.key, "postgres")

    def _start_many(self):
        """Proxies with thousands of databases and users, some of them in use."""
        names = [f"plain{i}" for i in range(MANY)]
        users = {USER: PASSWORD, **{f"user{i}": PASSWORD for i in range(MANY)}}
        self.start_bouncer("many", "trust", databases=names, users=users)
        self.start_braid("many", "trust", self.workers, users=users,
                         databases={name: {"dbname": "plain", "shards": {"only": {"primary": "s0"}}}
                                    for name in names})

    def ask_many(self, target):
        """Each of these pools has a server connection then."""
        for i in range(MANY_ASKED):
            Target(target.name, target.port, f"plain{i}", target.servers).connect().close()

    def start_bouncer(self, name, method, more=None, databases=(), users=None):
        # With the stored verifier, not the password: its best case, one PBKDF2 less for each login.
        users = users or ({USER: PASSWORD} if method == "trust" else {SCRAM_USER: self.verifier})
        one = Bouncer(f"{self.fleet.folder}/pgbouncer_{name}", self.servers[0], method, users, more, databases)
        self.fleet.at_end.append(one.stop)
        one.start()
        self.bouncers[name] = one

    def start_braid(self, name, method, workers, users=None, databases=None, pool=None, **sections):
        users = users or {USER: PASSWORD, SCRAM_USER: self.verifier}
        config = braid.config_for(self.servers, TABLES, workers=workers, log={"level": "warn"},
                                  auth={"method": method}, service={"user": USER},
                                  pool={"mode": "transaction", "size": POOL, "max_clients": 20000, **(pool or {})},
                                  **sections)
        config["databases"].update(databases or {})
        one = braid.Braid(f"{self.fleet.folder}/pgbraid_{name}", config, users)
        if not os.access(one.binary, os.X_OK):
            raise Failure(f"{one.binary} is not there: run make first")
        self.fleet.at_end.append(one.kill)
        one.start()
        self.braids[name] = one

    def _load(self):
        plain = self.direct()
        self.say(f"loading {self.scale * 100000} accounts into one server")
        self._pgbench_init(plain)
        self.servers[0].sql(GRANT, "plain")
        app = self.braid("app", "trust")
        self.say(f"loading the same through pgbraid into {SHARDS} shards")
        try:
            self._pgbench_init(app)
            if self._sizes(app) != self._sizes(plain):
                raise Failure(f"{self._sizes(app)} accounts instead of {self._sizes(plain)}")
        except (Failure, psycopg2.Error) as e:
            self.broken["app"] = f"loading failed: {e}"
        for server in self.servers:
            for dbname in ("plain", "app"):
                server.sql("VACUUM ANALYZE", dbname)
            server.sql("CHECKPOINT")

    def _pgbench_init(self, target):
        words = [f"{pg.BIN}/pgbench", "-i", "-q", "-s", str(self.scale), *target.words(), target.dbname]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise Failure("pgbench -i: " + last_words(done.stdout))

    def _sizes(self, target):
        c = target.connect()
        try:
            with c.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pgbench_accounts")
                return cursor.fetchone()[0]
        finally:
            c.close()

    # ---- targets ----

    def direct(self, user=USER):
        return Target("direct", self.servers[0].port, "plain", self.servers[:1], user=user)

    def bouncer(self, dbname="plain", which="trust", user=USER):
        one = self.bouncers[which]
        name = "PgBouncer, session" if dbname == "plain_session" else "PgBouncer"
        return Target(name, one.port, dbname, self.servers[:1], one.process.pid, user, "tls" in which)

    def braid(self, dbname="plain", which="trust", user=USER):
        one = self.braids[which]
        name = {"one": "pgbraid, 1 worker", "all": "pgbraid, all"}.get(which, "pgbraid")
        name = f"pgbraid, {SHARDS} shards" if dbname == "app" else name
        servers = self.servers if dbname == "app" else self.servers[:1]
        return Target(name, one.port, dbname, servers, one.process.pid, user, "tls" in which)

    def stats(self):
        return self.braids["trust"].stats()

    def close(self):
        self.fleet.close()


def last_words(text):
    lines = [line for line in text.splitlines() if line.strip()]
    wanted = [line for line in lines if "error" in line.lower() or "fatal" in line.lower()]
    return (wanted or lines or ["no output"])[0][:300]


class Run:
    """One run of pgbench, seen from outside."""

    def __init__(self, text, seconds, proxy, servers, ours, machine):
        count = re.search(r"number of transactions actually processed: (\d+)", text)
        tps = re.search(r"^tps = ([\d.]+)", text, re.M)
        latency = re.search(r"^latency average = ([\d.]+) ms", text, re.M)
        self.count = int(count.group(1)) if count else 0
        if self.count == 0 or not tps:
            raise Failure("pgbench made no transaction: " + last_words(text))
        self.tps = float(tps.group(1))
        self.latency_ms = float(latency.group(1)) if latency else None
        self.proxy_us = None if proxy is None else proxy * 1e6 / self.count
        self.server_us = servers * 1e6 / self.count
        others = machine - ours - servers - (proxy or 0)
        self.others = max(0.0, others / seconds / os.cpu_count())


def run_pgbench(target, words, clients, seconds=None, count=None):
    """pgbench for some seconds, or `count` transactions; a Run. Raises Failure."""
    limit = ["-T", str(seconds)] if count is None else ["-t", str(max(1, count // clients))]
    command = [f"{pg.BIN}/pgbench", "-n", "-c", str(clients), "-j", str(min(clients, os.cpu_count())),
               *limit, *words, *target.words(), target.dbname]
    posts = [server.pid() for server in target.servers]
    machine = cost.machine_seconds()
    servers = sum(cost.family_seconds(p) for p in posts)
    proxy = target.pid and cost.cpu_seconds(target.pid)
    ours = os.times()
    begin = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, cwd="/",
                          env={**os.environ, "PGPASSWORD": PASSWORD,
                               "PGSSLMODE": "require" if target.tls else "disable"})
    took = time.monotonic() - begin
    proxy = None if target.pid is None else cost.cpu_seconds(target.pid) - proxy
    servers = sum(cost.family_seconds(p) for p in posts) - servers
    machine = cost.machine_seconds() - machine
    now = os.times()
    mine = sum(now[:4]) - sum(ours[:4])
    if done.returncode != 0:
        raise Failure(last_words(done.stdout))
    return Run(done.stdout, took, proxy, servers, mine, machine)
