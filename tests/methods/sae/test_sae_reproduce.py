"""The reproductions at tiny size on a tiny model; pages served."""

import json
from http.client import HTTPConnection
from threading import Thread

import pytest

from custodes.errors import ConfigError, DataError
from custodes.measure import over_seeds
from custodes.methods.sae import method, reproduce
from custodes.methods.sae.serving import page_server


@pytest.fixture(scope="module")
def text_file(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(texts))
    return path


def shrunk(part, tiny_folder):
    """The tiny settings, made to fit a model of three blocks that reads letters."""
    config = reproduce.settings(part, "tiny", 0)
    collect = config.collect.model_copy(
        update={"model": str(tiny_folder), "hooks": ("residual.1", "residual.2")[: len(
            config.collect.hooks)], "context": 36, "tokens": 2000}
    )  # fmt: skip
    train = config.train.model_copy(
        update={"latents": config.train.latents and (12, 24)[: len(config.train.latents)],
                "k": (4,), "batch": 64, "held_out": 300}
    )  # fmt: skip
    update = {"collect": collect, "train": train, "more_k": config.more_k and (2,)}
    if config.null is not None:
        small = {"collect": collect, "train": train, "latents": 4, "contexts": 12}
        update["null"] = config.null.model_copy(update=small)
    if config.describe is not None:
        update["describe"] = config.describe.model_copy(update={"contexts": 40})
    return config.model_copy(update=update)


def sections(page):
    found = json.loads(page.with_suffix(".json").read_text())
    return {one["title"]: one["blocks"] for one in found["sections"]}


def test_seeds(tiny_folder, text_file, tmp_path):
    config = shrunk("seeds", tiny_folder)
    found = sections(reproduce.run_seeds(config, [text_file], tmp_path))
    rows = {row[0]: row for row in found["Shared features"][0]["rows"]}
    assert [name for name in rows if name.startswith("F ")] == [
        "F 12, k 4", "F 24, k 4", "F 24, k 2"
    ]  # fmt: skip
    null = {name: row[1] for name, row in rows.items() if name.startswith("null")}
    assert sorted(null.values())[-1] == 1 and sorted(null.values())[0] < 0.3
    assert "What was published" in found
    lines = (tmp_path / "sizes/metrics.jsonl").read_text().splitlines()
    of_seeds = [row["l0"] for row in map(json.loads, lines) if "-12-" in row["autoencoder"]]
    assert rows["F 12, k 4"][4] == over_seeds(of_seeds).to_values()


def test_a_folder_is_of_one_configuration(tiny_folder, text_file, tmp_path, monkeypatch):
    config = shrunk("descriptions", tiny_folder)
    longer = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 2})})
    reproduce.run_descriptions(config, [text_file], tmp_path)
    before = (tmp_path / "config.yaml").read_text()
    with pytest.raises(ConfigError, match="another configuration"):
        reproduce.run_descriptions(longer, [text_file], tmp_path)
    assert (tmp_path / "config.yaml").read_text() == before

    def no_training(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(method, "train", no_training)
    reproduce.run_descriptions(config, [text_file], tmp_path)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="an autoencoder of other settings"):
        reproduce.run_descriptions(longer, [text_file], tmp_path)


def test_random(tiny_folder, text_file, tmp_path):
    page = reproduce.run_random(shrunk("random", tiny_folder), [text_file], tmp_path)
    linked = str(sections(page)["Each has its own page"])
    assert "networks/report.html" in linked and "toy/report.html" in linked
    assert (tmp_path / "networks/report.html").exists()
    with pytest.raises(ValueError, match="needs the settings null"):
        reproduce.run_random(shrunk("seeds", tiny_folder), [text_file], tmp_path)


def test_descriptions_and_pages_served(tiny_folder, text_file, tmp_path):
    config = shrunk("descriptions", tiny_folder)
    reproduce.run_descriptions(config, [text_file], tmp_path)
    words = tmp_path / "words"
    with page_server(words, port=0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port

        def get(path, host="127.0.0.1"):
            link = HTTPConnection("127.0.0.1", port, timeout=10)
            link.request("GET", path, headers={"Host": f"{host}:{port}"})
            reply = link.getresponse()
            return reply.status, reply.read()

        assert get("/") == (200, (words / "features.html").read_bytes())
        assert get("/report.html?a=1")[1] == (words / "report.html").read_bytes()
        assert [get(path)[0] for path in ("/config.yaml", "/../report.html", "/x")] == [404] * 3
        assert get("/", host="elsewhere.example")[0] == 404
        with pytest.raises(ConfigError, match="cannot be had"):
            page_server(words, port=port)
        server.shutdown()
    with pytest.raises(DataError, match="neither features"):
        page_server(tmp_path / "train" / "artifacts")
    with pytest.raises(ValueError, match="needs the setting describe"):
        reproduce.run_descriptions(shrunk("seeds", tiny_folder), [text_file], tmp_path)
