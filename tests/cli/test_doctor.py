"""The doctor says what does not fit and what to do, whatever is missing."""

import os
import sys

import pytest

from kdlab.cli import doctor
from kdlab.cli.doctor import Check


@pytest.fixture(autouse=True)
def no_pip(monkeypatch):
    monkeypatch.setattr(doctor, "_fit", lambda: "yes")  # it takes seconds


@pytest.mark.parametrize(("missing", "named"), [("torchvision", "torchvision loads"), ("av", "decoder")])
def test_a_missing_package_is_reported_with_its_mend(monkeypatch, missing, named):
    monkeypatch.setitem(sys.modules, missing, None)  # `import missing` now raises ImportError
    checks = {check.name: check for check in doctor.report()}
    assert not checks[named].ok and checks[named].advice and doctor.broken(checks.values())


def test_places_and_a_device_that_do_not_work_are_named_with_their_variable(monkeypatch, tmp_path):
    (tmp_path / "a-file").write_text("in the way")
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "a-file" / "runs"))
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path / "not" / "made" / "yet"))
    monkeypatch.setenv("KDLAB_DEVICE", "gpu")
    checks = {check.name: check for check in doctor.report()}
    assert not checks["runs"].ok and "KDLAB_RUNS" in checks["runs"].advice
    assert not checks["device"].ok and "KDLAB_DEVICE" in checks["device"].advice
    assert checks["data"].ok and "GB free" in checks["data"].value and os.listdir(tmp_path) == ["a-file"]


def test_advice_stands_below_its_line_and_a_verdict_at_the_end():
    text = doctor.render([Check("torch", "2.0", False, "do this"), Check("cpu", "some", True, "")])
    assert [line.split() for line in text.splitlines()[:3]] == [["!!", "torch", "2.0"], ["->", "do", "this"],
                                                               ["ok", "cpu", "some"]]
    assert "to be mended" in text and "everything fits" in doctor.render([Check("cpu", "some", True, "")])
