"""A matplotlib figure that needs no display, draws Chinese where it can, and is written whole or not at all.

matplotlib draws a character that its font lacks as an empty box and warns in many words. So the fonts installed are
asked which of them has every character of the labels; where none has, one warning says what to install.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from gatework.core.errors import MissingExtraError, OutputError

PREFERRED = ("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC",
             "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Noto Sans SC", "Droid Sans Fallback")  # fmt: skip
"""Chinese fonts people have, best looking first; any other that has the characters will do."""
REGULAR = (400, 500, "normal", "regular", "medium")
"""Weights; WenQuanYi Zen Hei has no lighter one than 500."""
NO_GLYPHS = ("Last Resort", "Adobe Blank", "Adobe NotDef")
"""Fonts that claim every character and draw boxes."""


def new_figure(*, width: float, height: float, texts: Iterable[str]) -> Any:
    """A figure, inches wide and high, whose default font has the characters of `texts` if any font does.

    Returns: a `matplotlib.figure.Figure` and the font family names to draw `texts` with.
    Raises: MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtraError("a plot", "plots") from None
    return Figure(figsize=(width, height), layout="constrained"), font_families(texts)


def font_families(texts: Iterable[str]) -> list[str]:
    """Font families that between them have every character of `texts`, DejaVu Sans first. Warns where none do."""
    needed = {ord(mark) for text in texts for mark in text if mark.isprintable() and not mark.isspace()}
    families = ["DejaVu Sans"]
    for name, characters in _installed_fonts():
        if name == "DejaVu Sans":
            needed -= characters
    while needed:
        name, characters = max(
            _installed_fonts(), key=lambda font: (len(needed & font[1]), -_rank(font[0])), default=("", frozenset())
        )
        if not needed & characters and _new_fonts():
            continue
        if not needed & characters:
            shown = "".join(chr(code) for code in sorted(needed)[:8])
            warnings.warn(
                f"no installed font has {shown!r}; the plot shows boxes in their place. "
                "Install a font that does, such as Noto Sans CJK (Debian, Ubuntu: fonts-noto-cjk).",
                stacklevel=4,
            )
            break
        families.append(name)
        needed -= characters
    return families


def _rank(name: str) -> int:
    return PREFERRED.index(name) if name in PREFERRED else len(PREFERRED)


def _installed_fonts() -> list[tuple[str, frozenset[int]]]:
    """Family and character codes of every upright regular font that matplotlib lists."""
    from matplotlib.font_manager import fontManager

    fonts = []
    for entry in fontManager.ttflist:
        regular = entry.style == "normal" and entry.weight in REGULAR
        if not regular or entry.name.startswith(NO_GLYPHS):
            continue
        if characters := _characters(entry.fname):
            fonts.append((entry.name, characters))
    return fonts


@lru_cache
def _characters(path: str) -> frozenset[int]:
    """The codes a font file has; none where it is gone since matplotlib listed it, or damaged."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


def _new_fonts() -> bool:
    """Tell matplotlib of fonts installed since it wrote its list; whether there are any."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    new = set(findSystemFonts()) - {entry.fname for entry in fontManager.ttflist} - _REFUSED
    before = len(fontManager.ttflist)
    for path in sorted(new):
        try:
            fontManager.addfont(path)
        except (OSError, RuntimeError):
            _REFUSED.add(path)
    return len(fontManager.ttflist) > before


_REFUSED: set[str] = set()
"""Font files that cannot be read."""


def check_png(path: str | Path) -> None:
    """Raise OutputError now if a picture could not be written at `path` later, or would not be what its name says."""
    from gatework.core.files import check_writable

    if Path(path).suffix.lower() != ".png":
        raise OutputError(f"{path}: pictures are PNG. Give the file a name that ends with .png.")
    check_writable(path)


def save_png(figure: Any, path: str | Path, *, dots_per_inch: int = 150) -> Path:
    """Write a figure; the file appears whole or not at all. Raises OutputError."""
    from gatework.core.files import atomic_write

    check_png(path)
    buffer, fonts = io.BytesIO(), logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    with warnings.catch_warnings():
        # `font_families` has said it once already, in words that help.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        fonts.setLevel(logging.ERROR)  # a family whose regular weight is called 500 is no news
        try:
            figure.savefig(buffer, format="png", dpi=dots_per_inch)
        finally:
            fonts.setLevel(level)
    with atomic_write(Path(path)) as file:
        file.write(buffer.getvalue())
    return Path(path)
