"""How much of each loss term a student's backbone feels (docs/methods.md, 2.1).

GenKD's pass 1 trains a CVAE alone; the classifier meets its outcome only through pass 2, where features are generated
from λ by the frozen CVAE. Whether that matters is a question of gradients.
"""

from dataclasses import replace

import torch

from kdlab.papers.generative.method import GenerativeDistillation
from kdlab.papers.generative.nets import read_cvae
from kdlab.train.loop import Progress
from kdlab.train.runs import Run, batches, find
from kdlab.values import whole


def shares(run: Run, clips: int = 64) -> dict[str, float]:
    """Norm of each weighted term's gradient in the backbone of the finished ``run`` of GenKD, over that of the class
    loss: ``generated`` and ``attention``. Of some training clips, in training mode, with the weights of its last step.

    Raises ``ValueError`` for a run of another method.
    """
    whole(1, clips=clips)
    method = run.recipe.method
    if not isinstance(method, GenerativeDistillation) or not method.generative:
        raise ValueError(f"{run.folder.name} was not trained by generative distillation")
    teacher = find(run.recipe.teacher, pretrained=True)
    nets = {"student": run.net().requires_grad_(True), "cvae": read_cvae(run.folder)}
    nets |= {"teacher": teacher.net().requires_grad_(False), "teacher_cvae": read_cvae(teacher.folder)}
    weights = {"ce": 1.0, "generated": method.reconstruction, "attention": method.beta}
    some = batches(run.recipe, "train")
    some = replace(some, records=some.records[:: max(1, len(some.records) // clips)])
    parameters = list(nets["student"].net.backbone.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        passes = replace(method, alternating=0).losses(nets, next(some.evaluation(2 * clips)), Progress(1, 1))
        terms = {which: terms for which, _, terms in passes}["net"]
    norms = {}
    for name, weight in weights.items():
        found = torch.autograd.grad(weight * terms[name], parameters, retain_graph=True, allow_unused=True)
        norms[name] = float(torch.sqrt(sum(g.square().sum() for g in found if g is not None)))
    return {name: norm / norms["ce"] for name, norm in norms.items() if name != "ce"}
