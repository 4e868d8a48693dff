"""Train a network to a given training loss: minima are compared at equal loss (docs/methods.md, 5)."""

from safetensors.torch import save
from torch import nn
from torch.nn import functional as F

from kdlab.system import paths
from kdlab.system.files import write_content
from kdlab.system.values import positive
from kdlab.train.loop import cpu_copies, predict, training
from kdlab.train.obtain import obtain
from kdlab.train.preparing import inputs_of
from kdlab.train.recipe import Inputs, Recipe, Snapshot, check
from kdlab.train.rehearsal import rehearse
from kdlab.train.runs import network_of, read_weights

#: The largest relative difference at which a network's loss counts as the loss asked for.
WITHIN = 0.15


def at_loss(recipe: Recipe, nats: float) -> nn.Module | None:
    """The network of ``recipe``, in eval mode, at the step where its mean cross-entropy on all training clips first
    comes within :data:`WITHIN` of ``nats``; None where it never does. The steps are those of
    :func:`kdlab.train.obtain.obtain`, bit for bit."""
    positive("a loss in nats", nats=nats)
    check(recipe)
    snapshot = Snapshot()
    catalogue, name = snapshot.catalogue(recipe.data), snapshot.name(recipe)
    marks = f"{snapshot.sources(recipe)[:6]}-{snapshot.fingerprint(recipe.data)[:6]}"
    kept = paths.runs_dir() / "at_loss" / f"{name}-{marks}-{nats:g}.safetensors"
    if not kept.exists():
        rehearse(recipe, snapshot)
        needed = {
            what: obtain(other, say=str, snapshot=snapshot)
            for what, other in recipe.needs().items()
        }
        ready = inputs_of(recipe, needed, catalogue, str)
        if not _came_down(ready, recipe, nats):
            return None
        write_content(kept, save(cpu_copies(ready.nets["student"].state_dict())))
    return network_of(recipe, len(catalogue.classes), read_weights(kept), str(kept))


def _came_down(ready: Inputs, recipe: Recipe, nats: float) -> bool:
    """Train until the loss is within :data:`WITHIN` of ``nats``, or below half of it; True in the first case."""
    net, clips, due = ready.nets["student"], list(ready.train.evaluation()), 1
    with training(
        recipe.method, ready.nets, ready.train, recipe.settings, recipe.seed, None, "", str
    ) as run:
        while True:
            if run.done == due:
                logits, labels, _ = predict(net, clips, "student")
                loss = float(F.cross_entropy(logits, labels))
                if abs(loss / nats - 1) <= WITHIN:
                    return True
                if loss < nats / 2 or due == run.steps:
                    return False
                due = min(run.steps, due + next_look(loss, nats, run.per_epoch))
            run.step()
            if run.done % run.per_epoch == 0:
                run.end_epoch()


def next_look(loss: float, nats: float, per_epoch: int) -> int:
    """Steps until the loss is measured again: at most an epoch, fewer as the loss approaches ``nats``, and 1 once the
    loss is below it."""
    return max(1, min(per_epoch, round(per_epoch * (loss / nats - 1))))
