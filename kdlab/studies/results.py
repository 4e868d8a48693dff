"""``docs/results.md``, written from the committed evidence: what was found, claim by claim and table by table.

Nothing in it is typed: sentences of claims are those of notebooks (:mod:`kdlab.show.claims`), tables are read from the
predictions. After a study was run, ``kdlab results`` writes it anew.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kdlab import paths, studies
from kdlab.measure.paired import ENOUGH_SEEDS, Effect
from kdlab.papers.dual_light import controls, inherited_errors, regimes_list, regimes_study
from kdlab.papers.dual_light import study as dual_light
from kdlab.papers.generative import detection_recipes, detection_study
from kdlab.papers.generative import study as generative
from kdlab.papers.progressive import inherited as exits_inherited
from kdlab.papers.progressive import study as progressive
from kdlab.papers.progressive import tables as exits_tables
from kdlab.papers.progressive import wise_study as wise
from kdlab.show.claims import Told, sentence, told
from kdlab.show.said import minus
from kdlab.show.scoreboard_cells import Cell
from kdlab.studies import attention, attention_told, exit_calibration, gallery, teachers, transfer
from kdlab.study import Reading, Scores, awaited, load_rows
from kdlab.study.ledger import REGISTERED, SECOND, entropy_of, readings
from kdlab.study.register import Standing
from kdlab.system.files import write_atomically
from kdlab.system.ours import begins_with, may_write

#: By this kdlab knows the page.
MARK = "<!-- written by `kdlab results` from figures/: change the evidence, not this page -->"


@dataclass(frozen=True)
class Section:
    """A part of the page: its ``title``, the ``chapter`` that has more, its ``claims``, functions that give its
    ``tables``, and its ``pictures`` of the gallery. What is awaited is left out: an empty table, an awaited picture."""

    title: str
    chapter: str
    claims: Sequence[str] = ()
    tables: Sequence[Callable[[], str]] = ()
    pictures: Sequence[str] = ()


# --- tables ----------------------------------------------------------------------------------------------------


def dual_light_table() -> str:
    """Accuracy of every condition on the newest test clips of ``night``, and DL-KDD minus it."""
    return _conditions(*dual_light.study.newest("night"), dual_light.TITLES, "dlkdd", "DL-KDD")


def errors_table() -> str:
    """Whose errors DL-KDD's students give."""
    data, scores = dual_light.study.newest("night")
    return f"{inherited_errors.sentence(inherited_errors.found(scores))}\n\n" + _errors(
        data, dual_light.inherited_table(scores), dual_light.TITLES | inherited_errors.TEACHERS)


def controls_table() -> str:
    """What else could it be: each control's paired difference."""
    scores = controls.study.scores_of("night")
    rows = [(question, what, _signed(effect), *_counts(scores)) for question, asked in controls.effects(scores).items()
            for what, effect in asked.items()]
    return _table("Controls on `night`.", ("question", "what is compared", "points", "seeds", "test clips"), rows)


def practice_table() -> str:
    """What to do with a bright network in the dark, in order of cost, for each kind of first normalisation that was
    studied; empty while none was."""
    parts = []
    for norm, words in regimes_list.NORM_TITLES.items():
        if not awaited(regimes_study.study.name) and not (found := regimes_list.committed(norm)).empty:
            shown = regimes_list.shown(found).data
            said = f"With {words}. {regimes_list.advice(found)}"
            parts.append(_table(said, shown.columns, shown.astype(str).itertuples(index=False)))
    return "\n\n".join(parts)


def regimes_tables() -> str:
    """All ways in all cells of the regimes, with the claims' effects and the gap of the teacher beside them; empty
    while the study was not run."""
    if awaited(regimes_study.study.name):
        return ""
    parts = []
    for norm, words in regimes_list.NORM_TITLES.items():
        for labelled in (False, True):
            if not (found := regimes_list.side_by_side(norm, labelled)).empty:
                said = f"With {words}, {'with' if labelled else 'without'} dark labels: accuracy in percent, then " \
                       "effects and gaps in points, each with half of its 95 % interval. Three seeds are provisional."
                parts.append(_table(said, found.columns, found.itertuples(index=False)))
    return "\n\n".join(parts)


def generative_table() -> str:
    """Accuracy of every condition on the newest test clips of ``night_bright``, and GenKD minus it."""
    return _conditions(*generative.study.newest("night_bright"), generative.study.titles, "genkd", "GenKD")


