"""Ends child processes when the process that started them disappears, even by kill -9."""

import subprocess
from collections.abc import Iterable

# The list of process ids arrives as one line per change. End of file means that our parent is gone.
_SCRIPT = 'while read -r line; do pids=$line; done; [ -z "$pids" ] || kill -"$1" $pids 2>/dev/null'


class Guard:
    """A shell that waits on a pipe from us and signals the watched processes when the pipe closes.

    A pipe works on Linux and macOS alike and, unlike a parent-death signal, does not fire when only
    the thread that started the child ends.
    """

    def __init__(self, signal_name: str = "TERM") -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "guard", signal_name],
            stdin=subprocess.PIPE,
            text=True,
            # Ctrl-C reaches the whole foreground group; the guard must outlive it.
            start_new_session=True,
        )

    def fileno(self) -> int:
        """Our end of the pipe: it closes, and the signal is sent, when whoever inherited it is gone too."""
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def watch(self, pids: Iterable[int]) -> None:
        """Replaces the list of processes to signal."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(str(pid) for pid in pids) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """Ends the guard without signalling anything."""
        self.watch([])
        assert self._process.stdin is not None
        self._process.stdin.close()
        # It would wait for those who inherited the pipe.
        self._process.kill()
        self._process.wait()
