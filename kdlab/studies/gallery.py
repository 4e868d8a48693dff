"""The pictures in ``figures/``, drawn from the committed tables and predictions (and one by the renderer of night).

A function each, whose name is the file's, and whose first line says what is seen.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from kdlab import paths, study
from kdlab.clips.enhance import Clahe, Gamma
from kdlab.night import Night, render_clip
from kdlab.papers.dual_light import controls, regimes_study
from kdlab.papers.dual_light import study as dual_light_study
from kdlab.papers.dual_light.recipes import TITLES
from kdlab.papers.dual_light.study import committed_sweep
from kdlab.papers.generative import detection_plots, detection_recipes, detection_study, recipes
from kdlab.papers.generative import study as generative_study
from kdlab.papers.progressive import cost_plots, wise_study
from kdlab.papers.progressive import plots as progressive_plots
from kdlab.papers.progressive import study as progressive_study
from kdlab.papers.progressive.tables import NAMES
from kdlab.show import attention_plots, glance, map_plots, plots, regimes
from kdlab.show import scoreboard as board
from kdlab.studies import attention, flatness, flatness_plots, map_cells, map_rule
from kdlab.studies.flatness_rows import hierarchy
from kdlab.studies.flatness_told import newest
from kdlab.study import load_rows
from kdlab.system.files import write_atomically
from kdlab.system.ours import begins_with, may_write
from kdlab.train.sizes import VARIETY

_MARK = {"Software": "kdlab figures, with matplotlib"}


def scoreboard() -> Figure:
    """Every claim on every set on which it was read: verdict, effect, seeds and gap."""
    return board.picture(_board(paths.figures_dir()), "Scoreboard")


def claims_at_a_glance() -> Figure:
    """Every claim by the reading that counts most: verdict, effect, seeds and gap."""
    return glance.picture(_board(paths.figures_dir()), "Claims at a glance")


def night() -> Figure:
    """One action as the camera saw it in the dark, as two enhancers show it, and as it was."""
    clip = render_clip(Night(variety=VARIETY), "train", "Wave", 0)
    rows = {"raw": clip.dark, "gamma 1.8": Gamma(1.8)(clip.dark), "CLAHE": Clahe()(clip.dark),
            "bright twin": clip.bright}
    return plots.filmstrip(rows, columns=7, seconds=2.4)


def dual_light_accuracy() -> Figure:
    """DL-KDD and its controls: accuracy of every seed."""
    data, scores = dual_light_study.study.newest("night")
    return plots.accuracies(scores, TITLES, f"DL-KDD and its controls on {_read(data)}")


def dual_light_effects() -> Figure:
    """DL-KDD minus each condition, with intervals."""
    data, scores = dual_light_study.study.newest("night")
    against = {title: c for c, title in TITLES.items() if c in scores.predicted and c != "dlkdd"}
    gains = {f"DL-KDD − {title}": scores.effect("dlkdd", c) for title, c in against.items()}
    return plots.effects(gains, f"What DL-KDD gains over each control on {_read(data)}")


def _read(data: str) -> str:
    """The clips of ``data`` in words."""
    return "clips of night that nobody had read" if data.endswith(study.UNREAD) else "night"


def dual_light_controls() -> Figure:
    """What else could explain what DL-KDD gains: controls on the same clips."""
    more = controls.study.scores_of("night")
    rivals = {what: more.effect(*pair) for what, pair in _rivals().items()}
    return plots.effects(rivals, f"What else could it be? {len(more.seeds)} seeds")


def dual_light_sweep() -> Figure:
    """DL-KDD over temperature and weight, on validation clips."""
    return plots.heat_map(committed_sweep(load_rows("dual_light")), "DL-KDD, validation accuracy")


def dual_light_calibration() -> Figure:
    """How often networks are right that are so sure."""
    _, scores = dual_light_study.study.newest("night")
    confident = ("ce_raw", "ce_enhanced", "same_light", "dlkdd", "label_smoothing")
    return plots.calibration({TITLES[c]: scores.logits[c] for c in confident}, scores.labels)


def progressive_exits() -> Figure:
    """Twelve exits under every method."""
    _, scores = progressive_study.study.newest("night_context")
    return progressive_plots.exit_table(scores, "night, places tell: twelve exits")


def wise_costs() -> Figure:
    """Accuracy over cost: stopping early, and showing fewer segments."""
    costs = {"ce_ic": "CE exits, WISE", "pkd": "PKD exits, WISE", "segments": "finals fused, 1 to 3 segments"}
    curves = {NAMES[name]: wise_study.load_curves(name) for name in map(wise_study.newest, progressive_study.SETS)}
    return cost_plots.cost_curves(curves, costs)


def generative_effects() -> Figure:
    """Generative distillation minus each condition, with intervals."""
    _, scores = generative_study.study.newest("night_bright")
    others = {c: title for c, title in recipes.TITLES.items()
              if c in scores.predicted and c != "genkd" and not c.startswith("teacher")}
    gains = {f"GenKD − {title}": scores.effect("genkd", c) for c, title in others.items()}
    return plots.effects(gains, "What GenKD gains over each")


def detection_map() -> Figure:
    """Mean average precision in untrimmed sequences over the overlap that is asked for."""
    _, detected = detection_study.study.newest("night_untrimmed")
    return detection_plots.map_over_tiou(detected, detection_recipes.TITLES, "Untrimmed sequences")


def flatness_orders() -> Figure:
    """Whose minimum is flatter: three equal networks at equal training loss."""
    rows = newest(load_rows("flatness"))
    orders = {NAMES[data]: hierarchy(rows, data) for data in flatness.SETS}
    return flatness_plots.orders(orders, "Three equal networks at equal training loss")


def attention_gains() -> Figure:
    """Where networks look: energy on the actor, over the best map that knows nothing."""
    maps = attention.load_looks("night")
    asked = [*dual_light_study.HEADLINE, *attention.fine(dual_light_study.HEADLINE, maps)]
    looks = attention.gains(maps, asked)
    return attention_plots.gain_bars(looks, attention.TITLES, "energy_inside", "Energy on the actor")


def when_it_helps() -> Figure:
    """When distillation helps: its gain over clips, steps, methods and teachers."""
    return map_plots.map_picture(map_rule.committed(), map_cells.METHODS, map_cells.TEACHERS,
                                 "When does distillation help?")


def regimes_and_claims() -> Figure:
    """What DL-KDD's claims come to from nothing and from bright video, with many, few and no labels."""
    return regimes.picture(regimes.board(), "Regimes and claims")


