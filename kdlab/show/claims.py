"""What claims come to: each read on its confirming data, where these are there, else on those read before, and told in
words that are computed from the committed evidence."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from IPython.display import Markdown, display

from kdlab import studies
from kdlab.study import Claim, Reading, Scores, Study
from kdlab.study.register import Register, Standing, load, planned

#: Where the words of verdicts are explained, as a notebook links to it.
LEDGER = "../docs/ledger.md"


@dataclass(frozen=True)
class Told:
    """What the data set ``data`` of ``study`` says of ``claim``: a ``reading``, or None where nothing is there; and how
    the claim stands in the register."""

    study: Study
    claim: Claim
    data: str
    reading: Reading | None
    standing: Standing

    @property
    def registered(self) -> bool:
        """Whether this is the reading of the confirming runs."""
        return self.reading is not None and self.reading is self.standing.reading

    @property
    def verdict(self) -> str:
        """The ledger's word, conditions by their titles: withheld where the register says so, and of nothing empty."""
        if self.reading is None:
            return ""
        word = self.standing.verdict if self.registered else self.reading.verdict
        known = {**self.reading.effects, **self.reading.controls}.keys()
        return _minus(re.sub(r"[\w-]+", lambda found: self.title(found[0]) if found[0] in known else found[0], word))

    @property
    def effect(self) -> str:
        """What was found, with half of its 95 % interval; of several comparisons each."""
        if self.reading is None:
            return ""
        effects = self.reading.effects
        if not effects:
            return _minus(self.reading.effect)
        each = [str(effect) if len(effects) == 1 else f"{self.title(name)} {effect}"
                for name, effect in effects.items()]
        return _minus(f"{'; '.join(each)} {self.unit}")

    @property
    def unit(self) -> str:
        """Of its effects."""
        return self.claim.plan.unit if self.claim.plan else "points"

    @property
    def counted(self) -> str:
        """``15 seeds, 1,100 clips``."""
        kind = self.claim.plan.kind if self.claim.plan else "test units"
        return f"{counted(self.reading.seeds)}, {self.reading.units:,} {kind}"

    def title(self, condition: str) -> str:
        """How a ``condition`` reads, without what follows a colon, and without commas, since it stands in a list."""
        return self.study.titles.get(condition, condition).partition(":")[0].replace(",", "")


def told(names: Iterable[str] = (), of: Iterable[Study] | None = None) -> list[Told]:
    """The best reading of each of the claims ``names`` (none named: all) ``of`` some studies (default: kdlab's own).

    That is the confirming one where it is there, else that of the data read before. Raises ``ValueError`` for a name
    that no claim has.
    """
    known = {claim.claim: (study, claim) for study, claim in planned(studies.every().values() if of is None else of)}
    names, register = list(names), Register()
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no study has a claim {unknown[0]!r}; they are {', '.join(known)}")
    return [_told(*known[name], register) for name in names or known]


def _told(study: Study, claim: Claim, register: Register) -> Told:
    standing = register.standing(study, claim)
    if standing.reading is not None or claim.plan is None:
        return Told(study, claim, claim.plan.data if claim.plan else "", standing.reading, standing)
    evidence = load(study, claim, claim.plan.earlier, False)
    reading = None if evidence is None else claim.read(evidence)
    return Told(study, claim, claim.plan.earlier, reading, standing)


def sentence(said: Told) -> str:
    """Markdown: what is claimed, what was found on which data, the verdict, and what the verdict is worth."""
    claim, plan, waiting = said.claim, said.claim.plan, ""
    if plan and not said.registered:
        waiting = f"It is to be confirmed by {counted(plan.seeds)} on {plan.units:,} {plan.kind} of `{plan.data}`; " \
                  f"{said.standing.withheld}."
    says = f"**{claim.claim}** says that {claim.says}."
    if said.reading is None:
        return f"{says} Nothing was read of it yet. {waiting}".rstrip()
    word, mark, more = re.match(r"([^:(]*?)((?: \(|:)|$)(.*)", said.verdict).groups()
    compared = claim.compared[:1].upper() + claim.compared[1:]
    where = " and ".join(f"`{data}`" for data in said.reading.sets or [said.data])
    found = f"{compared}: {said.effect} ({where}, {said.counted}). Verdict: **{word}**{mark}{more}."
    if said.registered:
        what = "what was to confirm it" if said.standing.withheld else "the registered confirmation"
        return f"{says} {found} This is {what}."
    if plan is None:
        return f"{says} {found} It was not registered before its runs, so this decides nothing."
    return f"{says} {found} This is a second reading, which decides nothing. {waiting}"


def shown(*names: str) -> None:
    """Display what each of the claims ``names`` came to, such as ``shown("D1", "D2")``: its effect with interval,
    seeds, test units and verdict, and whether that is registered. Raises ``ValueError`` for a name that no claim has.
    """
    _display(told(names))


def shown_of(study: Study, data: str, scores: Scores) -> None:
    """The same of each claim of a ``study`` of yours, as its ``scores`` on ``data`` tell it."""
    claims = [claim for claim in study.claims if not claim.statistic and not claim.lacking(scores.recipes)]
    _display([Told(study, claim, data, claim.read(scores), Standing("not registered")) for claim in claims])


def _display(found: Iterable[Told]) -> None:
    lines = [f"- {sentence(said)}" for said in found]
    note = f"± is half of a 95 % interval over seeds and test units. [The words of verdicts]({LEDGER})."
    display(Markdown("\n".join([*lines, "", note])))


def _minus(text: str) -> str:
    """``text`` with minus signs before numbers below zero."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def counted(seeds: int) -> str:
    """``1 seed``, ``15 seeds``."""
    return f"{seeds} seed{'s' * (seeds != 1)}"
