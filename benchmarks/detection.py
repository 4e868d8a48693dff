"""Soft-NMS and mAP at 14 thresholds of 1,000 videos with 200 predictions each, beside the plain loops.

    python benchmarks/detection.py       # prints a table, writes benchmarks/detection.json

CPU seconds, one thread, least of five. The plain loops are the brute-force evaluator of the tests, on 50 of the videos
and scaled up. "1 class" is the hardest case: 200 predictions compete in every video.
"""

import importlib.util
import json
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd

from kdlab.measure.detection import TIOUS, evaluate, soft_nms

VIDEOS, PREDICTIONS, TRUTHS, REPEATS, FEW = 1000, 200, 15, 5, 50
TESTS = Path(__file__).parent.parent / "tests/measure/test_detection.py"


def case(classes: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random truths of 2 to 10 s in 200 s; predictions scatter around them."""
    rng = np.random.default_rng(classes)
    video = np.repeat(np.arange(VIDEOS), TRUTHS)
    start = rng.uniform(0, 190, len(video))
    truth = pd.DataFrame(
        {
            "video": video,
            "label": rng.integers(0, classes, len(video)),
            "start": start,
            "end": start + rng.uniform(2, 10, len(video)),
        }
    )
    of = rng.integers(0, TRUTHS, VIDEOS * PREDICTIONS) + TRUTHS * np.repeat(
        np.arange(VIDEOS), PREDICTIONS
    )
    found = truth.loc[of].reset_index(drop=True)
    length = (found["end"] - found["start"]) * rng.uniform(0.5, 2, len(of))
    found["start"] += rng.normal(0, 2, len(of))
    found["label"] = np.where(
        rng.random(len(of)) < 0.7, found["label"], rng.integers(0, classes, len(of))
    )
    return truth, found.assign(end=found["start"] + length, score=rng.uniform(0.01, 1, len(of)))


def seconds(work) -> float:
    times = []
    for _ in range(REPEATS):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return round(min(times), 3)


def main() -> None:
    spec = importlib.util.spec_from_file_location("brute", TESTS)
    spec.loader.exec_module(brute := importlib.util.module_from_spec(spec))
    rows = {}
    for classes in (20, 1):
        truth, found = case(classes)
        some = truth[truth["video"] < FEW], found[found["video"] < FEW]
        begun = time.process_time()
        brute.brute_force(*some, classes, TIOUS)
        plain = (time.process_time() - begun) * VIDEOS / FEW
        rows[f"{classes} classes"] = {
            "soft-NMS": seconds(lambda found=found: soft_nms(found)),
            "mAP": seconds(lambda t=truth, f=found, k=classes: evaluate(t, f, k).mean_ap()),
            "mAP, plain loops": round(plain, 1),
        }
    for name, row in rows.items():
        print(f"{name:12}", *(f"{what} {value:7.2f} s" for what, value in row.items()), sep="   ")
    about = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "videos": VIDEOS,
        "predictions per video": PREDICTIONS,
        "truths per video": TRUTHS,
        "thresholds": len(TIOUS),
        "unit": "CPU s",
    }
    Path(__file__).with_suffix(".json").write_text(
        json.dumps({"rows": rows, "environment": about}, indent=1)
    )


if __name__ == "__main__":
    main()
