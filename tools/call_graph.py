"""Writes what is made from services/call_graph.yaml; tests hold it against the file.

deploy/k8s/base/<service>/network.yaml: who may open a connection to whom. ARCHITECTURE.md: who calls what.
"""

import re
from pathlib import Path

from services.common.identity import PUBLIC, call_graph

ROOT = Path(__file__).resolve().parents[1]
BASE = ROOT / "deploy/k8s/base"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
# Where every service listens in a cluster; the gateway's REST beside it.
GRPC_PORT, REST_PORT = 50051, 8080

_HEAD = """\
# Made from services/call_graph.yaml by `PYTHONPATH=.:gen python tools/call_graph.py`, not by hand.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {service}
  labels:
    app.kubernetes.io/name: {service}
spec:
  podSelector:
    matchLabels:
      app.kubernetes.io/name: {service}
  policyTypes: [Ingress, Egress]
"""
_POD = """\
        - podSelector:
            matchLabels:
              app.kubernetes.io/name: {service}
"""
_PORT = "        - {{protocol: TCP, port: {port}}}\n"
_TABLE = re.compile(r"(?<=<!-- made by tools/call_graph.py -->\n).*?(?=<!-- end -->)", re.DOTALL)


def callers(callee: str) -> set[str]:
    """Who calls a method of it; PUBLIC among them where anybody may."""
    return {caller for method in call_graph()[callee].methods.values() for caller in method.callers}


def callees(caller: str) -> list[str]:
    """Whose methods it calls, in the file's order."""
    return [callee for callee in call_graph() if caller in callers(callee)]


def network_policy(service: str) -> str:
    """The text of its network.yaml."""
    text = _HEAD.format(service=service) + "  ingress:\n"
    if PUBLIC in callers(service):
        text += "    # The door: whoever reaches it shows an API key or a session's token.\n    - ports:\n"
        text += _PORT.format(port=GRPC_PORT) + _PORT.format(port=REST_PORT)
    inside = [name for name in call_graph() if name in callers(service)]
    if inside:
        text += "    - from:\n" + "".join(_POD.format(service=name) for name in inside)
        text += "      ports:\n" + _PORT.format(port=GRPC_PORT)
    called = callees(service)
    if called:
        text += "  egress:\n    - to:\n" + "".join(_POD.format(service=name) for name in called)
        text += "      ports:\n" + _PORT.format(port=GRPC_PORT)
    return text


def table() -> str:
    """Who calls which methods of whom, with their deadlines; a row per pair."""
    rows = ["| caller | callee | methods, by deadline |\n|---|---|---|\n"]
    for caller in (PUBLIC, *call_graph()):
        for callee in callees(caller):
            by_deadline: dict[int, list[str]] = {}
            for name, method in call_graph()[callee].methods.items():
                if caller in method.callers:
                    by_deadline.setdefault(method.deadline_ms, []).append(name)
            cells = [f"{ms / 1000:g} s: {', '.join(names)}" for ms, names in sorted(by_deadline.items())]
            rows.append(f"| {caller} | {callee} | {' · '.join(cells)} |\n")
    return "".join(rows)


def architecture() -> str:
    """ARCHITECTURE.md with the table as it has to be."""
    text, found = _TABLE.subn(lambda _: table(), ARCHITECTURE.read_text())
    assert found == 1, "the table's marks are gone"
    return text


if __name__ == "__main__":
    for name in call_graph():
        (BASE / name / "network.yaml").write_text(network_policy(name))
    ARCHITECTURE.write_text(architecture())
