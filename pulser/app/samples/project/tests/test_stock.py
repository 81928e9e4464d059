import pytest

from orders import NotEnough, Stock


def test_taking_more_than_there_is_changes_nothing():
    stock = Stock({"apple": 3})
    with pytest.raises(NotEnough, match="3 there, 4 asked for"):
        stock.take("apple", 4)
    assert stock.count("apple") == 3


def test_what_runs_low_is_listed_fewest_first():
    stock = Stock({"apple": 3, "pear": 1, "plum": 30})
    assert stock.low() == ["pear", "apple"]


def test_stock_survives_saving(tmp_path):
    stock = Stock({"apple": 3})
    stock.take("apple", 1)
    stock.save(tmp_path / "stock.json")
    assert Stock.load(tmp_path / "stock.json").count("apple") == 2
