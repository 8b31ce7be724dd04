"""Real published data, exact: Geirhos et al. 2020, arXiv 2006.16736."""

import json

import pytest

from custodes.errors import DataError
from custodes.methods.similarity.capability import capability
from custodes.methods.similarity.drawings import clustered_map, scatter_plot, trend_plot
from custodes.methods.similarity.inputs import read_answers
from custodes.methods.similarity.metrics import METRICS, Pair
from custodes.methods.similarity.reproduce import (
    EXPECTED,
    error_consistency_experiment,
    reproduce,
)


@pytest.mark.parametrize("name", EXPECTED)
def test_mean_pairwise_error_consistency_is_exact(trials, name):
    found = error_consistency_experiment(name, trials / f"texture-shape_{name}.tar.gz")
    assert (found.people, found.networks) == (10, 22)
    means = found.means["error-consistency"]
    assert [round(value, 4) for value in means] == list(EXPECTED[name])


def test_the_metric_turns_the_trend_around(trials):
    path = trials / "texture-shape_cue-conflict.tar.gz"
    found = error_consistency_experiment("cue-conflict", path)
    assert found.trends["error-consistency"].value == pytest.approx(0.10, abs=0.005)
    assert found.trends["capa-discrete"].value == pytest.approx(-0.48, abs=0.005)


def test_discrete_capa_over_sixteen_categories(trials):
    """Networks answer always, so alone they have 16 options and no `na`."""
    whole = read_answers(trials / "texture-shape_edges.tar.gz").answers
    pair = Pair.of(whole.row("resnet50")[:, :16], whole.row("vgg16")[:, :16], whole.labels)
    assert METRICS["capa-discrete"].of(pair) == METRICS["capa"].of(pair)


def test_reproduction_writes_its_report(trials, tmp_path):
    page = reproduce("tiny", 0, tmp_path / "run")
    assert page.read_text().count("<svg") == 3
    values = json.loads((tmp_path / "run" / "report.json").read_text())
    assert values["sections"][0]["blocks"][0]["cards"][0]["met"] is True


def test_trials_without_people_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "subj,object_response,category,imagename\nvgg16,cat,cat,x.png\nvgg16,dog,dog,y.png\n"
    )
    with pytest.raises(DataError, match="two people"):
        error_consistency_experiment("toy", path)


def test_drawings_refuse_what_cannot_be_drawn():
    with pytest.raises(DataError, match="no points"):
        scatter_plot({}, title="t", x_label="x", y_label="y")
    with pytest.raises(DataError, match="finite"):
        scatter_plot({"a": ([float("nan")], [1.0])}, title="t", x_label="x", y_label="y")


def test_drawings_of_few_points():
    single = scatter_plot({"a": ([1.0], [1.0])}, title="t", x_label="x", y_label="y")
    assert "<circle" in single and "polyline" not in single
    import numpy as np

    small = np.array([[1.0, 0.2], [0.2, 1.0]])
    assert "<rect" in clustered_map(small, ["a", "b"], title="t")
    holes = np.array([[1.0, np.nan, 0.1], [np.nan, 1.0, 0.2], [0.1, 0.2, 1.0]])
    assert "<rect" in clustered_map(holes, ["a", "b", "c"], title="t")
    x = np.arange(20.0)
    bins = capability(np.add.outer(x, x), x).bins
    drawn = trend_plot({"a": bins}, title="t", x_label="x", y_label="y")
    assert "polygon" in drawn


def test_underscores_in_the_image_names_of_networks_stay(tmp_path):
    lines = ["subj,object_response,category,imagename"]
    for subject, start in (("subject-01", "0160_edg_s01_0_cat_00_"), ("alexnet", "")):
        name = "cat1" if start else "big_cat1"
        lines.append(f"{subject},cat,cat,{start}dog1.png")
        lines.append(f"{subject},dog,dog,{start}{name}.png")
    lines.append("alexnet,cat,cat,small_cat1.png")  # is not big_cat1
    path = tmp_path / "trials.csv"
    path.write_text("\n".join(lines) + "\n")
    assert read_answers(path).questions == ("dog1.png",)
