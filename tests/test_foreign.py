"""A package of somebody else's, from its training with workers to its flatness; and what kdlab refuses beforehand."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kdlab.studies.looks import downwards, stages_of

from kdlab.clips.views import ClipBatches, Raw, Window, tag
from kdlab.measure.attention import grad_cam
from kdlab.measure.cost import macs, parameters
from kdlab.measure.flatness import Hessian
from kdlab.measure.lanczos import trace
from kdlab.nets.attention_head import Attended
from kdlab.nets.video import TinyR2Plus1D, begin_as, build
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.generative.detector import Detector
from kdlab.system.sources import ChangedSource, source_hash
from kdlab.train import many, runs
from kdlab.train.loop import Settings
from kdlab.train.many import obtain_all
from kdlab.train.recipe import NotImported, Recipe, check
from kdlab.train.runs import Run, obtain

HOME = Path(__file__).parent / "foreign"
SMALL = dict(window=Window(4, 16, 16), settings=Settings(epochs=3, batch_size=4))


@pytest.fixture
def moonlight(tmp_path, monkeypatch):
    """A copy of the package, imported as a stranger's is, and somewhere to train."""
    for variable in ("KDLAB_RUNS", "KDLAB_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    shutil.copytree(HOME / "moonlight", tmp_path / "home" / "moonlight", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(tmp_path / "home")
    yield importlib.import_module("moonlight")
    for name in [name for name in sys.modules if name.split(".")[0] == "moonlight"]:
        del sys.modules[name]


def recipes(moonlight, folder) -> dict[str, Recipe]:
    """A network of theirs; one taught by it by their method; kdlab's taught by it; theirs begun as it, on more."""
    data = moonlight.Moons(str(folder / "clips"))
    teacher = Recipe("edges", data, moonlight.Edges(), net=moonlight.Strided(6), seed=1, **SMALL)
    student = replace(teacher, condition="adversarial", view=Raw(), method=moonlight.Adversarial(), teacher=teacher,
                      net=moonlight.Strided(), seed=0)
    ours = replace(student, condition="ours", method=DualLight(), net=TinyR2Plus1D((4, 8)))
    more = replace(teacher, condition="more", data=replace(data, classes=("sets", "stays", "rises")), start=teacher)
    return {"teacher": teacher, "student": student, "ours": ours, "more": more}


def test_their_package_goes_the_whole_way(moonlight, tmp_path):
    asked = recipes(moonlight, tmp_path)
    found = dict(zip(asked, obtain_all(list(asked.values()), pretrained=False, workers=2, say=str), strict=True))
    for name, run in found.items():
        assert run.recipe is asked[name] and Run(run.folder).recipe == asked[name] and not run.staleness()
        assert runs.find(asked[name], pretrained=False).recipe is asked[name]
    assert list(found["student"].history) == ["epoch", "step", "lr", "loss_critic", "loss_net", "ce", "fooled",
                                              "val_accuracy"]
    run, teacher = found["student"], found["teacher"]
    clips = ClipBatches(asked["student"].data.catalogue().split("test"), {"student": Raw()}, SMALL["window"])
    (batch,) = clips.evaluation()
    net, x = run.net(), batch.views["student"]
    assert np.allclose(net(x).detach(), run.predictions().logits, atol=1e-5)
    maps = grad_cam(net, x, batch.labels, stages_of(asked["student"])[0]).maps
    assert maps.shape == (4, 4, 16, 16) and downwards(asked["student"]) == ("net.answer", "net.late", "net.early")
    assert macs(net, (1, 3, 4, 16, 16)) > 0 and parameters(net) > parameters(found["ours"].net()) / 10
    assert np.isfinite(trace(Hessian(net, [(x, batch.labels)]), max_probes=10).value)
    assert found["more"].provenance["needed"]["start"] == teacher.provenance["weights"]


def test_a_start_of_other_classes_keeps_their_rows(moonlight, tmp_path):
    asked = recipes(moonlight, tmp_path)
    start, net = build(asked["teacher"].net, 2, 1), build(asked["more"].net, 3, 5)
    fresh = net.net.answer[1].weight[1].clone()
    begin_as(net, start, ("sets", "stays", "rises"), ("rises", "sets"), "answer.1")
    assert torch.equal(net.net.answer[1].weight, torch.stack([*start.net.answer[1].weight[[1]], fresh,
                                                              start.net.answer[1].weight[0]]))
    assert torch.equal(net.net.early[0].weight, start.net.early[0].weight)


def test_killed_and_resumed_their_two_optimisers_end_in_the_same_bits(moonlight, tmp_path, monkeypatch):
    recipe = recipes(moonlight, tmp_path)["student"]
    whole = obtain(recipe, pretrained=False, say=str).provenance["weights"]
    shutil.rmtree(tmp_path / "KDLAB_RUNS" / recipe.name)

    def stopped(steps, name, **_):
        for step in steps:
            if step == 5:
                raise KeyboardInterrupt
            yield step

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(runs, "track", stopped)
        obtain(recipe, pretrained=False, say=str)
    assert (tmp_path / "KDLAB_RUNS" / recipe.name / "checkpoint.safetensors").is_file()
    assert obtain(recipe, pretrained=False, say=str).provenance["weights"] == whole


def python(tmp_path, *arguments: str) -> str:
    """What a new process says that finds their package."""
    env = os.environ | {"PYTHONPATH": f"{tmp_path / 'home'}:{HOME.parents[1]}", "IPYTHONDIR": str(tmp_path / "ipython")}
    told = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, cwd=tmp_path)
    return told.stdout + told.stderr