def detection_table() -> str:
    """Mean average precision on untrimmed sequences."""
    data, found = detection_study.study.newest("night_untrimmed")
    counts = _counts(found)
    levels = [(title, f"{found.mean_ap(c, detection_study.HEADLINE).mean():.1f}", *counts)
              for c, title in detection_recipes.TITLES.items() if c in found.found]
    compared = [(what, _signed(effect), *counts) for what, effect in detection_study.effects(found).items()]
    tail = "seeds", "videos"
    first = _table(f"Mean mAP at tIoU {detection_study.HEADLINE} on `{data}`.", ("condition", "mAP, %", *tail), levels)
    return f"{first}\n\n" + _table("The same, compared.", ("comparison", "points", *tail), compared)


def generative_errors_table() -> str:
    """Whose errors students of generative distillation and its competitors give."""
    data, scores = generative.study.newest("night_bright")
    return _errors(data, generative.inherited_table(scores), generative.study.titles)


def exits_errors_table() -> str:
    """Whose errors internal classifiers give."""
    data, scores, conditions = exits_inherited.told(progressive.study.scores())
    table = exits_inherited.inherited_table(scores, conditions, ("own", "iframe"), 1000)
    titles = {name: progressive.recipes.TITLES[name.removesuffix("_unseen")] for name in conditions}
    table["ece"] = table.condition.map(exit_calibration.errors(load_rows("exit_calibration")))
    found = table.rename(columns={"condition": "student", "its own": "own", "difference": "gain"})
    titles |= {"own": "the final of its network", "iframe": "the I-frame network's final"}
    return _errors(data, found, titles, "the mean over nine exits and all seeds")


def exits_table() -> str:
    """PKD and WISE beside what they are compared with, on the newest test clips of each set, and on networks that have
    not seen the clips that exits learn from."""
    rows = []

    def add(data: str, scores: Scores, found: Mapping[str, Effect]) -> None:
        rows.extend((f"`{data}`", what, _signed(effect), *_counts(scores)) for what, effect in found.items())

    pairs = {"PKD − CE, mean of nine exits": "ce_ic", "PKD − own final throughout": "own_final",
             "PKD − CE with half the epochs": "ce_half"}
    for data, scores in map(progressive.study.newest, progressive.SETS):
        add(data, scores, {what: progressive.exit_effect(scores, "pkd", other)
                           for what, other in pairs.items() if other in scores.predicted})
    for data, scores in progressive.study.scores([progressive.CROSSED.data]).items():
        own = progressive.exit_effect(scores, "pkd_unseen", "own_final_unseen")
        add(data, scores, exits_tables.halves(scores) | {"PKD − own final throughout, the other half": own})
    for data in progressive.SETS:
        data = wise.newest(data)
        evidence = wise.committed(data)
        ways = wise.effects(evidence[0], "pkd")
        found = {f"WISE − {other}": ways[other] for other in ("best single exit", "late fusion of the finals")}
        area = wise.area_effects(*evidence)["PKD + WISE − segments"]
        add(data, evidence[0], found | {"PKD + WISE − fewer segments, area over CPU time": area})
    said = "Compared, with 95 % intervals. The best single exit is that on one half of the validation clips, seed by " \
           "seed, and need not be the best on test clips."
    return _table(said, ("on", "what is compared", "points", "seeds", "test units"), rows)


def attention_table() -> str:
    """Grad-CAM's energy on the actor, and the best map that knows nothing."""
    looks = attention.load_looks("night")
    found = attention.gains(looks, dual_light.HEADLINE, ["energy_inside"])
    rows = [(attention.TITLES[row["network"]], f"{row['score']:.1f}", f"{row['best baseline']}, {row['its score']:.1f}",
             _signed(row["gain"]), f"{row['gain'].seeds}", row["reading"]) for row in found.to_dict("records")]
    head = "network", "energy on the actor, %", "best map that knows nothing", "gain", "seeds", "reading"
    return _table(f"Grad-CAM, {attention_told.about('night', looks)}.", head, rows)


def transfer_table() -> str:
    """Mean recall on real dark clips, by networks of ``night`` and others."""
    rows = load_rows("transfer").query("metric.str.startswith('mean_recall')", engine="python")
    ways = {"zero_shot": "trained on `night` alone", "finetuned": "then fine-tuned on the other fold",
            "finetuned_kept": "the same, with its own soft targets from before",
            "from_nothing": "trained on the other fold alone"}
    values = {(r.condition, r.fold, r.metric): float(r.value) for r in rows.itertuples() if r.value != ""}

    def cell(way: str, fold: str) -> str:
        mean, low, high = (values[way, fold, f"mean_recall{end}"] for end in ("", "_low", "_high"))
        return f"{mean:.1f} ({low:.0f} to {high:.0f})"

    clips = transfer.study.scores_of("arid6")
    seeds = len(clips.seeds)
    said = f"Mean recall in percent on {len(clips.labels)} real dark clips of {len(clips.classes)} classes, in two " \
           f"folds without a common scene; chance is {100 / len(clips.classes):.1f}. Intervals are over clips and " \
           f"{seeds} seeds{' (provisional)' * (seeds < ENOUGH_SEEDS)}, not over places."
    lines = [(title, *(cell(way, fold) for fold in transfer.FOLDS), f"{seeds}") for way, title in ways.items()]
    return _table(said, ("", *(f"fold {fold}" for fold in transfer.FOLDS), "seeds"), lines)


