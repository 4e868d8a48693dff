"""Two streams: who is added to whom, what is said of it, and the study at smoke size."""

from types import SimpleNamespace

import numpy as np
import pytest

from kdlab.clips.flow import Flow
from kdlab.papers.generative import streams
from kdlab.papers.generative.recipes import SMOKE
from kdlab.study import Scores, load_rows


def run(name, logits):
    return SimpleNamespace(folder=SimpleNamespace(name=name),
                           predictions=lambda: SimpleNamespace(logits=np.array(logits, float)))


def of(answers: dict) -> tuple[Scores, dict]:
    """Scores and runs of two seeds on two clips, both of class 0; ``answers``: condition → logits of each seed."""
    runs = {c: [run(f"{c}-s{s}", logits) for s, logits in enumerate(each)] for c, each in answers.items()}
    ids, predicted = np.array(["a", "b"]), {c: np.array(each).argmax(2) for c, each in answers.items()}
    names = {c: [r.folder.name for r in column] for c, column in runs.items()}
    return Scores(("x", "y"), (100, 101), ids, ids, np.zeros(2, int), predicted, {}, names), runs


SURE, WRONG, UNSURE = [9.0, 0.0], [0.0, 2.0], [0.0, 0.5]


def test_the_surer_of_two_streams_decides_and_the_control_is_the_next_seed():
    rgb, flow = [[UNSURE, SURE], [WRONG, SURE]], [[SURE, UNSURE], [UNSURE, WRONG]]
    scores, runs = of({"student_ce": rgb, "student_ce_flow": flow, "genkd": rgb, "genkd_flow": flow})
    found = streams.added(scores, runs)
    assert found.accuracy("genkd").tolist() == [50, 50] and found.accuracy("both").tolist() == [100, 50]
    assert found.accuracy("two_rgb").tolist() == [50, 50] and found.predicted["two_flow"].tolist() == [[0, 1], [0, 1]]
    assert found.recipes["both"] == ["genkd-s0+genkd_flow-s0", "genkd-s1+genkd_flow-s1"]
    assert found.recipes["two_rgb"] == ["genkd-s0+genkd-s1", "genkd-s1+genkd-s0"]
    assert set(found.predicted) == set(streams.TITLES), "every row of the table is there, and no other"


def test_the_second_stream_is_read_against_two_networks_of_the_better_one():
    rgb, flow = [[WRONG, WRONG], [WRONG, SURE]], [[SURE, UNSURE], [SURE, WRONG]]
    found = streams.added(*of({"student_ce": rgb, "student_ce_flow": flow, "genkd": rgb, "genkd_flow": flow}))
    said = streams.sentence(found)
    assert said.startswith("RGB 25.0 %, flow 50.0 %, both 75.0 %: +25.0 ± ") and "stream, 2 seeds: " in said
    shown = streams.table(found).set_index("network")
    assert shown.loc["GenKD: RGB"].tolist() == [25, 0, 50] and len(shown) == len(streams.TITLES)
    assert [*streams.effects(found)][:3] == ["GenKD: RGB − student, CE: RGB", "GenKD: flow − student, CE: flow",
                                             "GenKD: RGB + flow − student, CE: RGB + flow"]


def test_both_streams_have_the_same_steps_and_more_clips_to_test_on():
    made = streams.recipes(streams.DEMO, 100)
    assert list(made) == list(streams.ALONE)
    assert {isinstance(r.view, Flow) for name, r in made.items() if name.endswith("flow")} == {True}
    assert len({(r.settings, r.seed, r.data) for r in made.values()}) == 1
    assert made["genkd"].data.night.per_class == (*streams.DEMO.per_class[:2], streams.TESTED)
    assert isinstance(made["genkd_flow"].teacher.view, Flow), "a teacher that sees what its student sees"


@pytest.mark.slow
def test_the_whole_study_at_smoke_size(own_places, reading):
    said = []
    scores = streams.study.run(SMOKE, 2, workers=1, say=said.append)["night_bright"]
    assert set(scores.predicted) == set(streams.TITLES) and scores.seeds == (100, 101)
    reading("streams")
    table = load_rows("streams")
    assert set(table[table.metric == "accuracy"].condition) == set(streams.TITLES)
    assert any("over two networks of the better stream" in line for line in said)
