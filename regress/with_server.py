#!/usr/bin/python3
"""Runs a command beside one fresh PostgreSQL server; {psql} in it becomes a psql command line.

    with_server.py COMMAND...
"""

import subprocess
import sys

import pg


def main():
    pg.stop_on_signals()
    with pg.Fleet() as fleet:
        server = fleet.start(1)[0]
        psql = f"{pg.BIN}/psql -h {server.socket_dir} -p {server.port} -U {pg.SUPERUSER} postgres"
        words = [word.replace("{psql}", psql) for word in sys.argv[1:]]
        return subprocess.run(words, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
