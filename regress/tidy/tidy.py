#!/usr/bin/python3
"""Code about code: what a compiler does not check and a reader should not have to.

Floor plan    a room includes its own headers and those of the rooms the Makefile lets it call
Libraries     each outside header is included in its room only (base and tests: only libc, criterion)
Text          no file over 1000 lines but tables (.def), no trailing white space, no tabs in C, no notes to ourselves
Calls         functions that are too easy to use wrongly
Rooms         each has a README.md
Pages         generated pages are what their tables say now
Scripts       shellcheck over shell scripts, compile() over Python, YAML that loads

    tidy.py [--braidctl build/release/braidctl]
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "regress"))

from report import Report, expect  # noqa: E402

LINES_MAX = 1000
LIBRARIES = {  # pattern of a header -> rooms that may include it
    r"yaml\.h": ("conf",),
    r"lz4.*\.h": ("store",),
    r"event2/(http.*|buffer|keyvalq_struct|listener)\.h": ("net", "proxy"),
    r"event2/.*": ("net",),
    r"openssl/.*": ("net",),
    r"xxhash\.h": ("shardmap",),
    r"pg_query.*|protobuf-c/.*": ("planner",),
    r"sanitizer/.*": ("planner",),
    r"libpq-fe\.h|curl/curl\.h|hiredis/hiredis\.h|librdkafka/rdkafka\.h": ("replication",),
    r"jansson\.h": ("proxy",),
    r"criterion/.*": ("tests",),
}
LIBC = re.compile(r"(arpa|gnu|netinet|sys|linux)/[\w-]+\.h|[a-z0-9_]+\.h$")
BANNED = {
    "strcpy": "buf_text or snprintf", "strcat": "buf_text", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "gets": "fgets", "atoi": "strtol with its end checked", "atol": "strtol", "atoll": "strtoll", "atof": "strtod",
    "strtok": "slices", "scanf": "strtol", "alloca": "arena", "rand": "rng", "srand": "rng",
    "tmpnam": "mkstemp", "mktemp": "mkstemp", "system": "posix_spawn", "popen": "posix_spawn", "strncpy": "snprintf",
    "usleep": "a timer", "gethostbyname": "getaddrinfo", "asctime": "fmt", "ctime": "fmt", "localtime": "localtime_r",
    "gmtime": "gmtime_r",
}
BANNED_IN_TESTS = ("strcpy", "sprintf", "vsprintf", "gets", "tmpnam", "mktemp", "alloca")
NOTES = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
PAGES = {"manual": "docs/settings.md", "sample": "conf/pgbraid.yaml", "errors": "docs/errors.md",
         "metrics": "docs/metrics.md", "logs": "docs/logs.md", "pgbouncer": "docs/pgbouncer.md",
         "statements": "docs/statements.md"}
TEXT = (".c", ".h", ".def", ".md", ".py", ".sh", ".sql", ".out", ".yaml", ".yml", ".service", ".socket")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def tracked():
    """Files of the repository; in a copy without git, all that are not built."""
    done = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard"],
                          cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if done.returncode == 0:
        return [p for p in done.stdout.split("\n") if p and os.path.isfile(os.path.join(ROOT, p))]
    out = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in ("build", ".git", "__pycache__")]
        out += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
    return out


def floor_plan():
    """room -> rooms it may call, from the Makefile."""
    rows = re.findall(r"^CALLS\.(\w+)\s*:=\s*(.*)$", read("Makefile"), re.M)
    return {room: calls.split() for room, calls in rows}


def is_test(path):
    return path.endswith(("_test.c", "_fuzz.c", "_bench.c")) or "testing" in path or path.startswith("regress/")


def without_comments(text):
    """C with comments and strings blanked, lines kept."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def check_includes(paths, plan):
    wrong = []
    for path in paths:
        room = path.split("/")[0]
        if room not in plan or not path.endswith((".c", ".h", ".def")):
            continue
        test = is_test(path)
        for number, line in enumerate(read(path).split("\n"), 1):
            m = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
            if m is None:
                continue
            header = m[2]
            if m[1] == '"':
                other = header.split("/")[0]
                if other != room and other not in plan[room]:
                    wrong.append(f"{path}:{number}: {room} may not call {other}")
                continue
            for pattern, rooms in LIBRARIES.items():
                if re.fullmatch(pattern, header):
                    if room not in rooms and not (test and "tests" in rooms):
                        wrong.append(f"{path}:{number}: <{header}> belongs to {', '.join(rooms)}")
                    break
            else:
                if not LIBC.fullmatch(header):
                    wrong.append(f"{path}:{number}: <{header}> is no header of libc and of no room")
    return wrong


