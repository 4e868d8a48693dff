"""A compressed clip as a decoder goes through it: one P-frame after the other, and each of them one step at a time."""

from pathlib import Path

from matplotlib.figure import Figure

from kdlab.clips.compressed import modalities, scan
from kdlab.show.codec_plots import PANELS, equation
from kdlab.show.widgets import explore
from kdlab.system.values import integer

#: What happens at each step of a P-frame, in words.
STEPS = ("a whole picture is there to copy from", "where each block comes from", "the blocks are copied",
         "what is still missing", "the frame: what was copied plus what was missing")


def gop_step(path: Path | str, step: int, accumulated: bool = True) -> Figure:
    """An MPEG-4 part 2 file after so many steps, from 1 on: five to a P-frame (:data:`STEPS`), of which the panels to
    come are covered. Motion and residual are those from the I-frame of the group (``accumulated``), or from the frame
    before. Raises what ``kdlab.clips.compressed.modalities`` does."""
    numbers = [number for number, kind in enumerate(scan(path).kinds) if kind == "P"]
    integer(1, f"five to each of {len(numbers)} P-frames", step=step)
    place, panel = divmod(min(step, PANELS * len(numbers)) - 1, PANELS)
    fig = equation(*modalities(path, [numbers[place]], accumulated), accumulated, shown=panel + 1)
    energies = fig.get_suptitle()
    where = f"frame {numbers[place]}, step {panel + 1} of {PANELS}: {STEPS[panel]}"
    fig.suptitle(f"{where}\n{energies}" if energies else where)
    return fig


def gop_widget(path: Path | str):
    """Step through a file over :func:`gop_step`: once a slider has the focus, the arrow keys go one step on or back.
    ``None``, with a line that says so, when headless."""
    steps = 1, 1, PANELS * scan(path).kinds.count("P"), 1, "step (click, then arrow keys)"
    which = "from the I-frame (else from the frame before)"
    return explore(lambda step, accumulated: gop_step(path, step, accumulated), step=steps, accumulated=which)
