"""The site: whole, without a request, its links followed, and nobody's folder written over."""

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import kdlab
from kdlab import paths
from kdlab.cli import cleaning
from kdlab.notebooks.folding import FOLDED
from kdlab.system.ours import NotOurs
from kdlab.teaching import reference, site
from kdlab.teaching.offline import fetched
from kdlab.teaching.uses import Use, _homes, _used, methods, uses
from tests.pages import Folds


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a README, two documents, a notebook and a figure; runs/ lies in it. Its reference has two parts of
    kdlab only: all of it takes a second and more at each build, and the tests below read it."""
    root = tmp_path / "clone"
    monkeypatch.setattr(paths, "project_root", lambda: root)
    some = {room: files for room, files in reference.rooms().items() if room in ("kdlab", "train")}
    monkeypatch.setattr(reference, "rooms", lambda: some)
    for name in ("RUNS", "FIGURES"):
        monkeypatch.delenv(f"KDLAB_{name}", raising=False)
    for name in ("docs", "notebooks", "figures", "kdlab"):
        (root / name).mkdir(parents=True)
    (root / "kdlab" / "x.py").touch()
    (root / "README.md").write_text("# The kit\n\n[night](docs/night.md#how-it-is-made), [code](kdlab/x.py), "
                                    "![a](figures/a.png), [below](#set-up-elsewhere)\n\n## Set-up, elsewhere\n")
    (root / "docs" / "night.md").write_text("# `night`\n\n## How it is made\n\n[up](../README.md), "
                                            "[there](../notebooks/00_start.ipynb), [out](https://example.org/)\n")
    (root / "figures" / "a.png").write_bytes(b"png")
    page = new_notebook(cells=[new_markdown_cell("# 00 · Start\n\n[a word](../docs/night.md) of $t$"),
                               new_code_cell("1 + 1", outputs=[new_output("display_data", data={
                                   "text/plain": "slider", "application/vnd.jupyter.widget-view+json": {}}),
                                   new_output("stream", text="two & more"), new_output(
                                       "display_data", {"image/png": "cG5n"}, metadata={
                                           "image/png": {"alt": "Chart: <a> line"}})])])
    nbformat.write(page, root / "notebooks" / "00_start.ipynb")
    return root


def test_a_site_is_built_whole_and_links_lead_somewhere(project, command):
    code, said, _ = command("site")
    out = project / "runs" / "site"
    assert code == 0 and f"pages: {out / 'index.html'}" in said
    pages = {path.relative_to(out).as_posix(): path.read_text("utf-8") for path in out.rglob("*.html")}
    assert {"index.html", "gallery.html", "docs/night.html", "notebooks/00_start.html",
            "reference/kdlab.train.html", "reference/kdlab.html"} <= pages.keys()
    assert not any(fetched(text) for text in pages.values())
    assert 'href="docs/night.html#how-it-is-made"' in pages["index.html"] and "kdlab/x.py" not in pages["index.html"]
    assert 'href="../index.html">up' in pages["docs/night.html"]
    assert 'href="../notebooks/00_start.html">there' in pages["docs/night.html"]
    assert 'href="../docs/night.html">a word' in pages["notebooks/00_start.html"]
    assert "two &amp; more" in pages["notebooks/00_start.html"] and "slider" not in pages["notebooks/00_start.html"]
    assert (out / "figures" / "a.png").read_bytes() == b"png" and 'src="figures/a.png"' in pages["gallery.html"]
    drawn = "figures/00_start-01.png"
    assert (out / drawn).read_bytes() == b"png" and "<code>kdlab run 00</code>" in pages["gallery.html"]
    assert f'<img src="{drawn}" alt="Chart: &lt;a&gt; line"' in pages["gallery.html"]
    assert not site.check(pages, {"figures/a.png", drawn, "style.css"})


def test_a_later_build_takes_away_what_it_no_longer_makes_and_leaves_the_rest(project):
    first, _ = site.build(project / "out")
    (project / "out" / "mine.txt").write_text("mine")
    (project / "docs" / "night.md").unlink()
    for file in (project / "README.md", project / "notebooks" / "00_start.ipynb"):
        file.write_text(file.read_text().replace("docs/night.md#how-it-is-made", "#the-kit")
                        .replace("../docs/night.md", "#00"))
    page = nbformat.read(project / "notebooks" / "00_start.ipynb", 4)
    page.cells[0].source = "# 00 · Start"
    nbformat.write(page, project / "notebooks" / "00_start.ipynb")
    assert site.build(project / "out")[0] == first
    assert not (project / "out" / "docs" / "night.html").exists() and (project / "out" / "mine.txt").exists()


@pytest.mark.parametrize(("text", "said"), [
    ("[x](gone.md)", "index.html leads to gone.md, which is not there"),
    ("[x](docs/night.md#gone)", r"leads to docs/night.html#gone, and no heading there has that name"),
    ("![x](figures/gone.png)", "leads to figures/gone.png, which is not there"),
    ("![x](https://example.org/x.png)", "index.html would fetch https://example.org/x.png"),
    ('<script src="//a/x.js"></script>', "index.html would fetch //a/x.js"),
])
def test_a_link_that_leads_nowhere_is_named_and_nothing_is_written(project, command, text, said):
    (project / "README.md").write_text(f"# Kit\n\n{text}\n")
    with pytest.raises(site.SiteError, match=said):
        site.build(project / "out")
    assert not (project / "out").exists()
    assert command("site")[0] == 2


def test_somebodys_folder_stays_as_it_is(project):
    (project / "out").mkdir()
    (project / "out" / "index.html").write_text("<html>mine</html>")
    with pytest.raises(NotOurs, match="holds index.html and is no site of kdlab's"):
        site.build(project / "out")
    (project / "out" / site.LIST).write_text("../README.md\nindex.html")
    with pytest.raises(NotOurs):
        site.build(project / "out")


def test_a_list_that_was_changed_leads_to_no_file_outside(project):
    site.build(project / "out")
    (project / "out" / site.LIST).write_text("../README.md\nindex.html")
    assert site.files(project / "out") == [project / "out" / "index.html"]
    site.build(project / "out")
    assert (project / "README.md").exists()


def test_clean_knows_it(project):
    site.build()
    (project / "runs" / "site" / "mine.txt").write_text("mine")
    found = cleaning.look("runs")
    assert {path.relative_to(project / "runs" / "site").as_posix() for path in found.left} == {"mine.txt"}
    cleaning.delete(found)
    assert [path.name for path in (project / "runs" / "site").rglob("*")] == ["mine.txt"]


@pytest.fixture
def folding(project):
    """A notebook with a fold, one more in it, and what stands open below; a document leads into the inner one."""
    file = project / "notebooks" / "00_start.ipynb"
    page = nbformat.read(file, 4)
    page.cells += [new_markdown_cell("## Deep?", metadata={FOLDED: True}), new_markdown_cell("in deep"),
                   new_markdown_cell("### Deeper?\n\nsome words", metadata={FOLDED: True}),
                   new_markdown_cell("in deeper\n\n#### A place"), new_markdown_cell("## Open"),
                   new_markdown_cell("in the open")]
    nbformat.write(page, file)
    (project / "docs" / "lead.md").write_text("# Lead\n\n[in](../notebooks/00_start.ipynb#a-place)\n")
    return project


def test_a_folded_section_is_folded_on_the_site(folding):
    first, _ = site.build(folding / "out")
    text = (folding / "out" / "notebooks" / "00_start.html").read_text("utf-8")
    page = Folds(text)
    assert page.around.keys() >= {"in deep", "some words", "in deeper", "in the open", "Open"}
    assert page.around["in deep"] == ("Deep?",) and page.around["in the open"] == page.around["Open"] == ()
    assert page.around["some words"] == page.around["in deeper"] == page.around["A place"] == ("Deep?", "Deeper?")
    assert not page.open and text.count("<summary>") == 2 and '<summary><h2 id="deep">Deep?</h2></summary>' in text
    assert "<script" in text and "<script" not in first.read_text("utf-8"), "where there is something to open"
    led = (folding / "out" / "docs" / "lead.html").read_text("utf-8")
    assert 'href="../notebooks/00_start.html#a-place"' in led


@pytest.mark.slow
def test_a_link_and_a_key_open_a_folded_section(folding, chromium):
    page = site.build(folding / "out")[0].parent / "notebooks" / "00_start.html"
    wrong = []
    tab = chromium.new_page()
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(page.as_uri())
    deep, inner = tab.get_by_text("in deep", exact=True), tab.get_by_text("in deeper", exact=True)
    assert not deep.is_visible() and tab.get_by_text("in the open").is_visible()
    tab.locator("summary").first.focus()
    tab.keyboard.press("Enter")
    assert deep.is_visible() and not inner.is_visible()
    tab.goto(f"{page.as_uri()}#deeper")  # the heading itself, by a change of the anchor alone
    inner.wait_for(timeout=5000)
    tab.goto("about:blank")
    tab.goto(f"{page.as_uri()}#a-place")
    inner.wait_for(timeout=5000)
    assert not wrong


@pytest.mark.slow
def test_the_site_of_this_project_leads_nowhere_else(tmp_path):
    first, count = site.build(tmp_path / "site")
    assert count > 30 and first.is_file()
    assert not [page for page in first.parent.rglob("*.html") if fetched(page.read_text("utf-8"))]


# The reference --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known():
    """All uses of public names, which take seconds to find."""
    return uses()


def test_every_public_function_is_in_the_reference_with_what_it_is_for(known):
    text = "".join(reference.page(room, known) for room in reference.rooms())
    count = 0
    for info in pkgutil.iter_modules([str(Path(kdlab.__file__).parent / "measure")]):
        module = import_module(f"kdlab.measure.{info.name}")
        for name, what in vars(module).items():
            if getattr(what, "__module__", "") == module.__name__ and not name.startswith("_") and (
                    inspect.isfunction(what) or inspect.isclass(what)):
                assert f'id="{module.__name__}.{name}"' in text, name
                count += 1
    assert count > 60


def test_no_public_function_is_without_words():
    assert not [f"{path.name}: {entry.name}" for files in reference.rooms().values() for path in files
                for entry in reference.entries(path.read_text("utf-8")) if not entry.said and "." not in entry.name]


def test_every_public_name_has_an_example(known):
    if not (paths.project_root() / "tests").is_dir():
        pytest.skip("not a clone: most examples are from notebooks and tests")
    lacking = []
    for path in (path for files in reference.rooms().values() for path in files):
        module = reference.module_of(path)
        lacking += [f"{module}.{entry.name}" for entry in reference.entries(path.read_text("utf-8"))
                    if not reference.example(module, entry, known)[0]]
    assert not lacking, "use it in a notebook or a test"


def test_examples_are_short_statements_or_calls_by_their_true_names():
    source = """
