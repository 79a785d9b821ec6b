"""protos/published.binpb, the contract as it landed last; no change breaks it: published.py write | check"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = Path("protos") / "published.binpb"


def described(protos: Path) -> bytes:
    """All protos as descriptors, without comments; exits with protoc's message when they are wrong."""
    names = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / NAME.name
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", "--include_imports"]
        done = subprocess.run(
            [*command, f"--descriptor_set_out={output}", *names], capture_output=True, text=True
        )
        if done.returncode != 0:
            sys.exit(done.stderr)
        return output.read_bytes()


def stale(root: Path = ROOT) -> bool:
    """Whether the protos say something else than the file; comments are not in it."""
    path = root / NAME
    return not path.exists() or path.read_bytes() != described(root / "protos")


def breaking(root: Path = ROOT) -> list[str]:
    """buf for the protos of `root`, which has a buf.yaml: it lists what they take away from the file."""
    against = ["--exclude-imports", "--against", str(root / NAME)]
    return [sys.executable, str(ROOT / "tools" / "buf.py"), "breaking", str(root), *against]


def write(root: Path = ROOT) -> None:
    """Takes over what the protos add. Exits when buf finds that they break something, or is not here."""
    if not stale(root):
        return
    if (root / NAME).exists():
        done = subprocess.run(breaking(root), env={**os.environ, "REELMESH_REQUIRE_TOOLS": "1"})
        if done.returncode != 0:
            sys.exit(f"published: {NAME} stays as it is: callers of before must go on to work")
    (root / NAME).write_bytes(described(root / "protos"))


def main() -> None:
    """Exits 1 when the file is stale, or the protos may not become it."""
    if sys.argv[1:] == ["write"]:
        write()
    elif sys.argv[1:] == ["check"]:
        # First: of what was taken away, `make proto` would say no more.
        if (ROOT / NAME).exists() and (code := subprocess.run(breaking()).returncode):
            sys.exit(code)
        if stale():
            sys.exit(f"{NAME} differs from protos/, run `make proto`")
    else:
        sys.exit("usage: published.py write | check")


if __name__ == "__main__":
    main()
