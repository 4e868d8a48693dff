"""A run as a folder that the Hugging Face hub takes as it is: its own files, and a model card that is made from them.

The folder is a view of the run, not another format: ``Run(folder)`` opens it here, on another machine, or as a snapshot
that was downloaded, and refuses a file that was changed on the way.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from kdlab.measure.accuracy import accuracy_interval, expected_calibration_error
from kdlab.system.files import write_atomically
from kdlab.system.ours import NotOurs, strangers
from kdlab.system.stored import read_bytes, read_weights
from kdlab.train.recipe import NotImported
from kdlab.train.runs import NoPredictions, Run

#: What is copied; ``run.json`` last, because a folder without it counts as unfinished.
FILES = ("weights.safetensors", "history.csv", "predictions.npz", "run.json")
#: What fields are called that hold a place on the machine of the training.
_PLACES = ("path", "folder")


def export(run: Run, folder: Path | str, licence: str = "") -> Path:
    """Copy the files of ``run`` into ``folder``, which is new or empty, beside the ``README.md`` that :func:`card` is.

    Raises :class:`kdlab.system.ours.NotOurs` where the folder holds something and ``DamagedRun`` for a run whose files
    are not what its training wrote, both before anything is copied; ``StorageFull`` where it cannot be written.
    """
    folder = Path(folder).expanduser()
    if folder.is_file() or strangers(folder):
        raise NotOurs(f"{folder} is there already: name a folder that does not exist yet, or delete this one first")
    read_weights(run.folder / FILES[0], run.provenance)
    hashes = run.provenance.get("files", {})
    content = {"README.md": card(run, licence).encode()}
    content |= {name: read_bytes(run.folder / name, hashes.get(name)) for name in FILES}
    for name, data in content.items():
        write_atomically(folder / name, lambda path, data=data: path.write_bytes(data))
    return folder


def outside(run: Run) -> list[str]:
    """The files and folders on this machine that the recipe names: ``run.json`` tells them to whoever has it."""
    parts = _parts(run.provenance["recipe"])
    return list(dict.fromkeys(str(part[place]) for part in parts for place in _PLACES if part.get(place)))


def card(run: Run, licence: str = "") -> str:
    """The model card of ``run``: YAML front matter and Markdown; every number is from the run's own files.

    ``licence`` (an identifier of the hub's list, such as ``cc-by-4.0``) is that of the clips, and of weights with which
    it began. Where kdlab made all of them it is kdlab's own, MIT; else, where it is not given, the card says
    ``unknown``. Raises ``ValueError`` for what is no identifier.
    """
    if licence and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence):
        raise ValueError(f"licence {licence!r}: give the hub's identifier in small letters, such as cc-by-4.0 or other")
    note = run.provenance
    recipe, name, classes = note["recipe"], run.folder.name, note["classes"]
    made_here = not outside(run) and all(map(_is_kdlabs, _parts(recipe)))
    licence = licence or ("mit" if made_here else "unknown")
    metrics, why = _metrics(run)
    data = f"{_words(recipe['data'])}, fingerprint {note['data']}"
    front = {"library_name": "kdlab", "license": licence, "tags": ["kdlab", "video", "knowledge-distillation"]}
    if metrics:
        result = {"task": {"type": "video-classification"},
                  "dataset": {"type": _kind(recipe["data"]), "name": data, "split": "test"},
                  "metrics": [{"type": kind, "value": value, "name": f"{what}, %"} for kind, what, value, _ in metrics]}
        front |= {"pipeline_tag": "video-classification", "model-index": [{"name": name, "results": [result]}]}
    seeds = {what: other["seed"] for what in ("teacher", "start") if (other := recipe.get(what))}
    rows = {"condition": recipe["condition"], "method": _words(recipe["method"]), "network": _words(recipe["net"]),
            "sees": f"{_words(recipe['view'])}; {_words(recipe['window'])}", "optimiser": _words(recipe["settings"]),
            "seed": ", ".join([str(recipe["seed"]), *(f"its {what}'s {seed}" for what, seed in seeds.items())]),
            "steps": f"{note['steps']} on {note['device']}, {note['cpu_seconds']:.0f} CPU s",
            "precision": note.get("precision", "not noted"),  # of older runs
            "sources": note["sources"][:16], "versions": ", ".join(f"{k} {v}" for k, v in note["versions"].items())}
    table = [f"| {words} | {value} | {about} |" for _, words, value, about in metrics]
    limits = ["One training with one seed: others give other numbers, often by points. A difference between two such "
              "folders is no effect.", _CLIPS_OF_NIGHT if made_here else _CLIPS_OF_OTHERS,
              "Made for research and teaching; not for finding, following or judging people."]
    limits += [f"Trained with another run, which is not in this folder: its {what}, weights `{weights[:16]}`."
               for what, weights in note["needed"].items()]
    limits += [f"About the clips: {remark}" for remark in note.get("notes", [])]
    limits += [f"When it was exported: {stale}." for stale in [_staleness(run)] if stale]
    modules = sorted({part["type"].partition(":")[0] for part in _parts(recipe) if not _is_kdlabs(part)})
    limits += [f"Its classes are in {', '.join(modules)}, which are not in this folder: ask for them."] * bool(modules)
    imports = f"\nimport {', '.join(modules)}  # not of kdlab, and not in this folder" * bool(modules)
    asked = "".join(f" --import {module}" for module in modules)
    return f"""---
{yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)}---
# {name}

