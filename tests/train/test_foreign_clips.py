"""Clips and views of a stranger's classes: what could not be trained on is told before a training."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from kdlab.clips.records import Catalogue, ClipRecord
from kdlab.clips.windows import Window
from kdlab.datasets.user_clips import UserClips
from kdlab.nets.video import TinyR2Plus1D
from kdlab.protocols import Data, View
from kdlab.system.sources import source_hash
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe, catalogue_of
from kdlab.train.settings import Settings
from kdlab.video.decode import each_frame
from tests.conftest import places_in, walks


@dataclass(frozen=True)
class Mine(Data):
    """Four clips in falling order, and one ``change`` of the first: a field and its value."""

    change: tuple = ()
    classes: tuple[str, ...] = ("left", "right")
    name = "mine"

    def catalogue(self):
        splits = enumerate(("test", "train", "val", "train"))
        records = [ClipRecord(str(k), Path(f"{k}.mp4"), k % 2, at, f"g{k}") for k, at in splits]
        records[0] = replace(records[0], **dict([self.change] if self.change else []))
        return Catalogue("mine", Path(), self.classes, tuple(reversed(records)))


@dataclass(frozen=True)
class NoCatalogue(Mine):
    def catalogue(self):
        return ["0.mp4"]


@pytest.mark.parametrize(
    "data, says",
    [
        (Mine(("label", -1)), "label must be a whole number from 0 to 1 in ClipRecord"),
        (Mine(("label", "left")), "label must be a whole number"),
        (Mine(("split", "Test")), "split must be one of train, val, test"),
        (Mine(("group", None)), "id and group must be texts"),
        (Mine(("group", "g1")), "the group 'g1' has clips in test and in another split"),
        (Mine(("path", "0.mp4")), "path must be a pathlib.Path"),
        (Mine(("end", -1.0)), "0 <= start < end"),
        (Mine(classes=("left", "left")), "names a class twice: left, left"),
        (NoCatalogue(), "gives list, where a Catalogue is wanted"),
    ],
)
def test_a_catalogue_that_cannot_be_trained_on_is_refused(data, says):
    with pytest.raises(ValueError, match=says):
        obtain(Recipe("x", data))


def test_the_records_of_a_stranger_stand_in_the_order_of_their_ids():
    assert [record.id for record in catalogue_of(Mine()).records] == ["0", "1", "2", "3"]


def test_clips_are_named_by_a_path_and_a_number_as_by_texts():
    assert UserClips(Path("a"), 2) == UserClips("a", "2")


@dataclass(frozen=True)
class Dimmed(View):
    """Its name lacks the field that changes its pixels."""

    share: float = 1.0
    name = "dimmed"

    def each_frame(self, path, indices=None):
        for frame in each_frame(path, indices):
            yield (frame * self.share).astype(np.uint8)


@dataclass(frozen=True)
class Whole(Dimmed):
    """It gives all frames, whichever are wanted."""

    name = "whole"

    def each_frame(self, path, indices=None):
        yield from super().each_frame(path)


def test_a_view_whose_pixels_are_not_those_of_its_name_is_refused(tmp_path):
    walks(tmp_path / "clips", train=2, val=1, test=1)
    how = dict(net=TinyR2Plus1D((4, 4)), window=Window(4, 16, 16), settings=Settings(1))
    recipe = Recipe("x", UserClips(tmp_path / "clips"), Dimmed(), **how)
    with places_in(tmp_path):
        obtain(recipe)
        for view in (Dimmed(0.5), Whole()):
            with pytest.raises(ValueError, match="must hold every field that changes pixels"):
                obtain(replace(recipe, view=view))


def test_what_an_own_class_inherits_or_imports_from_elsewhere_is_among_its_sources(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    for folder, text in (
        ("far_losses", "from kdlab.distill.method import KD as Base"),
        ("far_bases", "class Base: pass"),
        ("far_nets", "from far_losses import Base as L\nfrom far_bases import Base as B"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text(text)
    (tmp_path / "far_nets" / "own.py").write_text(
        "from dataclasses import dataclass\n"
        "from . import B, L\n\n\n@dataclass(frozen=True)\nclass Own(B, L): pass\n"
    )
    from far_nets.own import Own  # pyright: ignore[reportMissingImports]

    source_hash(Own())  # reads all of them
    for folder in ("far_losses", "far_bases"):
        file = tmp_path / folder / "__init__.py"
        text = file.read_text()
        file.write_text(text + "\nx = 1")
        with pytest.raises(ValueError, match=f"{folder}.*has changed since it was imported"):
            source_hash(Own())
        file.write_text(text)
