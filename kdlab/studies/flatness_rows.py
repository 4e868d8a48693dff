"""What the rows of the study of flatness say: the order of three modalities, correlations with the gap, P1 and P2."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from kdlab import paths
from kdlab.measure.accuracy import half_width
from kdlab.measure.bootstrap import draws, ends, strict_level
from kdlab.measure.paired import provisional
from kdlab.papers.progressive.nets import CLAIMED
from kdlab.study import FIRST, LEDGER, Claim, Plan, Reading, load_rows

#: How internal classifiers were trained; all other rows are of whole networks.
HEADS = ("ce_ic", "pkd")
#: The four pre-registered measures (docs/methods.md, 5), each larger where the minimum is sharper.
MEASURES = {"trace_per_weight": "trace / P", "lambda_max": "largest eigenvalue", "asam_0.5": "ASAM, radius 0.5",
            "filter_curvature": "filter-normalised curvature"}


def wide(rows: pd.DataFrame, heads: bool = False) -> pd.DataFrame:
    """One line a measured network: data, net, modality, mark, seed, recipe, and a column a metric.

    With ``heads`` the internal classifiers instead: ``net`` is then how they were trained, ``mark`` their place.
    """
    rows = rows[rows.metric != "registered"]
    tidy, of = rows.assign(value=pd.to_numeric(rows.value, errors="coerce")), ["data", "condition", "seed", "recipe"]
    table = tidy.pivot_table("value", of, "metric", dropna=False).dropna(how="all").reset_index()
    table[["net", "modality", "mark"]] = table.condition.str.split(":", expand=True)
    return table[table.net.isin(HEADS) == heads].reset_index(drop=True)


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Geometric mean over seeds and its 95 % t-interval; without a second seed the interval is everything, as it is of
    values that are not all above zero, which have no such mean."""
    if not (values > 0).all():
        return np.nan, 0.0, np.inf
    logs = np.log(values)
    if len(logs) < 2 or not np.isfinite(logs).all():
        return float(np.exp(logs.mean())), 0.0, np.inf
    half = half_width(logs)
    return tuple(float(np.exp(v)) for v in (logs.mean(), logs.mean() - half, logs.mean() + half))


def taught(rows: pd.DataFrame) -> pd.DataFrame:
    """Each internal classifier under PKD over the same by labels: training loss and measures, as :func:`interval` s of
    the ratio over seeds, by exit (``motion 1``)."""
    heads = wide(rows, heads=True)
    if heads.empty:
        return pd.DataFrame()
    pairs = heads.assign(exit=heads.modality + " " + heads["mark"]).pivot_table(
        index=["exit", "seed"], columns="net", values=["train_loss", *MEASURES], sort=False)
    ratios = pairs.xs("pkd", axis=1, level="net") / pairs.xs("ce_ic", axis=1, level="net")
    found = ratios.groupby("exit", sort=False).agg(lambda column: interval(column.to_numpy()))
    return found.rename_axis(index=None, columns=None)


def hierarchy(rows: pd.DataFrame, data: str, net: str = "matched") -> pd.DataFrame:
    """A line for each mark and measure: the three networks' means and intervals over seeds, and what they say.

    *as claimed*: I < R < M, neighbours' intervals apart; *against it*: two neighbours the other way round and apart;
    *open*: else; *missing*: a network that did not get to the mark under every seed.
    """
    table, lines = wide(rows), []
    table = table[(table.data == data) & (table.net == net) & (table["mark"] != "end")]
    seeds = table.seed.nunique()
    for mark, at in table.groupby("mark", sort=False):
        for measure in MEASURES:
            found = {m: at[(at.modality == m) & (at.reached == 1)][measure].dropna().to_numpy() for m in CLAIMED}
            each = {m: interval(v) if len(v) else None for m, v in found.items()}
            if lacking := [f"{m} {len(v)} of {seeds}" for m, v in found.items() if len(v) < seeds]:
                word = f"missing: {', '.join(lacking)}"
            else:
                pairs = [(each[a], each[b]) for a, b in itertools.pairwise(CLAIMED)]
                up, down = all(a[2] < b[1] for a, b in pairs), any(b[2] < a[1] for a, b in pairs)
                word = "as claimed" if up else "against it" if down else "open"
            lines.append({"mark": float(mark), "measure": measure, "word": word} | each)
    found = pd.DataFrame(lines, columns=["mark", "measure", *CLAIMED, "word"])
    return found.sort_values("mark", ascending=False, kind="stable").reset_index(drop=True)


def ranks(table: pd.DataFrame, column: str, within: Sequence[str] = (), given: str | None = None) -> np.ndarray:
    """Centred ranks of ``column``, in each group of ``within``; of them what a line in those of ``given`` leaves."""
    groups = table.groupby(list(within) or np.zeros(len(table)))[column]
    r = (groups.rank() - groups.transform("count").add(1).div(2)).to_numpy(float)
    if given:
        g = ranks(table, given)
        r = r - g * (r @ g) / max(g @ g, 1e-12)
    return r


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return _rho(a @ b, a @ a, b @ b)