OPENED = """
from pathlib import Path
from kdlab.train.runs import Run, unfit
run = Run(Path(FOLDER))
try:
    run.net()
except ValueError as error:
    print(type(error).__name__, error)
print("list:", unfit(run))
import moonlight
print("opened", type(run.net().net.answer).__name__)
"""


def test_a_fresh_process_names_what_to_import_and_opens_it_then(moonlight, tmp_path):
    run = obtain(recipes(moonlight, tmp_path)["teacher"], pretrained=False, say=str)
    said = python(tmp_path, "-c", OPENED.replace("FOLDER", repr(str(run.folder))))
    told = "the recipe names moonlight.clips:Moons, which is not part of kdlab and not imported here: import moonlight."
    every = "clips, moonlight.edges, moonlight.net first"
    said = re.sub(r"[\w-]+: the", "the", said)  # without the run's name
    assert all(f"{start}{told}{every}" in said for start in ("NotImported ", "list: ")), said
    assert "opened Sequential" in said, said


SCRIPT = """
from dataclasses import dataclass, replace
from moonlight import Moons, Strided
from kdlab.clips.views import Window
from kdlab.train.many import obtain_all
from kdlab.train.recipe import Recipe
from kdlab.train.loop import Settings

@dataclass(frozen=True)
class Mine(Strided):
    def make(self, num_classes):
        return super().make(num_classes)

if __name__ == "__main__":
    recipe = Recipe("mine", Moons("clips"), net=Mine(), window=Window(4, 16, 16), settings=Settings(1, 4))
    runs = obtain_all([recipe, replace(recipe, seed=1)], workers=2)
    assert not runs[0].staleness() and runs[0].provenance["recipe"]["net"]["type"] == "script:Mine"
    print("went through", runs[0].folder)
"""


