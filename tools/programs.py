"""Programs beyond Python and make that checks and tests use. Standard library only, for any Python 3."""

import shutil

PROGRAMS = {
    "npm": "buf, the linter of the protos (make lint)",
    "curl": "the first spin that make run prints",
    "openssl": "certificates for the test of TLS",
    "docker": "tests use a PostgreSQL container where a daemon answers, else the embedded one",
    "kubectl": "rendering deploy/k8s (tests marked tool)",
}

if __name__ == "__main__":
    for name, purpose in PROGRAMS.items():
        print("  {:<9} {:<30} {}".format(name, shutil.which(name) or "not here", purpose))
