"""Trace and largest Hessian eigenvalue: kdlab against PyHessian and curvlinops, at equal error.

    python benchmarks/flatness.py [NETWORK…]     # prints a table, writes benchmarks/flatness.json; default: all

Needs ``pip install pyhessian curvlinops-for-pytorch linear_operator``; what cannot be imported is left out and said so.
PyHessian's place is then taken by its method in plain torch: power iteration and Hutchinson on a kept graph.

ResNet-18 and shufflenet_v2_x0_5 on 32 images of 32², TinyR2Plus1D on 64 clips of 8 × 24² and r3d_18 on 4 of 8 × 32²,
ten noisy patterns (r3d_18: four) learnt to under half a nat; in one mini-batch and in four. Products for the trace: the
probes (of kdlab's at least 3 in a block, of others' at least 2) that their variance asks for at a true standard error
of 5, 2 and 1 %, and the Lanczos steps. A stopping rule that looks at its own
few probes would make counts a lottery, so variances are those of 24 probes in each block, by their images, and of 48 of
PyHessian's, by theirs (r3d_18: a third of that); curvlinops draws the same plain random signs. A probe of kdlab's
walks the graph behind its block alone: it counts as the part of a whole product that its seconds are.
"One block" is kdlab without blocks. Products for the eigenvalue: counted until ‖Hv − λv‖ ≤ 0.01 λ; ARPACK, which
curvlinops hands its products to, has that as its tolerance. Seconds: products times CPU seconds of one, and making the
operator. fp32, one thread, everybody's library warmed up. The Gauss-Newton row measures another matrix; on a piecewise
linear network (ResNet-18, evaluation mode) of equal trace.
"""

import contextlib
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch.nn import functional as F
from torchvision.models import resnet18, shufflenet_v2_x0_5
from torchvision.models.video import r3d_18

from kdlab.measure.flatness import BLOCKS, Hessian
from kdlab.measure.lanczos import FIRST, Krylov, extremes, lanczos
from kdlab.measure.lanczos import _Block as Block
from kdlab.nets.layers import one_thread
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.train.device import seeded

with contextlib.suppress(ImportError):
    import pyhessian
with contextlib.suppress(ImportError):
    import curvlinops

RESIDUAL, PROBES = 1e-2, 24
#: Standard errors of the trace, relative.
ERRORS = {"5_percent": 0.05, "2_percent": 0.02, "1_percent": 0.01}


class Reached(Exception):
    """The peer's power iteration is where it was to go."""


def clocked(work):
    start = time.process_time()
    return work(), time.process_time() - start


def learnt(net, shape: tuple[int, ...], count: int, generator: torch.Generator):
    """Noisy examples of ten patterns ``x (count, *shape)`` and ``y (count,)``, which ``net`` is taught by Adam to under
    half a nat in evaluation mode, which is measured; and that loss."""
    y = torch.arange(count) % 10
    x = torch.rand(10, *shape, generator=generator)[y] + 0.3 * torch.randn(
        count, *shape, generator=generator
    )
    optimiser, loss = torch.optim.Adam(net.parameters(), 1e-3), 9.0
    while loss >= 0.5:
        for _ in range(3):
            optimiser.zero_grad()
            F.cross_entropy(net.train()(x), y).backward()
            optimiser.step()
        with torch.no_grad():
            loss = float(F.cross_entropy(net.eval()(x), y))
    net.zero_grad(set_to_none=True)
    return x, y, loss


def networks(names: Sequence[str]):
    """Those of ``names`` (none: all), each taught."""
    generator = torch.Generator().manual_seed(0)
    makers = {
        "TinyR2Plus1D": (lambda: build(TinyR2Plus1D(), 10, 0), 64, (3, 8, 24, 24)),
        "ResNet-18": (lambda: resnet18(num_classes=10), 32, (3, 32, 32)),
        "shufflenet_v2_x0_5": (lambda: shufflenet_v2_x0_5(num_classes=10), 32, (3, 32, 32)),
        "r3d_18": (lambda: r3d_18(num_classes=10), 4, (3, 8, 32, 32)),
    }
    for name in names or makers:
        make, count, shape = makers[name]
        net = make()
        yield name, net, *learnt(net, shape, count, generator)


