"""What a reader can break is seen: a fault that is planted in a copy of a chapter is reported with a sentence."""

import re

import nbformat
import pytest

from kdlab.cli.notebooks import NotebookFailed, find, run

#: Chapter, a piece of its code, and what a reader might write instead.
PLANTED = [
    ("00", "weight_decay=1e-2, fused", "weight_decay=0, fused"),
    ("00", "* (up if step < warm else down)", "* (up if step < warm else 1)"),
    ("02", "        net.train()  # batch norm", "        net.eval()  # batch norm"),
    ("02", "optimiser.zero_grad(), loss.backward()", "loss.backward()"),
    ("03", "net.train(), teacher_net.eval()", "net.eval(), teacher_net.eval()"),
    ("03", "alpha * t**2 * kl", "alpha * kl"),
    ("03", "log_q.exp() * (log_q - log_p)", "log_p.exp() * (log_p - log_q)"),
    ("04", "teacher.eval(), student.train()", "teacher.train(), student.train()"),
    ("04", "alpha * t**2 * kl", "alpha * kl"),
    ("05", "for _ in range(3):  # the CVAE", "for _ in range(1):  # the CVAE"),
    ("05", "lam = net.eval()(x[i])", "lam = net.train()(x[i])"),
    ("05", "w, target = min(1, 10 * step / steps),", "w, target = 0,"),
    ("06", "end - start, torch.inf).min(2)", "end - start, -torch.inf).max(2)"),
    ("06", "np.delete(segments, overlap.argmax(), axis=0)", "np.delete(segments, 0, axis=0)"),
    ("08", "done < 2 / 6 else modality", "done < 5 / 6 else modality"),
    ("08", "    sure[:, -1] = True\n", "    sure[:, 0] |= ~sure.any(1)\n"),
    ("10", "return (share * shown).sum(1) / shown.sum(1)", "return share.mean(1)"),
    ("10", "masks.mean((2, 3)))  # an empty map", "0.0)  # an empty map"),
]


@pytest.mark.slow
@pytest.mark.parametrize("chapter, right, wrong", PLANTED)
def test_a_planted_fault_is_reported_with_a_sentence(chapter, right, wrong, tmp_path):
    path = find(chapter)
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    (cell,) = [cell for cell in notebook.cells if right in cell.source]
    cell.source = cell.source.replace(right, wrong)
    nbformat.write(notebook, copy := tmp_path / path.name)
    with pytest.raises(NotebookFailed) as failed:
        run(copy, {"profile": "smoke"})
    assert re.search(r"AssertionError: .+: yours is .+ and kdlab's is .+", str(failed.value))


def test_each_fault_can_be_planted_once():
    for chapter, right, wrong in PLANTED:
        cells = nbformat.read(find(chapter), nbformat.NO_CONVERT).cells
        assert sum(cell.source.count(right) for cell in cells) == 1, (chapter, right)
        assert right != wrong
