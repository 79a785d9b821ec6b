"""Reduces CustomResourceDefinitions to what a test needs: python tests/k8s/crds/reduce.py <modules>

The folder of modules is what `go mod download` fills, $(go env GOMODCACHE). README.md beside this file names
releases and licence.
"""

import gzip
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CNPG = "github.com/cloudnative-pg/cloudnative-pg@v1.30.1/config/crd/bases/postgresql.cnpg.io_"
BARMAN = "github.com/cloudnative-pg/plugin-barman-cloud@v0.15.0/config/crd/bases/barmancloud.cnpg.io_"
CERT_MANAGER = "github.com/cert-manager/cert-manager@v1.21.2/deploy/crds/cert-manager.io_"
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.5.1/config/crd/standard/gateway.networking.k8s.io_"
EXTERNAL_SECRETS = (
    "github.com/external-secrets/external-secrets@v1.3.2/config/crds/bases/external-secrets.io_"
)
PROMETHEUS = (
    "github.com/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd/"
    "monitoring.coreos.com_"
)
SOURCES = {
    CNPG: ("backups", "clusters", "poolers", "scheduledbackups"),
    BARMAN: ("objectstores",),
    CERT_MANAGER: ("certificates", "issuers"),
    GATEWAY_API: ("backendtlspolicies", "gateways", "grpcroutes", "httproutes"),
    EXTERNAL_SECRETS: ("externalsecrets", "secretstores"),
    PROMETHEUS: ("podmonitors", "prometheusrules"),
}
# Texts, and rules in CEL, which the tests do not evaluate.
DROPPED = ("description", "example", "x-kubernetes-validations")


def reduced(definition: dict[str, Any]) -> dict[str, Any]:
    """Group, kind, and per served version the schema without its texts."""
    spec = definition["spec"]
    return {
        "group": spec["group"],
        "kind": spec["names"]["kind"],
        "versions": {
            version["name"]: _bare(version["schema"]["openAPIV3Schema"])
            for version in spec["versions"]
            if version["served"] and version["storage"]
        },
    }


def _bare(schema: Any, *, names: bool = False) -> Any:
    """The schema without DROPPED; under `properties` keys are names of fields, and stay."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _bare(value, names=key == "properties" and not names)
        for key, value in schema.items()
        if names or key not in DROPPED
    }


def main(modules: Path) -> None:
    for prefix, plurals in SOURCES.items():
        for plural in plurals:
            source = modules / f"{prefix}{plural}.yaml"
            text = source.read_bytes()
            small = reduced(yaml.safe_load(text))
            written = json.dumps(small, separators=(",", ":"), sort_keys=True).encode()
            target = HERE / f"{small['group']}_{plural}.json.gz"
            target.write_bytes(gzip.compress(written, mtime=0))
            print(f"{target.name}  {hashlib.sha256(text).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
