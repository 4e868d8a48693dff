"""What the documents for a class name is there: commands, targets, exercises, files; the words of the coverage."""

import json
import re
import tomllib

import click
import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

from kdlab import paths
from kdlab.cli.main import cli
from kdlab.notebooks.parameters import find_notebook
from kdlab.teaching.copies import ANSWERS
from kdlab.teaching.exercises import exercises

ROOT = paths.project_root()
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
pytestmark = pytest.mark.skipif(not (ROOT / "Makefile").is_file(), reason="not a clone")


def code(text: str) -> str:
    """What a text sets as code, inline (also across the end of a line) and in fences."""
    found = re.findall(r"```.*?\n(.*?)```|`([^`]+)`", text, re.DOTALL)
    return "\n".join(fence or " ".join(inline.split()) for fence, inline in found)


def unknown(said: str) -> list[str]:
    """Of each call of kdlab in ``said`` the command or the options that it has not."""
    found = []
    for words in map(str.split, re.findall(r"(?m)^(?:\S+=\S+ )*kdlab ([^#\n]+)", said)):
        command, call = cli, "kdlab"
        while isinstance(command, click.Group) and words and words[0].isalpha() and command:
            call += f" {words[0]}"
            command = command.commands.get(words.pop(0))
        if command is None:
            found.append(call)
        elif not isinstance(command, click.Group):
            options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
            found += [f"{call} {word}" for word in words if word.startswith("-") and word not in options]
    return found


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_commands_options_and_targets_that_a_document_names_exist(path):
    if path.name == "log.md":
        pytest.skip("tells what there was")
    said = code(path.read_text("utf-8"))
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert not unknown(said)
    assert set(re.findall(r"(?m)(?:^|&& |\S=\S* )make ([a-z-]+)", said)) <= set(targets)


def test_the_page_for_researchers_names_every_study():
    from kdlab.studies import every

    text = (ROOT / "docs" / "using.md").read_text("utf-8").partition("kdlab study dual_light ")[2]
    said = text.partition("\nkdlab study my_study")[0]
    assert set(re.findall(r"\b[a-z]+(?:_[a-z0-9]+)*\b", said)) >= every().keys() - {"dual_light"}


def test_who_uses_real_clips_is_there():
    rows = (ROOT / "docs" / "real-clips.md").read_text("utf-8").partition("| used by |")[2].partition("\n\n")[0]
    files = re.findall(r"`(\S+[.]py)`", rows)
    users = {path.relative_to(ROOT).as_posix() for folder in ("tests", "benchmarks") for path in
             (ROOT / folder).glob("*/test_*.py" if folder == "tests" else "*.py")
             if re.search(r"def test_\w+\(real_clips|paths\.real_clips\(\)", path.read_text("utf-8"))}
    assert set(files) == users


def test_exercises_tags_and_files_of_the_page_for_lecturers_exist():
    text = (ROOT / "docs" / "teaching.md").read_text("utf-8")
    assert set(re.findall(r"\b0[0-3]\.\d\b", text)) <= exercises().keys()
    table = text.partition("| tag |")[2].partition("\n\n")[0]
    assert set(re.findall(r"(?m)^\| `(\w+)`", table)) == ANSWERS
    for name in re.findall(r"`([\w./-]+\.(?:ya?ml|json|py))`", text):
        assert name == "runs/progress.json" or (ROOT / name).is_file(), name


def test_two_hours_are_two_hours_and_their_sections_are_there():
    text = (ROOT / "docs" / "teaching.md").read_text("utf-8").partition("## Two hours")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (\d):(\d\d) \| ([^|]*) \| (\d+) \|", text)
    clock = 0
    for hour, minute, what, length in rows:
        assert 60 * int(hour) + int(minute) == clock
        clock += int(length)
        if found := re.match(r"(\d\d), sections? (.+)", what):
            page = json.loads(find_notebook(found[1]).read_text("utf-8"))
            titles = re.findall(r"(?m)^## (\d+)\.", "\n".join("".join(cell["source"]) for cell in page["cells"]))
            assert {*re.findall(r"\d+", found[2])} <= {*titles}, what
    assert clock == 120


def test_coverage_has_one_of_its_words_in_each_row():
    text = (ROOT / "docs" / "coverage.md").read_text("utf-8")
    parts = text.split("\n## ")[1:]
    rows = [line.split("|")[2].strip() for part in parts for line in part.splitlines()
            if line.startswith("| ") and not line.startswith("| element")]
    known = {"**same**", "**adapted**", "**full size only**", "**missing**", "**adapted**, and **full size only**",
             "added", "unknown"}
    assert len(parts) == 3 and len(rows) > 35 and set(rows) <= known


def test_files_for_services_hold_what_pyproject_asks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    floors = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    binder = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text("utf-8"))
    named = {r.name: r.specifier for r in map(Requirement, binder["dependencies"][2:-1])}
    assert named == {"pytorch-cpu": floors["torch"], "torchvision": floors["torchvision"]}
    assert binder["dependencies"][-1] == {"pip": ["-e .."]}
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    assert container["postCreateCommand"].startswith("make setup")
    assert "untried" in (ROOT / "docs" / "teaching.md").read_text("utf-8").partition("in a browser\n")[2]


def test_the_page_for_colab_goes_the_first_steps_of_chapter_00_and_names_no_host():
    nbformat.validate(page := nbformat.read(ROOT / "binder" / "colab.ipynb", 4))
    chapter = {cell.id: cell.source.replace("# NBVAL_CHECK_OUTPUT\n", "")
               for cell in nbformat.read(find_notebook("00"), 4).cells}
    fetch, path, *steps = [cell for cell in page.cells if cell.cell_type == "code"]
    assert not [cell.id for cell in (fetch, path, *steps) if cell.outputs or cell.execution_count]
    assert 'repository = "REPOSITORY"' in fetch.source and "kdlab" in path.source
    assert len(steps) >= 6 and not [cell.id for cell in steps if chapter.get(cell.id) != cell.source]
    order = [list(chapter).index(cell.id) for cell in steps]
    assert order == sorted(order)
    text = "\n".join(cell.source for cell in page.cells if cell not in steps)  # those have `recipe.net`
    assert not re.findall(r"://|--[a-z-]*index|\b[\w-]+\.(?:org|com|net|io|dev)\b", text)
    assert "not tried yet" in text and "`binder/colab.ipynb`" in (ROOT / "docs" / "teaching.md").read_text("utf-8")


def test_the_test_itself():
    assert code("a `kdlab\nx` and\n```\nkdlab run 3\n```\nkdlab no") == "kdlab x\nkdlab run 3\n"
    said = "kdlab rum 3\nkdlab data lost x\nX=1 kdlab run 3 --all  # --none\nkdlab paper …\nkdlab data check x --csv y"
    assert unknown(said) == ["kdlab rum", "kdlab data lost", "kdlab run --all"]
