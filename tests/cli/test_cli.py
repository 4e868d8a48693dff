"""The command line: exit codes, messages, the report, cleaning up."""

import base64
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import nbformat
import pytest
from kdlab.papers.dual_light.study import columns
from kdlab.papers.dual_light.study import study as dual_light
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kdlab import paths
from kdlab.cli import data
from kdlab.train.sizes import SMOKE

PROJECT = paths.project_root()
PIXEL = base64.b64encode(base64.b16decode(  # a PNG of one pixel
    "89504E470D0A1A0A0000000D4948445200000001000000010806000000"
    "1F15C4890000000A49444154789C6360000000020001E221BC330000000049454E44AE426082"
)).decode()


@pytest.fixture
def clone(tmp_path, monkeypatch):
    for name in ("KDLAB_RUNS", "KDLAB_DATA", "KDLAB_CACHE", "KDLAB_PROFILE", "KDLAB_REAL_CLIPS", "KDLAB_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "clone")
    (tmp_path / "clone" / "notebooks").mkdir(parents=True)
    return tmp_path / "clone"


@pytest.fixture
def kdlab(clone, command):
    """``command``, where the project is ``clone``."""
    return command


def write(clone, name, source, parameters="seed = 0\ndata = None"):
    cells = [new_markdown_cell(f"# {name}"), new_code_cell(parameters, metadata={"tags": ["parameters"]}),
             new_code_cell(source)]
    nbformat.write(new_notebook(cells=cells), clone / "notebooks" / f"{name}.ipynb")


def test_help_is_instant():
    began = time.perf_counter()
    call = [sys.executable, "-X", "importtime", "-m", "kdlab.cli.main", "--help"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0 and "reproduce" in done.stdout
    assert time.perf_counter() - began < 2  # 0.1 s on an idle machine
    assert not re.search(r"\| +(torch|numpy|pandas|nbformat|papermill|matplotlib)$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("arguments, message", [
    (["4"], "there are: 03_x"),
    (["3", "-p", "sed", "1"], "03_x has no parameter 'sed'; did you mean seed?\nit has: seed, data"),
    (["3", "-p", "seed", "abc"], "parameter 'seed' takes a value of type int, such as 0; got 'abc'"),
    (["3", "--data", "no/where"], "no such data"),
    (["3", "-p", "data", "no/where"], "no such data"),
    (["3", "--data", ""], "the path of the clips is empty"),
    (["3", "-p", "seed", "1", "-p", "seed", "2"], "given twice"),
    (["3", "--timeout", "0"], "0 is not in the range x>=1"),
])
def test_a_wrong_call_ends_before_the_kernel_starts(kdlab, clone, arguments, message):
    write(clone, "03_x", "open('ran', 'w')")
    code, out, err = kdlab("run", *arguments)
    assert code == 2 and message.lower() in err.lower() and "Traceback" not in err
    assert not (clone / "notebooks" / "ran").exists() and not (clone / "runs").exists()


@pytest.mark.parametrize("arguments, environment, message", [
    ("data list clips", {}, "error: the current folder is gone; change into another one"),
    ("clean", {"KDLAB_CACHE": b"/nowhere/\xff", "KDLAB_RUNS": "/nowhere/runs"}, r"/nowhere/\udcff"),
    ("clean", {"KDLAB_RUNS": "/" + 300 * "x"}, "no place for a folder (File name too long): let it name"),
])
def test_odd_surroundings_are_told(tmp_path, arguments, environment, message):
    (tmp_path / "gone").mkdir()
    line = f"cd gone && rmdir ../gone && {sys.executable} -m kdlab.cli.main {arguments}"
    given = {**os.environ, "PYTHONIOENCODING": "utf-8:strict", "PYTHONPATH": str(PROJECT), **environment}
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=given, capture_output=True, text=True)
    assert message in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_run_takes_clips_and_names_the_failing_cell(kdlab, clone, monkeypatch):
    write(clone, "03_x", "print(data)\nassert not os.path.isabs(data)", "import os\nseed = 0\ndata = None")
    (clone / "clips").mkdir()
    monkeypatch.chdir(clone)
    code, out, err = kdlab("run", "3", "--data", "clips", "--verbose")
    assert code == 1
    assert f"{clone / 'clips'}\n" in out
    assert "failed: notebook 03_x, cell 4 of 4 (print(data)): AssertionError" in err and ".partial.ipynb" in err


