"""Networks as ONNX: the same logits, any batch, classes as metadata; what is missing is named."""

import importlib.util
import sys

import pytest

from kdlab.cli.export import to_onnx
from kdlab.clips.windows import Window
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.system.files import NotOurs
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings

NIGHT = Night(("Jump", "Sit"), (2, 1, 2), 0.25)
needs_onnx = pytest.mark.skipif(not all(map(importlib.util.find_spec, ("onnxruntime", "onnxscript"))),
                                reason="pip install 'kdlab[onnx]'")


@pytest.fixture
def run(own_places):
    recipe = Recipe("ce", NIGHT, net=TinyR2Plus1D((4, 8)), window=Window(4, 16, 16),
                    settings=Settings(epochs=1, batch_size=4))
    return obtain(recipe, pretrained=False, say=str)


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 1, 12])
def test_the_file_gives_the_logits_of_torch(run, tmp_path, batch):
    import onnxruntime

    made = to_onnx(run, tmp_path / "net.onnx", batch)
    assert made.difference < 1e-4 and made.of_run < 1e-4
    assert made.clips == 4 and made.inputs == {"clips": (3, 4, 16, 16)}
    session = onnxruntime.InferenceSession(str(made.file))
    assert session.get_modelmeta().custom_metadata_map["classes"] == "Jump\nSit"
    first = session.get_inputs()[0].shape[0]
    assert isinstance(first, str) if batch is None else first == batch
    to_onnx(run, made.file, batch)  # its own file is replaced
    made.file.write_text("a letter about kdlab")
    with pytest.raises(NotOurs):
        to_onnx(run, made.file, batch)


def test_a_missing_package_is_named_with_the_extra(run, tmp_path, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, error = command("export", run.folder, "--onnx", tmp_path / "net.onnx")
    assert code == 2 and "pip install 'kdlab[onnx]'" in error and not (tmp_path / "net.onnx").exists()
