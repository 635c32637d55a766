"""What is aimed at: ratios to PgBouncer in the same run, and what became of them."""


def _find(results, workload, clients, name):
    return next((line for line in results.lines
                 if (line.workload, line.clients, line.name) == (workload, clients, name)), None)


class Rows:
    def __init__(self, results):
        self.results = results
        self.rows = []

    def add(self, what, clients, name, ratio, limit):
        if ratio is not None:
            self.rows.append([what, clients, name, f"{ratio:.2f}", f"{limit:.2f}", "met" if ratio <= limit else "missed"])

    def lines(self, workload, limit, what=None, names=None, figure=lambda line: line.of_peer):
        """All rows of a workload that are not of PgBouncer itself."""
        for line in self.results.lines:
            if line.workload == workload and line.has_proxy and "PgBouncer" not in line.name \
                    and (names is None or line.name in names):
                self.add(what or workload, line.clients, line.name, figure(line), limit)


def _of_simple(results):
    """CPU of a prepared statement by that of PgBouncer's simple one times 1.2: what sharing them would cost it."""
    def ratio(line):
        peer = _find(results, "select, simple", line.clients, "PgBouncer")
        if peer is None or peer.proxy_us is None or line.proxy_us is None:
            return None
        return line.proxy_us / (peer.proxy_us * 1.2)
    return ratio


def rows_of(results):
    """[what, clients, through, ratio, limit, met or missed]"""
    r = Rows(results)
    own = ("pgbraid", "pgbraid, 1 worker")
    shards = (f"pgbraid, {results.shards} shards",)
    r.lines("select, simple", 0.95, names=own)
    r.lines("select, prepared", 0.80, "select, prepared (of simple x 1.2)", own, _of_simple(results))
    r.lines("select, extended", 1.00, names=own)
    own += ("pgbraid, all",)
    r.lines("select, extended", 0.80, "select, extended, with the server", own, lambda line: line.of_peer_total)
    r.lines("select, simple", 1.10, "select, simple, by key", shards)
    r.lines("select, prepared", 1.10, "select, prepared, by key", shards)
    r.lines("select, simple, TLS", 0.95)
    r.lines("connect each, SCRAM", 0.95)
    r.lines("connect each, SCRAM, TLS", 0.90)
    for line in results.lines:
        if line.workload.startswith("result of"):
            r.lines(line.workload, 0.50, names=(line.name,))
    many = _find(results, "select, simple, thousands of databases", 16, "pgbraid, thousands")
    few = _find(results, "select, simple, thousands of databases", 16, "pgbraid")
    if many and few and many.proxy_us and few.proxy_us:
        r.add("thousands of databases, of pgbraid without", 16, many.name, many.proxy_us / few.proxy_us, 1.10)
    memory = {name: each for name, clients, _, _, each in results.memory}
    for kind in ("", ", TLS"):
        if f"PgBouncer{kind}" in memory and f"pgbraid{kind}" in memory:
            r.add("memory of an idle client" + kind, "", "pgbraid", memory[f"pgbraid{kind}"] / memory[f"PgBouncer{kind}"],
                  0.75)
    return r.rows
