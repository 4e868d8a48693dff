"""What is right in notebooks 00 to 03b: clips, light, a teacher and its student."""

import math

import numpy as np

from kdlab.teaching.answers.shared import Trial, jump, scores

# --- numbers -------------------------------------------------------------------------------------------------------


def points_of_one_clip() -> float:
    """Points of accuracy of one of 36 clips."""
    return 100 / 36


def luma_after_gamma() -> float:
    """Levels of 255: the median of the brightened clip."""
    from kdlab.clips.enhance import Gamma
    from kdlab.measure.darkness import luma

    return float(np.median(luma(Gamma(1.8)(jump().dark))))


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

    small = resize(jump().dark[::6], 38)
    return colours(Gamma(1.8)(small)) - colours(small)


def clip_over_frame() -> float:
    """Points of accuracy, mean over seeds."""
    audit = scores("night_audit-night")
    return audit.accuracy("full").mean() - audit.accuracy("one_frame").mean()


def enhanced_over_raw() -> float:
    """Points of accuracy, mean over seeds."""
    study = scores("dual_light-night")
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
    study = scores("dual_light-night")
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
    said = scores("dual_light-night").predicted
    return 100 * float((said["dlkdd"][0] == said["same_light"][0]).mean())


def teacher_in_the_dark() -> float:
    """Points of accuracy, mean over seeds."""
    return scores("dual_light_controls-night").effect("ce_enhanced:on_raw", "ce_enhanced").mean


def false_alarms() -> float:
    """Of forty 95 % intervals where nothing differs."""
    return 40 * 0.05


NUMBERS = (points_of_one_clip, luma_after_gamma, entropy_without_ideas, first_merge_of_gamma_three,
           colours_gained_after_shrinking, clip_over_frame, enhanced_over_raw, peak_of_the_rate,
           deviation_of_two_equals, student_over_raw, pull_on_the_first_logit, same_answers, teacher_in_the_dark,
           false_alarms)


# --- code ----------------------------------------------------------------------------------------------------------


def softened() -> Trial:
    """Probabilities ``(K,)`` of logits at a temperature."""
    from scipy.special import softmax

    logits = np.array([2.0, 1.0, -1.0])
    return lambda z, t: softmax(np.asarray(z) / t), [
        (logits, 1), (logits, 4), (np.array([1000.0, 0.0]), 0.5), (np.array([1000.0, 999.0]), 1)]


def undone() -> Trial:
    """Dark values from those that gamma 1.8 made of them."""
    from kdlab.clips.enhance import Gamma

    table, frame = Gamma(1.8).table(), (np.arange(80, dtype=np.uint8) % 79).reshape(8, 10)
    return lambda bright: np.searchsorted(table, bright), [(table[frame],), (table[frame[::-1]],)]


def leaked() -> Trial:
    """Test clips of a group that lies in training."""
    train, test = np.array(["ann", "ben", "ann", "ann", "eve"]), np.array(["ben", "cal", "ben", "ann", "dan"])
    return lambda a, b: np.isin(b, a).sum(), [(train, test), (test, train), (train, np.array(["cal", "dan"]))]


def centre_moments() -> Trial:
    """Frames in the middle of equal parts of a clip."""
    from kdlab.clips.views import Window

    return (lambda frames, taken: np.asarray(Window(frames=taken).centre(frames).frames),
            [(36, 12), (24, 12), (10, 12), (45, 16)])


def distillation_loss() -> Trial:
    """t² KL in nats, mean over the batch."""
    import torch

    from kdlab.distill.losses import kd_loss

    def reference(student, teacher, t):
        return kd_loss(torch.as_tensor(student), torch.as_tensor(teacher), t).item()

    teacher, student = np.array([[2.0, 0.0, -1.0], [0.5, 0.1, 3.0]]), np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0]])
    return reference, [(student, teacher, 1.0), (student, teacher, 4.0), (teacher, teacher, 2.0)]


def fused_classes() -> Trial:
    """Classes ``(N,)`` of the mean probability of two networks, of their logits ``(N, K)``."""
    from scipy.special import softmax

    sure, other = np.array([[9.0, 0.0, 0.0], [0.0, 0.5, 0.0]]), np.array([[0.0, 8.0, 0.0], [6.0, 5.9, 0.0]])
    rising = np.array([[1.0, 2.0, 3.5, 0.0]])
    undecided = np.array([[5.0, 0.0, -5.0]]), np.array([[0.0, 6.0, 6.0]])  # mean logits would say the second
    return (lambda a, b: (softmax(a, 1) + softmax(b, 1)).argmax(1),
            [(sure, other), (rising, rising[:, ::-1]), undecided])


CODE = (softened, undone, leaked, centre_moments, distillation_loss, fused_classes)
