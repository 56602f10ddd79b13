"""Weights of models: the catalogue, where they come from, and the cache they live in."""

from common.weights.describe import Description, describe
from common.weights.entries import Entry, catalog, find
from common.weights.errors import BadSpec, CacheUnusable, Corrupt, Unreachable, WeightsError
from common.weights.fetch import fetch
from common.weights.progress import OnProgress
from common.weights.spec import parse

__all__ = [
    "BadSpec", "CacheUnusable", "Corrupt", "Description", "Entry", "OnProgress", "Unreachable", "WeightsError",
    "catalog", "describe", "fetch", "find", "parse",
]  # fmt: skip
