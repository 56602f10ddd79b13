"""Rows of the model's cache: who is in which, kept dense."""

from typing import Generic, TypeVar

Owner = TypeVar("Owner")


class SlotTable(Generic[Owner]):
    """Fixed slots of which the first `active` are taken; each taking of a slot has a generation id of its own.

    A result that was computed for one generation is never delivered to the next user of the slot.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._owners: list[Owner] = []
        self._generations: list[int] = []
        self._next_generation = 1

    @property
    def active(self) -> int:
        return len(self._owners)

    @property
    def free(self) -> int:
        return self.slots - len(self._owners)

    def acquire(self, owner: Owner) -> tuple[int, int]:
        """Takes the next slot -> (row, generation). The caller has checked `free`."""
        assert self.free > 0, "no free slot"
        self._owners.append(owner)
        self._generations.append(self._next_generation)
        self._next_generation += 1
        return len(self._owners) - 1, self._generations[-1]

    def release(self, row: int) -> tuple[int, Owner] | None:
        """Frees a row. Where it leaves a hole, the last row moves in: returns its old number and its owner."""
        last = len(self._owners) - 1
        owner, generation = self._owners.pop(), self._generations.pop()
        if row == last:
            return None
        self._owners[row], self._generations[row] = owner, generation
        return last, owner

    def owner(self, row: int) -> Owner:
        return self._owners[row]

    def generation(self, row: int) -> int:
        """Id of the present taking of a row; 0 for a free one."""
        return self._generations[row] if row < len(self._generations) else 0
