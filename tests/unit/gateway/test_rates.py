"""Token buckets by a clock of the test's own, and whose address is counted."""

import pytest

from services.gateway.errors import RateLimited
from services.gateway.protection import rates
from services.gateway.protection.rates import Addresses, Limit, Rates


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def limit(name: str = "key", *, per_s: float = 2, burst: int = 4) -> tuple[Limit, Clock]:
    """A limit and its clock."""
    clock = Clock()
    return Limit(name, per_s=per_s, burst=burst, clock=clock), clock


def test_a_full_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket, clock = limit()
    assert [bucket.take("a").remaining for _ in range(4)] == [3, 2, 1, 0]
    refused = bucket.take("a")
    assert refused.refused_for_s == pytest.approx(0.5)
    clock.now_s += 0.5
    assert bucket.take("a").refused_for_s == 0
    assert bucket.take("a").refused_for_s == pytest.approx(0.5)
    clock.now_s += 3_600
    assert bucket.take("a").remaining == 3


def test_who_goes_on_asking_is_refused_no_longer_for_it() -> None:
    bucket, clock = limit()
    for _ in range(100):
        bucket.take("a")
    clock.now_s += 0.5
    assert bucket.take("a").refused_for_s == 0


def test_buckets_are_apart() -> None:
    bucket, _ = limit(burst=1)
    assert bucket.take("a").refused_for_s == 0 and bucket.take("b").refused_for_s == 0
    assert bucket.take("a").refused_for_s > 0


def test_no_caller_makes_us_keep_more_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "BUCKETS_MAX", 100)
    bucket, clock = limit(burst=1, per_s=1)
    for number in range(1_000):
        bucket.take(f"a{number}")
        assert len(bucket._full_at) <= 100
    assert bucket.take("a999").refused_for_s > 0
    # Those that are full again go first.
    clock.now_s += 10
    bucket.take("new")
    bucket.take("newer")
    assert bucket._full_at.keys() == {"new", "newer"} or len(bucket._full_at) <= 100


def test_a_policy_names_quota_and_window() -> None:
    assert limit(per_s=2, burst=5)[0].policy == '"key";q=5;w=3'
    assert limit(per_s=0.5, burst=5)[0].policy == '"key";q=5;w=10'


def all_of(session: int, address: int) -> Rates:
    """Limits of these bursts, which do not refill."""
    clock = Clock()

    def one(name: str, burst: int) -> Limit:
        return Limit(name, per_s=1 if burst else 0, burst=burst, clock=clock)

    return Rates(
        key=one("key", 1),
        session=one("session", session),
        address=one("address", address),
        is_key=lambda credential: credential.startswith("rk_"),
    )


def test_the_tightest_limit_is_told_and_any_refuses() -> None:
    both = all_of(session=3, address=5)
    assert both.take("st_a", "x")[0].name == "session"
    assert both.take("", "x")[0].name == "address"
    for _ in range(2):
        both.require("st_a", "x")
    with pytest.raises(RateLimited) as refused:
        both.require("st_a", "x")
    assert refused.value.metadata["limit"] == "session"
    with pytest.raises(RateLimited) as refused:
        both.require("st_b", "x")
    assert refused.value.metadata["limit"] == "address"
    both.require("rk_a", "y")
    with pytest.raises(RateLimited) as refused:
        both.require("rk_a", "z")
    assert refused.value.metadata["limit"] == "key"


def test_zero_is_no_limit() -> None:
    free = all_of(session=0, address=0)
    for _ in range(1_000):
        free.require("st_a", "x")
    assert free.take("st_a", "x")[0].unlimited


@pytest.mark.parametrize(
    "trusted, peer, forwarded_for, address",
    [
        ("", "203.0.113.1", "198.51.100.1", "203.0.113.1"),
        ("10.0.0.0/8", "203.0.113.1", "198.51.100.1", "203.0.113.1"),
        ("10.0.0.0/8", "10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.0/8", "10.1.1.1", "forged, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.0/8", "10.1.1.1", "1.1.1.1, 198.51.100.1, 10.2.2.2", "198.51.100.1"),
        ("10.0.0.0/8", "10.1.1.1", "198.51.100.1, nonsense", "10.1.1.1"),
        ("10.0.0.0/8", "10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("10.0.0.0/8", "10.1.1.1", "", "10.1.1.1"),
        ("::1/128, fd00::/8", "fd00::1", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("", "2001:db8:1:2:ffff::9", "", "2001:db8:1:2::/64"),
        ("", "::ffff:203.0.113.9", "", "203.0.113.9"),
        ("", "fe80::1%eth0", "", "fe80::/64"),
        ("", "", "", ""),
    ],
)
def test_the_address_is_the_last_that_nobody_could_forge(
    trusted: str, peer: str, forwarded_for: str, address: str
) -> None:
    assert Addresses(trusted).of(peer, forwarded_for) == address


def test_a_proxy_that_is_no_network_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        Addresses("10.0.0.0/8, proxy.internal")
