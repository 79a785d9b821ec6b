"""The errors of the laptop runner."""

import errno
from pathlib import Path
from typing import ClassVar


class LocalError(Exception):
    """Something on this machine stops the runner. The message is one line and says what to do about it."""

    # Of the command that it ends.
    exit_code: ClassVar[int] = 1

    @classmethod
    def from_os(cls, error: OSError, directory: Path) -> "LocalError":
        """What the operating system refused below `directory`."""
        if error.errno == errno.ENOSPC:
            return cls(f"no space left on the disk of {directory}")
        if error.errno in (errno.EACCES, errno.EPERM):
            return cls(f"no permission for {error.filename}: if it belongs to another user, remove it")
        return cls(f"{error.strerror or error}: {error.filename or directory}")


class NobodyAnswers(LocalError):
    """The mesh is not there, or does not speak: nothing was found out, and what was asked may not be done."""

    exit_code = 2
