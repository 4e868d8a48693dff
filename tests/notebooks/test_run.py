"""The headless runner, on tiny notebooks with real kernels and real faults."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kdlab import paths
from kdlab.notebooks import parameters as notebooks_parameters
from kdlab.notebooks.parameters import (
    NotebookError,
    all_notebooks,
    checked_parameters,
    declared_parameters,
    effective_parameters,
    find_notebook,
    fingerprint,
    number_of,
    run_name,
)
from kdlab.notebooks.reproduce import finished_record, reproduce, summary
from kdlab.notebooks.run import Executed, executed_dir, run_notebook
from kdlab.system import sources

PARAMETERS = """import os
profile = os.environ.get("KDLAB_PROFILE", "demo")
seed = 0
lr: float = 0.1
data = None
pretrained = True
seeds = [0, 1]
workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
"""


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder that stands for the clone; runs/ lies in it."""
    for name in ("KDLAB_RUNS", "KDLAB_DATA", "KDLAB_CACHE", "KDLAB_PROFILE", "KDLAB_REAL_CLIPS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def write(clone: Path, name: str, *sources: str, parameters: str = PARAMETERS, tags: dict | None = None) -> Path:
    """A notebook of a title, a parameters cell and ``sources``; ``tags`` gives tags by index into ``sources``."""
    cells = [new_markdown_cell("# A title"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    for index, source in enumerate(sources):
        cells.append(new_code_cell(source, metadata={"tags": (tags or {}).get(index, [])}))
    path = clone / "notebooks" / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def quiet(text: str) -> None:
    pass


def statuses(path: Path) -> list[str]:
    return [cell.metadata.papermill.status for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_names_of_notebooks(clone):
    third = write(clone, "03_dual_light")
    tenth, companion = write(clone, "10_scoreboard"), write(clone, "03b_its_controls")
    assert {find_notebook(name) for name in ("3", "03", "03_dual_light", "03_dual_light.ipynb")} == {third}
    assert {find_notebook(name) for name in ("3b", "03b", "03b_its_controls")} == {companion}
    assert all_notebooks() == [third, companion, tenth]
    assert [number_of(path) for path in all_notebooks()] == ["03", "03b", "10"]
    with pytest.raises(NotebookError, match="03_dual_light, 03b_its_controls, 10_scoreboard"):
        find_notebook("4")
    with pytest.raises(NotebookError, match="did you mean 03_dual_light"):
        find_notebook("03_dual_ligth")


def test_a_copy_of_a_chapter_is_none_and_a_path_names_what_lies_there(clone, monkeypatch):
    third = write(clone, "03_dual_light")
    for name in ("03_dual_light-Copy1", "03_dual_light-Copy2", "03_my night"):
        write(clone, name)
    assert all_notebooks() == [third] and find_notebook("3") == third
    (clone / "mine").mkdir()
    monkeypatch.chdir(clone / "mine")
    (clone / "mine" / "03_dual_light.ipynb").write_bytes(third.read_bytes())
    for name in ("../notebooks/03_dual_light.ipynb", "notebooks/03_dual_light.ipynb", "notebooks/3", str(third)):
        assert find_notebook(name) == third
    for name in ("../mine/03_dual_light.ipynb", "mine/03_dual_light", str(clone / "mine" / "03_dual_light.ipynb"),
                 "nowhere/3"):
        with pytest.raises(NotebookError, match=f"{name} is none of the chapters, which lie in .*notebooks: execute"):
            find_notebook(name)


@pytest.mark.parametrize("name", ["2024_11_23", "1e3", "none", "None", "null", "[1]", "'a'"])
def test_the_path_of_clips_is_a_text(clone, monkeypatch, name):
    monkeypatch.chdir(clone)
    path = write(clone, "03_x")
    with pytest.raises(FileNotFoundError) if name != "None" else contextlib.nullcontext():
        assert checked_parameters(path, {"data": name}) == {"data": None}
    (clone / name).mkdir()
    assert checked_parameters(path, {"data": name}) == {"data": str(clone / name)}


def test_parameters_are_read_as_the_types_of_their_defaults(clone):
    path = write(clone, "03_x")
    assert declared_parameters(path)["profile"] == "demo"
    given = {"profile": "smoke", "seed": "3", "lr": "1", "pretrained": "false", "seeds": "[4, 5]", "workers": "2"}
    checked = checked_parameters(path, given)
    assert checked == {"profile": "smoke", "seed": 3, "lr": 1.0, "pretrained": False, "seeds": [4, 5], "workers": 2}
    assert type(checked["lr"]) is float
    assert checked_parameters(path, {"data": "None"}) == {"data": None}


@pytest.mark.parametrize("name, text", [("seed", "abc"), ("seed", "1.5"), ("seed", "True"), ("pretrained", "1"),
                                        ("lr", "fast"), ("seed", "None"), ("seeds", "4")])
def test_a_value_of_another_type_is_refused(clone, name, text):
    with pytest.raises(NotebookError, match=f"parameter '{name}' takes a value of type"):
        checked_parameters(write(clone, "03_x"), {name: text})


@pytest.mark.parametrize("value", [
    b"\"; open('ran', 'w'); \"", "b'x'", "{1, 2}", {1, 2}, 1j, "1j", ("\"; open('ran', 'w'); \"",), "(1, 2)", [1],
    "[1]", {"a": 1}, float("nan"), float("inf"), "1e999", 10**5000, "9" * 5000, "1" + "0" * 30, "\ud800", Path("x"),
    "...", object(), "[" * 5000 + "]" * 5000,
], ids=lambda value: f"{type(value).__name__}")
@pytest.mark.parametrize("name", ["anything", "workers"])
def test_what_is_no_plain_value_is_refused_by_name(clone, name, value):
    """papermill writes bytes, tuples and sets into the notebook unescaped, where they run as code."""
    path = write(clone, "03_x", parameters=PARAMETERS + "anything = None\n")
    if isinstance(value, str) and value[:2] in ("99", "[["):  # no literal that Python reads: a text
        assert checked_parameters(path, {name: value}) == {name: value}
        return
    with pytest.raises(NotebookError, match=f"parameter '{name}' takes a plain value"):
        checked_parameters(path, {name: value})


@pytest.mark.parametrize("value", [[b"x"], [(1,)], [[float("inf")]], [{"a": {1}}]])
def test_nor_is_it_inside_of_a_list(clone, value):
    with pytest.raises(NotebookError, match="parameter 'seeds' takes a plain value"):
        checked_parameters(write(clone, "03_x"), {"seeds": value})
    path = write(clone, "03_x", parameters="options = {}")
    with pytest.raises(NotebookError, match="parameter 'options' takes a plain value"):
        checked_parameters(path, {"options": {"a": value}})
    with pytest.raises(NotebookError, match="in dicts by a text; got"):
        checked_parameters(path, {"options": {b"x": 1}})


def test_plain_values_reach_the_notebook_as_they_are(clone):
    from papermill.translators import PythonTranslator

    odd = "\\\"'\n\r\t\x00\x0b\x85\u2028\u2029 {x} %s # é 🎬 \\N{BULLET} \\"
    parameters = "text = ''\nseeds = [0]\noptions = {}\nlr = 0.1\nanything = None\n"
    given = {"text": odd, "seeds": [1, None, True, odd, -2**60], "options": {odd: [1.5, {"": odd}]}, "lr": 5e-324,
             "anything": odd}
    checked = checked_parameters(write(clone, "03_x", parameters=parameters), given)
    assert checked == given
    scope = {}
    exec(PythonTranslator.codify(checked), scope)  # as the kernel does
    assert {name: scope[name] for name in given} == given


def test_a_type_is_asked_for_in_python_too(clone):
    path = write(clone, "03_x")
    for given in ({"seed": 1.5}, {"profile": 3}, {"pretrained": 1}, {"seed": True}, {"seeds": None}):
        with pytest.raises(NotebookError, match="takes a value of type"):
            checked_parameters(path, given)


def test_a_profile_that_there_is_not_is_told_before_a_kernel_starts(clone, monkeypatch):
    path = write(clone, "01_a", "open('ran', 'w')")
    for call in (lambda: run_notebook(path, {"profile": "huge"}, say=quiet), lambda: reproduce("huge", say=quiet)):
        with pytest.raises(ValueError, match="no profile 'huge'; there are smoke, demo, study"):
            call()
    monkeypatch.setenv("KDLAB_PROFILE", "huge")
    with pytest.raises(ValueError, match="no profile 'huge'"):
        run_notebook(path, {}, say=quiet)
    assert not (clone / "notebooks" / "ran").exists() and not (clone / "runs").exists()


def test_profiles_are_those_of_the_recipes():
    from kdlab.train import sizes

    for name in notebooks_parameters.PROFILES:
        assert sizes.current(name).name == name
    with pytest.raises(ValueError, match=f"there are {', '.join(notebooks_parameters.PROFILES)}$"):
        sizes.current("huge")


def test_somebodys_notebook_of_that_name_is_not_written_over(clone):
    path = write(clone, "03_x", "open('ran', 'w')")
    executed_dir().mkdir(parents=True)
    for name in ("03_x-demo.ipynb", "03_x-demo.partial.ipynb", "03_x-demo.json"):
        mine = executed_dir() / name
        mine.write_text('{"cells": [], "metadata": {}}')
        with pytest.raises(ValueError, match=f"{name} is there already and is no executed notebook of kdlab's"):
            run_notebook(path, {}, say=quiet)
        assert mine.read_text() == '{"cells": [], "metadata": {}}'
        mine.unlink()
    assert not (clone / "notebooks" / "ran").exists()


@pytest.mark.parametrize("value", ["..", "../../x", "/etc/passwd", "C:\\x", "a:b", "con", "nul.txt", "x. ", "x.", "",
                                   " ", "é" * 300, "🎬" * 100, "a\x00b", "<>|?*", "\n", "A" * 5000])
def test_names_of_executed_notebooks_are_names_on_every_system(clone, value):
    path = write(clone, "03_x", parameters="profile = 'demo'\na = b = c = d = ''\n")
    for given in ({"a": value}, dict.fromkeys("abcd", value)):
        name = run_name(path, effective_parameters(path, checked_parameters(path, given)))
        assert name.startswith("03_x-demo") and len(name.encode()) <= 120
        assert not set(name) & set('<>:"/\\|?*\n\x00 ') and all(c >= " " for c in name)
        assert (executed_dir() / f"{name}.partial.ipynb").resolve().parent == executed_dir().resolve()
    both = [run_name(path, effective_parameters(path, {"a": text})).lower() for text in (value, value + "x", "A", "a")]
    assert len(set(both)) == 4, "different values have different names, capitals or not"


def test_file_names_tell_what_is_not_at_its_default(clone, monkeypatch):
    path = write(clone, "03_x")

    def name(**given):
        return run_name(path, effective_parameters(path, checked_parameters(path, given)))

    assert name() == name(seed="0", profile="demo") == "03_x-demo"
    assert name(seed="1", pretrained="False") == "03_x-demo-seed=1-pretrained=False"
    clips, others = clone / "a b" / "clips", clone / "c" / "clips"
    clips.mkdir(parents=True)
    others.mkdir(parents=True)
    assert name(data=str(clips)).startswith("03_x-demo-data=clips~")
    assert name(data=str(clips)) != name(data=str(others))
    monkeypatch.setenv("KDLAB_PROFILE", "smoke")
    assert name() == "03_x-smoke"


def test_a_finished_run(clone, monkeypatch):
    """Also: a misleading kernel spec is not picked, and an error announced by its cell's tag is no failure."""
    specs = clone / "jupyter" / "kernels" / "python3"
    specs.mkdir(parents=True)
    (specs / "kernel.json").write_text(json.dumps({"argv": ["/nowhere"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(clone / "jupyter"))
    path = write(
        clone, "03_x", "raise ValueError('on purpose')",
        "import sys, json\nfrom pathlib import Path\nheadless = os.environ['KDLAB_HEADLESS']\n"
        "Path('saw.json').write_text(json.dumps([profile, seed, sys.executable, headless]))",
        tags={0: ["raises-exception"]},
    )
    lines = []
    executed = run_notebook(path, {"seed": "1", "profile": "smoke"}, say=lines.append)
    assert executed.failure is None
    assert executed.output == executed_dir() / "03_x-smoke-seed=1.ipynb"
    # The kernel worked in the notebook's folder, with the parameters, in this interpreter.
    saw = json.loads((clone / "notebooks" / "saw.json").read_text())
    assert saw[:2] == ["smoke", 1] and Path(saw[2]) == Path(sys.executable) and saw[3] == "1"
    assert statuses(executed.output) == ["completed"] * 4
    found = {p.name for p in executed_dir().iterdir()} - {"03_x-smoke-seed=1.ipynb.lock"}  # systems leave it, or not
    assert found == {"03_x-smoke-seed=1.ipynb", "03_x-smoke-seed=1.json"}
    assert "".join(lines).count(" s\n") == 4  # one line per code cell, the injected parameters among them


def test_clips_that_lie_elsewhere_make_a_run_stale_too(clone):
    """A table names them, or a class folder is a link; a table that does not open is still a file that can change."""
    path, far = write(clone, "03_x"), clone / "far" / "run"
    far.mkdir(parents=True)
    (clone / "clips").mkdir()
    for name in ("a", "b"):
        (far / f"{name}.mp4").write_bytes(b"0")
        (clone / "clips" / name).symlink_to(far, target_is_directory=True)
    (clone / "clips" / "b").unlink()  # a folder is entered once
    (clone / "table.csv").write_text("path,label\nfar/run/a.mp4,run\nfar/run/b.mp4,walk\n")
    (clone / "broken.csv").write_text("path\n\0")
    data = ["table.csv", "clips", "broken.csv"]
    look = lambda: [fingerprint(path, {"data": str(clone / name)})["data"] for name in data]  # noqa: E731
    before = look()
    assert look() == before
    (far / "b.mp4").write_bytes(b"01")
    after = look()
    assert [new != old for new, old in zip(after, before, strict=True)] == [True, True, False]
    (far / "a.mp4").unlink()
    assert look()[0] != after[0]


def test_two_who_execute_the_same_notebook_do_so_one_after_the_other(clone, monkeypatch):
    """Else the first to end renames the half-done file of the other, and calls it finished."""
    cells = "import time; time.sleep(1)", "from pathlib import Path; print(Path('at').write_text('x'))"
    path, said = write(clone, "03_x", *cells), []
    both = [threading.Thread(target=lambda: said.append(run_notebook(path, {}, say=said.append))) for _ in range(2)]
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # nbclient's, which only a main thread may set
    for thread in both:
        thread.start()
        time.sleep(0.5)
    for thread in both:
        thread.join()
    order = [entry.status if isinstance(entry, Executed) else "begun"
             for entry in said if isinstance(entry, Executed) or entry == "03_x-demo\n"]
    assert order == ["begun", "done"] * 2
    assert "03_x-demo: another process executes it; this one waits for its end\n" in said


@pytest.mark.skipif(os.name != "posix", reason="sockets that are files")
def test_a_port_that_another_takes_meanwhile_stops_no_notebook(clone, monkeypatch):
    class Taken(socket.socket):
        def getsockname(self):
            return taken.getsockname()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr("jupyter_client.connect.socket.socket", Taken)
        assert run_notebook(write(clone, "03_x", "x = 1"), {}, say=quiet).failure is None


def test_a_failing_cell(clone):
    path = write(clone, "03_x", "x = 1", "y = 2\nraise RuntimeError('no light')", "open('later', 'w')")
    executed = run_notebook(path, {}, say=quiet)
    assert executed.failure == "cell 4 of 5 (y = 2): RuntimeError: no light"
    assert executed.output.name == "03_x-demo.partial.ipynb"
    assert statuses(executed.output) == ["completed", "completed", "failed", "pending"]
    assert not (clone / "notebooks" / "later").exists()
    assert finished_record(path, {}) is None


def test_leaving_early_is_not_success(clone):
    executed = run_notebook(write(clone, "03_x", "import sys; sys.exit(0)", "x = 1"), {}, say=quiet)
    assert executed.failure == "cell 3 of 4 (import sys; sys.exit(0)): SystemExit: 0"
    assert statuses(executed.output) == ["completed", "failed", "pending"]


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_a_dead_kernel_leaves_the_notebook_and_no_workers(clone):
    path = write(
        clone, "03_x",
        "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\nopen('pid', 'w').write(str(child.pid))",
        "print('last words', flush=True); import time; time.sleep(0.3); os._exit(1)", "x = 1",
    )
    executed = run_notebook(path, {}, say=quiet)
    assert executed.failure.startswith("cell 4 of 5 (print('last words'")
    assert "the kernel died" in executed.failure
    assert statuses(executed.output) == ["completed", "completed", "failed", "pending"]
    outputs = nbformat.read(executed.output, 4).cells[3].outputs
    assert outputs[0].text == "last words\n" and outputs[-1].output_type == "error"
    assert gone(int((clone / "notebooks" / "pid").read_text()))


def test_a_cell_that_takes_too_long(clone):
    path = write(clone, "03_x", "import time\ntime.sleep(60)", "x = 1")
    began = time.monotonic()
    executed = run_notebook(path, {}, timeout=1, say=quiet)
    assert time.monotonic() - began < 20
    assert executed.failure == "cell 3 of 4 (import time): it ran out of time; give more with --timeout SECONDS"
    assert statuses(executed.output) == ["completed", "failed", "pending"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_keeps_the_partial_notebook(clone):
    # the kernel's words travel on their own: half a second for them to arrive
    write(clone, "03_x", "print('begun', flush=True)\nimport time\ntime.sleep(0.5)\n"
                         "open('begun', 'w').write(str(os.getpid()))\ntime.sleep(60)", "x = 1")
    # a shell's background jobs, such as a CI's, start with SIGINT ignored
    process = command_line(clone, "run", "3", first="import signal as s; s.signal(s.SIGINT, s.default_int_handler)")
    begun = clone / "notebooks" / "begun"
    wait_for(lambda: begun.exists() and begun.read_text())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted: cell 3 of 4 (print('begun', flush=True)): stopped by hand" in errors
    assert "Traceback" not in errors
    partial = clone / "runs" / "notebooks" / "03_x-demo.partial.ipynb"
    assert statuses(partial) == ["completed", "failed", "pending"]
    assert nbformat.read(partial, 4).cells[2].outputs[0].text == "begun\n"
    assert gone(int(begun.read_text()))


@pytest.mark.skipif(os.name != "posix", reason="resource limits")
def test_a_full_disk_is_named(clone):
    write(clone, "03_x", "print('x' * 30_000)")
    process = command_line(clone, "run", "3", first="import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (8192, 8192))")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2 and "Traceback" not in errors
    assert f"cannot write {clone}" in errors and "Free some space" in errors and "KDLAB_RUNS" in errors


def test_a_place_that_cannot_be_written_is_named(clone, monkeypatch):
    (clone / "file").write_text("not a folder")
    monkeypatch.setenv("KDLAB_RUNS", str(clone / "file" / "runs"))
    with pytest.raises(OSError, match="cannot write into .*KDLAB_RUNS"):
        run_notebook(write(clone, "03_x", "open('ran', 'w')"), {}, say=quiet)
    assert not (clone / "notebooks" / "ran").exists()


def test_reproduce_stops_at_a_failure_and_goes_on_after_it(clone):
    first = write(clone, "01_a", "assert pretrained is False and profile == 'smoke'")
    second = write(clone, "02_b", "assert os.path.exists('mended'), 'mend me'")
    write(clone, "03_c", "x = 1", parameters="seed = 0")
    steps = reproduce("smoke", say=quiet)
    assert [step.status for step in steps] == ["done", "failed", "not run"]
    assert "mend me" in steps[1].failure

    (clone / "notebooks" / "mended").touch()
    lines = []
    steps = reproduce("smoke", say=lines.append)
    assert [step.status for step in steps] == ["skipped", "done", "done"]
    assert lines[0].startswith("01_a: skipped")
    table = summary(steps).splitlines()
    assert table[1].split()[:2] == ["01_a", "skipped"] and len(table) == 5

    # A notebook runs again when its own cells change, and so do those that stand on it.
    given = checked_parameters(second, {"profile": "smoke", "pretrained": "False"})
    assert finished_record(second, given)
    write(clone, "02_b", "x = 2")
    assert finished_record(second, given) is None
    assert finished_record(first, given)
    assert [step.status for step in reproduce("smoke", say=quiet)] == ["skipped", "done", "done"]


def test_reproduce_checks_all_parameters_before_the_first_kernel(clone):
    write(clone, "01_a", "open('ran', 'w')")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        reproduce("smoke", data=str(clone / "nowhere"), say=quiet)
    assert not (clone / "notebooks" / "ran").exists()


def test_reproduce_says_first_which_notebooks_take_ones_own_clips(clone):
    write(clone, "01_a", "x = 1")
    write(clone, "02_b", "x = 1", parameters='profile = "smoke"')
    (clone / "clips").mkdir()
    lines = []
    reproduce("smoke", data=str(clone / "clips"), say=lines.append)
    assert lines[0] == "on your clips: 01; on kdlab's own: 02\n"


def test_new_clips_new_evidence_and_new_sources_make_a_finished_run_stale(clone, monkeypatch):
    (clips := clone / "clips").mkdir()
    path = write(clone, "01_a", "%pwd\nfrom kdlab.system import progress")
    given = checked_parameters(path, {"data": str(clips)})
    assert run_notebook(path, given, say=quiet).failure is None
    assert finished_record(path, given)
    (clips / "new.mp4").write_bytes(b"0")
    assert finished_record(path, given) is None
    (clips / "new.mp4").unlink()
    assert finished_record(path, given)
    (clone / "figures").mkdir()
    (clone / "figures" / "dual_light.csv").write_text("study,data\n")
    assert finished_record(path, given) is None
    (clone / "figures" / "dual_light.csv").unlink()
    assert finished_record(path, given)
    edited = {"main.py"}
    monkeypatch.setattr(sources, "syntax", lambda file, known=sources.syntax: known(file) + "!" * (file.name in edited))
    sources._read.cache_clear()
    assert finished_record(path, given), "it does not import the command line"
    edited.add("progress.py")
    sources._read.cache_clear()
    assert finished_record(path, given) is None
    sources._read.cache_clear()


def command_line(clone: Path, *arguments: str, first: str = "") -> subprocess.Popen:
    """``kdlab`` in a process of its own, in the stand-in for the clone."""
    call = (f"{first}\nfrom pathlib import Path; from kdlab import paths; from kdlab.cli import main\n"
            f"paths.project_root = lambda: Path({str(clone)!r})\nmain.main({list(arguments)!r})")
    return subprocess.Popen([sys.executable, "-c", call], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def gone(pid: int) -> bool:
    """Has the process ended (or is it a zombie that nobody reaps)?"""
    def ended():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            pass
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False
    return wait_for(ended)


def wait_for(condition, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    raise AssertionError("waited in vain")


STALE = """import sys
print('ce_raw-mine-s0-0123ab: found, STALE: made by other sources')
print('some other line')
print('dlkdd-mine-s0-0123ab: STALE: made by other sources; trained again', file=sys.stderr)
print('ce_raw-mine-s0-0123ab: found, STALE: made by other sources')"""


@pytest.mark.parametrize("verbose", [False, True])
def test_lines_of_stale_runs_reach_the_command_line_once_and_the_closing_table(clone, capfd, verbose):
    write(clone, "03_x", STALE, STALE)
    said = []
    for _ in range(2):  # the second is skipped, and its outputs are as stale as they were
        steps = reproduce(say=said.append, verbose=verbose)
        table = summary(steps).splitlines()
        assert table[-3:] == ["not of today's sources or clips:",
                              "ce_raw-mine-s0-0123ab: found, STALE: made by other sources",
                              "dlkdd-mine-s0-0123ab: STALE: made by other sources; trained again"]
    assert [step.status for step in steps] == ["skipped"]
    told = "".join(said)
    assert told.count("STALE") == (0 if verbose else 2) and "some other" not in told
    assert "STALE" in capfd.readouterr().out if verbose else True
    write(clone, "03_x", "print('all is well')")
    assert "sources or clips" not in summary(reproduce(say=quiet))


def test_a_damaged_record_counts_as_none(clone):
    path = write(clone, "03_x", "x = 1")
    assert [step.status for step in reproduce(say=quiet)] == ["done"]
    record = next(executed_dir().glob("*.json"))
    kept = record.read_bytes()
    assert finished_record(path, {"profile": "demo", "pretrained": False})
    for content in (b"", b"\0" * 99, b"[1]", b"{}", b"7", b"\xff\xfe",
                    b'{"started": "x", "finished": 1, "seconds": 1}', b"[" * 100_000):
        record.write_bytes(content)
        assert finished_record(path, {"profile": "demo", "pretrained": False}) is None, content[:50]
    record.write_bytes(kept)
    assert finished_record(path, {"profile": "demo", "pretrained": False})


def test_a_damaged_record_does_not_hide_the_report_of_a_sound_one(clone, monkeypatch):
    from kdlab.notebooks.report import write_report

    notebook = write(clone, "10_scoreboard", "1 + 1")
    run_notebook(notebook, {}, say=quiet)
    (executed_dir() / "10_scoreboard-x.json").write_text("{")
    (executed_dir() / "10_scoreboard-x.ipynb").write_text("")
    assert write_report()[0].is_file()
    (executed_dir() / "10_scoreboard-demo.ipynb").write_text("")
    with pytest.raises(ValueError, match="10_scoreboard-demo.ipynb cannot be read as a notebook.*delete it"):
        write_report()
