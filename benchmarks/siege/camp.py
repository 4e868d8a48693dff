"""The place of a siege: a copy of the clone that is attacked, tiny clips and undisturbed runs that attacks share."""

import csv
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from siege.attack import Attack, differences, state
from siege.films import encode

_PARTS = ("kdlab", "notebooks", "figures", "pretrained", "pyproject.toml")
#: What must not change in the clone, whatever is done with it.
_DEAR = ("notebooks", "figures", "pretrained", "pyproject.toml")


def pitch(root: Path, clone: Path) -> Path:
    """Copy what is attacked of ``clone`` below ``root`` and put it first on the path; the copy."""
    copy = root / "clone"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for part in _PARTS:
        if (clone / part).is_dir():
            shutil.copytree(clone / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(clone / part, copy / part)
    sys.path.insert(0, str(copy))
    return copy


def environment(root: Path, clone: Path) -> dict[str, str]:
    """What an attack finds in its environment: every place of kdlab's below ``root``."""
    home = root / "home"
    home.mkdir(parents=True, exist_ok=True)
    places = {f"KDLAB_{name.upper()}": str(root / name) for name in ("runs", "data", "cache", "figures")}
    path = os.pathsep.join(filter(None, [str(clone), os.environ.get("PYTHONPATH")]))  # where extras may lie
    return places | {"KDLAB_HEADLESS": "quiet", "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": path}


def warm_up() -> None:
    """Import once what attacks need, on one thread, so that a fork is ready and safe."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    import cv2
    import torch

    import kdlab  # first of all: it steadies numpy's products

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    cv2.setNumThreads(0)
    import lightning_fabric  # noqa: F401
    import nbclient  # noqa: F401
    import nbconvert  # noqa: F401
    import papermill  # noqa: F401

    import kdlab.cli.main
    import kdlab.clips.transcode
    import kdlab.notebooks.report
    import kdlab.notebooks.reproduce
    import kdlab.papers.dual_light.study
    import kdlab.studies.night_audit
    import kdlab.train.many
    assert Path(kdlab.__file__).is_relative_to(sys.path[0]), "another kdlab than the copy was imported"


class Treasure:
    """The dear folders of the clone's copy, restored when an attack has changed them."""

    def __init__(self, original: Path, copy: Path):
        self.original, self.copy = original, copy
        self.before = {name: state(copy / name) for name in _DEAR}
        self.quick = self._quick()

    def _quick(self) -> list:
        files = sorted(path for name in _DEAR for path in (self.copy / name, *(self.copy / name).rglob("*")))
        return [(path, path.lstat().st_mtime_ns, path.lstat().st_size) for path in files]

    def check(self, field: Attack) -> None:
        """Count as touched what has changed since the last check."""
        if self._quick() == self.quick:
            return
        for name in _DEAR:
            if changed := differences(self.before[name], state(self.copy / name), added=True):
                field.found("touched", f"the clone's {name}/: {', '.join(changed[:3])} ({len(changed)} in all)")
            if (self.copy / name).is_dir():
                shutil.rmtree(self.copy / name)
                shutil.copytree(self.original / name, self.copy / name)
            else:
                shutil.copy2(self.original / name, self.copy / name)
        self.quick = self._quick()
        self.before = {name: state(self.copy / name) for name in _DEAR}


# --- tiny clips and trainings --------------------------------------------------------------------------------------

def walk(direction: int, phase: int, count: int = 10) -> np.ndarray:
    """Dark frames of 48 × 32 in which a square walks left or right; where it starts tells nothing."""
    video = np.full((count, 32, 48, 3), 8, np.uint8)
    for t, frame in enumerate(video):
        x = (phase + 3 * direction * t) % 40
        frame[10:18, x: x + 8] = 60 + phase
    return video


def make_clips(root: Path, counts: tuple[int, int, int] = (4, 1, 2), shift: int = 0, endings: str = ".mp4") -> Path:
    """Clips of two classes in class folders, with an ``index.csv``; another ``shift`` makes other pictures."""
    rows = [("path", "label", "split", "group")]
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        for label, direction in (("left", -1), ("right", 1)):
            for n in range(count):
                name = f"{label}/{split}{n}{endings}"
                phase = 7 * n + 2 * ("train", "val", "test").index(split) + 3 * shift + (direction > 0)
                encode(root / name, walk(direction, phase), "libx264" if endings == ".mp4" else "mpeg4")
                rows.append((name, label, split, f"{split}{n}"))
    write_table(root / "index.csv", rows)
    return root


def write_table(path: Path, rows: list[tuple], encoding: str = "utf-8") -> None:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding=encoding, errors="surrogateescape") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def recipe(clips: Path, seed: int = 0, epochs: int = 2, **changes):
    """A training of a second on ``clips``; ``changes`` are fields of the recipe."""
    from kdlab.clips.views import Window
    from kdlab.nets.video import TinyR2Plus1D
    from kdlab.train.loop import Settings
    from kdlab.train.recipe import Recipe, UserClips

    base = Recipe("ce_raw", UserClips(str(clips)), net=TinyR2Plus1D(widths=(4, 8)), window=Window(4, 16, 16),
                  settings=Settings(epochs=epochs, batch_size=4), seed=seed)
    return replace(base, **changes)


