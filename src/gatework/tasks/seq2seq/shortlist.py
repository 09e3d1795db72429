"""Which tokens of a target can matter for a source: frequent ones, and those that its tokens are mostly translated to.

Only these rows of the output table are multiplied then, and the softmax is over them alone.

Bundle entry `shortlist.u16` (`shortlist.u32` from 65,536 outputs on), numbers little-endian: F, K, the F frequent ids
of the target vocabulary, and for each id of the source vocabulary K of the target vocabulary, the likeliest first, 0
where there are fewer.

F frequent tokens, K tokens for each of a source, V ids of the source vocabulary, S places of a source.

Sources: Jean et al., arXiv:1412.2007, section 3.2; L'Hostis, Grangier and Auli, arXiv:1610.00072.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import BundleError

IntArray = npt.NDArray[np.integer]
NARROW, WIDE = "shortlist.u16", "shortlist.u32"


@dataclass(frozen=True, slots=True, eq=False)
class Shortlist:
    """See the module."""

    frequent_F: IntArray
    table_VK: IntArray

    @property
    def each(self) -> int:
        """K."""
        return int(self.table_VK.shape[1])

    def ids(self, source_S: IntArray, each: int, outputs: int, wanted: IntArray) -> npt.NDArray[np.int32]:
        """Rising ids of tokens that may come for a source.

        Args:
            source_S: its ids.
            each: tokens for each of them, at most K.
            outputs: ids of the target vocabulary.
            wanted: ids that may come too, those that end a target among them.
        """
        marked = np.zeros(outputs, dtype=bool)
        marked[self.frequent_F] = True
        marked[self.table_VK[source_S, :each]] = True
        marked[wanted] = True
        marked[0] = False
        return np.flatnonzero(marked).astype(np.int32)

    def to_entries(self, outputs: int) -> dict[str, bytes]:
        """The bundle entry `from_entries` reads, for a target vocabulary of so many ids."""
        name, kind = (NARROW, "<u2") if outputs < 1 << 16 else (WIDE, "<u4")
        head = [len(self.frequent_F), self.each]
        return {name: np.concatenate([head, self.frequent_F, self.table_VK.ravel()]).astype(kind).tobytes()}

    @classmethod
    def from_entries(
        cls, entries: Mapping[str, Any], vocabulary: int, outputs: int, *, source: str
    ) -> Shortlist | None:
        """Read what `to_entries` wrote, None where there is nothing. Raises BundleError naming `source`."""
        name, kind = (NARROW, "<u2") if outputs < 1 << 16 else (WIDE, "<u4")
        if name not in entries:
            return None
        data = bytes(entries[name])
        values = np.frombuffer(data[: len(data) // int(kind[-1]) * int(kind[-1])], dtype=kind).astype(np.int64)
        count, each = (int(value) for value in values[:2]) if len(values) >= 2 else (0, 0)
        if len(data) != int(kind[-1]) * (2 + count + vocabulary * each) or each < 1 or values[2:].max() >= outputs:
            raise BundleError(
                f"{source}: {name} must be {vocabulary} rows of ids below {outputs}. Export the model again."
            )
        return cls(values[2 : 2 + count], values[2 + count :].reshape(vocabulary, each))
