"""Mutual TLS between services, with certificates that are renewed while they serve; stands alone."""
