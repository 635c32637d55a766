#!/usr/bin/python3
"""
PostgreSQL's own regression files, run three times: directly, through a one-shard pgbraid in session
mode, and through one in transaction mode. What psql prints must be the same.

    pg_regress.py [--build DIR] [--mode session|transaction] [--only TEST,...] [--results DIR]

The files come with Debian's source package of the installed major version: they are fetched once into
build/pgsource and are not part of this repository. Differences that must be are listed, with a reason
each, in differences.txt: a test that differs and is not in it fails, and so does one that is listed
and does not differ (but where the list says that it differs at times only).
"""

import argparse
import difflib
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.dirname(HERE)]

import pg  # noqa: E402
from braid import Braid  # noqa: E402
from report import Failed, Report  # noqa: E402

SOURCE = os.path.join(ROOT, "build", "pgsource")
MAJOR = 15
SECONDS_PER_TEST = 120
# Servers that replay the same statements choose the same numbers, but for these.
NOISE = [
    (re.compile(r"\bpid[ =]\d+"), "pid N"),
    (re.compile(r"(pg_temp_|pg_toast_temp_|relation with OID |base/|large object |backend )\d+"), r"\1N"),
    (re.compile(r"\b\d+\.\d+ ms"), "N ms"),
]


# ---- the files ---------------------------------------------------------------------------------------


