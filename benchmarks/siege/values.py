"""Part ``values``: numbers out of their range, parameters that carry code, and surroundings that nobody expects."""

import dataclasses
import importlib
import math
import os
import pkgutil
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from siege import surroundings
from siege.attack import Attack
from siege.camp import recipe, undisturbed

SIZE = 200

#: What recipes are made of has one of these: methods, views, windows, networks, data sets, settings.
_PART_OF_A_RECIPE = ("losses", "read", "moments", "make", "network", "catalogue")
_ALSO = ("Settings", "CoviarFormat", "FrozenView", "Clahe", "Exit")


def _parts() -> list[tuple[type, dataclasses.Field]]:
    """Every field of a number in every public dataclass of which recipes are made."""
    import kdlab

    found = {}
    for module in pkgutil.walk_packages(kdlab.__path__, "kdlab."):
        if any(word in module.name for word in (".show", ".studies", ".measure", ".cli", "__main__", ".paper")):
            continue
        names = vars(importlib.import_module(module.name))
        for made in names.values():
            if isinstance(made, type) and dataclasses.is_dataclass(made) and made.__module__ == module.name:
                if made.__name__ in _ALSO or any(hasattr(made, word) for word in _PART_OF_A_RECIPE):
                    for field in dataclasses.fields(made):
                        if type(field.default) in (int, float) and not made.__name__.startswith("_"):
                            found[made.__name__, field.name] = (made, field)
    return [found[key] for key in sorted(found)]


def fields(field: Attack) -> None:
    """A field of a dataclass: nan, infinity, texts; fractions, negative and truth values where things are counted."""
    parts = _parts()
    for made, its in (parts[int(n)] for n in field.rng.integers(len(parts), size=8)):
        try:
            made()
        except TypeError:
            continue  # it has fields without a default
        bad = [math.nan, math.inf, -math.inf, "3"]
        bad += [0.5, -1, True] if type(its.default) is int else [-1.0] if its.default >= 0 else []
        names, taken = (its.name, made.__name__), []
        for value in bad:
            if field.call(names, lambda made=made, its=its, value=value: [made(**{its.name: value})]):
                taken.append(value)
        if taken:
            field.found("wrong", f"{made.__name__}({its.name}=…) takes {', '.join(map(repr, taken))}")


def _losses() -> Iterator[tuple[str, Callable, tuple]]:
    import torch

    from kdlab.distill.losses import kd_loss, smoothed_targets, soft_target_loss

    a, b, labels = torch.randn(2, 3), torch.randn(2, 3), torch.tensor([0, 1])
    for value in (0, -1.0, math.nan, math.inf):
        yield "temperature", kd_loss, (a, b, value)
        yield "temperature", soft_target_loss, (a, b.softmax(-1), value)
    for other in (torch.randn(2, 1), torch.randn(1, 3), torch.randn(3), torch.randn(2, 4), torch.randn(3, 3)):
        yield "shape", kd_loss, (a, other, 2.0)
    for value in (math.nan, -0.5, 1.5, math.inf):
        yield "smoothing", smoothed_targets, (labels, 3, value)
    yield "class", smoothed_targets, (labels, 1, 0.1)


