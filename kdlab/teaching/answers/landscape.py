"""What is right in notebooks 08 and 09: the loss around networks, and where they look."""

import numpy as np

from kdlab.teaching.answers.shared import Trial


def motion_over_iframe() -> float:
    """A factor: geometric mean of the largest eigenvalue of matched motion networks at 0.5 nats over that of I-frame
    networks, where places tell the class."""
    from kdlab.studies.flatness_rows import hierarchy
    from kdlab.studies.flatness_told import newest
    from kdlab.study import load_rows

    table = hierarchy(newest(load_rows("flatness")), "night_context").set_index(["mark", "measure"])
    means = table.loc[(0.5, "lambda_max")]
    return means["motion"][0] / means["iframe"][0]


def probes_of_one_outlier() -> float:
    """Probes for a relative standard error of 2 %: one has √2, as of 100 χ² with one degree of freedom."""
    return 2 / 0.02**2


def energy_of_the_student() -> float:
    """Percent of DL-KDD's map on the actor, mean over seeds and clips of the committed study."""
    from kdlab.studies import attention

    return attention.mean(attention.load_looks("night"), "energy_inside", "dlkdd")


def iou_of_a_blind_map() -> float:
    """Percent: s / (2 − s) for a mask of the share 0.3."""
    return 100 * 0.3 / (2 - 0.3)


NUMBERS = (motion_over_iframe, probes_of_one_outlier, energy_of_the_student, iou_of_a_blind_map)


def one_step_of_sam() -> Trial:
    """Rise of ½ wᵀAw over a step of a given length along the gradient."""
    def reference(matrix, w, radius):
        gradient = matrix @ w
        there = w + radius * gradient / np.linalg.norm(gradient)
        return 0.5 * (there @ matrix @ there - w @ matrix @ w)

    matrix, w = np.array([[2.0, 1, 0], [1, 3, 1], [0, 1, 4]]), np.array([1.0, 0, 0])
    return reference, [(matrix, w, 0.05), (matrix, w, 0.5), (np.eye(2), np.array([0.6, -0.8]), 1.0)]


def share_on_the_actor() -> Trial:
    """Energy inside, 0 to 1: the mean over those frames in which the actor is seen."""
    from kdlab.measure.attention import scores

    rng = np.random.default_rng(0)
    heat, masks = 0.1 + rng.random((4, 6, 5)), rng.random((4, 6, 5)) < 0.3
    masks[2] = False
    return lambda m, mask: scores(m[None], mask[None])["energy_inside"][0], [
        (heat[:2], masks[:2]), (heat, masks), (np.ones((1, 2, 2)), np.array([[[True, False], [False, False]]]))]


CODE = (one_step_of_sam, share_on_the_actor)
