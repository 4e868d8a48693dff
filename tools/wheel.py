"""How a wheel is built: with the chapters, the figures and the weights inside, for ``kdlab notebooks DIR``."""

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py

#: Folders of the clone that travel as ``kdlab/project/``; ``kdlab notebooks`` names the same.
FOLDERS = ("notebooks", "figures", "pretrained", "docs")


class WithChapters(build_py):
    """setuptools' own step, and copies of :data:`FOLDERS` without the answers of studies to clips. An editable installation
    reads them where they are."""

    def run(self):
        if self.editable_mode:
            return super().run()
        shutil.rmtree(
            self.build_lib, ignore_errors=True
        )  # a build before may have left modules that are gone
        super().run()
        inside = Path(self.build_lib) / "kdlab" / "project"
        for folder in FOLDERS:
            shutil.copytree(
                folder, inside / folder, ignore=shutil.ignore_patterns(".*", "*-*.npz", "*-*.gz")
            )
