"""A real HTTP/2 server of one test's own: nginx, in cleartext, with TLS, and with TLS that asks for a certificate."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
import tempfile
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.launch import Running, accepts, free_ports, launch, wait_until
from tests.support.real_servers import NGINX, own_server

READY_WITHIN_S = 15.0

NAME = "orders.example"
"""What the certificate says."""

CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; keepalive_timeout 30s; client_max_body_size 100m;
  server {{ listen 127.0.0.1:{cleartext} http2; include {folder}/places.conf; }}
  server {{
    listen 127.0.0.1:{tls} ssl http2; include {folder}/places.conf;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
  }}
  server {{
    listen 127.0.0.1:{mutual} ssl http2; include {folder}/places.conf;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    ssl_client_certificate {folder}/ca.pem; ssl_verify_client on;
  }}
  server {{ listen 127.0.0.1:{sink}; location / {{ client_body_buffer_size 1k; client_body_in_file_only clean; return 200 taken; }} }}
}}
"""

PLACES = """
location = /version {{ return 200 $server_protocol; }}
location = /host {{ return 200 "$host $request_uri $connection $connection_requests"; }}
location = /cookies {{ add_header Set-Cookie a=1; add_header Set-Cookie b=2; return 200 "$http_x_one"; }}
location = /gone {{ return 204; }}
location = /refused {{ return 444; }}
location /files/ {{ alias {folder}/files/; gzip_static off; }}
location = /upload {{ proxy_pass http://127.0.0.1:{sink}; proxy_request_buffering on; }}
"""


class Http2Server:
    """nginx on free ports of 127.0.0.1: `cleartext` (h2c without asking), `tls`, `mutual`."""

    def __init__(self) -> None:
        self.where = own_server(NGINX)
        self.cleartext, self.tls, self.mutual, self.sink = free_ports(4)
        self.folder = Path(tempfile.mkdtemp(prefix="lbgateway-nginx-"))
        self._running: Running | None = None

    def __enter__(self) -> Self:
        write_certificates(self.folder)
        ports = {"cleartext": self.cleartext, "tls": self.tls, "mutual": self.mutual, "sink": self.sink}
        (self.folder / "files").mkdir()
        (self.folder / "nginx.conf").write_text(CONFIGURATION.format(folder=self.folder, **ports))
        (self.folder / "places.conf").write_text(PLACES.format(folder=self.folder, **ports))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        arguments = ["-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"]
        self._running = running = launch(self.where, arguments, self.folder)
        try:
            wait_until(lambda: accepts(self.mutual), READY_WITHIN_S, lambda: f"nginx does not listen:\n{running.log()}")
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL."""
        if self._running is not None:
            self._running.kill()
            self._running = None

    def serve(self, name: str, size: int) -> bytes:
        """Put a file of that many bytes below ``/files/``."""
        content = bytes(range(256)) * (size // 256)
        (self.folder / "files" / name).write_bytes(content)
        return content

    def path(self, name: str) -> str:
        """A file of the certificates: ``ca.pem``, ``client.pem``, ``client.key``."""
        return str(self.folder / name)


def write_certificates(folder: Path) -> None:
    """An authority, a server for `NAME` and 127.0.0.1, and a client, valid for a day."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _sign("authority", authority_key, "authority", authority_key, authority=True)
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(name, key, "authority", authority_key, authority=False)
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


def _sign(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, authority: bool
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
