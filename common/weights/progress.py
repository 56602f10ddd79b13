"""How a fetch tells what it is doing."""

from collections.abc import Callable

# (what, bytes so far, bytes in all; 0 when nobody knows). Called from the fetching thread, a few times a second.
OnProgress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Tells nobody."""
