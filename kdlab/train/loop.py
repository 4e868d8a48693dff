"""One training loop for every method. It contains no distillation.

A method is a small object, such as ``kdlab.distill.method.KD``: see :class:`kdlab.protocols.Method`. The loop steps the
optimiser of each loss before it requests the next loss, so a method with two passes needs no loop of its own.

Every random number is a function of (seed, step). On a CPU, with the same packages, a run that is killed and resumed
therefore ends in the same bits, and a checkpoint stores only weights, optimiser moments and the step number. A rate is
a function of the step and of the history. The gradients of a batch's parts are summed, weighted by clips, so parts
change a step by rounding alone (but for dropout, batch norm's statistics, and a loss that is no mean over clips).
"""

import hashlib
import io
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.clips.windows import Batch, ClipBatches
from kdlab.nets.layers import evaluating, one_thread
from kdlab.system.files import write_atomically
from kdlab.train.device import (
    Mixed,
    device,
    keep_freed_memory,
    precision,
    seed_all,
    seeded_generators,
)
from kdlab.train.feeding import batches_on_device, parts_of_batch, parts_wanted
from kdlab.train.settings import Settings, check_released, learning_rate, optimiser_for


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
    """

    nets: dict[str, nn.Module]
    history: list[dict]
    first_losses: list[float]
    steps: int
    cpu_seconds: float
    device: str
    owned: list[str]
    precision: str = "fp32"

    def weights(self) -> dict[str, Tensor]:
        """The tensors of the trained networks, on the CPU, named as in a run's file: ``student.net.fc.weight``."""
        return cpu_copies(dict(_named_tensors(self.nets, self.owned)))


def fit(
    method,
    nets: dict[str, nn.Module],
    train: ClipBatches,
    settings: Settings,
    seed: int,
    *,
    validation: ClipBatches | None = None,
    checkpoint: Path | None = None,
    identity: str = "",
    progress=iter,
    say=print,
) -> Trained:
    """Train the networks that ``method`` owns on ``train``; resume from ``checkpoint`` if it exists.

    A checkpoint that is damaged, or belongs to another training or ``identity``, is ignored, and ``say`` receives a
    line about it. ``progress`` wraps the range of steps in a progress bar. On a CPU everything runs on one thread.
    Raises ``ValueError`` at the first loss that is not finite, and for a frozen network that changes; and
    :class:`kdlab.system.files.StorageFull` when a checkpoint cannot be written.
    """
    with training(method, nets, train, settings, seed, validation, identity, say) as run:
        if checkpoint is not None:
            run.resume(checkpoint)
        for _ in progress(range(run.done, run.steps)):
            run.step()
            if run.done % run.per_epoch == 0:
                run.end_epoch()
                if checkpoint is not None:
                    run.save(checkpoint)
        return run.finished()


@contextmanager
def training(method, nets, train, settings, seed, *others) -> Iterator["Training"]:
    """A :class:`Training` of these arguments. Inside, torch has one thread on a CPU, and the global generators are the
    training's own."""
    keep_freed_memory()
    with one_thread(device()), seeded_generators(seed):
        yield Training(method, nets, train, settings, seed, *others)


