"""The register of claims, ``figures/claims.json``: what each said before the runs that confirm it.

An entry has all that a claim fixes and its digest. Entries are added and never replaced, so a claim that was changed
stands beside what it was. That an entry was there before its runs is read from the git history: the commit that added
the digest is an ancestor of those in which the evidence is. In a copy without a history, such as a class room's, the
ledger that was made under git vouches for the very files that it names.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kdlab import paths
from kdlab.measure.bootstrap import ROWS
from kdlab.study.claims import Claim, Reading
from kdlab.study.table import load_rows
from kdlab.system.contents import hashes
from kdlab.system.files import write_json
from kdlab.system.ours import may_write

if TYPE_CHECKING:
    from kdlab.study.study import Study

#: What a registration adds to what a claim says itself: it may differ when the same claim is looked at again.
_ADDED = ("digest", "power", "m")


def digest(entry: Mapping) -> str:
    """SHA-256 of the canonical JSON of an ``entry``, its own digest left out."""
    said = {key: value for key, value in entry.items() if key != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def described(study: "Study", claim: Claim) -> dict:
    """All that ``claim`` fixes, but for power and m: also which recipes are trained and which clips they are tested on,
    so that a study which was changed is another one. Raises ``ValueError`` for a claim without plan or control."""
    if why := claim.unplanned():
        raise ValueError(why)
    plan = claim.plan
    parts = [part for part in study.chosen(study.size, 1) if part.data == plan.data]
    if not parts:
        raise ValueError(f"{claim.claim} is confirmed on {plan.data!r}, which the study {study.name} does not have")
    trained = {c: part.recipes[c][0].name for part in parts for c in claim.trained(part.recipes)}
    other = [part.on.fingerprint() for part in parts if part.on is not None]
    functions = {"effect": claim.effect, "statistic": claim.statistic, "gate": claim.gate}
    return {
        "claim": claim.claim, "study": study.name, "says": claim.says, "comparison": claim.compared,
        "condition": claim.condition, "baselines": list(claim.baselines), "controls": list(claim.controls),
        "rule": claim.rule, "metric": claim.metric, "data": plan.data, "earlier": plan.earlier,
        "seeds": {"number": plan.seeds, "first": plan.first}, "units": {"number": plan.units, "kind": plan.kind},
        "smallest": {"value": plan.smallest, "unit": plan.unit}, "recipes": trained, "tested_on": other,
        "functions": {name: f"{its.__module__}.{its.__qualname__}" for name, its in functions.items() if its},
    }


@dataclass(frozen=True)
class Standing:
    """How a claim stands: its ``state`` for a table; ``withheld``, why no verdict may be told, in words, or empty;
    its ``entry`` in the register, if it has one; the ``reading`` of its confirming data, if there is one; whether its
    ``gate`` was passed, and the words; and whether its runs came ``in_time``, after it was registered."""

    state: str
    withheld: str = ""
    entry: Mapping | None = None
    reading: Reading | None = None
    gate: tuple[bool, str] | None = None
    in_time: bool = False

    @property
    def verdict(self) -> str:
        return f"withheld: {self.withheld}" if self.withheld else self.reading.verdict


class Register:
    """What is registered in ``folder`` (default: where the committed evidence lies), and what git knows of it."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder or paths.figures_dir()
        self.file = self.folder / "claims.json"
        self.entries = _entries(self.file.read_text(encoding="utf-8"), self.file) if self.file.is_file() else []
        self._shards: dict[str, list[set[str]]] = {}

    # --- what is written in it ---------------------------------------------------------------------------------

    def of(self, name: str) -> list[Mapping]:
        """All entries of the claim called ``name``, the oldest first."""
        return [entry for entry in self.entries if entry["claim"] == name]

    def find(self, fields: Mapping) -> Mapping | None:
        """The newest entry that says what ``fields`` do; None where there is none."""
        same = [e for e in self.of(fields["claim"]) if {k: v for k, v in e.items() if k not in _ADDED} == fields]
        return same[-1] if same else None

    def add(self, studies: "Iterable[Study]") -> list[str]:
        """Register every claim with a plan that is not there as it is today; the names of those.

        Raises ``ValueError`` in a sentence, and writes nothing, where one has no control, or no power because no
        earlier evidence tells it.
        """
        asked = [(s, c, described(s, c)) for s, c in planned(studies)]
        new = [(s, c, fields) for s, c, fields in asked if not self.find(fields)]
        m = max(ROWS, len({e["claim"] for e in self.entries} | {c.claim for _, c, _ in new}))
        for study, claim, fields in new:
            entry = fields | {"power": round(expected(study, claim, m), 3), "m": m}
            self.entries.append({"digest": digest(entry)} | entry)
        if new:
            self.folder.mkdir(parents=True, exist_ok=True)
            may_write(self.file, _is_register, "register of claims")
            write_json(self.file, self.entries)
        return [claim.claim for _, claim, _ in new]

    # --- what git knows ----------------------------------------------------------------------------------------

    @cached_property
    def committed(self) -> set[str] | None:
        """The digests in the last commit; None outside git."""
        if self._git("rev-parse", "--is-inside-work-tree") != "true":
            return None
        text = self._git("show", f"HEAD:./{self.file.name}")
        return {entry["digest"] for entry in _entries(text, self.file)} if text else set()

    def registered_in(self, which: str) -> str:
        """The commit that added the digest ``which``; empty where none did."""
        return (self._git("log", "--reverse", "--format=%H", f"-S{which}", "--", self.file.name) or "").split("\n")[0]

    def too_early(self, which: str, evidence: Iterable[Path]) -> str:
        """Why the files of ``evidence`` may be older than the digest ``which``, in words; empty where they are not.

        The commit since which a file is as it is must come after the one that registered. A file that is not committed
        as it is comes after every commit.
        """
        if self._git("rev-parse", "--is-shallow-repository") == "true":
            return "in a shallow clone the order in time cannot be checked: git fetch --unshallow"
        if not (before := self.registered_in(which)):
            return "git has no commit that registered it"
        for file in evidence:
            name = file.relative_to(self.folder).as_posix()
            since = self._git("log", "-1", "--format=%H", "--", name)
            if since is None:
                return f"git does not say since when {name} is as it is: try again"
            if not since or self._git("status", "--porcelain", "--", name):
                continue
            if since == before or self._git("merge-base", "--is-ancestor", before, since) is None:
                return f"its runs precede its registration: {name} is of {since[:7]}, which does not come after " \
                       f"{before[:7]}"
        return ""

    def _git(self, *arguments: str) -> str | None:
        """What git says in the folder of the register; None where it refuses, or is not there."""
        try:
            said = subprocess.run(["git", "-C", str(self.folder), *arguments], capture_output=True, text=True,
                                  encoding="utf-8", timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return None if said.returncode else said.stdout.strip()

    # --- claims ------------------------------------------------------------------------------------------------

    def under(self, study: "Study", sets: Iterable[str], say: Callable[[str], None] = print) -> dict[str, str]:
        """Claim → digest of the entry under which ``study`` may now write confirming evidence on the data ``sets``.

        Raises ``ValueError`` for a claim that is not registered as it is today, or not committed. Outside git nothing
        tells what came first: then it says so, and there are no digests.
        """
        found = {}
        for claim in (c for c in study.claims if c.plan and c.plan.data in set(sets)):
            entry, which = self.find(described(study, claim)), f"claim {claim.claim} of the study {study.name}"
            if self.committed is None:
                say(f"{which}: {self.folder} is not under git, so its verdict is withheld")
                continue
            if entry is None:
                word = "was changed since it was registered" if self.of(claim.claim) else "is not registered"
                raise ValueError(f"{which} {word}: `kdlab claims --register` (yours by its file: `kdlab claims FILE.py "
                                 f"--register`), commit {self.file.name}, then run it")
            if entry["digest"] not in self.committed:
                raise ValueError(f"{which} is registered, but not committed: commit {self.file}, then run it")
            found[claim.claim] = entry["digest"]
        return found

    def standing(self, study: "Study", claim: Claim) -> Standing:
        """How ``claim`` stands today, and whether its verdict may be told."""
        if why := claim.unplanned():
            return Standing("not registered", why)
        entry, plan = self.find(described(study, claim)), claim.plan
        if entry is None and self.of(claim.claim):
            return Standing("changed since it was registered", "it was changed since it was registered")
        if entry is None:
            return Standing("not registered", "it is not registered")
        vouched = self.committed is None and self._vouched(entry["digest"], study.files(plan.data))
        if self.committed is None and not vouched:
            return Standing("registered", "this is not under git, which tells what came first", entry)
        if not vouched and entry["digest"] not in self.committed:
            return Standing("registered, not committed", "its registration is not committed", entry)
        rows = _rows(study)
        carried = rows[(rows.metric == "registered") & (rows.condition == claim.claim) & (rows.data == plan.data)]
        evidence = load(study, claim, plan.data, True)
        if evidence is None:
            there = min(self._in_shards(study, plan.data), plan.seeds)  # of some claims one is enough
            why = f"{there} of {plan.seeds} seeds {'is' if there == 1 else 'are'} there, in shards" if there else \
                "its confirming runs are not there yet"
            return Standing("registered", why, entry)
        found = claim.read(evidence)
        if early := [seed for seed in getattr(evidence, "seeds", ()) if seed < plan.first]:
            return Standing("registered", f"seed {early[0]} was looked at before {plan.first}, the first", entry, found)
        if entry["digest"] not in set(carried.recipe):
            why = "its runs precede its registration" if carried.empty else "its runs are of another registration"
            return Standing("runs precede the registration", why, entry, found)
        if why := "" if vouched else self.too_early(entry["digest"], study.files(plan.data)):
            return Standing("runs precede the registration", why, entry, found)
        state = f"run with {found.seeds} seeds"
        for had, wanted, what in ((found.seeds, plan.seeds, "seeds"), (found.units, plan.units, plan.kind)):
            if had < wanted:
                return Standing(state, f"{had} of {wanted} registered {what} are there", entry, found, in_time=True)
        if found.seeds > plan.seeds:
            why = f"{found.seeds} seeds are there where {plan.seeds} were registered: more, until it decides, are none"
            return Standing(state, why, entry, found, in_time=True)
        gate = claim.gate(rows) if claim.gate else None
        why = "" if not gate or gate[0] else f"its gate fails, {gate[1]}"
        return Standing(state, why, entry, found, gate, in_time=True)

    def _vouched(self, which: str, evidence: Iterable[Path]) -> bool:
        """Whether the ledger that was made under git says that these very files came after the digest ``which``."""
        file = self.folder / paths.LEDGER
        try:
            told = [row["provenance"].items() for row in json.loads(file.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return False
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{file} is no ledger of kdlab's: restore the committed file, or delete it") from error
        wanted = {"registration": which, "in_time": True, "files": hashes(self.folder, filter(Path.is_file, evidence))}
        return any(wanted.items() <= its for its in told)

    def _in_shards(self, study: "Study", data: str) -> int:
        """How many finished shards of ``study`` tell something of ``data``. A study is asked once: that takes long."""
        if study.name not in self._shards:
            shards = study.shards()
            finished = shards.finished() if shards else []
            self._shards[study.name] = [{part.data for part in shards.cut(k)} for k in finished]
        return sum(data in sets for sets in self._shards[study.name])


def planned(studies: "Iterable[Study]") -> "list[tuple[Study, Claim]]":
    """The claims of the ``studies``, each once: in the study that has the data on which it is confirmed, and without a
    plan in the first."""
    found: dict[str, tuple] = {}
    for study in studies:
        sets = {part.data for part in study.chosen(study.size, 1)} if study.claims else set()
        for claim in study.claims:
            if not claim.plan or claim.plan.data in sets:
                found.setdefault(claim.claim, (study, claim))
    return list(found.values())


def table(register: Register, studies: "Iterable[Study]") -> pd.DataFrame:
    """A line for each claim: where, how and with what power it is confirmed, how it stands, and its verdict or why that
    is withheld; and one for each entry of what a claim said before it was changed."""
    lines, latest = [], {}
    for study, claim in planned(studies):
        found, plan = register.standing(study, claim), claim.plan
        latest[claim.claim] = found.entry
        cells = (f"{plan.seeds} from {plan.first}", f"{plan.units} {plan.kind}", _power(study, claim, found)) \
            if plan else ("–", "–", "–")
        lines.append((claim.claim, plan.data if plan else "–", claim.compared, *cells, found.state, found.verdict))
    for entry in (e for e in register.entries if e["claim"] in latest and e is not latest[e["claim"]]):
        seeds, units = entry["seeds"], entry["units"]
        lines.append((entry["claim"], entry["data"], entry["comparison"], f"{seeds['number']} from {seeds['first']}",
                      f"{units['number']} {units['kind']}", f"{entry['power']:.2f}",
                      f"an older registration, {entry['digest'][:7]}", ""))
    names = "claim", "data", "comparison", "seeds", "units", "power", "state", "verdict"
    return pd.DataFrame(lines, columns=names)


def _power(study: "Study", claim: Claim, found: Standing) -> str:
    """As it was registered; of a claim that is not, as it would be."""
    try:
        return f"{found.entry['power'] if found.entry else expected(study, claim, ROWS):.2f}"
    except ValueError:
        return "none"


def load(study: "Study", claim: Claim, data: str, confirming: bool):
    """The committed evidence of ``claim`` on ``data``; None where it is not there, or has not what the claim needs."""
    try:
        if claim.evidence:
            return claim.evidence(data, confirming)
        scores = study.scores([data]).get(data)
    except FileNotFoundError:
        return None
    return None if scores is None or claim.lacking(scores.recipes) else scores


def expected(study: "Study", claim: Claim, m: int) -> float:
    """The power of ``claim`` as it is planned, one of ``m`` that are read together. Raises ``ValueError`` where no
    earlier evidence tells it."""
    if claim.like:
        return expected(study, replace(claim.like, plan=claim.plan), m)
    if (evidence := load(study, claim, claim.plan.earlier, False)) is None:
        raise ValueError(f"{claim.claim} has no power: nothing of {claim.plan.earlier!r} is committed in the study "
                         f"{study.name} that tells how much it varies")
    return claim.power(evidence, 1 - 0.05 / m)


def _rows(study: "Study") -> pd.DataFrame:
    try:
        return load_rows(study.name)
    except FileNotFoundError:
        return pd.DataFrame(columns=["metric", "condition", "data", "recipe"])


def _entries(text: str, file: Path) -> list[dict]:
    try:
        entries = json.loads(text)
        broken = [e["claim"] for e in entries if digest(e) != e["digest"]]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is no register of claims ({error}): restore the committed file") from None
    if broken:
        raise ValueError(f"{file}: the entry of {broken[0]} is not what its digest says: restore the committed file, "
                         "and register what was changed beside it")
    return entries


def _is_register(file: Path) -> bool:
    return bool(_entries(file.read_text(encoding="utf-8"), file))
