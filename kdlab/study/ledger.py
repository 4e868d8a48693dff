"""The ledger for other people's tables, ``figures/ledger.json``: each claim on each data set that it was read on."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from math import isnan
from pathlib import Path

from kdlab import paths
from kdlab.measure.paired import Effect
from kdlab.study.claims import Claim, Reading
from kdlab.study.entropies import mean_of_targets
from kdlab.study.register import Register, Standing, load, planned
from kdlab.study.study import Study
from kdlab.study.table import load_rows
from kdlab.system.contents import hashes
from kdlab.system.files import write_json
from kdlab.system.ours import may_write

#: The second field of a row, which tells what its verdict is worth.
REGISTERED, SECOND = "registered", "second reading"


def export(studies: Iterable[Study]) -> Path:
    """Write the rows of :func:`ledger`; where they are."""
    file = may_write(paths.figures_dir() / paths.LEDGER, _is_ledger, "ledger")
    write_json(file, ledger(studies))
    return file


def ledger(studies: Iterable[Study]) -> list[dict]:
    """A row for each of the :func:`readings` of the ``studies``."""
    return [_row(*its) for its in readings(studies)]


def readings(studies: Iterable[Study]) -> Iterator[tuple[Study, Claim, str, Reading | None, Standing | None]]:
    """Study, claim, data set, reading and standing: of the confirming data of each claim, whose verdict is withheld
    where something speaks against it; then, without standing, of every other committed data set of the ``studies`` that
    knows its conditions: a second reading."""
    register, studies = Register(), list(studies)
    for home, claim in planned(studies):
        standing = register.standing(home, claim)
        yield home, claim, claim.plan.data if claim.plan else "", standing.reading, standing
        for study, data in _others(claim, home, studies):
            if (evidence := load(study, claim, data, False)) is None:
                continue
            if (reading := claim.read(evidence)) != standing.reading:  # some have one evidence for both
                yield study, claim, data, reading, None


def _others(claim: Claim, home: Study, studies: list[Study]) -> list[tuple[Study, str]]:
    """Where ``claim`` is read, too: of a claim with evidence of its own where it was read before."""
    if claim.evidence:
        before = next((study for study in studies if study.name == claim.before), home)
        return [(before, claim.plan.earlier)] if claim.plan else []
    asking = [study for study in studies if any(its.claim == claim.claim for its in study.claims)]
    confirming = claim.plan.data if claim.plan else ""
    return [(study, data) for study in asking for data in study.scores() if data != confirming]


def _row(study: Study, claim: Claim, data: str, reading: Reading | None, standing: Standing | None) -> dict:
    verdict, entry = (standing.verdict, standing.entry or {}) if standing else (reading.verdict, {})
    gate = dict(zip(("passed", "words"), standing.gate, strict=True)) if standing and standing.gate else None
    files = [file for file in study.files(data) if reading and file.is_file()]
    return {
        "claim": claim.claim, "reading": REGISTERED if standing else SECOND, "says": claim.says, "study": study.name,
        "data": " and ".join(reading.sets) if reading and reading.sets else data, "metric": claim.metric,
        "comparison": claim.compared, "effect": reading.effect if reading else "",
        "intervals": _intervals(reading.effects) if reading else {},
        "controls": _intervals(reading.controls) if reading else {}, "rule": claim.rule,
        "seeds": reading.seeds if reading else 0, "units": reading.units if reading else 0,
        "kind": claim.plan.kind if claim.plan else "", "power": entry.get("power"), "gate": gate,
        "entropy": entropy_of(study, claim, data) if reading else None, "verdict": verdict,
        "provenance": {"registration": entry.get("digest"), "in_time": bool(standing and standing.in_time),
                       "files": hashes(paths.figures_dir(), files),
                       "sources": _sources(study, claim, data) if reading else {}},
    }


def _sources(study: Study, claim: Claim, data: str) -> dict[str, str]:
    """Condition → hash of the sources that trained it, of what the claim compares."""
    scores = study.scores([data]).get(data)
    return {c: scores.sources[c] for c in claim.trained(scores.sources)} if scores else {}


def entropy_of(study: Study, claim: Claim, data: str) -> float | None:
    """Mean in nats of what taught the claim's method, on its training clips; None where the study did not measure it,
    nothing taught it, or the claim is about something else than what networks answer."""
    scores = None if claim.statistic else study.scores([data]).get(data)
    if not scores or claim.condition not in scores.recipes:
        return None
    with suppress(FileNotFoundError):  # its table is not there
        nats = mean_of_targets(load_rows(study.name), scores, claim.condition)
        return None if isnan(nats) else round(nats, 4)
    return None


def _intervals(effects: dict[str, Effect]) -> dict[str, dict]:
    parts = ("mean", "low", "high", "strict_low", "strict_high")
    return {against: {part: round(float(getattr(e, part)), 4) for part in parts} for against, e in effects.items()}


def _is_ledger(file: Path) -> bool:
    try:
        return all("provenance" in row for row in json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return False
