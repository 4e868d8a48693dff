"""kdlab outside a clone: what a wheel holds, and that it works in an empty folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kdlab.system import paths
from tests.conftest import ran
from tools.wheel import FOLDERS

ROOT = Path(__file__).parents[1]


def test_chapters_are_written_once_and_over_nothing(tmp_path, command, refused):
    code, said, _ = command("notebooks", tmp_path / "mine")
    assert code == 0 and "written into" in said
    for name in FOLDERS:
        there = sorted(p.relative_to(ROOT / name) for p in (ROOT / name).rglob("[!.]*"))
        assert there
        assert there == sorted(
            p.relative_to(tmp_path / "mine" / name) for p in (tmp_path / "mine" / name).rglob("*")
        )
    error = refused("notebooks", tmp_path / "mine")
    assert "mine/notebooks is there already, and nothing is written over" in error


def test_an_installed_package_finds_the_folder_with_the_chapters(tmp_path, monkeypatch):
    monkeypatch.setattr(
        paths, "__file__", str(tmp_path / "site-packages" / "kdlab" / "system" / "paths.py")
    )
    (tmp_path / "mine" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine" / "notebooks")  # where Jupyter starts a kernel
    assert paths.project_root() == tmp_path / "mine" / "notebooks"
    (tmp_path / "mine" / paths.CHAPTERS).touch()
    assert paths.project_root() == tmp_path / "mine"


@pytest.fixture
def wheel(tmp_path):
    copy = tmp_path / "clone"  # setuptools leaves build/ and an egg-info where it builds
    ignored = shutil.ignore_patterns(".*", "runs", "data", "wheels", "build", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=ignored)
    build = ["pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w"]
    call = [sys.executable, "-m", *build, str(tmp_path), str(copy)]
    subprocess.run(call, check=True, cwd=tmp_path)
    (file,) = tmp_path.glob("*.whl")
    return file


@pytest.mark.slow
def test_a_wheel_works_without_the_repository(wheel, tmp_path):
    assert wheel.stat().st_size <= 21e6
    with zipfile.ZipFile(wheel) as packed:
        assert all(name.startswith("kdlab") for name in packed.namelist())
        assert {
            "kdlab/show/exercises.json",
            "kdlab/datasets/released.json",
            "kdlab/show/kdlab.mplstyle",
            "kdlab/py.typed",
            "kdlab/__init__.pyi",
        } <= {*packed.namelist()}
        packed.extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith("KDLAB_")}
    env |= {"KDLAB_PROFILE": "smoke", "KDLAB_HEADLESS": "quiet"}
    env["PYTHONPATH"] = str(tmp_path / "site")

    def kdlab(*words, place):
        call = [sys.executable, "-m", "kdlab.cli.main", *words]
        done = ran(*call, cwd=tmp_path / place, env=env, timeout=500)
        return done.returncode, done.stdout + done.stderr

    code, said = kdlab("run", "00", place="empty")
    assert code and "`kdlab notebooks DIR` writes them" in said and "Traceback" not in said
    assert kdlab("notebooks", "here", place="empty")[0] == 0
    code, said = kdlab("run", "00", place="empty/here")
    assert code == 0, said[-3000:]
    assert {"runs", *FOLDERS} <= {path.name for path in (tmp_path / "empty" / "here").iterdir()}
    assert len(list((tmp_path / "empty").iterdir())) == 1
    assert str(tmp_path / "empty" / "here" / "runs") in kdlab("doctor", place="empty/here")[1]
