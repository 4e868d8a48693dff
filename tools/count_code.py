"""Code by folder, in tokens and lines: without docstrings, comments and blank lines.

    python3 tools/count_code.py            prints the table
    python3 tools/count_code.py --check    exits with 1 where a folder has more tokens than it may

Tokens are what a reader reads. Dense lines save none of them.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

#: How many tokens each folder may have. A change that needs more takes some away elsewhere.
LIMITS = {
    "kdlab": 151_700,
    "studies": 23_760,
    "tests": 160_000,
    "benchmarks": 13_380,
    "tools": 4_150,
}
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def count(source: str) -> tuple[int, int]:
    """The tokens of ``source``, and the lines that hold them."""
    docstrings, lines, tokens = set(), set(), 0
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and body
        ):
            if isinstance(body[0], ast.Expr) and isinstance(
                getattr(body[0].value, "value", None), str
            ):
                docstrings.update(range(body[0].lineno, body[0].end_lineno + 1))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE and token.start[0] not in docstrings:
            tokens += 1
            lines.update(range(token.start[0], token.end[0] + 1))
    return tokens, len(lines - docstrings)


def main() -> int:
    root, over = Path(__file__).resolve().parent.parent, []
    for folder, limit in LIMITS.items():
        files, rooms, lines = sorted((root / folder).rglob("*.py")), Counter(), 0
        for file in files:
            inner = file.relative_to(root / folder).parts
            own_tokens, own_lines = count(file.read_text("utf-8"))
            rooms[inner[0] if len(inner) > 1 else "."] += own_tokens
            lines += own_lines
        tokens = sum(rooms.values())
        if tokens > limit:
            over.append(f"{folder} has {tokens} tokens and may have {limit}: take some away")
        print(
            f"{folder:10} {tokens:7} tokens of {limit:7}, {lines:6} lines in {len(files):3} files: "
            + ", ".join(f"{room} {size}" for room, size in rooms.most_common())
        )
    print("\n".join(over))
    return 1 if over and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
