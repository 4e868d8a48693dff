"""A stranger's package (``foreign/driftwood``) goes the whole way: trained, interrupted, opened, measured, judged."""

import shutil
import sys
from dataclasses import make_dataclass, replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from kdlab.clips.views import tag
from kdlab.measure.attention import grad_cam
from kdlab.measure.cost import macs, parameters
from kdlab.measure.flatness import Hessian, sharpness
from kdlab.nets.attention_head import Attended
from kdlab.nets.video import build
from kdlab.papers.generative.detector import Detector
from kdlab.protocols import Method
from kdlab.train.many import obtain_all
from kdlab.train.obtain import obtain
from kdlab.train.preparing import batches
from kdlab.train.recipe import NotImported
from kdlab.train.runs import Run
from kdlab.train.sizes import SMOKE

FOREIGN = Path(__file__).parent / "foreign"


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] == "driftwood"]:
        del sys.modules[name]


@pytest.fixture
def foreign(monkeypatch, own_places):
    """The conditions of the stranger's study, by seed; its package can be imported until the test is over."""
    monkeypatch.syspath_prepend(str(FOREIGN))
    forget()
    from driftwood import my_study

    yield lambda seed=0: {
        name: few(recipe) for name, recipe in my_study.conditions(SMOKE, seed).items()
    }
    forget()


def few(recipe):
    """The recipe, and its teacher's, on five takes of two ways."""
    return replace(
        recipe,
        data=replace(recipe.data, takes=5, ways=("left", "up")),
        teacher=recipe.teacher and few(recipe.teacher),
    )


def quiet(line: str) -> None:
    pass


def test_its_study_is_trained_and_judged_once_by_the_command_line(foreign, tmp_path, command):
    forget()
    for times in (1, 2):
        code, said, error = command(
            "study", FOREIGN / "driftwood" / "my_study.py", "--workers", "1"
        )
        assert code == 0, error
        assert "Does the undertow pull? " in said and " − labels alone: " in said
        assert said.count("trained in") == (8 if times == 1 else 0)
    made = {path.name for path in (tmp_path / "RUNS" / "studies").iterdir()}
    assert made == {"driftwood.csv", "driftwood-0.npz", "driftwood-1.npz"}


def test_an_interrupted_training_with_two_optimisers_ends_as_one_that_was_not(
    foreign, monkeypatch, tmp_path
):
    from driftwood.undertow import Undertow

    recipe = foreign()["undertow"]
    whole = obtain(recipe, say=quiet)
    assert {"loss_judge", "loss_swimmer", "fooled"} <= set(whole.history)
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "again"))

    def tired(self, nets, batch, progress, losses=Undertow.losses):
        if progress.fraction >= 0.5:
            raise KeyboardInterrupt
        yield from losses(self, nets, batch, progress)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Undertow, "losses", tired)
        obtain(recipe, say=quiet)
    assert [path.parent.name for path in (tmp_path / "again").glob("*/checkpoint*")] == [
        whole.folder.name
    ]
    assert obtain(recipe, say=quiet).provenance["weights"] == whole.provenance["weights"]


def test_its_runs_are_looked_into_like_kdlabs(foreign):
    recipe = foreign()["undertow"].teacher
    run = Run(obtain(recipe, say=quiet).folder)
    assert run.recipe == recipe and not run.staleness()
    test = next(iter(batches(run.recipe, "test", {"student": run.recipe.view}).evaluation(4)))
    video, labels = test.views["student"], test.labels
    net = run.net()
    assert video.shape[1:] == (1, 8, 28, 28)
    assert grad_cam(net, video, labels, f"net.{recipe.net.stages[-1]}").maps.shape == (
        len(video),
        8,
        28,
        28,
    )
    stages = 27 * 6 * 8 * 14**2 + 27 * 6 * 12 * 4 * 7**2
    assert macs(net, (1, *video.shape[1:])) == stages + 12 * 2
    assert parameters(net) == 27 * 6 + 2 * 6 + 27 * 6 * 12 + 2 * 12 + 12 * 2 + 2
    assert sharpness(Hessian(net.requires_grad_(True), [(video, labels)]), steps=2).ascent > 0


def test_what_could_not_be_opened_again_is_refused_before_anything_is_trained(foreign, tmp_path):
    from driftwood.undertow import Undertow

    class Inside(Undertow):
        pass

    def hookless(nets):
        return {"net": ["student"]}

    recipe = foreign()["undertow"]
    Loose = make_dataclass(
        "Loose", (), bases=(Method,), namespace={"networks_by_optimiser": hookless, "losses": None}
    )
    Hookless = make_dataclass(
        "Hookless", (), namespace={"networks_by_optimiser": hookless}, frozen=True
    )
    Script = make_dataclass("Script", (), bases=(Undertow,), frozen=True)
    Script.__module__ = "__main__"
    for method, says in (
        (Inside(), "top level"),
        (Loose(), "frozen=True"),
        (Hookless(), r"write class Hookless\(Method\)"),
        (replace(recipe.method, taps=["net.stern"]), "has a list in 'taps'"),
        (Script(), "stands in a notebook's cell or a script.*put it in a file"),
    ):
        with pytest.raises(ValueError, match=f"{type(method).__name__}.*{says}"):
            obtain(replace(recipe, method=method), say=quiet)
    assert not (tmp_path / "RUNS").exists()


def yields(made):
    """A ``losses`` that gives what ``made`` makes of a loss."""

    def losses(self, nets, batch, progress):
        yield made(self.swim(nets, batch, "student")[0].mean())

    return losses


