"""Part ``tables``: index files and class folders as nobody should write them, and as people do.

What kdlab lists must be what an independent reading of the table lists, or be refused by the name of file, row or
value; ``data check`` must have a word on what is not fit.
"""

import csv
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from siege.attack import Attack
from siege.camp import make_clips, write_table
from siege.films import encode, film

SIZE = 60


def _rows(field: Attack) -> list[list[str]]:
    """Six sound clips in folders ``left`` and ``right``, and the table that lists them."""
    make_clips(field.root / "set", (1, 1, 1))
    with open(field.root / "set" / "index.csv", newline="") as file:
        return [row[:3] for row in csv.reader(file)]


def _opened(field: Attack, rows: list, bad: bool, names: tuple = (), encoding: str = "utf-8") -> None:
    """Write the table, and have it listed and checked. A ``bad`` one must be refused by both, or at least by check; a
    good one must be listed as it stands."""
    from kdlab.clips.datasets import open_data

    folder = field.root / "set"
    write_table(folder / "index.csv", rows, encoding)
    names = (*names, "index.csv", "set")
    catalogue = field.call(names, open_data, folder)
    check = field.kdlab("data", "check", folder, "--min-frames", 1, names=names)
    if bad and check.code == 0:
        field.found("wrong", f"called fit to train on: {rows[1] if len(rows) > 1 else rows}")
    if not bad and (not catalogue or check.code):
        field.found("wrong", f"a sound table is refused: {check.out[-200:]} {check.err}")
    if catalogue:
        listed = {(r.path.relative_to(folder).as_posix(), catalogue.classes[r.label]) for r in catalogue.records}
        wanted = {(row[0].strip(), row[1].strip()) for row in rows[1:] if row}
        if not bad and listed != wanted:
            field.found("wrong", f"lists {sorted(listed ^ wanted)[:3]}")


def protocols(field: Attack) -> None:
    """Rows that are URLs or other FFmpeg protocols: no request may leave the machine."""
    server, asked = socket.create_server(("127.0.0.1", 0)), []
    port = server.getsockname()[1]

    def answer() -> None:
        while True:
            connection, _ = server.accept()
            asked.append(1)
            connection.close()

    threading.Thread(target=answer, daemon=True).start()
    rows = _rows(field)
    host = f"127.0.0.1:{port}/x.mp4"
    forms = ("concat:left/train0.mp4|right/train0.mp4", "subfile,,start,0,end,0,,:left/train0.mp4", "pipe:0",
             "data:video/mp4;base64,AAAA", *(f"{scheme}://{host}" for scheme in (
                 "http", "tcp", "rtmp", "hls+http", "async:http", "cache:http", "ftp", "crypto+http")))
    rows[1][0] = field.pick(forms)
    os.chdir(field.root / "set")
    write_table(Path("index.csv"), rows)
    for command in (("check", "index.csv"), ("check", "."), ("modalities", rows[1][0])):
        if field.kdlab("data", *command, names=(rows[1][0], "index.csv", "127.0.0.1")).code == 0:
            field.found("wrong", f"{command[0]} calls fit: {rows[1][0]}")
    if asked:
        field.found("touched", f"a request to the network: {rows[1][0]}")


def special_rows(field: Attack) -> None:
    """A row is a folder, a pipe, a socket, a device, a loop of links, or nothing."""
    rows, kind = _rows(field), field.number(7)
    name = ("fifo.mp4", "socket.mp4", "zero.mp4", "loop.mp4", "left", ".", "gone.mp4")[kind]
    path = field.root / "set" / name
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        os.chdir(path.parent)
        socket.socket(socket.AF_UNIX).bind(name)
    elif kind in (2, 3):
        path.symlink_to("/dev/zero" if kind == 2 else name)
    rows[1][0] = name
    _opened(field, rows, True, (name, "row 2"))


