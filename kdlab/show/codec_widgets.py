"""A group of pictures as a decoder goes through it: one frame after the other, and each of them one step at a time."""

from pathlib import Path

from matplotlib.figure import Figure

from kdlab.clips.compressed import modalities, scan
from kdlab.show.codec_plots import PANELS, equation
from kdlab.show.widgets import explore
from kdlab.system.values import whole

#: What happens at each step of a P-frame, in words.
STEPS = ("a whole picture is there to copy from", "where each block comes from", "the blocks are copied",
         "what is still missing", "the frame: what was copied plus what was missing")


def gop_picture(path: Path | str, number: int, accumulated: bool = True) -> Figure:
    """Frame ``number`` of an MPEG-4 part 2 file as what the codec makes it of, from the I-frame of its group
    (``accumulated``) or from the frame before. Raises what ``kdlab.clips.compressed.modalities`` does."""
    return equation(*modalities(path, [number], accumulated), accumulated)


def gop_steps(path: Path | str, group: int = 0) -> list[int]:
    """Numbers of the P-frames of a ``group`` of pictures, counted from 0. Raises ValueError for a group that the file
    has not."""
    kinds = scan(path).kinds
    whole(0, group=group)
    starts = [number for number, kind in enumerate(kinds) if kind == "I"]
    if group >= len(starts):
        raise ValueError(f"group={group}: {Path(path).name} has {len(starts)} groups of pictures, counted from 0")
    end = starts[group + 1] if group + 1 < len(starts) else len(kinds)
    return list(range(starts[group] + 1, end))


def gop_step(path: Path | str, group: int, step: int, accumulated: bool = True) -> Figure:
    """A ``group`` of pictures after so many steps, from 1 on: five to a P-frame (:data:`STEPS`), of which the panels to
    come are covered. Beyond the last step the last frame stays. Raises as :func:`gop_steps`, and ValueError for a group
    of an I-frame alone."""
    whole(1, "five to a P-frame", step=step)
    numbers = gop_steps(path, group)
    if not numbers:
        raise ValueError(f"group={group} of {Path(path).name} is an I-frame alone: there is nothing to step through")
    place, panel = divmod(min(step, PANELS * len(numbers)) - 1, PANELS)
    fig = equation(*modalities(path, [numbers[place]], accumulated), accumulated, shown=panel + 1)
    told = fig.get_suptitle()
    where = f"frame {numbers[place]}, step {panel + 1} of {PANELS}: {STEPS[panel]}"
    fig.suptitle(f"{where}\n{told}" if told else where)
    return fig


def gop_widget(path: Path | str):
    """Step through the groups of a file over :func:`gop_step`: once a slider has the focus, the arrow keys go one step
    on or back. ``None``, with a line that says so, when headless."""
    groups = [number for number in range(scan(path).kinds.count("I")) if gop_steps(path, number)]
    longest = max(len(gop_steps(path, number)) for number in groups)

    def picture(step: int, group: int, accumulated: bool) -> None:
        gop_step(path, group, step, accumulated)

    steps = 1, 1, PANELS * longest, 1, "step (click, then arrow keys)"
    which = "from the I-frame (else from the frame before)"
    return explore(picture, step=steps, group=groups, accumulated=which)
