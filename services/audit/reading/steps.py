"""The disguises that the audit undoes, each a step that can be switched off, and what shows that one was worn."""

import unicodedata

# Characters that stand for others.
NFKC, CASE, TRADITIONAL, DIGITS, LOOKALIKE = "nfkc", "case", "traditional", "digits", "lookalike"
# Characters put between others.
ZERO_WIDTH, SPACES, SYMBOLS, EMOJI = "zero_width", "spaces", "symbols", "emoji"
# Words written in another way.
REPEAT, LEET, EMOJI_WORD, SPLIT, SHAPE, PINYIN, HOMOPHONE = (
    "repeat",
    "leet",
    "emoji_word",
    "split",
    "shape",
    "pinyin",
    "homophone",
)
FOLDS = (NFKC, CASE, TRADITIONAL, DIGITS, LOOKALIKE)
INSERTIONS = (ZERO_WIDTH, SPACES, SYMBOLS, EMOJI)
RESTORATIONS = (REPEAT, LEET, EMOJI_WORD, SPLIT, SHAPE, PINYIN, HOMOPHONE)
ALL = (*FOLDS, *INSERTIONS, *RESTORATIONS)
# Ordinary writing holds these by chance, so that they alone are for a person to judge.
# `border` is no disguise: two words that only meet where a gap is.
BORDER = "border"
DOUBTFUL = frozenset({SPLIT, SHAPE, HOMOPHONE, BORDER})

# Numerals that ordinary writing has; whoever writes 第一 disguises nothing.
_PLAIN_NUMERALS = frozenset("零〇一二三四五六七八九")
_EMOJI_PLANE = range(0x1F000, 0x1FB00)
# Those that are older (Unicode's Emoji_Presentation, and the hearts, suns and telephones that phones show as pictures).
_EMOJI = frozenset(
    "⌚⌛⏩⏪⏫⏬⏰⏳◽◾☔☕♈♉♊♋♌♍♎♏♐♑♒♓♿⚓⚡⚪⚫⚽⚾⛄⛅⛎⛔⛪⛲⛳⛵⛺⛽✅✊✋✨❌❎❓❔❕❗➕➖➗➰➿⬛⬜⭐⭕❤☀☎☁☂☃✂✈✉✌✏☑✔☺"
)


def of_fold(character: str, folded: str) -> str | None:
    """The step by which a character became other characters; None if it is written as it reads."""
    if character == folded or character in _PLAIN_NUMERALS:
        return None
    if character.casefold() == folded:
        return CASE
    if folded.isascii() and folded.isdigit():
        return NFKC if "０" <= character <= "９" else DIGITS
    compatible = unicodedata.normalize("NFKC", character)
    if compatible != character and compatible.casefold() == folded:
        return NFKC
    return TRADITIONAL if _is_han(character) else LOOKALIKE


def of_insertion(character: str) -> str:
    """The step that removes a character from between others."""
    category = unicodedata.category(character)
    if category[0] == "Z" or character in "\t\r\n":
        return SPACES
    if category in ("Cf", "Cc", "Mn", "Me", "Mc", "Cn", "Co", "Cs", "Lo"):
        return ZERO_WIDTH
    return EMOJI if ord(character) in _EMOJI_PLANE or character in _EMOJI else SYMBOLS


def _is_han(character: str) -> bool:
    return "⺀" <= character <= "鿿" or "豈" <= character <= "﫿" or ord(character) >= 0x20000
