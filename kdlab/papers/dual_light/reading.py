"""What notebooks 03 and 03b read of the committed evidence: tables, and sentences that are computed, never typed."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kdlab import paths
from kdlab.measure.accuracy import confusion_changes
from kdlab.measure.embedding import Embedding, clip_features, embedding
from kdlab.measure.paired import Effect, effect
from kdlab.night import Night
from kdlab.papers.dual_light import controls, real_dark
from kdlab.papers.dual_light.recipes import TITLES
from kdlab.papers.dual_light.study import FRESH, HEADLINE
from kdlab.study import Scores, fresh, load_scores, pooled
from kdlab.train.runs import Run, obtain
from kdlab.train.sizes import STUDY

#: The data sets of the study, and how they read: the second one's clips nobody has read before its confirming runs.
SETS = {"night": "study", "night_fresh": "fresh clips"}
#: Teachers' enhancers among the conditions of few clips, by the part of a condition's name after the colon.
ENHANCERS = {"gamma1.4": "gamma 1.4", "gamma2.2": "gamma 2.2", "he": "equalised histograms", "zerodce": "Zero-DCE",
             "zerodce-steady": "Zero-DCE, steady"}
#: Of the two ways in which networks of `night` meet real clips.
WAYS = {"zero_shot": "zero-shot", "finetuned": "fine-tuned"}


def committed() -> dict[str, Scores]:
    """Those of :data:`SETS` that the study has committed, in that order; of `night` always. Raises
    ``FileNotFoundError`` without it."""
    there = {data: paths.figures_dir() / "predictions" / f"dual_light-{data}.npz" for data in SETS}
    return {data: Scores.load(path) for data, path in there.items() if data == "night" or path.is_file()}


def clips_of(data: str) -> Night:
    """The clips on which the study's networks are tested, of one of :data:`SETS`."""
    return {"night": STUDY.night, "night_fresh": fresh(STUDY.night, FRESH)}[data]


def gains(sets: Mapping[str, Scores], others: Mapping[str, str]) -> dict[str, Effect]:
    """DL-KDD minus each of ``others`` (title → condition) on each of ``sets``, what was not tested there left out."""
    return {f"DL-KDD − {title}, {SETS[data]}": some.effect("dlkdd", c) for title, c in others.items()
            for data, some in sets.items() if c in some.predicted}


def gap(some: Scores) -> str:
    """In Markdown: is there something that a teacher in the other light knows better?"""
    found = some.effect("ce_enhanced", "ce_raw")
    has = "nothing that is sure" if found.low <= 0 else "little" if found.mean < 5 else "much"
    return (f"CE on enhanced clips minus CE on raw ones: **{found} points**. A bright teacher has {has} to pass on "
            "that a network of raw clips does not know.")


def spread(some: Scores) -> pd.DataFrame:
    """A row for each condition: its accuracy, mean ± deviation over seeds, and what DL-KDD has more (95 %)."""
    rows = [(title, mean_and_deviation(some.accuracy(c)), str(some.effect("dlkdd", c)) if c != "dlkdd" else "")
            for c, title in TITLES.items() if c in some.predicted]
    words = ["condition", "test accuracy (%), mean ± sd over seeds", "DL-KDD minus it (95 %)"]
    return pd.DataFrame(rows, columns=words)


def mean_and_deviation(values: np.ndarray) -> str:
    """``81.8 ± 1.2``; of one value no deviation."""
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def mended(some: Scores) -> tuple[pd.DataFrame, float]:
    """Pairs of classes that enhancement mends or breaks (CE raw → CE enhanced), most mended first, beside what DL-KDD's
    students make of them; and the correlation of both changes. Seeds are halved, so that no network counts in both."""
    one, other = slice(0, None, 2), slice(1, None, 2)
    before, bright, taught = (some.predicted[name] for name in ("ce_raw", "ce_enhanced", "dlkdd"))
    changes = confusion_changes(some.labels, before[one], bright[one], some.classes)
    student = confusion_changes(some.labels, before[other], taught[other], some.classes)
    both = changes.merge(student, on=["true", "taken for"], suffixes=("", " (student)"))
    return both, float(np.corrcoef(both["change"], both["change (student)"])[0, 1])


