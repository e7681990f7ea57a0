"""Words written by their sound: in Latin letters, or with other characters that sound alike."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from daachorse import CharwiseDoubleArrayAhoCorasick

from services.audit.reading import steps
from services.audit.reading.edits import Edit
from services.audit.reading.homophones import SHORTEST, SURE, Homophones
from services.audit.reading.scan import LETTERS, Scan
from services.audit.reading.syllables import NOTHING, NUMERALS, exact, numerals, private, sounding, spoken
from services.audit.reading.words import ordinary
from services.audit.yielding import gently

# Of one way to read a span: how far that goes, whether it is no term, the word, and the edits.
_Option = tuple[int, bool, str, list[Edit]]
# Words that are spelt have no more characters than this before or behind a syllable.
_FAR = 12
# One has so many letters at least.
_SYLLABLE = 2


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Folded words that disguises may hide: terms, and all words with those of patterns.

    Of them homophones may stand for those that are `sounding`, and what is `innocent` only sounds so.
    """

    words: Collection[str]
    sounding: Collection[str]
    innocent: Collection[str] = ()
    terms: Collection[str] = ()


class _Spoken:
    """Words by their sounds, with the automaton that finds them."""

    def __init__(self, words: Collection[str], numerals: Mapping[int, str] | None = None) -> None:
        by_sound: dict[str, list[str]] = {}
        for word in gently(sorted(words)):
            if len(word) > 1 and not word.isascii():
                by_sound.setdefault(sounding(word), []).append(word)
                if numerals and any(map(str.isdigit, word)):
                    by_sound.setdefault(sounding(word).translate(numerals), []).append(word)
        self.words = [*map(tuple, gently(by_sound.values()))]
        self.automaton = CharwiseDoubleArrayAhoCorasick(list(by_sound) or [NOTHING])


class Sounds:
    """Finds the words of a vocabulary that are written by their sound."""

    def __init__(self, vocabulary: Vocabulary, enabled: Collection[str]) -> None:
        self._with_pinyin = steps.PINYIN in enabled
        self._sounding = frozenset(vocabulary.sounding if steps.HOMOPHONE in enabled else ())
        self._words = frozenset(vocabulary.words)
        self._innocent = frozenset(vocabulary.innocent)
        self._some = {sound: chr(point) for point, sound in reversed(private()[0].items())}
        # All words may be spelt, but few texts have Latin letters.
        self._spelt = _Spoken(self._words, numerals())
        self._homophones = Homophones(self._sounding, self._innocent)

    def edits(self, scan: Scan) -> list[list[Edit]]:
        """An edit for each character that is not written as in the word; of words that overlap, the longest has it.

        Where several words sound alike there are up to three such lists, that with the nearest words first.
        """
        text = scan.text
        found: dict[tuple[int, int], list[_Option]] = {}
        said, places, spelt = self._said(text) if scan.has_letters else (text, None, [])
        for first, word in self._homophones.meant(text):
            start = first if places is None else _place_of(places, first, len(word))
            edits = self._edits(text, first, word) if start >= 0 else []
            if edits:
                found.setdefault((start, start + len(word)), []).append(self._option(text, word, edits))
        if places is not None:
            self._find_spelt(text, said, places, spelt, found)
        if not found:
            return []
        several = _without_overlaps(found)
        return several if places is None else [self._whole(said, places, spelt, edits) for edits in several]

    def _whole(self, said: str, places: Sequence[int], spelt: Sequence[int], edits: list[Edit]) -> list[Edit]:
        """The edits with some character for each syllable beside a spelt word that is in none: 5weihaoyou."""
        edited = {edit[:2] for edit in edits}
        for step, numbers in ((-1, spelt), (1, spelt[::-1])):
            for number in numbers:
                span, beside = (places[number], places[number + 1]), number + step
                if not 0 <= beside < len(said) or span in edited or said[number] not in self._some:
                    continue
                other = places[beside], places[beside + 1]
                if other in edited and other[1] - other[0] > 1:
                    edited.add(span)
                    edits.append((*span, self._some[said[number]], steps.PINYIN))
        return sorted(edits)

    def _find_spelt(
        self,
        text: str,
        said: str,
        places: Sequence[int],
        spelt: Sequence[int],
        found: dict[tuple[int, int], list[_Option]],
    ) -> None:
        for least, most in _windows(spelt, len(said)):
            for first, last, index in self._spelt.automaton.find_overlapping(said[least:most]):
                start, end = first + least, last + least
                if places[end] - places[start] == end - start:
                    continue
                for word in self._spelt.words[index]:
                    edits = self._spelling(text, word, places[start : end + 1])
                    if edits:
                        found.setdefault((start, end), []).append(self._option(text, word, edits))

    def _option(self, text: str, word: str, edits: list[Edit]) -> _Option:
        """The edits with how far they go: sounds that people only take for each other, then words of patterns."""
        syllables = exact()
        written = (text[start:end] for start, end, _, _ in edits)
        far = sum(syllables.get(one, one) != syllables.get(edit[2]) for one, edit in zip(written, edits, strict=True))
        return far, word not in self._sounding, word, edits

    def _said(self, text: str) -> tuple[str, list[int] | None, list[int]]:
        """The text as it sounds if Latin letters are syllables in it, where each of its sounds begins and which of
        them are spelt."""
        whole = ""
        sounds: list[str] = []
        places: list[int] = []
        spelt: list[int] = []
        place = 0
        for start, end in LETTERS.runs(text, 1, _SYLLABLE) if self._with_pinyin else ():
            syllables = spoken(text[start:end])
            if not syllables:
                continue
            whole = whole or sounding(text)
            sounds.append(whole[place:start])
            places.extend(range(place, start))
            place = start
            for sound, length in syllables:
                sounds.append(sound)
                spelt.append(len(places))
                places.append(place)
                place += length
        if not spelt:
            return text, None, spelt
        sounds.append(whole[place:])
        places.extend(range(place, len(text) + 1))
        return "".join(sounds), places, spelt

    def _spelling(self, text: str, word: str, places: Sequence[int]) -> list[Edit]:
        """The edits that make a word of what is partly spelt, each of its sounds from one place to the next."""
        edits: list[Edit] = []
        same = by_sound = 0
        for character, start, end in zip(word, places, places[1:], strict=False):
            if text[start:end] == character:
                # A Latin letter may belong to the same foreign word as the syllables.
                same += not character.isascii()
            else:
                by_sound += end - start == 1
                edits.append((start, end, character, steps.PINYIN if end - start > 1 else steps.HOMOPHONE))
        if len(word) == SHORTEST and not all(_is_same(text[start:end], meant) for start, end, meant, _ in edits):
            return []
        if by_sound:
            return edits if same and word in self._sounding else []
        return edits if _is_pinyin(text, places[0], places[-1], same, len(edits)) else []

    def _edits(self, text: str, first: int, word: str) -> list[Edit]:
        changed = [index for index, character in enumerate(word) if character != text[first + index]]
        if len(word) < SURE and self._is_innocent(text, first, first + len(word) - 1, changed):
            return []
        return [(first + index, first + index + 1, word[index], steps.HOMOPHONE) for index in changed]

    def _is_innocent(self, text: str, first: int, last: int, changed: Sequence[int]) -> bool:
        """Whether a changed character makes an ordinary word with a neighbour, or another with one outside."""
        innocent, words = self._innocent, ordinary()
        around: tuple[int, ...] = (-1, 0)
        if last - first + 1 == SHORTEST:
            # Either character, and what stands beside both.
            changed, around = (0,), (-1, 0, 1)
        for index in changed:
            for place in around:
                pair = text[max(0, first + index + place) : first + index + place + 2]
                if pair in words or pair in innocent:
                    return True
        return False