class Training:
    """Networks, optimisers, clips and history of one training, after ``done`` of ``steps`` steps."""

    def __init__(
        self,
        method,
        nets: dict[str, nn.Module],
        train: ClipBatches,
        settings: Settings,
        seed: int,
        validation: ClipBatches | None = None,
        identity: str = "",
        say=print,
    ):
        self.method, self.settings, self.seed, self.say = method, settings, seed, say
        self.train = train
        self.validation = validation if validation and validation.records else None
        self.batch_size = min(settings.batch_size, len(train.records))
        self.cuts = parts_of_batch(self.batch_size, settings.accumulate)
        self.per_epoch = len(train.records) // self.batch_size
        self.steps = settings.epochs * self.per_epoch
        self.precision = precision(settings.precision)
        self._say_what_differs()
        self._set_up(nets)
        self.history, self.first_losses, self.sums = [], [], {}
        self.earlier_seconds, self.began = 0.0, time.process_time()
        seed_all(seed, 5)
        # before a checkpoint is read: what a method prepares belongs to the networks at the start
        self.prepared = method.prepare(self.nets, self._all_clips())
        self.go_on_at(0)
        shapes = [(name, tuple(v.shape)) for name, v in _named_tensors(self.bare, self.owned)]
        parts = type(method).__qualname__, shapes, settings, seed, identity, self.precision
        #: A hash that a checkpoint shares only with the training that may resume from it.
        self.resume_key = hashlib.sha256(repr(parts).encode()).hexdigest()

    def _say_what_differs(self) -> None:
        wanted = self.settings
        if wanted.precision != self.precision:
            self.say(
                f"this hardware has no {wanted.precision}: trained in {self.precision}, which is slower and "
                "rounds differently"
            )
        if wanted.batch_size > self.batch_size:
            self.say(
                f"batch_size={wanted.batch_size} is larger than the training set: each step takes all its "
                f"{self.batch_size} clips"
            )
        if wanted.patience and not self.validation:
            raise ValueError(
                f"the rate falls when the loss on validation clips does not (patience="
                f"{wanted.patience}), and there are none: give the catalogue some"
            )

    def _set_up(self, nets: dict[str, nn.Module]) -> None:
        """Put the networks on the device, freeze those that no optimiser owns, and make the optimisers."""
        self.device = torch.device(device())
        networks = self.method.networks_by_optimiser(nets)
        self.owned = [name for names in networks.values() for name in names]
        if unknown := [name for name in self.owned if name not in nets]:
            raise ValueError(
                f"networks_by_optimiser() names a network {unknown[0]!r}; there are {', '.join(nets)}"
            )
        for name, net in nets.items():
            _set_learning(net, name in self.owned).to(self.device)
        #: The networks themselves; those in ``nets`` may stand in a wrapper for mixed precision.
        self.bare = dict(nets)
        self.nets = {
            name: Mixed(net) if self.precision == "bf16" else net for name, net in nets.items()
        }
        self.frozen = {name: _state(net) for name, net in nets.items() if name not in self.owned}
        weights = {key: _named_weights(nets, names) for key, names in networks.items()}
        check_released(self.settings, weights)
        fused = self.device.type in ("cpu", "cuda")
        self.optimisers = {
            key: optimiser_for(self.settings, key, own, fused) for key, own in weights.items()
        }

    def _all_clips(self) -> Iterator[Batch]:
        for batch in self.train.evaluation():
            yield batch.to(self.device)

    # --- a step ------------------------------------------------------------------------------------------------

    def go_on_at(self, step: int) -> None:
        """Let ``step`` be the next step."""
        self.done = step
        wanted = parts_wanted(
            len(self.train.records), self.settings, self.seed, range(step, self.steps)
        )
        self.coming = batches_on_device(self.train, wanted, self.device)

    def step(self) -> None:
        """Take a batch, seed, set the rate, and let each loss of the method be followed by a step of its optimiser;
        only then does the method compute its next loss."""
        parts = [next(self.coming) for _ in self.cuts]
        number = seed_all(self.seed, 3, self.done, 0)  # for dropout and the draws of a method
        progress = Progress(self.done, self.steps, self.prepared, number)
        self.rate = learning_rate(
            self.settings, self.done, self.steps, self.done // self.per_epoch, self.history
        )
        losses = [self.method.losses(self.nets, part, progress) for part in parts]
        while self._step_on_next_loss(losses):
            pass
        self.done += 1

    def _step_on_next_loss(self, losses: list[Iterator[tuple]]) -> bool:
        """For each part of the batch: compute the method's next loss, and add its gradients; then step its optimiser.
        False, and no step, after the last loss."""
        key, total = "", torch.zeros(())
        for losses_of_part, cut in zip(losses, self.cuts, strict=True):
            yielded = next(losses_of_part, None)  # the forward pass
            if yielded is None:
                return False
            key, loss, terms = _valid(yielded, self.optimisers)
            if cut.start == 0:
                self.optimisers[key].zero_grad(set_to_none=True)
            weight = (cut.stop - cut.start) / self.batch_size
            self.backward(loss * weight)
            total = total + weight * loss.detach()
            for name, value in ({f"loss_{key}": loss} | terms).items():
                self.sums[name] = self.sums.get(name, 0.0) + weight * value.detach()
        self._note(key, total)
        for group in self.optimisers[key].param_groups:
            group["lr"] = self.rate * group.get("share", 1.0)
        self.optimisers[key].step()
        return True

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss`` to those of the weights."""
        loss.backward()

    def _note(self, key: str, loss: Tensor) -> None:
        """Keep the first ten losses. Raise ``ValueError`` for a loss that is no number; a GPU would have to be waited
        for at every step, so there the sums are tested once per epoch."""
        if self.device.type == "cpu" and not torch.isfinite(loss):
            raise self._diverged(f"loss_{key}")
        if len(self.first_losses) < 10:
            self.first_losses.append(float(loss))

    def _diverged(self, name: str) -> ValueError:
        """The error for the loss or term ``name`` of the history."""
        lr, key = self.settings.lr, name.removeprefix("loss_")
        what = f"the term {name!r}" if key == name else f"the loss of optimiser {key!r}"
        return ValueError(
            f"{what} is not a number at step {self.done + 1} of {self.steps} (lr {lr:g}). "
            f"Lower the learning rate (try lr={lr / 3:.1g}); the last checkpoint is from before this step."
        )

    # --- an epoch ----------------------------------------------------------------------------------------------

    def end_epoch(self) -> None:
        """Add the epoch's row to the history, and validate in every fifth epoch and in the last."""
        epoch = self.done // self.per_epoch
        row = {"epoch": epoch, "step": self.done, "lr": self.rate}
        row |= {name: round(float(total) / self.per_epoch, 6) for name, total in self.sums.items()}
        for name, value in row.items():
            if not math.isfinite(value):
                self.done -= 1
                raise self._diverged(name)
        self.check_frozen()
        last = self.done == self.steps
        if self.validation and (self.settings.patience or epoch % 5 == 0 or last):
            row |= self._validated(self.validation)
        self.history, self.sums = [*self.history, row], {}

    def _validated(self, clips: ClipBatches) -> dict[str, float]:
        logits, labels, _ = predict(self.nets["student"], clips.evaluation(), "student")
        row = {"val_accuracy": round(100 * float((logits.argmax(1) == labels).float().mean()), 3)}
        if self.settings.patience:
            row["val_loss"] = float(F.cross_entropy(logits, labels))
        return row

    def check_frozen(self) -> None:
        """Raise ``ValueError`` for a network that no optimiser owns, and that is not as it was."""
        for name, before in self.frozen.items():
            if _state(self.bare[name]) != before:
                raise self.changed(name)

    def changed(self, name: str) -> ValueError:
        """The error for a frozen network that is not as it was."""
        return ValueError(
            f"{type(self.method).__qualname__} changes the network {name!r}, which no optimiser owns: "
            "leave it in evaluation mode and its weights as they are (no train(), no update), or name it "
            "in networks_by_optimiser()"
        )

    def finished(self) -> Trained:
        """What the training has reached, with all networks in evaluation mode."""
        nets = {name: net.eval() for name, net in self.bare.items()}
        return Trained(
            nets,
            self.history,
            self.first_losses,
            self.steps,
            self._seconds(),
            str(self.device),
            self.owned,
            self.precision,
        )

    def _seconds(self) -> float:
        return self.earlier_seconds + time.process_time() - self.began

    # --- checkpoints -------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write a checkpoint. Raises :class:`kdlab.system.files.StorageFull`."""
        save_checkpoint(
            path,
            {
                "resume_key": self.resume_key,
                "step": self.done,
                "history": self.history,
                "first_losses": self.first_losses,
                "cpu_seconds": self._seconds(),
                "nets": {name: self.bare[name].state_dict() for name in self.owned},
                "optimisers": {
                    key: optimiser.state_dict() for key, optimiser in self.optimisers.items()
                },
            },
        )

    def resume(self, path: Path) -> None:
        """Go on from the checkpoint ``path``, if there is one that can be used; else say why not."""
        if not path.exists():
            return
        try:
            state = read_checkpoint(path, self.resume_key)
        except (ValueError, OSError) as error:
            self.say(
                f"{path} counts as none, trained from the start: {getattr(error, 'strerror', None) or error}"
            )
            return
        for name in self.owned:
            self.bare[name].load_state_dict(state["nets"][name])
        for key, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][key])
        self.history, self.first_losses = state["history"], state["first_losses"]
        self.earlier_seconds = state["cpu_seconds"]
        self.go_on_at(state["step"])


