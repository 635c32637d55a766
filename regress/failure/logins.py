"""Who may come in: every auth method with every kind of secret, wrong names, TLS, limits."""

import os
import socket
import ssl
import subprocess
import time

import psycopg2

import raw
from braid import Braid
from report import expect, expect_that
from place import ROWS, expect_error, serves, wait_for

PASSWORD = "se'cr\\et ü"


def login_code(braid, user, database="app", password=None, **params):
    """SQLSTATE of a login done by hand with a plain password, None when it works."""
    with raw.Raw(braid.port) as r:
        r.send(raw.startup(user, database, **params))
        while True:
            kind, body = r.next()
            if kind == "E":
                return raw.fields_of(body)["C"]
            if kind == "Z":
                return None
            if kind == "R" and body[:4] == b"\0\0\0\3":
                r.send(raw.message("p", (password or "").encode() + b"\0"))


class Secrets:
    """Users on the first server whose passwords are kept there in different forms."""

    def __init__(self, place):
        server = place.fleet.add(hba=["host all u_md5,u_md5plain 127.0.0.1/32 md5",
                                      "host all all 127.0.0.1/32 scram-sha-256"])
        server.start()
        self.server = server
        quoted = PASSWORD.replace("'", "''")
        for user in ("app", "u_plain", "u_verifier"):
            server.sql(f"CREATE ROLE {user} LOGIN PASSWORD '{quoted}'")
        for user in ("u_md5", "u_md5plain"):
            c = server.connect()
            with c.cursor() as cur:
                cur.execute("SET password_encryption = 'md5'")
                cur.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{quoted}'")
            c.close()
        server.sql("CREATE DATABASE plain OWNER app")
        stored = dict(server.sql("SELECT rolname, rolpassword FROM pg_authid"))
        self.users = {"app": PASSWORD, "u_plain": PASSWORD, "u_md5plain": PASSWORD,
                      "u_verifier": stored["u_verifier"], "u_md5": stored["u_md5"]}

    def braid(self, place, method):
        config = {
            "workers": 2,
            "auth": {"method": method, "users_file": "users.txt"},
            "servers": {"s0": {"host": "127.0.0.1", "port": self.server.port}},
            "databases": {"plain": {"shards": {"only": {"primary": "s0"}}}},
        }
        place.count += 1
        folder = os.path.join(place.fleet.folder, f"braid{place.count}")
        braid = Braid(folder, config, users=self.users, build=place.build)
        place.fleet.at_end.append(braid.kill)
        return braid.start()


def who_am_i(braid, user, password):
    return braid.sql("SELECT current_user::text", "plain", user=user, password=password)


def check_method(place, secrets, method, working, failing):
    braid = secrets.braid(place, method)
    for user in working:
        for _ in range(2):
            expect(f"{method}: {user}", [(user,)], who_am_i(braid, user, PASSWORD))
        if method != "trust":
            expect_error(f"{method}: {user} with a wrong password", None,
                         lambda u=user: who_am_i(braid, u, PASSWORD + "x"),
                         f'password authentication failed for user "{user}"')
            expect_error(f"{method}: {user} with an empty password", None,
                         lambda u=user: who_am_i(braid, u, ""))
    for user, text in failing.items():
        expect_error(f"{method}: {user}", None, lambda u=user: who_am_i(braid, u, PASSWORD), text)
    if method != "trust":
        expect_error(f"{method}: nobody", None, lambda: who_am_i(braid, "nobody", PASSWORD),
                     'password authentication failed for user "nobody"')
    else:
        expect_error(f"{method}: nobody", None, lambda: who_am_i(braid, "nobody", PASSWORD))
    expect(f"{method}: afterwards", [("app",)], who_am_i(braid, "app", PASSWORD))
    place.end(braid)


def test_methods(place, report):
    secrets = Secrets(place)
    everyone = ("u_plain", "u_md5plain", "u_md5", "u_verifier")
    report.run("login: trust", check_method, place, secrets, "trust",
               ("u_plain", "u_md5plain", "u_md5"), {"u_verifier": "SCRAM password"})
    report.run("login: password", check_method, place, secrets, "password", everyone, {})
    report.run("login: md5", check_method, place, secrets, "md5", everyone, {})
    report.run("login: scram-sha-256", check_method, place, secrets, "scram-sha-256",
               ("u_plain", "u_md5plain", "u_verifier"),
               {"u_md5": 'password authentication failed for user "u_md5"'})


