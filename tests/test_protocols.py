"""What kdlab asks of others its own parts have."""

from dataclasses import dataclass

from kdlab import protocols
from kdlab.train.recipe import lacking


@dataclass(frozen=True)
class Streams:
    name: str

    def each_frame(self, path, indices=None):
        yield from ()


def test_a_field_or_frames_one_by_one_will_do_and_what_is_missing_is_named():
    assert lacking(Streams("x"), protocols.View) == []
    assert lacking(Streams("x"), protocols.Data) == ["catalogue", "fingerprint"]
    assert lacking(object(), protocols.Method) == ["losses", "networks_by_optimiser"]
    assert lacking(object(), protocols.Window) == ["batches"]
    assert lacking(object(), protocols.Net) == ["make"]
