"""Digits of scikit-learn and of IDX files: shapes, held-out parts, downloads, and errors."""

import gzip
import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch.data import digits
from tinytorch.data.datasets import DataError
from tinytorch.data.digits import FILES, mnist, parse_idx, read_folder, small_digits

NAMES = list(FILES)


def idx(array: Any) -> bytes:
    """An array of bytes as the contents of an IDX file."""
    array = np.asarray(array, np.uint8)
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def contents() -> list[bytes]:
    """Four files of five training digits and three held-out ones."""
    images = np.arange(5 * 4 * 3).reshape(5, 4, 3)
    return [idx(images), idx([0, 1, 2, 3, 9]), idx(images[:3] * 2), idx([4, 5, 6])]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in zip(NAMES, contents(), strict=True):
        (tmp_path / name).write_bytes(gzip.compress(data))
    return tmp_path


def test_the_small_digits_are_divided_evenly() -> None:
    require("sklearn")
    data = small_digits()
    assert data.images.shape == (1442, 8, 8)
    assert data.test_images.shape == (355, 8, 8)
    assert data.images.dtype == np.float32
    assert data.labels.dtype == np.int64
    assert data.images.min() == 0
    assert data.images.max() == 1
    counts = np.bincount(data.labels), np.bincount(data.test_labels)
    np.testing.assert_array_equal(counts[1], sum(counts) // 5)
    together = np.concatenate([data.images, data.test_images]).reshape(1797, -1)
    assert len(np.unique(together, axis=0)) == 1797, "a digit is in both parts"
    # The same on every machine, so that accuracies can be compared.
    assert data.sha256.startswith("9cc61c2e37230818")


def test_scikit_learn_is_named_if_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"scikit-learn, which is not installed.*--data FOLDER"):
        small_digits()


def test_files_are_read_compressed_or_not(folder: Path) -> None:
    first = read_folder(folder)
    assert first.images.shape == (5, 4, 3)
    assert first.labels.tolist() == [0, 1, 2, 3, 9]
    assert first.test_labels.tolist() == [4, 5, 6]
    np.testing.assert_allclose(first.test_images, 2 * first.images[:3])
    assert first.images[0, 1, 2] == np.float32(5 / 255)
    for name, data in zip(NAMES, contents(), strict=True):
        (folder / name).unlink()
        (folder / name.removesuffix(".gz")).write_bytes(data)
    assert read_folder(folder).sha256 == first.sha256


DAMAGES: dict[str, tuple[int, bytes, str]] = {
    "empty": (0, b"", "is empty"),
    "another type": (0, b"\0\0\x0d\3" + contents()[0][4:], r"begins with 00000d03"),
    "a page": (1, b"<html>log in</html>", "not an IDX file"),
    "within the head": (0, contents()[0][:9], "ends within its head"),
    "too short": (0, contents()[0][:-1], "should have 60 bytes after its head, but it has 59"),
    "too long": (0, contents()[0] + b"\0", "should have 60 bytes after its head, but it has more"),
    "no images": (0, idx(np.zeros((0, 4, 3))), r"shape \[0, 4, 3\], which is empty"),
    "too large": (0, b"\0\0\x08\3" + 12 * b"\xff", "empty or too large"),
    "labels for images": (0, contents()[1], r"training images have shape \(5,\)"),
    "images for labels": (3, contents()[2], r"their labels \(3, 4, 3\)"),
    "fewer labels": (1, idx([1, 2]), r"shape \(5, 4, 3\) and their labels \(2,\)"),
    "a letter": (3, idx([4, 5, 10]), "a held-out label is 10; digits are 0 to 9"),
    "other pixels": (2, idx(np.zeros((3, 5, 3))), r"held-out ones \(5, 3\)"),
    "half a gzip": (0, gzip.compress(contents()[0])[:30], "cannot be decompressed"),
    "a damaged gzip": (0, gzip.compress(contents()[0])[:-9] + 9 * b"x", "cannot be decompressed"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_files_are_named(folder: Path, case: str) -> None:
    index, data, message = DAMAGES[case]
    (folder / NAMES[index]).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_folder(folder)
    assert str(folder) in str(caught.value)


def test_a_missing_file_or_folder_is_named(folder: Path) -> None:
    (folder / NAMES[3]).unlink()
    with pytest.raises(DataError, match="has no file t10k-labels-idx1-ubyte"):
        read_folder(folder)
    (folder / NAMES[3]).mkdir()
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_folder(folder)
    for path in (folder / "nowhere", folder / NAMES[0]):
        with pytest.raises(DataError, match="there is no folder"):
            read_folder(path)


def test_an_idx_file_of_another_number_of_axes() -> None:
    array = np.arange(24).reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(parse_idx(idx(array), Path("x")), array)


# MNIST from a local server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, bytes]]:
    """Files that a local server has, instead of those of MNIST; they may be changed."""
    files = {name: gzip.compress(d, mtime=0) for name, d in zip(NAMES, contents(), strict=True)}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = files.get(self.path[1:])
            self.send_response(404 if data is None else 200)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("TT_DATA_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("TT_OFFLINE", "0")
        monkeypatch.setattr(digits, "URL", f"http://127.0.0.1:{http.server_port}/")
        sums = {n: (len(d), hashlib.sha256(d).hexdigest()) for n, d in files.items()}
        monkeypatch.setattr(digits, "FILES", sums)
        yield files
        http.shutdown()
        thread.join()


def test_mnist_is_downloaded_once(server: dict[str, bytes], tmp_path: Path) -> None:
    first = mnist()
    assert first.name == "MNIST"
    assert first.labels.tolist() == [0, 1, 2, 3, 9]
    assert sorted(p.name for p in (tmp_path / "home" / "mnist").iterdir()) == sorted(NAMES)
    server.clear()
    assert mnist().sha256 == first.sha256


def test_a_wrong_download_is_refused_and_not_kept(server: dict[str, bytes], tmp_path: Path) -> None:
    server[NAMES[1]] = b"<html>log in</html>"
    with pytest.raises(DataError, match=r"SHA-256 differs.*pass --data FOLDER"):
        mnist()
    assert [p.name for p in (tmp_path / "home" / "mnist").iterdir()] == [NAMES[0]]


def test_a_missing_download_is_one_sentence(server: dict[str, bytes]) -> None:
    server.clear()
    with pytest.raises(DataError, match=r"HTTP Error 404.*pass --data FOLDER"):
        mnist()


def test_a_damaged_copy_is_named(server: dict[str, bytes], tmp_path: Path) -> None:
    mnist()
    (tmp_path / "home" / "mnist" / NAMES[2]).write_bytes(b"damaged")
    with pytest.raises(DataError, match=f"{NAMES[2]} is not the published file"):
        mnist()


def test_offline_nothing_is_downloaded(
    server: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TT_OFFLINE", "1")
    with pytest.raises(DataError, match="TT_OFFLINE is set"):
        mnist()


def test_the_published_sizes_are_those_of_mnist() -> None:
    assert sum(size for size, _ in FILES.values()) == 11_594_722
    assert all(len(sha256) == 64 for _, sha256 in FILES.values())