One training of kdlab {note["versions"]["kdlab"]}, a research kit for knowledge distillation in video recognition.

```python
from kdlab.train.runs import Run{imports}
run = Run("FOLDER")      # this one, wherever it lies; a file that was changed is refused
net = run.net()          # torch.nn.Module in eval mode{_SEES if _kind(recipe) == "Recipe" else ""}
run.predictions("test")  # what it said of each test clip
```

or `kdlab predict CLIP --run FOLDER{asked}`.

## Data

{data}. {len(classes)} classes: {", ".join(classes)}.{" Nobody and no place is in two splits." * made_here}

## Training

| | |
|---|---|
{chr(10).join(f"| {words} | {value} |" for words, value in rows.items())}

## Metrics

{chr(10).join(["| on the test clips | % | |", "|---|---|---|", *table]) if metrics else why}

## Limits

{chr(10).join(f"* {limit}" for limit in limits)}

## Licence

Of the clips: {_LICENCES.get(licence, licence)}
"""


_SEES = ", with its normalisation; it sees video (B, C, T, H, W) in [0, 1]"
_CLIPS_OF_NIGHT = "Its clips are synthetic: people that kdlab draws. How it does on real video is not told here."
_CLIPS_OF_OTHERS = "Whom and what the clips show, and whether they agreed, kdlab does not know."
_LICENCES = {"mit": "MIT; kdlab made all of them itself.",
             "unknown": "not told to kdlab. Look it up before you give this folder to others."}


def _metrics(run: Run) -> tuple[list[tuple[str, str, float, str]], str]:
    """Of the test clips, in percent: the hub's word, ours, the value, and what belongs to it; or why there are none."""
    try:
        found = run.predictions()
    except NoPredictions as error:
        return [], f"None: {error}."
    if (found.labels < 0).any():
        return [], "None here: a detector is scored against its videos' annotations (kdlab.measure.detections)."
    exits = found.correct.reshape(len(found.labels), -1).T
    often = 100 * np.bincount(found.labels).max() / len(found.labels)
    rows = []
    for number, correct in enumerate(exits, 1):
        low, high = accuracy_interval(correct)
        rows.append(("accuracy", f"accuracy of exit {number}" if len(exits) > 1 else "accuracy",
                     round(100 * float(correct.mean()), 2),
                     f"Wilson 95 %: {low:.1f} … {high:.1f}, over {len(correct)} clips as if independent; "
                     f"the most frequent class: {often:.1f}"))
    if len(exits) == 1:
        error = expected_calibration_error(found.logits.reshape(len(found.labels), -1).astype(float), found.labels)
        rows.append(("ece", "expected calibration error", round(error, 2), "15 bins"))
    return rows, ""


def _staleness(run: Run) -> str:
    try:
        return (why := run.staleness()) and f"stale, {why}"
    except NotImported as error:
        return "not compared with today's sources, since " + (
            f"{error.name.replace(' ', ' and ')} had not been imported" if error.name else str(error))
    except FileNotFoundError:
        return "not compared with today's clips, which were not there"


def _is_kdlabs(part: dict) -> bool:
    return part["type"].startswith("kdlab.")


def _parts(written) -> Iterator[dict]:
    """All dataclasses in a written recipe, outermost first."""
    if isinstance(written, dict):
        yield written
    for inner in written.values() if isinstance(written, dict) else written if isinstance(written, list) else ():
        yield from _parts(inner)


def _kind(part: dict) -> str:
    return part["type"].rpartition(":")[2]


def _words(value) -> str:
    """A written dataclass as Python would show it, without the places of files."""
    if isinstance(value, dict):
        fields = ", ".join(f"{k}={_words(v)}" for k, v in value.items() if k not in ("type", *_PLACES))
        return f"{_kind(value)}({fields})"
    return f"({', '.join(map(_words, value))})" if isinstance(value, list) else str(value)
