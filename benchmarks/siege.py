"""kdlab attacked from outside, by mutations of its own making; counts what must be zero.

    python benchmarks/siege.py --seed 1                      # all parts; benchmarks/siege.json keeps the table
    python benchmarks/siege.py --seed 1 --part videos --count 30
    python benchmarks/siege.py --seed 1 --only videos:17     # one attack again, in words

Attacks work in a temporary folder, on a copy of the clone; each is a process with limits of time and memory. Results
are kept one a line in --out, by (seed, part, index): the same call goes on where an interrupted one stopped. What is
counted, and by which rules, stands in siege/__init__.py. The exit code is 1 when any count is not zero.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from siege import cluster, folders, kills, tables, values, videos, videos_damaged, videos_sound
from siege.attack import COUNTS, Attack, differences, run_forked, state
from siege.camp import Treasure, environment, pitch, stock, warm_up

#: Part → its kinds of attack, attacks of a whole siege, and seconds that one may take.
PARTS = {
    "videos": (videos_sound.KINDS + videos_damaged.KINDS, videos.SIZE, 20),
    "tables": (tables.KINDS, tables.SIZE, 20),
    "kills": (kills.KINDS, kills.SIZE, 150),
    "runs": (folders.KINDS, folders.SIZE, 40),
    "values": (values.KINDS, values.SIZE, 40),
    "cluster": (cluster.KINDS, cluster.SIZE, 240),
}


def main() -> None:
    given = _arguments()
    out = given.out or Path(tempfile.gettempdir()) / f"siege-{_commit(given.clone)}"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="siege-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        before = state(given.clone / "figures") | state(given.clone / "pretrained")
        clone = pitch(place, given.clone)
        warm_up()
        treasure = Treasure(given.clone, clone)
        camp = Attack(place, clone, place / "camp", np.random.default_rng(0), place / "camp.jsonl")
        run_forked(stock, camp, 300, environment(place / "home", clone))
        if not (place / "camp" / "bits.json").is_file():
            sys.exit(f"the camp could not be made: {(place / 'camp.jsonl').read_text()}")
        if given.only:
            part, index = given.only.split(":")
            entries = [_attacked(given.seed, part, int(index), place, clone, treasure)]
        else:
            entries = _siege(given, out, place, clone, treasure)
        if differences(before, state(given.clone / "figures") | state(given.clone / "pretrained")):
            print("TOUCHED: figures/ or pretrained/ of the attacked clone itself have changed meanwhile")
    _tell(entries, given)
    if given.json:
        _save(entries, given)
    sys.exit(1 if any(entry["found"] for entry in entries) else 0)


def kind_of(part: str, index: int) -> Callable[[Attack], None]:
    """The kind of attack number ``index`` of a part: all kinds in turn."""
    kinds = PARTS[part][0]
    return kinds[index % len(kinds)]


def indices(part: str, count: int | None, kind: str | None = None) -> list[int]:
    """The numbers of ``count`` attacks, spread over those of a whole siege and over its kinds; or all. Of one ``kind``
    the first."""
    kinds, size, _ = PARTS[part]
    if kind:
        return [index for index in range(size) if kind_of(part, index).__name__ == kind][:count]
    if count is None or count == size:
        return list(range(size))
    step = next(step for step in range(max(1, size // count), 0, -1) if np.gcd(step, len(kinds)) == 1)
    return [step * n for n in range(count)]


def _siege(given: argparse.Namespace, out: Path, place: Path, clone: Path, treasure: Treasure) -> list[dict]:
    kept, entries = out / f"seed{given.seed}.jsonl", []
    lines = kept.read_text("utf-8").splitlines() if kept.is_file() else []
    known = {(entry["part"], entry["index"]): entry for entry in map(json.loads, lines)}
    for part in [given.part] if given.part else PARTS:
        for index in indices(part, given.count, given.kind):
            entry = known.get((part, index))
            if entry is None or entry["kind"] != kind_of(part, index).__name__:
                entry = _attacked(given.seed, part, index, place, clone, treasure)
                with open(kept, "a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
            entries.append(entry)
    return entries


def _attacked(seed: int, part: str, index: int, place: Path, clone: Path, treasure: Treasure) -> dict:
    """One attack in a folder of its own, and what it found."""
    kind, root, log = kind_of(part, index), place / "field", place / "found.jsonl"
    shutil.rmtree(root, ignore_errors=True)
    log.unlink(missing_ok=True)
    root.mkdir()
    log.touch()
    rng = np.random.default_rng([seed, zlib.crc32(part.encode()), index])
    field = Attack(root, clone, place / "camp", rng, log)
    used = os.times()
    run_forked(kind, field, PARTS[part][2], environment(root, clone))
    for note in [note for note in _notes(log) if "keep" in note]:
        if changed := differences(note["state"], state(Path(note["keep"]))):
            field.found("touched", f"{note['keep']}: {', '.join(changed[:4])}")
    treasure.check(field)
    found = [(note["count"], note["what"].replace(str(root), "…")) for note in _notes(log) if "count" in note]
    left = [note["left"].replace(str(root), "…") for note in _notes(log) if "left" in note]
    for count, what in found:
        print(f"{count:9} {kind.__name__}: {what}\n          "
              f"python benchmarks/siege.py --seed {seed} --only {part}:{index}", flush=True)
    seconds = sum(os.times()[2:4]) - sum(used[2:4])
    return {"part": part, "index": index, "kind": kind.__name__, "seconds": round(seconds, 2), "found": found,
            "left": left}


def _notes(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


def _tell(entries: list[dict], given: argparse.Namespace) -> None:
    """One row a kind: attacks, those that found something by count, and what was left over."""
    heads = "".join(f"{name:>10}" for name in COUNTS)
    print(f"\n{'seed ' + str(given.seed):31}{'attacks':>8}{heads}  left  CPU s")
    for row in rows(entries):
        print(f"{row['part'] + ' ' + row['kind']:31}{row['attacks']:8}" + "".join(f"{row[name]:10}" for name in COUNTS)
              + f"{row['left']:6}{row['seconds']:7.0f}")


def rows(entries: list[dict]) -> list[dict]:
    """The table: kinds in their order, then each part's sum and the total. An attack counts once in each column."""
    table = []
    for part in dict.fromkeys(entry["part"] for entry in entries):
        its = [entry for entry in entries if entry["part"] == part]
        for kind in dict.fromkeys(kind.__name__ for kind in PARTS[part][0]):
            if some := [entry for entry in its if entry["kind"] == kind]:
                table.append(_row(part, kind, some))
        table.append(_row(part, "(all)", its))
    return [*table, _row("all", "", entries)]


