"""docs/kubernetes/keys.md: the certificate that is signed by hand is one that the service takes."""

import base64
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from services.mtls.certificates import Certificates
from tests.k8s.manifests import ROOT
from tests.tools import require_tool

PAGE = (ROOT / "docs" / "kubernetes" / "keys.md").read_text()
# Answers `get secret` from files, keeps what `patch secret` is given.
KUBECTL = r"""#!/bin/sh
case "$*" in
  *"get secret reelmesh-ca"*tls\\.crt*) base64 < "$CLUSTER/ca.crt" ;;
  *"get secret reelmesh-ca"*tls\\.key*) base64 < "$CLUSTER/ca.key" ;;
  *"patch secret $EXPECTED-tls -p"*) for last; do :; done; printf %s "$last" > "$CLUSTER/patch.json" ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


@pytest.mark.tool("openssl")
@pytest.mark.parametrize("service", ["wallet", "gateway"])
def test_a_service_takes_the_certificate_that_was_signed_by_hand(tmp_path: Path, service: str) -> None:
    require_tool("openssl")
    [function] = re.findall(r"^sign\(\) \{\n.*?^\}$", PAGE, re.MULTILINE | re.DOTALL)
    cluster, work, programs = (tmp_path / name for name in ("cluster", "work", "bin"))
    for folder in (cluster, work, programs):
        folder.mkdir()
    (programs / "kubectl").write_text(KUBECTL)
    (programs / "kubectl").chmod(0o755)
    authority = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=reelmesh-ca", "-days", "30", "-keyout", "ca.key", "-out", "ca.crt"),
    ]
    subprocess.run(authority, cwd=cluster, check=True, capture_output=True)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CLUSTER": str(cluster),
        "EXPECTED": service,
    }
    script = f"set -e\n{function}\nsign {service}\n"
    done = subprocess.run(["sh", "-c", script], cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (work / "ca.key").exists() and not (work / "tls.key").exists()

    mounted = tmp_path / "tls"
    mounted.mkdir()
    (mounted / "ca.crt").write_bytes((cluster / "ca.crt").read_bytes())
    for name, value in json.loads((cluster / "patch.json").read_text())["data"].items():
        (mounted / name).write_bytes(base64.b64decode(value))
    certificates = Certificates(mounted, service=service)
    assert 2 * 86_400 < certificates.expires_in_s() <= 3 * 86_400
    # The proxy in front asks for this name (components/gateway-api/backend-tls).
    names = subprocess.run(
        ["openssl", "x509", "-in", mounted / "tls.crt", "-noout", "-ext", "subjectAltName"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f"DNS:{service}.reelmesh.svc" in names
