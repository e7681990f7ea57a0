"""What one pass over a text tells of phrases and disguises."""

from services.audit.reading.scan import Scanner, leftmost_longest


def test_phrases_that_nest_and_overlap_are_all_told_by_their_places_in_the_collection() -> None:
    scan = Scanner(["大麻", "大麻花", "花店"], []).scan("买大麻花店")
    assert scan.phrases == [(1, 3, 0), (1, 4, 1), (3, 5, 2)]
    assert not scan.disguises


def test_a_phrase_that_is_a_disguise_as_well_is_told_as_both() -> None:
    scanner = Scanner(["女子", "好人"], ["亻尔", "女子"])
    both = scanner.scan("女子")
    assert (both.phrases, both.disguises) == ([(0, 2, 0)], [(0, 2, 1)])
    only = scanner.scan("亻尔好人")
    assert (only.phrases, only.disguises) == ([(2, 4, 1)], [(0, 2, 0)])


def test_nothing_to_look_for_is_found_nowhere() -> None:
    scan = Scanner([], []).scan("任何abc")
    assert (scan.phrases, scan.disguises, scan.has_letters) == ([], [], True)


def test_of_what_overlaps_the_leftmost_is_taken_and_of_those_the_longest() -> None:
    assert leftmost_longest([(1, 3, 0), (0, 2, 1), (0, 1, 2), (2, 4, 3), (3, 5, 4)]) == [(0, 2, 1), (2, 4, 3)]
