"""Of part ``runs``: commands let loose where files of other people lie. Whatever the variables say, they stay."""

import json
import os
import shutil
from pathlib import Path

from siege.attack import Attack
from siege.camp import lessen_profiles, make_clips


def _theirs(folder: Path, *names: str) -> list[Path]:
    """Files of somebody else's, of these names, in ``folder``."""
    made = []
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mine: {name}")
        os.utime(path, (10**9, 10**9))
        made.append(path)
    return made


def night_over_others(field: Attack) -> None:
    """``data night --out`` a folder that is not kdlab's, or is, with more in it."""
    folder, kind = field.root / "mine", field.number(4)
    if kind == 0:
        theirs = _theirs(folder, "truth/notes.txt", "index.csv", "notes.txt")
    elif kind == 1:
        theirs = _theirs(folder, "night.json", "index.csv", "thesis.tex", "truth/Run/x.npz")
    elif kind == 2:
        theirs = _theirs(folder, "index.csv")
    else:  # made by an older kdlab, and used since
        shutil.copytree(next((field.camp / "data").iterdir()), folder)
        note = json.loads((folder / "night.json").read_text())
        (folder / "night.json").write_text(json.dumps(note | {"generator": "0" * 16}))
        theirs = _theirs(folder, "dark/Run/my.mp4", "truth/notes.txt", "bright/labels.csv")
    for path in theirs:
        field.keep(path)
    field.kdlab("data", "night", "--out", folder, "--classes", "Run,Walk", "--clips", 6, "--workers", 1,
                *(("--variety", "0.25") if kind == 3 else ()), names=(folder,))


def clean_others(field: Attack) -> None:
    """``clean`` where the variables name folders of other people, or these have put something into kdlab's."""
    kind, theirs = field.number(4), []
    if kind == 0:
        place = field.pick(("CACHE", "RUNS", "DATA"))
        theirs = _theirs(field.root / "mine", "thesis.tex", "holiday/a.jpg", "frames/x.npy", "notebooks/y.ipynb",
                         "report.html", "run/weights.safetensors", "sub/night.txt", "tried.csv")
        os.environ[f"KDLAB_{place}"] = str(field.root / "mine")
    elif kind == 1:
        shutil.copytree(field.camp / "runs", field.root / "runs")
        theirs = _theirs(field.root / "runs", "thesis.tex", "mine/notes.txt", "notebooks/my own.ipynb")
    elif kind == 2:
        shutil.copytree(field.camp / "cache", field.root / "cache")
        shutil.copytree(field.camp / "data", field.root / "data")
        night = next((field.root / "data").iterdir()).name
        theirs = _theirs(field.root, "cache/thesis.tex", "cache/frames/mine.npy", "data/mine/a.mp4",
                         f"data/{night}/my.txt")
    else:
        for name in ("CACHE", "RUNS", "DATA"):
            os.environ[f"KDLAB_{name}"] = str(field.root / "home")
        theirs = _theirs(field.root / "home", "letter.txt", ".profile", "pictures/x.jpg")
    for path in theirs:
        field.keep(path)
    field.kdlab("clean", "--cache", "--runs", "--data", "--yes", names=("KDLAB", "mine", "home"))


def written_over(field: Attack) -> None:
    """Outputs told to go where somebody's file is: the page, the table, the transcoded clip."""
    kind, clips = field.number(4), make_clips(field.root / "set", (1, 1, 1))
    if kind == 0:
        _scoreboard(field)
        theirs = _theirs(field.root / "mine", "thesis.html")
        command = ("report", "--out", theirs[0])
    elif kind == 1:
        theirs = [clips / "index.csv"]
        command = ("data", "check", clips, "--csv", theirs[0])
    elif kind == 2:
        theirs = _theirs(field.root / "mine", "left/train0.avi", "notes.txt")
        command = ("data", "transcode", clips, "--out", field.root / "mine", "--workers", 1)
    else:
        theirs = sorted(clips.rglob("*.mp4"))
        (clips / "index.csv").unlink()
        command = ("data", "transcode", clips, "--out", clips, "--workers", 1)
    for path in theirs:
        field.keep(path)
    field.kdlab(*command, names=(theirs[0], "left", "set", "mine"))


def _scoreboard(field: Attack) -> None:
    """A finished run of notebook 10, as ``reproduce`` leaves it."""
    import nbformat

    from kdlab.notebooks.parameters import effective_parameters, find_notebook, fingerprint, run_name

    notebook = find_notebook("10")
    effective = effective_parameters(notebook, {})
    final = field.root / "runs" / "notebooks" / f"{run_name(notebook, effective)}.ipynb"
    final.parent.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")]), final)
    record = fingerprint(notebook, effective) | {"started": 1.0, "finished": 2.0, "seconds": 1.0}
    final.with_suffix(".json").write_text(json.dumps(record))


