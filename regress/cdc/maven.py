"""Servers that no Debian package has, from Maven Central, by mvn."""

import os
import shutil
import subprocess

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>pgbraid</groupId><artifactId>servers</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>{dependencies}
  </dependencies>
</project>
"""
DEPENDENCY = """
    <dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"""
PACKAGES = {"mvn": "maven", "java": "default-jdk-headless"}


def missing(*programs):
    """What to say when one of them is not there, or None."""
    for program in programs:
        if shutil.which(program) is None:
            return f"{program} is not there (Debian: apt-get install {PACKAGES[program]})"
    return None


def jars(folder, dependencies):
    """The folder of the jars of all of (group, artifact, version) and of what they need; fetched once, then they stay."""
    pom = POM.format(dependencies="".join(DEPENDENCY.format(*d) for d in dependencies))
    path, out = os.path.join(folder, "pom.xml"), os.path.join(folder, "jar")
    if os.path.exists(path) and os.path.isdir(out):
        with open(path, encoding="utf-8") as f:
            if f.read() == pom:
                return out
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    fetching = os.path.join(folder, "fetching.xml")
    with open(fetching, "w", encoding="utf-8") as f:
        f.write(pom)
    subprocess.run(["mvn", "-q", "-B", "-f", fetching, "dependency:copy-dependencies", f"-DoutputDirectory={out}"], cwd=folder, check=True,
                   timeout=900)
    os.rename(fetching, path)  # it is whole
    return out