def upward_paths(field: Attack) -> None:
    """Absolute paths, paths upwards, backslashes, drives, homes, variables."""
    rows = _rows(field)
    forms = ("../set/left/train0.mp4", str(field.root / "set/left/train0.mp4"), "C:/clips/x.mp4",
             "left/../left/train0.mp4", "~/x.mp4", "$HOME/x.mp4", "..\\set\\left\\train0.mp4", "//host/share/x.mp4",
             "left/train0.mp4\0.txt")
    rows[1][0] = field.pick(forms)
    _opened(field, rows, True, (rows[1][0], "row 2"))


def odd_labels(field: Attack) -> None:
    """Labels that are no number, empty, blank, or one class in two spellings."""
    rows = _rows(field)
    label = field.pick(("nan", "NaN", "", " ", "LEFT"))
    for row in rows[1:]:
        if row[1] == "left" and (label != "LEFT" or row[2] == "test"):
            row[1] = label
    _opened(field, rows, True, (label.strip() or "empty", "row 2"))


def strange_labels(field: Attack) -> None:
    """Labels that are unusual and sound: formulas, other scripts, very long ones, the word train."""
    rows = _rows(field)
    label = field.pick(("=cmd()", "走る", "x" * 300, "a/b", "train", "0", "-1", "é", "a b"))
    for row in rows[1:]:
        row[1] = label if row[1] == "left" else row[1]
    _opened(field, rows, False)


def odd_times(field: Attack) -> None:
    """Times that are no times, or lie behind the clip."""
    rows = _rows(field)
    times = field.pick((("nan", "1"), ("0", "inf"), ("-1", "1"), ("0.3", "0.1"), ("0", "0"), ("1e308", "1e309"),
                        ("0x1", "2"), ("0,1", "1"), ("99", "100"), ("0", "nan"), ("one", "two")))
    more = [("start", "end"), times, *[("", "")] * len(rows)]
    rows = [[*row, *its] for row, its in zip(rows, more, strict=False)]
    _opened(field, rows, True, ("row 2", times[0], "train0"))


def odd_texts(field: Attack) -> None:
    """Encodings, zero bytes, quotes, missing cells, line ends, cells of a megabyte, two columns of one name."""
    rows, path, kind = _rows(field), field.root / "set" / "index.csv", field.number(12)
    text = "\n".join(",".join(row) for row in rows)
    data = text.encode()
    content = (text.encode("utf-16"), data + b"\n\xff\xfe,left,train", data.replace(b"left/", b"le\0ft/"),
               data.replace(b"left,", b'"left,', 1), data + b"\nx.mp4", b"", b"path,label,split\n",
               data.replace(b"path,", b"file,"), data.replace(b"split", b"label"),
               data + b"\n" + b"x" * 2_000_000 + b",left,train", data.replace(b"train\n", b"trian\n", 1),
               data + b"\n" + data.splitlines()[1])[kind]
    path.write_bytes(content)
    check = field.kdlab("data", "check", path.parent, names=("index.csv", "row"))
    if check.code == 0:
        field.found("wrong", f"called fit to train on, with {content[:60]!r}…")


def sound_texts(field: Attack) -> None:
    """A byte order mark, old line ends, quotes, blank lines, columns in another order: all of it is CSV."""
    rows, path, kind = _rows(field), field.root / "set" / "index.csv", field.number(5)
    lines = [",".join(row) for row in rows]
    text = ("\ufeff" + "\n".join(lines), "\r\n".join(lines), "\n\n".join(lines) + "\n\n", "\r".join(lines),
            "\n".join(",".join(f'"{cell}"' for cell in reversed(row)) for row in rows))[kind]
    path.write_bytes(text.encode())
    if field.kdlab("data", "check", path.parent, "--min-frames", 1).code:
        field.found("wrong", f"a sound table is refused: {text[:60]!r}…")


