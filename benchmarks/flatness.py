"""Trace and largest Hessian eigenvalue: kdlab against PyHessian and curvlinops, at equal error.

    python benchmarks/flatness.py            # prints a table, writes benchmarks/flatness.json

Needs ``pip install pyhessian curvlinops-for-pytorch``. What cannot be imported is left out and said so; PyHessian's
place is then taken by plain power iteration and plain Hutchinson on a kept graph, which is what it does.

Two networks, trained to about half a nat on noisy patterns: torchvision's ResNet-18 on 32 images of 32², and
TinyR2Plus1D on 64 clips of 8 × 32². Equal errors: a standard error of 5 % of the trace after at least ten probes,
whoever draws them, and ‖Hv − λv‖ ≤ 0.01 λ. fp32, one mini-batch, one thread, CPU time. PyHessian's probes go on until
kdlab's rule stops them, its power iteration until the residual is reached; looking is not on its clock. ARPACK, which
curvlinops hands its products to, has that tolerance as an argument; the residual it reached is printed.
"""

import contextlib
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch.nn import functional as F
from torchvision.models import resnet18

from kdlab.measure.flatness import Hessian
from kdlab.measure.lanczos import extremes, sketch, trace
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.train import one_thread

with contextlib.suppress(ImportError):
    import pyhessian
with contextlib.suppress(ImportError):
    import curvlinops

ERROR, RESIDUAL, PROBES = 0.05, 1e-2, 10


class Reached(Exception):
    """The peer has done what was asked."""


class Clock:
    """CPU seconds and products, stopped while looking."""

    def __init__(self):
        self.seconds, self.products, self.start = 0.0, 0, time.process_time()

    @contextlib.contextmanager
    def stopped(self):
        self.seconds += time.process_time() - self.start
        yield
        self.start = time.process_time()

    def row(self, **more) -> dict:
        return {"products": self.products, "seconds": round(self.seconds, 2)} | more


def networks():
    generator = torch.Generator().manual_seed(0)
    tiny, flat = build(TinyR2Plus1D(), 10, 0), resnet18(num_classes=10)
    for name, net, count, shape in (("ResNet-18", flat, 32, (3, 32, 32)), ("TinyR2Plus1D", tiny, 64, (3, 8, 32, 32))):
        y = torch.arange(count) % 10
        x = torch.rand(10, *shape, generator=generator)[y] + torch.randn(count, *shape, generator=generator)
        optimiser, loss = torch.optim.Adam(net.parameters(), 1e-3), torch.tensor(9.0)
        for _ in range(100):  # evaluation mode throughout: its loss is the one that is measured
            loss = F.cross_entropy(net.eval()(x), y)
            if loss < 0.5:
                break
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        yield name, net, x, y, round(float(loss.detach()), 3)


def enough(values: list[float]) -> bool:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.inf
    return len(values) >= PROBES and error <= ERROR * abs(np.mean(values))


def needed(values, total: float) -> int:
    """Probes for a standard error of 1 %, by the variance seen."""
    return int(np.ceil(np.var(values, ddof=1) / (0.01 * total) ** 2))


def kdlab_together(net, x, y) -> dict:
    clock = Clock()
    hessian = Hessian(net, [(x, y)])
    found = extremes(hessian, RESIDUAL, smallest=False)
    with clock.stopped():
        top = clock.row(value=found.largest, residual=found.residuals[0]) | {"products": hessian.products}
    estimate = trace(hessian, found.run, ERROR, PROBES, block=1)
    with clock.stopped():
        both = clock.row(value=estimate.value, error=estimate.error / abs(estimate.value),
                         for_1_percent=len(found.run.diagonal) + needed(estimate.probes, estimate.value))
    return {"eigenvalue": top, "together": both | {"products": hessian.products}}


def kdlab_trace(net, x, y, rank: int) -> dict:
    clock = Clock()
    hessian = Hessian(net, [(x, y)])
    estimate = trace(hessian, sketch(hessian, rank) if rank else None, ERROR, PROBES, block=1)
    with clock.stopped():
        more = needed(estimate.probes, estimate.value) + 2 * rank
    return clock.row(value=estimate.value, error=estimate.error / abs(estimate.value), for_1_percent=more) | {
        "products": hessian.products}


class Plain:
    """The peer's method where the peer is missing: one kept graph, random signs, power iteration."""

    def __init__(self, net, x, y):
        self.params = [p for p in net.parameters()]
        self.gradsH = torch.autograd.grad(F.cross_entropy(net.eval()(x), y), self.params, create_graph=True)

    def probe(self, product) -> float:
        v = [torch.randint_like(p, 2) * 2 - 1 for p in self.params]
        return sum(float((a * b).sum()) for a, b in zip(v, product(self.gradsH, self.params, v), strict=True))

    def iterate(self, product) -> None:
        v = [torch.randn_like(p) for p in self.params]
        while True:
            norm = sum(float((a * a).sum()) for a in v) ** 0.5
            v = product(self.gradsH, self.params, [a / norm for a in v])


