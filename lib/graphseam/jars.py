"""The jars that graphseam needs besides Spark's own: Delta's always, GraphFrames' only to use GraphFrames.

`python -m graphseam.jars` puts Delta's into the installed pyspark, so that sessions start quickly and without a
network; `graphseam jars` lists both and fetches them, into pyspark or into a folder for a cluster without a network.
On a cluster with a network, pass the coordinate to spark-submit instead: `--packages`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyspark
from rich.console import Console

from graphseam.errors import InputError
from graphseam.spark_line import delta_coordinate, graphframes_coordinate, scala_line, spark_jars

# Spark ships these itself; a second copy could only conflict with them.
SHIPPED_WITH_SPARK = (
    "org.apache.hadoop:*",
    "org.apache.parquet:*",
    "org.apache.logging.log4j:*",
    "org.slf4j:*",
    "com.fasterxml.jackson.core:*",
    "com.fasterxml.jackson.datatype:*",
    "org.roaringbitmap:*",
    "org.scala-lang:*",
)


@dataclass(frozen=True)
class Package:
    """The jars behind one coordinate. marks: parts of the file names of its own jar and of its dependencies."""

    name: str
    why: str
    coordinate: Callable[[], str]
    main: str  # part of the file name of its own jar
    marks: tuple[str, ...]

    def owns(self, jar: Path) -> bool:
        return any(mark in jar.name for mark in self.marks)

    def is_here(self) -> bool:
        """Whether the installed pyspark already has its jar."""
        return any(spark_jars().glob(f"*{self.main}*.jar"))


PACKAGES = {
    "delta": Package(
        "delta",
        "needed: every table is one of Delta's",
        delta_coordinate,
        "delta-spark_",
        ("delta-spark_", "delta-storage-", "io.delta_", "unitycatalog"),
    ),
    "graphframes": Package(
        "graphframes",
        'for graphseam.embed and partition.method = "graphframes_lpa"',
        graphframes_coordinate,
        "graphframes-spark",
        ("graphframes-",),
    ),
}


def has_delta() -> bool:
    return PACKAGES["delta"].is_here()


def print_packages(console: Console) -> None:
    """Print which Spark this is and, for each package, its coordinate, whether it is here, and what it is for."""
    console.print(f"Spark {pyspark.__version__}, Scala {scala_line()}: {spark_jars()}", soft_wrap=True)
    for package in PACKAGES.values():
        here = "here" if package.is_here() else "not here"
        console.print(f"{package.name}  {here}  {package.coordinate()}\n  {package.why}", soft_wrap=True)
    console.print("A jar that spark-submit is given by --packages or --jars needs not be here.", soft_wrap=True)


def fetch(package: Package, folder: Path | None = None, source: Path | None = None) -> list[Path]:
    """Put a package's jars into `folder`, by default into the installed pyspark; returns the files.

    source: a folder that already holds them, for machines without a network; None: Spark's own resolver fetches them.
    Errors: InputError if they cannot be fetched, with the resolver's message.
    """
    target = folder or spark_jars()
    target.mkdir(parents=True, exist_ok=True)
    if source is not None:
        found = [jar for jar in sorted(source.glob("*.jar")) if package.owns(jar)]
        if not any(package.main in jar.name for jar in found):
            raise InputError(
                f"{str(source)!r} holds no jar of {package.coordinate()}; on a machine with a network, "
                f"`graphseam jars --fetch {package.name} --to DIR` fills such a folder"
            )
        return [Path(shutil.copy(jar, target / jar.name)) for jar in found]
    with tempfile.TemporaryDirectory(prefix="graphseam-jars-") as ivy:
        return [Path(shutil.copy(jar, target / jar.name)) for jar in _resolved(package, Path(ivy))]


def _resolved(package: Package, ivy: Path) -> list[Path]:
    """The package's jars, fetched by Spark's resolver into the folder `ivy`."""
    script = ivy / "probe.py"
    script.write_text("from pyspark.sql import SparkSession; SparkSession.builder.getOrCreate().stop()")
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    command = [
        str(submit),
        "--master",
        "local[1]",
        "--packages",
        package.coordinate(),
        "--exclude-packages",
        ",".join(SHIPPED_WITH_SPARK),
        "--conf",
        f"spark.jars.ivy={ivy}",
        "--conf",
        "spark.ui.enabled=false",
        str(script),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [jar for jar in sorted((ivy / "jars").glob("*.jar")) if package.owns(jar)]
    if done.returncode or not found:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        said = [line for line in lines if "module not found" in line or "JAVA_HOME" in line] or lines[-1:]
        raise InputError(
            f"{package.coordinate()} could not be fetched ({' '.join(said[:1])}); where there is no "
            f"network, fill a folder elsewhere by `graphseam jars --fetch {package.name} --to DIR` and "
            "give it by --from DIR"
        )
    return found


def install_delta() -> None:
    """Put Delta's jars into pyspark, unless they are there."""
    if not has_delta():
        fetch(PACKAGES["delta"])


if __name__ == "__main__":
    try:
        install_delta()
    except InputError as error:
        sys.exit(f"graphseam: {error}")