def functions(field: Attack) -> None:
    """Losses with impossible temperatures and shapes; readers with impossible indices and sizes."""
    import numpy as np

    from kdlab.clips.cache import FrameCache
    from kdlab.clips.catalogue import open_clips, own_folds
    from kdlab.clips.decode import read_frames

    cases = list(_losses())
    clip, clips = field.camp / "clips" / "left" / "test0.mp4", field.camp / "clips"
    for indices in ([math.nan], [0.5], [-1], [10**6], [2**70], [math.inf], [[0, 1.5]]):
        cases.append(("ind", read_frames, (clip, indices)))
        cases.append(("ind", lambda its: FrameCache().frames(clip, its, 16), (indices,)))
    for side in (0, -3, math.nan, 0.5, math.inf, 10**9):
        cases.append(("side", lambda its: FrameCache().frames(clip, [0], its), (side,)))
    for count in (0, 1, -2, 2.5, math.nan, 10**6):
        cases.append(("folds", lambda its: own_folds(open_clips(clips), its), (count,)))
    for n in field.rng.integers(len(cases), size=8):
        name, function, arguments = cases[int(n)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = field.call((name, clip, repr(arguments[-1])), lambda f=function, a=arguments: [f(*a)])
        if answer:
            shown = tuple(tuple(a.shape) if hasattr(a, "shape") and np.ndim(a) else a for a in arguments)
            field.found("wrong", f"{function.__name__.replace('<lambda>', name)}{shown} is taken"[:150])


def options(field: Attack) -> None:
    """A number of the command line: nan, infinity, negative, fractions, words, nothing, a thousand digits."""
    clips = field.camp / "clips"
    night = ("data", "night", "--out", field.root / "n", "--classes", "Run", "--workers", 1)
    numbers = [(night, "--clips"), (night, "--variety"), (night, "--context"), (night, "--seed"), (night, "--workers"),
               (("data", "check", clips), "--min-frames"), (("data", "check", clips), "--workers"),
               (("data", "transcode", clips, "--out", field.root / "t"), "--gop"),
               (("data", "transcode", clips, "--out", field.root / "t"), "--quantiser"),
               (("data", "transcode", clips, "--out", field.root / "t"), "--workers"), (("run", "00"), "--timeout"),
               (("study", "night_audit"), "--seeds"), (("study", "night_audit"), "--workers"),
               (("reproduce",), "--timeout")]
    for n in field.rng.integers(len(numbers), size=3):
        command, option = numbers[int(n)]
        value = field.pick(("nan", "inf", "-1", "0.5e", "", "9" * 1000 + "x", "1e400", "three", "²", "0x10", " "))
        if field.kdlab(*command, option, value, names=(option, option.strip("-"), value)).code == 0:
            field.found("wrong", f"kdlab {command[0]} {command[1]} {option} {value[:20]!r} is taken")
    size = field.pick((("0", "0"), ("-5", "3"), ("15", "256"), ("nan", "1"), ("99999999", "99999999")))
    command = ("data", "transcode", clips / "left" / "test0.mp4", "--out", field.root / "t", "--size", *size)
    if field.kdlab(*command, names=("size", "sides", size[0])).code == 0:
        field.found("wrong", f"transcode --size {size} is taken")


def notebook_parameters(field: Attack) -> None:
    """A parameter that is code, or no plain value, or nested deeper than a parser goes."""
    import nbformat

    from kdlab import paths

    new = nbformat.v4.new_code_cell
    (field.root / "notebooks").mkdir()
    first = new("import os\nx = None\ny = len(os.listdir())\ndata = None\nz = 1.5", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[first, new("print(1)")]), field.root / "notebooks" / "00_x.ipynb")
    paths.project_root = lambda: field.root
    mark = f'open("{field.root}/code-ran","w")'
    code = (f"""b'";{mark};"'""", f"""(b'";{mark};"',)""", f"""{{"a": b'";{mark};"'}}""", f"""[b'";{mark};"']""")
    values = ("{1, 2}", "1j", "...", "(" * 300, "-" * 100_000 + "1", "9" * 6000, "[" * 5000, "b''", "{b'x': 1}", "\0",
              "[" * 90 + "]" * 90, "1_000", "nan", "1e999", "\udcff")
    name, value = field.pick(("x", "y", "z")), field.pick(field.pick((code, values)))
    ended = field.kdlab("run", "00", "-p", name, value, names=(name,))
    if (field.root / "code-ran").exists():
        field.found("touched", f"-p {name} {value[:30]!r} ran code")
    elif ended.code == 0 and value[:1] in ("{", "1j", "."):
        field.found("wrong", f"-p {name} {value!r} is no plain value, and is taken")


