"""The doctor says what does not fit and what to do, whatever is missing."""

import os
import re
import sys

import pytest

from kdlab.cli import doctor


@pytest.fixture(autouse=True)
def no_pip(monkeypatch):
    monkeypatch.setattr(doctor, "_fit", lambda: "yes")  # it takes seconds


@pytest.mark.parametrize(
    "missing, named", [("torchvision", "torchvision loads"), ("av", "decoder")]
)
def test_a_missing_package_is_reported_with_its_mend(monkeypatch, missing, named):
    monkeypatch.setitem(sys.modules, missing, None)  # `import missing` now raises ImportError
    text, good = doctor.report()
    line = next(line for line in text.splitlines() if named in line)
    assert line.startswith("!!")
    assert not good
    assert "    -> " in text
    assert "mend what is marked" in text


def test_places_and_a_device_that_do_not_work_are_named_with_their_variable(monkeypatch, tmp_path):
    (tmp_path / "a-file").write_text("in the way")
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "a-file" / "runs"))
    monkeypatch.setenv("KDLAB_DATA", str(tmp_path / "not" / "made" / "yet"))
    monkeypatch.setenv("KDLAB_DEVICE", "gpu")
    text, _ = doctor.report()
    for name, variable in (("runs", "KDLAB_RUNS"), ("device", "KDLAB_DEVICE")):
        assert re.search(rf"!!  {name} .*\n    -> .*{variable}", text)
    assert re.search("ok  data .*GB free", text) and os.listdir(tmp_path) == ["a-file"]