def _rho(both: float, a: float, b: float) -> float:
    """Of the sums of products of centred ranks."""
    return float(both / np.sqrt(max(a * b, 1e-12)))


def _drawn_rho(table: pd.DataFrame, column: str, gap: str, often: np.ndarray, groups: Sequence[np.ndarray]) -> list:
    """Spearman's correlation of two columns, of ranks in each of the ``groups`` of lines, in samples ``(R,)`` that have
    line n ``often[:, n]`` times."""
    sums = np.zeros((3, len(often)))
    for lines in groups:
        times = often[:, lines]
        a, b = (_drawn_ranks(table[name].to_numpy()[lines], times) for name in (column, gap))
        sums += [(times * a * b).sum(1), (times * a * a).sum(1), (times * b * b).sum(1)]
    return [_rho(*three) for three in sums.T]


def _drawn_ranks(values: np.ndarray, often: np.ndarray) -> np.ndarray:
    """Centred ranks of ``values``, ``(R, N)``, in samples that have each of them so ``often``: equal ones share their
    mean rank. (SciPy's rank one sample at a time: seconds, where these are one sum.)"""
    _, place = np.unique(values, return_inverse=True)
    of_value = often @ (place[:, None] == np.arange(place.max() + 1))
    through = of_value.cumsum(1)
    return (through - (of_value - 1) / 2 - (through[:, -1:] + 1) / 2)[:, place]


#: What networks have in common that differ by their seed alone.
_ALIKE = "data", "net", "modality", "mark"


def correlations(rows: pd.DataFrame, gap: str = "gap", replicates: int = 2000) -> pd.DataFrame:
    """Spearman's correlation of each measure, and of the training loss, with the generalisation gap, over all networks.

    ``rho``, its 95 % interval ``low`` to ``high`` (a bootstrap over trainings, so that one training's checkpoints stay
    together) and that of the ledger's level, ``strict_low`` to ``strict_high``; ``of <set>``: within each set of clips;
    ``in_sets``, ``in_sets_low`` and ``in_sets_high``: of ranks within the sets, so that no set's level tells, at 95 %;
    ``partial``: at fixed training loss; ``within``: inside each set, architecture, modality and mark, where networks
    differ by their seed alone, with half of its 95 % interval, ``within_half`` (1.96 / √ of the networks less the
    groups and one). The training loss may predict either way: |rho|.
    """
    table = wide(rows)
    table = table[table.reached == 1].dropna(subset=[*MEASURES, "train_loss", gap])
    table = table.drop_duplicates(["recipe", "mark"]).reset_index(drop=True)  # one I-frame network is in both trios
    training, names = pd.factorize(table.recipe)
    often = np.stack([np.bincount(at, minlength=len(names)) for (at,) in draws(len(names), replicates=replicates)])
    often = often[:, training].astype(float)
    together = [np.arange(len(table))]
    sets, lines = list(table.groupby("data").indices.values()), []
    for column in (*MEASURES, "train_loss"):
        size = abs if column == "train_loss" else float
        drawn, drawn_in_sets = ([size(rho) for rho in _drawn_rho(table, column, gap, often, groups)]
                                for groups in (together, sets))
        (low, high), (strict_low, strict_high) = ends(drawn), ends(drawn, strict_level())
        in_low, in_high = ends(drawn_in_sets)
        ways = {}, {"given": "train_loss"}, {"within": _ALIKE}, {"within": ["data"]}
        whole, partial, within, in_sets = (
            _spearman(ranks(table, column, **how), ranks(table, gap, **how)) for how in ways)
        partial = np.nan if column == "train_loss" else partial
        each = {f"of {name}": size(_spearman(ranks(of, column), ranks(of, gap))) for name, of in table.groupby("data")}
        lines.append(dict(predictor=column, rho=size(whole), low=low, high=high, strict_low=strict_low,
                          strict_high=strict_high, in_sets=size(in_sets), in_sets_low=in_low, in_sets_high=in_high,
                          partial=partial, within=within) | each)
    free = max(1, len(table) - table.groupby(list(_ALIKE)).ngroups - 1)
    return pd.DataFrame(lines).assign(within_half=1.96 / free**0.5, networks=len(table), trainings=len(names),
                                      seeds=table.seed.nunique())