def test_a_study_of_scores_says_how_often_its_conditions_were_tried(kdlab, clone, monkeypatch):
    scores = SimpleNamespace(recipes={"ce_raw": ["ce_raw-night-s0-ab12cd"]})
    for name, found in (("flatness", {}), ("transfer", {"night": scores})):
        monkeypatch.setattr("kdlab.study.Study.run", lambda *_, found=found, **__: found)
        code, out, _ = kdlab("study", name)
        assert code == 0 and ("trainings are in this table" in out) is (name == "transfer")


def test_reproduce_ends_with_the_comparison_or_says_how_to_go_on(kdlab, clone, monkeypatch):
    line = "accuracy: your 58.2 lies in 54.1…63.0"
    agreed = [(["run: the same bits"], True)]
    monkeypatch.setattr("kdlab.studies.compared", lambda: [line, "mAP: your 30 lies in 20…40"])
    monkeypatch.setattr("kdlab.study.compare_with_pretrained", lambda: agreed[0])
    write(clone, "01_a", "x = 1")
    code, out, _ = kdlab("reproduce")
    assert code == 0 and re.search(r"01_a +done +\d", out) and f"committed intervals\n  {line}\n  mAP: your 30" in out
    assert out.endswith("beside pretrained/\n  run: the same bits\n")
    agreed[0] = ["run: OTHER bits"], False
    code, out, err = kdlab("reproduce")
    assert code == 1 and "OTHER bits" in out and "could not be reproduced" in err
    write(clone, "02_b", "x = y")
    code, out, err = kdlab("reproduce")
    assert code == 1 and re.search(r"01_a +skipped", out) and line not in out
    assert "the same command goes on from here" in err and "NameError" in err


def test_known_errors_are_one_line_unless_debugging(kdlab, clone, monkeypatch):
    code, _, err = kdlab("run", "3")
    assert code == 2
    assert err == (f"error: no notebooks in {clone / 'notebooks'}: `kdlab notebooks DIR` writes them into a folder of "
                   "yours; run kdlab there\n")
    monkeypatch.setenv("KDLAB_DEBUG", "1")
    assert "Traceback" in kdlab("run", "3")[2]


def test_the_home_of_an_unknown_user_is_one_line(kdlab, clone, monkeypatch):
    for arguments in (("list", "~nobody-here/clips"), ("transcode", "~nobody-here/clips", "--out=x")):
        code, _, error = kdlab("data", *arguments)
        assert code == 2 and error.startswith("error: ~nobody-here/clips begins with ~ and a name"), error
        assert "write the path out" in error and len(error.splitlines()) == 1
    monkeypatch.setenv("KDLAB_RUNS", "~nobody-here")
    assert kdlab("data", "transcode", "a", "--out", "~other/x")[2].startswith("error: ~other/x begins")

    def fault(*_):
        raise RuntimeError("another")

    monkeypatch.setattr("kdlab.clips.datasets.open_data", fault)
    with pytest.raises(RuntimeError, match="another"):
        kdlab("data", "list", "~nobody-here/clips")


def test_the_report_needs_no_network(kdlab, clone):
    write(clone, "10_scoreboard", f"""from IPython.display import Image, Markdown, display
import base64
import ipywidgets
display(ipywidgets.IntSlider(description="a " + "dial"), Markdown("## A verdict, $x^2$"))
Image(base64.b64decode({PIXEL!r}))""")
    code, _, err = kdlab("report")
    assert code == 2 and "run `kdlab run 10` first" in err

    assert kdlab("run", "10")[0] == 0
    code, out, _ = kdlab("report", "--code")
    page = clone / "runs" / "report.html"
    assert code == 0 and str(page) in out and "stale" not in out
    html = page.read_text()
    assert PIXEL in html.replace("\n", "") and "A verdict" in html and "a dial" not in html
    loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)\s*=\s*[\"']?(?!data:|#)([^\"'> ]+)", html)
    assert loaded == []
    assert not re.findall(r"@import|url\(\s*[\"']?https?:|import\(|from ['\"]https?:", html)
    assert kdlab("report")[0] == 0 and "IntSlider" in html and "IntSlider" not in page.read_text()

    write(clone, "10_scoreboard", "x = 1")
    assert "stale: notebook 10 changed since that run" in kdlab("report")[1]