def _place_of(places: Sequence[int], first: int, length: int) -> int:
    """Which sound begins there, if so many characters from there on have one each; -1 if they have not."""
    place = bisect_left(places, first)
    last = place + length
    is_each = last < len(places) and places[place] == first and places[last] == first + length
    return place if is_each else -1


def _windows(spelt: Sequence[int], length: int) -> Iterator[tuple[int, int]]:
    """From where to where among so many sounds words may be that are partly spelt."""
    least = most = 0
    for number in spelt:
        if number - _FAR > most:
            if most:
                yield least, most
            least = max(0, number - _FAR)
        most = number + 1 + _FAR
    yield least, min(most, length)


def _is_pinyin(text: str, start: int, end: int, same: int, spelt: int) -> bool:
    """Two syllables may be any foreign word or name, and so they must stand alone."""
    if same or spelt > SHORTEST:
        return True
    around = text[start - 1 : start] + text[end : end + 1]
    return not any(character.isascii() and character.isalpha() for character in around)


def _is_same(written: str, meant: str) -> bool:
    """Whether a character, or a syllable in letters, is the very syllable of a character."""
    return exact().get(written, written) == exact().get(meant, NUMERALS.get(meant))


def _without_overlaps(found: dict[tuple[int, int], list[_Option]]) -> list[list[Edit]]:
    """A list for each of the words that sound alike; words may overlap where they agree, the longest comes first."""
    for options in found.values():
        options.sort()
    # The longest first; of the same length, what is nearest to how it is written, and what more of it is of.
    spans = sorted(found, key=lambda span: (span[0] - span[1], found[span][0][0], -len(found[span][0][3]), span))
    # Words that overlap and do not agree are taken from the other end as well, and by how much is to put back.
    from_behind = sorted(spans, key=lambda span: (span[0] - span[1], -span[0]))
    orders = (spans, from_behind, sorted(spans, key=lambda span: -len(found[span][0][3])))
    readings: list[list[Edit]] = []
    for rank, order in enumerate(orders):
        edits = _agreed(found, order, rank)
        if edits not in readings:
            readings.append(edits)
    return readings


def _agreed(found: dict[tuple[int, int], list[_Option]], spans: Sequence[tuple[int, int]], rank: int) -> list[Edit]:
    read: dict[int, str] = {}
    edits: set[Edit] = set()
    for start, end in spans:
        options = found[start, end]
        for option in (options[min(rank, len(options) - 1)], *options):
            word = option[2]
            if all(read.get(place, character) == character for place, character in enumerate(word, start)):
                read.update(enumerate(word, start))
                edits.update(option[3])
                break
    return sorted(edits)
