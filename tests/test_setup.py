"""Set-up: the lock is universal and agrees with pyproject.toml; the script plans and makes an environment."""

import ast
import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ran, script

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "tools" / "setup_env.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

FIELDS = ("sys_platform", "platform_system", "platform_machine", "os_name")
MACHINES = {
    "linux": ("linux", "Linux", "x86_64", "posix"),
    "linux-arm": ("linux", "Linux", "aarch64", "posix"),
    "mac-arm": ("darwin", "Darwin", "arm64", "posix"),
    "windows": ("win32", "Windows", "AMD64", "nt"),
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
OVERRIDES = Path("share", "jupyter", "lab", "settings", "overrides.json")


setup_env = script(SCRIPT)
LOCK = [Requirement(line) for line in setup_env.read_lock()]


def holds(requirement, machine, python="3.12"):
    """Is this requirement wanted there?"""
    where = dict(zip(FIELDS, MACHINES[machine], strict=True))
    where |= {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    return requirement.marker is None or requirement.marker.evaluate(where)


# The lock and what must agree with it ---------------------------------------------------------------------------------


def test_the_lock_pins_exactly_and_names_no_address():
    assert len(LOCK) > 100
    for pin in LOCK:
        assert re.fullmatch(r"==[^=*]+", str(pin.specifier)), pin
        assert pin.url is None
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_each_cuda_and_triton_line_carries_a_linux_marker():
    cuda = [pin for pin in LOCK if re.match(r"nvidia|cuda|triton|pytorch-triton", pin.name)]
    assert {"triton", "cuda-toolkit", "nvidia-cudnn-cu13"} <= {pin.name for pin in cuda}
    for pin in cuda:
        assert pin.marker is not None and "sys_platform == 'linux'" in str(pin.marker).replace(
            '"', "'"
        ), pin
        assert not holds(pin, "mac-arm") and not holds(pin, "windows"), pin
        assert setup_env.CUDA.match(pin.name), f"{pin.name} would be installed beside a CPU torch"
    assert not [pin for pin in LOCK if setup_env.CUDA.match(pin.name) and pin not in cuda]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_each_dependency_is_satisfied_by_its_pin_on_every_platform(machine, python):
    pins = {canonicalize_name(pin.name): pin for pin in LOCK if holds(pin, machine, python)}
    for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        need = Requirement(text)
        if not holds(need, machine, python):
            assert canonicalize_name(need.name) not in pins, (
                f"{need.name} is locked where it has no wheel"
            )
            continue
        (version,) = pins[canonicalize_name(need.name)].specifier
        assert need.specifier.contains(version.version), (
            f"{need} against {pins[canonicalize_name(need.name)]}"
        )


def test_one_pin_a_package():
    """The same versions for every Python, so that a result does not depend on it."""
    names = [canonicalize_name(pin.name) for pin in LOCK]
    assert sorted(names) == sorted(set(names))


# The plan -------------------------------------------------------------------------------------------------------------

LINES = [
    "numpy==2.4",
    "torch==2.14.1",
    "torchvision==0.29.1",
    "triton==3.8 ; sys_platform == 'linux'",
    "nvidia-nccl-cu13==2 ; sys_platform == 'linux'",
]


def test_plan_with_a_folder_of_wheels_uses_no_index(tmp_path):
    ((options, lines),) = setup_env.requirement_sets(LINES, wheels=str(tmp_path))
    assert options[-3:] == ["--no-index", "--find-links", str(tmp_path)] and lines == LINES


@pytest.mark.parametrize("kind", ["url", "folder"])
def test_plan_with_a_torch_index_leaves_cuda_out(tmp_path, kind):
    place = "https://index.invalid/cpu" if kind == "url" else str(tmp_path)
    (torch_options, torch_lines), (options, lines) = setup_env.requirement_sets(
        LINES, torch_index=place
    )
    assert torch_lines == ["torch==2.14.1", "torchvision==0.29.1"] and lines == ["numpy==2.4"]
    expected = ["--index-url", place] if kind == "url" else ["--no-index", "--find-links", place]
    assert torch_options[3:] == expected and options == ["--no-deps", "--only-binary", ":all:"]


def test_an_old_python_is_told_in_one_sentence():
    with pytest.raises(setup_env.SetupError, match=r"3\.11 or newer, and this is 3\.10"):
        setup_env.check_python((3, 10, 4))
    # It must be able to read the script before it can say so.
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("target", ["start", "reproduce", "test", "lab"])
def test_each_target_sets_up_first(target):
    said = ran("make", "-n", target, cwd=ROOT, check=True).stdout
    assert said.index("tools/setup_env.py") < said.find(".venv/bin/") or ".venv/bin/" not in said


# For real, with wheels of a few bytes ---------------------------------------------------------------------------------

# A build backend of its own, so that the small project needs no index: it writes one editable wheel by hand, and waits
# first where the test asks it to, so that a signal can hit an installation in the middle.
BACKEND = """
import os, time, zipfile
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    if os.path.exists("wait"):
        open("waiting", "w").close()
        time.sleep(60)
    name = "kdlab-0.1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        metadata = ["Metadata-Version: 2.1", "Name: kdlab", "Version: 0.1", "Requires-Dist: torch", ""]
        tags = ["Wheel-Version: 1.0", "Generator: test", "Root-Is-Purelib: true", "Tag: py3-none-any", ""]
        wheel.writestr("kdlab.pth", os.getcwd())
        wheel.writestr("kdlab-0.1.dist-info/METADATA", os.linesep.join(metadata))
        wheel.writestr("kdlab-0.1.dist-info/WHEEL", os.linesep.join(tags))
        wheel.writestr("kdlab-0.1.dist-info/RECORD", "")
    return name
build_wheel = build_editable
"""


def make_wheel(folder, name, version):
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def small_project(tmp_path):
    """A project with the real script, a lock of four packages, and two folders of wheels."""
    project = tmp_path / "a clone"
    (project / "tools").mkdir(parents=True)
    shutil.copy(SCRIPT, project / "tools")
    (project / "backend.py").write_text(BACKEND)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (project / "requirements.lock").write_text(
        "# comment\nsmall==1.0\ntorch==2.14.1\ntorchvision==0.29.1\ntriton==3.8 ; python_version > '3'\n"
    )
    for pin in USUAL - {"kdlab==0.1"} | {"small==1.1"}:
        make_wheel(tmp_path / "wheels", *pin.split("=="))
    return project


def environment(project, **variables):
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KDLAB_", "PIP_", "PYTEST_"))
    }
    wheels = str(project.parent / "wheels")
    return clean | {"KDLAB_WHEELS": wheels, "PIP_CONFIG_FILE": os.devnull} | variables


def run_script(project, **variables):
    call = [sys.executable, str(project / "tools" / "setup_env.py")]
    return ran(*call, env=environment(project, **variables), timeout=120)


def installed(project):
    setup = script(project / "tools" / "setup_env.py")
    code = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    said = ran(setup.venv_python(), "-c", code, check=True).stdout
    return {pin for pin in said.split() if not pin.startswith(("pip=", "setuptools="))}


USUAL = {"kdlab==0.1", "small==1.0", "torch==2.14.1", "torchvision==0.29.1", "triton==3.8"}


@pytest.mark.slow
def test_set_up_installs_once_and_follows_the_lock(small_project):
    first = run_script(small_project)
    assert first.returncode == 0, first.stdout + first.stderr
    assert installed(small_project) == USUAL
    asks = json.loads((small_project / ".venv" / OVERRIDES).read_text())
    # a class is asked nothing
    assert asks == {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}

    began = time.perf_counter()
    second = run_script(small_project)
    assert second.returncode == 0 and second.stdout == "" and time.perf_counter() - began < 1

    lock = small_project / "requirements.lock"
    lock.write_text(lock.read_text().replace("small==1.0", "small==1.1"))
    assert run_script(small_project).returncode == 0
    assert installed(small_project) == USUAL - {"small==1.0"} | {"small==1.1"}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupted_set_up_is_mended_by_the_next(small_project, stop):
    (small_project / "wait").touch()
    call = [sys.executable, str(small_project / "tools" / "setup_env.py")]
    pipes = {"stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen(call, env=environment(small_project), start_new_session=True, **pipes)
    deadline = time.monotonic() + 60
    while not (small_project / "waiting").exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(child.pid, stop)  # as a terminal does: the script and pip get it
    said = child.communicate(timeout=60)[1]

    ready = small_project / ".venv" / "kdlab-setup-ready.json"
    assert child.returncode != 0 and not ready.exists()
    if stop == signal.SIGINT:
        assert child.returncode == 130
        assert "the same command begins afresh" in said
        assert "Traceback" not in said[-300:]

    (small_project / "wait").unlink()
    assert run_script(small_project).returncode == 0 and ready.exists()
    assert installed(small_project) == USUAL


@pytest.mark.slow
def test_an_environment_that_a_person_made_is_filled_and_never_deleted(small_project):
    venv = small_project / ".venv"
    wheel = small_project.parent / "wheels" / "small-1.0-py3-none-any.whl"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    (venv / "mine").touch()
    aside = wheel.rename(wheel.with_suffix(".aside"))
    assert run_script(small_project).returncode == 1
    aside.rename(wheel)
    assert run_script(small_project).returncode == 0  # a failed attempt does not make it ours
    assert (venv / "mine").exists() and installed(small_project) == USUAL
    # whether a person's own JupyterLab asks is theirs to say
    assert not (venv / OVERRIDES).exists()

    refused = run_script(small_project, KDLAB_TORCH_INDEX=str(small_project.parent / "wheels"))
    assert refused.returncode == 1
    assert "remove that folder" in refused.stderr
    assert (venv / "mine").exists()


# What nbval ignores ---------------------------------------------------------------------------------------------------


def sanitized(text):
    rules = configparser.RawConfigParser()
    rules.read(ROOT / "tests" / "nbval_sanitize.cfg", encoding="utf-8")
    for section in rules.sections():
        text = re.sub(rules[section]["regex"], rules[section]["replace"], text)
    return text


@pytest.mark.parametrize(
    "one, other",
    [
        ("took 3.21 s, peak 1.5 GB", "took 12 s, peak 813 MB"),
        ("2026-01-31 09:15:02", "2027-12-01T23:59:59.123Z"),
        ("wrote /home/me/kdlab/runs/x.json", "wrote C:\\me\\runs\\x.json"),
        ("5.3 clips/s at 0x7f12", "41 clips/s at 0xab00"),
    ],
)
def test_nbval_ignores_times_dates_memory_and_paths(one, other):
    assert sanitized(one) == sanitized(other) != one
