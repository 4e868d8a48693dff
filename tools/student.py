"""Copies of the chapters in which students write the methods themselves.

    python tools/student.py     # student/: bodies and answers are gone; solutions/: the chapters without outputs

A body that is gone leaves what the function takes and gives. The cell that compares it with kdlab's stays, and says what
differs.
"""

import ast
import re
import textwrap
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
#: Chapter → function or Class.method → what it takes and gives.
WRITE = {
    "01": {
        "equalising": "Values of one picture, uint8 (H, W) → the table uint8 (256,) that spreads them by their rank: the "
        "darkest value becomes 0, the brightest 255.",
    },
    "02": {
        "statistics": "A network → the running means, and the running variances, of all its BatchNorm3d layers, each "
        "joined to one tensor."
    },
    "03": {
        "kd_loss": "Logits (B, K) of student and teacher, and labels → the loss, one number in nats: (1 − α) cross-entropy "
        "on labels, plus α t² KL from teacher to student, a mean over clips.",
    },
    "04": {
        "dual_light_loss": "Two networks and a batch → the loss, one number in nats: (1 − α) cross-entropy on labels, "
        'plus α t² KL from teacher (batch.views["teacher"]) to student (batch.views["student"]), a mean over clips. No '
        "gradient reaches the teacher."
    },
    "05": {
        "Attention.forward": "Features (B, C, T, h, w) → attention (B, C, T) in (0, 1).",
        "Gated.forward": "Video → log-probabilities (B, K), the mean over pairs of steps; the features F; and λ. Each "
        "clip's features keep their sum when λ gates them.",
        "CVAE.forward": "F and λ → the rebuilt F, the mean and the log-variance of the code (B, C, T). The code is "
        "drawn by the reparametrisation.",
        "CVAE.generate": "λ → features made from noise around λ, without F.",
        "pass_1": "CVAE, F, λ → the terms of pass 1 by name (rebuilt, kl, from_prior, and taught where a teacher's CVAE is "
        "given), and their sum by WEIGHTS. The prior of the code is N(λ, 1).",
        "pass_2": "Network, CVAE, clips, labels, w → the terms of pass 2 by name (ce, generated, and attention where a "
        "teacher's λ is given), and their sum by WEIGHTS. Generated features learn nothing here; F is their target.",
    },
    "06": {
        "targets": "Labels (B, N, 3) → for each point of the level: the shortest segment around it (B, P, 2), its class in "
        "one hot (B, P, K), whether it learns, and whether it is left out (class −2).",
        "tiou": "A segment (start, end) and many (N, 2) → their temporal intersection over union (N,).",
        "soft_nms": "Segments (N, 2) and scores (N,) → new scores: from the best down, each multiplies those of the "
        "remaining ones by exp(−tIoU² / sigma).",
        "average_precision": "Predictions of one class by falling score, true segments, a tIoU → the average precision in "
        "[0, 1]. A true segment is found once.",
    },
    "07": {
        "follow": "The map A (H, W, 2) of where each pixel came from, and a frame's blocks → the next map: each block "
        "takes the A of its source. No pixel comes from outside the picture.",
        "accumulate": "Pictures of a GOP and their blocks → accumulated motion (T, H, W, 2) and residual (T, H, W, 3).",
    },
    "08": {
        "exit_logits": "Exits and maps by modality → (modality, stage) → logits (clips, classes), the mean over frames.",
        "teacher_of": "A modality, and the share of the training that is done → the name of the teacher: motion for a "
        "sixth, residual for a sixth, then the own final classifier.",
        "pkd_loss": "Logits by (modality, stage), logits of the finals by modality, the share done → the sum over exits of "
        "the soft cross-entropy with the teacher's probabilities, a mean over clips.",
        "fit_weights": "Logits (clips, exits, classes) and labels → the weights (exits,) that minimise the cross-entropy "
        "of the weighted sum, plus l1 times their absolute sum.",
    },
    "09": {
        "first_pass": "A loss and weights → the gradient, which keeps its own graph.",
        "times_hessian": "That gradient, weights and vectors like them → the Hessian times these vectors.",
        "power_iteration": "The gradient and weights → all estimates of the largest eigenvalue, and the last vector.",
        "hutchinson": "The gradient, weights and probes of random signs → v · Hv for each probe.",
        "filter_normalised": "Weights → a random direction in which each filter has the norm of the weights' filter; "
        "biases and norms do not move.",
    },
    "10": {
        "grad_cam": "A network, clips, a class for each, a layer → the map (N, t, h, w): channels weighted by the mean of "
        "their gradient over time and space, summed, and rectified.",
        "energy": "Maps and masks (N, T, H, W) → for each clip the mean share of the map on the actor, over the frames "
        "that show the actor; an empty map counts as even.",
    },
    "11": {
        "interval": "Differences of worlds → both ends of Student's t-interval of their mean.",
        "holm": "Probabilities → Holm's adjusted ones: the smallest times their number, the next times one less, never "
        "below an earlier one, never above 1.",
    },
}


def blanked(source: str, write: dict[str, str]) -> tuple[str, list[str]]:
    """The code of a cell in which the bodies of the functions in ``write`` are gone, and the names of these."""
    lines, gone = source.splitlines(), []
    functions = []
    for node in ast.parse(source).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        functions += [(prefix + f.name, f) for f in inside if isinstance(f, ast.FunctionDef)]
    for name, function in reversed(functions):
        if name in write:
            indent = " " * function.body[0].col_offset
            text = textwrap.fill(
                f'"""{write[name]}"""', 100, initial_indent=indent, subsequent_indent=indent
            )
            lines[function.body[0].lineno - 1 : function.end_lineno] = [
                *text.splitlines(),
                f'{indent}raise NotImplementedError("write {name}")',
            ]
            gone.insert(0, name)
    return "\n".join(lines), gone


def student_copy(notebook: nbformat.NotebookNode, write: dict[str, str]) -> list[str]:
    """Take answers and the bodies of functions out of a ``notebook``; return the names of these."""
    gone = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"<details>.*?</details>\n*", "", cell.source, flags=re.DOTALL)
        elif not cell.source.lstrip().startswith("%"):
            cell.source, names = blanked(cell.source, write)
            gone += names
    return gone


def main() -> None:
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        for folder in ("student", "solutions"):
            if (ROOT / folder / path.name).exists():  # perhaps somebody has written in it
                print(f"{folder}/{path.name} is there: delete it for a new copy")
                continue
            notebook = nbformat.read(path, nbformat.NO_CONVERT)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            if folder == "student":
                gone = student_copy(notebook, WRITE.get(path.name[:2], {}))
                print(f"{path.stem}: {', '.join(gone) or 'nothing to write'}")
            (ROOT / folder).mkdir(exist_ok=True)
            for helper in (ROOT / "notebooks").glob("my_*.py"):
                (ROOT / folder / helper.name).write_text(helper.read_text("utf-8"), "utf-8")
            nbformat.write(notebook, ROOT / folder / path.name)


if __name__ == "__main__":
    main()
