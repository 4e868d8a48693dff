"""What kdlab asks of others its own parts have."""

from dataclasses import dataclass

import pytest

from kdlab import detection_profiles, exit_profiles, generative_profiles, protocols
from kdlab.profiles import SMOKE, dual_light
from kdlab.protocols import lacking
from kdlab.recipe import UserClips, check


@pytest.mark.parametrize("conditions", [
    lambda: dual_light(SMOKE), lambda: dual_light(SMOKE, data=UserClips("/nowhere")),
    lambda: generative_profiles.conditions(generative_profiles.SMOKE, generative_profiles.night(
        generative_profiles.SMOKE)),
    lambda: exit_profiles.conditions(exit_profiles.SMOKE, exit_profiles.trio(
        exit_profiles.SMOKE, exit_profiles.night(exit_profiles.SMOKE))),
    lambda: detection_profiles.conditions(detection_profiles.SMOKE, 0),
])
def test_every_recipe_of_kdlabs_own_has_what_is_asked_of_others(conditions):
    for recipe in conditions().values():
        check(recipe)


@dataclass(frozen=True)
class Streams:
    name: str

    def each_frame(self, path, indices=None):
        yield from ()


def test_a_field_or_frames_one_by_one_will_do_and_what_is_missing_is_named():
    assert lacking(Streams("x"), protocols.View) == []
    assert lacking(Streams("x"), protocols.Data) == ["catalogue", "fingerprint"]
    assert lacking(object(), protocols.Method) == ["losses", "parts"]
    assert lacking(object(), protocols.Window) == ["batches"] and lacking(object(), protocols.Net) == ["make"]
