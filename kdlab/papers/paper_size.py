"""What training at a paper's own size needs and costs: its data sets and where they lie, MACs, memory, GPU hours."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.datasets import DATA_SETS
from kdlab.measure.cost import macs
from kdlab.nets.pretrained import untrained
from kdlab.train.recipe import Recipe, UserClips

__all__ = ["PaperSet", "activation_bytes", "cost", "look", "placed", "present", "trainings"]


@dataclass(frozen=True)
class PaperSet:
    """A data set of the paper: its ``folder`` in the data root, and what its lists are known to name.

    ``clips`` are those of each split's list of training clips, from which validation is carved; ``published`` says who
    reports which top-1 accuracy, in percent.
    """

    title: str
    folder: str
    classes: int
    clips: tuple[int, ...]
    published: tuple[str, ...]
    splits: tuple[str, ...] = ("1", "2", "3")


def look(which: PaperSet, root: Path, paper: str = "dual_light") -> list[Catalogue] | str:
    """The data set's catalogue for each split, or the reason why it cannot be opened; ``paper`` names the command."""
    place, mend = root / which.folder, f"put {which.title} there; `kdlab paper {paper} --dry-run` shows the layout"
    if not place.is_dir():
        return f"no folder {place}: {mend}"
    try:
        found = [UserClips(str(place), split).catalogue() for split in which.splits]
    except (FileNotFoundError, ValueError) as error:
        return str(error)
    if found[0].name.removesuffix(" (CoViAR)") != which.title:  # other clips in class folders would open, too
        return f"{place} holds {found[0].name}, by its lists and folders: {mend}"
    return found


def placed(which: PaperSet, root: Path, there: list[Catalogue] | str) -> list[str]:
    """Lines of a dry run: where clips and lists of ``which`` belong, and what :func:`look` found ``there``."""
    about = next(data for data in DATA_SETS if data.title == which.title)
    found = f"no: {there}" if isinstance(there, str) else "yes"
    rows = zip(("clips", "lists", "note", "found"), (about.folders, about.lists, about.remark, found), strict=True)
    return [f"{which.title}: {about.clips}", f"  put into   {root / which.folder}",
            *(f"  {what:10} {line}" for what, line in rows)]


def present(looked: dict[PaperSet, list[Catalogue] | str], say) -> list[PaperSet]:
    """The data sets that were found; the others are named to ``say``. Raises ``FileNotFoundError`` for none."""
    missing = {which: f"{which.title} is left out: {why}" for which, why in looked.items() if isinstance(why, str)}
    if len(missing) == len(looked):
        raise FileNotFoundError("\n  ".join(["no data set of the paper can be opened:", *missing.values()]))
    for line in missing.values():
        say(line)
    return [which for which in looked if which not in missing]


# --- what it costs -------------------------------------------------------------------------------------------------


def activation_bytes(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Bytes that autograd keeps of a training-mode forward pass on zeros of ``shape``; parameters are not counted."""
    own = {t.untyped_storage()._cdata for t in net.state_dict(keep_vars=True).values()}
    kept = {}  # holds the storages, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    net.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(torch.zeros(shape))
    return sum(storage.nbytes() for key, storage in kept.items() if key not in own)


def cost(spec, num_classes: int, frames: int, crop: int, channels: int = 3) -> tuple[int, int, int]:
    """Of one clip ``(channels, frames, crop, crop)``: MACs forward, and bytes of activations (fp32) kept for the way
    back; then the number of parameters. Counted on the meta device: no pixel is computed."""
    with torch.device("meta"):
        net, shape = untrained(spec).make(num_classes), (1, channels, frames, crop, crop)
        return macs(net, shape), activation_bytes(net, shape), sum(p.numel() for p in net.parameters())


def trainings(some: Iterable[Recipe]) -> set[Recipe]:
    """The recipes and all that they need, each once."""
    return {one for recipe in some for one in (recipe, *trainings(recipe.needs().values()))}
