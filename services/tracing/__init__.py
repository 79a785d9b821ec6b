"""Tracing that costs little; imports nothing else of the services: it could be a package of its own."""