def predict(net: nn.Module, batches, view: str) -> tuple[Tensor, Tensor, list[str]]:
    """Logits ``(N, K)``, labels ``(N,)`` and ids of evaluation ``batches``, in eval mode without gradients."""
    where = next(net.parameters()).device
    with evaluating(net), torch.no_grad(), one_thread(where.type):
        rows = [
            (net(batch.views[view].to(where)).float().cpu(), batch.labels, batch.ids)
            for batch in batches
        ]
    logits, labels, ids = zip(*rows, strict=True)
    return torch.cat(logits), torch.cat(labels), [one for its in ids for one in its]


def _set_learning(net: nn.Module, learns: bool) -> nn.Module:
    """Set ``net`` to training mode where it ``learns``, else freeze it. Weights that come without a gradient get
    none."""
    for weight in net.parameters():
        weight.requires_grad_(learns and weight.requires_grad)
    return net.train(learns)


def _state(net: nn.Module) -> tuple:
    """The mode of each layer, and how often torch has changed each tensor in place."""
    tensors = [*net.parameters(), *net.buffers()]
    return [layer.training for layer in net.modules()], [tensor._version for tensor in tensors]


def _named_weights(nets: dict[str, nn.Module], names: list[str]) -> list[tuple[str, nn.Parameter]]:
    """The weights of the networks ``names``, named as in a run's file: ``student.net.fc.weight``."""
    return [
        (f"{name}.{weight}", p) for name in names for weight, p in nets[name].named_parameters()
    ]


