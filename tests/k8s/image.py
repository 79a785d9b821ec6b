"""deploy/Dockerfile without Docker: read, and carried out in a folder, so that what the image holds is run.

Only what the file uses is understood; anything else fails. What this cannot show: the base image itself, and
a root file system that the kernel keeps from being written.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.k8s.manifests import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
# That of a Debian with Python, as the base image's.
_BASE_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Instruction:
    """One of the Dockerfile: `COPY --chown=root:root a b` has name, flags and the rest."""

    name: str
    flags: Mapping[str, str]
    text: str


@dataclass
class Image:
    """A stage that was built: what its configuration says, and its files, under `root`."""

    root: Path
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    user: str = "0"
    entrypoint: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The working directory, where it is now."""
        return self.root / self.workdir.lstrip("/")

    def environ(self) -> dict[str, str]:
        """The image's variables, its folders where they are now."""
        moved = re.compile(rf"(?<![\w./]){re.escape(self.workdir)}(?![\w-])")
        return {name: moved.sub(str(self.folder), value) for name, value in self.environment.items()}


def instructions(text: str) -> list[Instruction]:
    """In their order."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, rest = line.partition(" ")
        flags = {}
        while match := re.match(r"--([\w-]+)=(\S+)\s+", rest):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        found.append(Instruction(name.upper(), flags, rest.strip()))
    return found


def stages(text: str) -> dict[str, list[Instruction]]:
    """By name, the last as "": what stands before the first FROM is left out."""
    found: dict[str, list[Instruction]] = {}
    current: list[Instruction] = []
    for one in instructions(text):
        if one.name == "FROM":
            current = found[one.text.partition(" AS ")[2]] = []
        else:
            current.append(one)
    return found


def build(
    directory: Path, arguments: Mapping[str, str], *, built: Mapping[str, Image] | None = None
) -> Image:
    """The last stage in `directory`, out of stages that are `built`. Errors: CalledProcessError of a RUN."""
    return _carry_out(stages(DOCKERFILE.read_text())[""], directory, arguments, built or {})


def build_stage(name: str, directory: Path) -> Image:
    """A stage that needs no other."""
    return _carry_out(stages(DOCKERFILE.read_text())[name], directory, {}, {})


def _carry_out(
    steps: list[Instruction], directory: Path, arguments: Mapping[str, str], built: Mapping[str, Image]
) -> Image:
    image = Image(directory, environment={"PATH": _BASE_PATH})
    given: dict[str, str] = {}
    for step in steps:
        text = step.text if step.name == "RUN" else _expanded(step.text, {**image.environment, **given})
        match step.name:
            case "ARG":
                name, _, default = text.partition("=")
                given[name] = arguments.get(name, default)
            case "ENV":
                image.environment |= dict(_pairs(text))
            case "LABEL":
                image.labels |= dict(_pairs(text))
            case "WORKDIR":
                image.workdir = text
                image.folder.mkdir(parents=True, exist_ok=True)
            case "COPY":
                source, target = text.split()
                origin = built[step.flags["from"]].root if "from" in step.flags else None
                _copy(image, source, target, origin)
            case "RUN":
                _run(image, text, given)
            case "USER":
                image.user = text
            case "ENTRYPOINT":
                image.entrypoint = tuple(json.loads(text))
            case "EXPOSE":
                pass
            case unknown:
                raise ValueError(f"{unknown} is not understood")
    return image


def interpreter() -> Path | None:
    """A Python of our version that every user may run, as the base image's; None where there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [
        Path(sys.base_prefix) / "bin" / version,
        Path("/usr/local/bin") / version,
        Path("/usr/bin") / version,
    ]
    for path in candidates:
        if path.exists() and all(each.stat().st_mode & 0o001 for each in path.resolve().parents):
            return path
    return None


def _run(image: Image, command: str, given: Mapping[str, str]) -> None:
    # `python` and `pip`, for the base image's.
    programs = image.root.parent / "programs"
    programs.mkdir(exist_ok=True)
    pip = Path(sys.executable).parent / "pip"
    for name, program in (("python", interpreter() or Path(sys.executable)), ("pip", pip)):
        (programs / name).write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
        (programs / name).chmod(0o755)
    environ = {
        **os.environ,
        **image.environ(),
        **given,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    run = ["sh", "-ec", command]
    subprocess.run(run, cwd=image.folder, env=environ, check=True, capture_output=True, text=True)


def _copy(image: Image, source: str, target: str, origin: Path | None) -> None:
    place = image.root / target.lstrip("/") if target.startswith("/") else image.folder / target
    if origin is not None:
        # Linked: there are thousands, and nobody writes them.
        taken = origin / source.lstrip("/")
        shutil.copytree(taken, place, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
        return
    files = list(context(source))
    assert files, f"COPY {source}: the context has none of it"
    for path in files:
        inside = Path(path).relative_to(source)
        copied = place / inside if str(inside) != "." else place
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copied)


def context(source: str) -> Iterator[str]:
    """Files under `source` that .dockerignore lets through, from the repository's root."""
    place = ROOT / source
    for path in [place] if place.is_file() else sorted(place.rglob("*")):
        if path.is_file() and lets_through(str(path.relative_to(ROOT))):
            yield str(path.relative_to(ROOT))


def lets_through(name: str) -> bool:
    """Whether .dockerignore does: the last line that fits decides."""
    kept = True
    for pattern, keeps in _ignored():
        kept = keeps if pattern.fullmatch(name) else kept
    return kept


@cache
def _ignored() -> list[tuple[re.Pattern[str], bool]]:
    rules = []
    for line in (ROOT / ".dockerignore").read_text().split():
        text = re.escape(line.lstrip("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        # What fits a folder fits what is in it.
        rules.append((re.compile(f"{text}(?:/.*)?"), line.startswith("!")))
    return rules


def _expanded(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda match: values[match[1]], text)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for name, quoted, plain in re.findall(r'([\w.]+)=(?:"([^"]*)"|(\S+))', text):
        yield name, quoted or plain
