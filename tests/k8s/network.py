"""What NetworkPolicies allow, worked out from the manifests: no cluster is asked."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.k8s.manifests import Manifest

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod by its labels and namespace, or an address outside of the cluster."""

    labels: Labels = field(default_factory=dict)
    namespace: Labels = field(default_factory=dict)
    address: str = ""


def allows(
    manifests: Sequence[Manifest], source: Peer, target: Peer, port: int, protocol: str = "TCP"
) -> bool:
    """Whether the policies of either end let this connection be opened.

    https://kubernetes.io/docs/concepts/services-networking/network-policies/: a pod that no policy of a
    direction selects is open in it; of those that do one that allows is enough.
    """
    policies = [each for each in manifests if each["kind"] == "NetworkPolicy"]
    return all(
        _open(policies, own, other, port, protocol, direction)
        for own, other, direction in ((source, target, "Egress"), (target, source, "Ingress"))
    )


def _open(
    policies: Sequence[Manifest], own: Peer, other: Peer, port: int, protocol: str, direction: str
) -> bool:
    selecting = [
        each for each in policies if direction in each["spec"]["policyTypes"] and _selects(each, own)
    ]
    if not selecting:
        return True
    end = "to" if direction == "Egress" else "from"
    rules = [rule for each in selecting for rule in each["spec"].get(direction.lower()) or ()]
    return any(
        _matches_port(rule, port, protocol)
        # A rule without peers is one for all of them.
        and (end not in rule or any(_matches(each, own, other) for each in rule[end]))
        for rule in rules
    )


def _selects(policy: Manifest, peer: Peer) -> bool:
    if peer.address:
        return False
    in_namespace = policy["metadata"]["namespace"] == peer.namespace.get("kubernetes.io/metadata.name")
    return in_namespace and matches_selector(policy["spec"]["podSelector"], peer.labels)


def _matches_port(rule: Manifest, port: int, protocol: str) -> bool:
    return "ports" not in rule or any(
        each.get("protocol", "TCP") == protocol and each["port"] <= port <= each.get("endPort", each["port"])
        for each in rule["ports"]
    )


def _matches(allowed: Manifest, own: Peer, other: Peer) -> bool:
    if "ipBlock" in allowed:
        block = allowed["ipBlock"]
        return (
            bool(other.address)
            and _inside(other.address, [block["cidr"]])
            and not _inside(other.address, block.get("except") or ())
        )
    if other.address:
        return False
    if "namespaceSelector" in allowed:
        if not matches_selector(allowed["namespaceSelector"], other.namespace):
            return False
    elif other.namespace != own.namespace:
        return False
    return matches_selector(allowed.get("podSelector") or {}, other.labels)


def _inside(address: str, networks: Sequence[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks)


def matches_selector(selector: Manifest, labels: Labels) -> bool:
    """A LabelSelector; the empty one matches everything."""
    return all(_answers(selector, labels))


def _answers(selector: Manifest, labels: Labels) -> Iterator[bool]:
    yield (selector.get("matchLabels") or {}).items() <= labels.items()
    for each in selector.get("matchExpressions") or ():
        value = labels.get(each["key"])
        match each["operator"]:
            case "In":
                yield value in each["values"]
            case "NotIn":
                yield value not in each["values"]
            case "Exists":
                yield value is not None
            case "DoesNotExist":
                yield value is None
            case unknown:
                raise AssertionError(unknown)
