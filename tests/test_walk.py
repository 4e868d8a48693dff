"""One training of DL-KDD, from its recipe to the predictions of its run, can be followed through few files."""

import sys
from dataclasses import replace
from pathlib import Path

import kdlab
from kdlab.night import Night
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.train.obtain import obtain
from kdlab.train.sizes import SMOKE

PACKAGE = Path(kdlab.__file__).parent
#: Rooms that a reader enters only where the training itself calls them: what gives the clips, and plumbing.
DOORS = ("clips", "night", "system")
#: The files to follow, without those of ``kdlab.system``; and all files in which a function is called, however deep.
MOST, MOST_AT_ALL = 15, 25


def file_of(frame) -> Path | None:
    """The file of a function of kdlab."""
    file = Path(frame.f_code.co_filename)
    return file.relative_to(PACKAGE) if file.is_relative_to(PACKAGE) else None


def called(work) -> tuple[set[Path], set[Path]]:
    """The files in which ``work()`` calls a function: those that a reader follows, and all. Imports do not count."""
    followed, every = set(), set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_name != "<module>" and (file := file_of(frame)):
            caller = frame.f_back
            while caller and not file_of(caller):
                caller = caller.f_back
            every.add(file)
            if file.parts[0] not in DOORS or (caller and file_of(caller).parts[0] not in DOORS):
                followed.add(file)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return followed, every


def test_a_training_is_followed_through_few_files(own_places):
    """A student and its teacher are trained, after another seed: their kind is rehearsed and the frames are cached, so
    how a clip is made, decoded and checked does not count. A file of :data:`DOORS` is followed where one of another
    room calls it, and not where only these rooms call each other. Files of ``system`` are listed apart."""
    size = replace(SMOKE, night=Night(("Jump", "Sit"), (2, 1, 1), 0.25))
    first, student = (dual_light(size, seed)["dlkdd"] for seed in (2, 0))
    obtain(first, say=str)
    followed, every = called(lambda: obtain(student, say=str).predictions().accuracy)
    plumbing = {file for file in followed if file.parts[0] == "system"}
    files = sorted(file.as_posix() for file in followed - plumbing)
    print(*files, f"and {len(plumbing)} of system: {len(files)} to follow, {len(every)} at all", sep="\n")
    assert len(files) <= MOST and len(every) <= MOST_AT_ALL, "\n".join(files)
