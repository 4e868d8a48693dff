"""A stranger's package (``foreign/driftwood``) goes the whole way: trained, interrupted, opened, measured, judged."""

import shutil
import sys
from collections import OrderedDict
from dataclasses import make_dataclass, replace
from importlib import import_module
from pathlib import Path

import pytest
from torch import nn

from kdlab.cli.main import main
from kdlab.measure.attention import grad_cam
from kdlab.measure.cost import macs, parameters
from kdlab.measure.flatness import Hessian, sharpness
from kdlab.papers.generative.recipes import conditions
from kdlab.study import Part, Study, study_in
from kdlab.train import rehearsal
from kdlab.train.many import obtain_all
from kdlab.train.recipe import NotImported
from kdlab.train.rehearsal import rehearse
from kdlab.train.runs import Run, batches, obtain
from kdlab.train.sizes import SMOKE, GenerativeSize, current

FOREIGN = Path(__file__).parent / "foreign"


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] == "driftwood"]:
        del sys.modules[name]


@pytest.fixture
def foreign(monkeypatch, tmp_path):
    """The conditions of the stranger's study, by seed; its package can be imported until the test is over."""
    for place in ("RUNS", "CACHE", "DATA", "FIGURES"):
        monkeypatch.setenv(f"KDLAB_{place}", str(tmp_path / place.lower()))
    monkeypatch.syspath_prepend(str(FOREIGN))
    forget()
    from driftwood import my_study

    yield lambda seed=0: {name: few(recipe) for name, recipe in my_study.conditions(SMOKE, seed).items()}
    forget()


def few(recipe):
    """The recipe, and its teacher's, on five takes of two ways."""
    return replace(recipe, data=replace(recipe.data, takes=5, ways=("left", "up")),
                   teacher=recipe.teacher and few(recipe.teacher))


def quiet(line: str) -> None:
    pass


def test_its_study_is_trained_and_judged_once(foreign):
    from driftwood import my_study

    part = my_study.parts(SMOKE, 2)[0]
    small = replace(part, recipes={name: [few(recipe) for recipe in seeds] for name, seeds in part.recipes.items()})
    study = Study("driftwood", lambda size, seeds: [small], size=SMOKE, seeds=2, claims=my_study.study.claims)
    said = []
    scores = study.run(say=said.append, workers=1)["adrift"]
    assert study.verdicts(scores)["claim"].tolist() == ["D1"]
    assert sum("trained in" in line for line in said) == 8
    said.clear()
    study.run(say=said.append, workers=1)
    assert not any("trained in" in line for line in said)


def test_an_interrupted_training_with_two_optimisers_ends_as_one_that_was_not(foreign, monkeypatch, tmp_path):
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
    assert [path.parent.name for path in (tmp_path / "again").glob("*/checkpoint*")] == [whole.folder.name]
    assert obtain(recipe, say=quiet).provenance["weights"] == whole.provenance["weights"]


def test_its_network_teaches_a_tiny_one_and_learns_from_it(foreign):
    from driftwood.undertow import Undertow

    alone, tiny = foreign()["labels alone"], replace(SMOKE.net, widths=(4, 4, 6, 6))
    last = f"net.{tiny.stages[-1]}"
    taught = replace(alone, net=tiny, teacher=replace(alone, seed=50), method=Undertow(mine=last))
    teaches = replace(alone, teacher=replace(alone, seed=50, net=tiny), method=Undertow(taps=(last,)))
    assert [len(obtain(recipe, say=quiet).history["step"]) for recipe in (taught, teaches)] == [2, 2]


def test_its_runs_are_looked_into_like_kdlabs(foreign, tmp_path, capsys):
    recipe = foreign()["undertow"].teacher
    run = Run(obtain(recipe, say=quiet).folder)
    assert run.recipe == recipe and not run.staleness()
    test = next(iter(batches(run.recipe, "test", {"student": run.recipe.view}).evaluation(4)))
    video, labels = test.views["student"], test.labels
    net = run.net()
    assert video.shape[1:] == (1, 8, 28, 28)
    assert grad_cam(net, video, labels, f"net.{recipe.net.stages[-1]}").maps.shape == (len(video), 8, 28, 28)
    stages = 27 * 6 * 8 * 14 ** 2 + 27 * 6 * 12 * 4 * 7 ** 2
    assert macs(net, (1, *video.shape[1:])) == stages + 12 * 2
    assert parameters(net) == 27 * 6 + 2 * 6 + 27 * 6 * 12 + 2 * 12 + 12 * 2 + 2
    assert sharpness(Hessian(net.requires_grad_(True), [(video, labels)]), steps=2).ascent > 0
    clip, picture = run.recipe.data.catalogue().split("test")[0].path, tmp_path / "seen.png"
    with pytest.raises(SystemExit, match="^0$"):
        main(["predict", str(clip), "--run", str(run.folder), "--out", str(picture)])
    assert "Grad-CAM at net.stern" in capsys.readouterr().out and picture.stat().st_size


