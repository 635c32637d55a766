"""Where clients come in: unix sockets, PROXY protocol, TLS at once, TLS settings and their reload."""

import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import psycopg2

import raw
from logins import tls_mode_braid
from pg import free_ports
from place import expect_error, serves, wait_for
from report import Failed, expect, expect_that

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def folder_of(place, name):
    folder = os.path.join(place.fleet.folder, name)
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    return folder


# ---- unix sockets ----


def test_unix_socket(place):
    folder = folder_of(place, "unix")
    port = free_ports(1)[0]
    path = os.path.join(folder, f".s.PGSQL.{port}")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()  # the file of a process that died
    tcp = free_ports(1)[0]
    listen = [f"127.0.0.1:{tcp}", {"address": f"{folder}:{port}", "unix_mode": "0770"}, f"@{folder}:{port}"]
    braid = place.braid(start=False, listen=listen)
    braid.port = tcp
    braid.start()
    expect("mode", "0o770", oct(os.stat(path).st_mode & 0o777))
    for host in (folder, "@" + folder):
        with psycopg2.connect(host=host, port=port, dbname="plain", user="app") as c, c.cursor() as cur:
            cur.execute("SELECT 1")
            expect(f"over {host}", [(1,)], cur.fetchall())
            rows = braid.sql("SHOW CLIENTS", "pgbraid")
            expect_that(f"a client is shown as unix: {rows}", any("unix" in map(str, r) for r in rows))
        c.close()
    expect("a second process", 2, other_exit(place, braid, listen))
    place.end(braid)
    expect("the file is gone", False, os.path.exists(path))


def other_exit(place, braid, listen):
    """Exit status of another pgbraid on the same unix socket."""
    other = place.braid(start=False, listen=listen[1:2])
    other.start(wait=False)
    return other.process.wait(20)


# ---- PROXY protocol ----


def v1(source="192.0.2.7"):
    return f"PROXY TCP4 {source} 198.51.100.1 5000 6432\r\n".encode()


def v2(source="203.0.113.9", tlv=b"\xe0\x00\x02ab"):
    body = socket.inet_aton(source) + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 5001, 6432) + tlv
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11, len(body)) + body


def log_in(port, header=b"", slowly=False):
    """A session behind a header; None when it was closed without a word."""
    r = raw.Raw(port)
    data = header + raw.startup("app", "plain")
    try:
        for piece in ([data[i:i + 1] for i in range(len(data))] if slowly else [data]):
            r.socket.sendall(piece)
        while True:
            kind, body = r.next()
            if kind == "E":
                return raw.fields_of(body)["C"]
            if kind == "Z":
                return r
    except (raw.Closed, OSError):
        return None


def shown(braid, address):
    rows = braid.sql("SHOW CLIENTS", "pgbraid")
    return any(str(value).startswith(address) for row in rows for value in row)


def test_proxy_protocol(place):
    plain, on, required, distrusted = free_ports(4)
    listen = [f"127.0.0.1:{plain}", {"address": f"127.0.0.1:{on}", "proxy_protocol": "on"},
              {"address": f"127.0.0.1:{required}", "proxy_protocol": "required"}]
    braid = place.braid(start=False, listen=listen,
                        network={"proxy_protocol_from": "127.0.0.0/8", "proxy_protocol_timeout_ms": 500})
    braid.port = plain
    braid.start()
    for port in (on, required):
        for header, address in ((v1(), "192.0.2.7"), (v2(), "203.0.113.9"),
                                (SIGNATURE + b"\x20\0\0\0", "127.0.0.1"), (b"PROXY UNKNOWN\r\n", "127.0.0.1")):
            for slowly in (False, True):
                r = log_in(port, header, slowly)
                expect_that(f"{header!r} slowly={slowly}: a login", isinstance(r, raw.Raw))
                expect_that(f"{header!r}: shown as {address}", shown(braid, address))
                expect_that(f"{address} is in the log", f"{address}:" in braid.log())
                r.socket.close()
        expect("no header", None, log_in(port))
        expect("a broken header", None, log_in(port, b"PROXY TCP4 1.2.3.4\r\n"))
        silent = socket.create_connection(("127.0.0.1", port))
        silent.settimeout(10)
        silent.sendall(b"PROXY TCP4 ")
        while silent.recv(1000):
            pass
        silent.close()
    expect("a header nobody asked for", "08P01", log_in(plain, v1()))
    place.end(braid)

    listen = [{"address": f"127.0.0.1:{on}", "proxy_protocol": "on"},
              {"address": f"127.0.0.1:{distrusted}", "proxy_protocol": "required"}]
    braid = place.braid(start=False, listen=listen, network={"proxy_protocol_from": "192.0.2.0/24"})
    braid.port = on
    braid.start()
    serves(braid)  # not of those networks: no header
    expect("a header of a stranger", "08P01", log_in(on, v1()))
    expect("a stranger where a header is required", None, log_in(distrusted, v1()))
    place.end(braid)