def p1(rows: pd.DataFrame, data: str, net: str = "matched") -> tuple[str, str]:
    """Effect and verdict of P1: three of four measures as claimed at every mark; contradicted if three are against it
    at every mark; marks that not all three networks reach cannot support it."""
    table = hierarchy(rows, data, net)
    if table.empty:
        return "", "not decided: no networks of this set are measured"
    seeds = rows[(rows.data == data) & rows.condition.str.startswith(f"{net}:")].seed.nunique()
    tallies = {f"{mark:g}": at.word.str.split(":").str[0].value_counts()
               for mark, at in table.groupby("mark", sort=False)}
    effect = "; ".join(f"at {mark} nats " + ", ".join(f"{n} {word}" for word, n in counts.items())
                       for mark, counts in tallies.items())
    usable = {mark: counts for mark, counts in tallies.items() if "missing" not in counts}
    for word, verdict in (("as claimed", "supported"), ("against it", "contradicted")):
        if usable and all(counts.get(word, 0) >= 3 for counts in usable.values()):
            missing = [f"{mark} not {'reached by all' if mark in tallies else 'measured yet'}"
                       for mark in ("0.5", "0.1") if mark not in usable]
            where = f" (at {', '.join(usable)} nats; {', '.join(missing)})" if missing else ""
            return effect, verdict + where + provisional(seeds)
    if not usable:
        return effect, "not decided: no loss that all three networks reach under every seed"
    if any(counts.get("against it", 0) for counts in usable.values()):
        return effect, "not supported: some measures are against it"
    return effect, f"underpowered ({seeds} seeds leave the intervals overlapping)"


def p2(rows: pd.DataFrame, found: pd.DataFrame | None = None) -> tuple[str, str]:
    """Effect and verdict of P2: some measure's interval lies above that of the training loss; contradicted where all of
    them lie below. As it was registered, 95 % intervals are asked; where those of the ledger's level say another word,
    both are told. ``found``: :func:`correlations` of ``rows``, where they are known already."""
    table = (correlations(rows) if found is None else found).set_index("predictor")
    loss = table.loc["train_loss"]
    words = [f"{MEASURES[m]} {table.rho[m]:+.2f} ({table.low[m]:+.2f} to {table.high[m]:+.2f})" for m in MEASURES]
    effect = f"{'; '.join(words)}; training loss {loss.rho:.2f} ({loss.low:.2f} to {loss.high:.2f})"
    if len(sets := [column for column in table if column.startswith("of ")]) > 1:
        each = [f"{name} alone {', '.join(f'{table[name][m]:+.2f}' for m in MEASURES)}, {loss[name]:.2f}"
                for name in sets]
        ranked = [f"{table.in_sets[m]:+.2f} ({table.in_sets_low[m]:+.2f} to {table.in_sets_high[m]:+.2f})"
                  for m in MEASURES]
        effect += f"; in that order, {'; '.join(each)}; by ranks within the sets {', '.join(ranked)}"
    word, strict = (_above_the_loss(table, *names) for names in (("low", "high"), ("strict_low", "strict_high")))
    if word == strict:
        return effect, word
    return effect, f"{word} (at 95 %; at the ledger's level {strict.split(':')[0]})"


def _above_the_loss(table: pd.DataFrame, low: str, high: str) -> str:
    """P2's word by the intervals in these columns."""
    loss = table.loc["train_loss"]
    if better := [MEASURES[m] for m in MEASURES if table[low][m] > loss[high]]:
        return f"supported by {', '.join(better)}"
    if all(table[high][m] < loss[low] for m in MEASURES):
        return "contradicted"
    of = f"{loss.networks:.0f} networks of {loss.trainings:.0f} trainings"
    return f"not supported: no interval lies above the training loss's ({of})"


