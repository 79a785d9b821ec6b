"""The published vectors of signed requests, and the snippets of docs/signing.md run on all of them."""

import base64
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from reelmesh.client import signing as stubs

from services.gateway.operators import signing
from services.gateway.operators.signing import Signed
from tests.tools import require_tool

ROOT = Path(__file__).parents[3]
PATHS = sorted((ROOT / "tests" / "vectors" / "signing").glob("*.json"))
VECTORS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in PATHS}
SNIPPETS = re.findall(r"```(python|javascript)\n(.*?)```", (ROOT / "docs" / "signing.md").read_text(), re.S)
# Each signs the vectors that it reads and writes the signatures, in the same order.
_RUN = {
    "python": """
import base64, json, sys
keys = ("secret", "method", "target", "timestamp", "nonce")
print(json.dumps([
    sign(*(vector[key] for key in keys), base64.b64decode(vector["body_base64"]))
    for vector in json.load(sys.stdin)
]))
""",
    "javascript": """
const vectors = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(vectors.map((v) => sign(
  v.secret, v.method, v.target, v.timestamp, v.nonce, Buffer.from(v.body_base64, "base64")))));
""",
}


def signed(vector: dict[str, Any], **changes: Any) -> Signed:
    """The vector's request."""
    body = base64.b64decode(vector["body_base64"])
    keys = ("signature", "timestamp", "nonce")
    request = Signed(vector["method"], vector["target"], body, *(vector[key] for key in keys))
    return request._replace(**changes)


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_is_signed_as_published(name: str) -> None:
    vector = VECTORS[name]
    request = signed(vector)
    assert signing.to_sign(request).decode() == vector["to_sign"]
    assert signing.sign(vector["secret"], request) == vector["signature"]
    if "body" in vector:
        assert vector["body"].encode() == request.body


@pytest.mark.parametrize("name", VECTORS)
def test_the_stubs_sign_alike(name: str) -> None:
    vector, request = VECTORS[name], signed(VECTORS[name])
    own = stubs.signature(
        vector["secret"], request.method, request.target, request.timestamp, request.nonce, request.body
    )
    assert own == vector["signature"]


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_snippets_of_the_document_sign_every_vector(language: str) -> None:
    [snippet] = [text for name, text in SNIPPETS if name == language]
    program = [sys.executable, "-c"] if language == "python" else [require_tool("node"), "-e"]
    done = subprocess.run(
        [*program, snippet + _RUN[language]],
        input=json.dumps(list(VECTORS.values())),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [vector["signature"] for vector in VECTORS.values()]


def test_there_are_hostile_vectors_and_no_two_are_alike() -> None:
    hostile = {"hostile-key-order", "unicode-escapes", "unicode", "empty-body", "query", "duplicate-keys"}
    assert hostile <= VECTORS.keys()
    assert len({vector["signature"] for vector in VECTORS.values()}) == len(VECTORS)


@pytest.mark.parametrize("name", ["hostile-key-order", "unicode-escapes", "unicode", "white-space"])
def test_a_body_that_was_written_again_is_another(name: str) -> None:
    vector = VECTORS[name]
    written_again = json.dumps(json.loads(vector["body"])).encode()
    assert signing.sign(vector["secret"], signed(vector, body=written_again)) != vector["signature"]


@pytest.mark.parametrize(
    "changes",
    [{"method": "PUT"}, {"target": "/v1/sessions?"}, {"timestamp": "1"}, {"nonce": "n" * 16}, {"body": b"x"}],
    ids=lambda changes: next(iter(changes)),
)
def test_everything_is_under_the_signature(changes: dict[str, Any]) -> None:
    vector = VECTORS["unicode"]
    assert signing.sign(vector["secret"], signed(vector, **changes)) != vector["signature"]


def test_a_secret_is_derived_from_the_installation_s_key_and_the_key_s_id() -> None:
    # Whatever changes here invalidates every secret that was given out.
    key_id = uuid.UUID("019b77d0-0000-7000-8000-00000000002a")
    installation = "0f1e2d3c4b5a69788796a5b4c3d2e1f0" * 2
    assert signing.secret_of(installation, key_id) == VECTORS["deposit"]["secret"]
    assert signing.secret_of(installation, uuid.uuid4()) != VECTORS["deposit"]["secret"]
