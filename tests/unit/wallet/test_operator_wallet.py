"""The file that names operators' wallets: what is wrong with it is one line, without the token."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.wallet.external.operator_wallet import load

TOKEN = "a-token-nobody-may-read"
GOOD = {"operator_id": "acme", "target": "wallet.example:443", "token_env": "ACME_TOKEN"}


async def loaded(directory: Path, *entries: dict[str, Any], env: str = "production") -> list[str]:
    path = directory / "wallets.yaml"
    path.write_bytes(msgspec.yaml.encode(list(entries)))
    wallets = load(str(path), env=env, environ={"ACME_TOKEN": TOKEN, "EMPTY": " ", "LINES": "a\nb"})
    for wallet in wallets.values():
        await wallet.close()
    return list(wallets)


async def test_no_path_is_no_wallet_and_each_operator_has_its_own(tmp_path: Path) -> None:
    assert load("", env="production", environ={}) == {}
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    in_file = {**GOOD, "operator_id": "b", "token_env": "", "token_file": str(tmp_path / "token")}
    assert await loaded(tmp_path, GOOD, in_file) == ["acme", "b"]


async def test_without_tls_only_in_development_and_on_this_machine(tmp_path: Path) -> None:
    inside = {**GOOD, "insecure": True, "target": "127.0.0.1:9443"}
    assert await loaded(tmp_path, inside, env="development") == ["acme"]
    outside = {**GOOD, "insecure": True}
    for entry, env in ((inside, "production"), (outside, "development")):
        with pytest.raises(SystemExit, match="insecure is for development, on this machine"):
            await loaded(tmp_path, entry, env=env)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({**GOOD, "operator_id": ""}, "an entry names no operator"),
        ({**GOOD, "target": "wallet.example"}, "acme: the target is not host:port"),
        ({**GOOD, "token_env": ""}, "acme: either token_file or token_env is needed"),
        ({**GOOD, "token_file": "/x"}, "acme: either token_file or token_env is needed"),
        ({**GOOD, "token_env": "NOT_SET"}, "acme: no token in NOT_SET"),
        ({**GOOD, "token_env": "EMPTY"}, "acme: no token in EMPTY"),
        ({**GOOD, "token_env": "LINES"}, "acme: no token in LINES"),
        ({**GOOD, "ca_file": "/nowhere/ca.pem"}, "No such file or directory: '/nowhere/ca.pem'"),
        ({**GOOD, "token": TOKEN}, "unknown field `token`"),
        ({"operator_id": "acme"}, "missing required field `target`"),
    ],
)
async def test_what_is_wrong_is_one_line(tmp_path: Path, entry: dict[str, Any], told: str) -> None:
    with pytest.raises(SystemExit) as ended:
        await loaded(tmp_path, entry)
    line = str(ended.value)
    assert line.startswith("configuration: external wallets: ") and told in line
    assert "\n" not in line and TOKEN not in line


async def test_an_operator_named_twice_and_a_file_that_is_no_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="an operator is named twice"):
        await loaded(tmp_path, GOOD, GOOD)
    (tmp_path / "other.yaml").write_text("acme: 1\n")
    for path in (tmp_path / "other.yaml", tmp_path / "absent.yaml"):
        with pytest.raises(SystemExit, match="configuration: external wallets: "):
            load(str(path), env="production", environ={})
