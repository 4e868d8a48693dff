"""One training loop for every method, its settings and its optimisers. It contains no distillation.

A method is a small object, such as ``kdlab.distill.method.KD``: see :class:`kdlab.protocols.Method`. The loop steps the
optimiser of each loss before it requests the next loss, so a method with two passes needs no loop of its own.

Every random number is a function of (seed, step). A run that is killed and resumed therefore ends in the same bits, and
a checkpoint stores only weights, optimiser moments and the step number. A rate is a function of the step and of the
history. The clips and draws of a batch do not depend on the number of processes (:mod:`kdlab.train.processes`); dropout
masks do.
"""

import hashlib
import io
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.clips.windows import Batch, ClipBatches
from kdlab.nets.layers import one_thread
from kdlab.system.files import write_atomically
from kdlab.system.values import fraction, integer, not_negative, one_of, positive
from kdlab.train import processes
from kdlab.train.processes import is_first, launched, precision


@dataclass(frozen=True)
class Rule:
    """One optimiser: ``adamw``; ``adam``, which adds the decay to the gradient; or ``sgd``, which does so too and has
    ``momentum``.

    ``share`` and ``decay`` are fractions of the settings' rate and weight decay.
    """

    kind: str = "adam"
    share: float = 1.0
    decay: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9

    def __post_init__(self):
        one_of(("adamw", "adam", "sgd"), kind=self.kind)
        positive(share=self.share, eps=self.eps)
        not_negative(decay=self.decay)
        fraction(betas=self.betas, momentum=self.momentum)


@dataclass(frozen=True)
class AsReleased:
    """Optimisers and schedule of a paper's released code, switched on by ``Settings.as_released``.

    ``rules`` maps the names of the method's optimisers to their rules. ``shares`` are pairs of a pattern and a fraction
    of the rate: the first pattern found in a weight's name (``student.net.fc.weight``) gives that weight's fraction; a
    weight that no pattern matches has the full rate. Without ``biases``, weights with ``bias`` in their name do not
    decay. The rate is divided by ten at each of the epochs ``falls``, counted from 0. With ``patience`` it is divided
    by ten after more than that number of epochs without a lower validation loss (torch's ``ReduceLROnPlateau``).
    Otherwise it is constant.
    """

    rules: tuple[tuple[str, Rule], ...] = (("net", Rule()),)
    shares: tuple[tuple[str, float], ...] = ()
    biases: bool = True
    falls: tuple[int, ...] = ()
    patience: int = 0

    def __post_init__(self):
        positive(shares=[share for _, share in self.shares])
        integer(1, falls=self.falls)
        integer(0, "0 never lowers the rate", patience=self.patience)
        if self.falls and self.patience:
            raise ValueError(f"falls={self.falls} and patience={self.patience}: a rate falls at fixed epochs or on a "
                             "plateau; give one of them")


@dataclass(frozen=True)
class Settings:
    """The hyper-parameters of one optimisation by AdamW.

    ``epochs`` are passes over the clips. A batch has ``batch_size`` clips over all processes together; the clips left
    over at the end of an epoch, too few for a batch, are skipped in that epoch. ``lr`` is the peak rate of the
    ``schedule`` (``one_cycle`` or ``cosine``). ``precision`` is ``fp32``, or ``bf16`` for mixed precision where the
    hardware supports it (the ``paper`` profile). ``accumulate`` is the number of parts into which a process divides its
    share of a batch; the gradients of the parts are summed. This needs less memory and takes the same step, except for
    rounding, dropout and batch norm's statistics. ``as_released`` replaces AdamW and the ``schedule`` with a paper's
    released optimisers and rates.
    """

    epochs: int = 30
    batch_size: int = 16
    lr: float = 4e-3
    weight_decay: float = 1e-2
    schedule: str = "one_cycle"
    precision: str = "fp32"
    as_released: AsReleased | None = None
    accumulate: int = field(default=1, kw_only=True)

    def __post_init__(self):
        integer(1, epochs=self.epochs, batch_size=self.batch_size, accumulate=self.accumulate)
        positive("4e-3 is usual here", lr=self.lr)
        not_negative(weight_decay=self.weight_decay)
        one_of(("one_cycle", "cosine"), schedule=self.schedule)
        one_of(("fp32", "bf16"), precision=self.precision)


