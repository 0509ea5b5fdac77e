import pytest

from rag.answering.markers import MarkerResolver


def resolve(*pieces, known=(1, 2, 3)):
    resolver = MarkerResolver(known=frozenset(known))
    shown = [resolver.feed(piece) for piece in pieces]
    return shown, resolver.finish(), resolver


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Thirty days [1].", "Thirty days [1]."),
        ("Thirty days [1][2].", "Thirty days [1][2]."),
        ("Thirty days [1, 3].", "Thirty days [1][3]."),
        ("Thirty days 【2】.", "Thirty days [2]."),
        ("Thirty days [Source 2].", "Thirty days [2]."),
        ("Thirty days [9].", "Thirty days."),
        ("Thirty days [1, 9].", "Thirty days [1]."),
        ("list[0] and [a link](x)", "list[0] and [a link](x)"),
        ("An open [ bracket", "An open [ bracket"),
        ("[note] stays", "[note] stays"),
    ],
)
def test_markers_are_normalised_and_unknown_ones_dropped(written, shown):
    pieces, rest, _ = resolve(written)

    assert "".join(pieces) + rest == shown


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_result_does_not_depend_on_how_the_text_is_cut(size):
    written = "A [1]. B [1, 2]. C 【3】. D [7] end [x] and [1"
    pieces, rest, resolver = resolve(*(written[i : i + size] for i in range(0, len(written), size)))

    assert "".join(pieces) + rest == "A [1]. B [1][2]. C [3]. D end [x] and [1"
    assert resolver.seen == [1, 1, 2, 3]
    assert resolver.dropped == 1


def test_half_a_marker_is_held_back():
    pieces, rest, _ = resolve("Thirty days [", "1", "]. More")

    assert pieces == ["Thirty days", "", " [1]. More"]
    assert rest == ""


def test_dropped_numbers_are_counted():
    _, _, resolver = resolve("x [8, 9] y [1]")

    assert resolver.dropped == 2
    assert resolver.seen == [1]
