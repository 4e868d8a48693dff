"""The doctor: it names what does not fit, follows the precision rule, and survives whatever is missing."""

import importlib.metadata
import os
import re
import sys
from pathlib import Path

import pytest

from kdlab.cli import doctor
from kdlab.cli.doctor import Check


def metadata(installed):
    """``version`` and ``requires`` of an invented installation: {name: (version, [requirements])}."""

    def look(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    return (lambda name: look(name)[0]), (lambda name: look(name)[1])


def test_unmet_names_mismatch_and_absence_also_one_step_down():
    version, requires = metadata(
        {
            "kdlab": ("0.1", ["torch>=2.14", "torchvision>=0.29", "av>=16", "gone>=1; sys_platform == 'nowhere'"]),
            "torch": ("2.12.0", []),
            "torchvision": ("0.29.1", ["torch>=2.14.0", "pillow"]),
        }
    )
    assert doctor.unmet("kdlab", version, requires) == [
        "kdlab needs av>=16, which is not installed",
        "kdlab needs torch>=2.14, found 2.12.0",
        "torchvision needs pillow, which is not installed",
        "torchvision needs torch>=2.14.0, found 2.12.0",
    ]


def test_unmet_accepts_cpu_builds_and_follows_only_the_extras_asked_for():
    version, requires = metadata(
        {
            "kdlab": ("0.1", ["torch==2.14.1", "kit[video]"]),
            "torch": ("2.14.1+cpu", ["absent; extra == 'opt'"]),
            "kit": ("1.0", ["codec>=2; extra == 'video'", "absent; extra == 'other'", "kdlab"]),
            "codec": ("1.0", []),
        }
    )
    assert doctor.unmet("kdlab", version, requires) == ["kit needs codec>=2, found 1.0"]


def test_mismatched_pair_is_reported_with_its_mend():
    version, requires = metadata({"kdlab": ("0.1", ["torchvision"]), "torchvision": ("0.29", ["torch>=2.14"])})
    checks = doctor.report(version, requires)
    by_name = {check.name: check for check in checks}
    assert by_name["torch"].ok is False
    assert by_name["versions fit"].ok is False
    assert "torchvision needs torch>=2.14, which is not installed" in by_name["versions fit"].value
    assert "make setup" in by_name["versions fit"].advice
    assert doctor.broken(checks)


@pytest.mark.parametrize("missing", ["torch", "torchvision", "av"])
def test_report_survives_a_missing_package(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)  # `import missing` now raises ImportError
    checks = doctor.report()
    assert doctor.broken(checks)
    said = doctor.render(checks)
    assert f"{missing} loads" in said or missing == "av"
    if missing == "av":
        assert "no video can be read without it" in said


def test_a_place_that_cannot_be_written_is_named_with_its_variable(monkeypatch, tmp_path):
    file = tmp_path / "a-file"
    file.write_text("in the way")
    monkeypatch.setenv("KDLAB_RUNS", str(file / "runs"))
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path / "not" / "made" / "yet"))
    checks = {check.name: check for check in doctor.report()}
    assert checks["runs"].ok is False and "KDLAB_RUNS" in checks["runs"].advice
    assert checks["data"].ok is True and "GB free" in checks["data"].value
    assert os.listdir(tmp_path) == ["a-file"]


def test_variables_mistyped_secret_and_missing_folder(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("KDLAB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KDLAB_RUN", "x")
    monkeypatch.setenv("KDLAB_TORCH_INDEX", "https://me:secret@index.invalid/simple")
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(tmp_path / "gone"))
    checks = {check.name: check for check in doctor._variables()}
    assert "KDLAB_RUNS" in checks["KDLAB_RUN"].advice and checks["KDLAB_RUN"].ok is None
    assert "secret" not in checks["KDLAB_TORCH_INDEX"].value
    assert checks["KDLAB_REAL_CLIPS"].ok is False


def test_every_variable_that_is_read_is_known():
    root = Path(doctor.__file__).parent.parent
    files = [path for path in root.rglob("*.py") if path.name != "doctor.py"] + [root.parent / "tools" / "setup_env.py"]
    read = {name for path in files for name in re.findall(r'"(KDLAB_[A-Z_]+)"', path.read_text("utf-8"))}
    assert read == doctor.VARIABLES.keys()


def test_a_device_that_is_not_here_is_an_error(monkeypatch):
    monkeypatch.setenv("KDLAB_DEVICE", "gpu")
    device = next(check for check in doctor.report() if check.name == "device")
    assert device.ok is False and "KDLAB_DEVICE" in device.advice


def test_render_puts_advice_below_its_line_and_ends_with_a_verdict():
    text = doctor.render([Check("torch", "2.0", False, "do this"), Check("cpu", "some")])
    assert text.splitlines() == [
        "!! torch  2.0",
        "          -> do this",
        "   cpu    some",
        "",
        "1 thing(s) to mend, marked !!",
    ]
    assert not doctor.broken([Check("cpu", "some")])
    fits = {check.name: check for check in doctor.report()}["versions fit"]
    assert fits == Check("versions fit", "yes", True)
    assert doctor.render([]).strip() == "Everything that kdlab needs is here and fits."


def test_a_launchers_variables_are_told_where_there_are_any(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    told = lambda: [check for check in doctor.report() if check.name == "launch"]  # noqa: E731
    assert not told()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert [check.ok for check in told()] == [True]
    monkeypatch.setenv("WORLD_SIZE", "2")
    (check,) = told()
    assert check.ok is False and "WORLD_SIZE=2, but not RANK" in check.value
