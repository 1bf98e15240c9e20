"""A megabyte of source code, scripts, emoji, digits and white space, to compare tokenizers on."""

import random
import sysconfig
import unicodedata
from functools import cache
from pathlib import Path

# First and last code points: Latin, Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai, kana, CJK,
# Hangul, punctuation, combining marks, emoji, mathematical letters, numbers, full-width forms.
SCRIPTS = [
    (0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x621, 0x64A),
    (0x904, 0x97F), (0xE01, 0xE3A), (0x3041, 0x30FA), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3),
    (0x2000, 0x206F), (0x300, 0x36F), (0x1F300, 0x1F64F), (0x1F900, 0x1F9FF), (0x1D400, 0x1D454),
    (0x2460, 0x24FF), (0xFF01, 0xFFBE),
]  # fmt: skip
BETWEEN = [" ", "\n", "  ", "\t", "'s", "'S ", "'LL", "1", "2024 ", "\r\n", "\u3000", "\u00a0",
           "\u200d", "\ufe0f", " \n \n", "_", "..."]  # fmt: skip


@cache
def _known(first: int, last: int) -> list[str]:
    """The characters of a script, without code points that a later Unicode may define."""
    return [c for c in map(chr, range(first, last + 1)) if unicodedata.category(c) != "Cn"]


def mixed_text(size: int = 1_000_000) -> str:
    """Half of it is Python's own library, which every machine has; the rest is made here."""
    rng = random.Random(0)
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    parts = [file.read_text("utf-8", "replace")[:8000] for file in files][: size // 16_000]
    while sum(map(len, parts)) < size:
        letters = rng.choices(_known(*rng.choice(SCRIPTS)), k=2000)
        parts.append("".join(c if rng.random() < 0.6 else c + rng.choice(BETWEEN) for c in letters))
    rng.shuffle(parts)
    return "".join(parts)
