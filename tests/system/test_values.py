import dataclasses
import importlib
import json
import math
import pkgutil
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest
import torch

import kdlab
from kdlab.clips.held_out import HeldOut
from kdlab.clips.views import Raw
from kdlab.clips.windows import AtRate
from kdlab.distill import baselines, losses
from kdlab.measure import accuracy, cost, detection, flatness, minima, paired, surface, transfer
from kdlab.night import Night
from kdlab.papers.dual_light import zero_dce
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.generative import method as generative_method
from kdlab.papers.progressive import method as progressive_method
from kdlab.papers.progressive import wise
from kdlab.papers.progressive.exits import ExitRecipe
from kdlab.papers.progressive.nets import Exit
from kdlab.system.values import alike, finite, fraction, not_negative, one_of, positive, whole
from kdlab.train import passing
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips, to_json
from kdlab.train.sizes import _SIZES


@pytest.mark.parametrize("check", [finite, positive, not_negative, fraction, lambda **named: whole(1, **named)])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, "1", None, True, np.float32("nan"), 1j,
                                   np.array([1.0, 2.0])])
def test_what_is_no_finite_number_is_refused_by_name(check, wrong):
    with pytest.raises(ValueError, match=r"^lr=.*: give a "):
        check(lr=wrong)


@pytest.mark.parametrize(("check", "good", "bad"), [
    (positive, [1e-9, 3, np.float32(2), np.int64(1)], [0, -1, -0.0]),
    (not_negative, [0, 0.0, 7], [-1e-9]),
    (fraction, [0, 1, 0.5, np.float64(0.1)], [-0.1, 1.0001]),
    (lambda **named: whole(2, **named), [2, np.int64(9)], [1, 2.0, 2.5, np.float64(3)]),
])
def test_ranges(check, good, bad):
    for value in good:
        check(x=value, y=(value, value))
    for value in bad:
        with pytest.raises(ValueError, match=r"^y\[1\]="):
            check(x=good[0], y=[good[0], value])


def test_hints_words_and_shapes():
    with pytest.raises(ValueError, match="^t=0: give a finite number above 0; 4 is usual$"):
        positive("4 is usual", t=0)
    one_of(("a", "b"), how="a")
    with pytest.raises(ValueError, match="^how='c': give 'a' or 'b'$"):
        one_of(("a", "b"), how="c")
    alike(a=torch.zeros(2, 3), b=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"^a \(2, 3\) and b \(2, 1\) differ in shape"):
        alike(a=torch.zeros(2, 3), b=torch.zeros(2, 1))


# --- every number that a user may give ------------------------------------------------------------------------

#: Dataclasses that kdlab makes itself, of what it found or drew: nobody gives it their numbers.
FOUND = {"Moves", "_Entry", "ClipRecord", "Facts", "Stream", "Modalities", "Survey", "VideoInfo", "Decoded", "Moment",
         "Look", "Part", "Camera", "_Job", "View", "Made", "Draw",
         "VideoWindow", "Launch", "Trace", "Evaluation", "Effect", "Step", "Executed", "Detections",
         "Scores", "Progress", "PaperSet", "Size"}
GIVEN = [Exit(8, 8), HeldOut(Night()), AtRate(Raw(), 7.5), TrainedCurves(Night()), Recipe("x", Night()),
         ExitRecipe("x", Night()), UserClips("x", own_folds=2)]


def configurations() -> list:
    """One of each frozen dataclass that has numbers and that a user makes."""
    kinds = {}
    for module in pkgutil.walk_packages(kdlab.__path__, "kdlab."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.name:
                if kind.__dataclass_params__.frozen and kind.__name__ not in FOUND:
                    kinds[kind] = None
    GIVEN.extend(size for size in _SIZES if size.name == "smoke")
    examples = {type(one): one for one in GIVEN}
    for kind in kinds:
        if not any(f.default is f.default_factory is dataclasses.MISSING for f in dataclasses.fields(kind)):
            examples[kind] = kind()
    return list(examples.values())


def numbers(one) -> list[tuple[str, type]]:
    """Names and kinds of its fields that are one number, or a tuple of numbers."""
    hints, found = get_type_hints(type(one)), []
    for field in dataclasses.fields(one):
        inner = {part for part in (hints[field.name], *get_args(hints[field.name])) if part in (int, float)}
        if inner:
            found.append((field.name, inner.pop()))
    return found


def test_every_number_of_every_configuration_is_checked():
    accepted, seen = [], 0
    for one in configurations():
        for name, kind in numbers(one):
            given = getattr(one, name)
            for wrong in (math.nan, math.inf, -math.inf, -1, "4") + ((2.5,) if kind is int else ()):
                seen += 1
                try:
                    dataclasses.replace(one, **{name: (wrong, *given[1:]) if isinstance(given, tuple) else wrong})
                    accepted.append(f"{type(one).__name__}({name}={wrong})")
                except ValueError as error:
                    if name not in str(error) or str(wrong).strip("-") not in str(error):
                        accepted.append(f"{type(one).__name__}({name}={wrong}) is refused by {error}")
                except Exception as error:
                    accepted.append(f"{type(one).__name__}({name}={wrong}) ends in {error!r}")
    assert seen > 300 and not accepted, "\n".join(accepted)


def test_numpy_scalars_are_numbers_and_a_recipe_is_written_plainly():
    one = Recipe("x", Night(), seed=np.int64(3), settings=Settings(lr=np.float32(0.5), epochs=np.int64(2)))
    same = Recipe("x", Night(), seed=3, settings=Settings(lr=0.5, epochs=2))
    assert one == same and one.name == same.name and json.dumps(to_json(one)) == json.dumps(to_json(same))


# --- functions -------------------------------------------------------------------------------------------------

Z, LABELS = torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)
EXITS, RIGHT, FOUND_AT = np.zeros((4, 3, 2)), np.ones((2, 4)), pd.DataFrame(
    {"video": ["v"], "label": [0], "start": [0.0], "end": [1.0], "score": [0.5]})
