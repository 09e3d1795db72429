"""Several models of sequence to sequence that answer together; see `kernels.decoding_ensemble`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from gatework.core.errors import ConfigError
from gatework.kernels.decoder import Decoder
from gatework.kernels.decoding import Memory
from gatework.kernels.decoding_ensemble import EnsembleNetwork
from gatework.runtime.answering import Answerer, Float32, IntArray
from gatework.runtime.seq2seq import Seq2Seq


class Ensemble(Answerer):
    """Members over the same vocabularies. Any threads may share it."""

    def __init__(self, members: Sequence[Seq2Seq]) -> None:
        """`members` are two at least, over vocabularies that `check_vocabularies` has compared."""
        self.members, self.architecture = tuple(members), members[0].architecture
        networks = tuple(one.decoder.network for one in members)
        first = networks[0]
        self.decoder = Decoder(
            EnsembleNetwork(
                embedding_VE=first.embedding_VE, table_VE=first.table_VE, bias_V=first.bias_V, members=networks
            ),
            precision=members[0].decoder.precision,
        )

    def encode(self, sources: Sequence[IntArray]) -> Memory:
        first, *others = (one.encode(sources) for one in self.members)
        return replace(first, others=tuple(others))

    def vectors(self, ids_S: IntArray) -> Float32:
        """What the first member's encoder reads of a source, x_SI."""
        return self.members[0].vectors(ids_S)


def check_vocabularies(codecs: Sequence[Any], names: Sequence[str]) -> None:
    """Raise ConfigError unless the codecs make the same ids of both sides, told by the hashes of their entries."""
    wanted = _hash(codecs[0])
    for codec, name in zip(codecs[1:], names[1:], strict=True):
        if _hash(codec) != wanted:
            raise ConfigError(
                f"{name}: its vocabularies are not those of {names[0]}, so they cannot answer together. Train both on "
                "the same data with the same [input]."
            )


def _hash(codec: Any) -> str:
    entries = codec.to_entries()
    return sha256(b"\0".join(name.encode() + b"\0" + entries[name] for name in sorted(entries))).hexdigest()
