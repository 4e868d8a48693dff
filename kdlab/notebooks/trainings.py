"""What each notebook trains, told without training: the recipes that its cells obtain, by the functions that they call.

Two trainings are not among them, because they are made in a notebook on purpose: those of notebook 11, whose classes
stand in its cells, and those that notebook 08 stops on the way. A test holds notebooks and functions together.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from kdlab.clips.windows import all_annotated
from kdlab.papers.dual_light.enhancers import demonstrated
from kdlab.papers.dual_light.recipes import dual_light, three_actions
from kdlab.papers.dual_light.study import HEADLINE, columns
from kdlab.papers.generative import detection_study
from kdlab.papers.generative import recipes as generative
from kdlab.papers.generative import study as generative_study
from kdlab.papers.progressive import recipes as progressive
from kdlab.papers.progressive import study as progressive_study
from kdlab.papers.progressive.nets import ORDER
from kdlab.show.your_clips import given
from kdlab.studies import attention
from kdlab.study import flat
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import AttentionSize, DetectionSize, ExitSize, GenerativeSize, current

#: The notebook that reads the runs of all others.
SCOREBOARD = "10_scoreboard"


def trainings(notebook: Path, parameters: Mapping[str, object]) -> tuple[Recipe, ...] | None:
    """The recipes that ``notebook`` obtains with the ``parameters`` it runs with, without those that they need;
    ``None`` of a notebook that is not kdlab's, or has other parameters by now. Raises what opening clips of your own
    raises."""
    named = _NAMED.get(notebook.stem)
    try:
        return None if named is None else tuple(dict.fromkeys(named(_Parameters(parameters))))
    except _Changed:
        return None


class _Changed(Exception):
    """A notebook lacks a parameter that kdlab's own of this name has."""


class _Parameters(dict):
    """A missing one is told from any other missing key, which is a fault of kdlab's."""

    def __missing__(self, name: str):
        raise _Changed(name)


def _clips(parameters: Mapping) -> UserClips | None:
    chosen = parameters.get("test_fold", ""), parameters.get("own_folds", 0)
    return given(parameters["data"], *chosen, parameters["on_damaged"]) if parameters.get("data") else None


def _zero_dce(p: Mapping) -> list[Recipe]:
    size = current(p["profile"])
    clips = UserClips(p["data"], on_damaged="skip") if p["data"] else size.night
    return [demonstrated(size, clips).recipe()]


def _dual_light(p: Mapping, conditions: tuple[str, ...]) -> list[Recipe]:
    size = current(p["profile"])
    return flat(columns(size, size.seeds, conditions, _clips(p), first=p.get("seed", 0)))


def _teachers(p: Mapping) -> list[Recipe]:
    """Both networks of notebook 02, and on kdlab's own clips one student of the second."""
    found, size = _dual_light(p, ("ce_raw", "ce_enhanced")), current(p["profile"])
    return found if p["data"] else [*found, dual_light(size, p["seed"])["dlkdd"]]


def _generative(p: Mapping) -> list[Recipe]:
    size = current(p["profile"], GenerativeSize)
    return flat(generative_study.columns(size, size.seeds, _clips(p) or generative.night(size)))


def _detection(p: Mapping) -> list[Recipe]:
    size, clips = current(p["profile"], DetectionSize), _clips(p)
    return flat(detection_study.columns(size, size.seeds, data=clips and all_annotated(clips)))


def _exits(p: Mapping) -> tuple[ExitSize, object]:
    size, clips = current(p["profile"], ExitSize), _clips(p)
    return size, progressive.yours(clips) if clips else progressive.night(size)


def _progressive(p: Mapping) -> list[Recipe]:
    size, clips = _exits(p)
    return flat(progressive_study.columns(size, size.seeds, clips, every=False))


def _flatness(p: Mapping) -> list[Recipe]:
    return [*progressive.trio(*_exits(p)), progressive.trio(*_exits(p), 1)[ORDER.index("residual")]]


def _attention(p: Mapping) -> list[Recipe]:
    return [*flat(attention.parts(current(p["profile"], AttentionSize))["night"][0]), *progressive.trio(*_exits(p))]


_NAMED: dict[str, Callable[[Mapping], list[Recipe]]] = {
    "00_start_here": lambda p: [three_actions(current(p["profile"]), p["seed"], p["data"])],
    "01_data_and_enhancement": _zero_dce,
    "01b_is_the_data_fair": lambda p: [],
    "02_teacher_training": _teachers,
    "03_dual_light_distillation": lambda p: _dual_light(p, HEADLINE),
    "03b_controls": lambda p: [],
    "04_generative_distillation": _generative,
    "05_temporal_detection": _detection,
    "06_compressed_modalities": lambda p: [],
    "07_progressive_distillation_and_wise": _progressive,
    "07b_exits_and_cost": _progressive,
    "08_flatness_and_sharpness": _flatness,
    "09_gradcam_attention": _attention,
    SCOREBOARD: lambda p: _dual_light(p, HEADLINE) if p["data"] else [],
    "10b_when_does_it_help": lambda p: [],
    "11_bring_your_own": lambda p: [],
}
