"""Which files are taken, which are refused and how often that is said."""

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from deploy.local.authority import Authority, Folder, names_of
from services.common import telemetry_names
from services.mtls import certificates
from services.mtls.certificates import Certificates
from services.mtls.checking import service_of

AUTHORITY = Authority()
Files = dict[str, bytes]


def good(authority: Authority = AUTHORITY, **options: timedelta) -> Files:
    certificate, key = authority.issue_for("wallet", **options)
    return {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.pem}


def named(*names: x509.GeneralName) -> Files:
    certificate, key = AUTHORITY.issue("wallet", names)
    return {"tls.crt": certificate, "tls.key": key}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A directory of the wallet's, with good files."""
    made = Folder(tmp_path / "tls", ("wallet",))
    made.write("wallet", good())
    return made


IDENTITY = x509.UniformResourceIdentifier("spiffe://reelmesh/wallet")
BROKEN: dict[str, tuple[Callable[[], Files], str]] = {
    "empty certificate": (lambda: {"tls.crt": b""}, "tls.crt holds no certificates"),
    "half a certificate": (lambda: {"tls.crt": good()["tls.crt"][:300]}, "tls.crt holds no certificates"),
    "no PEM": (lambda: {"tls.crt": b"\xff\x00"}, "tls.crt holds no certificates"),
    "half a chain": (lambda: {"tls.crt": good()["tls.crt"] + AUTHORITY.pem[:99]}, "not all of one"),
    "empty key": (lambda: {"tls.key": b""}, "tls.key is no PEM private key"),
    "half a key": (lambda: {"tls.key": good()["tls.key"][:60]}, "tls.key is no PEM private key"),
    "another key": (lambda: {"tls.key": good()["tls.key"]}, "not the key of tls.crt"),
    "no authority": (lambda: {"ca.crt": b""}, "ca.crt holds no certificates"),
    "half an authority": (lambda: {"ca.crt": AUTHORITY.pem * 2 + AUTHORITY.pem[:99]}, "not all of one"),
    "another authority": (lambda: {"ca.crt": Authority().pem}, "does not lead to a certificate of ca.crt"),
    "another service": (lambda: named(*names_of("game")), "must be spiffe://reelmesh/wallet"),
    "no names": (lambda: named(), "no subject alternative names"),
    "two identities": (
        lambda: named(IDENTITY, x509.UniformResourceIdentifier("spiffe://reelmesh/game"), *names_of("x")[:1]),
        "must be spiffe://reelmesh/wallet",
    ),
    "no DNS name": (lambda: named(IDENTITY), "must have the DNS name wallet"),
    "expired": (lambda: good(valid_for=timedelta(seconds=-1)), "has expired at"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_is_refused_and_the_old_one_stays(
    folder: Folder, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    make, problem = BROKEN[name]
    own = Certificates(folder.of("wallet"), service="wallet")
    leaf, followed = own.leaf, []
    own.follow(lambda: followed.append(1))
    folder.write("wallet", make())
    # The first look may be in the middle of being written: nothing is said.
    assert not own.reload() and not caplog.records
    for _ in range(3):
        assert not own.reload()
    [said] = caplog.records
    assert said.levelno == logging.ERROR and problem in said.getMessage()
    assert "PRIVATE KEY" not in caplog.text
    assert own.leaf is leaf and not followed
    with pytest.raises(OSError, match="cannot be used") as refused:
        Certificates(folder.of("wallet"), service="wallet")
    assert problem in str(refused.value) and "\n" not in str(refused.value)
    # Whole again.
    folder.write("wallet", good())
    assert own.reload() and own.leaf != leaf and followed == [1]


def test_a_missing_file_is_one_line_at_the_start_and_one_error_later(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    own = Certificates(folder.of("wallet"), service="wallet")
    (folder.of("wallet") / "tls.key").unlink()
    for _ in range(4):
        assert not own.reload()
    assert len(caplog.records) == 1
    with pytest.raises(OSError, match=r"tls\.key"):
        Certificates(folder.of("wallet"), service="wallet")


def test_unchanged_files_are_not_taken_again(folder: Folder) -> None:
    own = Certificates(folder.of("wallet"), service="wallet")
    assert not own.reload()
    folder.write("wallet", {"ca.crt": AUTHORITY.pem + Authority().pem})
    assert own.reload() and not own.reload()


def test_a_link_that_is_moved_is_seen(tmp_path: Path) -> None:
    # As Kubernetes replaces a mounted Secret: the files stay links, what they lead to is another directory.
    for version in ("1", "2"):
        Folder(tmp_path / version, ("wallet",)).write("wallet", good())
    (tmp_path / "data").symlink_to(tmp_path / "1" / "wallet")
    (tmp_path / "mount").mkdir()
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / "mount" / name).symlink_to(f"../data/{name}")
    own = Certificates(tmp_path / "mount", service="wallet")
    (tmp_path / "new").symlink_to(tmp_path / "2" / "wallet")
    (tmp_path / "new").replace(tmp_path / "data")
    assert own.reload()


@pytest.mark.parametrize(
    ("uris", "service"),
    [
        ([b"spiffe://reelmesh/game"], "game"),
        ([b"spiffe://reelmesh/"], ""),
        ([b"spiffe://reelmesh"], ""),
        ([b"spiffe://reelmesh.example/game"], ""),
        ([b"SPIFFE://reelmesh/game"], ""),
        ([b"https://reelmesh/game"], ""),
        ([b"spiffe://reelmesh/game", b"spiffe://reelmesh/game"], ""),
        ([b"\xff"], ""),
        ([], ""),
    ],
)
def test_one_uri_of_ours_names_a_service(uris: list[bytes], service: str) -> None:
    assert service_of(uris) == service


def test_files_are_for_their_owner_only(folder: Folder) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder.path, *folder.path.rglob("*"))}
    assert {name for name, mode in modes.items() if mode == 0o700} == {"tls", "wallet"}
    assert {name for name, mode in modes.items() if mode == 0o600} == {"tls.crt", "tls.key", "ca.crt"}
    assert len(modes) == 5


def test_the_gauge_is_the_one_that_is_declared() -> None:
    assert certificates.VALIDITY == telemetry_names.TLS_CERTIFICATE_VALIDITY
