"""gen/ from protos/: stubs.py generate | check"""

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GEN = ROOT / "gen"


def generate(target: Path) -> None:
    """Writes the stubs of all protos below target; exits with protoc's message when they are wrong."""
    protos = sorted(str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos").rglob("*.proto"))
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    # protoc finds the mypy plugins on PATH.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}", *outputs, *protos]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    (target / "reelmesh" / "py.typed").touch()


def differences(left: Path, right: Path) -> list[str]:
    """Names of the generated files that are missing on one side or differ."""
    names = {
        str(path.relative_to(side))
        for side in (left, right)
        for path in side.rglob("*")
        if path.is_file() and path.suffix in (".py", ".pyi", ".typed")
    }
    _, wrong, missing = filecmp.cmpfiles(left, right, names, shallow=False)
    return sorted(wrong + missing)


def main() -> None:
    """Regenerates gen/, or compares it with a fresh generation and exits 1 when they differ."""
    with tempfile.TemporaryDirectory() as directory:
        fresh = Path(directory)
        generate(fresh)
        if sys.argv[1:] == ["generate"]:
            shutil.rmtree(GEN, ignore_errors=True)
            shutil.copytree(fresh, GEN)
        elif sys.argv[1:] == ["check"]:
            wrong = differences(GEN, fresh)
            if wrong:
                sys.exit("gen/ differs from protos/, run `make proto`: " + " ".join(wrong))
        else:
            sys.exit("usage: stubs.py generate | check")


if __name__ == "__main__":
    main()
