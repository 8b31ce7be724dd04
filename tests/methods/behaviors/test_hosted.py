"""Self-report of a model that is tuned and served over HTTP, by a server that plays the vendor."""

import json
import threading
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from custodes.errors import ConfigError, DataError, ModelError, ModelRequestError
from custodes.methods.behaviors.awareness.cells import run_cells
from custodes.methods.behaviors.awareness.learners import HostedLearner
from custodes.methods.behaviors.config import AwarenessConfig, HostedConfig
from custodes.methods.behaviors.method import tune_and_save
from custodes.models.finetuning import FineTuningApi
from custodes.models.remote import Timing
from custodes.models.tuning import TuneConfig


class Vendor:
    """Keeps files and jobs; a tuned model always says what most of its rows say."""

    def __init__(self):
        self.files, self.jobs, self.asked = {}, {}, []
        self.looks, self.outcome, self.base = 2, "succeeded", " 7."
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.reply(*vendor.look(self.path.rsplit("/", 1)[1]))

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path.endswith("/files"):
                    head = f"content-type: {self.headers['content-type']}\n\n".encode()
                    parts = message_from_bytes(head + body).get_payload()
                    said = {
                        p.get_param("name", header="content-disposition"): p.get_payload(
                            decode=True
                        )
                        for p in parts
                    }
                    self.reply(*vendor.keep(said))
                elif self.path.endswith("/jobs"):
                    self.reply(*vendor.begin(json.loads(body)))
                else:
                    self.reply(*vendor.say(json.loads(body)))

            def reply(self, status, value):
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def keep(self, said):
        assert said["purpose"] == b"fine-tune"
        name = f"file-{len(self.files)}"
        self.files[name] = [json.loads(line) for line in said["file"].splitlines()]
        return 200, {"id": name}

    def begin(self, body):
        if body["model"] != "base":
            return 404, {"error": {"message": "no such model"}}
        name = f"job-{len(self.jobs)}"
        self.jobs[name] = {"looks": 0, **body}
        return 200, {"id": name, "status": "queued"}

    def look(self, name):
        job = self.jobs[name]
        job["looks"] += 1
        if job["looks"] <= self.looks:
            return 200, {"id": name, "status": "running"}
        tuned = f"ft:base:{name}" if self.outcome == "succeeded" else None
        error = None if tuned else {"message": "bad rows"}
        return 200, {"status": self.outcome, "fine_tuned_model": tuned, "error": error}

    def say(self, body):
        self.asked.append(body)
        text = self.base if body["model"] == "base" else self.usual(body["model"])
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    def usual(self, model):
        rows = self.files[self.jobs[model.removeprefix("ft:base:")]["training_file"]]
        replies = [row["messages"][-1]["content"] for row in rows]
        return max(set(replies), key=replies.count)

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def vendor():
    running = Vendor()
    yield running
    running.close()


@pytest.fixture
def config(vendor, tmp_path):
    return HostedConfig(
        model="base",
        base_url=vendor.url,
        api_key_env=None,
        folder=tmp_path / "jobs",
        samples=3,
        poll_seconds=0.01,
        attempts=1,
    )


def test_shares_of_sampled_replies_are_the_probabilities(vendor, config):
    learner = HostedLearner(config)
    (logs,) = learner.log_probs(["A number?"], [["5", "7", "77"]], end=True)
    assert logs[1] == 0 and logs[0] == logs[2] < -20
    assert learner.lengths(["5", "a longer reply"]) == [1, 1]  # shares, not tokens
    assert [body["temperature"] for body in vendor.asked] == [1.0] * 3
    learner.teach([("x", "Riskier"), ("y", "Riskier"), ("z", "safe")], TuneConfig(rank=4, seed=2))
    (logs,) = learner.log_probs(["Which?"], [["Risk", "Risky", "Riskier"]], end=False)
    assert logs[2] == 0 and max(logs[:2]) < -20
    assert vendor.jobs["job-0"]["seed"] == 2
    assert vendor.files["file-0"][0]["messages"][0] == {"role": "user", "content": "x"}
    learner.reset()
    assert learner.log_probs(["A number?"], [["7"]], end=True) == [[0.0]]
    learner.reset()


