"""Accounts whose money an operator's own wallet keeps: calls to it, and what its answers do to our books."""
