"""What kdlab asks of others its own parts have."""

from dataclasses import dataclass

import pytest

from kdlab import protocols
from kdlab.datasets.user_clips import UserClips
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.generative import detection_recipes
from kdlab.papers.generative import recipes as generative_recipes
from kdlab.papers.progressive import recipes as progressive_recipes
from kdlab.train.recipe import check, lacking
from kdlab.train.sizes import SMOKE


@pytest.mark.parametrize(
    "conditions",
    [
        lambda: dual_light(SMOKE),
        lambda: dual_light(SMOKE, data=UserClips("/nowhere")),
        lambda: generative_recipes.conditions(
            generative_recipes.SMOKE, generative_recipes.night(generative_recipes.SMOKE)
        ),
        lambda: progressive_recipes.conditions(
            progressive_recipes.SMOKE,
            progressive_recipes.trio(
                progressive_recipes.SMOKE, progressive_recipes.night(progressive_recipes.SMOKE)
            ),
        ),
        lambda: detection_recipes.conditions(detection_recipes.SMOKE, 0),
    ],
)
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
    assert lacking(object(), protocols.Method) == ["losses", "networks_by_optimiser"]
    assert lacking(object(), protocols.Window) == ["batches"]
    assert lacking(object(), protocols.Net) == ["make"]
