"""Figures say what they are told to."""

from matplotlib.figure import Figure

from halocline.figures import save_figure


def test_names_of_files_are_no_formulas(tmp_path):
    figure = Figure()
    figure.suptitle(r"md_$T$_$\bad$.xyz")
    axes = figure.subplots()
    axes.set_title(r"$\bad$")
    axes.semilogy([1, 10], label=r"a$\bad$")
    axes.legend()
    save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0