def launchers(field: Attack) -> None:
    """Variables that launchers of many processes set, where there is one: the same bits, or a sentence."""
    from kdlab.train.runs import obtain
    from siege.camp import answers

    several = ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "x", "SLURM_JOB_ID": "1"},
               {"SLURM_NTASKS": "2"}, {"WORLD_SIZE": "2"}, {"RANK": "1"}, {"RANK": "1", "WORLD_SIZE": "2"},
               {"LOCAL_RANK": "3"}, {"WORLD_SIZE": "two"}, {"RANK": ""},
               {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, {"KDLAB_DEVICE": "quantum"},
               {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "0"}, {"KDLAB_DEVICE": "cuda:99"}, {"WORLD_SIZE": "-1"},
               {"PMI_RANK": "1", "PMI_SIZE": "2"}, {"LSB_JOBID": "1"}, {"WORLD_SIZE": "0"}, {"KDLAB_DEVICE": " "})
    chosen = field.pick(several)
    os.environ |= chosen
    its = recipe(field.camp / "clips", 7)
    run = field.call((*chosen, *chosen.values()), obtain, its, pretrained=False, say=lambda _: None)
    said = run and field.call(tuple(chosen), answers, run)
    if said and said != undisturbed(field, "other seed"):
        field.found("wrong", f"with {chosen} other bits than without")


def main_guard(field: Attack) -> None:
    """A script without ``if __name__ == "__main__":``: a sentence, at once."""
    script, ours = field.root / "script.py", Path(__file__).resolve().parent.parent
    work = (f"clips = Path({str(field.camp / 'clips')!r})\n"
            "obtain_all([recipe(clips, seed) for seed in (7, 8)], workers=2)\n",
            f"make_night(Night(('Run', 'Walk'), (2, 1, 1)), Path({str(field.root / 'night')!r}), workers=2)\n")
    script.write_text(f"import sys\nsys.path.insert(0, {str(ours)!r})\nfrom pathlib import Path\n"
                      "from siege.camp import recipe\nfrom kdlab.night import Night, make_night\n"
                      f"from kdlab.train.many import obtain_all\n{field.pick(work)}")
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return field.found("hang", "a script without a main guard waits for ever")
    if "__main__" not in "".join(ended.stderr.strip().splitlines()[-3:]):
        field.found("unnamed", f"a script without a main guard: {ended.stderr.strip()[-200:]}")


def recipes(field: Attack) -> None:
    """Seeds and words of a recipe that are none, a training that cannot learn, a loss that must explode."""
    from dataclasses import replace

    from kdlab.train.runs import obtain

    its, kind = recipe(field.camp / "clips", 7), field.number(7)
    if kind < 4:
        change = ({"seed": -1}, {"seed": 0.5}, {"seed": math.nan}, {"condition": "../../up"})[kind]
    else:
        extreme = ({"lr": 1e30}, {"batch_size": 10**9}, {"weight_decay": 1e30})[kind - 4]
        change = {"settings": replace(its.settings, **extreme)}
    shutil.copytree(field.camp / "runs", field.root / "runs")
    before = {*os.listdir(field.root), *os.listdir(field.root.parent)}
    its = field.call(tuple(change), lambda: replace(its, **change))
    run = its and field.call((*change, its.condition, "lr", "loss"), obtain, its, pretrained=False, say=lambda _: None)
    if run and kind < 3:  # any words make a condition; what lies outside is looked for below
        field.found("wrong", f"a recipe with {change} is trained")
    after = {*os.listdir(field.root), *os.listdir(field.root.parent)}
    if new := after - before - {"cache", "runs", "home"}:
        field.found("touched", f"a recipe with {change} made {sorted(new)}")


_CHEAP = (fields, functions, options, launchers, recipes, *surroundings.KINDS)
KINDS = (*_CHEAP, notebook_parameters, *_CHEAP, notebook_parameters, *_CHEAP, main_guard)
