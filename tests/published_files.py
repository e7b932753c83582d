"""Where the files of published models are."""

from __future__ import annotations

from real_data import real_data

from halocline.zoo.entry import Entry


def place_of_files(entry: Entry) -> list[str]:
    """Options of ``zoo pull`` with which they are found: none where they are in the package index."""
    match entry.origin.form:
        case "matgl":
            return ["--from", str(real_data("checkpoints_matgl"))]
        case "nequix":
            return ["--from", str(real_data("checkpoints_nequix"))]
        case _:
            return []
