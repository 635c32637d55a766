"""Drivers that Debian has not, or not where another Node or Go is installed: fetched once into
build/drivers from their registries, by the versions and checksums of packages.json."""

import base64
import hashlib
import io
import json
import os
import shutil
import tarfile
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "drivers")


class Missing(Exception):
    """This machine cannot run a driver's test; the text says what is missing."""


def get(url, integrity):
    algorithm, wanted = integrity.split("-", 1)
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            data = answer.read()
    except OSError as e:
        raise Missing(f"{url} cannot be fetched: {e}") from None
    found = base64.b64encode(hashlib.new(algorithm, data).digest()).decode()
    if found != wanted:
        raise RuntimeError(f"{url} is not what packages.json says: {algorithm}-{found}")
    return data


def node_modules():
    """The folder that NODE_PATH or a program beside it finds them in."""
    modules = os.path.join(FOLDER, "node", "node_modules")
    for name, version, integrity in listed("npm"):
        folder = os.path.join(modules, name)
        if not os.path.exists(os.path.join(folder, "package.json")):
            data = get(f"https://registry.npmjs.org/{name}/-/{name}-{version}.tgz", integrity)
            shutil.rmtree(folder, ignore_errors=True)
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in tar.getmembers():
                    path = member.name.split("/", 1)[-1]  # "package/..."
                    if member.isfile() and ".." not in path.split("/"):
                        target = os.path.join(folder, path)
                        os.makedirs(os.path.dirname(target), exist_ok=True)
                        with open(target, "wb") as f:
                            f.write(tar.extractfile(member).read())
    return modules


def jar(artifact="org/postgresql/postgresql"):
    path, version, integrity = next(row for row in listed("maven") if row[0] == artifact)
    name = f"{path.rsplit('/', 1)[-1]}-{version}.jar"
    target = os.path.join(FOLDER, name)
    if not os.path.exists(target):
        data = get(f"https://repo1.maven.org/maven2/{path}/{version}/{name}", integrity)
        os.makedirs(FOLDER, exist_ok=True)
        with open(target, "wb") as f:
            f.write(data)
    return target


def listed(kind):
    with open(os.path.join(HERE, "packages.json"), encoding="utf-8") as f:
        return json.load(f)[kind]


def program(*names):
    """The first of these commands that is here."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise Missing(f"no {' or '.join(names)} on this machine")
