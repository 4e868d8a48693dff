"""Zero-DCE as an enhancer like the others: trained on dark clips at its first use, found again afterwards."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from kdlab import paths
from kdlab.clips.decoders import raw_name
from kdlab.clips.views import ClipBatches, Raw, Window
from kdlab.contents import one_look
from kdlab.files import sweep, write_atomically
from kdlab.nets.video import load_weights
from kdlab.night import Night
from kdlab.papers.dual_light.curves import CurveNet, apply_curves
from kdlab.papers.dual_light.zero_dce import ZeroDce
from kdlab.processes import locked
from kdlab.progress import track
from kdlab.sources import source_hash
from kdlab.stored import damaged, read_bytes, read_note, read_weights, sealed, weights_hash
from kdlab.train.loop import Settings, fit, one_thread
from kdlab.train.recipe import UserClips, portable, to_json
from kdlab.values import positive, whole

__all__ = ["TrainedCurves"]

_AT_ONCE = 2**16  # pixels of a picture that the network sees at once; each takes about 1.5 kB of memory there


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
        whole(16, "a patch of the loss has 16 pixels", side=self.side)
        whole(1, width=self.width, clips=self.clips, batch=self.batch, steps=self.steps)
        whole(0, seed=self.seed)
        positive(lr=self.lr)

    @property
    def name(self) -> str:
        """Unique for one training: today's sources and clips are part of its digits, so it is never stale. It is asked
        with every clip that is brightened, so clips of your own are looked at as :meth:`UserClips.lately` says."""
        return _name(self) + ("-steady" if self.steady else "")

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        clip = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)
        return np.ascontiguousarray(self._brightened(clip).permute(1, 2, 3, 0).numpy())

    def fitted(self, clip: Callable[[], Iterator[np.ndarray]]) -> Callable[[int, np.ndarray], np.ndarray]:
        """See ``kdlab.clips.enhance``: each frame by itself, or with the mean of all curve maps."""
        def picture(frame: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)

        brighten = self._brightener(lambda: map(picture, clip()), torch.device("cpu"))
        return lambda number, frame: np.ascontiguousarray(brighten(picture(frame)).permute(1, 2, 0).numpy())

    def training(self) -> pd.DataFrame:
        """The training curve, a row an epoch: the weighted loss ``loss_net`` and its four terms."""
        file = _obtain(self, _name(self)) / "history.csv"
        try:
            return pd.read_csv(io.BytesIO(read_bytes(file, _note(file.parent).get("files", {}).get(file.name))))
        except pd.errors.ParserError as error:
            raise damaged(file, error) from error

    def _brightened(self, clip: torch.Tensor) -> torch.Tensor:
        """``uint8 (3, T, H, W)`` frame by frame, because the network's maps of a whole clip can fill the memory."""
        brighten = self._brightener(lambda: clip.unbind(1), clip.device)
        return torch.stack([brighten(frame) for frame in clip.unbind(1)], 1)

    def _brightener(self, frames: Callable[[], Iterable[torch.Tensor]],
                    device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
        """What brightens a frame ``uint8 (3, H, W)`` of a clip, whose ``frames()`` are looked at where ``steady``."""
        net = _net(self, _name(self), device)
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
    tall = max(_AT_ONCE // width, 32)
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


def _name(enhancer: TrainedCurves) -> str:
    data = enhancer.data
    return _named(enhancer, data.lately() if isinstance(data, UserClips) else data.fingerprint(), raw_name())


@cache
def _named(enhancer: TrainedCurves, contents: str, frames: str) -> str:
    """``contents`` are the fingerprint of its data; ``frames`` say by which decoder they are read."""
    own = {f.name: to_json(getattr(enhancer, f.name)) for f in fields(enhancer) if f.name not in ("data", "steady")}
    parts = json.dumps([own, source_hash(enhancer), contents, *[frames] * (frames != "raw")], sort_keys=True)
    data = "night" if isinstance(enhancer.data, Night) else enhancer.data.name
    return f"{portable(f'zerodce-{data}')}-s{enhancer.seed}-{hashlib.sha256(parts.encode()).hexdigest()[:8]}"


@cache
def _net(enhancer: TrainedCurves, name: str, device: torch.device) -> CurveNet:
    """The network of the training ``name``, whose clips can change while this process lives."""
    net, folder = CurveNet(enhancer.width), _obtain(enhancer, name)
    file, note = folder / "weights.safetensors", _note(folder)
    load_weights(net, read_weights(file, note if "weights" in note else None), str(file))  # old notes have no hash
    return net.eval().to(device, memory_format=torch.channels_last)


def _note(folder: Path) -> dict:
    return read_note(folder / "enhancer.json")


def _obtain(enhancer: TrainedCurves, name: str) -> Path:
    """The folder with the weights, found or trained now."""
    mine = paths.runs_dir() / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    with locked(f"{mine}.lock"):
        for folder in (mine, paths.pretrained_dir() / name):
            if os.path.lexists(folder / "enhancer.json"):
                return folder
        sweep(mine)
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
    with one_look(again=True):
        if _named(enhancer, enhancer.data.fingerprint(), raw_name()) != folder.name:
            raise ValueError(f"the clips of {enhancer.data.name} changed while {folder.name} was trained on them. Call "
                             "again to train on the clips of now.")
    state = {k: v.contiguous().cpu() for k, v in trained.nets["student"].state_dict().items()}
    about = {"enhancer": to_json(enhancer), "clips": [record.id for record in records], "steps": trained.steps,
             "device": trained.device, "cpu_seconds": round(trained.cpu_seconds, 2), "weights": weights_hash(state)}
    write_atomically(folder / "weights.safetensors", lambda p: save_file(state, p))
    write_atomically(folder / "history.csv", lambda p: pd.DataFrame(trained.history).to_csv(p, index=False))
    about["files"] = {"history.csv": hashlib.sha256((folder / "history.csv").read_bytes()).hexdigest()}
    text = json.dumps(sealed(about), indent=1)
    write_atomically(folder / "enhancer.json", lambda p: p.write_text(text, encoding="utf-8"))
