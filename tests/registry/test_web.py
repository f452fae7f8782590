"""Registries behind a web server: real HTTP on loopback, by servers that behave and servers that do not."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from patchpm.registry.folder import HEAD, FolderHost
from patchpm.registry.hosts import open_host
from patchpm.registry.web import WebHost
from tests.loopback import in_a_thread
from tests.simulator import refused

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause before each further try is twice as long as the one before it."""
    monkeypatch.setattr("patchpm.registry.http_files._RETRIES", 2)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], secure: ssl.SSLContext | None = None) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if secure is not None:
        server.socket = secure.wrap_socket(server.socket, server_side=True)
    with in_a_thread(server):
        yield f"http{'' if secure is None else 's'}://127.0.0.1:{server.server_port}/registry"


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that no system knows, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@contextmanager
def answering(answer: Answer) -> Iterator[WebHost]:
    """A host whose server does as it is told."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None: ...

    with serving(Handler) as url:
        yield WebHost(url)


def say(status: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_a_folder_behind_any_web_server_is_read_as_it_is(tmp_path: Path) -> None:
    folder = FolderHost(tmp_path / "registry")
    folder.commit([("metadata/1.root.json", b"root"), ("patches/a/b/1.0.0+x/c", b"bytes"), (HEAD, b"one")], "")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(tmp_path))

        def log_message(self, *_: Any) -> None: ...

    with serving(Handler) as url:
        host = open_host(f"{url}/")
        assert not host.is_local
        assert host.where == url
        assert host.read("metadata/1.root.json", 4) == b"root"
        assert host.read("patches/a/b/1.0.0+x/c", 10) == b"bytes"
        assert host.read("metadata/2.root.json", 10) is None
        with refused("read-only"):
            host.head()
        with refused("read-only"):
            host.commit([(HEAD, b"two")], "")


@pytest.mark.parametrize("headers", [{}, {"Transfer_Encoding": "chunked"}], ids=["announced", "endless"])
def test_endless_data_attack_no_more_is_read_than_was_promised(headers: dict[str, str]) -> None:
    sent = 0

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header(*(("Transfer-Encoding", "chunked") if headers else ("Content-Length", str(1 << 30))))
        handler.end_headers()
        piece = b"x" * 65536
        try:
            while sent < 1 << 30:
                handler.wfile.write(b"10000\r\n" + piece + b"\r\n" if headers else piece)
                sent += len(piece)
        except OSError:
            handler.close_connection = True

    with answering(answer) as host, refused("too-large", "timestamp.json"):
        host.read(HEAD, 1000)
    assert sent < 1 << 25


def test_slow_retrieval_attack_a_file_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchpm.registry.http_files._FILE_SECONDS", 0.5)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.02)
        except OSError:
            handler.close_connection = True

    started = time.monotonic()
    with answering(drip) as host, refused("unreachable", "within"):
        host.read(HEAD, 1000)
    assert time.monotonic() - started < 10


def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchpm.registry.http_files.SILENCE_SECONDS", 0.1)
    monkeypatch.setattr("patchpm.registry.http_files._RETRIES", 1)
    with answering(lambda _: time.sleep(0.5)) as host, refused("unreachable", "timed out"):
        host.read(HEAD, 1000)


def test_a_busy_server_is_asked_again() -> None:
    answers = [say(503, Retry_After="0"), say(429), say(200, b"one")]

    def next_one(handler: BaseHTTPRequestHandler) -> None:
        answers.pop(0)(handler)

    with answering(next_one) as host:
        assert host.read(HEAD, 10) == b"one"
    assert answers == []


@pytest.mark.parametrize("status", [401, 403, 418, 500])
def test_an_answer_that_is_neither_the_file_nor_its_absence_is_an_error(status: int) -> None:
    with answering(say(status)) as host, refused("unreachable", str(status)):
        host.read(HEAD, 10)


def test_a_connection_cut_in_the_middle_is_an_error_and_no_short_file() -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        say(200, b"half", Content_Length="8")(handler)
        handler.close_connection = True

    with answering(cut) as host, refused("unreachable"):
        host.read(HEAD, 100)


def test_one_connection_serves_many_files_and_absences() -> None:
    connections: set[tuple[str, int]] = set()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        connections.add(handler.client_address)
        (say(404, b"there is no such file") if "root" in handler.path else say(200, b"one"))(handler)

    with answering(answer) as host:
        for _ in range(3):
            assert host.read(HEAD, 10) == b"one"
            assert host.read("metadata/9.root.json", 10) is None
    assert len(connections) == 1


def test_endless_data_attack_a_length_of_thousands_of_digits_is_no_crash() -> None:
    with answering(say(200, b"", Content_Length="9" * 5000)) as host, refused("too-large"):
        host.read(HEAD, 10)


def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed(tmp_path)
    with answering(say(200, b"one")) as plain:

        class Secure(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                there = "timestamp" in self.path
                (say(302, Location=f"{plain.where}/x") if there else say(200, b"root"))(self)

            def log_message(self, *_: Any) -> None: ...

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with serving(Secure, context) as url:
            with refused("unreachable", "certificate"):
                WebHost(url).read("metadata/1.root.json", 10)
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            assert WebHost(url).read("metadata/1.root.json", 10) == b"root"
            with refused("unreachable", "from https to http"):
                WebHost(url).read(HEAD, 10)


def test_redirects_are_followed_and_not_for_ever() -> None:
    def once(handler: BaseHTTPRequestHandler) -> None:
        there = handler.path.startswith("/cdn/")
        (say(200, b"one") if there else say(302, Location=f"/cdn{handler.path}"))(handler)

    with answering(once) as host:
        assert host.read(HEAD, 10) == b"one"
    with answering(lambda handler: say(302, Location=handler.path)(handler)) as host, refused("unreachable"):
        host.read(HEAD, 10)


@pytest.mark.parametrize("location", ["http://[/y", "ftp://127.0.0.1/y", "file:///etc/passwd"])
def test_a_redirect_to_what_is_no_web_address_is_an_error(location: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", location)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with answering(answer) as host, refused("unreachable"):
        host.read("metadata/timestamp.json", 100)


def test_endless_data_attack_the_body_of_a_redirect_is_not_read() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path.endswith("/there"):
            request.send_response(200)
            request.send_header("Content-Length", "4")
            request.end_headers()
            request.wfile.write(b"file")
            return
        request.send_response(302)
        request.send_header("Location", "/there")
        request.send_header("Content-Length", str(10**12))
        request.end_headers()
        request.wfile.write(bytes(1000))

    with answering(answer) as host:
        assert host.read("metadata/timestamp.json", 100) == b"file"


def test_slow_retrieval_attack_a_server_cannot_make_clients_wait_for_hours() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(503)
        request.send_header("Retry-After", "7000")
        request.send_header("Content-Length", "0")
        request.end_headers()

    with answering(answer) as host, refused("unreachable", "come back in 7000 s"):
        host.read("metadata/timestamp.json", 100)


def test_slow_retrieval_attack_an_absence_that_drips_is_an_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchpm.registry.http_files._DRAIN_SECONDS", 0.2)

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(404)
        request.send_header("Content-Length", "60000")
        request.end_headers()
        with suppress(OSError):
            for _ in range(100):
                request.wfile.write(b"x")
                time.sleep(0.05)

    with answering(answer) as host:
        assert host.read("metadata/2.root.json", 100) is None


def test_name_and_password_of_netrc_are_shown_to_that_host_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login deployer password secret\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    shown: dict[str, str | None] = {}

    def ask(handler: BaseHTTPRequestHandler) -> None:
        shown[handler.headers["Host"].partition(":")[0]] = handler.headers["Authorization"]
        port = handler.headers["Host"].partition(":")[2]
        there = handler.path.startswith("/cdn/")
        (say(200, b"one") if there else say(302, Location=f"http://localhost:{port}/cdn/x"))(handler)

    with answering(ask) as host:
        assert host.read(HEAD, 10) == b"one"
    assert shown == {"127.0.0.1": "Basic ZGVwbG95ZXI6c2VjcmV0", "localhost": None}


def test_a_broken_netrc_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine\n")
    monkeypatch.setenv("NETRC", str(path))
    with answering(say(200)) as host, refused("invalid-netrc", str(path)):
        host.read(HEAD, 10)


def test_a_compressed_answer_is_not_unpacked() -> None:
    with answering(say(200, b"zip", Content_Encoding="gzip")) as host:
        assert host.read(HEAD, 10) == b"zip"


def test_a_server_that_is_down_is_a_network_error(tmp_path: Path) -> None:
    with answering(say(200)) as host:
        pass
    with refused("unreachable", host.where):
        host.read(HEAD, 10)


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://[",
        "https://host/x?y",
        "https://host/#x",
        "https://name:secret@host/x",
        "s3://name:secret@host/x",
    ],
)
def test_addresses_that_are_no_plain_place_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(Exception, match="address of a registry") as caught:
        open_host(url)
    assert "secret" not in str(caught.value)
