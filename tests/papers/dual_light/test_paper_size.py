"""The paper's size: its numbers, its costs on the meta device, the list of its recipes, and all of it in miniature."""

import shutil
from dataclasses import replace

import pytest

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw
from kdlab.clips.windows import ConsecutiveWindow
from kdlab.datasets import released as datasets
from kdlab.nets.attention_head import Attended
from kdlab.nets.video import TinyR2Plus1D
from kdlab.papers import paper_size as paper_size
from kdlab.papers.dual_light import recipes
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.recipes import PAPER, dual_light, paper_recipes
from kdlab.papers.paper_size import PaperSet, cost
from kdlab.train.settings import Rule, Settings
from kdlab.train.sizes import DEMO, Profile
from tests.conftest import encode, pattern
from tests.datasets.test_released import arid_tree

MINIATURE = replace(PAPER, sets=(PaperSet("ARID v1.0", "arid", 11, (88,), ("1",)), *PAPER.sets[1:]))
SMOKE = Profile(
    "paper",
    DEMO.night,
    Settings(1, 16),
    ConsecutiveWindow(8, 20, 16),
    Attended(TinyR2Plus1D((4, 8)), tokens=8, dropout=0.1),
    seeds=1,
)


@pytest.fixture
def root(own_places, monkeypatch):
    """A folder with a miniature of ARID v1.0: the released layout, one split, real little videos."""
    sets = own_places / "sets"
    monkeypatch.setitem(datasets.DATA_SETS[0].counts, "1", arid_tree(sets / "arid"))
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # other processes have the published counts
    one = encode(own_places / "one.mp4", pattern(10, 32, 24))
    for clip in sets.rglob("*.mp4"):
        shutil.copy(one, clip)
    return sets


def test_as_released_a_step_is_of_sixteen_batches_and_any_profile_takes_a_precision():
    settings = recipes.paper_profile().settings
    released = recipes.paper_profile(as_released=True).settings
    assert dict(released.as_released.rules) == {"net": Rule("adamw")}
    assert (released.batch_size, released.accumulate) == (16 * settings.batch_size, 16)
    assert recipes.paper_profile(precision="fp32").settings == replace(settings, precision="fp32")


def test_an_enhancer_makes_only_the_conditions_it_enters(tmp_path):
    made = paper_recipes(PAPER.sets[0], tmp_path, SMOKE, seed=3)
    assert {split for split, _, _ in made} == {"1", "2", "3"}
    assert len(made) == 33 == len(set(made.values()))
    assert {c for s, name, c in made if name == "zerodce"} == {
        "ce_enhanced",
        "dlkdd",
        "label_smoothing",
        "two_lights",
    }
    taught = made["2", "zerodce", "dlkdd"]
    assert taught.data.test_fold == "2" and taught.view == Raw() and taught.seed == 3
    assert taught.teacher.view == Enhanced(TrainedCurves(taught.data, width=32, side=256))


def test_a_teacher_and_a_second_light_cost_what_they_do():
    made = {name: cost(recipe, 11) for name, recipe in dual_light(SMOKE).items()}
    plain = made["ce_raw"]
    # no gradient goes into the pixels
    assert 2.5 * plain.forward < plain.training < 3 * plain.forward
    assert made["dlkdd"].training == plain.training + plain.forward
    assert made["dlkdd"].trained == plain.trained
    # its teacher is asked before the first step
    assert plain == made["label_smoothing"]
    assert made["two_lights"].forward == pytest.approx(2 * plain.forward, rel=1e-2)
    on_cpu = cost(dual_light(SMOKE)["dlkdd"], 11, device="cpu")
    assert made["dlkdd"] == pytest.approx(on_cpu, rel=2e-3)  # attention has two ways


def test_the_overview_lists_recipes_and_costs(root):
    text = MINIATURE.overview(root, SMOKE)
    assert f"{root / 'arid'}, found" in text and f"{root / 'dark48'}, not there" in text

    taught = cost(paper_recipes(MINIATURE.sets[0], root, SMOKE)["1", "zerodce", "dlkdd"], 11)
    assert f"{taught.training / 1e9:.2f}" in next(
        line for line in text.splitlines() if "zerodce dlkdd" in line
    )
    assert text.count("8 × 16²") == 14


def test_what_cannot_be_trained_is_refused_before_the_first_training(root, monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match="none of arid, arid15, dark48 is in"):
        MINIATURE.run(tmp_path / "nowhere", SMOKE)
    half = replace(SMOKE, settings=replace(SMOKE.settings, precision="bf16"))
    monkeypatch.setattr(paper_size, "bf16", lambda: (False, "compute capability 7.5 against 8.0"))
    with pytest.raises(
        ValueError, match="which this hardware has not .compute capability 7.5.*--precision fp32"
    ):
        MINIATURE.run(root, half)


@pytest.mark.slow
def test_the_whole_profile_in_miniature(root, monkeypatch):
    monkeypatch.setattr(
        recipes,
        "ENHANCERS",
        {
            "gamma1.8": lambda clips: Gamma(1.8),
            "zerodce": lambda clips: TrainedCurves(
                clips, width=2, side=16, clips=4, batch=4, steps=2
            ),
        },
    )
    said = []
    found = MINIATURE.run(root, SMOKE, say=said.append)
    assert list(found) == [
        ("ARID v1.0", *key) for key in paper_recipes(MINIATURE.sets[0], root, SMOKE)
    ]
    trained = sum("trained in" in line for line in said)
    assert trained == 14  # eleven conditions, and three teachers of another seed
    MINIATURE.run(root, SMOKE, say=said.append)
    assert sum("trained in" in line for line in said) == trained
