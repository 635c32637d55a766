"""A strict reader of OpenMetrics 1.0 text: whatever the format forbids is an error."""

import math
import re

from report import Failed

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|\})')
SUFFIXES = {"counter": ("_total", "_created"), "gauge": ("",),
            "histogram": ("_bucket", "_count", "_sum", "_created"),
            "summary": ("", "_count", "_sum", "_created"), "info": ("_info",)}


class Family:
    def __init__(self, name):
        self.name, self.kind, self.unit, self.help, self.samples = name, None, None, None, []


class Sample:
    def __init__(self, name, labels, value):
        self.name, self.labels, self.value = name, labels, value


def fail(line, why):
    raise Failed(f"/metrics: {why}: {line!r}")


def read_sample(line):
    at = re.match(r"[a-zA-Z_:][a-zA-Z0-9_:]*", line)
    if at is None:
        fail(line, "no name")
    labels, rest = {}, line[at.end():]
    if rest.startswith("{"):
        rest = rest[1:]
        while not rest.startswith("}"):
            label = LABEL.match(rest)
            if label is None or label.group(1) in labels:
                fail(line, "bad labels")
            labels[label.group(1)] = label.group(2)
            rest = rest[label.end() - (label.group(3) == "}"):]
        rest = rest[1:]
    if not re.fullmatch(r" [-+0-9.eE]+| [+-]Inf| NaN", rest):
        fail(line, "bad value")
    return Sample(at.group(0), labels, float(rest))


def check_histogram(family):
    series = {}
    for sample in family.samples:
        key = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
        series.setdefault(key, []).append(sample)
    for samples in series.values():
        buckets = [(float(s.labels["le"]), s.value) for s in samples if s.name.endswith("_bucket")]
        counts = [s.value for s in samples if s.name.endswith("_count")]
        if buckets != sorted(buckets) or [b for _, b in buckets] != sorted(b for _, b in buckets):
            fail(family.name, "buckets do not ascend")
        if not buckets or not math.isinf(buckets[-1][0]) or counts != [buckets[-1][1]]:
            fail(family.name, "no +Inf bucket, or it differs from _count")


def parse(text):
    if not text.endswith("# EOF\n") or text.count("# EOF") != 1:
        fail(text[-40:], "no EOF")
    families, current, seen = {}, None, set()
    for line in text.split("\n")[:-2]:
        if line.startswith("# "):
            _, what, name, *rest = line.split(" ", 3)
            if current is None or current.name != name:
                if name in families or NAME.match(name) is None:
                    fail(line, "a family twice, or a bad name")
                current = families[name] = Family(name)
            attribute = {"TYPE": "kind", "UNIT": "unit", "HELP": "help"}.get(what)
            if attribute is None or getattr(current, attribute) is not None or current.samples:
                fail(line, "metadata out of order")
            setattr(current, attribute, rest[0] if rest else "")
            if what == "UNIT" and not name.endswith("_" + current.unit):
                fail(line, "the name does not end with its unit")
            continue
        sample = read_sample(line)
        if current is None or not any(sample.name == current.name + suffix
                                      for suffix in SUFFIXES.get(current.kind, ())):
            fail(line, "a sample outside of its family")
        key = (sample.name, tuple(sorted(sample.labels.items())))
        if key in seen:
            fail(line, "a sample twice")
        seen.add(key)
        current.samples.append(sample)
    for family in families.values():
        if family.kind == "histogram":
            check_histogram(family)
    return families
