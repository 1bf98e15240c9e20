"""Handwritten digits: the 8 x 8 images of scikit-learn, and MNIST from a download or a folder."""

import gzip
import hashlib
import io
import math
import zlib
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .datasets import DataError, data_home, download, read_bytes

URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
DOWNLOAD_SECONDS = 120.0  # limit for each file
HELD_OUT = 5  # one of so many of the 8 x 8 images of each digit is held out

# The files of MNIST as they were published, with size and SHA-256.
FILES = {
    "train-images-idx3-ubyte.gz": (
        9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte.gz": (
        28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "t10k-images-idx3-ubyte.gz": (
        1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}  # fmt: skip
MAX_BYTES = 2**31  # of one array


@dataclass(frozen=True)
class Digits:
    """Images of handwritten digits, divided into a training part and a held-out part.

    Attributes:
        name: short name, for reports.
        images, labels: the training part: float32 (N, H, W) in [0, 1], and int64 (N,) in 0 to 9.
        test_images, test_labels: the held-out part.
        source: human-readable origin.
    """

    name: str
    images: np.ndarray[Any, Any] = field(repr=False)
    labels: np.ndarray[Any, Any] = field(repr=False)
    test_images: np.ndarray[Any, Any] = field(repr=False)
    test_labels: np.ndarray[Any, Any] = field(repr=False)
    source: str

    @property
    def sha256(self) -> str:
        """Hex digest of all images and labels, and of how they are divided."""
        digest = hashlib.sha256()
        for array in (self.images, self.labels, self.test_images, self.test_labels):
            digest.update(f"{array.shape}".encode() + array.tobytes())
        return digest.hexdigest()


def small_digits() -> Digits:
    """Load the 1,797 images of 8 x 8 pixels that the package scikit-learn contains.

    Every fifth image of each digit is held out, so every digit has its share. Both parts contain
    digits of the same 13 people.

    Raises:
        DataError: scikit-learn is not installed.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits" (1998).
    """
    if find_spec("sklearn") is None:
        raise DataError(
            "the 8 x 8 digits are in scikit-learn, which is not installed: install the extra"
            " `milestones` (pip install 'tinytorch-backends[milestones]'), or pass --data FOLDER"
        )
    from sklearn.datasets import load_digits  # takes a second

    data = load_digits()
    images = (data.images / 16).astype(np.float32)  # the pixels are counts from 0 to 16
    labels = data.target.astype(np.int64)
    held_out = _rank(labels) % HELD_OUT == HELD_OUT - 1
    return Digits(
        "8 x 8 digits",
        *(images[~held_out], labels[~held_out], images[held_out], labels[held_out]),
        "from the package scikit-learn",
    )


def _rank(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """For each label, the number of equal ones before it."""
    rank = np.zeros_like(labels)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        rank[places] = np.arange(len(places))
    return rank


def mnist() -> Digits:
    """Load MNIST: 60,000 images of 28 x 28 pixels, and 10,000 that are held out.

    The files, 12 MB, are downloaded to `$TT_DATA_HOME/mnist` (`~/.cache/tinytorch/mnist` by
    default), unless they are there already.

    Raises:
        DataError: a file cannot be downloaded, or is not the published one.

    Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database" (1998).
    """
    folder = data_home() / "mnist"
    arrays = []
    for name, (size, sha256) in FILES.items():
        path = folder / name
        if path.exists():
            data = read_bytes(path)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise DataError(
                    f"{path} is not the published file (its SHA-256 differs): delete it"
                )
        else:
            try:
                data = download(URL + name, sha256, size, path, DOWNLOAD_SECONDS)
            except DataError as error:
                raise DataError(
                    f"MNIST was not found ({path} does not exist; {error}): put its four files"
                    " into a folder and pass --data FOLDER"
                ) from error
        arrays.append(parse_idx(data, path))
    return _from_idx("MNIST", arrays, folder)


def read_folder(folder: Path) -> Digits:
    """Read images and labels from four IDX files, named as those of MNIST, in a folder.

    The names may end in `.gz` or not.

    Raises:
        DataError: a file is missing, cannot be read, or does not fit to the others.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    arrays = []
    for name in FILES:
        choices = [folder / name, folder / name.removesuffix(".gz")]
        path = next((path for path in choices if path.exists()), None)
        if path is None:
            raise DataError(f"{folder} has no file {name}, compressed or not")
        arrays.append(parse_idx(read_bytes(path), path))
    return _from_idx(folder.resolve().name, arrays, folder)


def parse_idx(data: bytes, path: Path) -> np.ndarray[Any, Any]:
    """Return the array of bytes in an IDX file, compressed with gzip or not.

    An IDX file has two zero bytes, the type of the elements (8: unsigned bytes), the number of
    axes, the length of each axis as 4 bytes with the highest first, and the elements.

    Raises:
        DataError: it is not such a file, or is too short or too long; `path` is named.
    """
    if not data:
        raise DataError(f"{path} is empty")
    file: Any = io.BytesIO(data)
    if data[:2] == b"\x1f\x8b":
        file = gzip.GzipFile(fileobj=file)
    head = _read(file, 4, path)
    if len(head) < 4 or head[:3] != b"\0\0\x08":
        raise DataError(f"{path} is not an IDX file of bytes (it begins with {head.hex()})")
    sizes = np.frombuffer(_read(file, 4 * head[3], path), np.uint8)
    if len(sizes) < 4 * head[3]:
        raise DataError(f"{path} ends within its head")
    shape = sizes.view(">u4").tolist()
    count = math.prod(shape)
    if not 0 < count < MAX_BYTES:
        raise DataError(f"{path} has an array of shape {shape}, which is empty or too large")
    body = _read(file, count + 1, path)
    if len(body) != count:
        found = "more" if len(body) > count else f"{len(body):,}"
        raise DataError(f"{path} should have {count:,} bytes after its head, but it has {found}")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _read(file: Any, count: int, path: Path) -> bytes:
    try:
        data: bytes = file.read(count)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be decompressed: {error}") from error
    return data


def _from_idx(name: str, arrays: list[np.ndarray[Any, Any]], folder: Path) -> Digits:
    """The four arrays as digits, after checks that they fit together."""
    images, labels, test_images, test_labels = arrays
    for part, x, y in (("training", images, labels), ("held-out", test_images, test_labels)):
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise DataError(
                f"{folder}: the {part} images have shape {x.shape} and their labels {y.shape};"
                " (N, height, width) and (N,) are needed"
            )
        if y.max() > 9:
            raise DataError(f"{folder}: a {part} label is {y.max()}; digits are 0 to 9")
    if images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{folder}: training images have {images.shape[1:]} pixels, held-out ones"
            f" {test_images.shape[1:]}"
        )
    return Digits(
        name,
        *(_scaled(images), labels.astype(np.int64)),
        *(_scaled(test_images), test_labels.astype(np.int64)),
        f"read from {folder}",
    )


def _scaled(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result: np.ndarray[Any, Any] = images.astype(np.float32) / 255
    return result
