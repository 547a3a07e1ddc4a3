"""An archive of Java's loaded classes: the first run makes it, local sessions after that start in two thirds the time.

Loading and verifying some 20,000 classes of Spark and Delta is most of what the first seconds of a session do. Java can
keep them as it laid them out in memory and map that file instead ("dynamic archiving of classes", JEP 350). It writes
the archive when it ends, after the command that started it has returned. The archive belongs to one Java and one list
of jars and lies beside them, 200 MB. Nothing needs it: where it cannot be written, or Java refuses it, classes are
loaded as ever.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from graphseam.spark_line import spark_jars

SWITCH = "GRAPHSEAM_CLASS_ARCHIVE"  # "off": neither used nor made
SILENT = "-Xlog:disable -Xlog:all=error:stderr"  # Java warns of each class that cannot be archived
MAKES_ARCHIVE = "-XX:ArchiveClassesAtExit"
OLDEST_JAVA = 17
MOST_MB = 300  # free space that making it takes for granted
STALE_S = 24 * 3600  # a process that began to make it that long ago was stopped
WRITING_S = 60  # its Java may take to write it after the process has ended


def class_archive_options(make: bool = False) -> str:
    """Java options that load the archive, or with `make` those that write it when Java ends; empty if neither can be.

    A process that makes it marks that in a file beside it, so that no second one does.
    """
    archive = None if os.environ.get(SWITCH) == "off" else archive_path()
    if archive is None:
        return ""
    if archive.exists():
        return f"-XX:SharedArchiveFile={archive} {SILENT}"
    return f"{MAKES_ARCHIVE}={archive} {SILENT}" if make and _may_make(archive) else ""


def forget_making() -> None:
    """Let another process make the archive, as this one will not."""
    archive = archive_path()
    if archive is not None:
        archive.with_suffix(".making").unlink(missing_ok=True)


def complete() -> None:
    """Say that Java is about to end and write the archive, if this process was to make it."""
    archive = archive_path()
    with suppress(OSError):
        if archive is not None and (mark := archive.with_suffix(".making")).read_text() == str(os.getpid()):
            mark.touch()


def _may_make(archive: Path) -> bool:
    """Whether this process is to write the archive; then it removes what is left of those of other Javas and jars."""
    mark = archive.with_suffix(".making")
    try:
        if _folder_of_settings():
            return False
        if _is_made(mark):
            return False
        if shutil.disk_usage(archive.parent).free < MOST_MB << 20:
            return False
        for old in archive.parent.glob("graphseam-classes-*"):
            old.unlink(missing_ok=True)
        with mark.open("x") as file:
            file.write(str(os.getpid()))
    except OSError:  # an installation that this user cannot write to, or a second process
        return False
    return True


def _is_made(mark: Path) -> bool:
    """Whether the process that has left the mark is still there, or has just ended, and its Java writes the archive."""
    try:
        age, maker = time.time() - mark.stat().st_mtime, mark.read_text()
    except FileNotFoundError:
        return False
    there = maker.isdecimal() and Path("/proc", maker).exists()
    return age < (STALE_S if there or not Path("/proc/self").exists() else WRITING_S)


def _folder_of_settings() -> bool:
    """Whether Spark puts a folder with files on the class path: of such a one Java makes no archive, and says so when
    it ends, after all that the command has told."""
    own = os.environ.get("SPARK_CONF_DIR") or str(spark_jars().parent / "conf")
    hadoop = [os.environ.get(name, "") for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR")]
    folders = [own, *hadoop, *os.environ.get("SPARK_DIST_CLASSPATH", "").split(os.pathsep)]
    return any(any(Path(folder).iterdir()) for folder in folders if folder and Path(folder).is_dir())


def archive_path() -> Path | None:
    """Where the archive for this Java and these jars is or would be; None if no Java is found that can use one.

    Cost: a listing of Spark's folder of jars, under 10 ms.
    """
    release = _java_release()
    if release is None or any(character.isspace() for character in str(spark_jars())):
        return None
    jars = sorted((jar.name, jar.stat().st_size, jar.stat().st_mtime_ns) for jar in spark_jars().glob("*.jar"))
    key = hashlib.sha256(repr((release, jars)).encode()).hexdigest()[:16]
    return spark_jars().parent / f"graphseam-classes-{key}.jsa"


def _java_release() -> str | None:
    """The file `release` of the Java that Spark will start; None if that is too old, or cannot be found."""
    home = os.environ.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else Path(shutil.which("java") or "")
    try:
        text = (java.resolve().parents[1] / "release").read_text()
    except (OSError, IndexError):
        return None
    version = re.search(r'JAVA_VERSION="(\d+)', text)
    return text if version and int(version[1]) >= OLDEST_JAVA else None


if __name__ == "__main__":  # for SPARK_SUBMIT_OPTS, of jobs that are submitted on this machine
    print(class_archive_options())
