"""Functions for which ONNX, or ONNX Runtime in float64, has no operator of its own.

Each is good to a few roundings; the tests hold them against torch over their whole range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import fx

from halocline.backends.onnx.translation import ELEMENT_TYPES, Translation, dtype_of

_aten = torch.ops.aten

# W. J. Cody, Math. Comp. 23, 631 (1969): erf(x) / x below 0.46875 as a ratio of polynomials in x²; above, the
# complement over exp(-x²) as one in x. Highest powers first.
_ERF = (
    (
        1.85777706184603153e-1,
        3.16112374387056560,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_ERFC = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0,
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)
_ERF_SPLIT = 0.46875
_ERF_END = 6.0  # erf is 1 from here on

# S. L. Moshier, Cephes: (atan(x) - x) / x³ for |x| ≤ 0.66 as a ratio of polynomials in x².
_ATAN = (
    (
        -8.750608600031904122785e-1,
        -1.615753718733365076637e1,
        -7.500855792314704667340e1,
        -1.228866684490136173410e2,
        -6.485021904942025371773e1,
    ),
    (
        1.0,
        2.485846490142306297962e1,
        1.650270098316988542046e2,
        4.328810604912902668951e2,
        4.853903996359136964868e2,
        1.945506571482613964425e2,
    ),
)
_ATAN_SPLITS = (0.66, 1.0 + math.sqrt(2.0))  # the latter is tan(3π/8)


class _Words:
    """Short words for arithmetic on ONNX values of one dtype."""

    def __init__(self, t: Translation, dtype: torch.dtype) -> None:
        self._t, self._dtype = t, dtype

    def __call__(self, operator: str, *operands: str | float, **attributes: Any) -> str:
        """An operator on values and numbers."""
        names = (each if isinstance(each, str) else self._t.tensor(each, self._dtype) for each in operands)
        return self._t.builder.emit(operator, *names, **attributes)

    def polynomial(self, coefficients: Sequence[float], x: str) -> str:
        """By Horner's rule, from the highest power on."""
        first, *rest = coefficients
        value: str | float = first
        for each in rest:
            value = self("Add", self("Mul", value, x), each)
        assert isinstance(value, str)
        return value

    def ratio(self, polynomials: tuple[Sequence[float], Sequence[float]], x: str) -> str:
        """The quotient of two polynomials of ``x``, whose coefficients are as for `polynomial`."""
        above, below = polynomials
        return self("Div", self.polynomial(above, x), self.polynomial(below, x))


Formula = Callable[[_Words, str], str]


def _rule(formula: Formula, native: str = "") -> Callable[..., str]:
    """A rule of one argument; ``native`` is an operator that ONNX Runtime has in float32 alone."""

    def rule(t: Translation, node: fx.Node, values: fx.Node) -> str:
        dtype = dtype_of(node)
        x = t.tensor(values, dtype)
        if native and dtype is torch.float32:
            return t.builder.emit(native, x)
        return formula(_Words(t, dtype), x)

    return rule


def _log1p(w: _Words, x: str) -> str:
    """log(u) · x / (u - 1) with u = 1 + x, which undoes the rounding of u; x itself where u rounds to 1."""
    u = w("Add", 1.0, x)
    quotient = w("Div", w("Mul", w("Log", u), x), w("Sub", u, 1.0))
    return w("Where", w("Equal", u, 1.0), x, quotient)


def _log1p_rule(t: Translation, node: fx.Node, values: fx.Node) -> str:
    """Of an exponential, as in every softplus, plain log(u) is as good.

    It is off by no more than the rounding of the linear part that is added next. The correction would take a tenth
    of the time of a whole program there.
    """
    words, x = _Words(t, dtype_of(node)), t.tensor(values, dtype_of(node))
    return words("Log", words("Add", 1.0, x)) if values.target is _aten.exp.default else _log1p(words, x)


def _expm1(w: _Words, x: str) -> str:
    """(u - 1) · x / log(u) with u = exp(x), likewise; plain where |x| > 1, where nothing is lost."""
    u = w("Exp", x)
    less = w("Sub", u, 1.0)
    quotient = w("Div", w("Mul", less, x), w("Log", u))
    careful = w("Where", w("Equal", u, 1.0), x, quotient)
    return w("Where", w("Greater", w("Abs", x), 1.0), less, careful)


def _sinh(w: _Words, x: str) -> str:
    e = _expm1(w, w("Abs", x))
    half = w("Mul", 0.5, w("Add", e, w("Div", e, w("Add", e, 1.0))))
    huge = w("Mul", w("Exp", w("Mul", 0.5, w("Abs", x))), w("Mul", 0.5, w("Exp", w("Mul", 0.5, w("Abs", x)))))
    return w("Mul", w("Sign", x), w("Where", w("Greater", w("Abs", x), 30.0), huge, half))


def _cosh(w: _Words, x: str) -> str:
    """As a product of halves, so that it overflows no earlier than it must."""
    h = w("Exp", w("Mul", 0.5, w("Abs", x)))
    return w("Add", w("Mul", w("Mul", 0.5, h), h), w("Div", w("Div", 0.5, h), h))


