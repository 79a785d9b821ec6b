"""Checks of a wallet from outside: does what serves the contract at an address keep its promises?

`python -m reelmesh.conformance HOST:PORT`, or `reelmesh-conformance` where the wheel is installed. It is a
set of tests, and no regulator's certificate.
"""

from reelmesh.conformance.running import Result, run
from reelmesh.conformance.trial import Hook, Hooks, Trial, Wallet

__all__ = ["Hook", "Hooks", "Result", "Trial", "Wallet", "run"]
