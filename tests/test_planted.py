"""What a reader can break is seen: a fault that is planted in a copy of a chapter is reported with a sentence. In a
function that students write, its mark reports it, too."""

import ast
import re
from operator import attrgetter
from types import SimpleNamespace

import nbformat
import pytest

from kdlab.cli.notebooks import NotebookFailed, find, run
from kdlab.show.writing import _definitions, fault_of_function, functions

#: Chapter → a piece of its code → what a reader might write instead.
FAULTS = {
    "00": {
        "weight_decay=1e-2, fused": "weight_decay=0, fused",
        "* (up if step < warm else down)": "* (up if step < warm else 1)",
        "        optimiser.zero_grad()\n": "",
        "loss = F.cross_entropy(logits, b": "loss = F.cross_entropy(logits.softmax(1), b",
        "batch = batch_of(step)\n": "batch = batch_of(0)\n",
        "warm = steps / 5": "warm = steps / 2",
    },
    "01": {
        "** (1 / 1.8) + 1e-9": "** 1.8 + 1e-9",
        "np.floor(255 *": "np.rint(255 *",
        "rank = np.cumsum(counts) - counts[first]": "rank = np.cumsum(counts)",
        "/ rank[-1])": "/ values.size)",
        "np.rint(255 * rank": "np.floor(255 * rank",
        "frame, cv2.COLOR_RGB2YCrCb)  # luma": "frame, cv2.COLOR_BGR2YCrCb)  # luma",
    },
    "02": {
        "        net.train()  # batch norm": "        net.eval()  # batch norm",
        '["student"]), batch.labels)': '["student"]), batch.labels, label_smoothing=0.1)',
        "norm.momentum = None": "norm.momentum = 0.1",
        "        norm.reset_running_stats()\n": "",
        "weight_decay=0.01, fused": "weight_decay=0, fused",
        "cat([layer.running_var for": "cat([layer.running_var.sqrt() for",
        "        optimiser.zero_grad()\n": "",
    },
    "03": {
        "        net.train()\n        teacher_net.eval()": "        net.eval()\n        teacher_net.eval()",
        "alpha * t**2 * kl": "alpha * kl",
        "log_teacher.exp() * (log_teacher - log_student)": "log_student.exp() * (log_student - log_teacher)",
        "(1 - alpha) * F.cross_entropy(z_student": "F.cross_entropy(z_student",
        "F.log_softmax(z / t, dim=1)": "F.log_softmax(z * t, dim=1)",
        "(log_teacher - log_student)).sum(1).mean()": "(log_teacher - log_student)).mean()",
        "(regressor(ours) - theirs).square()": "(regressor(ours) - theirs).abs()",
        "f.square().mean(1).flatten(1)": "f.mean(1).square().flatten(1)",
        "        optimiser.zero_grad()\n": "",
    },
    "04": {
        "teacher.eval(), student.train()": "teacher.train(), student.train()",
        "return (1 - alpha) * F": "return alpha * F",
        "log_teacher.exp() * (log_t": "log_student.exp() * (log_t",
        'teacher(batch.views["teacher"]) / t': 'teacher(batch.views["student"]) / t',
        "        optimiser.zero_grad()\n": "",
        "alpha * t**2 * kl": "alpha * kl",
    },
    "05": {
        "for _ in range(3):  # the CVAE": "for _ in range(1):  # the CVAE",
        "lam = net.eval()(x[i])": "lam = net.train()(x[i])",
        "(0.5 * log_var).exp()": "log_var.exp()",
        "(mean - lam) ** 2": "mean**2",
        "w * mse_loss(cvae.generate(lam), F.detach())": "w * mse_loss(cvae.generate(lam), F)",
        "self.decode(lam + torch.randn_like(lam), lam)": "self.decode(torch.randn_like(lam), lam)",
        " * F.sum((1, 2, 3, 4), keepdim=True) /": " /",
        "w, target = min(1, 10 * step / steps),": "w, target = 0,",
    },
    "06": {
        "end - start, torch.inf).min(2)": "end - start, -torch.inf).max(2)",
        "np.delete(segments, overlap.argmax(), axis=0)": "np.delete(segments, 0, axis=0)",
        "many[:, 0])).clip(0)": "many[:, 0]))",
        "** 2 / sigma)": "/ sigma)",
        "known == 1, 0.25, 0.75)": "known == 1, 0.75, 0.25)",
        "tiou.detach(), reduction": "tiou, reduction",
        "precision[i:].max()": "precision[i]",
        "points = (torch.arange(32) + 0.5) * 2": "points = torch.arange(32) * 2.0",
        "        optimiser.zero_grad()\n": "",
        "level.parameters(), lr=4e-3": "level.parameters(), lr=4e-4",
    },
    "07": {
        "= came_from[v + oy, u + ox]": "= new[v + oy, u + ox]",
        "motion.append(here - came_from)": "motion.append(came_from - here)",
        "picture.astype(int) - copied": "picture - copied",
        "/ 4 + 0.5))": "/ 4))",
        "follow(came_from, blocks)\n": "follow(here, blocks)\n",
        "np.trunc(motion * 127.5": "np.rint(motion * 127.5",
    },
    "08": {
        "done < 2 / 6 else modality": "done < 5 / 6 else modality",
        '"motion" if done < 1 / 6': '"motion" if done <= 1 / 6',
        "    sure[:, -1] = True\n": "    sure[:, 0] |= ~sure.any(1)\n",
        "finals[teacher_of(modality, done)].softmax(1)": "finals[modality].softmax(1)",
        "logits.log_softmax(1)).sum(1).mean()": "logits.log_softmax(1)).mean()",
        ".shape[:2]).mean(1)": ".shape[:2]).amax(1)",
        "(new.abs() - rate * l1)": "(new.abs() - l1)",
        "            optimiser.zero_grad()\n": "",
        "exits.parameters(), 4e-3": "exits.parameters(), 4e-4",
        "        exits.train()\n": "        exits.eval()\n",
        "epoch / len(order)": "(epoch + 1) / len(order)",
    },
    "09": {
        "p / dot(v, v) ** 0.5 for p": "p / dot(v, v) for p",
        "dtype=w.dtype) * 2 - 1 for w": "dtype=w.dtype) * 2 for w",
        "dot(v, times_hessian(slope, weights, v)) for": "dot(v, v) for",
        ".norm(dim=1, keepdim=True) / d.norm(dim=1, keepdim=True)": ".norm() / d.norm()",
        "direction.append(torch.zeros_like(w))": "direction.append(w.detach().clone())",
        "< 1e-6 * abs(found[-1])": "< 1e-1 * abs(found[-1])",
        "name: w + step * d": "name: w - step * d",
    },
    "10": {
        "return (share * shown).sum(1) / shown.sum(1)": "return share.mean(1)",
        "masks.mean((2, 3)))  # an empty map": "0.0)  # an empty map",
        '["gradient"].mean((2, 3, 4), k': '["gradient"].amax((2, 3, 4), k',
        ".sum(1).relu().detach()": ".sum(1).abs().detach()",
        "0.25 * min(h, w)": "0.5 * min(h, w)",
    },
    "11": {
        "stats.t.ppf((1 + level) / 2": "stats.t.ppf(level",
        "ddof=1) / np.sqrt(n)": "ddof=0) / np.sqrt(n)",
        "2, n - 1) * np.std": "2, n) * np.std",
        "(len(p) - rank) * p[k])": "len(p) * p[k])",
        "min(1.0, so_far)": "so_far",
    },
    "12": {
        "(teacher.argmax(1) == batch": "(student.argmax(1) == batch",
        'reduction="none").sum(1)': 'reduction="none").mean(1)',
        "+ self.alpha * careful": "+ (1 - self.alpha) * careful",
        "student.log_softmax(1), teacher.s": "teacher.log_softmax(1), student.s",
        'yield "net", F.cross_entropy(student, batch.labels)': 'yield "net", 0',
    },
}
PLANTED = [
    (chapter, right, wrong) for chapter, faults in FAULTS.items() for right, wrong in faults.items()
]


