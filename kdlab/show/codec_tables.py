"""Numbers of notebook 06: what a codec keeps of clips of `night`, bright and dark, and of other files beside them.

``twins`` are pairs of records, the bright clip and the dark one, both MPEG-4 part 2. Tables are pandas', a row what is
compared, shares in percent unless a text says otherwise.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.compressed import scan, survey
from kdlab.clips.decode import read_frames
from kdlab.measure.paired import Effect, effect
from kdlab.night import Camera, Night, darken, night_catalogue, truth
from kdlab.night.codec import write_mpeg4
from kdlab.show.codec_plots import (
    band,
    between,
    frame_table,
    input_counts,
    joint_error,
    on_actor,
    previous_motion,
    quantised,
)

Twins = Sequence[tuple[ClipRecord, ClipRecord]]

LIGHTS = ("bright", "dark")
#: Of :func:`kdlab.show.codec_plots.frame_table`, in words.
DIFFERENCES = {"difference": "plain difference to the I-frame", "residual": "accumulated residual",
               "own": "residual of one step"}
#: Of :func:`kdlab.show.codec_plots.on_actor`, in words.
ASKED = {"moved": "pixels that carry a vector", "background": "… of the background", "actor": "… of the actor",
         "on_actor": "moved pixels that are the actor's"}


def night_twins(night: Night, every: int = 4) -> tuple[list[tuple[ClipRecord, ClipRecord]], np.ndarray]:
    """Every so-manieth clip of ``night`` in both lights, and the groups ``(N,)`` that are drawn again together: one
    actor in one place."""
    bright, dark = (night_catalogue(night, stream=stream).records for stream in ("bright", "dark_mpeg4"))
    some = list(zip(bright, dark, strict=True))[::every]
    return some, np.array([pair[0].group for pair in some])


def frames_of(paths: Iterable[Path], groups: Sequence) -> pd.DataFrame:
    """:func:`kdlab.show.codec_plots.frame_table` of several files: ``clip`` counts them, ``group`` is each one's, and
    ``pixels`` the area of its pictures."""
    tables = []
    for n, (path, group) in enumerate(zip(paths, groups, strict=True)):
        info = scan(path).info
        tables.append(frame_table(path).assign(clip=n, group=group, pixels=info.width * info.height))
    return pd.concat(tables, ignore_index=True)


def some_files(records: Iterable[ClipRecord], most: int = 60) -> dict[Path, str]:
    """File → its group: each once, also where many actions of it are listed, and at most so many, evenly chosen."""
    files = {record.path: record.group for record in records}
    step = -(-len(files) // most) or 1
    return dict(list(files.items())[::step])


def bytes_by_type(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Where the bytes go: a row for each name and type of frame."""
    rows = []
    for name, its in frames.items():
        for kind, some in its.groupby("kind"):
            rows.append((name, kind, len(some), some.bytes.mean(), 8 * (some.bytes / some.pixels).mean(),
                         100 * len(some) / len(its), 100 * some.bytes.sum() / its.bytes.sum()))
    return pd.DataFrame(rows, columns=["light", "type", "frames", "bytes each", "bits per pixel", "% of frames",
                                       "% of bytes"])


def at_positions(frames: pd.DataFrame, what: str) -> np.ndarray:
    """The root of a column of energies, in grey levels: clips by the positions in a group that every clip has."""
    return np.sqrt(frames.groupby(["clip", "position"])[what].mean().unstack().dropna(axis=1).to_numpy())


def groups_of(frames: pd.DataFrame) -> np.ndarray:
    """The group of each clip, ``(N,)``, in the order of :func:`at_positions`."""
    return frames.groupby("clip").group.first().to_numpy()


def drift(frames: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, np.ndarray]]:
    """What :func:`kdlab.show.codec_plots.along_gop` draws: name → each of :data:`DIFFERENCES` → mean and 95 % ends
    over groups, root mean squares in grey levels."""
    return {f"{name}, {its['clip'].nunique()} clips": {
        title: band(at_positions(its, what), groups_of(its)) for what, title in DIFFERENCES.items()}
        for name, its in frames.items()}


def left_over(frames: Mapping[str, pd.DataFrame], places: Sequence[int] = (1, 5, 11)) -> pd.DataFrame:
    """How much of the plain difference copying leaves: the ratio of energies over all P-frames, in how many clips it is
    above 1, and the ratio of root mean squares at ``places`` in the group, with its 95 % interval over groups."""
    rows = []
    for name, its in frames.items():
        energy = its.groupby("position")[["residual", "difference"]].mean().sum()
        left, plain = (at_positions(its, what)[:, 1:] for what in ("residual", "difference"))
        more = (np.square(left).sum(1) > np.square(plain).sum(1)).sum()
        moving = (plain > 0).all(1)  # a clip of yours may stand still
        row = {"light": name, "energy left": energy.residual / energy.difference,
               "clips above 1": f"{more} of {len(left)}"}
        ratio = left[moving] / plain[moving]
        for place in (p for p in places if p <= ratio.shape[1]):
            mean, low, high = band(ratio[:, [place - 1]], groups_of(its)[moving])[:, 0]
            row[f"ratio at position {place}"] = f"{mean:.2f} ({low:.2f} to {high:.2f})"
        rows.append(row)
    return pd.DataFrame(rows)


