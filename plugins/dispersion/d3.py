"""DFT-D3: London dispersion from coordination numbers, as a term that is added to networks.

S. Grimme, J. Antony, S. Ehrlich, H. Krieg, J. Chem. Phys. 132, 154104 (2010); with the damping of Becke and
Johnson, S. Grimme, S. Ehrlich, L. Goerigk, J. Comput. Chem. 32, 1456 (2011).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, final

from ase.units import Bohr

from halocline.errors import UsageError, unknown_name
from halocline.graph import Radius
from halocline.graph.rules import NeighbourRule
from halocline.plugins.dispersion.coefficients import Damping
from halocline.plugins.dispersion.evaluator import Cutoffs, D3Evaluator
from halocline.plugins.dispersion.tables import damping_parameters, tables
from halocline.potential.term import Term

#: Å: 60 and 40 Bohr, the defaults of simple-dftd3.
PAIRS: Final = 60.0 * Bohr
COORDINATION: Final = 40.0 * Bohr
TRIPLES: Final = 40.0 * Bohr

#: Names of the two parameters of a damping.
_LENGTHS: Final = {"bj": ("a1", "a2"), "zero": ("rs6", "rs8")}

#: Levels of theory that have dispersion in them.
_DISPERSION: Final = re.compile(r"(?i)(?<![a-z])(d[234](?![0-9])|vdw|r?vv10|mbd|xdm|dispersion)|-d[234]?\b|-v\b")


@final
class D3(Term):
    """Dispersion of a functional.

    Args:
        functional: such as ``pbe``; case and hyphens do not matter.
        damping: ``bj`` (Becke and Johnson) or ``zero``.
        atm: add the three-body term of Axilrod, Teller and Muto.
        cutoff: Å, of pairs.
        coordination_cutoff: Å, of coordination numbers.
        atm_cutoff: Å, of all distances of a triple.

    Raises:
        UsageError: unknown functional or damping, an impossible cutoff, or tad-dftd3 is not installed.
    """

    name = "d3"

    def __init__(
        self,
        functional: str,
        damping: str = "bj",
        atm: bool = False,
        cutoff: float = PAIRS,
        coordination_cutoff: float = COORDINATION,
        atm_cutoff: float = TRIPLES,
    ) -> None:
        super().__init__()
        if damping not in _LENGTHS:
            raise unknown_name("damping of D3", damping, _LENGTHS)
        given = {"cutoff": cutoff, "coordination_cutoff": coordination_cutoff, "atm_cutoff": atm_cutoff}
        for name, value in given.items():
            if not 0.0 < value <= 1000.0:
                raise UsageError(
                    f"The option {name} of D3 must be above 0 Å and no more than 1000 Å, not {value:g}."
                )
        found = damping_parameters(functional, damping)
        first, second = (found[name] for name in _LENGTHS[damping])
        s9 = found["s9"] if atm else 0.0
        self.damping = Damping(damping, found["s6"], found["s8"], s9, first, second)
        self.cutoffs = Cutoffs(cutoff / Bohr, coordination_cutoff / Bohr, atm_cutoff / Bohr)
        self.tables = tables()
        self.species = self.tables.species
        parameters = {name: found[name] for name in ("s6", "s8", *_LENGTHS[damping])} | {"s9": s9}
        self.config = {"functional": functional, "damping": damping, "parameters": parameters}
        self.config |= {"cutoffs": given, "tables": self.tables.digest}
        self.card = _card(functional, damping, atm)

    @property
    def neighbours(self) -> NeighbourRule:
        """As far as pairs have energies; it has no list of them."""
        return Radius(self.cutoffs.pairs * Bohr)

    @property
    def hops(self) -> int:
        """Two: energies depend on coordination numbers of neighbours."""
        return 2

    def evaluator(self) -> D3Evaluator:
        """See `Term.evaluator`."""
        return D3Evaluator(self.tables, self.damping, self.cutoffs)

    def remark(self, card: Mapping[str, Any]) -> str | None:
        """See `Term.remark`: labels that hold dispersion should not get it twice."""
        theory = str(card.get("level_of_theory", ""))
        if not _DISPERSION.search(theory):
            return None
        return (
            f"The labels of {card.get('name', 'the model')} are of {theory!r}, which has dispersion in it; "
            "with D3 it counts twice."
        )


def _card(functional: str, damping: str, atm: bool) -> dict[str, Any]:
    kind = "D3(BJ)" if damping == "bj" else "D3(0)"
    return {
        "name": f"d3:functional={functional},damping={damping}" + (",atm=true" if atm else ""),
        "summary": f"London dispersion of {functional} by DFT-{kind}",
        "level_of_theory": f"{functional}-{kind}, the dispersion alone",
        "citation": [
            "S. Grimme, J. Antony, S. Ehrlich, H. Krieg, J. Chem. Phys. 132, 154104 (2010)",
            *(["S. Grimme, S. Ehrlich, L. Goerigk, J. Comput. Chem. 32, 1456 (2011)"] if damping == "bj" else []),
        ],
    }
