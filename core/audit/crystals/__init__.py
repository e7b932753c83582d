"""How far a model is right about crystals: equations of state beside those of density functional theory."""

from halocline.audit.crystals.audit import FAILED_ERROR, CrystalOutcome, Row, audit
from halocline.audit.crystals.crystals import Crystal, compounds, elements
from halocline.audit.crystals.equation_of_state import EquationOfState, fit_equation_of_state
from halocline.audit.crystals.summary import Summary, summarise

__all__ = [
    "FAILED_ERROR",
    "Crystal",
    "CrystalOutcome",
    "EquationOfState",
    "Row",
    "Summary",
    "audit",
    "compounds",
    "elements",
    "fit_equation_of_state",
    "summarise",
]
