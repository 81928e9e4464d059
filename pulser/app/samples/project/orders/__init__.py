"""Orders: prices, stock and invoices."""

from orders.invoice import render
from orders.price import Line, total
from orders.stock import NotEnough, Stock

__all__ = ["Line", "NotEnough", "Stock", "render", "total"]