def run(words, what, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{what} failed with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout


def apt_words():
    """apt-get with source lists of its own, so that the machine's are left alone."""
    parts = os.path.join(SOURCE, "parts")
    for name in ("parts", "lists/partial", "cache"):
        os.makedirs(os.path.join(SOURCE, name), exist_ok=True)
    with open(os.path.join(parts, "source.sources"), "w", encoding="utf-8") as f:
        for uri, suites in (("http://deb.debian.org/debian", "bookworm bookworm-updates"),
                            ("http://deb.debian.org/debian-security", "bookworm-security")):
            f.write(f"Types: deb-src\nURIs: {uri}\nSuites: {suites}\nComponents: main\n"
                    "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n")
    options = {"Dir::Etc::SourceList": "/dev/null", "Dir::Etc::SourceParts": parts,
               "Dir::State::Lists": os.path.join(SOURCE, "lists"), "Dir::Cache": os.path.join(SOURCE, "cache"),
               "APT::Sandbox::User": "root"}
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def fetch():
    """The folder src/test/regress of PostgreSQL's source."""
    found = glob.glob(os.path.join(SOURCE, "postgresql-*", "src", "test", "regress"))
    if found:
        return found[0]
    options = apt_words()
    print("fetching PostgreSQL's source package (23 MB)", flush=True)
    run(["apt-get", "-qq", *options, "update"], "apt-get update")
    package = f"postgresql-{MAJOR}"
    versions = re.findall(r"^Version: (\S+)", run(["apt-cache", *options, "showsrc", package], "apt-cache"), re.M)
    for version in versions:  # a mirror may know a version that it does not hold
        done = subprocess.run(["apt-get", "-qq", *options, "source", "--download-only", f"{package}={version}"],
                              cwd=SOURCE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            break
    tarballs = glob.glob(os.path.join(SOURCE, "*.orig.tar.bz2"))
    if not tarballs:
        raise RuntimeError(f"none of the source packages {versions} of {package} could be fetched")
    run(["tar", "xjf", tarballs[0], "--wildcards", "*/src/test/regress/*"], "tar", cwd=SOURCE)
    return fetch()


def tests_of(folder):
    with open(os.path.join(folder, "parallel_schedule"), encoding="utf-8") as f:
        lines = [line for line in f if line.startswith("test:")]
    return [name for line in lines for name in line.split()[1:]]


def build_library(folder, out):
    """regress.so and friends, as :libdir in the tests."""
    libdir = run(["pg_config", "--pkglibdir"], "pg_config").strip()
    include = run(["pg_config", "--includedir-server"], "pg_config").strip()
    os.makedirs(out, exist_ok=True)
    run(["gcc", "-O1", "-fPIC", "-shared", "-w", f"-I{include}", "-o", os.path.join(out, "regress.so"),
         os.path.join(folder, "regress.c")], "regress.so")
    for name in ("refint.so", "autoinc.so"):
        os.symlink(os.path.join(libdir, name), os.path.join(out, name))


# ---- one run of all tests ----------------------------------------------------------------------------


class Run:
    """All tests one after the other, through `port` of `host`; what psql prints is kept by test."""

    def __init__(self, name, fleet, folder, results):
        self.name = name
        self.ended = False
        self.results = os.path.join(results, name)
        os.makedirs(self.results, exist_ok=True)
        self.home = os.path.join(fleet.folder, f"files_{name}")
        run(["cp", "-r", folder, self.home], "cp")
        build_library(self.home, os.path.join(self.home, "lib"))
        os.makedirs(os.path.join(self.home, "results"), exist_ok=True)
        os.makedirs(os.path.join(self.home, "testtablespace"), exist_ok=True)
        run(["chown", "-R", "postgres:postgres", self.home], "chown")
        self.server = fleet.start(1, options=["allow_in_place_tablespaces = on", "autovacuum = on",
                                              "max_prepared_transactions = 2", "lc_messages = 'C'"])[0]
        self.server.sql("CREATE DATABASE regression TEMPLATE template0 LOCALE 'C'")
        for name_, value in (("lc_messages", "C"), ("lc_monetary", "C"), ("lc_numeric", "C"), ("lc_time", "C"),
                             ("bytea_output", "hex"), ("timezone_abbreviations", "Default")):
            self.server.sql(f"ALTER DATABASE regression SET {name_} TO '{value}'")
        self.host, self.port = self.server.socket_dir, self.server.port

    def through(self, fleet, mode, build):
        braid = Braid(os.path.join(fleet.folder, f"braid_{mode}"), {
            "servers": {"s0": {"host": "127.0.0.1", "port": self.server.port}},
            "databases": {"regression": {"shards": {"shard0": {"primary": "s0"}}}},
            "auth": {"method": "trust", "users_file": "users.txt"}, "workers": 1,
            "pool": {"mode": mode, "size": 10 if mode == "session" else 3}}, users={"postgres": ""}, build=build)
        fleet.at_end.append(braid.kill)
        self.host, self.port = "127.0.0.1", braid.start().port
        if mode == "transaction":
            self.churn()

    def churn(self, clients=2):
        """Neighbours that keep taking connections of the same pool: in transaction mode a test then
        meets another server connection at almost every transaction."""
        def neighbour():
            while not self.ended:
                try:
                    c = psycopg2.connect(host=self.host, port=self.port, user=pg.SUPERUSER, dbname="regression")
                    c.autocommit = True
                    cur = c.cursor()
                    while not self.ended:
                        cur.execute("SELECT pg_sleep(0.001)")
                    c.close()
                except psycopg2.Error:
                    time.sleep(0.05)  # a test has closed it, or the database cannot be used just now
        for _ in range(clients):
            threading.Thread(target=neighbour, daemon=True).start()

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": self.home, "LC_ALL": "C", "TZ": "PST8PDT", "PGTZ": "PST8PDT",
                "PGDATESTYLE": "Postgres, MDY", "PGOPTIONS": "-c intervalstyle=postgres_verbose",
                "PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": pg.SUPERUSER, "PGDATABASE": "regression",
                "PG_ABS_SRCDIR": self.home, "PG_ABS_BUILDDIR": self.home, "PG_LIBDIR": os.path.join(self.home, "lib"),
                "PG_DLSUFFIX": ".so"}

    def test(self, name):
        """What psql prints for a test; False when it did not end."""
        with open(os.path.join(self.home, "sql", f"{name}.sql"), "rb") as sql:
            words = pg.as_server(f"{pg.BIN}/psql", "-X", "-a", "-q", "-d", "regression", "-v", "HIDE_TABLEAM=on",
                                 "-v", "HIDE_TOAST_COMPRESSION=on")
            psql = subprocess.Popen(words, stdin=sql, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    env=self.environment(), cwd=self.home, start_new_session=True)
            try:
                text, _ = psql.communicate(timeout=SECONDS_PER_TEST)
            except subprocess.TimeoutExpired:
                os.killpg(psql.pid, signal.SIGKILL)
                text = psql.communicate()[0] + b"\n### psql did not end\n"
        text = text.decode("utf-8", "replace").replace(self.home, "HOME")
        text = re.sub(rf'(port "?|:){self.port}\b', r"\1PORT", text)
        with open(os.path.join(self.results, f"{name}.out"), "w", encoding="utf-8") as f:
            f.write(text)
        for pattern, by in NOISE:
            text = pattern.sub(by, text)
        return text

    def all(self, tests):
        started = time.monotonic()
        texts = {name: self.test(name) for name in tests}
        self.ended = True
        print(f"  {self.name}: {len(tests)} tests in {time.monotonic() - started:.0f} s", flush=True)
        return texts


# ---- comparing ---------------------------------------------------------------------------------------


def differences():
    """{mode: {test: "always" or "sometimes"}} of differences.txt."""
    known = {"session": {}, "transaction": {}}
    with open(os.path.join(HERE, "differences.txt"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                mode, test, when, _reason = line.rstrip("\n").split(None, 3)
                known[mode][test] = when
    return known


def compare(report, mode, direct, through, known, results):
    for name in direct:
        diff = list(difflib.unified_diff(direct[name].splitlines(), through[name].splitlines(),
                                         "directly", mode, lineterm="", n=2))
        path = os.path.join(results, f"{name}.{mode}.diff")
        if diff:
            with open(path, "w", encoding="utf-8") as f:
                f.write("\n".join(diff) + "\n")

        def check(name=name, diff=diff, path=path):
            if diff and name not in known:
                raise Failed(f"differs, see {path}:\n" + "\n".join(diff[:12]))
            if not diff and known.get(name) == "always":
                raise Failed("is listed in differences.txt, but does not differ")
        report.run(f"{mode}: {name}", check)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--mode", choices=("session", "transaction"))
    parser.add_argument("--only", help="names of tests; test_setup and what they need come first by yourself")
    parser.add_argument("--results", default=os.path.join(ROOT, "build", "pg_regress"))
    args = parser.parse_args()
    pg.stop_on_signals()
    folder = fetch()
    tests = args.only.split(",") if args.only else tests_of(folder)
    shutil.rmtree(args.results, ignore_errors=True)
    known = differences()
    report = Report(verbose=False)
    with pg.Fleet() as fleet:
        direct = Run("direct", fleet, folder, args.results).all(tests)
    for mode in (args.mode,) if args.mode else ("session", "transaction"):
        with pg.Fleet() as fleet:
            other = Run(mode, fleet, folder, args.results)
            other.through(fleet, mode, args.build)
            compare(report, mode, direct, other.all(tests), known[mode], args.results)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
