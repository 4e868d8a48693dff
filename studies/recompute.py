"""The numbers of the pages of results once more, and README's, from the committed files, with numpy, scipy and pandas.

    python studies/recompute.py            # prints them, question by question
    python studies/recompute.py --check    # and says which the pages lack; exit code 1 if any

It shares no code with kdlab, so that a fault of kdlab's statistics or of its page shows here.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import log_softmax, softmax

ROOT = Path(__file__).resolve().parents[1]
#: What README cites of the second edition, whose files are at commit 94652ec1.
EARLIER = "+15.1 ± 9.3", "+6.5 ± 9.5"
#: Question → students whose agreement the log has; exits are compared with their own networks' finals.
BESIDE = {
    "3": ("ten labels alone", "DL-KDD with ten labels", "same-light KD with ten labels"),
    "7": ("labels", "own final", "PKD", "labels + PKD", "labels + own final"),
}


def tables(folder: Path) -> dict[str, tuple[dict, pd.DataFrame]]:
    """Question → what was written down, and a row for each world; without questions that lack a world."""
    asked = json.loads((folder / "questions.json").read_text("utf-8"))
    found = {}
    for name, question in asked.items():
        if (file := folder / f"{question['study']}.csv").exists():
            rows = by_world(file)
            if set(question["worlds"]) <= set(rows.index):
                found[name] = question, rows.loc[question["worlds"]].assign(zero=0.0)
    return found


def by_world(file: Path) -> pd.DataFrame:
    """What was measured in a study: a row for each world, a column for each condition."""
    return pd.read_csv(file).pivot(index="world", columns="condition", values="value")


def half_width(differences: pd.Series, clips: float) -> float:
    """Half of Student's 95 % interval; worlds differ by a test clip at least, where differences are whole clips."""
    n, spread = len(differences), np.std(differences, ddof=1)
    counts = differences * clips / 100
    if np.isfinite(clips) and np.allclose(counts, np.round(counts)):
        spread = max(spread, 100 / clips)
    return stats.t.ppf(0.975, n - 1) * spread / np.sqrt(n)


def minus(text: str) -> str:
    return re.sub(r"-(?=\d)", "−", text)


def gain(differences: pd.Series, clips: float, digits: int = 1) -> str:
    """The mean, and half of its interval."""
    half = half_width(differences, clips)
    return minus(f"{differences.mean():+.{digits}f} ± {half:.{digits}f}")


def cells(differences: pd.Series, clips: float) -> str:
    """The cells of a row of the page."""
    wins = (differences > 0).sum()
    return minus(f"{gain(differences, clips)} | {differences.median():+.1f} | {wins}")


def slope(rows: pd.DataFrame, doses: dict[str, str], baseline: str) -> str:
    """The mean over worlds of the least-squares slope of students' gains on their teachers' leads."""
    each = [
        stats.linregress(
            [row[teacher] - row[baseline] for teacher in doses.values()],
            [row[student] - row[baseline] for student in doses],
        ).slope
        for _, row in rows.iterrows()
    ]
    return gain(pd.Series(each), np.inf, 2)


def fidelity(folder: Path, study: str, rows: pd.DataFrame, student: str, teacher: str) -> str:
    """Agreement, mistakes shared, NLL and ECE on test clips, means over worlds; in brackets, on training clips."""
    sums = []
    for world in rows.index:
        arrays = np.load(folder / f"{study}-{world}.npz")
        z, t = (arrays[f"logits/{name}"][0].astype(float) for name in (student, teacher))
        labels = arrays["labels"].astype(int)
        if z.ndim == 3:  # exits, each beside the final of its network
            t = t[:, 3::4].repeat(4, 1)
            z, t = (np.delete(a, [3, 7, 11], 1).reshape(-1, a.shape[2]) for a in (z, t))
            labels = labels.repeat(9)
        alike, wrong = z.argmax(1) == t.argmax(1), t.argmax(1) != labels
        p = softmax(z, 1)
        sure, right = p.max(1), p.argmax(1) == labels
        bins = np.minimum((15 * sure).astype(int), 14)
        ece = sum(abs((sure - right)[bins == k].sum()) for k in range(15)) / len(labels)
        nll = -log_softmax(z, 1)[range(len(labels)), labels].mean()
        shared = alike[wrong].mean() if wrong.any() else np.nan
        sums.append((100 * alike.mean(), 100 * shared, nll, 100 * ece))
    a, b, c, d = np.nanmean(sums, 0)
    agrees, loss = f"{student}: training agreement", f"{student}: training loss"
    e = f" ({rows[agrees].mean():.1f})" if agrees in rows else ""
    f = f" ({rows[loss].mean():.2f})" if loss in rows else ""
    return f"{a:.1f}{e} | {b:.1f} | {c:.2f}{f} | {d:.1f}"


def clips_of(folder: Path, question: dict) -> float:
    """The test clips of a world; infinite where no answers to clips are kept."""
    file = folder / f"{question['study']}-{question['worlds'][0]}.npz"
    return len(np.load(file)["ids"]) if file.exists() else np.inf


