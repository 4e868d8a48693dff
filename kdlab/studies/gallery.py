"""The pictures in ``figures/``, drawn from the committed tables and predictions (and one by the renderer of night)."""

from pathlib import Path

import matplotlib.pyplot as plt

from kdlab import paths
from kdlab.clips.enhance import Clahe, Gamma
from kdlab.night import Night, render_clip
from kdlab.papers.dual_light import controls
from kdlab.papers.dual_light import study as dual_light_study
from kdlab.papers.dual_light.recipes import TITLES
from kdlab.papers.dual_light.study import committed_sweep
from kdlab.papers.generative import detection_plots, detection_recipes, detection_study, recipes
from kdlab.papers.generative import study as generative_study
from kdlab.papers.progressive import plots as progressive_plots
from kdlab.papers.progressive import study as progressive_study
from kdlab.papers.progressive import wise_study
from kdlab.show import attention_plots, plots
from kdlab.studies import attention, flatness, flatness_plots
from kdlab.studies.flatness_rows import hierarchy
from kdlab.study import load_rows
from kdlab.system.files import write_atomically
from kdlab.system.ours import begins_with, may_write
from kdlab.train.sizes import VARIETY

_MARK = {"Software": "kdlab figures, with matplotlib"}


def _night() -> plt.Figure:
    """One action as the camera saw it, as two enhancers show it, and as it was."""
    clip = render_clip(Night(variety=VARIETY), "train", "Wave", 0)
    rows = {"raw": clip.dark, "gamma 1.8": Gamma(1.8)(clip.dark), "CLAHE": Clahe()(clip.dark),
            "bright twin": clip.bright}
    return plots.filmstrip(rows, columns=7, seconds=2.4)


def _rivals() -> dict[str, tuple[str, str]]:
    """What is asked → (condition, baseline) in the picture of the controls: all but the two of shuffling between
    classes, so large (58 and 61 points) that the others could not be read beside them; notebook 03 has all."""
    pairs = [pair for compared in controls.COMPARISONS.values() for pair in compared.items()]
    return {what: pair for what, pair in pairs if "shuffled_between" not in pair}


def draw() -> list[Path]:
    """Redraw every picture; returns their paths.

    Raises ``FileNotFoundError`` where a study was not run, and before any is written :class:`kdlab.system.ours.NotOurs`
    where ``$KDLAB_FIGURES`` holds a picture of one of these names that kdlab did not draw.
    """
    plots.style()
    scores, more = (study.scores()["night"] for study in (dual_light_study.study, controls.study))
    rivals = {what: more.effect(*pair) for what, pair in _rivals().items()}
    against = {title: c for c, title in TITLES.items() if c in scores.predicted and c != "dlkdd"}
    gains = {f"DL-KDD − {title}": scores.effect("dlkdd", c) for title, c in against.items()}
    confident = ("ce_raw", "ce_enhanced", "same_light", "dlkdd", "label_smoothing")
    sets = progressive_study.study.scores()
    costs = {"ce_ic": "CE exits, WISE", "pkd": "PKD exits, WISE", "segments": "finals fused, 1 to 3 segments"}
    generated = generative_study.study.scores()["night_bright"]
    others = {c: title for c, title in recipes.TITLES.items()
              if c in generated.predicted and c != "genkd" and not c.startswith("teacher")}
    generative_gains = {f"GenKD − {title}": generated.effect("genkd", c) for c, title in others.items()}
    detected = detection_study.Detections.load(paths.figures_dir() / "predictions" / "detection-night_untrimmed.npz")
    orders = {data: hierarchy(load_rows("flatness"), data) for data in flatness.SETS}
    maps = attention.load_looks("night")
    asked = [*dual_light_study.HEADLINE, *attention.fine(dual_light_study.HEADLINE, maps)]
    looks, seen = attention.gains(maps, asked), "Energy on the actor"
    pictures = {
        "night": _night(),
        "dual_light_accuracy": plots.accuracies(scores, TITLES, "DL-KDD and its controls on night"),
        "dual_light_effects": plots.effects(gains, "What DL-KDD gains over each control"),
        "dual_light_controls": plots.effects(rivals, f"What else could it be? {len(more.seeds)} seeds"),
        "dual_light_sweep": plots.heat_map(committed_sweep(load_rows("dual_light")), "DL-KDD, validation accuracy"),
        "dual_light_calibration": plots.calibration({TITLES[c]: scores.logits[c] for c in confident}, scores.labels),
        "progressive_exits": progressive_plots.exit_table(sets["night_context"], "night, places tell: twelve exits"),
        "wise_costs": progressive_plots.cost_curves({name: wise_study.load_curves(name) for name in sets}, costs),
        "generative_effects": plots.effects(generative_gains, "What GenKD gains over each"),
        "detection_map": detection_plots.map_over_tiou(detected, detection_recipes.TITLES, "Untrimmed sequences"),
        "flatness_orders": flatness_plots.orders(orders, "Three equal networks at equal training loss"),
        "attention_gains": attention_plots.gain_bars(looks, attention.TITLES, "energy_inside", seen),
    }
    made = [may_write(paths.figures_dir() / f"{name}.png", _is_drawn, "picture") for name in pictures]
    for file, figure in zip(made, pictures.values(), strict=True):
        write_atomically(file, lambda path, figure=figure: figure.savefig(path, format="png", metadata=_MARK))
        plt.close(figure)
    return made


def _is_drawn(picture: Path) -> bool:
    """In the clone's own folder all pictures are kdlab's, also those from before they were marked."""
    return paths.figures_are_committed() or begins_with(picture, _MARK["Software"])