def student(clips: Path, seed: int = 0, **changes):
    """As :func:`recipe`, taught by a network that sees brightened clips."""
    from kdlab.clips.enhance import Gamma
    from kdlab.clips.views import Enhanced
    from kdlab.papers.dual_light.method import DualLight

    teacher = recipe(clips, seed + 1, condition="ce_enhanced", view=Enhanced(Gamma(1.8)))
    return recipe(clips, seed, **(dict(condition="dlkdd", method=DualLight(), teacher=teacher) | changes))


def lessen_profiles(epochs: int = 1) -> None:
    """Make the profiles ``smoke`` and ``demo`` in this process so small that a study takes seconds."""
    from kdlab.clips.views import Window
    from kdlab.nets.video import TinyR2Plus1D
    from kdlab.night import Night
    from kdlab.train.loop import Settings
    from kdlab.train.sizes import DEMO, SMOKE

    for profile in (SMOKE, DEMO):  # in place, for whoever has imported them
        small = dict(night=Night(("Run", "Walk"), (2, 1, 1), 0.25), window=Window(4, 16, 16), seeds=2,
                     settings=Settings(epochs=epochs, batch_size=4), net=TinyR2Plus1D(widths=(4, 8)))
        for name, value in small.items():
            object.__setattr__(profile, name, value)


def stock(field: Attack) -> None:
    """What attacks share, made once for a siege: clips, two finished runs and their bits, some rendered clips."""
    from kdlab.night import Night, make_night
    from kdlab.train.runs import obtain

    camp = field.camp
    make_clips(camp / "clips")
    make_clips(camp / "other" / "clips", shift=5)  # another set, in a folder of the same name
    os.environ |= {f"KDLAB_{name.upper()}": str(camp / name) for name in ("runs", "cache", "data")}
    bits = {}
    for name, its in {"student": student(camp / "clips"), "other seed": recipe(camp / "clips", 7),
                      "other clips": recipe(camp / "other" / "clips")}.items():
        began = time.monotonic()
        bits[name] = answers(obtain(its, pretrained=False, say=lambda _: None))
        bits["seconds"] = {"training": time.monotonic() - began}
    (camp / "bits.json").write_text(json.dumps(bits, indent=1))
    lessen_profiles()
    for night in (Night(("Run", "Walk"), (2, 1, 1), 0.25), Night(("Run", "Walk"), (2, 1, 1), 0.25, actor=False),
                  Night(("Run", "Walk"), (2, 1, 1), 0.25, context=0.9), Night(("Run", "Walk"), (2, 1, 1), 1.0)):
        make_night(night, workers=1, progress=False)


def answers(run) -> dict[str, str]:
    """What a run says, as hashes: the network's weights, the predictions, the history, the classes."""
    import hashlib

    def digest(*parts) -> str:
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]

    weights = run.net().state_dict()
    found = {"weights": digest(*(k.encode() + v.numpy().tobytes() for k, v in sorted(weights.items())))}
    for split in ("val", "test"):
        said = run.predictions(split)
        found[split] = digest(*(repr(list(part)).encode() for part in (said.ids, said.groups, said.labels)),
                              said.logits.tobytes())
    found["history"] = digest(run.history.to_csv(index=False).encode())
    found["classes"] = digest(repr(run.provenance["classes"]).encode())
    return found


def undisturbed(field: Attack, name: str) -> dict[str, str]:
    """What :func:`answers` gave for one of the shared runs."""
    return json.loads((field.camp / "bits.json").read_text())[name]