class PyHessian(Plain):
    def __init__(self, net, x, y):
        self.peer = pyhessian.hessian(net, F.cross_entropy, data=(x, y), cuda=False)

    def probe(self, product) -> float:
        pyhessian.hessian.__init__.__globals__["hessian_vector_product"] = product
        return self.peer.trace(maxIter=1)[0]

    def iterate(self, product) -> None:
        pyhessian.hessian.__init__.__globals__["hessian_vector_product"] = product
        self.peer.eigenvalues(maxIter=10**6, tol=0)


def plain(kind, net, x, y) -> dict:
    def product(gradients, params, v):
        clock.products += 1
        image = torch.autograd.grad(gradients, params, v, retain_graph=True)
        with clock.stopped():
            top.append(sum(float((a * b).sum()) for a, b in zip(v, image, strict=True)))
            gap = sum(float((b - top[-1] * a).square().sum()) for a, b in zip(v, image, strict=True)) ** 0.5
            if power and gap <= RESIDUAL * abs(top[-1]):
                raise Reached
        return image

    top, values, power, clock = [], [], False, Clock()
    peer = kind(net, x, y)
    while not enough(values):
        values.append(peer.probe(product))
    with clock.stopped():
        mean = float(np.mean(values))
        alone = clock.row(value=mean, error=float(np.std(values, ddof=1) / len(values) ** 0.5 / abs(mean)),
                          for_1_percent=needed(values, mean))
        power = True
    with contextlib.suppress(Reached):
        peer.iterate(product)
    both = clock.row(value=top[-1], residual=RESIDUAL)
    net.zero_grad(set_to_none=True)
    return {"trace": alone, "together": both}


def with_curvlinops(net, x, y) -> dict:
    clock, values = Clock(), []
    operator = curvlinops.HessianLinearOperator(net.eval(), torch.nn.CrossEntropyLoss(), list(net.parameters()),
                                                [(x, y)])
    while not enough(values):
        values.append(float(curvlinops.hutchinson_trace(operator, 1)))
        clock.products += 1
    with clock.stopped():
        mean = float(np.mean(values))
        alone = clock.row(value=mean, error=float(np.std(values, ddof=1) / len(values) ** 0.5 / abs(mean)),
                          for_1_percent=needed(values, mean))
    scipy, count = operator.to_scipy(), clock.products
    times = scipy.matvec

    def counted(v):
        clock.products += 1
        return times(v)

    scipy.matvec = counted
    value, vector = eigsh(scipy, 1, which="LA", tol=RESIDUAL)
    with clock.stopped():
        top = float(value[0])
        image = times(vector[:, 0])
        both = clock.row(value=top, residual=float(np.linalg.norm(image - top * vector[:, 0]) / abs(top)),
                         eigenvalue_products=clock.products - count)
    return {"trace": alone, "together": both}


def compare(net, x, y) -> dict:
    ours = kdlab_together(net, x, y)
    rows = {"kdlab": ours, "kdlab Hutchinson": {"trace": kdlab_trace(net, x, y, 0)},
            "kdlab Hutch++": {"trace": kdlab_trace(net, x, y, 10)}}
    peer = PyHessian if "pyhessian" in globals() else Plain
    rows[peer.__name__] = plain(peer, net, x, y)
    if "curvlinops" in globals():
        rows["curvlinops"] = with_curvlinops(net, x, y)
    return rows


def main() -> None:
    torch.manual_seed(0)
    note = {"torch": torch.__version__, "machine": platform.machine(), "networks": {}}
    note["peers"] = [name for name in ("pyhessian", "curvlinops") if name in globals()]
    print("peers:", ", ".join(note["peers"]) or "none installed; plain power iteration and Hutchinson instead")
    with one_thread():
        for name, net, x, y, loss in networks():
            rows = compare(net, x, y)
            note["networks"][name] = {"loss": loss, "samples": len(y), "rows": rows}
            print(f"{name}: {len(y)} samples, cross-entropy {loss}")
            reference = rows["kdlab"]["together"]["seconds"]
            for way, parts in rows.items():
                for part, row in parts.items():
                    shown = ", ".join(f"{k} {v:.4g}" for k, v in row.items())
                    print(f"  {way:16s} {part:10s} {shown}; {row['seconds'] / reference:.2f} × kdlab's time for both")
    Path(__file__).with_suffix(".json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
