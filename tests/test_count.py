"""How code is counted."""

import importlib.util
from pathlib import Path

SOURCE = '''"""A module.

Of two lines."""

import os  # counts

# does not
class A:
    """Nor does this."""

    x = """a text
    of two lines"""

    def f(self):
        "Doc."
        return (self.x,

                os.name)
'''


def test_docstrings_comments_and_blank_lines_do_not_count():
    spec = importlib.util.spec_from_file_location(
        "count", Path(__file__).parents[1] / "tools" / "count_code.py"
    )
    spec.loader.exec_module(count := importlib.util.module_from_spec(spec))
    assert count.count(SOURCE) == (24, 7) and count.count("") == (0, 0)
