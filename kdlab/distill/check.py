"""Check a distillation before training, for mistakes that would cost days to find; each error says how to fix it."""

from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def _as_found(*nets: nn.Module):
    """Disable gradients inside; afterwards restore modes, buffers and random states. Yields copies of the buffers."""
    modes = {module: module.training for net in nets for module in net.modules()}
    buffers = [{name: b.clone() for name, b in net.named_buffers()} for net in nets]
    devices = {p.device for net in nets for p in net.parameters() if p.is_cuda}
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        try:
            yield buffers
        finally:
            for module, training in modes.items():
                module.training = training
            for net, before in zip(nets, buffers, strict=True):
                for name, values in before.items():
                    net.get_buffer(name).copy_(values)


def _logits(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return net(x.to(next(net.parameters(), x).device)).float().cpu()


def check_distillation(teacher: nn.Module, student: nn.Module, batch) -> list[str]:
    """Run both networks once on ``batch`` (``views["teacher"]``, ``views["student"]``, ``labels``) and look for
    mistakes.

    Both networks and torch's random state are restored afterwards. Returns warnings (a teacher that is worse than its
    student). Raises ``ValueError`` with one sentence for each mistake.
    """
    findings = []
    if training := [name or "the whole" for name, module in teacher.named_modules() if module.training]:
        findings.append(f"The teacher is in training mode (first: {training[0]}), so dropout makes its targets random: "
                        "call teacher.eval() after every train() of a module that holds it.")
    if open_ := [name for name, p in teacher.named_parameters() if p.requires_grad]:
        findings.append(f"The teacher takes gradients ({len(open_)} parameters, first: {open_[0]}) and would be "
                        "trained or waste memory: call teacher.requires_grad_(False).")
    own = {p.data_ptr() for p in student.parameters()}
    shared = [name for name, p in teacher.named_parameters() if p.data_ptr() in own and p.numel()]
    if shared:
        findings.append(f"Teacher and student share {len(shared)} parameters (first: {shared[0]}), so the teacher "
                        "moves with the student: build two networks, or copy one (copy.deepcopy).")

    with _as_found(teacher, student) as (before, _):
        targets = _logits(teacher, batch.views["teacher"])
        moved = [name for name, b in teacher.named_buffers() if not torch.equal(b, before[name])]
        answered = _logits(student.eval(), batch.views["student"])
    if moved:
        findings.append(f"The teacher's statistics move when it runs ({len(moved)} buffers, first: {moved[0]}): put "
                        "its batch norm in eval mode; only its own training may change them.")
    for who, logits in (("teacher", targets), ("student", answered)):
        if (logits >= 0).all() and torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-3):
            findings.append(f"The {who} answers with probabilities (rows sum to 1) where logits belong: the losses do "
                            "their own softmax; take it out of the network.")
    if targets.shape[1] != answered.shape[1]:
        findings.append(f"The teacher knows {targets.shape[1]} classes, the student {answered.shape[1]}: give both the "
                        "same list of classes in the same order.")
    if findings:
        raise ValueError("\n  ".join([f"{len(findings)} mistake(s) in this distillation:", *findings]))
    right = [100 * float((logits.argmax(1) == batch.labels.cpu()).float().mean()) for logits in (targets, answered)]
    if right[0] < right[1]:
        return [f"The teacher is worse than the student on this batch ({right[0]:.1f} % right against {right[1]:.1f} %)"
                ": see that it has its own view and normalisation, or train it longer."]
    return []
