"""Does a teacher that sees only what moves pull a student along that sees pixels?"""

from dataclasses import replace

from driftwood.clips import Adrift
from driftwood.raft import Raft
from driftwood.undertow import Undertow
from driftwood.wake import Wake
from kdlab.clips.windows import Window
from kdlab.study import Question, Study
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from kdlab.train.sizes import SMOKE


def conditions(size, world: int) -> dict[str, Recipe]:
    settings = Settings(epochs=size.settings.epochs, batch_size=7)
    alone = Recipe(
        "adrift_alone",
        Adrift(),
        net=Raft(),
        window=Window(8, 32, 28),
        settings=settings,
        seed=world,
    )
    teacher = replace(
        alone, condition="adrift_wake", net=Raft(channels=1), view=Wake(), seed=world + 100
    )
    return {
        "labels alone": alone,
        "undertow": replace(alone, condition="adrift_undertow", method=Undertow(), teacher=teacher),
        "other clips": replace(
            alone, condition="adrift_other", method=Undertow(other=True), teacher=teacher
        ),
    }


study = Study(
    "driftwood",
    conditions,
    size=SMOKE,
    questions=[
        Question(
            "1", "Does the undertow pull?", "undertow", "labels alone", rivals=("other clips",)
        )
    ],
)
