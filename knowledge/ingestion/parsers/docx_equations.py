"""Equations of Word (OMML) in one line: `x^2`, `a_n`, `(a)/(b)`, `√(x)`, `∑_(n=1)^(∞)`."""

from collections.abc import Callable
from typing import Any

M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
PROPERTIES = ("Pr",)  # how the names of elements end that hold no text


def equation_text(node: Any) -> str:
    """The text of an `m:oMath` element, or of any part of one."""
    name = str(node.tag).removeprefix(M)
    if name == "t":
        return node.text or ""
    shape = SHAPES.get(name)
    return shape(node) if shape is not None else _inside(node)


def _inside(node: Any) -> str:
    children = (child for child in node if isinstance(child.tag, str) and not child.tag.endswith(PROPERTIES))
    return "".join(equation_text(child) for child in children)


def _part(node: Any, name: str) -> str:
    found = node.find(M + name)
    return _inside(found).strip() if found is not None else ""


def _grouped(text: str) -> str:
    """In brackets, unless it is one character or a number."""
    return text if len(text) <= 1 or text.isalnum() else f"({text})"


def _scripts(node: Any) -> str:
    lower, upper = _part(node, "sub"), _part(node, "sup")
    scripts = (f"_{_grouped(lower)}" if lower else "") + (f"^{_grouped(upper)}" if upper else "")
    return _part(node, "e") + scripts


def _before(node: Any) -> str:
    return f"_{_grouped(_part(node, 'sub'))}^{_grouped(_part(node, 'sup'))} {_part(node, 'e')}"


def _fraction(node: Any) -> str:
    return f"{_grouped(_part(node, 'num'))}/{_grouped(_part(node, 'den'))}"


def _root(node: Any) -> str:
    degree = _part(node, "deg")
    return f"√{f'[{degree}]' if degree else ''}({_part(node, 'e')})"


def _operator(node: Any) -> str:
    """A sum, product or integral with its limits. Without a sign of its own it is an integral."""
    sign = node.find(f"{M}naryPr/{M}chr")
    lower, upper = _part(node, "sub"), _part(node, "sup")
    limits = (f"_{_grouped(lower)}" if lower else "") + (f"^{_grouped(upper)}" if upper else "")
    return f"{sign.get(f'{M}val', '∑') if sign is not None else '∫'}{limits} {_part(node, 'e')}"


def _brackets(node: Any) -> str:
    left, right = node.find(f"{M}dPr/{M}begChr"), node.find(f"{M}dPr/{M}endChr")
    inside = ", ".join(_inside(part).strip() for part in node.findall(f"{M}e"))
    opening = "(" if left is None else left.get(f"{M}val", "")
    return f"{opening}{inside}{')' if right is None else right.get(f'{M}val', '')}"


def _function(node: Any) -> str:
    return f"{_part(node, 'fName')} {_part(node, 'e')}"


def _under(node: Any) -> str:
    return f"{_part(node, 'e')}_{_grouped(_part(node, 'lim'))}"


def _over(node: Any) -> str:
    return f"{_part(node, 'e')}^{_grouped(_part(node, 'lim'))}"


def _matrix(node: Any) -> str:
    return "; ".join(
        ", ".join(_inside(cell).strip() for cell in row.findall(f"{M}e")) for row in node.findall(f"{M}mr")
    )


SHAPES: dict[str, Callable[[Any], str]] = {
    "sSup": _scripts,
    "sSub": _scripts,
    "sSubSup": _scripts,
    "sPre": _before,
    "f": _fraction,
    "rad": _root,
    "nary": _operator,
    "d": _brackets,
    "func": _function,
    "limLow": _under,
    "limUpp": _over,
    "m": _matrix,
}
