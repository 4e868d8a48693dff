"""A trained network as one ONNX file, by torch's own exporter, checked against torch on clips of the run's tests."""

from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from importlib import import_module
from io import StringIO
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdlab.nets.layers import one_thread
from kdlab.system.files import begins_with, may_write, write_atomically
from kdlab.train.preparing import batches
from kdlab.train.runs import NoPredictions, Run

_CLIPS = 10
_BATCHES = [1, 2, 3, 7]  # clips at a time in the comparison with torch, where any number will do
_LIGHTS = [
    0.2,
    0.0,
]  # factors that make further clips dark and black: a network may branch on what it sees
_PRODUCER = "kdlab"
_HEAD = (
    f"\x12{chr(len(_PRODUCER))}{_PRODUCER}"  # the producer's field, the second one of an ONNX file
)


@dataclass(frozen=True)
class Exported:
    """The ``file``, and its ``inputs`` by name with their shapes.

    ``batch`` is the number of clips that it takes; None for any number. ``why`` tells why it takes only one where any
    number was asked for. ``difference`` is the largest of its logits from torch's on ``clips`` clips, as a share of the
    largest logit where that exceeds 1. ``of_run`` is the largest difference from the predictions that the run keeps,
    maybe of another machine; None where it keeps none.
    """

    file: Path
    inputs: dict[str, tuple]
    batch: int | None
    why: str
    clips: int
    difference: float
    of_run: float | None


class _Named(nn.Module):
    """A network whose inputs are tensors in the order of ``names``, and whose output is one tensor of logits."""

    def __init__(self, net: nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.net, self.names = net, names

    def forward(self, *clips: torch.Tensor) -> torch.Tensor:
        found = self.net(clips[0] if len(clips) == 1 else dict(zip(self.names, clips, strict=True)))
        return found if isinstance(found, torch.Tensor) else found.exits


def to_onnx(run: Run, file: Path | str, batch: int | None = None) -> Exported:
    """Write the network of ``run`` into ``file``.

    It takes pixels in [0, 1], ``(B, C, T, H, W)``, and gives logits ``(B, K)``; exits take three inputs and give
    ``(B, 12, K)``, a detector gives ``(B, S, P, K + 3)``. Normalisation is inside, the classes stand in the metadata.
    ``batch`` fixes B. Else any will do, or one clip at a time where the exported network fixes its batch.

    The file is compared with torch on batches of 1, 2, 3 and 7 clips (or of ``batch``), and on a dark and a black one.
    Raises ``ValueError`` without the extra ``onnx``, for what cannot be exported, and for a ``difference`` above 1e-3;
    NotOurs where ``file`` is somebody else's.
    """
    try:
        import onnxruntime as onnxruntime  # asked for here, used below
        import onnxscript as onnxscript  # torch's exporter needs it
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install 'kdlab[onnx]'") from error
    file = Path(file)
    may_write(file, lambda there: begins_with(there, _HEAD, 16), "network")
    with one_thread(), torch.no_grad():
        net, views = _network_and_views(run)
        net, clips, fault = _Named(net, tuple(views)).eval(), list(views.values()), None
        for size, strict in product([batch] if batch else [None, 1], [False, True]):
            try:
                program = _exported(net, clips, size, strict)
                program.model.producer_name = _PRODUCER
                program.model.metadata_props["classes"] = "\n".join(run.provenance["classes"])
                program.model.metadata_props["run"] = run.folder.name
                content = program.model_proto.SerializeToString()
                logits, difference = _compared(net, clips, size, content)
                break
            except Exception as error:
                fault = error.__cause__ or error
        else:
            raise ValueError(
                f"{run.folder.name} cannot be exported, so no file was written: {_line(fault)}"
            ) from fault
    write_atomically(file, lambda path: path.write_bytes(content))
    shapes = {name: tuple(x.shape[1:]) for name, x in views.items()}
    why = "" if size == batch else _line(fault)
    return Exported(
        file, shapes, size, why, len(clips[0]), difference, _of_run(run, logits[: len(clips[0])])
    )


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _exported(
    net: _Named, clips: list[torch.Tensor], size: int | None, strict: bool
) -> torch.onnx.ONNXProgram:
    """``net`` for batches of ``size`` clips, or of any number. Where a network asks for ``len(x)``, only ``strict``
    leaves the number free; not every network can be traced so."""
    numbers = torch.arange(size or 2) % len(
        clips[0]
    )  # of a batch of one, the exporter fixes the size
    example = tuple(x[numbers] for x in clips)
    any_number = (({0: torch.export.Dim("batch")},) * len(clips),)
    with redirect_stderr(StringIO()):  # torch prints the graphs that it cannot export
        traced = torch.export.export(
            net, example, dynamic_shapes=None if size else any_number, strict=strict
        )
        return torch.onnx.export(
            traced, input_names=net.names, output_names=["logits"], verbose=False
        )


def _compared(
    net: _Named, clips: list[torch.Tensor], size: int | None, content: bytes
) -> tuple[np.ndarray, float]:
    """The logits of the ONNX file ``content`` on all clips, and their largest difference from those of torch. Raises
    ``ValueError`` where it is too large."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    sizes = [size] * -(-len(clips[0]) // size) if size else _BATCHES
    parts = (torch.arange(sum(sizes)) % len(clips[0])).split(sizes)
    logits, differences = [], []
    # Where a clip is constant, a norm over the clip amplifies rounding: a branch that was frozen differs more.
    for part, light, most in [
        *((part, 1.0, 1e-3) for part in parts),
        *((parts[0], light, 0.1) for light in _LIGHTS),
    ]:
        batch = [light * x[part] for x in clips]
        expected = np.nan_to_num(net(*batch).numpy())
        inputs = {name: x.numpy() for name, x in zip(net.names, batch, strict=True)}
        answer = np.nan_to_num(session.run(None, inputs)[0])
        if answer.shape != expected.shape:
            raise ValueError(f"the file gives {answer.shape} where torch gives {expected.shape}")
        difference = float(np.abs(answer - expected).max() / max(1, np.abs(expected).max()))
        if difference > most:
            raise ValueError(f"the exported logits differ from torch's by {difference:.1e}")
        logits.append(answer)
        differences.append(difference)
    return np.concatenate(logits), max(differences[: len(parts)])


def _of_run(run: Run, logits: np.ndarray) -> float | None:
    try:
        kept = run.predictions().logits[: len(logits)]
    except NoPredictions:
        return None
    return float(np.abs(logits - kept).max()) if kept.shape == logits.shape else None


def _network_and_views(run: Run) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The network of ``run``, and ten clips of its tests as its inputs, by name."""
    recipe = run.recipe
    if recipe.prepare:  # exits on three networks
        net = import_module("kdlab.papers.progressive.anytime").trio_of(run)
        return net, {name: _clips(each) for name, each in recipe.needs().items()}
    return run.net(), {"clips": _clips(recipe)}


def _clips(recipe) -> torch.Tensor:
    selected = batches(recipe, "test", {"student": recipe.view})
    return next(replace(selected, records=selected.records[:_CLIPS]).evaluation(_CLIPS)).views[
        "student"
    ]
