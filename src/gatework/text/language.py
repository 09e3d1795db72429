"""Which language a collection of texts is in, as far as the choice of a unit needs it: Chinese or not."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gatework.text.units import CJK

_CJK = re.compile(f"[{CJK}]")
_WORD = re.compile(rf"[^\W\d_{CJK}]+")


def cjk_share(texts: Iterable[str]) -> float:
    """CJK characters among CJK characters and words of other scripts, in [0, 1]; 0 where there is neither."""
    cjk = words = 0
    for text in texts:
        cjk += len(_CJK.findall(text))
        words += len(_WORD.findall(text))
    return cjk / max(1, cjk + words)


def guess(texts: Iterable[str]) -> str:
    """`zh` where at least a third of the text is written without spaces, else `en`."""
    return "zh" if cjk_share(texts) >= 1 / 3 else "en"
