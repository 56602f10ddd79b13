"""The device that tests of the models compute on: `pytest --device cuda` runs them on a GPU."""

import pytest
import torch

CPU = torch.device("cpu")
_chosen = CPU


def choose(name: str) -> None:
    """Makes it the device of this run.

    Raises:
        pytest.UsageError: there is no such device here.
    """
    global _chosen
    _chosen = torch.device(name)
    if _chosen.type == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda: no CUDA device was found")


def chosen() -> torch.device:
    """The device of this run."""
    return _chosen
