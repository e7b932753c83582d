"""C++ that evaluates spherical harmonics and their gradients."""

from __future__ import annotations

from halocline.plugins.fused.harmonics_terms import harmonics_terms, monomials, slope_terms


def harmonics_source(max_degree: int) -> str:
    """Two functions of a unit vector, whose components are of any type V with + and *.

    ``harmonics(x, y, z, Y)`` writes all (max_degree + 1)² harmonics but the first, which is 1.
    ``pull_harmonics(x, y, z, dY, t)`` writes the gradient by x, y and z of Σ dY Y, of which only what is along the
    sphere counts; dY[0] is not read.
    """
    lines = ["template <class V>", "HALO_INLINE void harmonics(V x, V y, V z, V* Y) {", *_products(max_degree)]
    lines += [
        f"  Y[{place}] = {' + '.join(f'T({c!r}) * {name}' for name, c in terms.items())};"
        for place, terms in enumerate(harmonics_terms(max_degree))
        if place
    ]
    lines += ["}", "", "template <class V>", "HALO_INLINE void pull_harmonics(V x, V y, V z, const V* dY, V* t) {"]
    lines += _products(max_degree - 1)
    for axis, slopes in enumerate(slope_terms(max_degree)):
        lines.append(f"  t[{axis}] = V{{}};")
        for name, factors in slopes.items():
            sum_ = " + ".join(f"T({c!r}) * dY[{place}]" for place, c in factors.items())
            lines.append(f"  t[{axis}] += {f'{name} * ({sum_})' if name else sum_};")
    return "\n".join([*lines, "}"])


def _products(max_degree: int) -> list[str]:
    return [f"  const V {name} = {product};" for name, product in monomials(max_degree)]
