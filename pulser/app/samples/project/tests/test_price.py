import pytest

from orders.price import Line, discount, parse, total


def test_tax_is_added_and_rounded_half_up():
    assert total([Line("apple", 1, 50)], tax_percent=19) == 60


@pytest.mark.parametrize(("pieces", "off"), [(9, 0), (10, 100), (100, 1000 + 0)])
def test_ten_pieces_or_more_are_cheaper(pieces, off):
    assert discount([Line("apple", pieces, 100)]) == off


def test_a_large_order_is_cheaper_still():
    assert discount([Line("desk", 1, 100_000)]) == 5_000


def test_a_line_is_read_from_text():
    assert parse("3 x green apple @ 0.5") == Line("green apple", 3, 50)


def test_a_line_has_at_least_one_piece():
    with pytest.raises(ValueError, match="at least one"):
        Line("apple", 0, 50)
