"""Pictures of notebooks 01 and 01b: enhancers side by side, what clips and variety do, what real dark clips say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlab.show.plots import PAGE, image, key, levels
from kdlab.show.plots import rows as in_rows

_SCORES = {"psnr": "PSNR {:.1f} dB", "ssim": "SSIM {:.2f}", "flicker": "flicker {:.1f}"}


def wall(pictures: dict[str, np.ndarray], scores: pd.DataFrame, columns: int = 3) -> Figure:
    """Frames ``uint8 (H, W, 3)`` by name; under each what its row of ``scores`` has of PSNR, SSIM and flicker."""
    lines = -(-len(pictures) // columns)
    h, w = next(iter(pictures.values())).shape[:2]
    fig, axes = plt.subplots(lines, columns, figsize=(1.9 * columns, (1.9 * h / w + 0.6) * lines), squeeze=False)
    for ax in axes.flat[len(pictures):]:
        ax.set_visible(False)
    for ax, (name, frame) in zip(axes.flat, pictures.items(), strict=False):
        image(ax, frame, name, "medium")
        of = scores.loc[name] if name in scores.index else {}
        words = [text.format(of[s]) for s, text in _SCORES.items() if s in of]
        ax.set_xlabel("\n".join([", ".join(words[:2]), *words[2:]]), fontsize="small")
    return fig


def accuracy_curves(panels: dict[str, dict[float, np.ndarray]], chance: float) -> Figure:
    """Test accuracy of every seed (dots, %) and their mean (line): x label of a panel → value on it → accuracies.
    Where all values lie above 1 the axis is logarithmic."""
    fig, axes = plt.subplots(1, len(panels), figsize=(min(3.6 * len(panels), PAGE), 3), squeeze=False, sharey=True)
    for ax, (title, found) in zip(axes[0], panels.items(), strict=True):
        for value, accuracies in found.items():
            ax.plot(np.full(len(accuracies), value), accuracies, "o", color="C0", alpha=0.5, markersize=4)
        ax.plot(list(found), [np.mean(a) for a in found.values()], color="C0", label="mean of the seeds")
        if min(found, default=0) > 1:
            ax.set_xscale("log", base=2)
        ax.set_xticks(list(found), [f"{value:g}" for value in found])
        ax.set_xlabel(title)
    everything = np.concatenate([a for found in panels.values() for a in found.values()])
    far = [levels(ax, {"chance": chance}, everything, axis="y") for ax in axes[0]][0]
    axes[0, 0].set_ylabel(f"test accuracy (%){far}")
    key(fig)
    return fig


def transfer(rows: pd.DataFrame, titles: dict[str, str]) -> Figure:
    """Mean recall on real dark clips with its 95 % interval, a panel a fold: rows of ``figures/transfer.csv``."""
    folds, shown = sorted(set(rows.fold)), [c for c in titles if c in set(rows.condition)]
    size = min(3 * len(folds) + 1.6, PAGE), 0.28 * len(shown) + 1.4
    fig, axes = plt.subplots(1, len(folds), figsize=size, squeeze=False, sharey=True)
    for ax, fold in zip(axes[0], folds, strict=True):
        values = rows[rows.fold == fold].pivot_table("value", "condition", "metric")
        mean, low, high = (values.loc[shown, f"mean_recall{end}"].to_numpy() for end in ("", "_low", "_high"))
        ax.errorbar(mean, range(len(shown)), xerr=[mean - low, high - mean], fmt="D", color="C0", markersize=5)
        chance = 100 / sum(metric.startswith("recall:") for metric in values.columns)
        ax.axvline(chance, color="grey", linestyle=":", label="chance")
        ax.axvline(values.accuracy["majority"], color="grey", linestyle="--", label="best constant answer (accuracy)")
        in_rows(ax, [titles[c] for c in shown], title=f"tested on fold {fold}")
        ax.set_xlabel("mean recall over the classes (%)\nbar: 95 % over seeds and clips")
    key(fig)
    return fig
