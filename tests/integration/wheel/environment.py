"""An environment with the wheel and what it requires, and nothing of the repository. Needs no network."""

import asyncio
import json
import os
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

# What the wheel requires, with what that requires in turn, and types for mypy. Pip refuses the wheel when one
# is missing here.
BORROWED = (
    "grpcio",
    "typing-extensions",
    "protobuf",
    "googleapis-common-protos",
    "types-grpcio",
    "types-protobuf",
)
PROGRAM = Path(__file__).with_name("calls.py")


class Environment:
    """A new virtual environment; the locked packages in it are links to ours."""

    def __init__(self, directory: Path) -> None:
        venv.create(directory, with_pip=False)
        self.python = directory / "bin" / "python"
        [site] = directory.glob("lib/python3*/site-packages")
        for name in BORROWED:
            package = distribution(name)
            for entry in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
                if not (site / entry).exists():
                    (site / entry).symlink_to(Path(str(package.locate_file(entry))))

    def install(self, wheel: Path) -> None:
        """Installs the wheel from its file. Errors: AssertionError when a requirement is not there."""
        command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"]
        command += ["--python", str(self.python), "install", "--no-index", str(wheel)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Python of this environment; -I keeps PYTHONPATH and the working directory out of it."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            str(self.python),
            "-I",
            *arguments,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            # The machine's HTTP proxy is not for its own ports.
            env={**os.environ, "no_grpc_proxy": "localhost,127.0.0.1"},
        )

    async def run(self, *arguments: str) -> str:
        """What a program prints. Errors: AssertionError with its error output when it fails."""
        process = await self.start(*arguments)
        output, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, errors.decode()
        return output.decode()

    async def call(self, name: str, **settings: Any) -> Any:
        """What the function of calls.py returns, as JSON."""
        return json.loads(await self.run(str(PROGRAM), name, json.dumps(settings)))
