#!/usr/bin/env python3
"""COPY data cut by wire/copytext.h against a real server reading the same files: same rows, same
NULLs, same refusals.

usage: copy_check.py [--build DIR] [--psql "COMMAND"] [--seed N] [--count N] [--dir DIR]

The server reads the files from DIR (default: a new folder under /tmp), so it runs on this machine.
"""

import argparse
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def build_tool(build):
    tool = os.path.join(build, "copy_tool")
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-I.", "-o", tool,
               "regress/wire/copy_tool.c", f"{build}/libwire.a", f"{build}/libbase.a", "-pthread"]
    if "asan" in build:
        command.insert(1, "-fsanitize=address,undefined")
    subprocess.run(command, cwd=ROOT, check=True)
    return os.path.join(ROOT, tool)


class Case:
    """Options of one COPY and a file of nasty data for it."""

    def __init__(self, rng, path):
        self.path = path
        self.csv = rng.random() < 0.5
        self.delimiter = rng.choice([",", ",", ";", "|"] if self.csv else ["\t", "\t", "|", "A"])
        self.quote = rng.choice(['"', '"', "'"])
        self.escape = rng.choice([self.quote, self.quote, "\\", "e"])
        self.null = rng.choice(["", "NULL", "x"]) if self.csv else rng.choice(["\\N", "", "x"])
        self.header = rng.random() < 0.2
        eol = rng.choice(["\n", "\n", "\r\n", "\r"])
        rows = []
        for _ in range(rng.randint(0, 5)):
            fields = 2 if rng.random() < 0.97 else rng.randint(0, 4)
            rows.append(self.delimiter.join(self.field(rng) for _ in range(fields)))
        text = eol.join(rows)
        if rng.random() < 0.8:
            text += eol
        if rng.random() < 0.2:
            text += "\\." + rng.choice([eol, eol, "\n", "\r", "", "x" + eol]) + rng.choice(["", "rest" + eol])
        if rng.random() < 0.1 and text:  # something anywhere
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(["\n", "\r", "\\", "\\.", self.quote, self.delimiter, "\r\n"]) + text[at:]
        with open(path, "w", newline="", encoding="ascii") as f:
            f.write(text)
        self.text = text

    def field(self, rng):
        kind = rng.random()
        if kind < 0.1:
            return self.null
        if kind < 0.25:
            return "".join(rng.choice("abcxN149ef.") for _ in range(rng.randint(0, 4)))
        if self.csv:
            pieces = [self.quote, self.quote * 2, self.escape, self.escape + self.quote, "a", "e", "\\", ".", " "]
            inner = "".join(rng.choice(["a", "\n", "\r", "\r\n", self.delimiter, self.quote * 2, "\\.",
                                        self.escape + self.quote, self.escape * 2, "e", "\\"])
                            for _ in range(rng.randint(0, 4)))
            if rng.random() < 0.6:
                return self.quote + inner + self.quote + rng.choice(["", "", "", "a"])
            return "".join(rng.choice(pieces) for _ in range(rng.randint(0, 4)))
        pieces = ["a", "\\\\", "\\n", "\\r", "\\t", "\\b", "\\f", "\\v", "\\x41", "\\x4", "\\xg", "\\101", "\\7", "\\1018",
                  "\\q", "\\" + self.delimiter, "\\N", "\\", "\\\n", "\\\r", "B4", "7", " ", "\\x4Ab"]
        return "".join(rng.choice(pieces) for _ in range(rng.randint(1, 4)))

    def sql(self):
        def lit(s):
            return "E'" + s.replace("\\", "\\\\").replace("'", "\\'").replace("\t", "\\t") + "'"
        options = [f"format {'csv' if self.csv else 'text'}", f"delimiter {lit(self.delimiter)}", f"null {lit(self.null)}"]
        if self.csv:
            options += [f"quote {lit(self.quote)}", f"escape {lit(self.escape)}"]
        if self.header:
            options.append("header")
        return (f"truncate t;\ncopy t(a, b) from '{self.path}' with ({', '.join(options)});\n\\if :ERROR\n\\echo ERROR\n\\else\n"
                "select coalesce(string_agg(coalesce(encode(convert_to(a, 'UTF8'), 'hex'), '-') || ',' || "
                "coalesce(encode(convert_to(b, 'UTF8'), 'hex'), '-') || ';', '' order by id), '') from t;\n\\endif\n")

    def question(self):
        return (f"{1 if self.csv else 0} {ord(self.delimiter)} {ord(self.quote)} {ord(self.escape)} "
                f"{int(self.header)} {self.null} {self.path}\n")


def is_utf8(answer):
    try:
        bytes.fromhex("".join(c for c in answer if c in "0123456789abcdef")).decode("utf-8")
        return True
    except ValueError:
        return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--psql", default="psql -h 127.0.0.1 -U postgres postgres")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=3000)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    tool = build_tool(args.build)
    folder = tempfile.mkdtemp(prefix="copy_check.")
    os.chmod(folder, 0o755)
    cases = [Case(rng, f"{folder}/{i}") for i in range(args.count)]
    script = "create temp table t (id serial, a text, b text);\n" + "".join(c.sql() for c in cases)
    server = subprocess.run(shlex.split(args.psql) + ["-XqAt"], input=script, capture_output=True, text=True)
    theirs = server.stdout.splitlines()
    ours = subprocess.run([tool], input="".join(c.question() for c in cases), capture_output=True, text=True, check=True)
    ours = ours.stdout.splitlines()
    messages = server.stderr.splitlines()
    assert len(theirs) == len(ours) == len(cases), (len(theirs), len(ours), len(cases), messages[:5])
    different = stricter = refused = 0
    for case, we, they in zip(cases, ours, theirs):
        refused += they == "ERROR"
        if we == they:
            continue
        # A marker behind data: servers before 18 take what is in front of it as a row, we refuse.
        if we == "ERROR" and not case.csv and "\\." in case.text:
            stricter += 1
            continue
        if they == "ERROR" and not is_utf8(we):
            continue  # escapes that make no valid text; not looked at while cutting
        different += 1
        if different <= 5:
            print(f"{case.sql().splitlines()[1]}\n  data   {case.text!r}\n  ours   {we}\n  server {they}")
    shutil.rmtree(folder)
    print(f"COPY data: {len(cases)} files compared ({refused} refused by the server), {different} different, "
          f"{stricter} refused by us only (end marker behind data)")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