def _row(part: str, kind: str, entries: list[dict]) -> dict:
    counts = Counter(count for entry in entries for count in {count for count, _ in entry["found"]})
    return {"part": part, "kind": kind, "attacks": len(entries), **{name: counts[name] for name in COUNTS},
            "left": sum(bool(entry["left"]) for entry in entries),
            "seconds": round(sum(entry["seconds"] for entry in entries), 1)}


def _save(entries: list[dict], given: argparse.Namespace) -> None:
    import av
    import torch

    about = {"seed": given.seed, "commit": _commit(given.clone), "python": platform.python_version(),
             "av": av.__version__, "torch": torch.__version__, "machine": platform.machine()}
    known = json.loads(given.json.read_text()) if given.json.is_file() else {}
    known[f"{given.label or about['commit']}, seed {given.seed}"] = {"environment": about, "rows": rows(entries)}
    given.json.write_text(json.dumps(known, indent=1) + "\n")


def _commit(clone: Path) -> str:
    import subprocess

    told = subprocess.run(["git", "-C", str(clone), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return told.stdout.strip() or "unknown"


def _arguments() -> argparse.Namespace:
    about = "\n".join(f"{part:7} {size:4} attacks of {len(kinds)} kinds: {', '.join(kind.__name__ for kind in kinds)}"
                      for part, (kinds, size, _) in PARTS.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=about,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", choices=PARTS, help="default: all")
    parser.add_argument("--count", type=int, help="attacks of each part; default: a whole siege")
    parser.add_argument("--kind", help="attacks of this kind only")
    parser.add_argument("--only", metavar="PART:INDEX", help="one attack")
    parser.add_argument("--out", type=Path, help="folder of the results; default: a temporary one by the commit")
    parser.add_argument("--clone", type=Path, default=Path(__file__).resolve().parent.parent,
                        help="the folder whose kdlab is attacked; default: this one")
    parser.add_argument("--json", type=Path, help="keep the table in this file")
    parser.add_argument("--label", help="its name there; default: the commit")
    return parser.parse_args()


if __name__ == "__main__":
    main()
