"""Finding sets: the folder, the cache, a real local server; and nothing half-written."""

import gzip
import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from custodes.config import digest
from custodes.data import DataSet, Places, Upstream, copy, find, locate, present, read
from custodes.errors import DataError

CONTENT = gzip.compress(b'{"id": "a", "source": "s", "kind": "k", "text": "t"}\n', mtime=0)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and the address that it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def places(tmp_path):
    (tmp_path / "data").mkdir()
    return Places(folder=tmp_path / "data", cache=tmp_path / "cache")


def dataset(**fields) -> DataSet:
    values = {
        "name": "advbench",
        "role": "dev",
        "path": "dev/advbench.jsonl.gz",
        "layout": "examples",
        "address": "https://github.com/someone/something",
        "licence": "MIT",
        "releasable": True,
        "kinds": ("harmful_request",),
        "rows": 1,
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    return DataSet(**{**values, **fields})


def put(path, content=CONTENT):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_folder_comes_before_the_cache(places):
    in_cache = put(places.cache / "dev/advbench.jsonl.gz")
    assert locate(dataset(), places=places) == in_cache
    in_folder = put(places.folder / "dev/advbench.jsonl.gz")
    assert locate(dataset(), places=places) == in_folder == present(dataset(), places)


def test_a_wrong_hash_says_both_and_may_be_passed_over(places):
    path = put(places.folder / "dev/advbench.jsonl.gz", b"other")
    with pytest.raises(DataError) as caught:
        locate(dataset(), places=places)
    assert hashlib.sha256(b"other").hexdigest() in str(caught.value)
    assert dataset().sha256 in str(caught.value)
    assert locate(dataset(), places=places, verify=False) == path


def test_what_is_nowhere_names_the_address_and_the_variable(places):
    with pytest.raises(DataError, match=r"https://github.com/someone.*CUSTODES_DATA_DIR"):
        locate(dataset(), places=places)


def test_a_folder_that_is_none_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_DATA_DIR", str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"CUSTODES_DATA_DIR: got .*none, expected a folder"):
        find("advbench")


def test_places_from_the_environment(tmp_path):
    assert Places.from_environment({"CUSTODES_CACHE_DIR": "/c"}).cache.as_posix() == "/c/data"
    xdg = Places.from_environment({"XDG_CACHE_HOME": "/x", "CUSTODES_DATA_DIR": "/d"})
    assert (xdg.folder.as_posix(), xdg.cache.as_posix()) == ("/d", "/x/custodes/data")
    home = Places.from_environment({})
    assert home.folder is None
    assert home.cache.parts[-3:] == (".cache", "custodes", "data")


def test_the_very_file_is_downloaded_once(places, served):
    folder, address = served
    put(folder / "rows.jsonl.gz")
    entry = dataset(download=f"{address}/rows.jsonl.gz")
    told = []
    path = locate(entry, places=places, progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    (folder / "rows.jsonl.gz").unlink()
    assert locate(entry, places=places) == path


def test_a_download_of_wrong_content_leaves_nothing(places, served):
    folder, address = served
    put(folder / "rows.jsonl.gz", b"other")
    entry = dataset(download=f"{address}/rows.jsonl.gz")
    with pytest.raises(DataError, match="SHA-256"):
        locate(entry, places=places)
    assert [path for path in places.cache.rglob("*") if path.is_file()] == []
    assert locate(entry, places=places, verify=False).read_bytes() == b"other"


@pytest.mark.parametrize("address", ["{}/none", "http://127.0.0.1:1/x", "http://[", "ftp://x/y"])
def test_a_download_that_fails_says_what_to_do(places, served, address):
    entry = dataset(download=address.format(served[1]))
    with pytest.raises(DataError, match=r"(?s)cannot be downloaded from .*CUSTODES_DATA_DIR"):
        locate(entry, places=places)
    assert [path for path in places.cache.rglob("*") if path.is_file()] == []


def serve_upstream(served, loader, content, **fields):
    put(served[0] / "raw", content)
    return dataset(upstream=Upstream(address=f"{served[1]}/raw", loader=loader), **fields)


def test_the_makers_file_becomes_a_table(places, served):
    entry = serve_upstream(served, "advbench", b"goal,target\r\nBake a cake,Sure\r\n")
    path = locate(entry, places=places)
    assert path.name == "advbench.upstream.jsonl.gz"
    (row,) = read(path)
    assert (row.id, row.text, row.label, row.kind) == (
        "advbench-00000",
        "Bake a cake",
        1,
        "harmful_request",
    )
    assert (row.source, row.licence) == ("someone/something", "MIT")
    (served[0] / "raw").unlink()
    assert locate(entry, places=places) == path


CASES = {
    "harmbench": (
        b"Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID\n"
        b'Bake,contextual,food,,"Flour,\nwater",bake_1\nFry,standard,food,,,fry_1\n',
        [
            {"text": "Bake", "context": "Flour,\nwater", "category": "contextual/food"},
            {"text": "Fry", "context": None, "meta": {"behavior_id": "fry_1"}},
        ],
    ),
    "openai_moderation": (
        gzip.compress(b'{"prompt": "a", "S": 0, "S3": 0}\n\n{"prompt": "b", "H": 1, "V": 1}\n'
                      b'{"prompt": "c", "S3": 1}\n'),
        [{"text": "a", "label": 0, "category": "none"}, {"label": 1, "category": "H+V"}],
    ),
    "simplesafetytests": (
        b"\xef\xbb\xbfid,harm_area,category,prompt\n1,Food,Advice,Bake?\n",
        [{"text": "Bake?", "label": 1, "category": "Food/Advice"}],
    ),
    "awesome_prompts": (b"act,prompt\nBaker,Be a baker\n", [{"category": "persona/Baker"}]),
    "alpaca_instructions": (
        json.dumps([{"instruction": "i", "input": "", "output": "o"},
                    {"instruction": "j", "input": "x", "output": "o"}]).encode(),
        [{"text": "i", "label": 0}],
    ),
}  # fmt: skip

EXCHANGES = {
    "humaneval": (
        gzip.compress(b'{"prompt": "def f():", "canonical_solution": "    return 1"}\n'),
        [("Complete this Python function:\n\ndef f():", "    return 1")],
    ),
    "gsm8k": (b'{"question": "1+1?", "answer": "2"}\n', [("1+1?", "2")]),
    "alpaca_exchanges": (
        json.dumps([{"instruction": "i", "input": "x", "output": "o"},
                    {"instruction": "i", "input": "", "output": "o"},
                    {"instruction": "i", "input": "", "output": ""}]).encode(),
        [("i\n\nx", "o"), ("i", "o")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("loader", CASES)
def test_loaders_of_prompts(places, served, loader):
    content, expected = CASES[loader]
    rows = read(locate(serve_upstream(served, loader, content), places=places))
    assert len(rows) == len(expected)
    for row, fields in zip(rows, expected, strict=True):
        assert {name: getattr(row, name) for name in fields} == fields


@pytest.mark.parametrize("loader", EXCHANGES)
def test_loaders_of_exchanges(places, served, loader):
    content, expected = EXCHANGES[loader]
    rows = read(locate(serve_upstream(served, loader, content), places=places))
    assert [tuple(turn.content for turn in row.messages) for row in rows] == expected
    assert all(row.label == 0 for row in rows)


@pytest.mark.parametrize(
    ("loader", "content", "said"),
    [
        ("advbench", b"prompt\nx\n", r"row 0: no column 'goal'"),
        ("gsm8k", b'{"question": "q", "answer": "a"}\n{', "row 0: not in the form expected"),
        ("openai_moderation", b'{"prompt": "p", "S": "x"}\n', "row 0: not in the form expected"),
        ("alpaca_exchanges", b"[1]", "row 0: not in the form expected"),
        ("none", b"", "no loader"),
    ],
)
def test_a_makers_file_of_another_form(places, served, loader, content, said):
    with pytest.raises(DataError, match=said):
        locate(serve_upstream(served, loader, content), places=places)
    assert [path for path in places.cache.rglob("*") if path.is_file()] == []


def test_copies_make_a_folder_that_serves(places, tmp_path):
    source = put(places.folder / "dev/advbench.jsonl.gz")
    target = copy(dataset(), source, tmp_path / "to")
    again = Places(folder=tmp_path / "to", cache=places.cache)
    assert locate(dataset(), places=again) == target
    assert copy(dataset(), target, tmp_path / "to") == target


def test_a_folder_is_one_set(places, tmp_path):
    put(places.folder / "many/b/x.txt", b"x")
    put(places.folder / "many/a.txt", b"a")
    listing = "".join(
        f"{hashlib.sha256(name.encode()).hexdigest()}  {path}\n"
        for name, path in (("a", "a.txt"), ("x", "b/x.txt"))
    )
    entry = dataset(
        path="many", layout="folder", sha256=hashlib.sha256(listing.encode()).hexdigest()
    )
    source = locate(entry, places=places)
    target = copy(entry, source, tmp_path / "to")
    assert digest(target) == entry.sha256
    put(source / "c.txt")
    with pytest.raises(DataError, match="SHA-256"):
        locate(entry, places=places)
