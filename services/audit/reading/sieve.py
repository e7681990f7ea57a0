"""Tells phrases from disguises among what one automaton finds of both.

Compiled with sieve.pxd where there is a C compiler, as letters.py is. What is made here is made before: compiled loops
let no other thread run.
"""

from array import array

# From `start` to `end` (exclusive) of a text, and the place of the word there in its collection.
Found = tuple[int, int, int]


class Sieve:
    """Words are numbered: first the phrases, some of which are disguises `also`, then the other disguises.

    `also` has the places of such disguises by the phrases' numbers, `disguises` those of the others in order.
    """

    def __init__(self, phrases: int, also: dict[int, int], disguises: "array[int]") -> None:
        self._first = phrases
        self._also = also
        self._disguises = disguises
        self._is_also = bytes(number in also for number in range(phrases))

    def parted(self, found: list[Found]) -> tuple[list[Found], list[Found]]:
        """The phrases, and the disguises by their places."""
        disguises: list[Found] = []
        for one in found:
            number = one[2]
            if number >= self._first:
                disguises.append((one[0], one[1], self._disguises[number - self._first]))
            elif self._is_also[number]:
                disguises.append((one[0], one[1], self._also[number]))
        # Most texts have no disguise.
        return [one for one in found if one[2] < self._first] if disguises else found, disguises