@pytest.mark.parametrize(
    "which, changes, says",
    [
        (
            "raft:Raft",
            {"head": "klassify"},
            "Raft names a layer 'klassify', and its network has bow, .*classify",
        ),
        (
            "raft:Raft",
            {"statistics": ((0.5, 0.5), (0.2,))},
            "a mean and a deviation for each of . channels",
        ),
        (
            "undertow:Undertow",
            {"mine": "net.sturn"},
            "Undertow fails in a step .* no layer 'net.sturn'",
        ),
        (
            "undertow:Undertow",
            {"networks_by_optimiser": lambda self, nets: {"judge": ["critic"], "net": ["student"]}},
            "an optimiser 'swimmer', and networks_by_optimiser.. names judge, net",
        ),
        (
            "undertow:Undertow",
            {
                "networks_by_optimiser": lambda self, nets: {
                    "judge": ["critic"],
                    "swimmer": ["student", "oar"],
                }
            },
            "networks_by_optimiser.. names a network 'oar'; there are student, teacher, projector, critic",
        ),
        (
            "",
            {"teacher": None},
            "Undertow fails .* it learns from a teacher, and the recipe has none: give it teacher=",
        ),
        ("", {"view": "the teacher's"}, "Raft sees video of 3 channels and the view has 1"),
        (
            "raft:Raft",
            {"make": lambda self, classes: 1 / 0},
            r"Raft.make\(2\) fails: ZeroDivisionError",
        ),
        (
            "undertow:Undertow",
            {"losses": yields(lambda loss: ("swimmer", loss))},
            "must yield three values",
        ),
        (
            "undertow:Undertow",
            {"losses": yields(lambda loss: ("swimmer", loss.detach(), {}))},
            "was it detached",
        ),
        (
            "undertow:Undertow",
            {"losses": yields(lambda loss: ("swimmer", loss, {"ce": 0.5}))},
            "'ce' must be a tensor",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(
    foreign, monkeypatch, tmp_path, which, changes, says
):
    recipe = foreign()["undertow"]
    module, _, kind = which.partition(":")
    if which:
        for name, value in changes.items():
            monkeypatch.setattr(
                getattr(import_module(f"driftwood.{module}"), kind), name, value, raising=False
            )
        if "mine" in changes:
            recipe = replace(recipe, method=replace(recipe.method, **changes))
    else:
        recipe = replace(
            recipe, **(changes if "view" not in changes else {"view": recipe.teacher.view})
        )
    with pytest.raises(ValueError, match=says):
        obtain(recipe, say=quiet)
    assert not list((tmp_path / "RUNS").glob("*/*.safetensors"))


def test_workers_train_it_and_other_clips_in_place_are_noticed(foreign):
    recipes = [foreign()[name] for name in ("undertow", "other clips")]
    found = obtain_all(recipes, workers=2, say=quiet)
    assert [run.recipe for run in found] == recipes and not any(run.staleness() for run in found)
    one, other, *_ = recipes[0].data.catalogue().split("train")
    shutil.copy(one.path, other.path)
    assert found[0].staleness() == "made from other clips"


def test_heads_and_detectors_stand_on_its_network(foreign):
    raft = replace(foreign()["labels alone"].net, width=8)
    x = torch.rand(1, 3, 8, 32, 32)
    assert build(Attended(raft, tokens=8, heads=2), 5, 0)(x).shape == (1, 5)
    assert build(Detector(raft, raft.stages, 8, 2, 8), 5, 0)(x).shape[::3] == (1, 5 + 3)


def test_a_run_in_the_place_of_a_recipe_is_told(foreign):
    recipe = foreign()["undertow"]
    for other, says in (
        (Run("somewhere"), "teacher must be a recipe, not Run: .*teacher=run.recipe"),
        ("run", "teacher must be a recipe, not str"),
    ):
        with pytest.raises(ValueError, match=says):
            obtain(replace(recipe, teacher=other), say=quiet)


def test_without_its_package_a_run_says_what_to_import(foreign, tmp_path, command):
    run = obtain(foreign()["labels alone"], say=quiet)
    clip, picture = run.recipe.data.catalogue().split("test")[0].path, tmp_path / "seen.png"
    forget()
    with pytest.raises(NotImported, match=r"driftwood\.\w+:\w+.*import driftwood.clips first"):
        Run(run.folder).net()
    assert len(run.history["step"]) == 2 and run.provenance["classes"] == ["left", "up"]
    for more, code, says in (
        ([], 2, "first, in a command with --import driftwood.clips"),
        (["--import", "driftwod"], 2, "cannot be imported"),
        (["--import", "driftwood.my_study"], 0, "Grad-CAM at net.stern"),
    ):
        ended, *said = command("predict", clip, "--run", run.folder, "--out", picture, *more)
        assert ended == code and says in "".join(said)
    assert picture.stat().st_size


def test_a_changed_line_of_its_method_makes_its_runs_stale_and_a_comment_does_not(
    foreign, monkeypatch, tmp_path
):
    run = obtain(foreign()["undertow"], say=quiet)
    frames = tag(run.recipe.teacher.view)
    shutil.copytree(FOREIGN / "driftwood", tmp_path / "copy" / "driftwood")
    monkeypatch.syspath_prepend(str(tmp_path / "copy"))
    method, said = tmp_path / "copy" / "driftwood" / "undertow.py", []
    for old, new in (
        ("ours = nets", "# no more\n        ours = nets"),
        ("(fooled + pull)", "(fooled + 2 * pull)"),
    ):
        method.write_text(method.read_text().replace(old, new))
        forget()
        import_module("driftwood.my_study")
        said.append(Run(run.folder).staleness())
    assert Path(sys.modules["driftwood.undertow"].__file__) == method
    assert said == ["", "made by other sources"]
    view = method.with_name("wake.py")
    view.write_text(view.read_text().replace("128", "127"))
    forget()
    # cached frames are not those of the changed view
    assert tag(import_module("driftwood.wake").Wake()) != frames
