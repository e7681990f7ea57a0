"""`make fuzz-audit`: lets atheris look for a text that the audit cannot bear; ends by its own flags, or at the first.

The arguments are those of libFuzzer: a folder for the inputs that reach something new, -max_total_time=60, and so on.
"""

import sys

import atheris

# What it is to find its way through; instrumented while it is loaded.
with atheris.instrument_imports(include=["services.audit"]):
    from services.audit import lexicon
    from services.audit.judge import judge
    from services.audit.matcher import Matcher

# So that the fuzzer need not guess whole words: a byte above these numbers is a word of the lexicon, or a sign.
_PLAIN = 0x40
_SIGNS = (*"\u200b\u0301 ★，-.@￥😀①１\ud800", "138", "qq", "vx", "wei", "xin")


def words_of(matcher: Matcher) -> list[str]:
    """What texts are made of."""
    terms = matcher.lexicon.terms
    found = {term.text for term in terms if not term.pattern} | {one for term in terms for one in term.exceptions}
    return [*_SIGNS, *sorted(found)]


def text_of(data: bytes, words: list[str]) -> str:
    """A text from what the fuzzer thinks of: any characters, and among them words of the lexicon."""
    provider = atheris.FuzzedDataProvider(data)
    pieces: list[str] = []
    while provider.remaining_bytes():
        if provider.ConsumeIntInRange(0, 0xFF) < _PLAIN:
            pieces.append(provider.ConsumeUnicode(8))
        else:
            pieces.append(words[provider.ConsumeIntInRange(0, len(words) - 1)])
    return "".join(pieces)


def main() -> None:
    """Fuzz until a flag says that it is enough; an input that fails is kept in .cache/, as crash-* or timeout-*."""
    matcher = Matcher(lexicon.load())
    words = words_of(matcher)

    def check(data: bytes) -> None:
        text = text_of(data, words)
        findings = judge([("", text)], matcher).findings
        places = [(finding.start, finding.end, finding.term, finding.category) for finding in findings]
        if places != sorted(set(places)) or not all(0 <= start < end <= len(text) for start, end, *_ in places):
            raise AssertionError(f"{text!r}: {places}")

    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
