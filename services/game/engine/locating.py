"""Where in a game file a field is, and what its type error means: for `loading` alone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect
import yaml

_PATH_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_SOME_KEY = "..."
_STEP = re.compile(r"\[(\d+)\]|\.(\w+)|\[(\.\.\.)\]")
"""One step of a path as msgspec writes it: `[0]`, `.name`, or `[...]`, the value of some key."""
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`")


class NotYaml(ValueError):
    """The file cannot be read as YAML."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, but a key given twice is an error: YAML would silently keep the last pay."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                problem = f"a {type(key).__name__} is no key"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            if key in seen:
                problem = f"key {key} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        if any("\ud800" <= character <= "\udfff" for character in text):  # as "\ud83d" alone escapes it
            problem = "holds half a character, which is no text"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return text


class Document:
    """The content of a file, and the lines that it came from."""

    def __init__(self, content: Any, root: yaml.Node | None) -> None:
        self.content = content
        self._root = root

    def line(self, path: str) -> int:
        """Line (from 1) of a field, or of the nearest part of its path that is there."""
        node, line = self._root, 1
        for index, key in _PATH_PART.findall(path):
            found = _child(node, index, key)
            if found is None:
                break
            node, line = found
        return line


def _child(node: yaml.Node | None, index: str, key: str) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
        child = node.value[int(index)]
        return child, child.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key_node, child in node.value:
            if key_node.value == key:
                return child, key_node.start_mark.line + 1
    return None


def read(path: Path) -> Document:
    """Parse a file. Errors: NotYaml."""
    try:
        loader = _UniqueKeyLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        return Document(None if root is None else loader.construct_document(root), root)
    except (OSError, UnicodeDecodeError) as error:
        raise NotYaml(f"cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise NotYaml(error.problem or "not YAML", line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NotYaml("not YAML") from error


def joined(field: str, item: str) -> str:
    """The path of a part of a field."""
    return f"{field}{'.' if field and item and item[0] != '[' else ''}{item}"


def explained(error: msgspec.ValidationError, content: Any, type_: type) -> tuple[str, str, str]:
    """(field, problem, item) of a content that could not be converted to this type.

    Where msgspec says "the value of some key", the key is found by leaving the others out.
    """
    problem, _, place = str(error).partition(" - at ")
    steps = [index or name or _SOME_KEY for index, name, _ in _STEP.findall(place)]
    if place.startswith("`key` in"):
        steps.append(_SOME_KEY)
    keys: list[Any] = []
    part, field = content, ""
    for step in steps:
        if step == _SOME_KEY:
            key = next((key for key in part if _fails_alike(error, content, type_, keys, key)), None)
        else:
            key = int(step) if isinstance(part, list) else step
        keys.append(key)
        field = joined(field, f"[{key}]" if isinstance(part, list) else str(key))
        part = part[key]
    if problem.startswith("Invalid enum value"):
        return field, f"{part} is none of {', '.join(_choices(type_, keys))}", ""
    unknown = _UNKNOWN_FIELD.fullmatch(problem)
    if unknown is None:
        return field, problem, ""
    close = difflib.get_close_matches(unknown[1], _field_names(type_, keys), n=1, cutoff=0.7)
    return field, f"unknown field {unknown[1]}" + (f", did you mean {close[0]}?" if close else ""), unknown[1]


def _fails_alike(
    error: msgspec.ValidationError, content: Any, type_: type, keys: list[Any], key: Hashable
) -> bool:
    """Whether the content fails in the same way when the mapping at `keys` has this key alone."""

    def only(part: Any, above: list[Any]) -> Any:
        if not above:
            return {key: part[key]}
        copy = part.copy()
        copy[above[0]] = only(part[above[0]], above[1:])
        return copy

    try:
        msgspec.convert(only(content, keys), type_)
    except msgspec.ValidationError as again:
        return str(again) == str(error)
    return False


def _field_names(type_: type, keys: list[Any]) -> list[str]:
    """The fields of the struct at `keys`."""
    at = _type_at(type_, keys)
    return [field.name for field in at.fields] if isinstance(at, msgspec.inspect.StructType) else []


def _choices(type_: type, keys: list[Any]) -> list[str]:
    """What may stand at `keys`, a value out of a list."""
    at = _type_at(type_, keys)
    if isinstance(at, msgspec.inspect.EnumType):
        return [str(one.value) for one in at.cls]
    return [str(value) for value in at.values] if isinstance(at, msgspec.inspect.LiteralType) else []


def _type_at(type_: type, keys: list[Any]) -> msgspec.inspect.Type:
    at: msgspec.inspect.Type = msgspec.inspect.type_info(type_)
    for key in [*keys, None]:
        if isinstance(at, msgspec.inspect.UnionType):  # a struct or nothing
            at = next((one for one in at.types if isinstance(one, msgspec.inspect.StructType)), at)
        if key is None:
            break
        if isinstance(at, msgspec.inspect.StructType):
            at = next(field.type for field in at.fields if field.name == key)
        elif isinstance(at, msgspec.inspect.DictType):
            at = at.value_type
        elif isinstance(at, msgspec.inspect.VarTupleType):
            at = at.item_type
    return at
