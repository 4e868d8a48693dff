"""What is right in notebooks 10, 10b and 11: verdicts, intervals, regimes, and parts of your own."""

import math
from dataclasses import replace

import numpy as np

from kdlab.teaching.answers.shared import Trial, scores


def share_of_bright_networks_supported() -> float:
    """Percent of DL-KDD's claims about networks from bright video: those that are called supported, explained ones
    among them."""
    from kdlab.show.claims import told

    found = told(["D1r", "D2r", "D3r", "D5r"])
    if unread := [each.claim.claim for each in found if each.reading is None]:
        raise FileNotFoundError(f"nothing was read of {', '.join(unread)}")
    return 25 * sum(each.verdict.startswith("supported") for each in found)


def half_width_of_three_seeds() -> float:
    """Points: half of the 95 % interval of DL-KDD − CE raw, of the first three seeds."""
    study = scores("dual_light-night")
    few = replace(study, seeds=study.seeds[:3], predicted={c: p[:3] for c, p in study.predicted.items()})
    return few.effect("dlkdd", "ce_raw").half_width


def at_least_one_of_fifteen() -> float:
    """Percent."""
    return 100 * (1 - 0.95**15)


def dual_light_over_statistics() -> float:
    """Points: DL-KDD − re-estimated statistics, of bright networks without dark labels."""
    return scores("regimes-bn_none").effect("dlkdd_re", "re_estimated").mean


def luck_of_one_baseline() -> float:
    """Points by which a gap, and a gain, is too large where CE of that seed is unlucky."""
    return 67.0 - 64.0


def largest_gap_without_gain() -> float:
    """Points: teacher − CE of a cell of the map, the largest where the gain's interval is not above zero."""
    from kdlab.show.map_plots import means
    from kdlab.studies import map_rule

    found = means(map_rule.committed())
    return float(found[found.gain <= found.half].gap.max())


def parameters_of_width_sixteen(width: int = 16, classes: int = 3) -> float:
    """Of notebook 11's ``TimeFirst``: convolutions without bias, two numbers a normed channel, the last layer."""
    time, space = 3 * width * 8 + 2 * width, 9 * width * width + 2 * width + 9 * width * 2 * width + 4 * width
    return time + space + classes * (2 * width + 1)


def loss_of_a_silent_critic() -> float:
    """Nats."""
    return 2 * math.log(2)


NUMBERS = (share_of_bright_networks_supported, half_width_of_three_seeds, at_least_one_of_fifteen,
           dual_light_over_statistics, luck_of_one_baseline, largest_gap_without_gain, parameters_of_width_sixteen,
           loss_of_a_silent_critic)


def ledger_rule() -> Trial:
    """The ledger's word for an interval and its strict one, as a number."""
    from kdlab.measure.paired import Effect, verdict

    def reference(low, high, strict_low, strict_high):
        word = verdict(Effect((low + high) / 2, low, high, strict_low, strict_high, 10, 100, math.inf, math.inf))
        kinds = {"supported": 1, "contradicted": -1, "no effect": 0}
        return next((number for begins, number in kinds.items() if word.startswith(begins)), 9)

    return reference, [(3.5, 6.5, 2.5, 7.5), (0.4, 1.6, 0.1, 1.9), (-1.5, 1.5, -2.5, 2.5), (-1, 7, -3, 9),
                       (-7, 1, -9, 3),
                       (-6, -2, -7, -1), (0.2, 1.8, -0.3, 2.3), (0.5, 4, -0.5, 5)]


def gaps_of_others() -> Trial:
    """The mean gap of all seeds but one's own."""
    rng = np.random.default_rng(0)
    return lambda gaps: (gaps.sum() - gaps) / (len(gaps) - 1), [(rng.normal(5, 3, size),) for size in (2, 3, 10)]


def what_changes() -> Trial:
    """Half of each frame's difference to the one before, about a grey of one half; of tensors, as in a view."""
    import torch

    rng = np.random.default_rng(0)
    clips = [torch.from_numpy(rng.random((2, 3, frames, 4, 5))) for frames in (1, 6)]
    return lambda pixels: 0.5 + 0.5 * torch.diff(pixels, dim=2, prepend=pixels[:, :, :1]), [(clip,) for clip in clips]


CODE = (ledger_rule, gaps_of_others, what_changes)
