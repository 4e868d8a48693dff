"""How code is counted."""

from pathlib import Path

from tests.conftest import script

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
    count = script(Path(__file__).parents[1] / "tools" / "count_code.py")
    assert count.count(SOURCE) == (24, 7) and count.count("") == (0, 0)