def ledger(rows: pd.DataFrame, data: str, found: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rows P1, for one set, and P2, for all networks together, of docs/ledger.md; ``found`` as for :func:`p2`."""
    gap = rows if found is None else found
    return pd.DataFrame([P1.judged((rows, data)), P2.judged(gap)], columns=LEDGER)


def _read_p1(evidence: tuple[pd.DataFrame, str]) -> Reading:
    rows, data = evidence
    seeds = rows[(rows.data == data) & rows.condition.str.startswith("matched:")].seed.nunique()
    return Reading(*p1(rows, data), seeds, seeds * len(CLAIMED), brief=_p1_brief(rows, data))


def _p1_brief(rows: pd.DataFrame, data: str) -> str:
    """How many measures are against the order, or else as claimed, at every mark that all three networks reach; empty
    where there is none."""
    words = [at.word.tolist() for _, at in hierarchy(rows, data).groupby("mark")
             if not at.word.str.startswith("missing").any()]
    fewest = {word: min((its.count(word) for its in words), default=0) for word in ("against it", "as claimed")}
    word = max(fewest, key=fewest.get)
    return f"{fewest[word]} of {len(MEASURES)} {word.removesuffix(' it')}" if fewest[word] else ""


def _p1_power(evidence: tuple[pd.DataFrame, str], plan: Plan, level: float, draws: int = 2000) -> float:
    """How often three of four measures would show the order at every mark where each network's is the smallest factor
    of interest times the next one's: logarithms vary between seeds as those that were measured, measures and marks
    together. P1's intervals are those of 95 %, of which many have to lie apart."""
    rows, data = evidence
    table = wide(rows)
    table = table[(table.data == data) & (table.net == "matched") & (table.reached == 1)]
    logs = np.log(table.pivot(index=["modality", "seed"], columns="mark", values=list(MEASURES)).astype(float))
    left = (logs - logs.groupby("modality").transform("mean")).dropna()
    covariance = left.to_numpy().T @ left.to_numpy() / max(1, len(left) - left.index.get_level_values(0).nunique())
    drawn = np.random.default_rng(0).multivariate_normal(
        np.zeros(len(covariance)), covariance, (draws, len(CLAIMED), plan.seeds), method="eigh")
    means = drawn.mean(2) + np.log(plan.smallest) * np.arange(len(CLAIMED))[:, None]
    halves = stdtrit(plan.seeds - 1, 0.975) * drawn.std(2, ddof=1) / plan.seeds**0.5
    apart = (means[:, :-1] + halves[:, :-1] < means[:, 1:] - halves[:, 1:]).all(1)  # (draws, measures × marks)
    return float((apart.reshape(draws, len(MEASURES), -1).sum(1) >= 3).all(1).mean())


def _read_p2(evidence: pd.DataFrame) -> Reading:
    """Of rows, or of the :func:`correlations` of some."""
    found = correlations(evidence) if "metric" in evidence else evidence
    sets = tuple(column.removeprefix("of ") for column in found if column.startswith("of "))
    table = found.set_index("predictor")
    measures, loss = table.loc[list(MEASURES)], table.loc["train_loss"]
    better, below = int((measures.low > loss.high).sum()), int((measures.high < loss.low).sum())
    brief = f"{better or below} of {len(measures)} {'better' if better else 'against'}" if better or below else ""
    return Reading(*p2(evidence, found), int(found.seeds.max()), int(found.trainings.max()), sets=sets, brief=brief)


def _p2_power(rows: pd.DataFrame, plan: Plan, level: float) -> float:
    """How often the best measure's interval would lie above the training loss's where it is the smallest difference of
    interest better: both as wide as before, by the root of the trainings."""
    table = correlations(rows)
    halves = (table.high - table.low) / 2 * np.sqrt(table.trainings / plan.units)
    loss, best = halves[table.predictor == "train_loss"].min(), halves[table.predictor != "train_loss"].min()
    return float(ndtr((plan.smallest - loss - best) / (np.hypot(loss, best) / 1.96)))


def _rows(confirming: bool) -> pd.DataFrame:
    """The committed rows, or :func:`confirming_rows` of them. Raises ``FileNotFoundError`` where there are none."""
    rows = load_rows("flatness")
    if not confirming:
        return rows
    if (found := confirming_rows(rows)).empty:
        raise FileNotFoundError(f"{paths.figures_dir() / 'flatness.csv'} has no seeds from {FIRST} on, which confirm: "
                                "run `kdlab study flatness`")
    return found


def confirming_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of confirming seeds."""
    return rows[pd.to_numeric(rows.seed, errors="coerce") >= FIRST]


def unread_gap(rows: pd.DataFrame) -> pd.DataFrame:
    """The ``rows`` with the gap on clips that nobody had read as their gap."""
    return rows[rows.metric != "gap"].assign(metric=lambda t: t.metric.replace("gap_fresh", "gap"))


#: The first seed of the networks that confirm P2: none of P1's, whose gaps were seen.
AGAIN = FIRST + 10


P1 = Claim("P1", "the I-frame's minimum is flatter than the residual's, that than motion's", "matched:iframe",
           ("matched:residual", "matched:motion"), (), "matched networks at equal training loss", metric="flatness",
           rule="three of four measures in that order, neighbours' intervals over seeds apart, at every mark",
           plan=Plan("night_context", "night_context", 30, "trainings", smallest=3, unit="times the sharpness"),
           statistic=_read_p1, expected=_p1_power, evidence=lambda data, confirming: (_rows(confirming), data))
P2 = Claim("P2", "flatter minima generalise better", "matched:iframe", ("matched:residual", "matched:motion"), (),
           "rank correlation with the accuracy gap", metric="Spearman's rho",
           rule="a measure's bootstrap interval lies above that of the training loss as predictor",
           plan=Plan("night_context", "night_context", 80, "trainings", first=AGAIN, smallest=0.3, unit="rho"),
           statistic=_read_p2, expected=_p2_power, before="flatness",
           evidence=lambda data, confirming: unread_gap(load_rows("flatness_gap")) if confirming else _rows(False))
