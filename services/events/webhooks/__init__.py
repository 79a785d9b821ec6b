"""Addresses that are sent an operator's events, signed, and what they would not take."""