def test_its_head_is_fitted_to_other_classes_by_their_names(foreign):
    start = foreign()["labels alone"]
    recipe = replace(start, start=start, data=replace(start.data, ways=("right", "up")),
                     settings=replace(start.settings, lr=1e-12, weight_decay=0.0))
    before, after = (obtain(of, say=quiet).net().get_submodule("net.classify").weight for of in (start, recipe))
    assert abs(before[1] - after[1]).max() < 1e-6 < abs(before[0] - after[0]).max()


def test_without_its_package_a_run_says_what_to_import(foreign):
    run = obtain(foreign()["labels alone"], say=quiet)
    forget()
    with pytest.raises(NotImported, match=r"driftwood\.\w+:\w+.*import driftwood.clips, driftwood.raft first"):
        Run(run.folder).net()
    assert len(run.history["step"]) == 2 and run.provenance["classes"] == ["left", "up"]


def test_what_could_not_be_opened_again_is_refused_before_anything_is_trained(foreign, tmp_path):
    from driftwood.undertow import Undertow

    class Inside(Undertow):
        pass

    def hookless(nets):
        return {"net": ["student"]}

    recipe = foreign()["undertow"]
    Loose = make_dataclass("Loose", (), namespace={"parts": hookless, "losses": None})
    Hookless = make_dataclass("Hookless", (), namespace={"parts": hookless}, frozen=True)
    for method, says in ((Inside(), "top level"), (Loose(), "frozen=True"), (Hookless(), "no 'losses'")):
        with pytest.raises(ValueError, match=f"{type(method).__name__}.*{says}"):
            obtain(replace(recipe, method=method), say=quiet)
    assert not (tmp_path / "runs").exists()


def yields(made):
    """A ``losses`` that gives what ``made`` makes of a loss."""
    def losses(self, nets, batch, progress):
        yield made(self.swim(nets, batch, "student")[0].mean())
    return losses


@pytest.mark.parametrize(("which", "changes", "says"), [
    ("raft:Raft", {"head": "klassify"}, "Raft names a layer 'klassify', and its network has bow, .*classify"),
    ("raft:Raft", {"stages": ("bow", "sturn")}, "Raft names a layer 'sturn'"),
    ("raft:Raft", {"statistics": ((0.5, 0.5), (0.2,))}, "a mean and a deviation for each of . channels"),
    ("raft:Raft", {"make": lambda self, classes: raft(self.channels, classes + 2)},
     r"Raft gives \(2, 4\) for 2 clips, where \(2, 2\) is wanted"),
    ("undertow:Undertow", {"mine": "net.sturn"}, "Undertow fails in the first step .* no layer 'net.sturn'"),
    ("undertow:Undertow", {"parts": lambda self, nets: {"judge": ["critic"], "net": ["student"]}},
     "an optimiser 'swimmer', and parts.. names judge, net"),
    ("undertow:Undertow", {"parts": lambda self, nets: {"judge": ["critic"], "swimmer": ["student", "oar"]}},
     "parts.. names a network 'oar'; there are student, teacher, projector, critic"),
    ("", {"teacher": None}, "Undertow learns from a teacher, and the recipe .* has none: give it teacher="),
    ("", {"view": "the teacher's"}, "Raft sees video of 3 channels and the view has 1"),
    ("raft:Raft", {"make": lambda self, classes: raft(self.channels + 1, classes)}, r"Raft fails on video \(2, ., 8"),
    ("raft:Raft", {"make": lambda self, classes: 1 / 0}, r"Raft.make\(2\) fails: ZeroDivisionError"),
    ("raft:Raft", {"make": lambda self, classes: len}, r"Raft.make\(2\) gives builtin.*give a torch.nn.Module"),
    ("undertow:Undertow", {"losses": yields(lambda loss: ("swimmer", loss))}, "must yield three values"),
    ("undertow:Undertow", {"losses": yields(lambda loss: ("swimmer", loss.detach(), {}))}, "was it detached"),
    ("undertow:Undertow", {"losses": yields(lambda loss: ("swimmer", loss[None].repeat(2), {}))}, r"got shape \(2,\)"),
    ("undertow:Undertow", {"losses": yields(lambda loss: ("swimmer", 0.5, {}))}, "must be one number .* got float"),
    ("undertow:Undertow", {"losses": yields(lambda loss: ("swimmer", loss, {"ce": 0.5}))}, "'ce' must be a tensor"),
])
def test_what_does_not_fit_is_told_before_anything_is_trained(foreign, monkeypatch, tmp_path, which, changes, says):
    recipe, (module, _, kind) = foreign()["undertow"], which.partition(":")
    if which:
        for name, value in changes.items():
            monkeypatch.setattr(getattr(import_module(f"driftwood.{module}"), kind), name, value, raising=False)
        if "mine" in changes:
            recipe = replace(recipe, method=replace(recipe.method, **changes))
    else:
        recipe = replace(recipe, **(changes if "view" not in changes else {"view": recipe.teacher.view}))
    for train in (lambda: obtain(recipe, say=quiet), lambda: obtain_all([recipe], workers=1, say=quiet)):
        with pytest.raises(ValueError, match=says):
            train()
    assert not list((tmp_path / "runs").glob("*/begun.json"))


