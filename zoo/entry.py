"""What the zoo knows of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from halocline.zoo.source import Source

if TYPE_CHECKING:
    from ase import Atoms


@final
@dataclass(frozen=True, slots=True)
class Pinned:
    """A file that is known to the byte.

    Attributes:
        name: of the model that it belongs to.
        source: where it comes from.
        size: bytes.
        sha256: of its contents.
    """

    name: str
    source: Source
    size: int
    sha256: str


@final
@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A file of which only the digest is known: whoever has it says how long it is.

    Attributes:
        name: of the model that it belongs to.
        source: where it comes from.
        sha256: of its contents.
    """

    name: str
    source: Source
    sha256: str


#: How well energies that the other package gave in float64 are reproduced, eV per atom. They agree to 1e-12;
#: constants of another precision change them by 1e-8 of their size, and wrong weights by far more.
TOLERANCE = 1e-8


#: Who knows fewer elements is made for something in particular: of the crystals of an audit, most are missing.
_UNIVERSAL = 36


@final
@dataclass(frozen=True, slots=True)
class Reference:
    """What a converted model must say of a structure.

    Attributes:
        name: of the structure.
        symbols: of its atoms.
        positions: of its atoms, Å.
        cell: three vectors in Å; None for a molecule.
        energy: by the package that the model comes from, eV per atom.
        tolerance: how well it must be reproduced in float64, eV per atom.
        head: of a model with several, the one that says it.
    """

    name: str
    symbols: tuple[str, ...]
    positions: tuple[tuple[float, ...], ...]
    cell: tuple[tuple[float, ...], ...] | None
    energy: float
    tolerance: float
    head: str | None = None

    @property
    def title(self) -> str:
        """Of the structure, and of the head if there is one."""
        return self.name if self.head is None else f"{self.name}, {self.head}"

    def atoms(self) -> Atoms:
        """The structure, as ASE has it."""
        from ase import Atoms

        return Atoms(list(self.symbols), self.positions, cell=self.cell, pbc=self.cell is not None)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What ``halocline zoo audit`` said of a model; errors are medians of sizes, per cent.

    Attributes:
        elements_volume_error: over the volumes of the elemental crystals.
        elements_bulk_modulus_error: over their bulk moduli.
        elements_no_minimum: how many of them have no minimum.
        elements_not_known: of how many the model does not know the element.
        compounds_volume_error: over the volumes of the compounds.
        compounds_no_minimum: how many of them have no minimum.
    """

    elements_volume_error: float
    elements_bulk_modulus_error: float
    elements_no_minimum: int
    elements_not_known: int
    compounds_volume_error: float
    compounds_no_minimum: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A model in the files of another package, which is converted once it was fetched.

    Attributes:
        form: name of the format among the converters.
        files: what is fetched, by its name in the other package.
        card: of the model, as far as it is not in the entry.
        references: what it must say.
    """

    form: str
    files: Mapping[str, Pinned | Unmeasured]
    card: Mapping[str, Any]
    references: tuple[Reference, ...]


@final
@dataclass(frozen=True, slots=True)
class Unpinned:
    """A model in a file of which no digest is published: nothing tells whether a file is the right one.

    Attributes:
        form: name of the format among the converters.
        url: where the file lies.
    """

    form: str
    url: str


@final
@dataclass(frozen=True, slots=True)
class Imported:
    """A model that its user put into the store.

    Attributes:
        path: of the file.
    """

    path: Path


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: lower-case letters and digits, joined by single dots, dashes or underscores.
        summary: one sentence.
        backbone: name of the backbone among the plugins.
        species: chemical symbols that the model knows.
        address: where it comes from, in words.
        origin: how it comes onto this machine.
        licences: SPDX identifiers of ``code`` and ``weights``.
        terms: where the licence of the weights can be read, if it has to be accepted before they are fetched.
        citation: what to cite.
        audit: how far it is right about crystals; None if that was not found out.
    """

    name: str
    summary: str
    backbone: str
    species: tuple[str, ...]
    address: str
    origin: Pinned | Foreign | Unpinned | Imported
    licences: Mapping[str, str]
    citation: tuple[str, ...]
    terms: str | None = None
    audit: Audit | None = None

    @property
    def is_universal(self) -> bool:
        """Whether the model is for materials in general, so that an audit says something of it."""
        return len(self.species) >= _UNIVERSAL

    @property
    def size(self) -> int | None:
        """Bytes of all files that are fetched; None if nobody has published that."""
        match self.origin:
            case Pinned(size=size):
                return size
            case Foreign(files=files):
                sizes = [file.size for file in files.values() if isinstance(file, Pinned)]
                return sum(sizes) if len(sizes) == len(files) else None
            case Unpinned():
                return None
            case Imported(path=path):
                return path.stat().st_size