def row(
    value: float, needed: dict[str, float], before: int, each: float, setup: float, found: dict
) -> dict:
    """``needed``: products for the trace by error; ``found`` is about the eigenvalue; ``before``: Lanczos steps, which
    gave the eigenvalue too and are paid once."""
    both = {name: before + n + (0 if before else found["products"]) for name, n in needed.items()}
    return (
        {"trace": round(value, 1)}
        | {f"products_{name}": round(before + n, 1) for name, n in needed.items()}
        | {
            "eigenvalue": round(found["value"], 3),
            "residual": round(found["residual"], 5),
            "eigenvalue_products": found["products"],
            "both_products": round(both["5_percent"], 1),
            "seconds_per_product": round(each, 4),
            "both_seconds": round(setup + both["5_percent"] * each, 2),
            "both_seconds_by_error": {name: round(setup + n * each, 2) for name, n in both.items()},
        }
    )


def ours(net, data, gauss_newton: bool = False, blocks: int = BLOCKS, probes: int = PROBES) -> dict:
    with mock.patch("kdlab.measure.flatness.BLOCKS", blocks):
        hessian, setup = clocked(lambda: Hessian(net, data, gauss_newton=gauss_newton))
    found, seconds = clocked(lambda: extremes(hessian, RESIDUAL, smallest=False))
    run = found.run
    probe, found_in = walked(hessian), seen(hessian, run, probes)
    each = seconds / len(run.diagonal)
    value = float(run.diagonal.sum()) + sum(float(np.mean(block.values)) for block in found_in)
    spread = np.array([block.spread for block in found_in])
    chosen = {name: probes_for(spread, error * value, FIRST) for name, error in ERRORS.items()}
    needed = {name: float(counts @ probe / each) for name, counts in chosen.items()}
    about = next(
        e
        for m in range(2, len(run.diagonal) + 1)
        if (e := shortened(run, m))["residual"] <= RESIDUAL
    )
    return row(value, needed, len(run.diagonal), each, setup, about) | {
        "steps": len(run.diagonal),
        "probes": {name: [int(n) for n in counts] for name, counts in chosen.items()},
    }


def seen(hessian: Hessian, run: Krylov, probes: int) -> list[Block]:
    """The blocks, each with so many probes."""
    found = []
    for number, place in enumerate(hessian.blocks):
        generator, block = seeded(0, 3, number), Block()
        for _ in range(probes):
            signs = (
                torch.randint(0, 2, (place.stop - place.start,), generator=generator).to(
                    hessian.dtype
                )
                * 2
                - 1
            )
            block.add(signs * run.outside(place, signs, *hessian.within([(number, signs)])))
        found.append(block)
    return found


def walked(hessian: Hessian) -> np.ndarray:
    """CPU seconds of a probe in each block."""
    seconds = []
    for number, place in enumerate(hessian.blocks):
        ones = torch.ones(place.stop - place.start, dtype=hessian.dtype)
        times = [clocked(lambda n=number, v=ones: hessian.within([(n, v)]))[1] for _ in range(3)]
        seconds.append(np.median(times))
    return np.array(seconds)


def probes_for(spread: np.ndarray, error: float, least: int = 2) -> np.ndarray:
    """In each block, for that standard error of the sum: in proportion to its spread."""
    return np.maximum(least, np.ceil(spread * spread.sum() / error**2))


def shortened(run: Krylov, steps: int) -> dict:
    """What a Lanczos run knew after so many of its steps."""
    values, _, residuals = Krylov(
        run.basis, run.diagonal[:steps], run.beside[:steps], run.beyond
    ).ritz()
    return {
        "value": float(values[-1]),
        "residual": float(residuals[-1] / values[-1]),
        "products": steps,
    }


