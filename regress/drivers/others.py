"""Drivers of other languages: a program each, which ends with 0 or says what went wrong."""

import os
import subprocess

import packages
from packages import Missing, program
from report import Failed

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 120
COLUMNS = "id bigint PRIMARY KEY, name text, price numeric(10,2), ok boolean, data bytea, tags text[]"


def compiled(name, words, **more):
    """A program under build/drivers, made again when its source is newer."""
    target = os.path.join(packages.FOLDER, name)
    os.makedirs(packages.FOLDER, exist_ok=True)
    done = subprocess.run([*words[0], target, *words[1]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=SECONDS, **more)
    if done.returncode != 0:
        if "dial tcp" in done.stdout or "no such host" in done.stdout:
            raise Missing(f"Go's packages cannot be fetched: {done.stdout[-200:]}")
        raise Failed(f"{name} does not build:\n{done.stdout[-2000:]}")
    return target


def node(script):
    return lambda: ([program("node", "nodejs"), os.path.join(HERE, "node", script)], {"MODULES": packages.node_modules()})


def java():
    program("javac")  # a source file is compiled as it is run
    return [program("java"), "-cp", packages.jar(), os.path.join(HERE, "java", "Jdbc.java")], {}


def go(driver):
    def command():
        path = compiled("go_drivers", ([program("go"), "build", "-o"], ["."]), cwd=os.path.join(HERE, "go"))
        return [path, driver], {}
    return command


def perl():
    check = subprocess.run([program("perl"), "-MDBD::Pg", "-e", "1"], stderr=subprocess.DEVNULL, check=False)
    if check.returncode != 0:
        raise Missing("no DBD::Pg")
    return ["perl", os.path.join(HERE, "perl", "dbd_pg.pl")], {}


def libpq():
    words = ["gcc", "-I/usr/include/postgresql", "-O1", "-Wall", "-Werror", "-o"], [os.path.join(HERE, "libpq.c"), "-lpq"]
    return [compiled("libpq", words)], {}


def django():
    return ["/usr/bin/python3", os.path.join(HERE, "django_app.py")], {}


DRIVERS = {"libpq": libpq, "django": django, "node-postgres": node("node_pg.mjs"), "postgres.js": node("postgres_js.mjs"),
           "pgjdbc": java, "lib/pq": go("lib/pq"), "pgx": go("pgx"), "DBD::Pg": perl}


def table_of(name):
    return "drv_" + name.replace("-", "_").replace(".", "_").replace("/", "_").replace("::", "_").lower()


TABLES = {table_of(name): {"hash": ["id"]} for name in DRIVERS}


def use(braid, dbname, name):
    words, more = DRIVERS[name]()
    braid.sql(f"CREATE TABLE {table_of(name)} ({COLUMNS})", dbname=dbname)
    env = {**os.environ, **more, "SHARDED": "1" if dbname == "app" else "0"}
    try:
        done = subprocess.run([*words, str(braid.port), dbname, table_of(name)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=env, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as e:
        raise Failed(f"did not end within {SECONDS} s:\n{(e.stdout or b'')[-2000:]}") from None
    if done.returncode != 0:
        raise Failed(f"ended with {done.returncode}:\n{done.stdout[-2500:]}")


def run(place, report):
    for dbname, tables in (("plain", {}), ("app", TABLES)):
        place.clean()
        braid = place.braid(tables)
        for name in DRIVERS:
            title = f"{name}, {dbname}"
            try:
                DRIVERS[name]()
            except Missing as e:
                report.skips(title, e)
                continue
            report.run(title, use, braid, dbname, name)
        place.end(braid)
