"""Which windows of a recording come from the same voice. Pure numpy.

Average-link agglomeration of cosine similarities (Day and Edelsbrunner, "Efficient algorithms for agglomerative
hierarchical clustering methods", 1984), cut where two groups are less alike than windows of one voice are. Groups
too small to be a speaker (laughter, two voices at once) are dissolved into the others.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.intp]

# Cosine of two windows of 1.6 s: on 181 recordings of one speaker each, 2 % of pairs within a recording lie below
# it and 2 % of pairs of different speakers above; the means of a few windows part at the same place.
SAME_VOICE = 0.6
# Fewer windows are no speaker of their own where the number of speakers is not given.
MIN_WINDOWS = 3
# Windows that are clustered; more are assigned to the nearest group. Bounds time (0.5 s) and memory.
MAX_CLUSTERED = 800
REFINEMENTS = 5


def cluster(
    embeddings: Floats, num_speakers: int = 0, *, same: float = SAME_VOICE, smallest: int = MIN_WINDOWS
) -> Labels:
    """Groups unit vectors by voice.

    Args:
        embeddings: [n, d], in the order of the recording.
        num_speakers: how many voices there are; 0 estimates it. With fewer windows than that, one each.
        same: mean cosine from which two groups are one voice.
        smallest: windows that make a speaker when the number is estimated.

    Returns:
        [n], group numbers from 0 without gaps.
    """
    n = len(embeddings)
    if n == 0 or num_speakers == 1:
        return np.zeros(n, np.intp)
    chosen = np.unique(np.linspace(0, n - 1, min(n, MAX_CLUSTERED)).astype(np.intp))
    sample = embeddings[chosen]
    merges = average_link(sample @ sample.T)
    if num_speakers:
        labels = _cut_into(merges, num_speakers, same, smallest)
    else:
        labels = _cut(merges, sum(likeness >= same for _, _, likeness in merges))
        labels = _keep(labels, max(int((np.bincount(labels) >= smallest).sum()), 1))
    return _assign(embeddings, chosen, labels)


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
        sums = np.stack([embeddings[result == group].sum(axis=0) for group in range(count)])
        middles = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
        nearest = (embeddings @ middles.T).argmax(axis=1)
        if (nearest == result).all() or len(np.unique(nearest)) < count:
            break
        result = nearest
    if (result < 0).any():
        result = nearest
    return np.unique(result, return_inverse=True)[1]