class Plain:
    """PyHessian's method where PyHessian is missing. ``product`` counts, and stops the iteration."""

    def __init__(self, net, x, y):
        self.params = list(net.parameters())
        self.slope = torch.autograd.grad(
            F.cross_entropy(net.eval()(x), y), self.params, create_graph=True
        )

    def probes(self, count: int, product) -> list[float]:
        signs = ([torch.randint_like(p, 2) * 2 - 1 for p in self.params] for _ in range(count))
        return [
            sum(
                float((a * b).sum())
                for a, b in zip(v, product(self.slope, self.params, v), strict=True)
            )
            for v in signs
        ]

    def spread(self, count: int, product) -> None:
        """``product`` notes what so many probes see."""
        Plain.probes(self, count, product)

    def iterate(self, product) -> None:
        v = [torch.randn_like(p) for p in self.params]
        while True:
            norm = sum(float((a * a).sum()) for a in v) ** 0.5
            v = product(self.slope, self.params, [a / norm for a in v])


class PyHessian(Plain):
    def __init__(self, net, x, y):
        self.peer = pyhessian.hessian(net, F.cross_entropy, data=(x, y), cuda=False)
        self.params, self.slope = self.peer.params, self.peer.gradsH

    def probes(self, count: int, product) -> list[float]:
        return self.peer.trace(maxIter=count, tol=0)

    def iterate(self, product) -> None:
        pyhessian.hessian.__init__.__globals__["hessian_vector_product"] = product
        self.peer.eigenvalues(maxIter=10**6, tol=0)


def plain(kind, net, x, y, probes: int, trace: float) -> dict:
    """``trace``: what errors are relative to, the same for all; its own estimate may be far off."""
    found = {"products": 0}

    def product(slope, params, v):
        image = torch.autograd.grad(slope, params, v, retain_graph=True)
        value = sum(float((a * b).sum()) for a, b in zip(v, image, strict=True))
        gap = (
            sum(float((b - value * a).square().sum()) for a, b in zip(v, image, strict=True)) ** 0.5
        )
        found.update(value=value, residual=gap / abs(value), products=found["products"] + 1)
        if gap <= RESIDUAL * abs(value):
            raise Reached
        return image

    peer, setup = clocked(lambda: kind(net, x, y))
    seen = Block()

    def noted(slope, params, v):
        image = torch.autograd.grad(slope, params, v, retain_graph=True)
        seen.add(torch.cat([(a * b).flatten() for a, b in zip(v, image, strict=True)]))
        return image

    peer.spread(2 * probes, noted)
    several, seconds = clocked(
        lambda: peer.probes(6, lambda *a: torch.autograd.grad(*a, retain_graph=True))
    )
    with contextlib.suppress(Reached):
        peer.iterate(product)
    net.zero_grad(set_to_none=True)
    value, spread = float(np.mean(seen.values)), np.array([seen.spread])
    needed = {name: float(probes_for(spread, error * trace)[0]) for name, error in ERRORS.items()}
    return row(value, needed, 0, seconds / len(several), setup, found)


def with_curvlinops(net, x, y, probes_needed: dict) -> dict:
    """Its Hutchinson is the same estimator as PyHessian's: only the time of its products is measured here."""
    make = curvlinops.HessianLinearOperator
    operator, setup = clocked(
        lambda: make(net.eval(), torch.nn.CrossEntropyLoss(), list(net.parameters()), [(x, y)])
    )
    scipy, count = operator.to_scipy(), 0
    times = scipy.matvec

    def counted(v):
        nonlocal count
        count += 1
        return times(v)

    scipy.matvec = counted
    (value, vector), seconds = clocked(lambda: eigsh(scipy, 1, which="LA", tol=RESIDUAL))
    gap = np.linalg.norm(times(vector[:, 0]) - value * vector[:, 0]) / value[0]
    both = probes_needed["products_5_percent"] + count
    return probes_needed | {
        "eigenvalue": round(float(value[0]), 3),
        "residual": round(float(gap), 5),
        "eigenvalue_products": count,
        "both_products": both,
        "seconds_per_product": round(seconds / count, 4),
        "both_seconds": round(setup + both * seconds / count, 2),
    }


