"""Disks that are full or read-only: one line that names them, nothing lost, and readers that go on reading."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from commands import COMMAND, configured, published, rows_of, started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs"),
]

ENOUGH = "500m"


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes a disk of a size, or changes that of the one it has made. Skips where that is refused."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(options: str) -> Path:
        again = "remount," if folder.is_mount() else ""
        command = ["mount", "-t", "tmpfs", "-o", f"{again}{options}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs a tmpfs of its own, and mounting one is refused here: {done.stderr.strip()}")
        return folder

    yield mounted
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    told, _ = process.communicate()
    assert "Traceback" not in told
    assert "\tat " not in told, "a stack trace of Java"
    return process.returncode, " ".join(told.split())


def read(config: Path, *arguments: str) -> tuple[int, str]:
    command = [str(COMMAND), *arguments, "--root", str(config.parent / "tables")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    config = configured(tmp_path_factory.mktemp("undisturbed"))
    code, told = ended(started(config, "r"))
    assert code == 0, told
    return rows_of(config, "r")


@pytest.mark.parametrize("size", ["400k", "2m", "6m", "10m"])  # full in different steps
def test_a_full_root_is_named_and_with_room_the_run_goes_on(small_disk, undisturbed, size):
    config = configured(small_disk(f"size={size}"), more="[run]\ncheck_disk = false\n")
    code, told = ended(started(config, "r"))
    assert code == 1, told
    assert f"a disk is full: that of {config.parent / 'tables'}, which holds the tables" in told
    small_disk(f"size={ENOUGH}")
    code, told = ended(started(config, "r"))
    assert code == 0, told
    assert rows_of(config, "r") == undisturbed
    assert published(config) == ["r"]


@pytest.mark.parametrize("in_one_task", ["true", "false"])
def test_a_full_disk_of_the_shuffle_is_named(small_disk, undisturbed, tmp_path, in_one_task):
    disk = small_disk("size=200k")
    config = configured(tmp_path / "run", more=f"[run]\ncheck_disk = false\nin_one_task = {in_one_task}\n")
    code, told = ended(started(config, "r", SPARK_LOCAL_DIRS=str(disk)))
    assert code == 1, told
    assert f"a disk is full: that of {disk}, which holds Spark's shuffle files" in told
    small_disk(f"size={ENOUGH}")
    code, told = ended(started(config, "r", SPARK_LOCAL_DIRS=str(disk)))
    assert code == 0, told
    assert rows_of(config, "r") == undisturbed


def test_a_run_that_would_fill_the_disk_is_refused_before_it_begins(small_disk):
    config = configured(small_disk("size=2m"))
    code, told = ended(started(config, "r"))
    assert code == 1, told
    assert "run.check_disk" in told
    assert str(config.parent) in told


def test_a_root_that_cannot_be_written_to_is_read_and_says_so_to_a_run(small_disk, undisturbed, tmp_path):
    config = configured(small_disk(f"size={ENOUGH}"))
    assert ended(started(config, "r"))[0] == 0
    small_disk("ro")
    code, told = ended(started(config, "next"))
    assert code == 1, told
    assert "ead-only file system" in told
    assert str(config.parent) in told
    for arguments in (
        ("sql", "select count(*) from current_embeddings"),
        ("similar", "--node", "10"),
        ("export", "--output", str(tmp_path / "vectors.csv")),
    ):
        code, told = read(config, *arguments)
        assert code == 0, (arguments, told)
    assert rows_of(config, "r") == undisturbed
