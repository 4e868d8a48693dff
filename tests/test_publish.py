"""`tools/publish.py` refuses a run that reads real dark clips worse than the committed one of its name."""

import json
from types import SimpleNamespace

import pytest

from tools import publish


def test_a_worse_run_is_refused_and_nothing_goes(own_places, monkeypatch):
    monkeypatch.setattr(publish, "why_unusable", lambda run: "")
    monkeypatch.setattr(publish.Run, "recipe", SimpleNamespace(data=None))

    pretrained = own_places / "pretrained"

    def write(place, name, score):
        (own_places / place / name).mkdir(parents=True, exist_ok=True)
        scores = score and {"arid6 A": score}
        note = {"steps": 1} | ({} if score is None else {"scores": scores})
        (own_places / place / name / "run.json").write_text(json.dumps(note))

    write("pretrained", "aa-night-s0-000000", None)
    write("pretrained", "real_dark-night_both-s100-aaaaaa", 60.0)
    for score in (59.99, None):
        write("RUNS", "real_dark-night_both-s100-bbbbbb", score)
        with pytest.raises(
            SystemExit, match=f"score on arid6 A is {score}, and the committed .*-aaaaaa has 60.0"
        ):
            publish.main()
        assert len(list(pretrained.iterdir())) == 2
    write("RUNS", "real_dark-night_both-s100-bbbbbb", 60.0)
    publish.main()
    assert [run.name for run in pretrained.iterdir()] == ["real_dark-night_both-s100-bbbbbb"]
    (own_places / "RUNS" / "real_dark-night_both-s100-bbbbbb" / "run.json").unlink()
    write("pretrained", "det_teacher-night-s0-cccccc", {})
    publish.main()  # no chapter trains them
    assert len(list(pretrained.iterdir())) == 2