def odd_folds(field: Attack) -> None:
    """Folds whose names lead out of the folder of runs, or that no file system knows: training stays inside."""
    from kdlab import paths
    from kdlab.train.runs import obtain

    fold = field.pick(("../../../../x", "../../x", "a:b", "/tmp/x", "x" * 300, "new\nline", "CON", "..", "é\u0301",
                       "*?", "a\\b", "."))
    make_clips(field.root / "set", (2, 0, 2))
    with open(field.root / "set" / "index.csv", newline="") as file:
        rows = [row[:2] for row in csv.reader(file)]
    rows = [[*row, "fold" if n == 0 else fold if "test" in row[0] else "other"] for n, row in enumerate(rows)]
    write_table(field.root / "set" / "index.csv", rows)
    field.keep(field.camp / "runs")
    before = {*os.listdir(field.root), *os.listdir(field.root.parent)}
    from kdlab.train.recipe import UserClips
    from siege.camp import recipe

    its = field.call((fold, "fold"), recipe, field.root / "set", data=UserClips(str(field.root / "set"), fold))
    run = its and field.call((fold, "fold"), obtain, its, pretrained=False, say=lambda _: None)
    if run and not run.folder.resolve().is_relative_to(paths.runs_dir().resolve()):
        field.found("touched", f"the run of fold {fold!r} lies in {run.folder}")
    elif run and (run.folder.parent != paths.runs_dir() or set(run.folder.name) & set('<>:"/\\|?*\n')):
        field.found("wrong", f"the run of fold {fold!r} is called {run.folder.name!r}")
    after = {*os.listdir(field.root), *os.listdir(field.root.parent)}
    if new := after - before - {"runs", "cache", "home"}:
        field.found("touched", f"fold {fold!r} made {sorted(new)}")


def links(field: Attack) -> None:
    """Links in a loop, to nothing, out of the folder; a class folder that is a link to itself."""
    _rows(field)
    folder, kind = field.root / "set", field.number(4)
    (folder / "index.csv").unlink()
    if kind == 0:
        (folder / "loop").symlink_to("loop")
    elif kind == 1:
        (folder / "up").symlink_to(".")
    elif kind == 2:
        (folder / "index.csv").symlink_to("index.csv")
    else:
        (folder / "left" / "gone.mp4").symlink_to("nowhere.mp4")
    for command in ("list", "check"):
        field.kdlab("data", command, folder, names=("loop", "up", "index.csv", "gone.mp4", "set"))


def special_tables(field: Attack) -> None:
    """The table itself is a pipe, a folder, a device; the set is a file, an empty string, a name with odd bytes."""
    _rows(field)
    kind, path = field.number(5), field.root / "set" / "index.csv"
    path.unlink()
    given = path.parent
    if kind == 0:
        os.mkfifo(path)
        given = path
    elif kind == 1:
        path.mkdir()
        given = path
    elif kind == 2:
        path.symlink_to("/dev/zero")
        given = path
    elif kind == 3:
        given = "no\udcffsuch"
    else:
        (field.root / "file").write_text("x")
        given = field.root / "file"
    ended = field.kdlab("data", "list", given, names=(str(given) or "empty", "PATH", "path", "such"))
    if ended.code == 0:
        field.found("wrong", f"lists {str(given)!r}: {ended.out[:80]}")
def empty_data(field: Attack) -> None:
    """``--data ""``, as a script writes it whose variable is not set: not the current folder."""
    _rows(field)
    os.chdir(field.root / "set")
    for command in (("data", "list", ""), ("data", "check", ""), ("run", "03", "--data", "", "-p", "profile", "smoke")):
        ended = field.kdlab(*command, names=("data", "path", "empty"))
        if ended.code != 2 or "cell" in ended.err:
            field.found("wrong", f"kdlab {' '.join(command[:2])} takes an empty path for the current folder")


