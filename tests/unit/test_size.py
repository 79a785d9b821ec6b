"""The size limits that docs/decisions/0010 explains."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """Lines that hold code: no blank line, comment or docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                lines.difference_update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


def of(*paths: Path) -> int:
    return sum(code_lines(path.read_text()) for path in paths)


def test_only_code_counts() -> None:
    assert code_lines('"""Doc."""\n\n# why\ndef f():\n    """Doc."""\n    return (\n        1\n    )\n') == 4


def test_common_stays_small() -> None:
    assert of(*(ROOT / "services/common").rglob("*.py")) <= 1_740


def test_the_model_stays_readable() -> None:
    assert of(*(ROOT / "tests/model" / f"{name}.py" for name in ("state", "protocol", "world"))) <= 500


@pytest.mark.parametrize("folder", ["services", "deploy", "tests", "bench", "tools", "stubs"])
def test_no_file_has_more_than_400_lines(folder: str) -> None:
    long = [path for path in (ROOT / folder).rglob("*.py") if len(path.read_text().splitlines()) > 400]
    assert not long
