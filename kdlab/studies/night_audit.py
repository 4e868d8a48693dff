"""Is `night` fair? What a network reaches without seeing the action, and what clips and variety do to accuracy.

One network and one loss (cross-entropy on raw clips) at the same number of steps everywhere; only the clips change.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from kdlab.measure.paired import effect
from kdlab.measure.realism import marks, summary
from kdlab.night import Night
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.study import Outcome, Part, Scores, Study, by_condition
from kdlab.system.progress import track
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import STUDY, Profile

CLIPS = (10, 20, 40, 80)
VARIETIES = (0.0, 0.25, 0.5, 1.0)
#: Of ``full``: training clips a class, and how varied they are.
USUAL = {"clips": 40, "variety": STUDY.night.variety}
#: The probability that place and props tell the class, where a still picture should be enough.
CONTEXT = 0.9
_EPOCHS, _TEST = 50, 30  # of 40 clips a class; half the steps of the study of DL-KDD


def columns(profile: Profile, seeds: int) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed. ``full`` is the clip as it is; ``@context`` has places that tell the class."""
    return by_condition(lambda seed: _recipes(profile, seed), seeds)


def _recipes(profile: Profile, seed: int) -> dict[str, Recipe]:
    small = profile.name == "smoke"
    night = profile.night if small else replace(profile.night, per_class=(USUAL["clips"], 10, _TEST))
    train, val, test = night.per_class
    settings = profile.settings if small else replace(profile.settings, epochs=_EPOCHS)
    full = replace(dual_light(profile, seed)["ce_raw"], condition="full", data=night, settings=settings)

    def on(name: str, clips: Night, **changes) -> Recipe:
        return replace(full, condition=name, data=clips, **changes)

    still = {"window": replace(full.window, frames=1)}
    contextual = replace(night, context=CONTEXT)
    found = [full, on("one_frame", night, **still), on("background", replace(night, actor=False))]
    found += [on("full@context", contextual), on("one_frame@context", contextual, **still)]
    if not small:
        for n in (n for n in CLIPS if n != train):
            steps = replace(settings, epochs=round(_EPOCHS * train / n))
            found.append(on(f"full:clips{n}", replace(night, per_class=(n, val, test)), settings=steps))
        found += [on(f"full:variety{v:g}", replace(night, variety=v)) for v in VARIETIES if v != night.variety]
    return {recipe.condition: recipe for recipe in found}


def verdicts(scores: Scores, light: pd.DataFrame) -> pd.DataFrame:
    """Every audit with its pass mark, its figure and whether the figure meets the mark: ``holds`` is of the mean, and
    ``sure`` says whether all of its 95 % interval does, too (None: it has none). ``light``:
    :func:`measure.realism.summary`."""
    mean = {condition: float(scores.accuracy(condition).mean()) for condition in scores.predicted}
    chance = 100 / len(scores.classes)
    gain = scores.effect("full", "one_frame")
    blind = effect(scores.correct("background"), np.full_like(scores.correct("background"), chance / 100), scores.units)
    share = 100 * mean["one_frame@context"] / mean["full@context"]
    table = [
        ("one frame is not enough", "full − one frame ≥ 15", str(gain), gain.mean >= 15, gain.low >= 15),
        ("the background alone is near chance", "background − chance within ± 5", str(blind), abs(blind.mean) <= 5,
         -5 <= blind.low and blind.high <= 5),
        ("at high context one frame is enough", "≥ 90 % of the full clip's accuracy", f"{share:.0f} %", share >= 90,
         None),
    ]
    for m in light.itertuples():
        wanted = f"median in {m.low:g}…{m.high:g}{'' if m.Index == 'vectors' else ', ≥ 70 % of clips'}"
        table.append((f"like real clips: {m.Index}", wanted, f"{m.median:.2f}, {m.inside:.0f} %", m.holds, None))
    return pd.DataFrame(table, columns=["audit", "mark", "found", "holds", "sure"])


def word(holds: bool, sure: bool | None) -> str:
    """What a line of :func:`verdicts` comes to, in a sentence."""
    if not holds:
        return "It does **not** hold."
    return "It holds." if sure in (None, True) else "The mean meets the mark; the interval is too wide to be sure."


def _rows(outcome: Outcome) -> list[dict]:
    """Rows of the networks, and the pixels' marks of the test clips at the audits' variety and at variety 1."""
    table, profile = outcome.rows(), outcome.size
    for variety in dict.fromkeys((profile.night.variety, 1.0)):
        night = replace(outcome.runs["full"][0].recipe.data, variety=variety)
        clips = night.catalogue().split("test")[:: 1 if profile.name == "smoke" else 2]
        light = summary(pd.DataFrame([marks(record) for record in track(clips, "marks")]))
        about = outcome.row(condition=f"marks:variety{variety:g}", recipe=night.name)
        for mark in light.itertuples():
            table.append(about | dict(metric=mark.Index, value=round(mark.median, 3), unit="1"))
            table.append(about | dict(metric=f"{mark.Index}_inside", value=round(mark.inside, 3), unit="%"))
        outcome.say(f"variety {variety:g}\n{verdicts(outcome.scores, light).to_string(index=False)}")
    return table


def _parts(profile: Profile, seeds: int) -> list[Part]:
    return [Part("night", columns(profile, seeds), rows=_rows)]


study = Study("night_audit", _parts, size=STUDY, seeds=3, committed=True)
