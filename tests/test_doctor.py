"""`graphseam doctor`: what is missing is named with the way out; what is there is not complained about."""

from __future__ import annotations

import pytest

from conftest import printed_by
from graphseam import doctor
from graphseam.doctor import BAD, GOOD, WARNING


@pytest.fixture
def java(tmp_path, monkeypatch):
    """Put a `java` that tells this version on an otherwise empty PATH."""

    def java(told: str, status: int = 0) -> doctor.Check:
        program = tmp_path / "java"
        program.write_text(f"#!/bin/sh\necho '{told}' >&2\nexit {status}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
        monkeypatch.delenv("JAVA_HOME", raising=False)
        return doctor.check_java()

    return java


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ('openjdk version "17.0.9" 2023-10-17', GOOD),
        ('openjdk version "21" 2023-09-19', GOOD),
        ('java version "1.8.0_392"', BAD),
        ('openjdk version "11.0.2"', BAD),
        ("who knows", BAD),
    ],
)
def test_java_must_be_17_or_newer(java, told, status):
    assert java(told).status == status


def test_a_missing_or_broken_java_is_named(java, tmp_path, monkeypatch):
    assert "does not run" in java("", 3).said
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert "no `java` on PATH" in doctor.check_java().said
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    assert str(tmp_path / "gone") in doctor.check_java().said


def test_packages_that_are_missing_are_named():
    assert doctor.versions_of(["numpy", "no-such-package"])[1] == ["no-such-package"]


def test_a_disk_without_room_or_permission_is_told(tmp_path, monkeypatch):
    assert doctor.check_disk("tables", str(tmp_path / "a" / "b"), "why").said.endswith(f"in {tmp_path} (why)")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1e9})())
    assert doctor.check_disk("tables", str(tmp_path), "why").status == WARNING
    monkeypatch.setattr(doctor.os, "access", lambda place, mode: False)
    assert doctor.check_disk("tables", str(tmp_path), "why").status == BAD


def test_this_machine_passes(spark):
    """On the session of the tests; the last check writes a Delta table through a Python worker."""
    checks = list(doctor.examine())
    assert {check.status for check in checks} <= {GOOD, WARNING}
    assert "wrote and read a Delta table" in checks[-1].said
    assert [check.name for check in checks][:3] == ["graphseam", "Java", "packages"]


def test_executors_are_asked(spark):
    checks = doctor.check_executors(spark)
    assert checks[0].name.startswith("executor ")
    assert checks[0].status == GOOD
    assert "all packages as here" in checks[0].said


@pytest.mark.slow
def test_a_run_is_refused_where_executors_lack_a_package_or_there_are_none():
    told = printed_by("unready_cluster.py")
    lacking, none = told.stdout.strip().splitlines()[-2:]
    assert "lacks no-such-package; give executors the driver's environment" in lacking
    assert none.startswith("no executor accepted the request within 3 s: each asks for 480m of memory")
    assert "4 cores (spark.executor.cores); let executors ask for what a machine of the cluster has" in none
    assert "no executor for 1 s: each asks for 480m" in told.stderr