def in_mini_batches(net, x, y, rows: dict, peer: str) -> dict:
    """CPU seconds of trace and eigenvalue where the data is four mini-batches, by error: products as above. Both make
    the graphs anew for each product."""
    data = list(zip(x.chunk(4), y.chunk(4), strict=True))
    params, mine, theirs = list(net.parameters()), rows["kdlab"], rows[peer]
    hessian, setup = clocked(lambda: Hessian(net, data))
    run, seconds = clocked(lambda: lanczos(hessian, mine["steps"]))
    probe = walked(hessian)

    def product():
        for chunk in data:
            slope = torch.autograd.grad(
                F.cross_entropy(net(chunk[0]), chunk[1]), params, create_graph=True
            )
            torch.autograd.grad(slope, params, [torch.ones_like(p) for p in params])

    each = np.median([clocked(product)[1] for _ in range(3)])
    kdlab = {name: setup + seconds + float(mine["probes"][name] @ probe) for name in ERRORS}
    plain = {
        name: float(each) * (theirs[f"products_{name}"] + theirs["eigenvalue_products"])
        for name in ERRORS
    }
    return {
        "kdlab": {name: round(s, 2) for name, s in kdlab.items()},
        peer: {n: round(s, 2) for n, s in plain.items()},
    }


def compare(net, x, y, few: bool) -> tuple[dict, str]:
    """Rows, and the peer's name; of a large network with ``few`` probes, and no variants of kdlab's."""
    data, probes = [(x, y)], PROBES // 3 if few else PROBES
    warm = Hessian(net, data)
    warm.product(torch.ones(1, warm.size))
    del warm
    peer = PyHessian if "pyhessian" in globals() else Plain
    rows = {"kdlab": ours(net, data, probes=probes)}
    if not few:
        rows |= {
            "kdlab, one block": ours(net, data, blocks=1),
            "kdlab, Gauss-Newton": ours(net, data, True),
        }
    rows[peer.__name__] = plain(peer, net, x, y, probes, rows["kdlab"]["trace"])
    if "curvlinops" in globals():
        try:
            rows["curvlinops"] = with_curvlinops(net, x, y, rows[peer.__name__])
        except NotImplementedError as error:
            rows["curvlinops"] = {"failed": str(error)}
    return rows, peer.__name__


def main() -> None:
    torch.manual_seed(0)
    file = Path(__file__).with_suffix(".json")
    note = (
        json.loads(file.read_text(encoding="utf-8"))
        if file.is_file() and sys.argv[1:]
        else {"networks": {}}
    )
    note |= {"torch": torch.__version__, "machine": platform.machine()}
    note["peers"] = [name for name in ("pyhessian", "curvlinops") if name in globals()]
    print(
        "peers:",
        ", ".join(note["peers"]) or "none installed; plain power iteration and Hutchinson instead",
    )
    with one_thread():
        for name, net, x, y, loss in networks(sys.argv[1:]):
            rows, peer = compare(net, x, y, few=name == "r3d_18")
            batches = in_mini_batches(net, x, y, rows, peer)
            ways = rows["kdlab"]["both_seconds_by_error"], rows[peer]["both_seconds_by_error"]
            ratios = {
                "whole": [
                    round(b / a, 2) for a, b in zip(*(w.values() for w in ways), strict=True)
                ],
                "4_mini_batches": [
                    round(batches[peer][e] / batches["kdlab"][e], 2) for e in ERRORS
                ],
            }
            note["networks"][name] = {
                "loss": round(loss, 3),
                "samples": len(y),
                "rows": rows,
                "seconds_in_4_mini_batches": batches,
                f"{peer} / kdlab": ratios,
            }
            print(f"\n{name}: {len(y)} samples, cross-entropy {loss:.3f}")
            print(f"  {peer} / kdlab at errors of {', '.join(ERRORS)}: {ratios}")
            for way, r in rows.items():
                print(f"  {way:20s} {r}")
            print("  seconds with 4 mini-batches:", batches, flush=True)
    file.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")  # whole, or not at all
    print(f"\nCPU seconds of all this: {time.process_time():.0f}")


if __name__ == "__main__":
    main()
