"""What a service with no domain would still need. Imports no service."""

VERSION = "0.1.0"