@lru_cache(maxsize=8)  # called at every step
def _on_plateau(lr: float, patience: int, losses: tuple[float, ...]) -> float:
    """The rate after epochs with these ``losses``: torch's own scheduler, replayed from the first epoch."""
    bearer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(bearer, patience=patience)
    for loss in losses:
        scheduler.step(loss)
    return bearer.param_groups[0]["lr"]


def optimiser_for(settings: Settings, key: str, weights: Iterable[tuple[str, nn.Parameter]],
                  fused: bool) -> torch.optim.Optimizer:
    """The method's optimiser ``key`` over named ``weights``, according to ``settings``. Raises ``ValueError`` where
    these have no rule for it.

    A group with a ``share`` has that fraction of :func:`learning_rate`. ``fused``: one pass over weights and moments.
    """
    weights, released = list(weights), settings.as_released
    fused = fused and all(weight.is_floating_point() for _, weight in weights)  # torch does not fuse complex weights
    if released is None:
        plain = [weight for _, weight in weights]
        return torch.optim.AdamW(plain, settings.lr, weight_decay=settings.weight_decay, fused=fused)
    if not (rule := dict(released.rules).get(key)):
        raise ValueError(f"as_released has rules for {', '.join(dict(released.rules))}, and the method an optimiser "
                         f"{key!r}: add a rule for it")
    alike = {}
    for name, weight in weights:
        share = next((part for pattern, part in released.shares if re.search(pattern, name)), 1.0)
        decay = rule.decay * settings.weight_decay if released.biases or "bias" not in name else 0.0
        alike.setdefault((rule.share * share, decay), []).append(weight)
    groups = [{"params": some, "share": share, "weight_decay": decay} for (share, decay), some in alike.items()]
    if rule.kind == "sgd":
        return torch.optim.SGD(groups, settings.lr, rule.momentum, fused=fused)
    kind = torch.optim.AdamW if rule.kind == "adamw" else torch.optim.Adam
    return kind(groups, settings.lr, rule.betas, rule.eps, fused=fused)


def learning_rate(settings: Settings, step: int, steps: int, epoch: int = 0, history: Sequence[dict] = ()) -> float:
    """The rate at ``step`` of ``steps``. ``one_cycle`` rises linearly over the first fifth; both schedules fall to 0
    along a half cosine. ``settings.as_released`` uses the ``epoch`` instead, and the ``history`` of the earlier
    epochs."""
    if released := settings.as_released:
        if released.patience:
            losses = tuple(row["val_loss"] for row in history if "val_loss" in row)
            return _on_plateau(settings.lr, released.patience, losses)
        return settings.lr * 0.1 ** sum(epoch >= fall for fall in released.falls)
    warm = steps / 5 if settings.schedule == "one_cycle" else 0
    if step < warm:
        return settings.lr * (step + 1) / (warm + 1)
    turn = torch.tensor((step - warm) / max(1, steps - warm) * torch.pi, dtype=torch.float64)
    return settings.lr * float(0.5 * (1 + torch.cos(turn)))


@dataclass(frozen=True)
class Progress:
    """The state of a training: ``step`` of ``steps``, and the return value of the method's ``prepare``. ``seed``
    belongs to this step: use it for a draw that must be the same for all parts of a batch, because torch's own
    generator gives each part different numbers."""

    step: int
    steps: int
    prepared: object = None
    seed: int = 0

    @property
    def fraction(self) -> float:
        return self.step / self.steps


