"""A trained network as one ONNX file, by torch's own exporter, checked against torch on clips of the run's tests."""

from contextlib import redirect_stderr
from importlib import import_module
from io import StringIO
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from kdlab.nets.layers import one_thread
from kdlab.system.files import begins_with, may_write, write_content
from kdlab.train.preparing import batches
from kdlab.train.runs import Run

_CLIPS = 10
_BATCHES = [1, 2, 3, 7]  # clips at a time in the comparison with torch, where any number will do
#: Factors that make further clips dark and black: a network may branch on what it sees.
_LIGHTS = [0.2, 0.0]
_PRODUCER = "kdlab"
#: The producer's field, the second one of an ONNX file.
_HEAD = f"\x12{chr(len(_PRODUCER))}{_PRODUCER}"


class Exported(NamedTuple):
    """The ``file``, and its ``inputs`` by name with their shapes.

    ``batch`` is the number of clips that it takes; None for any number. ``why`` tells why it takes only one where any
    number was asked for. ``difference`` is the largest of its logits from torch's on ``clips`` clips, as a share of the
    largest logit where that exceeds 1.
    """

    file: Path
    inputs: dict[str, tuple]
    batch: int | None
    why: str
    clips: int
    difference: float


class _Named(nn.Module):
    """A network whose inputs are tensors in the order of ``names``, and whose output is one tensor of logits."""

    def __init__(self, net: nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.net, self.names = net, names

    def forward(self, *clips: torch.Tensor) -> torch.Tensor:
        named = dict(zip(self.names, clips, strict=True))
        output = self.net(clips[0] if len(clips) == 1 else named)
        return output if isinstance(output, torch.Tensor) else output.exits


def to_onnx(run: Run, file: Path | str) -> Exported:
    """Write the network of ``run`` into ``file``.

    It takes pixels in [0, 1], ``(B, C, T, H, W)``, and gives logits ``(B, K)``; exits take three inputs and give
    ``(B, 12, K)``, a detector gives ``(B, S, P, K + 3)``. Normalisation is inside, the classes stand in the metadata.
    Any B will do, or one clip at a time where the exported network fixes its batch.

    The file is compared with torch on batches of 1, 2, 3 and 7 clips (or of one), and on a dark and a black one.
    Raises ``ValueError`` without the extra ``onnx``, for what cannot be exported, and for a ``difference`` above 1e-3;
    NotOurs where ``file`` is somebody else's.
    """
    try:
        import onnxruntime as onnxruntime  # asked for here, used below
        import onnxscript as onnxscript  # torch's exporter needs it
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install 'kdlab[onnx]'") from error
    file, name = Path(file), run.folder.name
    may_write(file, lambda there: begins_with(there, _HEAD, 16), "network")
    with one_thread(), torch.no_grad():
        net, views = _network_and_views(run)
        net, clips, why = _Named(net, tuple(views)).eval(), list(views.values()), ""
        for batch, strict in product([None, 1], [False, True]):
            try:
                program = _exported(net, clips, batch, strict)
                program.model.producer_name = _PRODUCER
                program.model.metadata_props["classes"] = "\n".join(run.provenance["classes"])
                program.model.metadata_props["run"] = name
                content = program.model_proto.SerializeToString()
                difference = _compared(net, clips, batch, content)
                break
            except Exception as error:
                fault = error.__cause__ or error
                why = str(fault).strip().partition("\n")[0]
        else:
            raise ValueError(f"{name} cannot be exported, so no file was written: {why}")
    write_content(file, content)
    shapes = {name: tuple(x.shape[1:]) for name, x in views.items()}
    return Exported(file, shapes, batch, why if batch else "", len(clips[0]), difference)


def _exported(
    net: _Named, clips: list[torch.Tensor], batch: int | None, strict: bool
) -> torch.onnx.ONNXProgram:
    """``net`` for batches of ``batch`` clips, or of any number. Where a network asks for ``len(x)``, only ``strict``
    leaves the number free; not every network can be traced so."""
    # of a batch of one, the exporter fixes the size
    numbers = torch.arange(batch or 2) % len(clips[0])
    example = tuple(x[numbers] for x in clips)
    shapes = None if batch else (({0: torch.export.Dim("batch")},) * len(clips),)
    with redirect_stderr(StringIO()):  # torch prints the graphs that it cannot export
        traced = torch.export.export(net, example, dynamic_shapes=shapes, strict=strict)
        return torch.onnx.export(
            traced, input_names=net.names, output_names=["logits"], verbose=False
        )


def _compared(net: _Named, clips: list[torch.Tensor], batch: int | None, content: bytes) -> float:
    """The largest difference of the logits that the ONNX file ``content`` gives from those of torch. Raises
    ``ValueError`` where it is too large."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    sizes = [1] * len(clips[0]) if batch else _BATCHES
    parts = (torch.arange(sum(sizes)) % len(clips[0])).split(sizes)
    # Where a clip is constant, a norm over the clip amplifies rounding: a branch that was frozen differs more.
    trials = [(part, 1.0, 1e-3) for part in parts] + [(parts[0], light, 0.1) for light in _LIGHTS]
    differences = []
    for part, light, most in trials:
        given = [light * x[part] for x in clips]
        expected = np.nan_to_num(net(*given).numpy())
        inputs = {name: x.numpy() for name, x in zip(net.names, given, strict=True)}
        answer = np.nan_to_num(session.run(None, inputs)[0])
        if answer.shape != expected.shape:
            raise ValueError(f"the file gives {answer.shape} where torch gives {expected.shape}")
        difference = float(np.abs(answer - expected).max() / max(1, np.abs(expected).max()))
        if difference > most:
            raise ValueError(f"the exported logits differ from torch's by {difference:.1e}")
        differences.append(difference)
    return max(differences[: len(parts)])


def _network_and_views(run: Run) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The network of ``run``, and ten clips of its tests as its inputs, by name."""
    if run.recipe.on_clips:
        return run.net(), {"clips": _clips(run.recipe)}
    trio_of = import_module("kdlab.papers.progressive.anytime").trio_of
    return trio_of(run), {name: _clips(recipe) for name, recipe in run.recipe.needs().items()}


def _clips(recipe) -> torch.Tensor:
    tests = batches(recipe, "test", {"student": recipe.view})
    return next(tests.evaluation(_CLIPS)).views["student"]
