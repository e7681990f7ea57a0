"""Finds where characters sound like a word and are near enough to it to be meant for it.

Compiled with alike.pxd where there is a C compiler, as letters.py is. What it is made of is made in homophones.py:
compiled loops let no other thread run.
"""

from array import array

# Of the basic multilingual plane; hardly a character beyond it has a sound.
_BASIC = 0x10000

# From `start` to `end` (exclusive) of a text, and the place of the word there.
Meant = tuple[int, int, int]


class Alike:
    """Words of two characters and more by the numbers of their sounds, from 1 on.

    `sounds` has the number of each code point of the basic plane, 0 if no word has it, `beyond` those of others. The
    words are in the order of a number of their first two sounds, (first * row + second) modulo a power of two: `begun`
    has a bit for each such number that there is, and `begins` where its words begin, one further where they end.
    `thirds` has the third sound of each word, 0 if there is none, `places` where it begins in `letters`, its code
    points, and one more, where the last ends. From so many characters on, words are `sure` to be meant: they may be
    written with none of their own.
    """

    def __init__(
        self,
        sounds: "array[int]",
        beyond: dict[int, int],
        row: int,
        begun: bytes,
        begins: "array[int]",
        thirds: "array[int]",
        places: "array[int]",
        letters: "array[int]",
        sure: int,
    ) -> None:
        self._sounds, self._beyond, self._row = sounds, beyond, row
        # Small enough to be at hand, and most that follow each other are none of them.
        self._begun = begun
        self._begins, self._thirds = begins, thirds
        self._mask = len(begins) - 2
        self._places, self._letters = places, letters
        self._sure = sure

    def of(self, text: str) -> list[Meant]:
        """The words that characters sound like and have some of, but not all; none if the word is sure.

        Linear in the length of the text, and in how many words begin alike.
        """
        meant: list[Meant] = []
        first = second = third = 0
        place = -2
        for character in text:
            point = ord(character)
            third = self._sounds[point] if point < _BASIC else self._beyond.get(point, 0)
            pair = (first * self._row + second) & self._mask
            if self._begun[pair >> 3] >> (pair & 7) & 1 and first and second:
                self._begin(text, place, pair, third, meant)
            first, second = second, third
            place += 1
        pair = (first * self._row + second) & self._mask
        if self._begun[pair >> 3] >> (pair & 7) & 1 and first and second:
            self._begin(text, place, pair, 0, meant)
        return meant

    def _begin(self, text: str, start: int, pair: int, third: int, meant: list[Meant]) -> None:
        """Adds the words that begin with these sounds there."""
        for word in range(self._begins[pair], self._begins[pair + 1]):
            is_third = not self._thirds[word] or self._thirds[word] == third
            if is_third and self._is_near(text, start, word):
                meant.append((start, start + self._places[word + 1] - self._places[word], word))

    def _is_near(self, text: str, start: int, word: int) -> bool:
        place = self._places[word]
        length = self._places[word + 1] - place
        if start + length > len(text):
            return False
        same = 0
        for index in range(length):
            point, letter = ord(text[start + index]), self._letters[place + index]
            if point == letter:
                same += 1
            elif self._sound(point) != self._sound(letter):
                return False
        return same < length and (same > 0 or length >= self._sure)

    def _sound(self, point: int) -> int:
        return self._sounds[point] if point < _BASIC else self._beyond.get(point, 0)
