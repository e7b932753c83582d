"""The sections of a report, from what an audit has found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from halocline.audit.distributions.stage import FIGURES
from halocline.audit.distributions.statistics import DISTANCE
from halocline.audit.labels.force_errors import LEAST_FORCE
from halocline.audit.labels.stage import ERRORS, PARITY
from halocline.audit.report.section import Picture, Section, Table, number
from halocline.audit.stability.stage import FIGURE as STABILITY
from halocline.audit.traces.stage import FIGURE as TRACES

Document = Mapping[str, Any]

_ERRORS: Final = ("labels", "MAE", "RMSE", "largest", "R²", "std of labels")
#: Of a committee: what each member is told of, and what is told of spreads.
_OF_MEMBERS: Final = ("energy per atom", "forces", "stress")
_SPREADS: Final = (
    ("spread", "RMS spread"),
    ("rmse", "RMSE"),
    ("scale", "RMSE/spread"),
    ("correlation", "correlation"),
    ("rank_correlation", "of ranks"),
)
_DISTANCES: Final = (
    ("kullback_leibler", "KL (nats)"),
    ("jensen_shannon", "JS (nats)"),
    ("kolmogorov_smirnov", "KS"),
    ("wasserstein", "W₁"),
)
#: Of means of distributions, by their units: to bins and no finer.
_DIGITS: Final = {"Å": 3, "°": 1}
_CAPTIONS: Final = {
    "radial.png": "Radial distribution functions, or densities of distances where structures have no volume.",
    "bonds.png": "Lengths of bonds, and angles between them.",
    "hydrogen_bonds.png": "Lengths and angles of hydrogen bonds.",
}


def sections(document: Document) -> Iterator[Section]:
    """All that an audit has found, in the order in which it is told."""
    yield from _of_labels(document["labels"])
    yield _of_curl(document["curl"])
    yield from _of_distributions(document["distributions"])
    if document["stability"] is not None:
        yield _of_stability(document["stability"])
    if document["traces"] is not None:
        yield _of_traces(document["traces"])
    yield from _of_frames(document)


def _of_labels(found: Document) -> Iterator[Section]:
    if "errors" not in found:
        yield Section("Errors beside labels", ["No frame carries a label, so only structures were audited."])
        return
    counts = [f"{each['label']} in {each['frames']} of {each['total']} frames" for each in found["labels"]]
    used = {name: each for name, each in found["errors"].items() if each["count"]}
    rows = [(name, each["unit"], *_cells(each)) for name, each in used.items()]
    elements = [
        (symbol, name, each["unit"], *_cells(each))
        for symbol, of_element in found["elements"].items()
        for name, each in of_element.items()
        if each["count"]
    ]
    largest = [(name, number(each["error"]), each["where"]) for name, each in found["largest"].items()]
    yield Section(
        "Errors beside labels",
        [
            f"Errors are model less label. Labels: {', '.join(counts)}. "
            f"A force below {LEAST_FORCE:g} eV/Å, of label or model, counts for no angle.",
            *found["hints"],
        ],
        [
            Table("Errors", ("quantity", "unit", *_ERRORS), rows),
            Table("Errors by element", ("element", "quantity", "unit", *_ERRORS), elements),
            Table("Largest errors", ("quantity", "error", "where"), largest),
            *_of_committee(found),
        ],
        [
            Picture(PARITY, "The model's numbers against the labels."),
            Picture(ERRORS, "Energies by molecule, and forces in magnitude and direction."),
        ],
    )


def _of_committee(found: Document) -> Iterator[Table]:
    """The members beside their mean, and their spread beside its errors."""
    if (committee := found.get("committee")) is None:
        return
    every = {**committee["members"], "committee": found["errors"]}
    rows = [
        (name, of_model[name]["unit"], model, *(number(of_model[name][error]) for error in ("mae", "rmse", "max")))
        for name in _OF_MEMBERS
        for model, of_model in every.items()
        if of_model[name]["count"]
    ]
    yield Table("Errors of the members", ("quantity", "unit", "model", "MAE", "RMSE", "largest"), rows)
    rows = [
        (name, each["unit"], *(number(each[key]) for key, _ in _SPREADS))
        for name, each in committee["spread"].items()
        if each["count"]
    ]
    heads = [head for _, head in _SPREADS]
    yield Table("Spread of the members beside errors of the committee", ("quantity", "unit", *heads), rows)


def _cells(errors: Document) -> tuple[str, ...]:
    r2 = "" if errors["r2"] is None else f"{errors['r2']:.5f}"
    deviation = "" if errors["std_of_labels"] is None else number(errors["std_of_labels"])
    return (str(errors["count"]), *(number(errors[name]) for name in ("mae", "rmse", "max")), r2, deviation)


def _of_curl(found: Document) -> Section:
    if found["conservative"]:
        sentence = "Forces are derivatives of the energy: conservative by construction, without any curl."
        return Section("Curl of forces", [sentence])
    sentences = [
        "Forces are direct: they are no derivative of an energy, and do work round closed paths. Of their "
        "Jacobian J, a gradient has ‖J − Jᵀ‖/‖J + Jᵀ‖ = 0."
    ]
    if not found["frames"]:
        return Section("Curl of forces", [*sentences, "No frame could be evaluated, so it is not measured."])
    rows = [("‖J − Jᵀ‖/‖J + Jᵀ‖", "", number(found["asymmetry"]))]
    rows.append(("‖J − Jᵀ‖/√3N", "eV/Å²", number(found["curl_eV_per_A2"])))
    estimate = f"{found['probes']} random directions on each of {found['frames']} frames"
    return Section(
        "Curl of forces",
        [*sentences, f"Estimated in float64 from {estimate}."],
        [Table("Antisymmetric part of the Jacobian of forces", ("of", "unit", "root mean square"), rows)],
    )


def _of_distributions(found: Document) -> Iterator[Section]:
    reference, trajectory = found["reference"], found["trajectory"]
    sentences = [_molecules("reference", reference)]
    if trajectory is None:
        sentences.append("There is no trajectory to compare with these frames.")
    else:
        sentences.append(_molecules("trajectory", trajectory))
        sentences.append(
            "Distances are those of the trajectory's distribution from that of reference. Of itself means: of "
            "every second frame of reference from the others. What is no larger than that is noise."
        )
    every = found["distributions"]
    # Of distances between all atoms, a mean says where counting ended.
    moments = [_moments(each) for each in every if each["kind"] != DISTANCE]
    distances = [_distances(each) for each in every if each["distances"] is not None]
    heads = [head for _, head in _DISTANCES]
    tables = [
        Table("Means and standard deviations", ("of", "unit", "mean", "std", "trajectory: mean", "std"), moments),
        Table("Distances from the reference", ("of", *heads, "unit", "JS of itself", "W₁ of itself"), distances),
    ]
    yield Section("Structures", sentences, tables, [Picture(name, _CAPTIONS[name]) for name in FIGURES])


def _moments(found: Document) -> tuple[str, ...]:
    digits = _DIGITS[found["unit"]]
    cells = [
        "" if found[of] is None else f"{found[of][name]:.{digits}f}"
        for of in ("reference", "trajectory")
        for name in ("mean", "std")
    ]
    return (f"{found['kind']} {found['name']}", found["unit"], *cells)


def _distances(found: Document) -> tuple[str, ...]:
    itself = found["within_reference"] or {}
    told = [number(found["distances"][name]) for name, _ in _DISTANCES]
    noise = [number(itself[name]) if name in itself else "" for name in ("jensen_shannon", "wasserstein")]
    return (f"{found['kind']} {found['name']}", *told, found["unit"], *noise)


def _molecules(name: str, found: Document) -> str:
    text = f"The {name} has {found['frames']} frames"
    if found["molecules"]:
        most = sorted(found["molecules"].items(), key=lambda each: -each[1])
        listed = ", ".join(f"{count} {formula}" for formula, count in most[:8])
        text += f" with molecules {listed}{' and others' if len(most) > 8 else ''}"
        bonds = found["hydrogen_bonds_per_molecule"]
        text += f"; a molecule takes part in {bonds:.2f} hydrogen bonds on average" if bonds else ""
    if found["frames_without_molecules"]:
        text += f"; {found['frames_without_molecules']} frames are not made of molecules"
    return text + "."


def _of_stability(found: Document) -> Section:
    plan, summary = found["plan"], found["summary"]
    sentences = [
        f"{summary['survived']} of {summary['runs']} runs of {plan['steps']} steps of {plan['timestep']:g} fs "
        f"({plan['ensemble']}, {plan['temperature']:g} K) hold; the shortest lasts "
        f"{summary['shortest_time_fs'] / 1000.0:g} ps. Temperatures are of the second half of each run."
    ]
    if summary["molecules_broken_in"] is not None:
        sentences.append(
            f"Molecules are others in the end than at the start in {summary['molecules_broken_in']} runs."
        )
    columns = ("start", "atoms", "steps", "hold", "T (K)", "± std", "highest", "drift (meV/atom/ps)", "molecules")
    rows = [
        (
            run["source"],
            str(run["atoms"]),
            "–" if run["steps"] is None else str(run["steps"]),
            "yes" if run["survived"] else "no",
            *(number(run[name]) for name in ("temperature_K", "temperature_std_K", "highest_temperature_K")),
            number(run["total_drift_meV_per_atom_per_ps"]),
            {None: "", True: "kept", False: "changed"}[run["molecules_kept"]],
        )
        for run in found["runs"]
    ]
    ends = [(run["source"], run["reason"]) for run in found["runs"] if run["reason"]]
    return Section(
        "Stability of molecular dynamics",
        sentences,
        [Table("Runs", columns, rows), Table("Why runs ended", ("start", "reason"), ends)],
        [Picture(STABILITY, "Temperature and energy of all runs; those that did not hold end at ×.")],
    )


def _of_traces(found: Document) -> Section:
    columns = (
        "trajectory",
        "frames",
        "offset",
        "RMS without it",
        "largest",
        "climb",
        "of the second",
        "force RMSE",
    )
    rows = [
        (
            each["file"],
            str(each["frames"]),
            *(
                number(each[name])
                for name in (
                    "offset_meV_per_atom",
                    "rms_after_offset_meV_per_atom",
                    "largest_after_offset_meV_per_atom",
                    "climb_meV_per_atom",
                    "second_climb_meV_per_atom",
                    "force_rmse_meV_per_A",
                )
            ),
        )
        for each in found["trajectories"]
    ]
    return Section(
        f"Trajectories as {found['second']['name']} sees them",
        [
            "Energies in meV/atom, forces in meV/Å. The offset is the mean difference, second model less first. "
            "The climb is by how much energies rise from the first tenth of frames to the last."
        ],
        [Table("Traces", columns, rows)],
        [Picture(TRACES, "Energies of each trajectory by both models, counted from their means.")],
    )


def _of_frames(document: Document) -> Iterator[Section]:
    tally = document["tally"]
    if tally["left_out"] or tally["outside"]:
        sentences = [f"{tally['left_out']} of {tally['frames']} frames are left out."] if tally["left_out"] else []
        yield Section("Frames", [*sentences, *tally["reasons"], *(f"{each}." for each in tally["outside"])])
