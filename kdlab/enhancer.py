"""Zero-DCE as an enhancer like the others: trained on dark clips at its first use, found again afterwards."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from kdlab import paths
from kdlab.clips.night import Night
from kdlab.clips.views import ClipBatches, Raw, Window
from kdlab.distill.zero_dce import ZeroDce
from kdlab.files import write_atomically
from kdlab.nets.curves import CurveNet, apply_curves
from kdlab.progress import track
from kdlab.recipe import UserClips, source_hash, to_json
from kdlab.train import Settings, fit, one_thread

__all__ = ["TrainedCurves"]

_AT_ONCE = 2**17  # pixels of a picture that the network sees at once; each takes about 1.5 kB of memory there


@dataclass(frozen=True)
class TrainedCurves:
    """Zero-DCE, trained without labels on the dark *training* clips of ``data`` (docs/methods.md, 1.1).

    At most ``clips`` of them, spread over the data, are seen as single frames of ``side`` × ``side`` pixels, ``batch``
    at once, for ``steps`` steps (rounded up to whole passes) of peak rate ``lr``. ``steady`` brightens all frames by
    the mean of their curve maps, with the same weights. Weights are looked for in the folder :attr:`name` (without
    ``-steady``) in ``runs/``, then in ``pretrained/``; the first call trains those that are missing, and another
    process waits. Raises what reading ``data`` raises.
    """

    data: Night | UserClips
    width: int = 16
    side: int = 64
    clips: int = 96
    batch: int = 8
    steps: int = 400
    lr: float = 1e-3
    seed: int = 0
    steady: bool = False

    def __post_init__(self):
        if self.side < 16 or min(self.width, self.clips, self.batch, self.steps) < 1:
            raise ValueError(f"curves need side >= 16 (a patch of the loss), and width, clips … >= 1, got {self}")

    @property
    def name(self) -> str:
        """Unique for one training: today's sources and clips are part of its digits, so it is never stale."""
        return _name(self) + ("-steady" if self.steady else "")

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        clip = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)
        return np.ascontiguousarray(self._brightened(clip).permute(1, 2, 3, 0).numpy())

    def on_batch(self, batch: torch.Tensor) -> torch.Tensor:
        """See :func:`kdlab.clips.enhance.on_batch`: computed where ``batch`` lies."""
        return torch.stack([self._brightened(clip) for clip in batch])

    def fitted(self, clip: Callable[[], Iterator[np.ndarray]]) -> Callable[[int, np.ndarray], np.ndarray]:
        """See ``kdlab.clips.enhance``: each frame by itself, or with the mean of all curve maps."""
        def picture(frame: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)

        brighten = self._brightener(lambda: map(picture, clip()), torch.device("cpu"))
        return lambda number, frame: np.ascontiguousarray(brighten(picture(frame)).permute(1, 2, 0).numpy())

    def training(self) -> pd.DataFrame:
        """The training curve, a row an epoch: the weighted loss ``loss_net`` and its four terms."""
        return pd.read_csv(_obtain(self) / "history.csv")

    def _brightened(self, clip: torch.Tensor) -> torch.Tensor:
        """``uint8 (3, T, H, W)`` frame by frame, because the network's maps of a whole clip can fill the memory."""
        brighten = self._brightener(lambda: clip.unbind(1), clip.device)
        return torch.stack([brighten(frame) for frame in clip.unbind(1)], 1)

    def _brightener(self, frames: Callable[[], Iterable[torch.Tensor]],
                    device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
        """What brightens a frame ``uint8 (3, H, W)`` of a clip, whose ``frames()`` are looked at where ``steady``."""
        net = _net(self, device)
        means: list[torch.Tensor] = []  # of the curves, by strips
        if self.steady:
            count = 0
            with torch.no_grad(), one_thread():
                for frame in frames():
                    for place, (_, curves, _) in enumerate(_by_strips(net, frame)):
                        if count:
                            means[place] += curves
                        else:
                            means.append(curves.clone())
                    count += 1
            means = [total.div_(count) for total in means]

        def brighten(frame: torch.Tensor) -> torch.Tensor:
            with torch.no_grad(), one_thread():
                if not self.steady:
                    return torch.cat([_as_bytes(bright) for _, _, bright in _by_strips(net, frame)], 1)
                rows = _strips(frame)
                return torch.cat([_as_bytes(apply_curves(_as_floats(frame[:, top:bottom]), mean))
                                  for (top, bottom), mean in zip(rows, means, strict=True)], 1)

        return brighten


def _strips(frame: torch.Tensor) -> list[tuple[int, int]]:
    """The rows of a picture ``(3, H, W)`` that the network sees at once: all, unless it is a large one."""
    height, width = frame.shape[1:]
    tall = max(_AT_ONCE // width, 64)
    return [(top, min(top + tall, height)) for top in range(0, height, tall)]


def _by_strips(net: CurveNet, frame: torch.Tensor) -> Iterator[tuple[tuple[int, int], torch.Tensor, torch.Tensor]]:
    """Rows, their curves and their brightened picture: the same bits as of the whole, because each convolution is given
    the row beyond the strip that it looks at."""
    strips = _strips(frame)
    for top, bottom in strips:
        around = len(net.convs) if len(strips) > 1 else 0
        first = max(top - around, 0)
        said = net(_as_floats(frame[:, first : bottom + around]))
        yield (top, bottom), *(maps[:, :, top - first :][:, :, : bottom - top] for maps in said)


def _as_floats(frame: torch.Tensor) -> torch.Tensor:
    return frame[None].float().div_(255)


def _as_bytes(pictures: torch.Tensor) -> torch.Tensor:
    """``(1, 3, H, W)`` in [0, 1] as ``uint8 (3, H, W)``."""
    return pictures[0].mul(255).round_().clamp_(0, 255).byte()


@cache
def _name(enhancer: TrainedCurves) -> str:
    fields = to_json(enhancer, identity=True) | {"steady": None}
    parts = json.dumps([fields, source_hash(enhancer), enhancer.data.fingerprint()], sort_keys=True)
    data = "night" if isinstance(enhancer.data, Night) else enhancer.data.name
    return f"zerodce-{data}-s{enhancer.seed}-{hashlib.sha256(parts.encode()).hexdigest()[:8]}"


@cache
def _net(enhancer: TrainedCurves, device: torch.device) -> CurveNet:
    net = CurveNet(enhancer.width)
    net.load_state_dict(load_file(_obtain(enhancer) / "weights.safetensors"))
    return net.eval().to(device, memory_format=torch.channels_last)


def _obtain(enhancer: TrainedCurves) -> Path:
    """The folder with the weights, found or trained now."""
    name = _name(enhancer)
    mine = paths.runs_dir() / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{mine}.lock"):
        for folder in (mine, paths.pretrained_dir() / name):
            if (folder / "enhancer.json").is_file():
                return folder
        _train(enhancer, mine)
    return mine


def _train(enhancer: TrainedCurves, folder: Path) -> None:
    catalogue = enhancer.data.catalogue()
    catalogue.require("train")
    records = catalogue.split("train")
    records = records[:: ceil(len(records) / enhancer.clips)]
    batches = ClipBatches(records, {"student": Raw()}, Window(1, enhancer.side, enhancer.side))
    batches.check(lambda clips: track(clips, "opening clips"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(enhancer.seed)
        net = CurveNet(enhancer.width).to(memory_format=torch.channels_last)
    epochs = ceil(enhancer.steps / max(1, len(records) // enhancer.batch))
    settings = Settings(epochs, enhancer.batch, enhancer.lr, weight_decay=1e-4)
    with torch.enable_grad():  # the first use may come from an evaluation
        trained = fit(ZeroDce(), {"student": net}, batches, settings, enhancer.seed,
                      progress=lambda steps: track(steps, folder.name, total=len(steps)))
    state = {k: v.contiguous().cpu() for k, v in trained.nets["student"].state_dict().items()}
    about = {"enhancer": to_json(enhancer), "clips": [record.id for record in records], "steps": trained.steps,
             "device": trained.device, "cpu_seconds": round(trained.cpu_seconds, 2)}
    write_atomically(folder / "weights.safetensors", lambda p: save_file(state, p))
    write_atomically(folder / "history.csv", lambda p: pd.DataFrame(trained.history).to_csv(p, index=False))
    write_atomically(folder / "enhancer.json", lambda p: p.write_text(json.dumps(about, indent=1), encoding="utf-8"))
