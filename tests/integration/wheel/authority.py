"""A certificate authority of a test, and certificates from it, by openssl."""

import subprocess
from pathlib import Path

import grpc

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """Its own certificate is `ca_file`; all PEM, valid for two days."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca_file = directory / "ca.pem"
        subject = ("-subj", "/CN=test authority")
        self._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", *subject)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files of a certificate for this machine, and of its key."""
        (self.directory / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        request = f"{name}.csr"
        self._openssl("req", *_KEY, "-keyout", f"{name}.key", "-out", request, "-subj", f"/CN={name}")
        signer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        self._openssl("x509", "-req", "-in", request, *signer, "-out", f"{name}.pem")
        return self.directory / f"{name}.pem", self.directory / f"{name}.key"

    def server_credentials(self, *, require_client: bool) -> grpc.ServerCredentials:
        """For a server here; with `require_client` it takes only callers with a certificate of ours."""
        certificate, key = self.issue("server")
        pair = (key.read_bytes(), certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], self.ca_file.read_bytes(), require_client)

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self.directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
