"""The server of `tito look`, by real requests."""

import http.client
import json
import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import pytest
from typer.testing import CliRunner

from tinytorch.inspection import Session, server
from tinytorch.inspection.server import PAGE, TOKEN_HEADER, Server
from tinytorch.tito import cli


def request(
    running: Server, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", running.server_port, timeout=20)
    connection.request(method, path, body, {n.replace("_", "-"): v for n, v in headers.items()})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text, response.headers


def message(running: Server, text: str, **headers: str) -> tuple[int, str]:
    given = {TOKEN_HEADER.replace("-", "_"): running.token, **headers}
    return request(running, "POST", "/message", text, **given)[:2]


def test_it_listens_on_the_loopback_only(running: Server) -> None:
    assert running.server_address[0] == "127.0.0.1"


def test_it_serves_the_page_and_all_its_files(running: Server) -> None:
    status, text, headers = request(running, "GET", "/")
    assert status == 200
    assert text == (PAGE / "index.html").read_text(encoding="utf-8")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    for path in PAGE.rglob("*.js"):
        name = path.relative_to(PAGE).as_posix()
        status, text, headers = request(running, "GET", f"/{name}?again")
        assert (status, text) == (200, path.read_text(encoding="utf-8"))
        assert headers["Content-Type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/views/../../server.py", "//etc/passwd", "/%2e%2e/server.py", "/page/",
     "/..%5cserver.py", "/views", "/index.html/"],
)  # fmt: skip
def test_nothing_else_is_served(running: Server, path: str) -> None:
    assert request(running, "GET", path)[0] == 404


def test_it_answers_messages(running: Server) -> None:
    status, text = message(running, '{"do": "encode", "text": "ab"}')
    assert (status, json.loads(text)["result"]["ids"]) == (200, [2, 3])
    status, text = message(running, '{"do": "encode", "text": "é"}')
    assert (status, [*json.loads(text)]) == (200, ["error"])


def test_messages_need_the_token(running: Server, session: Session) -> None:
    session.handle = lambda text: pytest.fail("it was answered")  # type: ignore[method-assign]
    for wrong in ("", running.token[:-1], running.token + "x", "é"):
        assert message(running, "{}", **{TOKEN_HEADER.replace("-", "_"): wrong})[0] == 403
    assert request(running, "POST", "/message", "{}")[0] == 403
    assert request(running, "POST", f"/message?token={running.token}", "{}")[0] == 403
    with Server(session) as other:
        assert other.token != running.token


def test_pages_of_other_origins_are_refused(running: Server) -> None:
    """Of names that resolve to this machine, and before the browser sends a message."""
    for host in ("evil.example", f"evil.example:{running.server_port}", "127.0.0.1", ""):
        assert request(running, "GET", "/", Host=host)[0] == 421
        assert message(running, "{}", Host=host)[0] == 421
    assert message(running, "{}", Host=f"localhost:{running.server_port}")[0] == 200
    status, _, headers = request(running, "OPTIONS", "/message", Origin="http://evil.example")
    assert status == 501
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_the_token_is_in_the_fragment(running: Server) -> None:
    address, _, fragment = running.address.partition("#")
    assert address == f"http://127.0.0.1:{running.server_port}/"
    assert fragment == f"token={running.token}"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("", 411),
        ("Content-Length: -1\r\n", 411),
        ("Content-Length: x\r\n", 411),
        (f"Content-Length: {2**30 + 1}\r\n", 413),
        (f"Content-Length: {'9' * 5000}\r\n", 413),
    ],
)
def test_lengths_are_checked_before_anything_is_read(
    running: Server, lines: str, status: int
) -> None:
    head = f"POST /message HTTP/1.1\r\nHost: 127.0.0.1:{running.server_port}\r\n"
    head += f"{TOKEN_HEADER}: {running.token}\r\n{lines}\r\n"
    with socket.create_connection(("127.0.0.1", running.server_port), timeout=20) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_browser_that_goes_away_disturbs_nobody(
    running: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", running.server_port)) as connection:
        connection.sendall(b"POST /message HTTP/1.1\r\nHost: ")
    assert message(running, '{"do": "about"}')[0] == 200
    assert "Traceback" not in capsys.readouterr().err


# The command


def tito(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["look", *words], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def file_of(address: str) -> Path:
    return Path(url2pathname(address.removeprefix("file://")))


def test_look_serves_until_it_is_interrupted(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str, int]] = []

    def browse(address: str) -> None:
        page = file_of(address)
        seen.append((address, page.read_text(encoding="utf-8"), page.parent.stat().st_mode))

    def serve(self: Server) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server.Server, "serve_forever", serve)
    monkeypatch.setattr("webbrowser.open", browse)
    code, output = tito(str(run))
    assert code == 0
    assert output.endswith("stopped\n")
    [(address, page, mode)] = seen
    assert address.startswith("file:///")
    assert "token" not in address  # other users can see with what a browser is started
    assert os.name == "nt" or mode & 0o077 == 0
    (there,) = re.findall(r"http://127\.0\.0\.1:\d+/#token=[\w-]+", output)
    assert f'content="0; url={there}"' in page
    assert "If the browser finds no file, open the address above." in output
    assert not file_of(address).exists()
    assert tito(str(run / "checkpoint.safetensors"), "--no-open")[0] == 0
    assert len(seen) == 1


def test_what_cannot_be_looked_into_is_one_sentence(tmp_path: Path, run: Path) -> None:
    code, output = tito(str(tmp_path / "nothing"), "--no-open")
    assert (code, output.count("\n")) == (1, 1)
    assert "there is no checkpoint" in output
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, output = tito(str(run), "--no-open", "--port", str(taken.getsockname()[1]))
    assert (code, output.count("\n")) == (1, 1)
    assert "cannot listen on 127.0.0.1" in output
    assert "choose another --port" in output
