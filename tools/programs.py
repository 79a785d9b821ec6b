"""Programs beyond Python and make that checks and tests use. Standard library only, for any Python 3."""

import shutil

PROGRAMS = {
    "npm": "buf: the lint of the protos, and what a change of them breaks (make check, make proto)",
    "node": "the JavaScript client, its types, and the lines of docs/api.md",
    "curl": "the first spin that make run prints",
    "openssl": "certificates for the test of TLS",
    "docker": "tests use a PostgreSQL container where a daemon answers, else the embedded one",
    "promtool": "Prometheus rules (make alerts); Debian's package prometheus",
    "kubectl": "rendering deploy/k8s (tests marked tool)",
    "chromium": "pages in a browser (tests marked tool)",
    "otelcol-contrib": "the collectors' configuration (tests/k8s)",
    "jaeger": "its configuration (tests/k8s)",
}

if __name__ == "__main__":
    for name, purpose in PROGRAMS.items():
        print("  {:<15} {:<30} {}".format(name, shutil.which(name) or "not here", purpose))