@cache
def _board(figures: Path) -> board.Board:
    """Of the evidence in ``figures``, read once for two pictures: it takes twenty seconds."""
    return board.board()


def awaited(name: str) -> bool:
    """Whether the picture ``name`` is of a study that was not run yet."""
    return name in _AWAITED and bool(study.awaited(_AWAITED[name]))


def _rivals() -> dict[str, tuple[str, str]]:
    """What is asked → (condition, baseline) in the picture of the controls: all but the two of shuffling between
    classes, so large that the others could not be read beside them; notebook 03b has all."""
    pairs = [pair for compared in controls.COMPARISONS.values() for pair in compared.items()]
    return {what: pair for what, pair in pairs if "shuffled_between" not in pair}


#: In the order of the gallery.
PICTURES: dict[str, Callable[[], Figure]] = {function.__name__: function for function in (
    scoreboard, claims_at_a_glance, night, dual_light_accuracy, dual_light_effects, dual_light_controls,
    dual_light_sweep, dual_light_calibration, generative_effects, detection_map, progressive_exits, wise_costs,
    flatness_orders, attention_gains, when_it_helps, regimes_and_claims)}
#: Pictures of a study that has not been run yet, by its name: without their names they are drawn once it is there.
_AWAITED = {"when_it_helps": map_rule.DRAWN, "regimes_and_claims": regimes_study.study.name}


def shows(name: str) -> str:
    """What is seen on the picture ``name``, in a sentence; empty of one that is not drawn here."""
    return inspect.getdoc(PICTURES[name]).partition("\n")[0] if name in PICTURES else ""


def draw(names: Iterable[str] = ()) -> list[Path]:
    """Redraw the pictures ``names`` (none named: all whose evidence is there); their paths.

    Raises ``ValueError`` for an unknown name, ``FileNotFoundError`` where a study was not run, and before any is
    written :class:`kdlab.system.ours.NotOurs` where ``$KDLAB_FIGURES`` holds a picture of one of these names that kdlab
    did not draw.
    """
    names = list(names) or [name for name in PICTURES if not awaited(name)]
    if unknown := [name for name in names if name not in PICTURES]:
        raise ValueError(f"there is no picture {unknown[0]!r}; they are {', '.join(PICTURES)}")
    plots.style()
    made = [may_write(paths.figures_dir() / f"{name}.png", _is_drawn, "picture") for name in names]
    for file, name in zip(made, names, strict=True):
        figure = PICTURES[name]()
        write_atomically(file, lambda path, figure=figure: figure.savefig(path, format="png", metadata=_MARK))
        plt.close(figure)
    return made


def _is_drawn(picture: Path) -> bool:
    """In the clone's own folder all pictures are kdlab's, also those from before they were marked."""
    return paths.figures_are_committed() or begins_with(picture, _MARK["Software"])