def small_study(field: Attack) -> None:
    """A study at another size than the committed one: evidence and weights in the clone stay as they are."""
    lessen_profiles()
    shutil.copytree(field.camp / "data", field.root / "data")
    if field.number(2):
        del os.environ["KDLAB_FIGURES"]
    else:
        shutil.copytree(field.clone / "figures", field.root / "figures")
        field.keep(field.root / "figures")
    name = field.pick(("night_audit", "night_audit", "dual_light"))
    field.kdlab("study", name, "--profile", "smoke", "--seeds", 2, "--workers", 1)


def bad_first(field: Attack) -> None:
    """What cannot end well is refused before work is done: no folder for a table, no such profile."""
    if field.number(2):
        clips = make_clips(field.root / "set", (1, 1, 1))
        ended = field.kdlab("data", "check", clips, "--csv", field.root / "nope" / "x.csv", names=("nope",))
        if "fit to train on" in ended.out:
            field.found("lost", "all clips were opened before the table could not be written")
    else:
        _tiny_project(field, "huge")
        field.kdlab("reproduce", "--profile", "huge", names=("huge",))
        if list((field.root / "runs").rglob("*.ipynb")):
            field.found("lost", "a kernel was started for a profile that is none")


def _tiny_project(field: Attack, profile: str) -> None:
    """Let kdlab take ``root`` for the clone, with notebooks of one line."""
    import nbformat

    from kdlab import paths

    cells = [nbformat.v4.new_code_cell("import os\nprofile = os.environ.get('KDLAB_PROFILE', 'demo')",
                                       metadata={"tags": ["parameters"]}),
             nbformat.v4.new_code_cell("from kdlab.train.sizes import current\ncurrent(profile)")]
    (field.root / "notebooks").mkdir(exist_ok=True)
    for name in ("00_start", "10_scoreboard"):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), field.root / "notebooks" / f"{name}.ipynb")
    paths.project_root = lambda: field.root


def damaged_lists(field: Attack) -> None:
    """What kdlab notes beside the runs (trainings tried, notebooks finished, damaged clips, night.json) is garbage."""
    shutil.copytree(field.camp / "runs", field.root / "runs")
    kind = field.number(4)
    garbage = field.pick((b"", b"\xff\xfe\0", b"[]", b"{}", b"nonsense,\n", b"null"))
    if kind == 0:
        name = field.pick(("tried.csv", "notebooks/10_scoreboard-demo.json"))
        if name != "tried.csv":
            _scoreboard(field)
        (field.root / "runs" / name).write_bytes(garbage)
        if name == "tried.csv":
            from kdlab.train.status import tried

            field.call((name,), tried, ["ce_raw-clips-s0-x"])
        else:
            field.kdlab("report", names=("10_scoreboard",))
            field.kdlab("run", "10", "-p", "nonsense", 1, names=("nonsense",))
    elif kind == 1:
        begun = next((field.root / "runs").glob("*/begun.json"), None)
        if begun:
            begun.write_bytes(garbage)
            from kdlab.train.status import tried

            field.call((begun.parent.name, "begun.json"), tried, ["ce_raw-clips-s0-x"])
    elif kind == 2:
        night = shutil.copytree(next((field.camp / "data").iterdir()), field.root / "mine")
        (night / "night.json").write_bytes(garbage)
        field.kdlab("data", "night", "--out", night, "--clips", 6, "--classes", "Run,Walk", "--workers", 1,
                    names=("mine", "night.json"))
    else:
        from kdlab.train.recipe import UserClips
        from siege.camp import recipe

        clips = make_clips(field.root / "set", (2, 1, 1))
        (clips / "left" / "train1.mp4").write_bytes(b"broken")
        its = recipe(clips, data=UserClips(str(clips), on_damaged="skip"))
        first = its.data.catalogue()
        for path in (field.root / "cache" / "damaged").rglob("*.json"):
            path.write_bytes(garbage)
        from kdlab.clips.check import without_damaged
        from kdlab.clips.datasets import open_data

        again = field.call(("damaged", "cache"), lambda: [without_damaged(open_data(clips))])
        if again and len(again[0].records) != len(first.records):
            field.found("wrong", f"a garbled note on damaged clips brings {len(again[0].records)} clips back")


KINDS = (night_over_others, clean_others, written_over, small_study, bad_first, damaged_lists)
