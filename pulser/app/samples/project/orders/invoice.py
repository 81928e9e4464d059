"""An invoice as text."""

from orders.price import Line, discount, total


def money(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def render(customer: str, lines: "list[Line]", tax_percent: int = 19) -> str:
    """The invoice, one line per article, 40 characters wide."""
    if len(lines) == 0:
        return f"{customer}: nothing ordered\n"
    out = [customer, "=" * 40]
    for line in lines:
        out.append(f"{line.pieces:>4} {line.article:<20} {money(line.pieces * line.cents):>14}")
    off = discount(lines)
    if off != 0:
        out.append(f"     {'discount':<20} {money(-off):>14}")
    out.append("-" * 40)
    out.append(f"     {'to pay':<20} {money(total(lines, tax_percent)):>14}")
    return "\n".join(out) + "\n"