from kdlab.study import Claim as C, Scores
from kdlab.show import plots
import kdlab
x = [plots.effects(
    found), 1]
kdlab.check("a")
raise C("M1")
with Scores.load(x) as s:
    pass
def f(a: Scores) -> int: ...
"""
    found = {}
    for name, code in _used(source, "", _homes()):
        found.setdefault(name, []).append(code)
    assert found["kdlab.show.plots.effects"] == ["x = [plots.effects(\n    found), 1]"]
    assert found["kdlab.study.claims.Claim"] == ['raise C("M1")']
    assert found["kdlab.teaching.check.check"] == ['kdlab.check("a")']
    assert {*found["kdlab.study.scores.Scores"]} == {"Scores.load(x)", "Scores"}
    long = "f(" + ", ".join(f"argument{n}" for n in range(60)) + ", plots.style())"
    assert ("kdlab.show.plots.style", "plots.style()") in _used(f"from kdlab.show import plots\n{long}", "", _homes())


def test_whose_method_is_called_is_told_by_how_its_object_was_made():
    source = """
from kdlab.clips.views import Batch, Enhanced, Raw
from kdlab.study import Scores
bright, other = Enhanced(by), strange()
bright.pairs(path)
Raw().settled()
bright.read(path)
def f(scores: Scores, kept):
    scores.ece("x")
    kept.interior_of_nothing()
    kept.half_width("alone")
    other.mean()
