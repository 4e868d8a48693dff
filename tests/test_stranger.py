"""A stranger's package (``foreign/driftwood``) goes the whole way: trained, opened, measured, judged."""

import shutil
import sys
from dataclasses import make_dataclass, replace
from importlib import import_module
from pathlib import Path

import pytest

from kdlab.clips.views import tag
from kdlab.measure.attention import grad_cam
from kdlab.measure.flatness import Hessian, sharpness
from kdlab.nets.attention_head import Attended
from kdlab.nets.video import build
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


def test_its_runs_are_looked_into_like_kdlabs(foreign):
    recipe = foreign()["undertow"].teacher
    run = Run(obtain(recipe, say=str).folder)
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
    assert build(Attended(recipe.net, tokens=8, heads=2), 5, 0)(video).shape == (len(video), 5)
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
    Script = make_dataclass("Script", (), bases=(Undertow,), frozen=True)
    Script.__module__ = "__main__"
    for method, says in (
        (Inside(), "top level"),
        (Loose(), "frozen=True"),
        (replace(recipe.method, taps=["net.stern"]), "has a list in 'taps'"),
        (Script(), "stands in a notebook's cell or a script.*put it in a file"),
    ):
        with pytest.raises(ValueError, match=f"{type(method).__name__}.*{says}"):
            obtain(replace(recipe, method=method), say=str)
    assert not (tmp_path / "RUNS").exists()


def yields(made):
    """A ``losses`` that gives what ``made`` makes of a loss."""

    def losses(self, nets, batch, progress):
        yield made(self.swim(nets, batch, "student")[0].mean())

    return losses


@pytest.mark.parametrize(
    "module, changes, says",
    [
        (
            "raft",
            {"head": "klassify"},
            "Raft names a layer 'klassify', and its network has bow, .*classify",
        ),
        (
            "raft",
            {"statistics": ((0.5, 0.5), (0.2,))},
            "a mean and a deviation for each of . channels",
        ),
        (
            "undertow",
            {"mine": "net.sturn"},
            "Undertow fails in a step .* no layer 'net.sturn'",
        ),
        (
            "undertow",
            {"networks_by_optimiser": lambda self, nets: {"judge": ["critic"], "net": ["student"]}},
            "an optimiser 'swimmer', and networks_by_optimiser.. names judge, net",
        ),
        (
            "undertow",
            {
                "networks_by_optimiser": lambda self, nets: {
                    "judge": ["critic"],
                    "swimmer": ["student", "oar"],
                }
            },
            "networks_by_optimiser.. names a network 'oar'; there are student, teacher, projector, critic",
        ),
        (
            "raft",
            {"make": lambda self, classes: 1 / 0},
            r"Raft.make\(2\) fails: ZeroDivisionError",
        ),
        (
            "undertow",
            {"losses": yields(lambda loss: ("swimmer", loss))},
            "must yield three values",
        ),
        (
            "undertow",
            {"losses": yields(lambda loss: ("swimmer", loss.detach(), {}))},
            "was it detached",
        ),
        (
            "undertow",
            {"losses": yields(lambda loss: ("swimmer", loss, {"ce": 0.5}))},
            "'ce' must be a tensor",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(
    foreign, monkeypatch, tmp_path, module, changes, says
):
    recipe = foreign()["undertow"]
    part = getattr(import_module(f"driftwood.{module}"), module.title())
    for name, value in changes.items():
        monkeypatch.setattr(part, name, value, raising=False)
    if "mine" in changes:
        recipe = replace(recipe, method=replace(recipe.method, **changes))
    with pytest.raises(ValueError, match=says):
        obtain(recipe, say=str)
    assert not list((tmp_path / "RUNS").glob("*/*.safetensors"))


def test_workers_train_it_and_other_clips_in_place_are_noticed(foreign):
    recipes = [foreign()[name] for name in ("undertow", "other clips")]
    found = obtain_all(recipes, workers=2, say=str)
    assert [run.recipe for run in found] == recipes and not any(run.staleness() for run in found)
    one, other, *_ = recipes[0].data.catalogue().split("train")
    shutil.copy(one.path, other.path)
    assert found[0].staleness() == "made from other clips"


def test_another_part_in_the_place_of_its_own_is_told(foreign):
    recipe = foreign()["undertow"]
    run = Run("somewhere")
    for change, says in (
        ({"teacher": run}, "teacher must be a recipe, not Run: .*teacher=run.recipe"),
        ({"teacher": "run"}, "teacher must be a recipe, not str"),
        ({"view": recipe.teacher.view}, "Raft sees video of 3 channels and the view has 1"),
    ):
        with pytest.raises(ValueError, match=says):
            obtain(replace(recipe, **change), say=str)


def test_without_its_package_a_run_says_what_to_import(foreign, tmp_path, command):
    run = obtain(foreign()["labels alone"], say=str)
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
    run = obtain(foreign()["undertow"], say=str)
    assert {"loss_judge", "loss_swimmer", "fooled"} <= set(run.history)
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
