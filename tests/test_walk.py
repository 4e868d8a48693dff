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
#: Files of kdlab with a function that is called while a student and its teacher are trained.
MOST = 32


def called(work) -> list[str]:
    """The files of kdlab in which ``work()`` calls a function; what an import runs does not count."""
    found = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_name != "<module>":
            found.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return sorted(Path(name).relative_to(PACKAGE).as_posix() for name in found if Path(name).is_relative_to(PACKAGE))


def test_a_training_is_followed_through_few_files(own_places):
    night = Night(("Jump", "Sit"), (2, 1, 1), 0.25)
    student = dual_light(replace(SMOKE, night=night))["dlkdd"]
    student.data.catalogue()  # renders the clips
    files = called(lambda: obtain(student, say=str).predictions().accuracy)
    print("\n".join(files))
    assert len(files) <= MOST, "\n".join(files)
