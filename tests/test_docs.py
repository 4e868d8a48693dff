"""README is short, and what it links to is there."""

import re
from pathlib import Path

from kdlab.system import paths


def test_readme_is_short_and_what_it_links_to_is_there():
    root = paths.project_root()
    text = (root / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 95
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if not target.startswith("http")]
    assert len(targets) > 20 and not [target for target in targets if not (root / target).is_file()]
    chapters = {path.name for path in (root / "notebooks").glob("[0-9][0-9]*_*.ipynb")}
    assert chapters == {Path(target).name for target in targets if target.startswith("notebooks/")}