@dataclass
class Trained:
    """The result of :func:`fit`. ``history`` has one row per epoch. ``first_losses`` are the first ten losses, in the
    order of the optimisers within a step. ``precision`` is the one that was used. ``owned`` names the trained networks.
    With several processes, losses are those of whole batches, and CPU seconds are summed over the processes."""

    nets: dict[str, nn.Module]
    history: list[dict]
    first_losses: list[float]
    steps: int
    cpu_seconds: float
    device: str
    precision: str = "fp32"
    owned: list[str] = field(default_factory=list)

    def weights(self) -> dict[str, torch.Tensor]:
        """The tensors of the trained networks, on the CPU, named as in a run's file: ``student.net.fc.weight``."""
        return cpu_copies({f"{name}.{k}": v for name in self.owned for k, v in self.nets[name].state_dict().items()})


def seeded(*parts: int) -> torch.Generator:
    """A generator that depends only on ``parts`` (splitmix-style mixing of small integers)."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = (state ^ (part + 0x9E3779B97F4A7C15 + (state << 6) + (state >> 2))) * 0xBF58476D1CE4E5B9 % 2**63
    return torch.Generator().manual_seed(state)


@contextmanager
def seeded_generators(*parts: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python with ``parts`` (:func:`_seed`) inside the block; restore
    their states afterwards."""
    numpys, pythons = np.random.get_state(), random.getstate()
    on = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=on):
        try:
            _seed(*parts)
            yield
        finally:
            np.random.set_state(numpys)
            random.setstate(pythons)


def _seed(*parts: int) -> None:
    """Seed the global generators of torch, NumPy and Python as a function of ``parts`` alone."""
    number = seeded(*parts).initial_seed()
    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