def test_sqlstates(place):
    """What drivers that show it would show: the codes of refused logins."""
    braid = place.braid(auth={"method": "password", "users_file": "users.txt"},
                        users={"app": "right"})
    expect("right", None, login_code(braid, "app", password="right"))
    expect("wrong password", "28P01", login_code(braid, "app", password="wrong"))
    expect("unknown user", "28P01", login_code(braid, "nobody", password="right"))
    expect("unknown database", "3D000", login_code(braid, "app", "nothing", password="right"))
    expect("no user", "28000", login_code(braid, None))
    expect("replication", "0A000", login_code(braid, "app", replication="true", password="right"))
    expect("a setting that is not there", "42704",
           login_code(braid, "app", password="right", no_such_setting="1"))
    expect("a setting's bad value", "22023",
           login_code(braid, "app", password="right", DateStyle="Klingon"))
    expect("options", None, login_code(braid, "app", password="right",
                                       options="-c statement_timeout=7s --geqo=off"))
    serves(braid, password="right")
    place.end(braid)


def test_setting_of_startup(place):
    braid = place.braid()
    got = braid.sql("SELECT current_setting('statement_timeout'), current_setting('application_name')",
                    options="-c statement_timeout=7s", application_name="it's me")
    expect("settings of the startup packet", [("7s", "it's me")], got)
    expect("they do not reach others", [("0",)], braid.sql("SELECT current_setting('statement_timeout')"))
    place.end(braid)


def test_slow_login(place):
    braid = place.braid(auth={"method": "password", "users_file": "users.txt", "login_timeout_ms": 500})
    begin = time.monotonic()
    for opening in (b"", b"\0", raw.startup()):
        with raw.Raw(braid.port) as r:
            r.send(opening)
            got = r.rest()
            codes = raw.codes_of(got)
            expect_that(f"told {codes}", codes in ([], ["57P03"], ["08006"], ["28000"], ["57014"], ["08P01"]))
    took = time.monotonic() - begin
    expect_that(f"the timeout is kept: {took:.1f} s", 1.0 < took < 8)
    serves(braid, password="secret")
    place.end(braid)


def test_max_clients(place):
    braid = place.braid(pool={"max_clients": 5})
    held = [braid.connect() for _ in range(5)]
    expect("one too many", "53300", login_code(braid, "app"))
    held.pop().close()
    wait_for("room again", lambda: login_code(braid, "app") is None)
    for c in held:
        c.close()
    wait_for("all closed", lambda: braid.stats()["connections"]["idle"] == 0)
    serves(braid)
    place.end(braid)


def test_protocol_versions(place):
    braid = place.braid()
    with raw.Raw(braid.port) as r:
        got = r.login(version=raw.V32)
        expect("3.2 needs no negotiation", "", raw.letters(got).replace("S", "").replace("RKZ", ""))
        expect_that(f"a key of 4 to 256 bytes: {len(r.key)}", 4 <= len(r.key) <= 256)
        expect("it answers", [["7"]], raw.rows_of(r.ask(raw.query("SELECT 7"))))
    with raw.Raw(braid.port) as r:
        got = r.login(version=(3 << 16) | 9999, **{"_pq_.unknown": "on"})
        expect("NegotiateProtocolVersion comes first", "v", got[0][0])
        newest = int.from_bytes(got[0][1][:4], "big") & 0xFFFF
        expect_that(f"newest minor version {newest}", newest in (0, 2))
        expect_that(f"the option is named: {got[0][1]}", b"_pq_.unknown\0" in got[0][1])
        expect("it answers", [["7"]], raw.rows_of(r.ask(raw.query("SELECT 7"))))
    for version in (2 << 16, 4 << 16, 0, 0xFFFFFFFF):
        with raw.Raw(braid.port) as r:
            r.send(raw.startup(version=version))
            got = r.rest()
            expect(f"version {version:#x}", "E", raw.letters(got))
            expect_that("its SQLSTATE", raw.codes_of(got)[0] in ("0A000", "08P01"))
    with raw.Raw(braid.port) as r:
        r.send(raw.request(raw.GSSENC_REQUEST))
        expect("GSSENCRequest", b"N", r.take(1))
        r.send(raw.request(raw.SSL_REQUEST))
        expect("SSLRequest", b"N", r.take(1))
        r.login()
        expect("in plain", [["7"]], raw.rows_of(r.ask(raw.query("SELECT 7"))))
    serves(braid)
    place.end(braid)


# ---- TLS -----------------------------------------------------------------------------------------


def make_certificate(folder, name):
    """A self-signed certificate for localhost; (certificate, key)."""
    cert, key = os.path.join(folder, f"{name}.crt"), os.path.join(folder, f"{name}.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", cert], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    os.chmod(key, 0o600)
    return cert, key


