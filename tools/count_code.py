"""Lines of code by folder: without docstrings, comments and blank lines.

    python3 tools/count_code.py            prints the table
    python3 tools/count_code.py --check    exits with 1 where a folder has more lines than it may
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

#: How many lines of code each folder may have. A change that needs more takes some away elsewhere.
LIMITS = {"kdlab": 11_510, "studies": 3_000, "tests": 11_610, "benchmarks": 1_000, "tools": 330}
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """How many lines of ``source`` hold code."""
    docstrings, code = set(), set()
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and body:
            if isinstance(body[0], ast.Expr) and isinstance(getattr(body[0].value, "value", None), str):
                docstrings.update(range(body[0].lineno, body[0].end_lineno + 1))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def main() -> int:
    root, over = Path(__file__).resolve().parent.parent, []
    for folder, limit in LIMITS.items():
        files = sorted((root / folder).rglob("*.py"))
        rooms = Counter()
        for file in files:
            inner = file.relative_to(root / folder).parts
            rooms[inner[0] if len(inner) > 1 else "."] += code_lines(file.read_text("utf-8"))
        lines = sum(rooms.values())
        over += [f"{folder} has {lines} lines of code and may have {limit}: take some away"] * (lines > limit)
        print(f"{folder:10} {lines:6} lines of {limit:6} in {len(files):3} files: "
              + ", ".join(f"{room} {count}" for room, count in rooms.most_common()))
    print("\n".join(over))
    return 1 if over and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
