"""The catalogue: closed, complete against the gathered folder where there is one, and honest."""

import os
from pathlib import Path

import pytest

from custodes.data import Places, catalogue, find, load, lookup
from custodes.data.upstream import LOADERS
from custodes.errors import DataError

FOLDER = os.environ.get("CUSTODES_DATA_DIR") or "/work/shared/data"
gathered = pytest.mark.skipif(
    not Path(FOLDER, "dev").is_dir(), reason=f"no gathered data in {FOLDER}"
)


def test_every_entry_can_be_used():
    sets = catalogue()
    assert len(sets) == 64
    assert all(name == dataset.name for name, dataset in sets.items())
    assert len({dataset.path for dataset in sets.values()}) == len(sets)
    for dataset in sets.values():
        assert dataset.address.startswith(("https://github.com/", "https://huggingface.co/"))
        assert len(dataset.sha256) == 64
        assert dataset.rows > 0
        assert dataset.kind == dataset.kinds[0]
        assert dataset.role == "other" or dataset.layout == "examples"
        if dataset.upstream is not None:
            assert dataset.upstream.loader in LOADERS
    with pytest.raises(TypeError):
        sets["new"] = sets["advbench"]


def test_licences_that_forbid_release():
    """The list of the gathered data's README."""
    barred = {"alpaca", "lima", "toxicchat", "safety_tuned", "do_not_answer", "medical_safety"}
    barred |= {"easyjailbreak", "ambigqa", "beavertails", "flask", "malicious_instruct"}
    barred |= {"adversariallm", "circuit_breaker", "english", "climate_fever"}
    for dataset in catalogue().values():
        assert dataset.releasable == (not any(dataset.name.startswith(name) for name in barred))
        if any(word in dataset.licence for word in ("-NC", "GPL", "-SA", "none stated")):
            assert not dataset.releasable


def test_a_misspelled_name_is_helped():
    with pytest.raises(DataError, match=r"no data set 'advbnech'.*did you mean advbench"):
        lookup("advbnech")
    with pytest.raises(DataError, match="no data set 'q'"):
        find("q")


@gathered
def test_the_gathered_files_are_those_of_the_catalogue(tmp_path):
    places = Places(folder=Path(FOLDER), cache=tmp_path)
    for dataset in catalogue().values():
        if dataset.layout in ("examples", "documents"):
            rows = load(dataset.name, places=places)
            assert len(rows) == dataset.rows
            assert {row.kind for row in rows} == set(dataset.kinds)
        else:
            find(dataset.name, places=places)
            with pytest.raises(DataError, match="not a table of examples"):
                load(dataset.name, places=places)
