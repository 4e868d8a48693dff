"""Types of the public names, which ``__init__.py`` imports where they are first asked for."""

from kdlab.clips.enhance import Gamma as Gamma
from kdlab.clips.views import Enhanced as Enhanced
from kdlab.clips.views import Raw as Raw
from kdlab.clips.windows import Window as Window
from kdlab.datasets.user_clips import UserClips as UserClips
from kdlab.distill.method import KD as KD
from kdlab.distill.method import CrossEntropy as CrossEntropy
from kdlab.nets.video import TinyR2Plus1D as TinyR2Plus1D
from kdlab.night import Night as Night
from kdlab.protocols import Data as Data
from kdlab.protocols import Method as Method
from kdlab.protocols import Net as Net
from kdlab.protocols import View as View
from kdlab.study import Question as Question
from kdlab.study import Study as Study
from kdlab.train.many import obtain_all as obtain_all
from kdlab.train.obtain import obtain as obtain
from kdlab.train.recipe import Recipe as Recipe
from kdlab.train.settings import Settings as Settings

__version__: str

def check(name: str = "", answer: object = ...) -> None: ...
