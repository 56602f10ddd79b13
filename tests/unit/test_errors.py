"""The error table is complete and consistent."""

import grpc
import pytest

from common import errors


def test_every_error_has_its_own_code() -> None:
    tree = errors._tree(errors.VoxmeshError)
    kinds = [kind for kind in tree if kind.__module__ == errors.__name__]  # services may refine them
    codes = [kind.code for kind in kinds if kind is not errors.VoxmeshError]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", errors.BY_CODE.values())
def test_every_error_fits_every_wire(kind: type[errors.VoxmeshError]) -> None:
    assert grpc.StatusCode[kind.grpc]
    assert 400 <= kind.http <= 599
    assert 1000 <= kind.ws_close <= 1015
    # What the caller did wrong is never a 5xx, what we did wrong is never a 4xx.
    assert (kind.http >= 500) == (kind.grpc in ("INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"))


def test_overload_always_says_when_to_come_back() -> None:
    for kind in (errors.AtCapacity, errors.RateLimited, errors.Unavailable):
        assert kind("full").retry_after_s
