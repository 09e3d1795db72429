"""Where the n-gram rows start: at what naive Bayes knows of them.

Before the first step a row of logits holds the centred log-probability of its n-gram under each class,

    w[r, c] = log p(r | c) - mean over classes of log p(r | c),   p(r | c) = (1 + n[r, c]) / sum over r of the same

with n[r, c] the training texts of class c that hold n-gram r. Training goes on from there, so that a rare n-gram, whose
row gets few updates, already says what its counts say. With several labels a text, a label's row is the difference of
log-probability between texts with the label and texts without it.

R n-gram rows, C outputs, N texts.  Source: Wang and Manning, "Baselines and Bigrams", ACL 2012, section 2, for the
ratio; here it is the start of training, not a scale of the features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gatework.text import ExampleStore

AT_ONCE = 4096
"""Texts counted in one step."""


def ngram_logits(store: ExampleStore, *, rows: int, outputs: int) -> npt.NDArray[np.float32]:
    """First logits of every n-gram row, (R, C), from a training store's targets.

    Args:
        store: training examples; targets are class ids (N,) or, with several labels, (N, C).
        rows: R. outputs: C.
    """
    several = store.targets.ndim == 2
    counts_RC = np.ones((rows, outputs))
    all_R = np.ones(rows)
    for start in range(0, len(store), AT_ONCE):
        part = range(start, min(start + AT_ONCE, len(store)))
        found = [store.encoded(index).ngram_rows for index in part]
        rows_N = np.concatenate(found)
        all_R += np.bincount(rows_N, minlength=rows)
        targets = np.asarray(store.targets[part.start : part.stop])
        for output in range(outputs):
            member = targets[:, output] > 0.5 if several else targets == output
            held = [one for one, is_member in zip(found, member, strict=True) if is_member]
            if held:
                counts_RC[:, output] += np.bincount(np.concatenate(held), minlength=rows)
    log_RC = np.log(counts_RC / counts_RC.sum(0))
    if several:
        rest_RC = all_R[:, None] - counts_RC + 1.0
        log_RC -= np.log(rest_RC / rest_RC.sum(0))
    else:
        log_RC -= log_RC.mean(1, keepdims=True)
    start_RC: npt.NDArray[np.float32] = log_RC.astype(np.float32)
    return start_RC