NET = torch.nn.Linear(1, 1)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize(("name", "call"), [
    ("temperature", lambda x: losses.kd_loss(Z, Z, x)),
    ("temperature", lambda x: losses.soft_target_loss(Z, Z, x)),
    ("smoothing", lambda x: losses.smoothed_targets(LABELS, 3, x)),
    ("num_classes", lambda x: losses.smoothed_targets(LABELS, x, 0.1)),
    ("nats", lambda x: losses.smoothing_of_entropy(x, 3)),
    ("temperature", lambda x: baselines.dkd_loss(Z, Z, LABELS, x, 1, 8)),
    ("alpha", lambda x: baselines.dkd_loss(Z, Z, LABELS, 4, x, 8)),
    ("beta", lambda x: baselines.dkd_loss(Z, Z, LABELS, 4, 1, x)),
    ("temperature", lambda x: progressive_method.soft_cross_entropy(Z, Z, x)),
    (r"shares\[0\]", lambda x: progressive_method.Progressive(schedule=(("own", x), ("motion", 1.0)))),
    ("level", lambda x: zero_dce.exposure_loss(torch.zeros(1, 3, 16, 16), x)),
    ("l1", lambda x: wise.solve(EXITS, np.zeros(4, int), x)),
    ("budget", lambda x: wise.threshold_for_budget(EXITS, np.zeros(4, int), np.arange(1, 4), x)),
    ("sigma", lambda x: detection.soft_nms(FOUND_AT, x)),
    ("rate", lambda x: detection.decode(np.zeros((0, 1, 1, 4)), [], x)),
    (r"tious\[0\]", lambda x: detection.evaluate(FOUND_AT, FOUND_AT, 1, [x])),
    ("bins", lambda x: accuracy.expected_calibration_error(Z.numpy(), LABELS.numpy(), x)),
    ("level", lambda x: accuracy.accuracy_interval(np.ones(3, bool), x)),
    (r"shape\[1\]", lambda x: cost.macs(NET, (1, x))),
    ("repeats", lambda x: cost.cpu_times({}, x)),
    ("replicates", lambda x: cost.ratio_interval(np.ones(3), np.ones(3), x)),
    ("replicates", lambda x: transfer.mean_recall(RIGHT, np.zeros(4), x)),
    ("radius", lambda x: flatness.sharpness(None, x)),
    ("probes", lambda x: minima.flatness(None, [], probes=x)),
    ("error", lambda x: minima.flatness(None, [], error=x)),
    ("within", lambda x: surface.curvature(np.zeros(3), np.zeros(3), x)),
    ("rise", lambda x: surface.width(np.zeros(3), np.zeros(3), x)),
    ("points", lambda x: surface.path(NET, NET, [], x)),
    (r"marks\[0\]", lambda x: passing.passing(Recipe("x", Night()), [x])),
])
def test_functions_refuse_by_name(name, call, wrong):
    with pytest.raises(ValueError, match=f"^{name}={wrong}: give "):
        call(wrong)


@pytest.mark.parametrize("call", [
    lambda: losses.kd_loss(Z, Z[:, :1], 4),
    lambda: losses.kd_loss(Z, Z[:1], 4),
    lambda: losses.soft_target_loss(Z, Z[:, :1], 4),
    lambda: baselines.dkd_loss(Z, Z[:1], LABELS, 4, 1, 8),
    lambda: baselines.dkd_loss(Z, Z, LABELS[:1], 4, 1, 8),
    lambda: baselines.attention_transfer_loss(torch.ones(2, 3, 2, 2, 2), torch.ones(1, 3, 2, 2, 2)),
    lambda: baselines.feature_norm_loss(Z, Z[:1], torch.zeros(3, 3), LABELS),
    lambda: progressive_method.soft_cross_entropy(Z, Z[:, :1]),
    lambda: generative_method.kl_to_attention(Z, Z, Z[:, :1]),
    lambda: zero_dce.spatial_loss(torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 8, 8)),
    lambda: accuracy.expected_calibration_error(Z.numpy(), LABELS.numpy()[:1]),
])
def test_shapes_that_a_broadcast_would_hide_are_named(call):
    with pytest.raises(ValueError, match=r"\(.*\) and .* \(.*\) differ in shape"):
        call()


def test_scores_and_times_are_finite():
    with pytest.raises(ValueError, match="1 of 2 clips have logits that are not finite"):
        accuracy.expected_calibration_error(np.array([[0.0, np.nan], [0, 1]]), np.zeros(2, int))
    with pytest.raises(ValueError, match="paired scores must be finite"):
        paired.effect(RIGHT * np.nan, RIGHT)
    for column in ("score", "end"):
        with pytest.raises(ValueError, match="impossible prediction.*all are finite"):
            detection.evaluate(FOUND_AT, FOUND_AT.assign(**{column: math.inf}), 1)