def numbers(folder: Path) -> list[tuple[str, str]]:
    """(what it is, the number as the page has it), of all answered questions."""
    found = []
    for name, (question, rows) in tables(folder).items():
        study = question["study"]
        if "method" not in question:  # question 4 is measured, and has no answer
            continue
        clips = clips_of(folder, question)
        method, baseline = question["method"], question["baseline"]
        pairs = [(f"− {other}", method, other) for other in (baseline, *question["rivals"])]
        if question["teacher"]:
            pairs.append(("the teacher's lead", question["teacher"], baseline))
        pairs += [row for row in question["beside"] if row[1] != row[2]]
        for text, one, other in pairs:
            found.append((f"{name}: {text}", cells(rows[one] - rows[other], clips)))
        at = by_steps(folder, question, rows)
        for share in ("1/4", "1/2", "1", "2") if f"{baseline}, ×2" in at else ():
            end = f", ×{share}" if share != "1" else ""
            more = gain(at[method + end] - at[baseline + end], clips)
            found.append((f"{name}: gain by steps", f"×{share} {more}"))
        if baseline != "zero":
            found += [
                (f"{name}: mean of {c}", minus(f"{c} {rows[c].mean():.1f}"))
                for c in (baseline, method)
            ]
        if name in ("1", "2", "5"):
            doses, taught = question["doses"], question["taught"]
            found.append((f"{name}: slope of gain on lead", slope(rows, doses, baseline)))
            for student, teacher in ({baseline: next(iter(taught.values()))} | taught).items():
                text = fidelity(folder, study, rows, student, teacher)
                found.append((f"{name}: {student} and {teacher}", f"{student} | {text}"))
    return found


def of_log(folder: Path) -> list[tuple[str, str]]:
    """(what it is, numbers) of what the log has beside the page: fidelity in questions 3 and 7, and ten networks of a
    modality beside question 10."""
    found, asked = [], tables(folder)
    for name, students in BESIDE.items():
        question, rows = asked[name]
        for student in students:
            teacher = question["teacher"] if name == "3" else student
            text = fidelity(folder, question["study"], rows, student, teacher)
            found.append((f"{name}: {student}", f"{student} | {text}"))
    rows = pd.concat(map(pd.read_csv, sorted(folder.glob("ten_networks-*.csv.gz"))))
    rows["sharpness"] = rows[rows.columns[-3:]].mean(axis=1)
    each = rows.groupby(["world", rows.network.str.split(",").str[0]])[["sharpness", "accuracy"]]
    ranks = each.corr("spearman").sharpness.drop("sharpness", level=2).groupby("world").mean()
    return [*found, ("10: flatness and accuracy", gain(-ranks, np.inf, 2))]


def by_steps(folder: Path, question: dict, rows: pd.DataFrame) -> pd.DataFrame:
    """The ``rows`` of the worlds that were drawn at all budgets, with other budgets in columns such as ``GenKD, ×2``."""
    if (later := folder / f"{question['study']}_steps.csv").exists():
        more = by_world(later)
        rows = rows.join(more[more.columns.difference(rows.columns)])
        rows[f"{question['baseline']}, ×2"] = rows["gated twice the steps"]
    return rows.loc[question["curves"]["worlds"]]


def of_baselines(folder: Path) -> list[tuple[str, str]]:
    """(what it is, mean and interval) of each method over its baseline."""
    found = []
    for name, (question, rows) in tables(folder).items():
        if "method" in question:
            differences = rows[question["method"]] - rows[question["baseline"]]
            effect = gain(differences, clips_of(folder, question))
            found.append((f"{name}: over {question['baseline']}", effect))
    return found


def of_bench(folder: Path) -> list[tuple[str, str]]:
    """(what it is, mean and interval) of each condition of the bench over labels alone and both controls."""
    rows = by_world(folder / "bench.csv")
    clips, pairs = clips_of(folder, {"study": "bench", "worlds": rows.index}), []
    for one in rows.columns[~rows.columns.str.contains("×")]:
        gated = one.startswith("GenKD")
        plain = "gated labels alone" if gated else "labels alone"
        smoothing = "" if gated else f"matched smoothing, {one.split(', ')[-1]}"
        pairs += [(one, other) for other in (plain, "labels alone", "twice the steps", smoothing)]
    for one in ("KD, wide", "DKD, wide", "SimKD, wide", "matched smoothing, wide"):
        pairs += [(one + end, f"labels alone{end}") for end in (", ×1/4", ", ×1/2", ", ×2")]
    found = []
    for one, other in pairs:
        if other in rows and other != one:
            found.append((f"{one}, over {other}", gain(rows[one] - rows[other], clips)))
    return found


def of_real_clips() -> list[tuple[str, str]]:
    """(what it is, mean and interval) of each difference on real clips, from the ends that its study wrote."""
    found = []
    for file in sorted((ROOT / "figures" / "real").glob("*_effects.csv")):
        for row in pd.read_csv(file).dropna(subset="over").itertuples():
            effect = f"{row.difference:+.1f} ± {(row.high - row.low) / 2:.1f}"
            found.append((f"{file.stem}: {row.condition}, over {row.over}", minus(effect)))
    return found


def main() -> int:
    evidence = ROOT / "figures" / "evidence"
    found = {
        "docs/results.md": numbers(evidence),
        "docs/real-results.md": of_real_clips(),
        "docs/bench.md": of_bench(evidence),
        "README.md": of_baselines(evidence),
        "docs/log.md": of_log(evidence),
    }
    _, rows = tables(evidence)["5"]
    plain = cells(rows["GenKD"] - rows["labels alone"], np.inf)
    known, faults = f"{plain} {EARLIER} {found}", 0
    for where, pairs in found.items():
        text = (ROOT / where).read_text("utf-8")
        for what, number in pairs:
            # a picture of real clips has its differences
            drawn = f"{what.split('_effects')[0]}.png"
            lost = "--check" in sys.argv and number not in text and drawn not in text
            faults += lost
            print(f"{where}, {what}: {number}{'   IS NOT THERE' if lost else ''}")
        for number in sorted(set(re.findall(r"[+−]\d+\.\d+ ± \d+\.\d+", text))):
            if number not in known and where != "docs/log.md":
                faults += 1
                print(f"{where}: {number} IS NOT RECOMPUTED")
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