def test_the_report_is_for_readers(kdlab, clone):
    write(clone, "10_scoreboard", """from IPython.display import HTML
import kdlab
HTML('<a href="#evidence-d1">cell</a>, <a class="x" href="../docs/ledger.md">words</a>, '
     '<a href="https://example.org/">out</a>')""")
    file = clone / "notebooks" / "10_scoreboard.ipynb"
    page = nbformat.read(file, 4)
    asked = nbformat.v4.new_markdown_cell("Limits.\n\n## 3. Exercises\n\nWhat is <details>asked</details>?")
    page.cells += [nbformat.v4.new_code_cell('kdlab.check("00.1")'), asked, nbformat.v4.new_code_cell("print('more')")]
    nbformat.write(page, file)
    assert kdlab("run", "10")[0] == 0 and kdlab("report")[0] == 0
    html = (clone / "runs" / "report.html").read_text()
    assert '<a href="#evidence-d1">cell</a>, words, <a href="https://example.org/">out</a>' in html
    assert "Limits." in html
    assert not [word for word in ("kdlab.check", "00.1", "Exercises", "asked", ">more") if word in html]
    assert kdlab("report", "--code")[0] == 0
    assert "evidence-d1" in (clone / "runs" / "report.html").read_text()


def test_a_page_or_table_of_somebodys_is_not_written_over_and_that_is_asked_first(kdlab, clone, tmp_path, monkeypatch):
    write(clone, "10_scoreboard", "x = 1")
    assert kdlab("run", "10")[0] == 0
    mine = tmp_path / "mine.html"
    mine.write_text("<title>my page</title>")
    monkeypatch.setattr("kdlab.clips.check.check", lambda *_: pytest.fail("clips were opened"))
    for call in (("report", "--out"), ("data", "check", tmp_path, "--csv")):
        for place, why in ((mine, "is there already"), (tmp_path, "is a folder"), (tmp_path / "no" / "x", "no folder"),
                           (mine / "x", "no folder")):
            code, _, err = kdlab(*call, place)
            assert code == 2 and why in err and "Traceback" not in err
    assert mine.read_text() == "<title>my page</title>" and not (tmp_path / "no").exists()
    for _ in range(2):  # the second time it is kdlab's own
        assert kdlab("report", "--out", tmp_path / "page.html")[0] == 0
    (clone / "runs" / "report.html").write_text("mine")
    assert kdlab("report")[0] == 2 and (clone / "runs" / "report.html").read_text() == "mine"


@pytest.mark.parametrize("clips, each", [(440, (24, 4, 12)), (1100, (60, 10, 30)), (33, (1, 1, 1)), (90, (5, 1, 2))])
def test_clips_are_spread_over_classes_and_splits(clips, each):
    assert data.spread(clips, 11) == each


def test_too_few_clips():
    with pytest.raises(ValueError, match="at least 33 clips"):
        data.spread(20, 11)


def test_data_list_counts_the_clips_of_a_folder(kdlab, tmp_path):
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        for label in ("run", "walk"):
            folder = tmp_path / "mine" / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                (folder / f"{split}_{label}_{index}.mp4").write_bytes(os.urandom(8))
    code, out, err = kdlab("data", "list", tmp_path / "mine")
    assert code == 0, err
    assert "12 clips" in out and re.search(r"walk +3 +1 +2", out)
    code, _, err = kdlab("data", "list", tmp_path / "nowhere")
    assert code == 2 and err.startswith("error: ") and "nowhere" in err


def test_data_list_without_a_path_says_what_goes_where(kdlab):
    code, out, _ = kdlab("data", "list")
    assert code == 0
    for words in ("UCF-101: 13,320 clips", "ARID_split{1,2,3}_{train,other,test}.txt", "splits are published nowhere",
                  "8,815 clips", "6,766 clips", "1,837 train", "210 test videos", "3,784 clips", "your own clips"):
        assert words.lower() in out.lower()


