"""The proxy under test: its configuration, its process, its HTTP pages."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

import psycopg2

from pg import free_ports

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What sanitizers print; a log that holds one of these fails the run whatever else happened.
BAD_WORDS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "check failed")


def build_dir(build=None):
    return os.path.join(ROOT, build or os.environ.get("BUILD") or "build/release")


def config_for(servers, tables=None, **sections):
    """The usual configuration: `app` over all servers, `plain` on the first one."""
    config = {
        "workers": 2,
        "log": {"level": "info"},
        "auth": {"method": "trust", "users_file": "users.txt"},
        "servers": {f"s{i}": {"host": "127.0.0.1", "port": s.port} for i, s in enumerate(servers)},
        "databases": {
            "app": {
                "dbname": "app",
                "shards": {f"shard{i}": {"primary": f"s{i}"} for i in range(len(servers))},
                "tables": tables or {},
            },
            "plain": {"dbname": "plain", "shards": {"only": {"primary": "s0"}}},
        },
    }
    for name, section in sections.items():
        if isinstance(section, dict) and isinstance(config.get(name), dict):
            config[name] = {**config[name], **section}
        else:
            config[name] = section
    return config


class Braid:
    """
    One pgbraid. `config` is written as JSON, which is YAML; listen, http and data_dir are filled in
    when they are missing. `users` maps names to secrets as they stand in users.txt; two of them in a
    list are a rotation.
    """

    def __init__(self, folder, config, users=None, build=None, port=None, http_port=None):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        ports = free_ports(2)
        self.port = port or ports[0]
        self.http_port = http_port or ports[1]
        self.binary = os.path.join(build_dir(build), "pgbraid")
        self.path = os.path.join(folder, "pgbraid.yaml")
        self.log_path = os.path.join(folder, "pgbraid.log")
        self.process = None
        self.users = users if users is not None else {"app": "secret"}
        self.config = {
            "listen": [f"127.0.0.1:{self.port}"],
            "http": f"127.0.0.1:{self.http_port}",
            "data_dir": "./data",
            **config,
        }
        self.write_files()

    def write_files(self):
        with open(self.path, "w", encoding="utf-8") as f:
            json.dump(self.config, f, indent=2)
            f.write("\n")
        def quote(s):
            return '"' + s.replace('"', '""') + '"'
        path = os.path.join(self.folder, "users.txt")
        with open(path, "w", encoding="utf-8") as f:
            for name, secrets in self.users.items():
                for secret in [secrets] if isinstance(secrets, str) else secrets:
                    f.write(f"{quote(name)} {quote(secret)}\n")
        os.chmod(path, 0o600)

    def start(self, wait=True, seconds=30):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([self.binary, "-c", self.path], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_healthy(seconds)
        return self

    def wait_http(self, seconds=15):
        """Until the process answers HTTP at all."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.http("/stats")
                return
            except OSError:
                self.check_alive()
                if time.monotonic() > until:
                    raise RuntimeError(f"no HTTP after {seconds} s\n{self.tail()}") from None
                time.sleep(0.02)

    def wait_healthy(self, seconds=30):
        until = time.monotonic() + seconds
        text = ""
        while True:
            try:
                status, text = self.http("/health")
                if status == 200:
                    return
            except OSError as e:
                text = str(e)
            self.check_alive()
            if time.monotonic() > until:
                raise RuntimeError(f"not healthy after {seconds} s: {text}\n{self.tail()}")
            time.sleep(0.02)

    def check_alive(self):
        status = self.process.poll()
        if status is not None:
            raise RuntimeError(f"pgbraid ended with exit status {status}\n{self.tail()}")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, seconds=30):
        """SIGTERM; the exit status."""
        if not self.alive():
            return self.process.returncode if self.process else None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"pgbraid does not stop\n{self.tail()}") from None

    def memory_kb(self):
        """Resident now."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))

    def kill(self):
        if self.alive():
            self.process.kill()
            self.process.wait()

    def restart(self, **more):
        self.kill()
        return self.start(**more)

    def reload(self):
        """SIGHUP; returns when the log says what came of it."""
        seen = self.count("RELOAD")
        self.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 10
        while self.count("RELOAD") == seen:
            if time.monotonic() > until:
                raise RuntimeError(f"SIGHUP without a word in the log\n{self.tail()}")
            time.sleep(0.02)

    def http(self, path):
        """(status, text) of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def stats(self):
        return json.loads(self.http("/stats")[1])

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def count(self, word):
        return self.log().count(word)

    def tail(self, lines=30):
        return "\n".join(self.log().splitlines()[-lines:])

    def complaints(self):
        """Lines of sanitizers and failed checks in the log."""
        return [line for line in self.log().splitlines() if any(w in line for w in BAD_WORDS)]

    def dsn(self, dbname="app", user="app", password=None, **more):
        words = {"host": "127.0.0.1", "port": self.port, "dbname": dbname, "user": user, **more}
        if password is not None:
            words["password"] = password
        return " ".join(f"{k}={v}" for k, v in words.items())

    def connect(self, dbname="app", user="app", autocommit=True, **more):
        c = psycopg2.connect(host="127.0.0.1", port=self.port, dbname=dbname, user=user, **more)
        c.autocommit = autocommit
        return c

    def sql(self, statement, dbname="app", params=None, **more):
        c = self.connect(dbname, **more)
        try:
            with c.cursor() as cur:
                cur.execute(statement, params)
                return cur.fetchall() if cur.description else None
        finally:
            c.close()