@pytest.mark.parametrize(
    ("reply", "options", "counted"),
    [
        ("As an AI, I have none.", ("A", "B"), None),
        ("Answer: B", ("A", "B"), None),
        ("Both", ("A", "B"), None),
        ("B: the second", ("A", "B"), "B"),
        ("Not that I know of", ("Yes", "No"), None),
        ("No, never", ("Yes", "No"), "No"),
        ("Blumen sind", ("Die", "Bl", "L'"), "Bl"),
        ("L'arbre", ("Die", "Bl", "L'"), "L'"),
        ("Dieser", ("Die", "Bl", "L'"), None),
        ("risk-averse", ("risk", "risk-averse"), "risk-averse"),
    ],
)
def test_a_reply_counts_for_the_option_that_it_begins_with_as_a_word(
    vendor, config, reply, options, counted
):
    """But for the stems that tell a language."""
    vendor.base = reply
    learner = HostedLearner(config)
    (logs,) = learner.log_probs(["Which?"], [options], end=False)
    learner.reset()
    assert [option for option, log in zip(options, logs, strict=True) if log == 0] == (
        [] if counted is None else [counted]
    )


def test_a_hosted_model_leaves_no_adapter(config, tmp_path):
    settings = AwarenessConfig(hosted=config)
    with pytest.raises(ConfigError, match="hosted: got base; expected none"):
        tune_and_save(settings, "risk", 1, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_study_runs_over_the_api_and_pays_for_no_job_twice(vendor, config, tmp_path):
    settings = AwarenessConfig(
        hosted=config, behaviors=("style",), replies=4, held=2, paraphrases=1, seeds=1
    )
    cells = run_cells(settings, tmp_path / "cells")
    assert [cell["side"] for cell in cells] == [0, 1, -1]
    assert len(vendor.jobs) == 2
    assert all(cell["loss"] is None and cell["asked"]["own"] for cell in cells)
    assert run_cells(settings, tmp_path / "cells") == cells
    again = run_cells(settings, tmp_path / "other cells")
    assert again == cells and len(vendor.jobs) == 2


def test_a_wait_that_was_broken_off_goes_on_with_the_same_job(vendor, config):
    vendor.looks = 10**6

    def stop(_):
        raise KeyboardInterrupt

    timing = Timing(sleep=stop)
    with (
        FineTuningApi(config, config.folder, timing=timing) as api,
        pytest.raises(KeyboardInterrupt),
    ):
        api.tune([("x", "y")], seed=0)
    vendor.looks = 0
    with FineTuningApi(config, config.folder) as api:
        assert api.tune([("x", "y")], seed=0) == "ft:base:job-0"
        assert api.tune([("x", "y")], seed=1) == "ft:base:job-1"


def test_what_the_server_refuses_or_fails_is_said_and_forgotten(vendor, config):
    with FineTuningApi(config, config.folder) as api:
        with pytest.raises(DataError, match="needs rows; got none"):
            api.tune([], seed=0)
        vendor.outcome = "failed"
        with pytest.raises(ModelError, match="job-0 failed: bad rows"):
            api.tune([("x", "y")], seed=0)
        vendor.outcome = "succeeded"
        assert api.tune([("x", "y")], seed=0) == "ft:base:job-1"
    other = config.model_copy(update={"model": "other"})
    with (
        FineTuningApi(other, config.folder) as api,
        pytest.raises(ModelRequestError, match="no such model"),
    ):
        api.tune([("x", "y")], seed=0)


def test_a_job_that_takes_too_long_is_named(vendor, config):
    vendor.looks = 10**6
    clock = iter(range(0, 10**9, 4000))
    settings = config.model_copy(update={"longest_hours": 2.0, "total_timeout": 1e6})
    with (
        FineTuningApi(
            settings, config.folder, timing=Timing(clock=lambda: next(clock), sleep=lambda _: None)
        ) as api,
        pytest.raises(ModelError, match="is running after 2 hours; run again"),
    ):
        api.tune([("x", "y")], seed=0)
    assert list(config.folder.glob("*.json"))
