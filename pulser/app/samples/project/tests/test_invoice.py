from orders import Line, render
from orders.invoice import money


def test_an_invoice_shows_what_is_to_pay():
    text = render("Ada", [Line("apple", 2, 50), Line("pear", 1, 120)])
    assert text.splitlines()[-1].split() == ["to", "pay", "2.62"]


def test_money_has_two_digits_and_thousands():
    assert money(123456) == "1,234.56"
    assert money(-5) == "-0.05"