def cell_with(chapter, right, notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and right in cell.source]
    assert len(cells) == 1 and cells[0].source.count(right) == 1, (chapter, right)
    return cells[0]


@pytest.mark.slow
@pytest.mark.parametrize("chapter, right, wrong", PLANTED)
def test_a_planted_fault_is_reported_with_a_sentence(chapter, right, wrong, tmp_path):
    path = find(chapter)
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    cell = cell_with(chapter, right, notebook)
    cell.source = cell.source.replace(right, wrong)
    nbformat.write(notebook, copy := tmp_path / path.name)
    with pytest.raises(NotebookFailed) as failed:
        run(copy, {"profile": "smoke"})
    assert re.search(
        r"AssertionError: .+ (yours gives .+ (where .+ is right|finite numbers)|differ by .+)",
        str(failed.value),
    )


def defined(source):
    """Name of each function and method of a cell → its code."""
    body = [] if source.startswith("%") else ast.parse(source).body
    methods = [(f"{c.name}.", f) for c in body if isinstance(c, ast.ClassDef) for f in c.body]
    every = [("", f) for f in body] + methods
    return {name + f.name: ast.unparse(f) for name, f in every if isinstance(f, ast.FunctionDef)}


def test_a_fault_in_a_function_that_students_write_is_marked():
    marked = set()
    for chapter, right, wrong in PLANTED:
        source = cell_with(chapter, right, nbformat.read(find(chapter), nbformat.NO_CONVERT)).source
        before, after = defined(source), defined(faulty := source.replace(right, wrong))
        for name in [n for n in after if after[n] != before[n] and f"{chapter}.{n}" in functions()]:
            names = _definitions(chapter)
            definitions = [d for d in ast.parse(faulty).body if hasattr(d, "name")]
            exec(compile(ast.Module(definitions, []), chapter, "exec"), names)
            why = fault_of_function(f"{chapter}.{name}", attrgetter(name)(SimpleNamespace(**names)))
            assert why and re.match(r": for .+ it (gives|raises|lacks) .+", why), (right, why)
            marked.add(f"{chapter}.{name}")
    assert len(marked) > 20