"""
    found = {name: code for name, code in _used(source, "", _homes(), methods())}
    assert found["kdlab.clips.views.Enhanced.pairs"] == "bright.pairs(path)"
    assert found["kdlab.clips.views.Raw.settled"] == "Raw().settled()"
    assert found["kdlab.clips.decode.Streamed.read"] == "bright.read(path)", "that of the nearest base"
    assert found["kdlab.study.scores.Scores.ece"] == 'scores.ece("x")'
    assert not [name for name in found if name.endswith((".interior_of_nothing", ".half_width", ".mean"))], (
        "of nobody, of several, of everybody")


def test_a_method_without_a_use_of_its_own_has_one_that_is_called_alike_or_its_classs():
    known = {"kdlab.x.A": Use("A(3)(clip)", "tests/a.py"), "kdlab.y.B.cut": Use("b.cut(x)", "tests/b.py"),
             "kdlab.y.cut": Use("y.cut()", "tests/c.py")}
    entries = {entry.name: entry for entry in reference.entries('''
class A:
    """A thing."""

    def forward(self, x):
        """Goes."""

    def cut(self, x):
        """Cuts."""

    def lone(self, x):
        """Alone."""
''')}
    told = {name: reference.example("kdlab.x", entry, known) for name, entry in entries.items()}
    assert told["A.cut"] == ("b.cut(x)", "tests/b.py") and told["A.forward"] == ("A(3)(clip)", "tests/a.py")
    assert told["A.lone"] == told["A"] == ("A(3)(clip)", "tests/a.py")
    assert reference.example("kdlab.z", entries["A.lone"], known) == ("", "")


def test_commands_and_functions_without_arguments_are_examples_of_themselves():
    source = '''
@data.command("list")
def list_clips(path): "Lists."
@cli.command()
def report(out): "Reports."
def made(a=1, *, b=2): "Makes."
def other(a, *, b=2): "Needs a."
'''
    known = {"kdlab.x.other": Use("other(3)", "tests/test_x.py")}
    found = [reference.example("kdlab.x", entry, known) for entry in reference.entries(source)]
    assert found == [("kdlab data list --help", ""), ("kdlab report --help", ""),
                     ("from kdlab.x import made\nmade()", ""), ("other(3)", "tests/test_x.py")]


def test_an_entry_has_its_call_first_paragraph_and_example():
    source = '''
class A(B):
    """A thing,
    of two lines.

    More.
    """
    x: int
    def f(self, a: int = 1, *, b) -> str:
        """F.

        >>> A().f(1)
        'x'
        """
    @property
    def p(self) -> int:
        "P."
    def _hidden(self): ...
def _no(): ...
'''
    a, f, p = reference.entries(source)
    assert (a.name, a.call, a.said, a.example) == ("A", "class A(x)", "A thing,\nof two lines.", "")
    assert (f.name, f.call, f.example) == ("A.f", "A.f(self, a: int=1, *, b) → str", ">>> A().f(1)")
    assert (p.name, p.call) == ("A.p", "A.p → int")


@pytest.mark.parametrize(("text", "html"), [
    ("``a < b`` of :func:`kdlab.x.y`", "<code>a &lt; b</code> of <code>kdlab.x.y</code>"),
    (":class:`~kdlab.x.Y` *is* 2 * 3 * 4", "<code>kdlab.x.Y</code> <em>is</em> 2 * 3 * 4"),
])
def test_docstrings_become_html(text, html):
    assert reference.prose(text) == html
