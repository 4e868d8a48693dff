"""What is right: functions that compute it from the committed evidence, from a rendered clip or in closed form.

Numbers of the committed studies are computed when a reader asks, never typed: they follow the evidence. Each function
of :data:`NUMBERS` returns one number; each of :data:`CODE` a reference and the arguments to try it with.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from kdlab import paths
from kdlab.teaching import compressed_answers, landscape_answers, scoreboard_answers


def _scores(name: str):
    from kdlab.study import Scores

    return Scores.load(paths.figures_dir() / "predictions" / f"{name}.npz")


def _dark_jump() -> np.ndarray:
    """The dark clip of notebook 00, uint8 ``(T, H, W, 3)``."""
    from kdlab.night import Night, render_clip

    return render_clip(Night(), split="test", class_name="Jump", index=0).dark


# --- numbers -------------------------------------------------------------------------------------------------------


def points_of_one_clip() -> float:
    """Points of accuracy of one of 36 clips."""
    return 100 / 36


def luma_after_gamma() -> float:
    """Levels of 255: the median of the brightened clip."""
    from kdlab.clips.enhance import Gamma
    from kdlab.measure.darkness import luma

    return float(np.median(luma(Gamma(1.8)(_dark_jump()))))


def entropy_without_ideas() -> float:
    """Nats: of eleven equal bars."""
    return math.log(11)


def first_merge_of_gamma_three() -> float:
    """The first input that shares its output with the one before."""
    from kdlab.clips.enhance import Gamma

    return 1 + int(np.argmin(np.diff(Gamma(3.0).table().astype(int))))


def colours_gained_after_shrinking() -> float:
    """How many more colours a table of 256 entries makes: none."""
    from kdlab.clips.cache import resize
    from kdlab.clips.enhance import Gamma
    from kdlab.measure.darkness import colours

    small = resize(_dark_jump()[::6], 38)
    return colours(Gamma(1.8)(small)) - colours(small)


def clip_over_frame() -> float:
    """Points of accuracy, mean over seeds."""
    audit = _scores("night_audit-night")
    return audit.accuracy("full").mean() - audit.accuracy("one_frame").mean()


def enhanced_over_raw() -> float:
    """Points of accuracy, mean over seeds."""
    study = _scores("dual_light-night")
    return study.accuracy("ce_enhanced").mean() - study.accuracy("ce_raw").mean()


def peak_of_the_rate() -> float:
    """Percent of all steps."""
    from kdlab.train.loop import Settings, learning_rate

    return 100 * int(np.argmax([learning_rate(Settings(lr=3e-3), step, 1000) for step in range(1000)])) / 1000


def deviation_of_two_equals() -> float:
    """Points of accuracy."""
    return 100 * math.sqrt(0.2 / 132)


def student_over_raw() -> float:
    """Points of accuracy, mean over seeds."""
    study = _scores("dual_light-night")
    return study.accuracy("dlkdd").mean() - study.accuracy("ce_raw").mean()


def pull_on_the_first_logit() -> float:
    """The gradient of t² KL."""
    import torch

    from kdlab.distill.losses import kd_loss

    student = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    kd_loss(student, torch.tensor([[3.0, 0.0]], dtype=torch.float64), temperature=4).backward()
    return student.grad[0, 0].item()


def same_answers() -> float:
    """Percent of the test clips."""
    said = _scores("dual_light-night").predicted
    return 100 * float((said["dlkdd"][0] == said["same_light"][0]).mean())


def teacher_in_the_dark() -> float:
    """Points of accuracy, mean over seeds."""
    return _scores("dual_light_controls-night").effect("ce_enhanced:on_raw", "ce_enhanced").mean


def false_alarms() -> float:
    """Of forty 95 % intervals where nothing differs."""
    return 40 * 0.05


def genkd_over_untrained() -> float:
    """Points of accuracy, mean over seeds, on the clips that nobody had read where they are committed."""
    from kdlab.papers.generative import study, tables

    return tables.newest(study.study.scores(), "night_bright")[1].effect("genkd", "untrained").mean


def price_of_ignoring_attention() -> float:
    """Nats an element."""
    import torch

    from kdlab.papers.generative.method import kl_to_attention

    mean, log_variance, attention = (torch.full((1, 1, 1), value, dtype=torch.float64) for value in (0, 0, 0.8))
    return float(kl_to_attention(mean, log_variance, attention))


def genkd_in_detection() -> float:
    """Points of mAP averaged over tIoU 0.1 to 0.5, mean over seeds, likewise."""
    from kdlab.papers.generative import detection_study, tables

    scores = tables.newest(detection_study.study.scores(), "night_untrimmed")[1]
    return scores.mean_ap("det_genkd").mean() - scores.mean_ap("det_student").mean()


def shortest_that_survives() -> float:
    """Seconds: L / (L + 0.3) = 0.8."""
    return 0.3 * 0.8 / (1 - 0.8)


NUMBERS: dict[str, Callable[[], float]] = {function.__name__: function for function in (
    points_of_one_clip, luma_after_gamma, entropy_without_ideas, first_merge_of_gamma_three,
    colours_gained_after_shrinking, clip_over_frame, enhanced_over_raw, peak_of_the_rate, deviation_of_two_equals,
    student_over_raw, pull_on_the_first_logit, same_answers, teacher_in_the_dark, false_alarms, genkd_over_untrained,
    price_of_ignoring_attention, genkd_in_detection, shortest_that_survives)}
NUMBERS |= compressed_answers.NUMBERS | landscape_answers.NUMBERS | scoreboard_answers.NUMBERS


# --- code ----------------------------------------------------------------------------------------------------------


def softened() -> tuple[Callable, Sequence[tuple]]:
    """Probabilities ``(K,)`` of logits at a temperature."""
    from scipy.special import softmax

    logits = np.array([2.0, 1.0, -1.0])
    return lambda z, t: softmax(np.asarray(z) / t), [(logits, 1), (logits, 4), (np.array([1000.0, 0.0]), 0.5)]


def undone() -> tuple[Callable, Sequence[tuple]]:
    """Dark values from those that gamma 1.8 made of them."""
    from kdlab.clips.enhance import Gamma

    table, frame = Gamma(1.8).table(), np.arange(72, dtype=np.uint8).reshape(6, 12)
    return lambda bright: np.searchsorted(table, bright), [(table[frame],), (table[frame[::-1]],)]


def leaked() -> tuple[Callable, Sequence[tuple]]:
    """Test clips of a group that lies in training."""
    train, test = np.array(["ann", "ben", "ann", "eve"]), np.array(["ben", "cal", "ben", "ann", "dan"])
    return lambda a, b: np.isin(b, a).sum(), [(train, test), (test, train), (train, np.array(["cal", "dan"]))]


def centre_moments() -> tuple[Callable, Sequence[tuple]]:
    """Frames in the middle of equal parts of a clip."""
    from kdlab.clips.views import Window

    return lambda frames, taken: np.asarray(Window(frames=taken).centre(frames).frames), [(36, 12), (10, 12), (45, 16)]


def distillation_loss() -> tuple[Callable, Sequence[tuple]]:
    """t² KL in nats, mean over the batch."""
    import torch

    from kdlab.distill.losses import kd_loss

    def reference(student, teacher, t):
        return kd_loss(torch.as_tensor(student), torch.as_tensor(teacher), t).item()

    teacher, student = np.array([[2.0, 0.0, -1.0], [0.5, 0.1, 3.0]]), np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0]])
    return reference, [(student, teacher, 1.0), (student, teacher, 4.0), (teacher, teacher, 2.0)]


def fused_classes() -> tuple[Callable, Sequence[tuple]]:
    """Classes ``(N,)`` of the mean probability of two networks, of their logits ``(N, K)``."""
    from scipy.special import softmax

    sure, other = np.array([[9.0, 0.0, 0.0], [0.0, 0.5, 0.0]]), np.array([[0.0, 8.0, 0.0], [6.0, 5.9, 0.0]])
    equal = np.array([[1.0, 2.0, 3.0, 0.0]])
    undecided = np.array([[5.0, 0.0, -5.0]]), np.array([[0.0, 6.0, 6.0]])  # mean logits would say the second
    return (lambda a, b: (softmax(a, 1) + softmax(b, 1)).argmax(1),
            [(sure, other), (equal, equal[:, ::-1]), undecided])


def explained_share() -> tuple[Callable, Sequence[tuple]]:
    """R² in percent of made features, against the training clips' mean."""
    rng = np.random.default_rng(0)
    features, mean = rng.random((6, 4, 3)), rng.random((4, 3))

    def reference(features, made, mean):
        return 100 * (1 - np.square(made - features).sum() / np.square(mean - features).sum())

    return reference, [(features, 0.9 * features, mean), (features, features, mean), (features, 0 * features, mean)]


def average_precision() -> tuple[Callable, Sequence[tuple]]:
    """AP in [0, 1] of hits by falling score, with interpolated precision."""
    def reference(hits, actions):
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        return float(sum(precision[rank:].max() for rank in np.flatnonzero(hits)) / actions)

    return reference, [(np.array([True, False, False, True]), 2), (np.array([False, True, True, False, True]), 4),
                       (np.array([False, False]), 1)]


CODE: dict[str, Callable[[], tuple[Callable, Sequence[tuple]]]] = {function.__name__: function for function in (
    softened, undone, leaked, centre_moments, distillation_loss, fused_classes, explained_share, average_precision)}
CODE |= compressed_answers.CODE | landscape_answers.CODE | scoreboard_answers.CODE