def ledger_table() -> str:
    """Every reading of every claim, with what there was to learn: the entropy of the teacher's targets, and the gap."""
    rows, found = [], [its for its in readings(studies.every().values()) if its[3] is not None]
    often = Counter((claim.claim, _sets(reading, data)) for _, claim, data, reading, _ in found)
    for study, claim, data, reading, standing in found:
        said = Told(study, claim, data, reading, standing or Standing(""))
        nats, gap = entropy_of(study, claim, data), Cell.of(said).gap
        gate = standing.gate if standing else None
        where = _sets(reading, data) + f", {study.name}" * (often[claim.claim, _sets(reading, data)] > 1)
        rows.append((claim.claim, where,
                     REGISTERED if standing else SECOND, said.effect.removesuffix(" points"), f"{reading.seeds}",
                     f"{reading.units:,}", "–" if nats is None else f"{nats:.2f}",
                     "–" if gap is None else minus(f"{gap:+.1f}"),
                     "–" if gate is None else "passed" if gate[0] else "failed", said.verdict))
    head = "claim", "data", "reading", "effect", "seeds", "units", "entropy, nats", "gap, points", "gate", "verdict"
    return _table("Of each claim the registered reading comes first. Entropy is that of the targets that taught the "
                  "method, on the very clips that it learnt from (a label has 0); the gap is by how much its teacher "
                  "is ahead of its start. – is what was not measured, or has no meaning there. `figures/ledger.json` "
                  "has the intervals, and more.", head, rows)


def _sets(reading: Reading, data: str) -> str:
    return " and ".join(f"`{its}`" for its in reading.sets or [data])


def teachers_table() -> str:
    """Losses of the teachers of D1 to D3 and G1 to G3 on their own training clips."""
    lines = [(its.teacher, *(f"{value:.3f}" for value in its[1:3]), minus(f"{its[3]:+.3f}"), its[4])
             for its in teachers.table(load_rows("teachers")).itertuples(index=False)]
    head = ("teacher", "cross-entropy in use, nats", "in training, with the statistics of each batch",
            "difference, the largest of all seeds", "may teach")
    return _table("Teachers of D1 to D3 and G1 to G3 on their own training clips, measured after the claims were read. "
                  "Those of P3 to P7 were asked before, by their gate.", head, lines)


def _conditions(data: str, scores: Scores, titles: Mapping[str, str], method: str, name: str) -> str:
    """Mean and deviation of each condition, and ``method`` minus it."""
    rows = []
    for condition, title in titles.items():
        if condition in scores.predicted:
            levels = scores.accuracy(condition)
            against = "" if condition == method else _signed(scores.effect(method, condition))
            rows.append((title, f"{levels.mean():.1f} ± {levels.std(ddof=1):.1f}", against, *_counts(scores)))
    head = "condition", "test accuracy, %: mean ± sd over seeds", f"{name} minus it, 95 %", "seeds", "test clips"
    return _table(f"On `{data}`; chance is {100 / len(scores.classes):.1f} %.", head, rows)


def _errors(data: str, found: pd.DataFrame, titles: Mapping[str, str], calibrated: str = "the first seed's") -> str:
    """A line for each student and teacher of the rows ``found``, which have ``student``, ``teacher``, ``measure``,
    ``own``, ``gain`` and ``ece``."""
    lines = []
    for names, rows in found.groupby(["student", "teacher"], sort=False):
        ece, seeds = rows.ece.iloc[0], rows.gain.iloc[0].seeds
        lines.append((*(titles.get(name, name) for name in names), f"{rows.own.iloc[0]:.1f}", *map(_signed, rows.gain),
                      "–" if np.isnan(ece) else f"{ece:.1f}", f"{seeds}"))
    head = ("student", "whose errors", "own one's wrong answers given, %", *found.measure.unique(),
            "calibration error, %", "seeds")
    return _table(f"Whose errors students give, on `{data}`: what they share with the network of their seed, minus "
                  "what they share with an equal one of another seed, which never taught them, in points. The "
                  f"calibration error is {calibrated}.", head, lines)


