"""The one error of the laptop runner."""

import errno
from pathlib import Path


class LocalError(Exception):
    """Something on this machine stops the runner. The message is one line and says what to do about it."""

    @classmethod
    def from_os(cls, error: OSError, directory: Path) -> "LocalError":
        """What the operating system refused below `directory`."""
        if error.errno == errno.ENOSPC:
            return cls(f"no space left on the disk of {directory}")
        if error.errno in (errno.EACCES, errno.EPERM):
            return cls(f"no permission for {error.filename}: if it belongs to another user, remove it")
        return cls(f"{error.strerror or error}: {error.filename or directory}")
