"""Committed outputs: notebooks executed at `demo` and put back, small enough to commit, marked with their sources."""

import base64
import io
from functools import reduce
from pathlib import Path

import numpy as np

from kdlab import paths
from kdlab.notebooks.parameters import all_notebooks, checked_parameters, evidence_sources, evidence_there
from kdlab.notebooks.run import read_record, run_notebook
from kdlab.system.files import write_atomically

_UNSEEN = 0.75  # levels of 255, mean over a picture: what of charts 32 colours miss, and of maps of colours 64 or 128
_OTHER, _FEW = 48, 10  # levels by which a pixel has another colour, and so many may: a small mark has more
_MOVED, _OFTEN, _GREY = 12, 3e-4, 40  # levels by which no colour of such a share may move, if it is no grey


def refresh(profile: str = "demo") -> None:
    """Execute every notebook and replace its committed outputs; raises ``ValueError`` at the first that fails, and
    where notebooks would show other evidence than the committed."""
    if not paths.figures_are_committed():
        raise ValueError("committed outputs show the committed evidence: unset KDLAB_FIGURES")
    for notebook in all_notebooks():
        checked_parameters(notebook, {"profile": profile})
    for notebook in all_notebooks():
        executed = run_notebook(notebook, {"profile": profile})
        if executed.failure:
            raise ValueError(f"{notebook.name}: {executed.failure}; its outputs are left as they were")
        put_back(notebook, executed.output, profile)


def stale_notebooks() -> dict[str, str]:
    """Committed notebooks whose outputs were made by other sources than today's or from other evidence, and why."""
    import nbformat

    stale, evidence = {}, evidence_there()
    for notebook in all_notebooks():
        mark = nbformat.read(notebook, as_version=4).metadata.get("kdlab", {})
        if not mark:
            stale[notebook.name] = "its outputs carry no mark"
        elif mark.get("sources") != evidence_sources(notebook):
            stale[notebook.name] = "its outputs were made by other sources"
        elif mark.get("evidence") != evidence:
            stale[notebook.name] = "its outputs show other evidence"
    return stale


def put_back(notebook: Path, executed: Path, profile: str) -> None:
    """Give the committed ``notebook`` the outputs of its ``executed`` copy, a mark of today's sources and evidence,
    and its seconds (:func:`~kdlab.notebooks.reproduce.reproduce` goes by them)."""
    import nbformat

    committed, fresh = (nbformat.read(path, as_version=4) for path in (notebook, executed))
    cells = [c for c in fresh.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for count, (cell, run) in enumerate(zip(committed.cells, cells, strict=True), 1):
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = count, [_small(output) for output in run.outputs]
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count
    record = read_record(executed.with_suffix(".json"))
    seconds = {"seconds": round(record["seconds"])} if record else {}
    made = {"sources": evidence_sources(notebook), "evidence": evidence_there()}
    committed.metadata["kdlab"] = {"profile": profile} | made | seconds
    write_atomically(notebook, lambda path: nbformat.write(committed, path))


def _small(output):
    """A picture in so few colours that it looks the same: a chart in 32 is a third of its bytes."""
    from PIL import Image, ImageChops, ImageStat

    picture = output.get("data", {}).get("image/png")
    if picture:
        image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
        pixels = np.asarray(image).reshape(-1, 3)
        _, colour, count = np.unique(pixels @ [65536, 256, 1], return_inverse=True, return_counts=True)
        often = ((count >= _OFTEN * len(pixels))[colour] & (np.ptp(pixels, 1) > _GREY)).reshape(image.size[::-1])
        for colours in (32, 64, 128, 256):
            few = image.quantize(colours)
            missed = ImageChops.difference(image, few.convert("RGB"))
            largest = reduce(ImageChops.lighter, missed.split())  # of each pixel's three values
            seen = max(ImageStat.Stat(missed).mean) > _UNSEEN or sum(largest.histogram()[_OTHER:]) > _FEW
            if not seen and np.asarray(largest)[often].max(initial=0) <= _MOVED:
                break
        few.save(smaller := io.BytesIO(), "PNG", optimize=True)
        output["data"]["image/png"] = base64.b64encode(smaller.getvalue()).decode()
    return output