def classes(field: Attack) -> None:
    """One class only; a class in test only; the same pictures under two labels; classes called like splits."""
    rows, kind = _rows(field), field.number(4)
    folder = field.root / "set"
    if kind == 0:
        _opened(field, [rows[0], *(row for row in rows if row[1] == "left")], True)
    elif kind == 1:
        rows[1:] = [[*row[:2], "test"] if row[1] == "left" else row for row in rows[1:]]
        _opened(field, rows, True)
    elif kind == 2:
        (folder / "right" / "train0.mp4").write_bytes((folder / "left" / "train0.mp4").read_bytes())
        _opened(field, rows, True)
    else:
        (folder / "index.csv").unlink()
        (folder / "left").rename(folder / "train")
        ended = field.kdlab("data", "check", folder, "--min-frames", 1, names=("train",))
        if ended.code == 0:
            field.found("wrong", "a class folder called train is taken for a split, and the rest left out")


def same_ids(field: Attack) -> None:
    """Two rows, or two files, that one name stands for: by their ending, their case, their way of writing é."""
    rows, kind, folder = _rows(field), field.number(3), field.root / "set"
    one, other = (("left/a.mp4", "left/a.avi"), ("left/A.mp4", "left/a.mp4"),
                  ("left/\u00e9.mp4", "left/e\u0301.mp4"))[kind]
    encode(folder / one, film(field.rng, 9))
    encode(folder / other, film(field.rng, 9), "mpeg4" if kind == 0 else "libx264")
    rows += [[one, "left", "train"], [other, "left", "test"]]
    names = (one, other, "a")
    if kind == 0:
        return _opened(field, rows, True, names)
    write_table(folder / "index.csv", rows)
    if field.kdlab("data", "check", folder, "--min-frames", 1, names=names).code == 0:
        from kdlab.clips.datasets import open_data

        stems = {Path(one).stem, Path(other).stem}
        if len({r.id for r in open_data(folder).records if r.path.stem in stems}) != 2:
            field.found("wrong", f"of {one} and {other} one is lost")


def many_rows(field: Attack) -> None:
    """Twenty thousand rows of clips that are not there: named, and soon."""
    rows = _rows(field)
    rows += [[f"left/gone{n}.mp4", "left", "train"] for n in range(20_000)]
    write_table(field.root / "set" / "index.csv", rows)
    field.kdlab("data", "list", field.root / "set", names=("index.csv",))
    if field.kdlab("data", "check", field.root / "set", names=("gone",)).code == 0:
        field.found("wrong", "20,000 missing clips are called fit")


def strange_names(field: Attack) -> None:
    """Clips and folders whose names have colons, line ends, quotes, percent signs or bytes that are no text."""
    _rows(field)
    name = field.pick(("a:b", "new\nline", 'say "hi"', "per%cent", "\udcff\udcfe", "-rf", "#hash", " blank ", "a,comma",
                       ".hidden", "http:x", "走る"))
    folder = field.root / "set"
    (folder / "index.csv").unlink()
    (folder / "left").rename(folder / name)
    for clip in list((folder / "right").iterdir()):
        clip.rename(clip.with_name(f"{name}{clip.name}"))
    os.chdir(folder.parent)
    ended = field.kdlab("data", "check", folder if field.number(2) else "set", "--min-frames", 1,
                        names=(name, "set"))
    if ended.code == 0 and "NOT fit" in ended.out:
        field.found("wrong", f"exit code 0 for a folder called {name!r} that is not fit")
    if name not in (".hidden", "\udcff\udcfe") and "cannot be decoded" in ended.out + ended.err:
        field.found("wrong", f"sound clips in {name!r} are called damaged: {ended.out[-200:]}")
    if "truncated" in ended.out or "damaged" in ended.out or "misnamed" in ended.out:
        field.found("wrong", f"sound clips in {name!r} are called damaged: {ended.out[-200:]}")


KINDS: tuple[Callable, ...] = (protocols, special_rows, upward_paths, odd_labels, strange_labels, odd_times, odd_texts,
                               sound_texts, odd_folds, links, special_tables, empty_data, classes, same_ids, many_rows,
                               strange_names)
