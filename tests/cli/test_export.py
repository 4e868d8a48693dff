"""Networks as ONNX: the same logits, any batch, classes as metadata; what is missing is named."""

import importlib.util
import re
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kdlab import protocols
from kdlab.cli import export
from kdlab.cli.export import to_onnx
from kdlab.clips.windows import Window
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.night import Night
from kdlab.system.files import NotOurs
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from tests.conftest import places_in

NIGHT = Night(("Jump", "Sit"), (2, 1, 2), 0.25)
needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnxruntime", "onnxscript"))),
    reason="pip install 'kdlab[onnx]'",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with places_in(tmp_path_factory.mktemp("export")):
        recipe = Recipe(
            "ce",
            NIGHT,
            net=TinyR2Plus1D((4, 8)),
            window=Window(4, 16, 16),
            settings=Settings(epochs=1, batch_size=4),
        )
        yield obtain(recipe, say=str)


@needs_onnx
@pytest.mark.slow
def test_the_file_gives_the_logits_of_torch(run, tmp_path):
    import onnxruntime

    made = to_onnx(run, tmp_path / "net.onnx")
    assert made.difference < 1e-4
    assert made.clips == 4 and made.inputs == {"clips": (3, 4, 16, 16)}
    session = onnxruntime.InferenceSession(str(made.file))
    assert session.get_modelmeta().custom_metadata_map["classes"] == "Jump\nSit"
    assert isinstance(session.get_inputs()[0].shape[0], str)
    to_onnx(run, made.file)  # its own file is replaced
    made.file.write_text("a letter about kdlab")
    with pytest.raises(NotOurs):
        to_onnx(run, made.file)


class AsksForItsBatch(nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 4, 3, 2), nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3, 4)).reshape(len(x), 4))


class BranchesOnLight(AsksForItsBatch):
    """Another answer to a dark clip, decided in Python: a trace has one of the two ways."""

    def forward(self, x):
        return super().forward(x) * (1 if x.abs().sum() < 10 else 3)


@dataclass(frozen=True)
class Net(protocols.Net):
    kind: str

    def make(self, num_classes: int) -> nn.Module:
        return globals()[self.kind](num_classes)


@needs_onnx
@pytest.mark.slow
def test_a_file_for_any_batch_takes_any_and_a_frozen_branch_is_refused(run, tmp_path, monkeypatch):
    import onnxruntime

    nets = {kind: build(Net(kind), 2, 0).eval() for kind in ("AsksForItsBatch", "BranchesOnLight")}
    monkeypatch.setattr(type(run), "net", lambda _: nets["AsksForItsBatch"])
    made = to_onnx(run, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(made.file))
    x = torch.rand(5, 3, 4, 16, 16)
    assert made.batch is None and not made.why
    assert (
        abs(
            session.run(None, {"clips": x.numpy()})[0] - nets["AsksForItsBatch"](x).detach().numpy()
        ).max()
        < 1e-5
    )
    monkeypatch.setattr(type(run), "net", lambda _: nets["BranchesOnLight"])
    with pytest.raises(ValueError, match="cannot be exported, so no file was written: "):
        to_onnx(run, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.parametrize(
    "answer, batch, why",
    [
        (lambda net, x: net(x), None, "^$"),
        (lambda net, x: net(x) + (len(x) == 7), 1, "the exported logits differ"),
        (lambda net, x: net(x)[:2], 1, "the file gives .* where torch gives"),
        (lambda net, x: net(x) + (x.max() == 0), "refused", "the exported logits differ"),
    ],
)
def test_a_file_is_compared_at_four_batches_and_on_a_black_clip(
    answer, batch, why, run, tmp_path, monkeypatch
):
    """Without onnxruntime: ``answer`` stands for the file."""

    def session(*_, **__):
        answers = torch.no_grad()(
            lambda _, inputs: [answer(run.net(), torch.from_numpy(inputs["clips"])).numpy()]
        )
        return SimpleNamespace(run=answers)

    content = SimpleNamespace(SerializeToString=lambda: b"content")
    program = SimpleNamespace(model=SimpleNamespace(metadata_props={}), model_proto=content)
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=session))
    monkeypatch.setitem(sys.modules, "onnxscript", SimpleNamespace())
    monkeypatch.setattr(export, "_exported", lambda *_: program)
    if batch == "refused":
        with pytest.raises(ValueError, match=f"cannot be exported, so no file was written: {why}"):
            to_onnx(run, tmp_path / "net.onnx")
    else:
        made = to_onnx(run, tmp_path / "net.onnx")
        assert made.batch == batch and re.search(why, made.why) and made.difference == 0
    assert (tmp_path / "net.onnx").exists() == (batch != "refused")


def test_a_missing_package_is_named_with_the_extra(run, tmp_path, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    export = "export", run.folder, "--onnx", tmp_path / "net.onnx"
    assert "pip install 'kdlab[onnx]'" in refused(*export)
    assert not (tmp_path / "net.onnx").exists()
    assert "no_module cannot be imported" in refused(*export, "--import", "no_module")