def embedded(taught: Run, untaught: Run) -> tuple[Embedding, np.ndarray]:
    """Test clips in the features of the teacher of ``taught``, turned as its training clips tell: of the teacher, of
    ``taught`` and ``untaught``, and of random weights; and labels ``(N,)``. The teacher must have been trained."""
    teacher = obtain(taught.recipe.teacher, say=lambda line: None)
    nets = {"teacher": (teacher, True), "DL-KDD": (taught, True), "CE, raw": (untaught, True),
            "random weights": (taught, False)}
    fitted, shown = ({name: clip_features(run, split, trained) for name, (run, trained) in nets.items()}
                     for split in ("train", "test"))
    found = embedding({n: x for n, (x, _) in fitted.items()}, {n: x for n, (x, _) in shown.items()})
    return found, shown["teacher"][1]


def resemblance(found: Sequence[Embedding]) -> str:
    """In words: whether students lie nearer to their teachers than networks that nobody taught; one of ``found`` for
    each seed, as :func:`embedded` gives them."""
    taught, untaught, chance = (np.array([100 * each.given_again[name] for each in found])
                                for name in ("DL-KDD", "CE, raw", "random weights"))
    return (f"DL-KDD gives more of its teacher's picture again than CE, raw in {(taught > untaught).sum()} of "
            f"{len(found)} seeds: {taught.mean():.0f} against {untaught.mean():.0f} % on average; random weights "
            f"{round(chance.mean())} %")


# --- controls --------------------------------------------------------------------------------------------------


def surely(found: Mapping[str, Mapping[str, Effect]]) -> pd.DataFrame:
    """Rows of :func:`kdlab.papers.dual_light.controls.effects` whose plain 95 % interval excludes zero, and where their
    interval at the ledger's level lies."""
    rows = [(question, what, str(e), _place(e)) for question, answered in found.items()
            for what, e in answered.items() if e.low > 0 or e.high < 0]
    return pd.DataFrame(rows, columns=["question", "what", "points (95 %)", "at the ledger's level"])


def _decided(e: Effect) -> bool:
    return e.strict_low > 0 or e.strict_high < 0


def _place(e: Effect) -> str:
    if _decided(e):
        return "above zero" if e.mean > 0 else "below zero"
    return f"undecided: {e.strict_low:+.1f} to {e.strict_high:+.1f}"


def rivals(found: Mapping[str, Mapping[str, Effect]]) -> str:
    """In Markdown: how many comparisons there are, how many exclude zero, and how many of these are verdicts."""
    every = [e for answered in found.values() for e in answered.values()]
    plain = sum(e.low > 0 or e.high < 0 for e in every)
    strict = [what for answered in found.values() for what, e in answered.items() if _decided(e)]
    named = f" ({'; '.join(strict)})" if strict else ""
    return (f"Of {len(every)} comparisons the 95 % interval of {plain} excludes zero, where luck alone gives "
            f"about {len(every) / 20:.0f}; that at the ledger's level of {len(strict)}{named}. They have "
            f"{every[0].seeds} seeds; the median half-width is {np.median([e.half_width for e in every]):.1f} points.")


def lights(some: Scores) -> pd.DataFrame:
    """Test accuracy in percent, mean over seeds, of the four headline networks in both lights."""
    rows = []
    for name in HEADLINE:
        own, other = ("enhanced", "raw") if name == "ce_enhanced" else ("raw", "enhanced")
        cells = {f"tested on {own}": f"{some.accuracy(name).mean():.1f} (trained on it)",
                 f"tested on {other}": f"{some.accuracy(f'{name}:on_{other}').mean():.1f}",
                 "the other light, re-estimated": f"{some.accuracy(f'{name}:on_{other}:adabn').mean():.1f}"}
        rows.append({"network": TITLES[name]} | cells)
    return pd.DataFrame(rows)[["network", "tested on raw", "tested on enhanced", "the other light, re-estimated"]]


def shift(some: Scores) -> str:
    """In Markdown: what the other light costs networks that were not trained on it."""
    lost = {TITLES[c]: some.effect(f"{c}:on_{'raw' if c == 'ce_enhanced' else 'enhanced'}", c) for c in HEADLINE}
    worst = min(lost, key=lambda name: lost[name].mean)
    again = some.effect("ce_enhanced:on_raw:adabn", "ce_enhanced")
    return (f"In the light that it was not trained on, the network *{worst}* changes most: {lost[worst]} points. The "
            f"teacher on raw clips, with its statistics re-estimated there: {again} points.")


