"""The examples are read as whoever uses them reads them."""

import http.client
import importlib.util
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from server_doubles import MARKER, gateway, make_guard

from custodes.classifiers.scripted import Pattern
from custodes.cli.serve import _resolve
from custodes.server.config import GatewayConfig
from custodes.server.scripted import Script

EXAMPLES = Path(__file__).parents[2] / "examples"
GATEWAYS = [*sorted(EXAMPLES.rglob("gateway.yaml")), EXAMPLES / "tour.yaml"]
PATHS = {"/healthz", "/readyz", "/metrics"}


def manifest():
    return list(yaml.safe_load_all((EXAMPLES / "kubernetes/custodes.yaml").read_text()))


def compose():
    return yaml.safe_load((EXAMPLES / "docker/compose.yaml").read_text())


def settings_of(text):
    return GatewayConfig.parse(yaml.safe_load(text))


@pytest.mark.parametrize("path", GATEWAYS, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_settings_are_settings(path):
    assert _resolve(path, {}, []).guard == "default"


def test_the_complete_example_is_complete():
    values = yaml.safe_load((EXAMPLES / "gateway.yaml").read_text())
    assert list(values) == [*dict.fromkeys(values)]
    assert set(values) == set(GatewayConfig.model_fields)
    upstreams = [set(each) for each in values["upstreams"].values()]
    for kind, given in zip(("HttpUpstreamConfig", "LocalUpstreamConfig"), upstreams, strict=True):
        from custodes.server import config

        assert given == set(getattr(config, kind).model_fields)
    config = GatewayConfig.parse(values)
    defaults = GatewayConfig()
    told = {"workers", "release", "upstreams", "keys"}  # where the file says so
    for name in set(values) - told:
        assert getattr(config, name) == getattr(defaults, name), name


def test_every_folder_says_what_was_not_run():
    folders = [path for path in EXAMPLES.iterdir() if path.is_dir() and path.name[0] != "_"]
    assert len(folders) == 5
    for folder in folders:
        text = (folder / "README.md").read_text()
        assert "**Run here:**" in text
        assert "**Not run here:**" in text


def test_compose_names_what_the_gateway_needs():
    config = settings_of((EXAMPLES / "docker/gateway.yaml").read_text())
    services = compose()["services"]
    service = services["gateway"]
    needs = {"CUSTODES_DATABASE", config.redis_url_env}
    needs |= {upstream.api_key_env for upstream in config.upstreams.values()}
    assert needs == set(service["environment"])
    assert set(service["depends_on"]) <= set(services)
    assert float(service["stop_grace_period"].removesuffix("s")) > config.drain_seconds
    root = (EXAMPLES / "docker" / service["build"]["context"]).resolve()
    dockerfile = (root / service["build"]["dockerfile"]).read_text()
    for line in re.findall(r"^COPY (?!--)(.+)$", dockerfile, re.M):
        *sources, _ = line.split()
        assert all((root / source).exists() for source in sources), line
    assert f"EXPOSE {config.port}" in dockerfile


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker")
def test_compose_is_read_by_docker():
    done = subprocess.run(
        ["docker", "compose", "-f", str(EXAMPLES / "docker/compose.yaml"), "config", "-q"],
        capture_output=True,
        text=True,
        env={**os.environ, "POSTGRES_PASSWORD": "x", "MODEL_API_KEY": "y"},
        check=False,
    )
    if "is not a docker command" in done.stderr or "unknown" in done.stderr:
        pytest.skip("docker has no compose")
    assert done.returncode == 0, done.stderr


def test_the_manifest_fits_the_gateway():
    documents = {each["kind"]: each for each in manifest()}
    config = settings_of(documents["ConfigMap"]["data"]["gateway.yaml"])
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    needs = {"CUSTODES_DATABASE", config.redis_url_env}
    needs |= {upstream.api_key_env for upstream in config.upstreams.values()}
    needs.add("CUSTODES_CONSOLE_SECRET")  # of several gateways
    assert needs == {each["name"] for each in container["env"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in PATHS
    assert container["ports"][0]["containerPort"] == config.port
    pause = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pause + config.drain_seconds
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for kind in ("Service", "PodDisruptionBudget"):
        selector = documents[kind]["spec"]["selector"]
        assert selector.get("matchLabels", selector) == labels


def test_litellms_configuration_asks_what_the_gateway_answers(upstream):
    config = yaml.safe_load((EXAMPLES / "litellm/config.yaml").read_text())
    (guardrail,) = config["guardrails"]
    named = {each["model_name"] for each in config["model_list"]}
    assert guardrail["litellm_params"]["decision_model"] in named
    # its questions, to the shipped constitution's rules
    rules = ("phishing", "malware")
    pattern = Pattern(regex=MARKER, logit=4, rule="phishing")
    with gateway(upstream, lambda: make_guard(rules=rules, patterns=(pattern,))) as running:
        questions = [
            {"type": "predicate", "name": each["name"], "instructions": each["instructions"]}
            for each in guardrail["litellm_params"]["checks"]
        ]
        body = {"model": "custodes", "input": MARKER, "questions": questions}
        answers = running.post("/v1/decisions", body).json()["answers"]
    assert [answer["type"] for answer in answers] == ["predicate"] * len(questions)
    assert all(answer["probability"] > 0.5 for answer in answers)


def tour():
    spec = importlib.util.spec_from_file_location("tour", EXAMPLES / "tour.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def touring():
    """Stops what the shipped guard stops of the tour, without its cost."""
    harm = (Pattern(regex="break into", logit=4), Pattern(regex="Decode this", logit=4))
    return make_guard(patterns=harm, rules=("theft",), window=24)


def test_the_tour_is_walked(upstream, capsys, monkeypatch):
    values = yaml.safe_load((EXAMPLES / "tour.yaml").read_text())["upstreams"]
    here = {**values, "embedded": {"model": "scripted", "models": ["smollm2"]}}
    module = tour()
    with gateway(upstream, touring, upstreams=here) as running:
        monkeypatch.setattr("sys.argv", ["tour.py", running.url])
        module.main()
    out = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert out.count("released") == 2
    assert out.count("stopped, no model asked") == 2
    assert "cut after" in out
    assert "/console" in out


@pytest.mark.slow
def test_the_tour_with_the_shipped_guard(upstream):
    from custodes.guard import load_guard

    values = yaml.safe_load((EXAMPLES / "tour.yaml").read_text())["upstreams"]
    module = tour()
    outcomes = {}
    guard = load_guard("default")
    with gateway(upstream, lambda: guard, upstreams=values, judge_seconds=60) as running:
        for kind, model, prompt in module.STOPS:
            running.http.base_url = running.url
            outcomes[kind] = module.ask(running.http, model, prompt)
    assert outcomes["benign"].finish in ("stop", "length")
    for kind in ("harmful", "encoded (base64)"):
        assert (outcomes[kind].finish, outcomes[kind].text) == ("content_filter", "")
    cut = outcomes["cut in the stream"]
    assert cut.finish == "content_filter"
    assert "It is a quiet street" in cut.text
    assert "get rid of the evidence" not in cut.text


# nginx


def certificate(folder):
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "privkey.pem").write_bytes(private)


@pytest.fixture
def nginx(tmp_path, upstream):
    """The example before a gateway that holds nothing back; a port and a certificate of its own."""
    command = os.environ.get("CUSTODES_NGINX") or shutil.which("nginx")
    if command is None:
        pytest.skip("no nginx (CUSTODES_NGINX may name one)")
    certificate(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = (EXAMPLES / "nginx/custodes.conf").read_text()
    text = text.replace("/etc/nginx/tls", str(tmp_path)).replace("8443", f"127.0.0.1:{port}")
    with gateway(upstream, None) as running:
        text = text.replace("127.0.0.1:8080", running.url.removeprefix("http://"))
        with serving(command, tmp_path, text, port):
            yield port


@contextmanager
def serving(command, tmp_path, text, port):
    temporary = "".join(
        f"{name}_temp_path {tmp_path}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}{text}}}\n"
    )
    given = [command, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), "-e", "stderr"]
    tried = subprocess.run([*given, "-t"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    child = subprocess.Popen(given, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)
    try:
        yield
    finally:
        child.terminate()
        child.wait(10)


def stream_through(port, script):
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    messages = [{"role": "user", "content": script.prompt()}]
    body = json.dumps({"model": "m", "stream": True, "messages": messages})
    headers = {"content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    return connection, connection.getresponse()


def test_nginx_lets_a_stream_through_as_it_comes(nginx, upstream):
    connection, response = stream_through(nginx, Script(pieces=("word ",) * 4, delay=0.4))
    times = []
    while line := response.readline():
        if b'"word ' in line:
            times.append(time.monotonic())
    connection.close()
    assert len(times) == 4
    assert times[-1] - times[0] > 0.8  # they were not gathered
    left = upstream.abandoned
    connection, response = stream_through(nginx, Script(pieces=("word ",) * 500, delay=0.02))
    response.readline()
    response.close()
    connection.close()
    until = time.monotonic() + 10
    while upstream.abandoned == left:
        assert time.monotonic() < until
        time.sleep(0.02)