@pytest.mark.slow
def test_a_class_in_a_script_reaches_its_workers_and_is_opened_by_who_imports_the_script(moonlight, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    said = python(tmp_path, "script.py")
    assert "went through" in said, said
    folder = said.split()[-1]
    code = ("import sys; sys.path.insert(0, '.'); import script; from pathlib import Path; "
            "from kdlab.train.runs import Run; "
            f"run = Run(Path({folder!r})); print(type(run.recipe.net).__name__, repr(run.staleness()))")
    assert "Mine ''" in python(tmp_path, "-c", code)


def test_their_sources_are_hashed_with_what_they_import_and_a_stale_run_of_theirs_is_made_anew(
        moonlight, tmp_path, monkeypatch):
    recipe = recipes(moonlight, tmp_path)["teacher"]
    before, frames = source_hash(recipe), tag(moonlight.Edges())
    obtain(recipe, pretrained=False, say=str)
    helper = tmp_path / "home" / "moonlight" / "sharpen.py"
    helper.write_text(helper.read_text() + "\n# a comment\n")
    with pytest.raises(ChangedSource, match="sharpen.py has changed since it was imported: restart the kernel, or call "
                       r"importlib.reload\(moonlight.sharpen\)"):
        obtain(recipe, pretrained=False, say=str)
    importlib.reload(sys.modules["moonlight.sharpen"])
    assert source_hash(recipe) == before and tag(moonlight.Edges()) == frames, "comments do not count"
    helper.write_text(helper.read_text().replace("gain * change", "gain * change + 1"))
    importlib.reload(sys.modules["moonlight.sharpen"])
    assert source_hash(recipe) != before and tag(moonlight.Edges()) != frames, "cached frames are not its frames"
    said = []
    obtain(recipe, pretrained=False, say=said.append)
    assert "made by other sources; trained again, because it is of your own code" in said[0]


@dataclass(frozen=True)
class NoLosses:
    def parts(self, nets):
        return {"net": ["student"]}


@dataclass
class NotFrozen:
    make = None


@pytest.mark.parametrize(("change", "words"), [
    (lambda m: dict(method=NoLosses()), "NoLosses cannot be a recipe's method: it has no 'losses'; kdlab.protocols"),
    (lambda m: dict(data=NoLosses()), "NoLosses cannot be a recipe's data: it has no 'catalogue'"),
    (lambda m: dict(view=NoLosses()), "NoLosses cannot be a recipe's view: it has no 'name'"),
    (lambda m: dict(net=NoLosses()), "NoLosses cannot be a recipe's net: it has no 'make'"),
    (lambda m: dict(net=m.Strided), r"the recipe's net is the class Strided: give an object of it, Strided\("),
    (lambda m: dict(net=NotFrozen()), r"NotFrozen is not frozen.*@dataclass\(frozen=True\)"),
    (lambda m: dict(net=local()), "Local cannot be found again under that name.*at the top level of its module"),
    (lambda m: dict(net=replace(m.Strided(), width=[4])), "Strided has a list in 'width'.*give it a tuple"),
    (lambda m: dict(net=replace(m.Strided(), width=float("nan"))), "Strided would come back as another"),
])
def test_what_could_not_be_opened_again_is_refused_before_anything_is_trained(moonlight, tmp_path, change, words):
    recipe = replace(recipes(moonlight, tmp_path)["teacher"], **change(moonlight))
    for ask in (lambda: obtain(recipe, say=str), lambda: obtain_all([recipe], workers=2, say=str)):
        with pytest.raises(ValueError, match=words):
            ask()
    assert not (tmp_path / "KDLAB_RUNS").exists()


def local():
    @dataclass(frozen=True)
    class Local:
        def make(self, num_classes):
            return torch.nn.Linear(1, num_classes)

    return Local()


def test_a_teacher_without_what_it_needs_is_refused_through_its_student(moonlight, tmp_path):
    student = recipes(moonlight, tmp_path)["student"]
    with pytest.raises(ValueError, match="no 'losses'"):
        check(replace(student, teacher=replace(student.teacher, method=NoLosses())))


def test_other_clips_of_theirs_in_place_are_noticed(moonlight, tmp_path):
    recipe = recipes(moonlight, tmp_path)["teacher"]
    run = obtain(recipe, pretrained=False, say=str)
    (tmp_path / "clips" / "rises" / "train0.mp4").write_bytes((tmp_path / "clips" / "sets" / "test1.mp4").read_bytes())
    assert run.staleness() == "made from other clips"


def test_heads_and_detectors_stand_on_a_network_of_theirs(moonlight):
    x = torch.rand(1, 3, 8, 32, 32)
    assert build(Attended(moonlight.Strided(8), tokens=8, heads=2), 5, 0)(x).shape == (1, 5)
    assert build(Detector(moonlight.Strided(8), ("early", "late"), 8, 2, 8), 5, 0)(x).shape == (1, 1, 16, 8)


IN_A_CELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def cell(text):
    result = shell.run_cell(text)
    result.raise_error()
if __name__ == "__main__":
    del __file__
    cell('''from dataclasses import dataclass, replace
import moonlight
from kdlab.clips.views import Window
from kdlab.train.many import obtain_all
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.system.sources import source_hash
from kdlab.train.loop import Settings
from torch import nn''')
    helper = '''class Mean(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.fc = nn.Linear(3, classes)
    def forward(self, x):
        return SCALE * self.fc(x.mean((2, 3, 4)))'''
    cell("SCALE = 1")
    cell(helper)
    cell('''@dataclass(frozen=True)
class Cell:
    width: int = 1
    def make(self, num_classes):
        return Mean(num_classes)''')
    cell('''recipe = Recipe("cell", moonlight.Moons(CLIPS), net=Cell(), window=Window(4, 16, 16),
                settings=Settings(1, 4))
said = []
one, two = obtain_all([recipe, replace(recipe, seed=1)], workers=2, say=said.append)
assert Run(one.folder).recipe == recipe and type(one.net().net) is Mean
assert "Cell stands in a cell of this notebook" in said[0] and "file beside the notebook" in said[0], said
first = source_hash(recipe)''')
    cell(helper.replace("SCALE *", "2 * SCALE *"))
    cell("second = source_hash(recipe)\\nSCALE = 3\\nassert len({first, second, source_hash(recipe)}) == 3")
    cell("third = source_hash(recipe)\\nfc = 'an attribute has this name'\\nassert source_hash(recipe) == third")
    print("went through")
""".lstrip()


def test_a_class_in_a_notebooks_cell_trains_in_its_own_process_and_what_it_names_is_hashed(moonlight, tmp_path):
    script = tmp_path / "as_in_a_notebook.py"
    script.write_text(IN_A_CELL.replace("CLIPS", repr(str(tmp_path / "clips"))))
    said = python(tmp_path, str(script))
    assert "went through" in said, said


def test_without_a_stage_or_an_import_the_sentence_says_what_to_do(moonlight):
    with pytest.raises(ValueError, match="NoStages names no stages: give it stages = "):
        stages_of(Recipe("x", None, net=NoStages()))
    with pytest.raises(NotImported, match="run the cell that defines Gone first"):
        runs.from_json({"type": "__main__:Gone"})
    assert many.check is check


@dataclass(frozen=True)
class NoStages:
    pass