def check_text(paths):
    wrong = []
    for path in paths:
        if not path.endswith(TEXT) and os.path.basename(path) not in ("Makefile", "Dockerfile"):
            continue
        text = read(path)
        lines = text.split("\n")
        if len(lines) - 1 > LINES_MAX and not path.endswith((".out", ".def")):
            wrong.append(f"{path}: {len(lines) - 1} lines; the limit is {LINES_MAX}")
        if text and not text.endswith("\n"):
            wrong.append(f"{path}: no newline at its end")
        for number, line in enumerate(lines, 1):
            if line != line.rstrip() and not path.endswith((".out", ".sql")):
                wrong.append(f"{path}:{number}: white space at the end of the line")
            if "\t" in line and path.endswith((".c", ".h", ".def")):
                wrong.append(f"{path}:{number}: a tab")
            if NOTES.search(line) and path != "regress/tidy/tidy.py":
                wrong.append(f"{path}:{number}: {NOTES.search(line)[0]}: do it or open an issue")
    return wrong


def check_calls(paths):
    wrong = []
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
    for path in paths:
        if path.endswith((".c", ".h")):
            for number, line in enumerate(without_comments(read(path)).split("\n"), 1):
                for m in pattern.finditer(line):
                    if is_test(path) and m[1] not in BANNED_IN_TESTS:
                        continue
                    wrong.append(f"{path}:{number}: {m[1]}(); instead: {BANNED[m[1]]}")
    return wrong


def check_rooms(plan):
    return [f"{room}/README.md is missing" for room in plan
            if not os.path.exists(os.path.join(ROOT, room, "README.md"))]


def check_pages(braidctl):
    wrong = []
    for word, path in PAGES.items():
        made = subprocess.run([braidctl, word], stdout=subprocess.PIPE, text=True, check=True).stdout
        if not os.path.exists(os.path.join(ROOT, path)) or read(path) != made:
            wrong.append(f"{path} is not what the table says now; `make docs` writes it")
    return wrong


def check_scripts(paths):
    wrong = []
    for path in paths:
        full = os.path.join(ROOT, path)
        if path.endswith(".py"):
            try:
                compile(read(path), path, "exec")
            except SyntaxError as e:
                wrong.append(f"{path}: {e}")
            continue
        with open(full, "rb") as f:
            shell = f.read(9) == b"#!/bin/sh"
        if shell and shutil.which("shellcheck"):
            done = subprocess.run(["shellcheck", "-S", "warning", full], stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode != 0:
                wrong.append(done.stdout.strip())
    try:
        import yaml
    except ImportError:
        return wrong
    for path in paths:
        if path.endswith((".yaml", ".yml")):
            try:
                list(yaml.safe_load_all(read(path)))
            except yaml.YAMLError as e:
                wrong.append(f"{path}: {e}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--braidctl")
    args = parser.parse_args()
    os.chdir(ROOT)
    plan, paths = floor_plan(), tracked()
    report = Report(verbose=True)
    report.run("floor plan and libraries", lambda: expect("includes", [], check_includes(paths, plan)))
    report.run("text", lambda: expect("lines", [], check_text(paths)))
    report.run("calls", lambda: expect("calls", [], check_calls(paths)))
    report.run("rooms", lambda: expect("READMEs", [], check_rooms(plan)))
    report.run("scripts", lambda: expect("scripts", [], check_scripts(paths)))
    if args.braidctl:
        report.run("pages", lambda: expect("pages", [], check_pages(os.path.abspath(args.braidctl))))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
