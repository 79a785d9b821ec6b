"""Known vulnerabilities of a lock file: audit.py <lock file>. Installs pip-audit into build/ when asked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

VENV = Path(__file__).resolve().parents[1] / "build" / "audit-venv"


def main() -> None:
    """Exits 1 when a package is vulnerable, 2 with one line when the question was not answered for all."""
    packages = _ask(sys.argv[1])
    for package in packages:
        for found in package.get("vulns", []):
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    # pip-audit itself ends with success when the database knew nothing at all.
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        _unanswered(f"no answer for {len(skipped)} of {len(packages)} packages, such as {skipped[0]}")
    if any(package["vulns"] for package in packages):
        sys.exit(1)
    print(f"audit: no known vulnerability in {len(packages)} packages")


def _ask(lock: str) -> list[dict[str, Any]]:
    """Each locked package with its vulnerabilities, or with the reason why it was not looked up."""
    python = VENV / "bin" / "python"
    if not (VENV / "bin" / "pip-audit").exists():
        # Apart from the environment of the lock file, which holds nothing that is not locked.
        if subprocess.run([sys.executable, "-m", "venv", str(VENV)]).returncode != 0:
            _unanswered(f"{VENV} could not be made")
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "pip-audit"]
        if subprocess.run(pip, capture_output=True).returncode != 0:
            _unanswered("pip-audit could not be installed")
    command = [str(python), "-m", "pip_audit", "--disable-pip", "--require-hashes", "-r", lock]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        _unanswered(lines[-1][:200] if lines else "no message")
    return packages


def _unanswered(problem: str) -> NoReturn:
    print(f"audit: the vulnerability database did not answer: {problem}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
