"""Does a student give its teacher's answers, and how sure are they? Fidelity and calibration beside accuracy.

A student can gain accuracy without becoming like its teacher (Stanton et al., arXiv 2106.05945): so report both. Logits
are ``(N, K)`` of the same N clips.
"""

import numpy as np
from scipy.special import log_softmax, softmax

from kdlab.system.values import alike


def agreement(student: np.ndarray, teacher: np.ndarray) -> float:
    """Percent of the clips to which both give the same class."""
    alike(student=student, teacher=teacher)
    return 100 * float((student.argmax(1) == teacher.argmax(1)).mean())


def mistakes_shared(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray) -> float:
    """Of the clips that the teacher gets wrong, the percent to which the student gives the same wrong class; nan where
    the teacher is always right."""
    wrong = teacher.argmax(1) != labels
    return agreement(student[wrong], teacher[wrong]) if wrong.any() else float("nan")


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean negative log-likelihood of the ``labels (N,)``, in nats."""
    alike(labels=labels, clips=logits[:, 0])
    return -float(log_softmax(logits, 1)[np.arange(len(labels)), labels].mean())


def calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """The expected calibration error in percent (Guo et al., arXiv 1706.04599): the mean distance of confidence and
    accuracy over 15 equal bins of confidence, weighted by their clips."""
    confidence, right = softmax(logits, 1).max(1), logits.argmax(1) == labels
    number = np.minimum((15 * confidence).astype(int), 14)
    gaps = np.bincount(number, confidence - right)
    return 100 * float(abs(gaps).sum() / len(labels))
