"""Clips of `night` in which people walk and run as in real clips: the whole clip long, and away from the camera or
towards it. If they teach more than `night`'s own, its next version draws such people.

A run is stale when this file changes.
"""

from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np

from kdlab.clips.records import Catalogue
from kdlab.night import Night, folder, make
from kdlab.night.drawing import clip, stage
from kdlab.system.files import text_hash
from kdlab.system.paths import data_dir

ALL_ALONG = 0.8  # how many walk or run from before the clip to after it
IN_DEPTH = 0.75  # how many of these go away from the camera or come towards it, and do not cross the picture
DRIFT = 0.2  # the most that they move sideways / frame width


@dataclass(frozen=True)
class InDepth(Night):
    """`night`, of whose people those who walk or run do so :data:`ALL_ALONG` and :data:`IN_DEPTH`. These are nearest at
    1 to ``far`` times the distance of `night`. Half of those who do something else stand at 1 to ``others`` times
    theirs; at 1 their clips are those of `night`."""

    far: float = 2.2
    others: float = 1.0

    @property
    def name(self) -> str:
        return f"{super().name}-depth{self.far:g}-{self.others:g}"

    def fingerprint(self) -> str:
        return text_hash(f"{super().fingerprint()} {self.name}")

    def catalogue(self) -> Catalogue:
        root, made_by = data_dir() / self.name, f"{make.generator_fingerprint()} in depth"
        folder.complete(
            root, make._jobs(self), self.pixels, made_by, _make_one, make._write_index, None, True
        )
        return make._catalogue(self, root, "dark")

    def moment(self, class_name, variety, rng, begin):
        moment = stage.draw_moment(class_name, variety, rng, begin)
        if class_name in stage.TRAVELLING and rng.random() < ALL_ALONG:
            return replace(moment, start=-0.5, span=stage.SECONDS + 1)
        return moment

    def placed(self, class_name, pose, look, view, distance, pan, variety, rng):
        if class_name not in stage.TRAVELLING:
            if rng.random() < 0.5:
                distance *= rng.uniform(1, self.others)
        elif rng.random() < IN_DEPTH:
            way = np.ptp(pose["forward"])
            middle = distance * rng.uniform(1, self.far) + way / 2
            aside = rng.uniform(-DRIFT, DRIFT) * stage.WIDTH * middle / view.focal
            facing = float(np.rad2deg(np.arcsin(np.clip(aside / max(way, 0.1), -1, 1))))
            yaw = (180 - facing if rng.random() < 0.5 else facing) + pose["yaw"]
            own = stage.joints(pose, look.height, planted=False)
            return stage.Placed(stage.to_world(own, yaw, np.array([0.0, 0.0, middle])), yaw)
        return stage.place_actor(class_name, pose, look, view, distance, pan, variety, rng)


def _make_one(job, root) -> None:
    with (
        patch.object(clip, "draw_moment", job.spec.moment),
        patch.object(clip, "place_actor", job.spec.placed),
    ):
        make._make_one(job, root)
