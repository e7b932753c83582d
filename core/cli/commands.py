"""The commands that core brings; each module is imported only when its command is called."""

from __future__ import annotations

from halocline.plugin import Component, hookimpl

halocline_api = 2


@hookimpl
def halocline_commands() -> list[Component]:
    """Describe the commands."""
    return [
        Component("run", "halocline.cli.run:configure", "energies, forces and stress of structures"),
        Component("eval", "halocline.cli.eval:configure", "errors of a model against labels"),
        Component("audit", "halocline.cli.audit:configure", "errors, structures and stability, as one report"),
        Component("md", "halocline.cli.md:configure", "molecular dynamics"),
        Component("relax", "halocline.cli.relax:configure", "relax atoms, and the cell if asked to"),
        Component("data", "halocline.cli.data:configure", "files of labelled structures: look at them, pack them"),
        Component("train", "halocline.cli.train:configure", "fit a model to energies and forces"),
        Component("active", "halocline.cli.active:configure", "let a training set grow by what its model needs"),
        Component(
            "compress", "halocline.cli.compress:configure", "write a model with its radial functions as tables"
        ),
        Component(
            "prune",
            "halocline.cli.prune:configure",
            "write a smaller model, or find the cheapest good one",
        ),
        Component("export", "halocline.cli.export:configure", "write a model to a file that needs no Halocline"),
        Component("doctor", "halocline.cli.doctor:configure", "which backends work here, and are they right"),
        Component("profile", "halocline.cli.profile:configure", "where the time of a model, or of dynamics, goes"),
        Component("bench", "halocline.cli.bench:configure", "time the backends on a model"),
        Component("plugins", "halocline.cli.plugins:configure", "list plugins, and check one"),
    ]
