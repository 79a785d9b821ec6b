"""Validates custom resources strictly against the schemas of their definitions (tests/k8s/crds)."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema.protocols

CRDS = Path(__file__).parent / "crds"
_METADATA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", "maxLength": 253},
        "namespace": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


@cache
def _validators() -> dict[tuple[str, str], jsonschema.protocols.Validator]:
    """By apiVersion and kind."""
    found = {}
    for path in CRDS.glob("*.json.gz"):
        definition = json.loads(gzip.decompress(path.read_bytes()))
        for version, schema in definition["versions"].items():
            strict = _strict(schema)
            strict["properties"] |= {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": _METADATA,
            }
            key = f"{definition['group']}/{version}", definition["kind"]
            found[key] = jsonschema.Draft202012Validator(strict)
    return found


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """What the API server does with `fieldValidation: Strict`, as JSON schema.

    A field that the schema does not name is refused, unless the schema preserves unknown ones.
    """
    strict = dict(schema)
    if schema.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
        # The schema's own anyOf says the same, in every definition.
        strict["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get("nullable") and "type" in strict:
        strict["type"] = [strict["type"], "null"]
        if "enum" in strict:
            strict["enum"] = [*strict["enum"], None]
    if "properties" in schema:
        strict["properties"] = {name: _strict(each) for name, each in schema["properties"].items()}
    if "items" in schema:
        strict["items"] = _strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        strict["additionalProperties"] = _strict(schema["additionalProperties"])
    elif schema.get("type") == "object" and "additionalProperties" not in schema:
        strict["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    return strict


def definitions() -> list[dict[str, Any]]:
    """Each as an object that an API server takes; all of these kinds live in a namespace."""
    found = []
    for path in sorted(CRDS.glob("*.json.gz")):
        definition = json.loads(gzip.decompress(path.read_bytes()))
        group, plural = path.name.removesuffix(".json.gz").split("_")
        kind = definition["kind"]
        versions = [
            {"name": name, "served": True, "storage": not at, "schema": {"openAPIV3Schema": schema}}
            for at, (name, schema) in enumerate(definition["versions"].items())
        ]
        # The server asks it of every definition in a group of Kubernetes' own.
        approved = {"api-approved.kubernetes.io": "unapproved, reduced for tests"}
        names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
        found.append(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{group}", "annotations": approved},
                "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": versions},
            }
        )
    return found


def is_custom(manifest: dict[str, Any]) -> bool:
    """Whether its kind is none of Kubernetes' own."""
    group, _, _ = manifest["apiVersion"].rpartition("/")
    return ("." in group and not group.endswith(".k8s.io")) or group == "gateway.networking.k8s.io"


def validate_custom(manifest: dict[str, Any]) -> None:
    """Errors: KeyError for a kind whose definition is not in tests/k8s/crds, jsonschema.ValidationError."""
    validator = _validators()[manifest["apiVersion"], manifest["kind"]]
    if errors := sorted(validator.iter_errors(manifest), key=lambda error: error.json_path):
        raise errors[0]