def test_data_list_takes_a_fold(kdlab, tmp_path):
    rows = [f"{label}/{fold}{i}.mp4,{label},{fold}" for label in ("run", "walk") for fold in "AB" for i in range(4)]
    (tmp_path / "index.csv").write_text("\n".join(["path,label,fold", *rows]))
    assert re.search(r"walk +3 +1 +4", kdlab("data", "list", tmp_path, "--test-fold", "A")[1])
    code, _, err = kdlab("data", "list", tmp_path, "--test-fold", "C")
    assert code == 2 and "no fold 'C'. Its `fold` column has: A, B" in err


def test_data_night_makes_clips_and_says_where_it_cannot(kdlab, tmp_path):
    code, out, err = kdlab("data", "night", "--out", tmp_path / "night", "--clips", "10", "--workers", "1",
                           "--classes", "Jump,Run,Wave")
    assert code == 0, err
    assert "10 clips do not spread evenly over 3 classes: making 9" in out and re.search(r"Wave +1 +1 +1", out)
    (tmp_path / "file").touch()
    code, _, err = kdlab("data", "night", "--out", tmp_path / "file" / "night", "--clips", "33")
    assert code == 2 and str(tmp_path / "file" / "night") in err and "name another folder" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("broken, expected", [(False, 0), (True, 1)])
def test_doctor_tells_by_its_exit_code(kdlab, monkeypatch, broken, expected):
    fake = SimpleNamespace(report=lambda: ["check"], render=" ".join, broken=lambda checks: broken)
    monkeypatch.setattr("kdlab.cli.doctor", fake, raising=False)
    monkeypatch.setitem(sys.modules, "kdlab.cli.doctor", fake)
    assert kdlab("doctor")[:2] == (expected, "check\n")


def test_data_night_makes_some_classes_only(kdlab, tmp_path):
    call = ["data", "night", "--out", tmp_path / "few", "--classes"]
    code, out, _ = kdlab(*call, "Jump,Run", "--clips", "6", "--workers", "1")
    assert code == 0 and "6 clips" in out and "Jump" in out and "Walk" not in out
    code, _, err = kdlab(*call, "Jmp")
    assert code == 2 and "Jmp" in err and "Walk" in err


def test_all_studies_are_run_whole_or_none_is_named(kdlab):
    for wrong in (["study"], ["study", "wise", "--all"], ["study", "--all", "--seeds", "3"],
                  ["study", "--all", "--only", "night"], ["study", "--all", "--final"]):
        code, _, errors = kdlab(*wrong)
        assert code == 2 and "--all" in errors


@pytest.mark.parametrize(("arguments", "message"), [
    (["dual_light", "--engine", "slurm"], "error: submitit is not installed here: pip install 'kdlab[slurm]'"),
    (["--all", "--engine", "ray"], "error: ray is not installed here: pip install 'kdlab[ray]'"),
    (["dual_light", "--address", "here:6379"], "Error: --address is that of a Ray: add --engine ray"),
    (["dual_light", "--engine", "dask"], "'dask' is not one of 'pool', 'ray', 'slurm'")])
def test_an_engine_that_is_not_there_is_one_sentence(kdlab, own_places, monkeypatch, arguments, message):
    for name in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("kdlab.studies.together.every", lambda: {"dual_light": dual_light})
    code, _, errors = kdlab("study", "--profile", "smoke", *arguments)
    assert code == 2 and message in errors and not list(paths.runs_dir().glob("*/run.json"))


def test_the_status_of_all_studies_tells_the_hours_of_training(kdlab, own_places, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("kdlab.studies.together.every", lambda: {"dual_light": dual_light})
        assert "CPU hours" not in kdlab("study", "--all", "--status", "--profile", "smoke")[1], "nothing is recorded"
    name = columns(SMOKE, 1)["ce_raw"][0].name
    monkeypatch.setattr("kdlab.studies.together.recorded_seconds", lambda: {name: 3600.0})
    code, out, _ = kdlab("study", "--all", "--status", "--profile", "smoke")
    assert code == 0 and "dlkdd-night" in out and "weizmann" in out
    hours = re.search(r"^about ([\d.]+) CPU hours of training in all, of which ([\d.]+) are left$", out, re.M)
    whole, left = hours.groups()
    assert whole == left and float(whole) > 100