def is_tls(braid, sslmode, dbname="app", **more):
    c = braid.connect(dbname, sslmode=sslmode, **more)
    try:
        with c.cursor() as cur:
            cur.execute("SELECT count(*) FROM items")
            expect("rows over it", ROWS, cur.fetchone()[0])
        return c.info.ssl_in_use
    finally:
        c.close()


def test_tls_clients(place):
    cert, key = make_certificate(place.fleet.folder, "front")
    braid = place.braid(tls={"client": {"mode": "allow", "cert": cert, "key": key}})
    expect("disable", False, is_tls(braid, "disable"))
    expect("prefer", True, is_tls(braid, "prefer"))
    expect("require", True, is_tls(braid, "require"))
    expect("verify-ca", True, is_tls(braid, "verify-ca", sslrootcert=cert))
    expect("verify-full", True, is_tls(braid, "verify-full", sslrootcert=cert))
    with raw.Raw(braid.port) as r:  # plain text behind the SSLRequest must not be taken as encrypted
        r.send(raw.request(raw.SSL_REQUEST), raw.startup())
        r.socket.settimeout(5)
        try:
            answer = r.take(1)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if answer == b"S":
                context.wrap_socket(r.socket)
                expect_that("a handshake over injected bytes", False)
        except (raw.Closed, ssl.SSLError, OSError, socket.timeout):
            pass
    serves(braid)
    place.end(braid)

    braid = place.braid(tls={"client": {"mode": "require", "cert": cert, "key": key}})
    expect("require, with TLS", True, is_tls(braid, "require"))
    expect("require, without", "28000", login_code(braid, "app"))
    place.end(braid)

    braid = place.braid()
    expect_error("a proxy without TLS", None, lambda: is_tls(braid, "require"),
                 "server does not support SSL")
    serves(braid)
    place.end(braid)


def tls_server(place, rules):
    cert, key = make_certificate(place.fleet.folder, f"server{place.count}")
    server = place.fleet.add(hba=rules, options=["ssl = on", "ssl_cert_file = 'server.crt'",
                                                 "ssl_key_file = 'server.key'"])
    for path, name in ((cert, "server.crt"), (key, "server.key")):
        with open(path, encoding="utf-8") as f:
            server.write(name, f.read())
    server.start()
    server.sql("CREATE ROLE app LOGIN")
    server.sql("CREATE DATABASE plain OWNER app")
    return server, cert


def tls_mode_braid(place, server, mode, **more):
    config = {"workers": 1, "auth": {"method": "trust", "users_file": "users.txt"},
              "tls": {"server": {"mode": mode, **more}},
              "servers": {"s0": {"host": more.pop("host", "127.0.0.1"), "port": server.port}},
              "databases": {"plain": {"shards": {"only": {"primary": "s0"}}}}}
    place.count += 1
    braid = Braid(os.path.join(place.fleet.folder, f"braid{place.count}"), config, build=place.build)
    place.fleet.at_end.append(braid.kill)
    return braid


def encrypted(braid):
    return braid.sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "plain")[0][0]


def test_tls_servers(place):
    server, cert = tls_server(place, ["host all all 127.0.0.1/32 trust"])
    for mode, want in (("disable", False), ("prefer", True), ("require", True)):
        braid = tls_mode_braid(place, server, mode).start()
        expect(f"server mode {mode}", want, encrypted(braid))
        place.end(braid)
    for mode in ("verify-ca", "verify-full"):
        braid = tls_mode_braid(place, server, mode, ca=cert).start()
        expect(f"server mode {mode}", True, encrypted(braid))
        place.end(braid)
    other, _ = make_certificate(place.fleet.folder, "stranger")
    braid = tls_mode_braid(place, server, "verify-full", ca=other).start(wait=False)
    braid.wait_http()
    expect_error("a certificate of a stranger", None, lambda: encrypted(braid), "ertificate")
    place.end(braid)

    plain = place.servers[0]
    braid = tls_mode_braid(place, plain, "require").start(wait=False)
    braid.wait_http()
    expect_error("a server without TLS", None, lambda: encrypted(braid), "does not offer TLS")
    place.end(braid)


def run(place, report):
    test_methods(place, report)
    report.run("login: SQLSTATEs", test_sqlstates, place)
    report.run("login: settings of the startup packet", test_setting_of_startup, place)
    report.run("login: a client that does not go on", test_slow_login, place)
    report.run("login: max_clients", test_max_clients, place)
    report.run("login: protocol versions and requests", test_protocol_versions, place)
    report.run("TLS with clients", test_tls_clients, place)
    report.run("TLS with servers", test_tls_servers, place)