def few_clips(few: Scores) -> dict[str, Effect]:
    """What students of few clips gain over CE, by what their teachers see."""
    taught = {"same light": "same_light", "gamma 1.8": "dlkdd"} | {
        ENHANCERS.get(c.partition(":")[2], c): c for c in few.predicted if c.startswith("dlkdd:")}
    return {f"teacher on {name} − CE raw": few.effect(c, "ce_raw") for name, c in taught.items()}


def best_cell(grid: Mapping[tuple[float, float], float], default: tuple[float, float] = (4.0, 0.5)) -> str:
    """In words: the best (temperature, alpha) of ``grid``, the ``default``, and between what all cells lie."""
    best = max(grid, key=grid.get)
    said = [f"{which} t = {t:g}, alpha = {alpha:g}: {grid[t, alpha]:.1f} %"
            for which, (t, alpha) in (("best cell", best), ("default", default))]
    return "; ".join([*said, f"all cells {min(grid.values()):.1f} to {max(grid.values()):.1f} %"])


# --- real dark clips -------------------------------------------------------------------------------------------


def real() -> dict[str, Scores]:
    """Both folds' clips together, by :data:`WAYS`. Raises ``FileNotFoundError`` where the study was not run."""
    return {way: pooled([load_scores(f"dual_light_arid6-{way}-{fold}") for fold in real_dark.FOLDS]) for way in WAYS}


def real_table(ways: Mapping[str, Scores]) -> pd.DataFrame:
    """Accuracy in percent ± deviation over seeds, a row for each condition and a column for each way."""
    cells = {_real_title(c): {} for some in ways.values() for c in some.predicted}
    for way, some in ways.items():
        for c in some.predicted:
            cells[_real_title(c)][WAYS[way]] = mean_and_deviation(some.accuracy(c))
    return pd.DataFrame(cells).T.reindex(columns=[WAYS[way] for way in ways]).fillna("").rename_axis(
        "condition").reset_index()


def real_effects(some: Scores) -> dict[str, Effect]:
    """DL-KDD minus each other condition, and teachers as `night` left them minus fine-tuned ones."""
    found = {f"DL-KDD − {TITLES[c]}": some.effect("dlkdd", c) for c in some.predicted if c in TITLES and c != "dlkdd"}
    return found | {f"{TITLES[c.removesuffix('_kept')]}: kept − fine-tuned teacher":
                    some.effect(c, c.removesuffix("_kept")) for c in some.predicted if c.endswith("_kept")}


def widths(some: Scores, counts=(2, 4, 8, 12, 15)) -> str:
    """``2 seeds ± 55.1, 4 seeds ± 9.9``: the half-width of DL-KDD − CE raw from so many seeds."""
    a, b = some.correct("dlkdd"), some.correct("ce_raw")
    return ", ".join(f"{n} seeds ± {effect(a[:n], b[:n], some.units).half_width:.1f}" for n in counts if n <= len(a))


def _real_title(condition: str) -> str:
    return TITLES.get(condition) or f"{TITLES[condition.removesuffix('_kept')]}, kept teacher"


def control_sentences() -> list[str]:
    """What notebook 03b shows, in Markdown, a sentence or two for each of its questions."""
    more, few = load_scores("dual_light_controls-night"), load_scores("dual_light_controls-night_demo")
    ways = real()
    taught = few_clips(few)
    above = [name for name, e in taught.items() if e.low > 0]
    most = max(taught.items(), key=lambda pair: pair[1].mean)
    lines = [f"**Rivals.** {rivals(controls.effects(more))}", f"**Two lights.** {shift(more)}",
             f"**Few clips.** {len(above)} of {len(taught)} teachers help surely (95 %); the most is {most[0]}, "
             f"{most[1]} points, from {len(few.seeds)} seeds."]
    return lines + [f"**Real clips, {WAYS[way]}.** DL-KDD − CE raw: {some.effect('dlkdd', 'ce_raw')} points; DL-KDD − "
                    f"same-light KD: {some.effect('dlkdd', 'same_light')} ({len(some.seeds)} seeds, "
                    f"{len(np.unique(some.units))} groups of {len(some.labels)} clips)." for way, some in ways.items()]