def eight_bits(counts: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """:func:`kdlab.show.codec_plots.quantised` of each name's ``input_counts``."""
    rows = [(name, what, *quantised(its, what).values()) for name, found in counts.items()
            for what, its in found.items()]
    return pd.DataFrame(rows, columns=["light", "input", "zero (%)", "cut off (%)", "entropy (bits)"])


def counts_of(twins: Twins) -> dict[str, dict[str, np.ndarray]]:
    """:func:`kdlab.show.codec_plots.input_counts` in either light."""
    return {light: input_counts(pair[k].path for pair in twins) for k, light in enumerate(LIGHTS)}


# --- motion vectors against the truth --------------------------------------------------------------------------


def judged(path: Path, of: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Where a file's vectors are, and how far from the true steps of the joints: ``on_actor`` and ``joint_error`` of
    :mod:`kdlab.show.codec_plots`, and ``bytes`` a frame. ``of`` is what ``kdlab.night.truth`` tells of its clip."""
    numbers, motion = previous_motion(path)
    found = on_actor(motion, of["masks"][numbers]) | joint_error(motion, numbers, of["joints"])
    return found | {"bytes": scan(path).sizes.mean()}


def vectors(twins: Twins) -> dict[str, pd.DataFrame]:
    """:func:`judged` of each clip in either light."""
    truths = [truth(bright) for bright, _ in twins]
    return {light: pd.DataFrame([judged(pair[k].path, of) for pair, of in zip(twins, truths, strict=True)])
            for k, light in enumerate(LIGHTS)}


def shares_apart(one: pd.DataFrame, other: pd.DataFrame, groups: np.ndarray,
                 asked: Mapping[str, str] = ASKED) -> dict[str, Effect]:
    """Paired differences of two tables of :func:`judged`, ``one`` minus the ``other``, in points: title → effect.
    Clips in which nothing moves have no share of what moves, and are left out there."""
    found = {}
    for what, title in asked.items():
        a, b = one[what].to_numpy(), other[what].to_numpy()
        some = np.isfinite(a) & np.isfinite(b)
        found[title] = effect(a[some][None], b[some][None], groups[some])
    return found


def joints_apart(one: pd.DataFrame, other: pd.DataFrame, groups: np.ndarray) -> np.ndarray:
    """``one`` minus the ``other`` of the joints' mean error: mean and 95 % ends over groups, ``(3,)``, in pixels."""
    gap = one.error.to_numpy() - other.error.to_numpy()  # row by row, however the tables number their rows
    some = np.isfinite(gap)
    return band(gap[some][:, None], groups[some])[:, 0]


def marks(twins: Twins) -> dict[str, float]:
    """What the actor's share of moved pixels is to be held against, in percent: ``by chance``, the actor's share of the
    picture; ``by blocks``, what a field of 16 × 16 blocks could reach that moves those alone which touch the actor."""
    masks = [truth(bright)["masks"][1:] for bright, _ in twins]
    blocks = [m.reshape(len(m), m.shape[1] // 16, 16, m.shape[2] // 16, 16).any((2, 4)) for m in masks]
    chance, touched = (100 * np.mean([of.mean() for of in each]) for each in (masks, blocks))
    return {"by chance": float(chance), "by blocks": float(100 * chance / touched)}


def apart_where_both_move(twins: Twins) -> pd.DataFrame:
    """:func:`kdlab.show.codec_plots.between` of the two fields of each clip."""
    return pd.DataFrame([between(*(previous_motion(record.path)[1] for record in pair)) for pair in twins])


def recorded_again(record: ClipRecord, folder: Path, noise: bool, rng: int = 0) -> dict[str, float]:
    """:func:`judged` of a bright clip that its own camera records once more in the dark: with its noise, or with so
    many photons, and so little to read them, that none is left. The file is written into ``folder``."""
    of = truth(record)
    camera = Camera(**{f.name: float(of[f.name]) for f in fields_of(Camera) if f.name != "steps"})
    camera = camera if noise else replace(camera, electrons=1e7, read_noise=0)
    path = Path(folder) / f"{record.path.parent.name}-{record.path.stem}-{'noise' if noise else 'none'}.avi"
    write_mpeg4(path, darken(read_frames(record.path).frames, 1, np.random.default_rng(rng), camera))
    return judged(path, of)


def means(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row of means for each name's :func:`judged`."""
    rows = [(name, *(100 * its[what].mean() for what in ("moved", "background", "on_actor")), its.error.mean(),
             its.bytes.mean()) for name, its in found.items()]
    return pd.DataFrame(rows, columns=["clip", "moved (%)", "of the background (%)", "on the actor (%)",
                                       "joint error (px)", "bytes a frame"])


def followed(texture: bool, step: int = 8) -> float:
    """A square of 64 × 64 pixels moves ``step`` pixels to the right in each of twelve frames, on even ground, and is
    encoded: the share, 0 to 1, of its pixels in P-frames whose vector says so. With a ``texture``, or plain."""
    frames, inside = np.full((12, 128, 160, 3), 90, np.uint8), np.full((64, 64), 200, np.uint8)
    if texture:
        inside = cv2.resize(np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8), (64, 64))
    for t, frame in enumerate(frames):
        frame[32:96, step * t : step * t + 64] = inside[..., None]
    with tempfile.TemporaryDirectory() as folder:
        write_mpeg4(file := Path(folder) / "square.avi", frames)
        numbers, motion = previous_motion(file)
    right = [its[32:96, step * t : step * t + 64] == (step, 0) for t, its in zip(numbers, motion, strict=True)]
    return float(np.mean([its.all(-1) for its in right]))


# --- files of others -------------------------------------------------------------------------------------------


def file_rows(frames: Mapping[str, tuple[pd.DataFrame, Iterable[Path]]]) -> pd.DataFrame:
    """Sets of files side by side: name → its :func:`frames_of`, and the paths whose reading is surveyed: the pixels
    that it does not give back as decoded."""
    rows = []
    for name, (its, paths) in frames.items():
        p, first = its[its.kind == "P"], its[its.kind == "I"]
        rows.append({
            "clips of": name, "clips": its["clip"].nunique(), "frames": len(its),
            "pixels not given back": sum(survey(path).differing for path in paths),
            "residual / plain difference (energy)": p.residual.sum() / p.difference.sum(),
            "I-frames' % of bytes": 100 * first.bytes.sum() / its.bytes.sum(),
            "bytes an I-frame": first.bytes.mean(), "bytes a P-frame": p.bytes.mean(),
            "moved since the frame before (%)": 100 * p.own_moved.mean(),
            "moved since the I-frame (%)": 100 * p.moved.mean(),
            "motion cut (% of pixels)": 100 * p.cut_motion.mean(), "residual cut (%)": 100 * p.cut_residual.mean()})
    return pd.DataFrame(rows)


# --- what it shows ---------------------------------------------------------------------------------------------


def told(frames: Mapping[str, pd.DataFrame], counts: Mapping, found: Mapping[str, pd.DataFrame],
         again: Mapping[str, pd.DataFrame], groups: np.ndarray, few: Sequence[int]) -> list[str]:
    """What notebook 06 has measured on the clips at hand, a sentence or two each. ``again``: ``noise`` and ``none``,
    :func:`judged` of the clips ``few`` that were recorded again (:func:`recorded_again`)."""
    size = {light: frames[light].bytes.mean() for light in LIGHTS}
    left = left_over({"bright": frames["bright"]})["energy left"].iloc[0]
    bits = eight_bits({light: counts[light] for light in LIGHTS}).set_index(["input", "light"])["entropy (bits)"]
    shares = shares_apart(found["dark"], found["bright"], groups)
    moved, actor = shares[ASKED["moved"]], shares[ASKED["on_actor"]]
    lines = [
        f"**Bytes.** A bright file is {size['bright'] / size['dark']:.1f} times as large as its dark twin.",
        f"**Copying.** In bright clips the residual keeps {100 * left:.0f} % of the energy of the plain difference.",
        "**Input.** From bright to dark, 8 bits hold " + " and ".join(
            f"{bits[what, 'bright']:.2f} → {bits[what, 'dark']:.2f} bits of {what}" for what in ("motion", "residual"))
        + ".",
        f"**Vectors.** In the dark {_more(moved)} pixels carry one ({moved} points); the share of them that is the"
        f" actor's changes by {actor} points, the error at the joints by"
        f" {_pixels(found['dark'], found['bright'], groups)}."]
    some, bright = groups[list(few)], found["bright"].iloc[list(few)]
    for cause, pair in (("noise", (again["noise"], again["none"])),
                        ("few grey levels, or of the camera's blur,", (again["none"], bright))):
        gap = shares_apart(*pair, some)[ASKED["moved"]]
        lines.append(f"**Of {cause}** come {gap} points of the pixels with a vector, and {_pixels(*pair, some)} at the"
                     " joints.")
    return lines


def _more(gap: Effect) -> str:
    return "more" if gap.low > 0 else "fewer" if gap.high < 0 else "not surely more"


def _pixels(one: pd.DataFrame, other: pd.DataFrame, groups: np.ndarray) -> str:
    mean, low, high = joints_apart(one, other, groups)
    return f"{mean:+.2f} px ({low:+.2f} to {high:+.2f})"