def _counts(scores: Scores) -> tuple[str, str]:
    """How many seeds and test units stand behind a row."""
    return f"{len(scores.seeds)}", f"{len(set(scores.units.tolist())):,}"


def _signed(effect: Effect) -> str:
    """``+1.8 ± 1.0``, bold where the 95 % interval excludes zero."""
    text = minus(effect)
    return f"**{text}**" if effect.low > 0 or effect.high < 0 else text


def _table(said: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(row) for row in (head, ["---"] * len(head), *rows)]
    return f"{said}\n\n" + "\n".join(f"| {line} |" for line in lines)


# --- the page --------------------------------------------------------------------------------------------------

SECTIONS = (
    Section("DL-KDD on dark clips", "03_dual_light_distillation", ("D1", "D2", "D3", "D4"),
            (dual_light_table, errors_table, controls_table),
            ("dual_light_accuracy", "dual_light_effects", "dual_light_controls", "dual_light_sweep")),
    Section("A bright network in the dark", "10b_when_does_it_help", ("D1r", "D2r", "D3r", "D5r"),
            (practice_table, regimes_tables), ("regimes_and_claims",)),
    Section("When distillation helps", "10b_when_does_it_help", ("M1",), (), ("when_it_helps",)),
    Section("From night to real dark clips", "01b_is_the_data_fair", (), (transfer_table,)),
    Section("Generative distillation", "04_generative_distillation", ("G1", "G2", "G3"),
            (generative_table, generative_errors_table),
            ("generative_effects",)),
    Section("Temporal detection", "05_temporal_detection", ("G4",), (detection_table,), ("detection_map",)),
    Section("PKD and WISE on codec data", "07_progressive_distillation_and_wise",
            ("P3", "P3a", "P3u", "P3w", "P4", "P4u", "P5", "P6", "P7"),
            (exits_table, exits_errors_table),
            ("progressive_exits", "wise_costs")),
    Section("Flatness", "08_flatness_and_sharpness", ("P1", "P2"), (), ("flatness_orders",)),
    Section("Where networks look", "09_gradcam_attention", (), (attention_table,), ("attention_gains",)),
    Section("Teachers on their own clips", "02_teacher_training", (), (teachers_table,)),
    Section("Every reading", "10_scoreboard", (), (ledger_table,)),
)
_INTRODUCTION = f"""# Results

{MARK}

What kdlab's studies have found, as the committed evidence says it today. A claim is written down before the runs that
are to confirm it ([ledger.md](ledger.md)). Any other reading, earlier or later, is a *second reading* and changes no
verdict. ± is half of a 95 % interval over seeds and test units (of a condition's own accuracy from nothing: the
deviation between seeds), and **bold** marks an interval without zero. `night` is synthetic ([night.md](night.md)),
and the networks are tiny: an effect seen or not seen here is no statement about full size.

![Scoreboard](../figures/scoreboard.png)

In [notebook 10](../notebooks/10_scoreboard.ipynb) each cell of this picture leads to its evidence. Here each claim
leads to its sentence, beside the verdict of the reading that counts most:"""


def page() -> str:
    """The whole page; half a minute."""
    read = {section.title: told(section.claims) for section in SECTIONS if section.claims}
    parts = [_INTRODUCTION, "\n".join(f"- {title}: {_links(found)}" for title, found in read.items() if found)]
    for section in SECTIONS:
        link = f"[notebook {section.chapter.partition('_')[0]}](../notebooks/{section.chapter}.ipynb)"
        parts.append(f"## {section.title}\n\nMore in {link}.")
        if section.claims:
            parts.append("\n".join(f'- <a id="{_anchor(said)}"></a>{sentence(said)}' for said in read[section.title]))
        parts += filter(None, (table() for table in section.tables))
        parts += [f"![{gallery.shows(name)}](../figures/{name}.png)" for name in section.pictures
                  if not gallery.awaited(name)]
    return "\n\n".join(parts) + "\n"


def _anchor(said: Told) -> str:
    """Where the sentence of its claim stands on the page; no heading has such a name."""
    return f"claim-{said.claim.claim.lower()}"


def _links(found: Iterable[Told]) -> str:
    """Each claim, leading to its sentence, with the verdict in the words of the scoreboard."""
    return " · ".join(f"[{said.claim.claim}](#{_anchor(said)}) {Cell(said).lines[0]}" for said in found)


def write() -> Path:
    """Write the page to ``docs/results.md``; where it is. Raises :class:`kdlab.system.ours.NotOurs` where that is
    somebody's own."""
    file = paths.project_root() / "docs" / "results.md"
    may_write(file, lambda its: begins_with(its, MARK), "page of results")
    text = page()
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))
    return file
