"""A trained network as one ONNX file, by torch's own exporter, checked against torch on clips of the run's tests."""

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdlab.nets.layers import one_thread
from kdlab.system.files import begins_with, may_write, write_atomically
from kdlab.train.preparing import batches
from kdlab.train.runs import NoPredictions, Run

_CLIPS = 10
_PRODUCER = "kdlab"
_HEAD = f"\x12{chr(len(_PRODUCER))}{_PRODUCER}"  # the producer's field, the second one of an ONNX file


@dataclass(frozen=True)
class Exported:
    """The ``file``, its ``inputs`` by name with their shapes, and the largest ``difference`` of its logits from torch's
    on ``clips`` clips. ``of_run`` is the largest difference from the predictions that the run keeps, maybe of another
    machine; ``None`` where it keeps none."""

    file: Path
    inputs: dict[str, tuple]
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
    ``batch`` fixes B, else any will do.

    Raises ``ValueError`` without the extra ``onnx``, for what cannot be exported, and for logits that differ from
    torch's by more than 1e-3; NotOurs where ``file`` is somebody else's.
    """
    try:
        import onnxruntime
        import onnxscript as onnxscript  # torch's exporter needs it
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install 'kdlab[onnx]'") from error
    file = Path(file)
    may_write(file, lambda there: begins_with(there, _HEAD, 16), "network")
    with one_thread(), torch.no_grad():
        net, views = _network_and_views(run)
        net = _Named(net, tuple(views)).eval()
        size, clips = batch or 2, len(next(iter(views.values())))  # of a batch of one, the exporter fixes the size
        filled = torch.arange(-(-clips // size) * size) % clips  # whole batches
        example, *others = zip(*(x[filled].split(size) for x in views.values()), strict=True)
        any_batch = ({0: torch.export.Dim("batch")},) * len(example)
        try:
            made = torch.onnx.export(net, example, dynamo=True, input_names=list(views), output_names=["logits"],
                                     dynamic_shapes=None if batch else (any_batch,), verbose=False)
        except Exception as error:
            why = str(error).strip().partition("\n")[0]
            raise ValueError(f"{run.folder.name} cannot be exported: {why}") from error
        made.model.producer_name = _PRODUCER
        made.model.metadata_props["classes"] = "\n".join(run.provenance["classes"])
        made.model.metadata_props["run"] = run.folder.name
        content = made.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        found, torchs = [], []
        for inputs in (example, *others):
            found += session.run(None, {name: x.numpy() for name, x in zip(views, inputs, strict=True)})
            torchs.append(net(*inputs).numpy())
    found = np.concatenate(found)
    difference = float(np.abs(found - np.concatenate(torchs)).max())
    if difference > 1e-3:
        raise ValueError(f"{run.folder.name}: the exported logits differ from torch's by {difference:.1e}; no file was "
                         "written")
    write_atomically(file, lambda path: path.write_bytes(content))
    shapes = {name: tuple(x.shape[1:]) for name, x in views.items()}
    return Exported(file, shapes, clips, difference, _of_run(run, found[:clips]))


def _of_run(run: Run, logits: np.ndarray) -> float | None:
    try:
        kept = run.predictions().logits[: len(logits)]
    except NoPredictions:
        return None
    return float(np.abs(logits - kept).max()) if kept.shape == logits.shape else None


def _network_and_views(run: Run) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The network of ``run``, and ten clips of its tests as its inputs, by name."""
    recipe = run.recipe
    if hasattr(recipe, "prepare"):  # exits on three networks
        net = import_module("kdlab.papers.progressive.anytime").trio_of(run)
        return net, {name: _clips(each) for name, each in recipe.needs().items()}
    return run.net(), {"clips": _clips(recipe)}


def _clips(recipe) -> torch.Tensor:
    selected = batches(recipe, "test", {"student": recipe.view})
    return next(replace(selected, records=selected.records[:_CLIPS]).evaluation(_CLIPS)).views["student"]
