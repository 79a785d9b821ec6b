"""Writes docs/game.schema.json, the format of a game file for editors, from the types of the engine; a test
holds the file against them."""

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from services.game.engine import definition

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "docs/game.schema.json"


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a game file; each field's docstring is its description."""
    (root,), parts = msgspec.json.schema_components(
        [definition.GameDefinition], ref_template="#/$defs/{name}"
    )
    for part in parts.values():
        part["description"] = " ".join(part["description"].split())
    for name, fields in _docstrings().items():
        for field, text in fields.items():
            if name in parts and field in parts[name]["properties"]:
                # Beside a reference it is read too, since 2019-09.
                parts[name]["properties"][field]["description"] = text
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A game of Reelmesh"}
    return {**head, **root, "$defs": parts}


def _docstrings() -> dict[str, dict[str, str]]:
    """Class -> field -> the text below it."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(definition)).body:
        if isinstance(node, ast.ClassDef):
            fields = found.setdefault(node.name, {})
            for field, text in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    fields[field.target.id] = " ".join(str(text.value.value).split())
    return found


def text() -> str:
    """The file's text."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text())