# ---- TLS ----


def certificates(place):
    """ca, server, client and revoked certificates with a list of what is revoked."""
    folder = folder_of(place, "ca")
    if os.path.exists(os.path.join(folder, "ca.crl")):
        return lambda name: os.path.join(folder, name)

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    key = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt")
    with open(os.path.join(folder, "ca.conf"), "w", encoding="utf-8") as f:
        f.write("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=2\n")
    with open(os.path.join(folder, "index.txt"), "w", encoding="utf-8"):
        pass
    with open(os.path.join(folder, "san"), "w", encoding="utf-8") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "app", "revoked"):
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "san", "-out", f"{name}.crt")
        os.chmod(os.path.join(folder, f"{name}.key"), 0o600)
    openssl("ca", "-config", "ca.conf", "-keyfile", "ca.key", "-cert", "ca.crt", "-revoke", "revoked.crt")
    openssl("ca", "-config", "ca.conf", "-keyfile", "ca.key", "-cert", "ca.crt", "-gencrl", "-out", "ca.crl")
    return lambda name: os.path.join(folder, name)


def direct(port, alpn=("postgresql",)):
    """A connection that begins with TLS at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10))


def direct_answer(port, alpn=("postgresql",)):
    """The first byte the proxy answers a startup packet with; "" when it closes."""
    try:
        with direct(port, alpn) as s:
            s.sendall(raw.startup("app", "plain"))
            return s.recv(1).decode()
    except OSError:
        return ""


def test_direct_tls(place):
    path = certificates(place)
    tls = {"client": {"mode": "allow", "cert": path("server.crt"), "key": path("server.key")}}
    braid = place.braid(tls=tls)
    expect("with ALPN", "R", direct_answer(braid.port))
    with direct(braid.port) as s:
        expect("chosen", "postgresql", s.selected_alpn_protocol())
    expect("without ALPN", "", direct_answer(braid.port, ()))
    expect("another protocol", "", direct_answer(braid.port, ("http/1.1",)))
    behind = tls_mode_braid(place, braid, "verify-ca", ca=path("ca.crt"), negotiation="direct").start(wait=False)
    behind.wait_http()  # health checks speak libpq's way, so /health may say no
    expect("a server that takes it", [(7,)], behind.sql("SELECT 7", "plain"))
    place.end(behind)
    port = free_ports(1)[0]
    place.end(braid)
    braid = place.braid(start=False, tls=tls, network={"proxy_protocol_from": "127.0.0.1"},
                        listen=[f"127.0.0.1:{port}", {"address": f"127.0.0.1:{port + 1}", "tls": "disable"},
                                {"address": f"127.0.0.1:{port + 2}", "proxy_protocol": "on"}])
    braid.port = port
    braid.start()
    expect("where TLS is off", "", direct_answer(port + 1))
    raw_socket = socket.create_connection(("127.0.0.1", port + 2), 10)
    raw_socket.sendall(v1())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    with context.wrap_socket(raw_socket) as s:
        s.sendall(raw.startup("app", "plain"))
        expect("a header before TLS", b"R", s.recv(1))
        expect_that("the announced address", shown(braid, "192.0.2.7"))
    place.end(braid)


def version_with(braid, **more):
    c = braid.connect("plain", sslmode="require", **more)
    try:
        return c.info.ssl_attribute("protocol"), c.info.ssl_attribute("cipher")
    finally:
        c.close()


def test_tls_settings(place):
    path = certificates(place)
    client = {"mode": "require", "cert": path("server.crt"), "key": path("server.key"),
              "max_version": "TLSv1.2", "ciphers": "ECDHE-RSA-AES256-GCM-SHA384"}
    braid = place.braid(tls={"client": client})
    expect("1.2", ("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384"), version_with(braid))
    kept = braid.connect("plain", sslmode="require")
    braid.config["tls"]["client"] = {**client, "max_version": "any", "min_version": "TLSv1.3",
                                     "ciphersuites": "TLS_CHACHA20_POLY1305_SHA256"}
    braid.write_files()
    braid.reload()
    wait_for("1.3 after a reload", lambda: version_with(braid) == ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"))
    expect_error("1.2 is too old now", None, lambda: version_with(braid, ssl_max_protocol_version="TLSv1.2"))
    with kept.cursor() as cur:
        cur.execute("SELECT 2")
        expect("who was there stays", [(2,)], cur.fetchall())
    kept.close()
    braid.config["tls"]["client"]["ciphersuites"] = "TLS_NO_SUCH"
    braid.write_files()
    braid.reload()
    expect_that("a bad reload says why", "TLS_NO_SUCH" in braid.log())
    expect("and leaves what was", "TLSv1.3", version_with(braid)[0])
    place.end(braid)


def test_client_certificates(place):
    path = certificates(place)
    braid = place.braid(tls={"client": {"mode": "verify-ca", "cert": path("server.crt"), "key": path("server.key"),
                                        "ca": path("ca.crt"), "crl": path("ca.crl")}})
    with_cert = {"sslcert": path("app.crt"), "sslkey": path("app.key")}
    expect("with a certificate", "TLSv1.3", version_with(braid, **with_cert)[0])
    expect_error("without", None, lambda: version_with(braid), "valid client certificate")
    expect_error("a revoked one", None, lambda: version_with(braid, sslcert=path("revoked.crt"),
                                                             sslkey=path("revoked.key")))
    wait_for("the log names the reason", lambda: "revoked" in braid.log())
    place.end(braid)


def test_server_certificates(place):
    """Servers that want a certificate of ours; lists of what is revoked; names that must fit."""
    path = certificates(place)
    server = place.fleet.add(hba=["hostssl all all 127.0.0.1/32 trust clientcert=verify-ca"],
                             options=["ssl = on", "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'",
                                      "ssl_ca_file = 'ca.crt'"])
    for name in ("server.crt", "server.key", "ca.crt"):
        with open(path(name), encoding="utf-8") as f:
            server.write(name, f.read())
    server.start()
    server.sql("CREATE ROLE app LOGIN")
    server.sql("CREATE DATABASE plain OWNER app")
    good = {"mode": "verify-full", "ca": path("ca.crt"), "crl": path("ca.crl")}
    mine = {"cert": path("app.crt"), "key": path("app.key")}
    braid = tls_mode_braid(place, server, **good, **mine).start(wait=False)
    braid.wait_http()
    wait_for("mTLS", lambda: braid.sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "plain") == [(True,)])
    place.end(braid)
    braid = tls_mode_braid(place, server, **good).start(wait=False)
    braid.wait_http()
    expect_error("without ours", None, lambda: braid.sql("SELECT 1", "plain"))
    place.end(braid)


# ---- handshakes beside the loop ----


def test_handshake_burst(place):
    """Statements go on while a burst of handshakes is computed; a silent one is closed in time."""
    path = certificates(place)
    braid = place.braid(tls={"client": {"mode": "allow", "cert": path("server.crt"), "key": path("server.key")}},
                        auth={"login_timeout_ms": 1500})
    stop = threading.Event()
    failed = []

    def connects():
        while not stop.is_set():
            try:
                version_with(braid)
            except psycopg2.Error as e:
                failed.append(str(e))

    silent = socket.create_connection(("127.0.0.1", braid.port))
    silent.sendall(raw.request(raw.SSL_REQUEST))
    threads = [threading.Thread(target=connects) for _ in range(4)]
    for t in threads:
        t.start()
    c = braid.connect("plain")
    until = time.monotonic() + 2
    count = 0
    with c.cursor() as cur:
        while time.monotonic() < until:
            cur.execute("SELECT 1")
            count += 1
    stop.set()
    for t in threads:
        t.join()
    c.close()
    expect("failed connects", [], failed[:3])
    expect_that(f"{count} statements meanwhile", count > 20)
    silent.settimeout(10)
    while silent.recv(100):
        pass
    silent.close()
    place.end(braid)


# ---- systemd ----


class Systemd:
    """As much of it as pgbraid can see: sockets at descriptor 3, a socket to tell things to."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self.told = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(0.05)
        self.sockets = []

    def start(self, braid, watchdog_us=0):
        child = os.fork()
        if child == 0:
            try:
                for i, s in enumerate(self.sockets):
                    os.dup2(s.fileno(), 100 + i)
                for i in range(len(self.sockets)):
                    os.dup2(100 + i, 3 + i)
                    os.set_inheritable(3 + i, True)
                log = os.open(braid.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.closerange(3 + len(self.sockets), 1000)
                words = {**os.environ, "NOTIFY_SOCKET": self.path, "LISTEN_FDS": str(len(self.sockets)),
                         "LISTEN_PID": str(os.getpid())}
                if watchdog_us:
                    words["WATCHDOG_USEC"] = str(watchdog_us)
                os.execve(braid.binary, [braid.binary, "-c", braid.path], words)
            finally:
                os._exit(99)
        return child

    def hears(self, word, seconds=15):
        """Until this word was told since the last one that was waited for."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                text = self.socket.recv(4096).decode()
            except socket.timeout:
                continue
            self.told.append(text)
            if word in text.split("\n"):
                return text
        raise Failed(f"systemd was not told {word}, but {self.told}")


def test_systemd(place):
    systemd = Systemd(folder_of(place, "systemd"))
    named, extra = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    systemd.sockets = [named, extra]
    braid = place.braid(start=False, listen=[f"127.0.0.1:{named.getsockname()[1]}"])
    early = socket.create_connection(named.getsockname())  # before there is a process
    child = systemd.start(braid, watchdog_us=400000)
    try:
        systemd.hears("READY=1")
        for s in systemd.sockets:
            braid.port = s.getsockname()[1]
            serves(braid)
        early.sendall(raw.startup("app", "plain"))
        expect("who came before the process", b"R", early.recv(1))
        systemd.hears("WATCHDOG=1")
        systemd.hears("WATCHDOG=1")
        os.kill(child, signal.SIGHUP)
        expect_that("when", "MONOTONIC_USEC=" in systemd.hears("RELOADING=1"))
        systemd.hears("READY=1")
        os.kill(child, signal.SIGTERM)
        systemd.hears("STOPPING=1")
        expect("exit status", 0, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        child = None
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    expect("complaints", [], braid.complaints())
    socket.create_connection(named.getsockname()).close()  # the sockets are still systemd's
    for s in (named, extra, early, systemd.socket):
        s.close()


def run(place, report):
    report.run("listen: unix sockets", test_unix_socket, place)
    report.run("listen: PROXY protocol", test_proxy_protocol, place)
    report.run("listen: TLS at once", test_direct_tls, place)
    report.run("listen: TLS versions, ciphers, reload", test_tls_settings, place)
    report.run("listen: client certificates", test_client_certificates, place)
    report.run("listen: certificates for servers", test_server_certificates, place)
    report.run("listen: systemd", test_systemd, place)
    report.run("listen: many handshakes", test_handshake_burst, place)