def _tan(w: _Words, x: str) -> str:
    return w("Div", w("Sin", x), w("Cos", x))


def _asinh(w: _Words, x: str) -> str:
    a = w("Abs", x)
    square = w("Mul", a, a)
    root = w("Sqrt", w("Add", square, 1.0))
    return w("Mul", w("Sign", x), _log1p(w, w("Add", a, w("Div", square, w("Add", 1.0, root)))))


def _acosh(w: _Words, x: str) -> str:
    t = w("Sub", x, 1.0)
    return _log1p(w, w("Add", t, w("Sqrt", w("Mul", t, w("Add", t, 2.0)))))


def _atanh(w: _Words, x: str) -> str:
    a = w("Abs", x)
    return w("Mul", w("Sign", x), w("Mul", 0.5, _log1p(w, w("Div", w("Mul", 2.0, a), w("Sub", 1.0, a)))))


def _erf(w: _Words, x: str) -> str:
    a = w("Abs", x)
    small = w("Min", a, _ERF_SPLIT)
    near = w("Mul", small, w.ratio(_ERF, w("Mul", small, small)))
    large = w("Max", w("Min", a, _ERF_END), _ERF_SPLIT)
    tail = w("Mul", w("Exp", w("Neg", w("Mul", large, large))), w.ratio(_ERFC, large))
    return w("Mul", w("Sign", x), w("Where", w("Less", a, _ERF_SPLIT), near, w("Sub", 1.0, tail)))


def _erfc(w: _Words, x: str) -> str:
    """Good to a rounding of 1, not to one of itself."""
    return w("Sub", 1.0, _erf(w, x))


def _atan(w: _Words, x: str) -> str:
    """Near 1 and above it turned back by π/4 and π/2."""
    a, (middle, large) = w("Abs", x), _ATAN_SPLITS
    above, between = w("Greater", a, large), w("Greater", a, middle)
    turned = w("Where", between, w("Div", w("Sub", a, 1.0), w("Add", a, 1.0)), a)
    z = w("Where", above, w("Neg", w("Div", 1.0, w("Max", a, 1.0))), turned)
    start = w("Where", above, math.pi / 2, w("Where", between, math.pi / 4, 0.0))
    square = w("Mul", z, z)
    angle = w("Add", w("Mul", z, w("Mul", square, w.ratio(_ATAN, square))), z)
    return w("Mul", w("Sign", x), w("Add", start, angle))


def _asin(w: _Words, x: str) -> str:
    root = w("Sqrt", w("Mul", w("Sub", 1.0, x), w("Add", 1.0, x)))
    return w("Mul", 2.0, _atan(w, w("Div", x, w("Add", 1.0, root))))


def _acos(w: _Words, x: str) -> str:
    return w("Mul", 2.0, _atan(w, w("Sqrt", w("Div", w("Sub", 1.0, x), w("Add", 1.0, x)))))


def _log_of(base: float) -> Formula:
    return lambda w, x: w("Mul", w("Log", x), 1.0 / math.log(base))


def _trunc(w: _Words, x: str) -> str:
    return w("Mul", w("Sign", x), w("Floor", w("Abs", x)))


def _sigmoid(t: Translation, node: fx.Node, values: fx.Node) -> str:
    """In float64 as (1 or e) / (1 + e) with e = exp(-|x|): a softplus has e and 1 + e already.

    ONNX Runtime's own kernel, fast in float32, took twenty times as long in float64.
    """
    dtype = dtype_of(node)
    w, x = _Words(t, dtype), t.tensor(values, dtype)
    if dtype is not torch.float64:
        return w("Sigmoid", x)
    e = w("Exp", w("Neg", w("Abs", x)))
    step = w("Cast", w("GreaterOrEqual", x, 0.0), to=ELEMENT_TYPES[dtype])
    return w("Div", w("Max", e, step), w("Add", 1.0, e))  # e is at most 1


RULES: Final[dict[Any, Callable[..., str]]] = {
    _aten.acos.default: _rule(_acos, "Acos"),
    _aten.acosh.default: _rule(_acosh),
    _aten.asin.default: _rule(_asin, "Asin"),
    _aten.asinh.default: _rule(_asinh),
    _aten.atan.default: _rule(_atan, "Atan"),
    _aten.atanh.default: _rule(_atanh),
    _aten.cosh.default: _rule(_cosh),
    _aten.erf.default: _rule(_erf, "Erf"),
    _aten.erfc.default: _rule(_erfc),
    _aten.expm1.default: _rule(_expm1),
    _aten.log10.default: _rule(_log_of(10.0)),
    _aten.log1p.default: _log1p_rule,
    _aten.log2.default: _rule(_log_of(2.0)),
    _aten.rsqrt.default: _rule(lambda w, x: w("Reciprocal", w("Sqrt", x))),
    _aten.sigmoid.default: _sigmoid,
    _aten.sinh.default: _rule(_sinh),
    _aten.tan.default: _rule(_tan),
    _aten.trunc.default: _rule(_trunc),
}
