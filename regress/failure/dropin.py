"""PgBouncer's place: its configuration file, command line, log and console, with PgBouncer beside."""

import collections
import os
import pwd
import re
import shutil
import signal
import subprocess
import time

import psycopg2

import pg
from braid import build_dir
from place import expect_error, wait_for
from report import expect, expect_that

PGBOUNCER = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
EXAMPLES = ("/usr/share/doc/pgbouncer/examples/pgbouncer.ini", "/etc/pgbouncer/pgbouncer.ini")


class Pooler:
    """One of the two with a pgbouncer.ini in a folder of its own; both write the same files."""

    def __init__(self, place, kind, ini, users=(), words=(), ready=True):
        place.count += 1
        self.kind = kind
        self.folder = os.path.join(place.fleet.folder, f"{kind}{place.count}")
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o777)
        self.port = pg.free_ports(1)[0]
        self.log_path = os.path.join(self.folder, "pooler.log")
        self.pid_path = os.path.join(self.folder, "pooler.pid")
        self.write("users.txt", "".join(f'"{name}" "{secret}"\n' for name, secret in users))
        self.path = self.write("pgbouncer.ini", self.complete(ini))
        self.binary = os.path.join(build_dir(place.build), "pgbraid")
        self.process = None
        place.fleet.at_end.append(self.kill)
        if ready:
            self.start(*words)

    def complete(self, ini):
        """The addresses and files of this one, in front of what the test says."""
        head = (f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
                f"unix_socket_dir = {self.folder}\nauth_file = {self.folder}/users.txt\n"
                f"logfile = {self.log_path}\npidfile = {self.pid_path}\n")
        return head + ini

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def command(self, *words):
        if self.kind == "pgbouncer":
            return pg.as_server(PGBOUNCER, *words, self.path)
        return [self.binary, *words, self.path]

    def start(self, *words):
        self.process = subprocess.Popen(self.command("-q", *words), cwd=self.folder,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_for(f"{self.kind} listens", lambda: not pg.port_is_free(self.port))

    def connect(self, dbname="app", user="plain", password="pw", **more):
        target = {"host": "127.0.0.1", "port": self.port, "dbname": dbname, "user": user,
                  "password": password, "connect_timeout": 20, **more}
        connection = psycopg2.connect(**target)
        connection.autocommit = True
        return connection

    def sql(self, statement, *where, **more):
        connection = self.connect(*where, **more)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def console(self, statement):
        """Rows as dictionaries."""
        connection = self.connect("pgbouncer", "plain")
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                names = [c[0] for c in cursor.description or ()]
                return [dict(zip(names, row)) for row in (cursor.fetchall() if names else [])]
        finally:
            connection.close()

    def pid(self):
        with open(self.pid_path, encoding="ascii") as f:
            return int(f.read())

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        """The exit status after SIGINT, once nobody is connected."""
        if self.process is None:
            return None
        os.kill(self.pid(), signal.SIGINT)
        return self.process.wait(20)

    def kill(self):
        if self.process is None or self.process.poll() is not None:
            return
        try:
            os.kill(self.pid(), signal.SIGKILL)  # as another user it is a child of what we started
        except (OSError, ValueError):
            pass
        self.process.kill()
        self.process.wait()


class Setting:
    """A server with users of every kind, and the file that the tests share."""

    def __init__(self, place):
        server = place.fleet.add(hba=["host all u_scram,wrong 127.0.0.1/32 scram-sha-256",
                                      "host all all 127.0.0.1/32 trust"])
        server.start()
        self.server = server
        for name in ("plain", "u_scram", "u_md5", "forced", "wrong", "limited"):
            server.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'pw'")
        for name in ("app", "other"):
            server.sql(f"CREATE DATABASE {name}")
        verifier = server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'u_scram'")[0][0]
        self.users = [("plain", "pw"), ("u_scram", verifier), ("wrong", "not this one"),
                      ("u_md5", server.sql("SELECT 'md5' || md5('pwu_md5')")[0][0]),
                      ("limited", "pw"), ("ghost", "pw")]
        self.databases = f"""[databases]
app = host=127.0.0.1 port={server.port}
renamed = host=127.0.0.1 port={server.port} dbname=other
forced = host=127.0.0.1 port={server.port} dbname=app user=forced
tuned = host=127.0.0.1 port={server.port} dbname=app pool_size=3 pool_mode=session timezone='Asia/Tokyo' connect_query='SET work_mem = 12345'
missing = host=127.0.0.1 port={server.port} dbname=nowhere
away = host=127.0.0.1 port=1 dbname=app
* = host=127.0.0.1 port={server.port}
[users]
limited = pool_mode=statement max_user_connections=2
"""

    def ini(self, settings=""):
        return f"admin_users = plain\nserver_login_retry = 1\nquery_wait_timeout = 3\n{settings}\n" + self.databases


def both(place, setting, settings="", users=None):
    """PgBouncer, when there is one, and pgbraid."""
    kinds = ["pgbouncer", "pgbraid"] if os.access(PGBOUNCER, os.X_OK) else ["pgbraid"]
    return [Pooler(place, kind, setting.ini(settings), users or setting.users) for kind in kinds]


def compare(poolers, what, ask, wanted=None):
    """All give the same answer, and the one that is wanted."""
    answers = [ask(p) for p in poolers]
    for pooler, answer in zip(poolers, answers):
        expect(f"{pooler.kind}: {what}", answers[0] if wanted is None else wanted, answer)


def let_in(pooler, *where, **more):
    """Who somebody is in there, or that they were turned away."""
    try:
        return pooler.sql("SELECT current_user::text, current_database()::text", *where, **more)[0]
    except psycopg2.OperationalError:
        return "refused"


# ---- clients ----


def test_logins(place, setting):
    tries = [
        ("a plain secret", ("app", "plain", "pw"), ("plain", "app")),
        ("a wrong password", ("app", "plain", "no"), "refused"),
        ("nobody we know", ("app", "zoe", "pw"), "refused"),
        ("a SCRAM secret", ("app", "u_scram", "pw"), ("u_scram", "app")),
        ("a SCRAM secret, wrong password", ("app", "u_scram", "no"), "refused"),
        ("an md5 secret", ("app", "u_md5", "pw"), ("u_md5", "app")),
        ("a user the server does not know", ("app", "ghost", "pw"), "refused"),
        ("a password the server does not take", ("app", "wrong", "not this one"), "refused"),
        ("another name of a database", ("renamed", "plain", "pw"), ("plain", "other")),
        ("a forced user", ("forced", "plain", "pw"), ("forced", "app")),
        ("a database by *", ("other", "plain", "pw"), ("plain", "other")),
        ("a database that is not there", ("missing", "plain", "pw"), "refused"),
        ("no such database anywhere", ("nosuch", "plain", "pw"), "refused"),
    ]
    poolers = both(place, setting)
    for what, where, wanted in tries:
        compare(poolers, what, lambda p, where=where: let_in(p, *where), wanted)
    def names(p):
        return {r["name"]: r["database"] for r in p.console("SHOW DATABASES") if r["name"] != "pgbouncer"}
    found = [names(p) for p in poolers]
    expect_that(f"SHOW DATABASES has those by *, too: {found}",
                all(f["other"] == "other" and f["renamed"] == "other" for f in found))
    compare(poolers, "by unix socket", lambda p: let_in(p, "app", host=p.folder), ("plain", "app"))
    for pooler in poolers:
        expect(f"{pooler.kind} stops well", 0, pooler.stop())
        expect(f"{pooler.kind}: the pid file is gone", False, os.path.exists(pooler.pid_path))


def test_auth_types(place, setting):
    for method, ghost, stranger in (("trust", ("plain", "app"), "refused"),
                                    ("plain", "refused", "refused"),
                                    ("scram-sha-256", "refused", "refused")):
        poolers = both(place, setting, f"auth_type = {method}")
        compare(poolers, f"{method}: right", lambda p: let_in(p, "app", "plain", "pw"), ("plain", "app"))
        compare(poolers, f"{method}: wrong", lambda p, g=ghost: let_in(p, "app", "plain", "no"), ghost)
        compare(poolers, f"{method}: stranger", lambda p: let_in(p, "app", "zoe", "pw"), stranger)
        for pooler in poolers:
            pooler.stop()
    braid = Pooler(place, "pgbraid", setting.ini("auth_type = any"), setting.users)
    expect("any: nobody is asked who he is", ("forced", "app"), let_in(braid, "forced", "zoe", "no"))
    braid.stop()


def test_what_a_line_says(place, setting):
    poolers = both(place, setting, "ignore_startup_parameters = extra_float_digits\n"
                                   "application_name_add_host = 1\nmax_client_conn = 20\n")
    compare(poolers, "settings of a database", lambda p: p.sql(
        "SELECT current_setting('TimeZone'), current_setting('work_mem')", "tuned"),
        [("Asia/Tokyo", "12345kB")])

    def modes(p):
        held = [p.connect(*where) for where in (("app",), ("tuned",), ("app", "limited"))]
        for c in held:
            with c.cursor() as cursor:
                cursor.execute("SELECT 1")
        rows = {(r["database"], r["user"]): r["pool_mode"] for r in p.console("SHOW POOLS")}
        for c in held:
            c.close()
        return [rows.get(k) for k in (("app", "plain"), ("tuned", "plain"), ("app", "limited"))]
    compare(poolers, "pool modes", modes, ["session", "session", "statement"])

    def name_of(p):
        name = p.sql("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()",
                     application_name="me")[0][0]
        return re.sub(r":\d+$", ":*", name)
    compare(poolers, "application_name", name_of, "me - 127.0.0.1:*")
    compare(poolers, "an ignored parameter", lambda p: p.sql(
        "SHOW extra_float_digits", options="")[0][0], "1")

    def full(p):
        held = []
        try:
            for _ in range(30):
                held.append(p.connect())
        except psycopg2.OperationalError as e:
            return len(held), "no more connections allowed" in str(e)
        finally:
            for c in held:
                c.close()
        return len(held), False
    compare(poolers, "max_client_conn", full, (20, True))
    for pooler in poolers:
        pooler.stop()


def test_several_hosts(place, setting):
    """Connections go to each address in turn; one that does not answer is passed over."""
    braid = Pooler(place, "pgbraid", "auth_type = trust\npool_mode = session\n[databases]\n"
                   f"two = host=127.0.0.1,127.0.0.2 port={setting.server.port} dbname=app\n", setting.users)
    for _ in range(4):
        expect("served", [(1,)], braid.sql("SELECT 1", "two"))
    braid.stop()


def test_dns(place, setting):
    """A name that moves takes its connections along, one that is not found keeps its address."""
    server = place.fleet.add(hba=["host all all 127.0.0.0/8 trust"],
                             options=["listen_addresses = '127.0.0.1,127.0.0.2'"])
    server.start()
    server.sql("CREATE ROLE plain LOGIN")
    braid = Pooler(place, "pgbraid", "auth_type = trust\npool_mode = transaction\ndns_max_ttl = 1\n"
                   f"[databases]\nnamed = host=db.pgbraid.test port={server.port} dbname=postgres\n",
                   setting.users, ready=False)
    hosts = braid.write("hosts", "127.0.0.1 db.pgbraid.test\n")
    seen = ["unshare", "-m", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
    if os.getuid() != 0 or subprocess.run([*seen, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        server.stop()
        return  # its own /etc/hosts is more than we may have here
    plain = braid.command
    braid.command = lambda *words: [*seen, *plain(*words)]
    braid.start()
    connection = braid.connect("named")
    with connection.cursor() as cursor:
        def address():
            cursor.execute("SELECT host(inet_server_addr())")
            return cursor.fetchone()[0]
        expect("before", "127.0.0.1", address())
        braid.write("hosts", "127.0.0.2 db.pgbraid.test\n")
        wait_for("it moves", lambda: address() == "127.0.0.2")
        braid.write("hosts", "127.0.0.1 localhost\n")
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            expect("while it is not found", "127.0.0.2", address())
            time.sleep(0.1)
    connection.close()
    braid.stop()
    server.stop()


# ---- the console ----


def test_show_config(place, setting):
    given = {"default_pool_size": "7", "server_lifetime": "1200", "pool_mode": "transaction",
             "log_stats": "0", "max_client_conn": "33", "autodb_idle_timeout": "99"}
    poolers = both(place, setting, "".join(f"{k} = {v}\n" for k, v in given.items()))
    shown = {p.kind: {r["key"]: r for r in p.console("SHOW CONFIG")} for p in poolers}
    ours = shown["pgbraid"]
    for key, value in given.items():
        expect(f"SHOW CONFIG {key}", value, ours[key]["value"])
    for key, row in shown.get("pgbouncer", {}).items():
        expect_that(f"SHOW CONFIG has {key}", key in ours)
        expect(f"columns of {key}", list(row), list(ours[key]))
    for pooler in poolers:
        pooler.stop()


def test_console_owner(place, setting):
    """Whoever runs the process needs no password for the console; nobody else is let in that way."""
    braid = Pooler(place, "pgbraid", setting.ini(), setting.users)
    expect("by unix socket", [], braid.sql("RELOAD", "pgbouncer", "pgbouncer", "", host=braid.folder))
    expect("by TCP", "refused", let_in(braid, "pgbouncer", "pgbouncer", ""))
    expect("to a database", "refused", let_in(braid, "app", "pgbouncer", "", host=braid.folder))
    braid.stop()
    if os.getuid() == 0:
        braid = Pooler(place, "pgbraid", setting.ini(), setting.users, words=("-u", "postgres"))
        expect("another user", "refused", let_in(braid, "pgbouncer", "pgbouncer", "", host=braid.folder))
        braid.stop()


def test_stats_users(place, setting):
    poolers = both(place, setting, "stats_users = limited\n")
    for pooler in poolers:
        connection = pooler.connect("pgbouncer", "limited")
        with connection.cursor() as cursor:
            cursor.execute("SHOW POOLS")
            expect_that(f"{pooler.kind}: SHOW", cursor.description is not None)
            expect_error(f"{pooler.kind}: RELOAD", None, lambda c=cursor: c.execute("RELOAD"))
        connection.close()
        pooler.stop()


# ---- the log ----

# What people's scripts, fail2ban filters and log analysers look for.
HEAD = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+ \[\d+\] "
CLIENT = r"C-0x[0-9a-f]+: (\S+)/(\S+)@(\S+?):(\d+) "
SERVER = r"S-0x[0-9a-f]+: (\S+)/(\S+)@(\S+?):(\d+) "
PATTERNS = {
    "up": HEAD + r"LOG process up: ",
    "listening": HEAD + r"LOG listening on 127\.0\.0\.1:\d+$",
    "login": HEAD + "LOG " + CLIENT + r"login attempt: db=app user=plain tls=\S+$",
    "logout": HEAD + "LOG " + CLIENT + r"closing because: client close request \(age=\d+s?\)$",
    "server": HEAD + "LOG " + SERVER + r"new connection to server \(from \S+:\d+\)$",
    "bad password": HEAD + "WARNING " + CLIENT + r"pooler error: password authentication failed",
    "bad password, closed": HEAD + "LOG " + CLIENT + r"closing because: password authentication failed",
    "full": HEAD + "WARNING " + CLIENT + r"pooler error: no more connections allowed \(max_client_conn\)",
    "waited": HEAD + "WARNING " + CLIENT + r"pooler error: query_wait_timeout",
    "no database": HEAD + "LOG " + CLIENT + r"closing because: .*database \"nowhere\" does not exist",
    "stats": HEAD + r"LOG stats: \d+ xacts/s, \d+ queries/s, in \d+ B/s, out \d+ B/s, xact \d+ us, "
                    r"query \d+ us, wait \d+ us$",
    "command": HEAD + r"LOG RELOAD command issued",
    "hangup": HEAD + r"LOG got SIGHUP, re-reading config$",
    "interrupt": HEAD + r"LOG got SIGINT, shutting down",
    "down": HEAD + r"LOG .*server connections dropped, exiting$",
}


def test_log(place, setting):
    poolers = both(place, setting, "stats_period = 1\nmax_client_conn = 3\nquery_wait_timeout = 1\n"
                                   "default_pool_size = 2\n")
    for pooler in poolers:
        pooler.sql("SELECT 1")
        let_in(pooler, "app", "plain", "no")
        let_in(pooler, "missing")
        held = [pooler.connect() for _ in range(3)]
        expect(f"{pooler.kind} is full", "refused", let_in(pooler))
        held.pop().close()
        for c in held:  # both server connections are theirs until they leave
            c.cursor().execute("SELECT 1")
        wait_for("room again", lambda p=pooler: (let_in(p), "query_wait_timeout" in p.log())[1])
        for c in held:
            c.close()
        wait_for("room", lambda p=pooler: let_in(p) != "refused")
        pooler.console("RELOAD")
        os.kill(pooler.pid(), signal.SIGHUP)
        wait_for(f"{pooler.kind}: stats", lambda p=pooler: re.search(PATTERNS["stats"], p.log(), re.M))
        pooler.stop()
        for name, pattern in PATTERNS.items():
            expect_that(f"{pooler.kind}: no line for {name!r}: {pattern}\n{pooler.log()[-4000:]}",
                        re.search(pattern, pooler.log(), re.M))


def test_log_switches(place, setting):
    braid = Pooler(place, "pgbraid", setting.ini("log_connections = 0\nlog_disconnections = 0\n"
                                                 "log_pooler_errors = 0\nlog_stats = 0\n"), setting.users)
    let_in(braid, "app", "plain", "no")
    let_in(braid)
    braid.stop()
    counts = collections.Counter(w for w in ("login attempt", "pooler error", "C-0x", "stats:")
                                 if w in braid.log())
    expect("nothing of it is logged", collections.Counter(), counts)


# ---- the process ----


def command(pooler, *words):
    return subprocess.run(pooler.command(*words), cwd=pooler.folder, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)


def test_daemon(place, setting):
    braid = Pooler(place, "pgbraid", setting.ini(), setting.users, ready=False)
    done = command(braid, "-d")
    expect(f"-d: {done.stderr}", (0, ""), (done.returncode, done.stderr))
    pid = braid.pid()
    try:
        expect("served by the child", ("plain", "app"), let_in(braid))
        expect("a session of its own", pid, os.getsid(pid))
        second = command(braid, "-d")
        expect("a second one", 2, second.returncode)
        expect_that(f"says which process runs: {second.stderr}", str(pid) in second.stderr)
        os.rename(braid.log_path, braid.log_path + ".1")
        os.kill(pid, signal.SIGHUP)
        wait_for("the log is opened anew", lambda: os.path.exists(braid.log_path))
        let_in(braid)
        wait_for("and written", lambda: "login attempt" in braid.log())
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for("it ends", lambda: not os.path.exists(f"/proc/{pid}"))
    expect("the pid file is gone", False, os.path.exists(braid.pid_path))


def test_reboot(place, setting):
    """-d -R: a new process, the same clients."""
    braid = Pooler(place, "pgbraid", setting.ini("pool_mode = transaction"), setting.users, ready=False)
    expect("the first", 0, command(braid, "-d").returncode)
    pids = [braid.pid()]
    try:
        connection = braid.connect()
        done = command(braid, "-d", "-R")
        expect(f"the second: {done.stderr}", 0, done.returncode)
        wait_for("the pid file is its own", lambda: braid.pid() != pids[0])
        pids.append(braid.pid())
        wait_for("the first ends", lambda: not os.path.exists(f"/proc/{pids[0]}"))
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            expect("the client is still served", [(1,)], cursor.fetchall())
        connection.close()
        expect("and new ones are", ("plain", "app"), let_in(braid))
        expect("the pid file stays", pids[1], braid.pid())
    finally:
        for pid in pids:
            if os.path.exists(f"/proc/{pid}"):
                os.kill(pid, signal.SIGKILL)


def test_reboot_neighbour(place, setting):
    """-R takes over from the process of its own file only, whoever else runs in the folder."""
    braid = Pooler(place, "pgbraid", setting.ini("pool_mode = transaction"), setting.users, ready=False)
    expect("the first", 0, command(braid, "-d").returncode)
    pids = [braid.pid()]
    try:
        text = open(braid.path, encoding="utf-8").read()
        for old, new in ((f"listen_port = {braid.port}", f"listen_port = {pg.free_ports(1)[0]}"),
                         (braid.log_path, f"{braid.folder}/other.log"),
                         (braid.pid_path, f"{braid.folder}/other.pid")):
            text = text.replace(old, new)
        other = braid.write("other.ini", text)
        done = subprocess.run([braid.binary, "-d", "-R", other], cwd=braid.folder, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        expect(f"an ordinary start: {done.stderr}", 0, done.returncode)
        with open(f"{braid.folder}/other.pid", encoding="utf-8") as pid:
            pids.append(int(pid.read()))
        expect("the neighbour keeps its clients", ("plain", "app"), let_in(braid))
        with open(braid.log_path, encoding="utf-8") as log:
            expect_that("and knows of nothing", "TAKEOVER" not in log.read())
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def test_daemon_refused(place, setting):
    """Errors of the start reach whoever started it."""
    braid = Pooler(place, "pgbraid", setting.ini(), setting.users, ready=False)
    whole = open(braid.path, encoding="utf-8").read()
    for name, word in (("pidfile", "pid_file"), ("logfile", "log.file")):
        braid.write("pgbouncer.ini", re.sub(rf"(?m)^{name} = .*$", "", whole))
        done = command(braid, "-d")
        expect_that(f"without {name}: {done}", done.returncode == 2 and word in done.stderr)
    braid.write("pgbouncer.ini", whole.replace(f"listen_port = {braid.port}",
                                               f"listen_port = {setting.server.port}"))
    done = command(braid, "-d")
    expect_that(f"a port in use: {done}", done.returncode == 2 and str(setting.server.port) in done.stderr)
    expect("no pid file stays", False, os.path.exists(braid.pid_path))


def test_signals(place, setting):
    """USR1 pauses, USR2 goes on, TERM waits for the clients, QUIT does not."""
    for pooler in both(place, setting, "pool_mode = transaction\n"):
        pooler.sql("SELECT 1")
        held = pooler.connect()
        os.kill(pooler.pid(), signal.SIGUSR1)
        wait_for(f"{pooler.kind}: paused", lambda p=pooler: "pausing all activity" in p.log())
        waiting = subprocess.Popen(["psql", "-XAtqc", "SELECT 7", f"host=127.0.0.1 port={pooler.port} "
                                    "dbname=app user=plain password=pw"], stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        expect(f"{pooler.kind}: a client waits", None, waiting.poll())
        os.kill(pooler.pid(), signal.SIGUSR2)
        expect(f"{pooler.kind}: it goes on", "7\n", waiting.communicate(timeout=20)[0])
        expect_that(f"{pooler.kind}: says so", re.search(HEAD + "LOG got SIGUSR2, continuing from PAUSE", pooler.log(), re.M))
        if pooler.kind == "pgbraid":  # 1.18 stops at once on TERM, later ones wait
            os.kill(pooler.pid(), signal.SIGTERM)
            wait_for("nobody new comes in", lambda p=pooler: let_in(p) == "refused")
            with held.cursor() as cursor:
                cursor.execute("SELECT 8")
                expect("a client goes on", [(8,)], cursor.fetchall())
            expect("it runs", None, pooler.process.poll())
        held.close()
        if pooler.kind == "pgbraid":
            expect("it ends with its clients", 0, pooler.process.wait(20))
            pooler.start()
            pooler.connect()
        os.kill(pooler.pid(), signal.SIGQUIT)
        expect_that(f"{pooler.kind}: QUIT ends it", pooler.process.wait(20) is not None)


def test_user(place, setting):
    """Root becomes the user named; without root nobody does."""
    if os.getuid() != 0:
        return
    wanted = pwd.getpwnam("postgres").pw_uid
    braid = Pooler(place, "pgbraid", setting.ini(), setting.users, words=("-u", "postgres"))
    expect("uid", wanted, os.stat(f"/proc/{braid.pid()}").st_uid)
    expect("serves", ("plain", "app"), let_in(braid))
    expect("and ends", 0, braid.stop())
    braid = Pooler(place, "pgbraid", "user = postgres\n" + setting.ini(), setting.users)
    expect("uid by the file", wanted, os.stat(f"/proc/{braid.pid()}").st_uid)
    braid.stop()
    done = command(braid, "-u", "no_such_user")
    expect_that(f"an unknown user: {done}", done.returncode == 2 and "no_such_user" in done.stderr)


def test_reload(place, setting):
    """A changed file and a changed users file are taken up; a broken one is not."""
    braid = Pooler(place, "pgbraid", setting.ini("default_pool_size = 5"), setting.users)
    shown = lambda: {r["key"]: r["value"] for r in braid.console("SHOW CONFIG")}["default_pool_size"]  # noqa: E731
    expect("before", "5", shown())
    whole = open(braid.path, encoding="utf-8").read()
    braid.write("pgbouncer.ini", whole.replace("default_pool_size = 5", "default_pool_size = 6"))
    braid.console("RELOAD")
    expect("after", "6", shown())
    braid.write("pgbouncer.ini", whole + "\nno equal sign\n")
    lines = whole.count("\n") + 2
    expect_error("a broken file", None, lambda: braid.console("RELOAD"), f"pgbouncer.ini:{lines}: ")
    expect("still", "6", shown())
    braid.write("pgbouncer.ini", whole)
    braid.write("users.txt", open(os.path.join(braid.folder, "users.txt")).read() + '"forced" "pw"\n')
    wait_for("a new user without RELOAD", lambda: let_in(braid, "app", "forced") == ("forced", "app"))
    braid.stop()


# ---- the file ----


def test_examples(place):
    """The files that come with PgBouncer are valid here, and import writes what loads."""
    braid = os.path.join(build_dir(place.build), "pgbraid")
    control = os.path.join(build_dir(place.build), "braidctl")
    found = [p for p in EXAMPLES if os.path.exists(p)]
    for path in found:
        done = subprocess.run([control, "import", path], capture_output=True, text=True)
        expect(f"import {path}: {done.stderr}", 0, done.returncode)
        done = subprocess.run([braid, "--check", path], capture_output=True, text=True)
        missing = "cannot read" in done.stderr  # the example's users file is not where it says
        expect_that(f"--check {path}: {done.stderr}", done.returncode == 0 or missing)


def test_include_and_import(place, setting):
    braid = Pooler(place, "pgbraid", "%include more.ini\n", setting.users, ready=False)
    braid.write("more.ini", setting.ini("default_pool_size = 4\npkt_buf = 8192\n"))
    braid.start()
    expect("with an included file", ("plain", "other"), let_in(braid, "renamed"))
    expect("what was included holds", "4",
           {r["key"]: r["value"] for r in braid.console("SHOW CONFIG")}["default_pool_size"])
    expect_that("a key without effect is named with its file", "more.ini:5: pkt_buf has no effect" in braid.log())
    expect("no folder for a ledger", [], [n for n in os.listdir(braid.folder) if n == "data"])
    braid.stop()
    control = os.path.join(build_dir(place.build), "braidctl")
    done = subprocess.run([control, "import", braid.path], cwd=braid.folder, capture_output=True, text=True)
    expect(f"import: {done.stderr}", 0, done.returncode)
    braid.path = braid.write("pgbraid.yaml", done.stdout)
    braid.start()
    expect("with the imported file", ("plain", "other"), let_in(braid, "renamed"))
    expect("a database by *", ("plain", "postgres"), let_in(braid, "postgres"))
    expect("a forced user", ("forced", "app"), let_in(braid, "forced"))
    braid.stop()


def test_mistakes(place, setting):
    braid = Pooler(place, "pgbraid", "", setting.users, ready=False)
    whole = open(braid.path, encoding="utf-8").read()
    line = whole.count("\n") + 1
    for text, words in (("default_pool_sise = 3\n", 'did you mean "default_pool_size"'),
                        ("pool_mode = sometimes\n", "pool"),
                        ("auth_type = pam\n", "auth_type"),
                        ("%include nowhere.ini\n", "nowhere.ini"),
                        ("[database]\n", None)):
        braid.write("pgbouncer.ini", whole + text + ("a = host=b\n" if words is None else ""))
        done = command(braid)
        at = line + (words is None)
        expect(f"{text!r}: {done.stderr}", 2, done.returncode)
        expect_that(f"{text!r} names its line: {done.stderr}", f"pgbouncer.ini:{at}: " in done.stderr)
        expect_that(f"{text!r}: {done.stderr}", words is None or words in done.stderr)


def test_secrets_stay(place, setting):
    """Passwords of the file are in no log, message or SHOW."""
    secret = "Xy7secret"
    braid = Pooler(place, "pgbraid", setting.ini("verbose = 2\n").replace(
        "user=forced", f"user=forced password={secret}"), [*setting.users, ("q", secret)])
    let_in(braid, "forced")
    text = "".join(str(braid.console(f"SHOW {w}")) for w in ("CONFIG", "DATABASES", "POOLS", "CLIENTS", "SERVERS"))
    braid.stop()
    expect_that("SHOW", secret not in text)
    expect_that("the log", secret not in braid.log())
    braid.write("pgbouncer.ini", f"[pgbouncer]\nauth_type=trust\n[databases]\na = password={secret} oops\n")
    done = command(braid)
    expect_that(f"a message: {done.stderr}", done.returncode == 2 and secret not in done.stderr)


TESTS = [test_logins, test_auth_types, test_what_a_line_says, test_several_hosts, test_dns, test_show_config,
         test_console_owner, test_stats_users, test_log, test_log_switches, test_daemon, test_reboot, test_reboot_neighbour, test_daemon_refused, test_signals, test_user,
         test_reload, test_include_and_import, test_mistakes, test_secrets_stay]


def run(place, report):
    report.run("dropin: examples", test_examples, place)
    if not os.access(PGBOUNCER, os.X_OK):
        report.skips("dropin: beside PgBouncer", "it is not installed; conf/install-deps test does it")
    names = ["dropin: " + test.__name__[5:].replace("_", " ") for test in TESTS]
    if report.only and not any(report.only in name for name in names):
        return
    setting = Setting(place)
    for name, test in zip(names, TESTS):
        report.run(name, test, place, setting)
