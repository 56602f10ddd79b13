"""Which windows of a recording come from the same voice. Pure numpy.

Average-link agglomeration of cosine similarities (Day and Edelsbrunner, "Efficient algorithms for agglomerative
hierarchical clustering methods", 1984), cut where two groups are less alike than windows of one voice are. Groups
too small to be a speaker (laughter, two voices at once) are dissolved into the others.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.intp]

# Cosine of two windows of 1.6 s: on 181 recordings of one speaker each, 2 % of pairs within a recording lie below
# it and 2 % of pairs of different speakers above; the means of a few windows part at the same place.
SAME_VOICE = 0.6
# One window alone may be laughter, or two people at once: where the number is not given, it is no speaker.
MIN_WINDOWS = 2
# In long recordings such windows find others like them by chance, so a speaker takes at least one window in so many.
MIN_SHARE = 50
# Windows that are clustered; more are assigned to the nearest group. Bounds time (0.5 s) and memory.
MAX_CLUSTERED = 800
REFINEMENTS = 5


def cluster(embeddings: Floats, num_speakers: int = 0, *, same: float = SAME_VOICE) -> Labels:
    """Groups unit vectors by voice.

    Args:
        embeddings: [n, d], in the order of the recording.
        num_speakers: how many voices there are; 0 estimates it. With fewer windows than that, one each.
        same: mean cosine from which two groups are one voice.

    Returns:
        [n], group numbers from 0 without gaps.
    """
    n = len(embeddings)
    if n == 0 or num_speakers == 1:
        return np.zeros(n, np.intp)
    chosen = np.unique(np.linspace(0, n - 1, min(n, MAX_CLUSTERED)).astype(np.intp))
    sample = embeddings[chosen]
    merges = average_link(sample @ sample.T)
    smallest = max(MIN_WINDOWS, len(sample) // MIN_SHARE)
    if num_speakers:
        labels = _cut_into(merges, num_speakers, same, smallest)
    else:
        labels = _cut(merges, sum(likeness >= same for _, _, likeness in merges))
        labels = _keep(labels, max(int((np.bincount(labels) >= smallest).sum()), 1))
    return _assign(embeddings, chosen, labels)


def tell_apart(embeddings: Floats, reliable: Sequence[bool], num_speakers: int = 0) -> list[int]:
    """The voice of each window, from 0: reliable ones are grouped, the others go to the nearest group.

    Args:
        embeddings: [n, d] unit vectors, n at least 1.
        reliable: [n], whether the window is long enough to tell a voice by; where none is, all are.
        num_speakers: how many voices there are; 0 estimates it.
    """
    firm = np.array(reliable)
    if not firm.any():
        firm[:] = True
    voices = np.empty(len(embeddings), np.intp)
    voices[firm] = cluster(embeddings[firm], num_speakers)
    if not firm.all():
        middles = _middles(embeddings[firm], voices[firm], int(voices[firm].max()) + 1)
        voices[~firm] = (embeddings[~firm] @ middles.T).argmax(axis=1)
    return [int(voice) for voice in voices]


def average_link(similarity: Floats) -> list[tuple[int, int, float]]:
    """Joins the two most similar groups until one is left.

    Args:
        similarity: [n, n], symmetric.

    Returns:
        n - 1 merges (i, j, mean similarity): group j joins group i, both named by their first item.
    """
    n = len(similarity)
    mean = similarity.astype(np.float32, copy=True)
    np.fill_diagonal(mean, -np.inf)
    size = np.ones(n, np.float32)
    best = mean.argmax(axis=1) if n else np.empty(0, np.intp)  # of each row
    value = mean[np.arange(n), best] if n else np.empty(0, np.float32)
    merges: list[tuple[int, int, float]] = []
    for _ in range(n - 1):
        row = int(value.argmax())
        i, j = sorted((row, int(best[row])))
        merges.append((i, j, float(value[row])))
        joined = (mean[i] * size[i] + mean[j] * size[j]) / (size[i] + size[j])
        joined[i] = joined[j] = -np.inf
        mean[i], mean[:, i] = joined, joined
        mean[j], mean[:, j] = -np.inf, -np.inf
        size[i] += size[j]
        # A mean lies between the two it is made of, so other rows lose their best only when it was i or j.
        stale = np.flatnonzero((best == i) | (best == j))
        for k in {i, j, *stale.tolist()}:
            best[k] = mean[k].argmax()
            value[k] = mean[k, best[k]]
    return merges


def _cut(merges: list[tuple[int, int, float]], count: int) -> Labels:
    """Groups after the first `count` merges: [n], numbers from 0."""
    root = np.arange(len(merges) + 1)
    for i, j, _ in merges[:count]:
        root[root == j] = i
    return np.unique(root, return_inverse=True)[1]


def _cut_into(merges: list[tuple[int, int, float]], wanted: int, same: float, smallest: int) -> Labels:
    """`wanted` groups. Small ones do not count, unless all others would then be parts of one voice."""
    n = len(merges) + 1
    if n <= wanted:
        return np.arange(n)
    for least in sorted({smallest, 1}, reverse=True):
        size = np.ones(n, np.intp)
        large = n if least == 1 else 0
        last = n if large >= wanted else -1  # merges after which there are last enough large groups
        for done, (i, j, _) in enumerate(merges, 1):
            large -= int(size[i] >= least) + int(size[j] >= least)
            size[i] += size[j]
            large += int(size[i] >= least)
            if large >= wanted:
                last = done
        if last >= 0 and (least == 1 or merges[last][2] < same):
            return _keep(_cut(merges, last), wanted)
    raise AssertionError("unreachable: single windows are groups too")


def _keep(labels: Labels, count: int) -> Labels:
    """The `count` largest groups keep a number from 0, all others get -1."""
    sizes = np.bincount(labels)
    kept = np.argsort(-sizes, kind="stable")[:count]
    numbers = np.full(len(sizes), -1, np.intp)
    numbers[kept] = np.arange(len(kept))
    return numbers[labels]


def _assign(embeddings: Floats, chosen: Labels, labels: Labels) -> Labels:
    """Every window to the nearest group, whose middle follows its windows; -1 in `labels` is no group yet."""
    count = int(labels.max()) + 1
    result = np.full(len(embeddings), -1, np.intp)
    result[chosen] = labels
    for _ in range(REFINEMENTS):
        nearest = (embeddings @ _middles(embeddings, result, count).T).argmax(axis=1)
        if (nearest == result).all() or len(np.unique(nearest)) < count:
            break
        result = nearest
    if (result < 0).any():
        result = nearest
    return np.unique(result, return_inverse=True)[1]


def _middles(embeddings: Floats, groups: Labels, count: int) -> Floats:
    """Unit vectors [count, d] in the middle of each group."""
    sums = np.stack([embeddings[groups == group].sum(axis=0) for group in range(count)])
    result: Floats = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return result