def test_a_run_in_the_place_of_a_recipe_is_told(foreign):
    recipe = foreign()["undertow"]
    for other, says in ((Run("somewhere"), "teacher must be a recipe, not Run: .*teacher=run.recipe"),
                        ("run", "teacher must be a recipe, not str$")):
        with pytest.raises(ValueError, match=says):
            obtain(replace(recipe, teacher=other), say=quiet)


def test_what_only_a_trained_teacher_can_say_is_not_asked_before(foreign):
    stranger = foreign()["undertow"].teacher
    genkd = conditions(current("smoke", GenerativeSize), stranger.data)["genkd"]

    def seen_in_its_view(recipe):
        net = replace(recipe.net, backbone=replace(recipe.net.backbone, channels=1))
        return replace(recipe, net=net, view=stranger.view, teacher=recipe.teacher and seen_in_its_view(recipe.teacher))

    rehearse(seen_in_its_view(genkd))


def test_a_rehearsal_that_fails_leaves_a_finished_run_where_it_is(foreign, monkeypatch):
    from driftwood.raft import Raft

    run = obtain(foreign()["labels alone"], say=quiet)
    monkeypatch.setattr(Raft, "head", "klassify")
    monkeypatch.setattr(Run, "staleness", lambda self, recipe=None: "made by other sources")
    monkeypatch.setattr(rehearsal, "_fit", set())
    with pytest.raises(ValueError, match="klassify"):
        obtain(run.recipe, stale="retrain", say=quiet)
    assert (run.folder / "run.json").is_file()


def raft(channels, classes):
    return nn.Sequential(OrderedDict(bow=planks(channels, 6), stern=planks(6, 12), pool=nn.AdaptiveAvgPool3d(1),
                                     flat=nn.Flatten(), classify=nn.Linear(12, classes)))


def planks(a, b):
    return nn.Conv3d(a, b, 3, 2, 1)


def test_a_study_says_what_obtain_would_say_of_its_recipes(foreign, tmp_path):
    Loose = make_dataclass("Loose", (), namespace={"parts": quiet, "losses": quiet})
    recipe = replace(foreign()["labels alone"], method=Loose())
    for parts, says in ((lambda size, seeds: [Part("adrift", {"loose": [recipe]})], "write @dataclass.frozen=True"),
                        (lambda size, seeds: [], "gives nothing"), ([], "must be a function of size and seeds")):
        with pytest.raises(ValueError, match=says):
            Study("loose", parts, size=SMOKE).run(say=quiet, workers=1)


def test_its_study_is_found_from_anywhere(foreign, monkeypatch):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(FOREIGN)])
    forget()
    assert study_in(FOREIGN / "driftwood" / "my_study.py").name == "driftwood"


def test_a_clip_is_predicted_in_a_process_that_knows_nothing_yet(foreign, monkeypatch, tmp_path, capsys):
    run = obtain(foreign()["labels alone"], say=quiet)
    clip = run.recipe.data.catalogue().split("test")[0].path
    forget()
    call = ["predict", str(clip), "--run", str(run.folder), "--out", str(tmp_path / "seen.png")]
    for more, code, says in (([], 1, "(on the command line: --import driftwood.clips --import driftwood.raft)"),
                             (["--import", "driftwod"], 2, "cannot be imported"),
                             (["--import", "driftwood.my_study"], 0, "Grad-CAM at net.stern")):
        with pytest.raises(SystemExit, match=f"^{code}$"):
            main(call + more)
        assert says in "".join(capsys.readouterr())


def test_a_changed_line_of_its_method_makes_its_runs_stale_and_a_comment_does_not(foreign, monkeypatch, tmp_path):
    run = obtain(foreign()["undertow"], say=quiet)
    shutil.copytree(FOREIGN / "driftwood", tmp_path / "copy" / "driftwood")
    monkeypatch.syspath_prepend(str(tmp_path / "copy"))
    method, said = tmp_path / "copy" / "driftwood" / "undertow.py", []
    for old, new in (("ours = nets", "# no more\n        ours = nets"), ("(fooled + pull)", "(fooled + 2 * pull)")):
        method.write_text(method.read_text().replace(old, new))
        forget()
        import_module("driftwood.my_study")
        said.append(Run(run.folder).staleness())
    assert Path(sys.modules["driftwood.undertow"].__file__) == method
    assert said == ["", "made by other sources"]
