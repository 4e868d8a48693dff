"""Question 4. What does each way cost in use? Measured; no verdict.

Three ways to classify a dark clip: a student that sees it raw; a network that sees it enhanced, by gamma or Zero-DCE;
two networks, one for each light. CPU time is that of one thread, for one clip, from the file to the class.
"""

from functools import partial

import torch
from from_nothing import base
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from worlds import FROM_NOTHING, WORLDS

from kdlab.clips.cache import resize
from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw, View
from kdlab.measure.cost import cpu_times, macs, parameters
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.study import Study
from kdlab.train.preparing import batches
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run

ASKS = "What does each way cost in use?"
WAYS = "raw student", "gamma, then classify", "Zero-DCE, then classify", "two streams"
MEASURED = {
    "MACs": "million MACs of a clip",
    "ms": "CPU milliseconds of a clip, from the file",
    "MB": "megabytes of weights and of the two largest maps of a clip",
}
#: Clips that are timed, and how often.
CLIPS, REPEATS = 5, 5


def conditions(size, world: int) -> dict[str, Recipe]:
    made = base(size, world)
    return {"student": made["labels alone"], "teacher": made["teacher, enhanced"]}


def classify(drawn, window, nets: list[nn.Module], views: list[View]) -> None:
    """Read the frames of each clip of ``drawn`` (path, draw) in each of the ``views``, and classify them by the network
    of that view."""
    for path, draw in drawn:
        for net, view in zip(nets, views, strict=True):
            pixels = window.cut(draw, resize(view.read(path, draw.frames), window.side))
            net(torch.from_numpy(pixels.copy()).permute(3, 0, 1, 2)[None].float() / 255)


def largest_maps(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Bytes of the largest input and output that one layer of ``net`` holds at once, for a clip of ``shape``."""
    sizes = []

    def held(layer, inputs, output) -> None:
        if not list(layer.children()):
            sizes.append(4 * (inputs[0].numel() + output.numel()))

    with torch.no_grad(), register_module_forward_hook(held):
        net(torch.zeros(shape))
    return max(sizes)


def measure(runs: dict[str, Run]) -> dict[str, float]:
    run = runs["student"]
    recipe, student, teacher = run.recipe, run.net(), runs["teacher"].net()
    clips, window = batches(recipe, "test", {"student": recipe.view}), recipe.window
    drawn = [(record.path, window.centre(clips.length(record))) for record in clips.records[:CLIPS]]
    shape = 1, 3, window.frames, window.crop, window.crop
    curves = TrainedCurves(recipe.data, seed=recipe.data.seed)
    enhancer, picture = curves.run().net(), (1, 3, *Raw().read(drawn[0][0], [0]).shape[1:3])
    bright = Enhanced(Gamma())
    used = (
        ([student], [Raw()]),
        ([teacher], [bright]),
        ([teacher], [Enhanced(curves)]),
        ([student, teacher], [Raw(), bright]),
    )
    ways = dict(zip(WAYS, used, strict=True))
    times = cpu_times(
        {way: partial(classify, drawn, window, *both) for way, both in ways.items()}, REPEATS
    )
    found = {}
    for way, (nets, _) in ways.items():
        more = way.startswith("Zero-DCE")
        counted = len(nets) * macs(student, shape) + more * window.frames * macs(enhancer, picture)
        held = 4 * (len(nets) * parameters(student) + more * parameters(enhancer))
        maps = max(largest_maps(student, shape), largest_maps(enhancer, picture) if more else 0)
        found |= {
            f"{way}: MACs": counted / 1e6,
            f"{way}: ms": 1e3 * float(min(times[way])) / len(drawn),
            f"{way}: MB": (held + maps) / 1e6,
        }
    return found


study = Study("cost_in_use", conditions, size=FROM_NOTHING, measure=measure, worlds=WORLDS[:3])