def clips_of_batch(count: int, settings: Settings, seed: int, step: int):
    """The indices of the clips in the batch at ``step`` of :func:`fit`, out of ``count``, and the generator of their
    draws."""
    batch_size = min(settings.batch_size, count)
    epoch, place = divmod(step, count // batch_size)
    order = torch.randperm(count, generator=seeded(seed, 1, epoch)).tolist()
    return order[place * batch_size : (place + 1) * batch_size], seeded(seed, 2, step, 0)


def predict(net: nn.Module, batches, view: str) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Logits ``(N, K)``, labels ``(N,)`` and ids of evaluation ``batches``, in eval mode without gradients."""
    device = next(net.parameters()).device
    modes = {module: module.training for module in net.modules()}
    net.eval()
    with torch.no_grad(), one_thread(device.type):
        rows = [(net(batch.views[view].to(device)).float().cpu(), batch.labels, batch.ids) for batch in batches]
    for module, training in modes.items():  # net.train() would also set frozen layers to training mode
        module.training = training
    return torch.cat([r[0] for r in rows]), torch.cat([r[1] for r in rows]), [i for r in rows for i in r[2]]


def batches_on_device(clips, requests: Iterable[tuple], device: torch.device) -> Iterator[Batch]:
    """Yield ``clips.training(*request)`` for each of ``requests``, in order, on ``device``; on CUDA, batches are
    prepared ahead. A request is ``(indices, generator)``, and may add a slice that selects a part of the batch."""
    if device.type != "cuda":
        yield from (clips.training(*request).to(device) for request in requests)
        return

    def each(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        views = {name: change(view) for name, view in batch.views.items()}
        return replace(batch, views=views, labels=change(batch.labels))

    def pinned(*request) -> Batch:
        return each(clips.training(*request), lambda tensor: tensor if tensor.is_cuda else tensor.pin_memory())

    for batch in made_ahead(pinned, requests):
        yield each(batch, lambda tensor: tensor.to(device, non_blocking=True))


def made_ahead(make: Callable, requests: Iterable[tuple], threads: int = 4) -> Iterator:
    """Yield ``make(*request)`` for each request, in order; ``threads`` workers compute up to ``threads`` results ahead.
    Each worker has one torch thread: the workers are the parallelism, and sums then have the bits of a CPU training."""
    workers, coming = ThreadPoolExecutor(threads, "feeding", torch.set_num_threads, (1,)), deque()
    try:
        for request in requests:
            coming.append(workers.submit(make, *request))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        workers.shutdown(cancel_futures=True)


# --- weights and checkpoints -----------------------------------------------------------------------------------


def cpu_copies(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of ``state``, copied to the CPU so that a file can hold them. Each has memory of its own, also where
    two names share a weight."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def weights_hash(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 over the names and bytes of the tensors: equal exactly when all bits are equal."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _save_checkpoint(path: Path, state: dict) -> None:
    """Write the SHA-256 of the bytes that ``torch.save`` makes of ``state``, followed by those bytes."""
    torch.save(state, content := io.BytesIO())
    write_atomically(path, lambda p: p.write_bytes(hashlib.sha256(content.getbuffer()).digest() + content.getbuffer()))


def _read_checkpoint(path: Path) -> dict:
    """Read a file of :func:`_save_checkpoint`: tensors, numbers and texts, as data and never as code. Raises
    ``ValueError`` where the file is incomplete or altered."""
    content = path.read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ValueError("its content is not what was written")
    return torch.load(io.BytesIO(content[32:]), "cpu", weights_only=True)


def _load_checkpoint(path: Path | None, fingerprint: str, say) -> dict | None:
    """The checkpoint of exactly this training; None where there is none or it cannot be used."""
    if path is None or not path.exists():
        return None
    try:
        found = _read_checkpoint(path)
        if found["fingerprint"] != fingerprint:
            raise ValueError("it is of another training, or was begun with other sources, clips, processes or needed "
                             "runs")
        return found
    except (ValueError, OSError) as error:
        say(f"{path} counts as none, trained from the start: {getattr(error, 'strerror', None) or error}")
        return None


def _fingerprint(method, nets, owned, *others) -> str:
    """A hash that a checkpoint shares only with the training that may resume from it."""
    shapes = [(name, k, tuple(v.shape)) for name in owned for k, v in nets[name].state_dict().items()]
    return hashlib.sha256(repr((type(method).__qualname__, shapes, *others)).encode()).hexdigest()


# --- the loop --------------------------------------------------------------------------------------------------


def fit(method, nets: dict[str, nn.Module], train: ClipBatches, settings: Settings, seed: int, *,
        validation: ClipBatches | None = None, checkpoint: Path | None = None, identity: str = "", progress=iter,
        say=print) -> Trained:
    """Train the networks that ``method`` owns on ``train``; resume from ``checkpoint`` if it exists.

    A checkpoint that is damaged, or belongs to another training or ``identity``, is ignored, and ``say`` receives a
    line about it. Several processes (:mod:`kdlab.train.processes`) share each batch; only the first writes files and
    calls ``say``. ``progress`` wraps the range of steps, for example in a progress bar. On a CPU everything runs on one
    thread. Raises ``ValueError`` at the first loss that is not finite, and :class:`kdlab.system.files.StorageFull` when
    a checkpoint cannot be written.
    """
    used = precision(settings.precision)
    say = say if is_first() else lambda line: None
    if used != settings.precision:
        say(f"this hardware has no {settings.precision}: trained in {used}, which is slower and rounds differently")
    fabric = processes.fabric_for(used)
    with one_thread(fabric.device.type), seeded_generators(seed):
        trained = _fit(fabric, method, nets, train, settings, seed, validation, checkpoint, f"{identity} {used}",
                       progress, say)
    return replace(trained, precision=used)


def _fit(fabric, method, nets, train, settings, seed, validation, checkpoint, identity, progress, say) -> Trained:
    count, launch = len(train.records), launched()
    batch_size = min(settings.batch_size, count)
    cuts = processes.batch_slices(batch_size, settings.batch_size, settings.accumulate, launch)
    networks = method.networks_by_optimiser(nets)
    owned = [name for names in networks.values() for name in names]
    if unknown := [name for name in owned if name not in nets]:
        raise ValueError(f"networks_by_optimiser() names a network {unknown[0]!r}; there are {', '.join(nets)}")
    nets = {name: processes.with_shared_batch_norm(net) if name in owned else net for name, net in nets.items()}
    for name, net in nets.items():
        _prepare_to_train(net, name in owned).to(fabric.device)
    fused = fabric.device.type in ("cpu", "cuda")
    trained = {key: _named_weights(nets, names) for key, names in networks.items()}
    optimisers = {key: optimiser_for(settings, key, weights, fused) for key, weights in trained.items()}
    bare = nets  # saved weights are read from these: a wrapper renames them
    nets = {name: fabric.setup_module(net) for name, net in nets.items()}  # frozen ones too: all in one precision
    optimisers = {key: fabric.setup_optimizers(o) for key, o in optimisers.items()}
    processes.copy_weights_of_first(bare[name] for name in owned)

    watched = bool(settings.as_released and settings.as_released.patience)
    if watched and not (validation and validation.records):
        raise ValueError(f"the rate falls when the loss on validation clips does not (patience="
                         f"{settings.as_released.patience}), and there are none: give the catalogue some")
    per_epoch = count // batch_size
    steps = settings.epochs * per_epoch
    prepared = None
    if hasattr(method, "prepare"):
        _seed(seed, 5)
        prepared = method.prepare(nets, (batch.to(fabric.device) for batch in train.evaluation()))

    start, history, first_losses, cpu_before = 0, [], [], 0.0
    fingerprint = _fingerprint(method, bare, owned, settings, seed, identity)
    if found := _load_checkpoint(checkpoint, fingerprint, say):
        for name in owned:
            bare[name].load_state_dict(found["nets"][name])
        for key, optimiser in optimisers.items():
            optimiser.load_state_dict(found["optimisers"][key])
        start, history, first_losses = found["step"], found["history"], found["first_losses"]
        cpu_before = found["cpu_seconds"]
    clock, sums = time.process_time(), {}

    several = [] if cuts == [slice(0, batch_size)] else [(cut,) for cut in cuts]  # a whole batch needs no slice
    requests = (_request(count, settings, seed, step, cut) for step in range(start, steps) for cut in several or [()])
    batches = batches_on_device(train, requests, fabric.device)
    shares = [(cut.stop - cut.start) / batch_size for cut in cuts]
    for step, batch in zip(progress(range(start, steps)), zip(*[batches] * len(cuts), strict=True), strict=False):
        epoch, place = divmod(step, per_epoch)
        _seed(seed, 3, step, launch.rank)  # for dropout and the draws of a method
        rate = learning_rate(settings, step, steps, epoch, history)
        where = Progress(step, steps, prepared, seeded(seed, 3, step, 0).initial_seed())
        for key, turns in _by_optimiser([_valid_losses(method.losses(nets, part, where), networks) for part in batch]):
            for group in optimisers[key].param_groups:
                group["lr"] = rate * group.get("share", 1.0)
            optimisers[key].zero_grad(set_to_none=True)
            summed = 0.0
            for share, (_, loss, terms) in zip(shares, turns, strict=True):
                fabric.backward(loss * share)
                summed = summed + share * loss.detach()
                for term, value in ({f"loss_{key}": loss} | terms).items():
                    sums[term] = sums.get(term, 0.0) + share * value.detach()
            summed = processes.sum_gradients([weight for _, weight in trained[key]], summed)
            # On a GPU this test would wait for the device at every step; there the sums are tested once per epoch.
            if fabric.device.type == "cpu" and not torch.isfinite(summed):
                raise _diverged(settings, step, steps, key)
            optimisers[key].step()
            if len(first_losses) < 10:
                first_losses.append(float(summed))
        if place == per_epoch - 1:
            row = {"epoch": epoch + 1, "step": step + 1, "lr": rate}
            row |= {k: round(processes.sum_over_processes(v) / per_epoch, 6) for k, v in sums.items()}
            if not all(torch.isfinite(torch.tensor(v)) for v in row.values()):
                raise _diverged(settings, step, steps, "an")
            processes.copy_weights_of_first(bare[name] for name in owned)
            if validation is not None and validation.records and (watched or epoch % 5 == 4 or step == steps - 1):
                logits, labels, _ = predict(nets["student"], validation.evaluation(), "student")
                accuracy = round(100 * float((logits.argmax(1) == labels).float().mean()), 3)
                row["val_accuracy"] = fabric.broadcast(accuracy)  # the bits may differ between GPUs
                if watched:
                    row["val_loss"] = fabric.broadcast(float(F.cross_entropy(logits, labels)))
            history, sums = [*history, row], {}
            used = cpu_before + processes.sum_over_processes(time.process_time() - clock)
            if checkpoint is not None and is_first():
                _save_checkpoint(checkpoint, {
                    "fingerprint": fingerprint, "step": step + 1, "history": history, "first_losses": first_losses,
                    "cpu_seconds": used, "nets": {name: bare[name].state_dict() for name in owned},
                    "optimisers": {key: optimiser.state_dict() for key, optimiser in optimisers.items()}})

    nets = {name: net.eval() for name, net in bare.items()}
    used = cpu_before + processes.sum_over_processes(time.process_time() - clock)
    return Trained(nets, history, first_losses, steps, used, str(fabric.device), owned=owned)


def _prepare_to_train(net: nn.Module, learns: bool) -> nn.Module:
    """Set ``net`` to training mode where it ``learns``, else freeze it. Weights that come without a gradient get
    none."""
    for weight in net.parameters():
        weight.requires_grad_(learns and weight.requires_grad)
    return net.train(learns)


def _request(count: int, settings: Settings, seed: int, step: int, cut: tuple) -> tuple:
    """The arguments of ``clips.training`` for a part of the batch at ``step``. Seeds the global generators, so that a
    view or a window that draws from them draws the same after a resume."""
    _seed(seed, 2, step, 1)
    return *clips_of_batch(count, settings, seed, step), *cut


def _by_optimiser(parts: Sequence[Iterator[tuple]]) -> Iterator[tuple[str, Iterable[tuple]]]:
    """Yield an optimiser's name and its ``(name, loss, terms)`` for each part of the batch, computed on demand: the
    losses of all ``parts`` advance together."""
    while (turn := next(parts[0], None)) is not None:
        yield turn[0], chain([turn], map(next, parts[1:]))


def _valid_losses(losses: Iterator[tuple], networks: dict) -> Iterator[tuple]:
    """The ``losses`` of a method, each checked. Raises ``ValueError`` for one that cannot be trained on."""
    for given in losses:
        if not isinstance(given, tuple) or len(given) != 3:
            raise ValueError("losses() must yield three values: an optimiser's name, its loss, terms to keep")
        optimiser, loss, terms = given
        if optimiser not in networks:
            raise ValueError(f"losses() yields for an optimiser {optimiser!r}, and networks_by_optimiser() names "
                             f"{', '.join(networks)}")
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            cut = ", of which no gradient is known: was it detached?" if what == "shape ()" else ""
            raise ValueError(f"the loss of {optimiser!r} must be one number that the networks lead to; got {what}{cut}")
        if wrong := [name for name, term in terms.items() if not isinstance(term, torch.Tensor)]:
            raise ValueError(f"the term {wrong[0]!r} must be a tensor, not {type(terms[wrong[0]]).__name__}")
        yield given


def _named_weights(nets: dict[str, nn.Module], names: list[str]) -> list[tuple[str, nn.Parameter]]:
    """The weights of the networks ``names``, named as in a run's file: ``student.net.fc.weight``."""
    return [(f"{name}.{weight}", p) for name in names for weight, p in nets[name].named_parameters()]


def _diverged(settings: Settings, step: int, steps: int, key: str) -> ValueError:
    return ValueError(
        f"the loss of optimiser {key!r} is not a number at step {step + 1} of {steps} (lr {settings.lr:g}). "
        f"Lower the learning rate (try lr={settings.lr / 3:.1g}); the last checkpoint is from before this step."
    )