def _named_tensors(nets: dict[str, nn.Module], names: list[str]) -> list[tuple[str, Tensor]]:
    """The weights and persistent buffers of the networks ``names``, named in the same way."""
    return [(f"{name}.{k}", v) for name in names for k, v in nets[name].state_dict().items()]


def _valid(turn: object, optimisers: dict) -> tuple[str, Tensor, dict[str, Tensor]]:
    """What a method's ``losses`` yielded. Raises ``ValueError`` where it cannot be trained on."""
    if not isinstance(turn, tuple) or len(turn) != 3:
        raise ValueError(
            "losses() must yield three values: an optimiser's name, its loss, terms to keep"
        )
    key, loss, terms = turn
    if key not in optimisers:
        raise ValueError(
            f"losses() yields for an optimiser {key!r}, and networks_by_optimiser() names "
            f"{', '.join(optimisers)}"
        )
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        kind = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(
            f"the loss of {key!r} must be one number that the networks lead to; got {kind}"
        )
    if not loss.requires_grad:
        raise ValueError(
            f"the loss of {key!r} leads to no weight, since no gradient of it is known: was it detached?"
        )
    for name, term in terms.items():
        if not isinstance(term, Tensor):
            raise ValueError(f"the term {name!r} must be a tensor, not {type(term).__name__}")
    return key, loss, terms


# --- weights and checkpoints -------------------------------------------------------------------------------------


def cpu_copies(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``state``, copied to the CPU so that a file can hold them. Each has memory of its own, also where
    two names share a weight."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def weights_hash(state: dict[str, Tensor]) -> str:
    """SHA-256 over the names and bytes of the tensors: equal exactly when all bits are equal."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_checkpoint(path: Path, state: dict) -> None:
    """Write the SHA-256 of the bytes that ``torch.save`` makes of ``state``, followed by those bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_atomically(
        path, lambda draft: draft.write_bytes(hashlib.sha256(content).digest() + content)
    )


def read_checkpoint(path: Path, resume_key: str) -> dict:
    """Read a file of :func:`save_checkpoint`: tensors, numbers and texts, as data and never as code.

    Raises ``ValueError`` where the file is incomplete or altered, or is of a training with another ``resume_key``.
    """
    content = path.read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ValueError("its content is not what was written")
    state = torch.load(io.BytesIO(content[32:]), "cpu", weights_only=True)
    if state["resume_key"] != resume_key:
        raise ValueError(
            "it is of another training, or was begun with other sources, clips or needed runs"
        )
    return state
