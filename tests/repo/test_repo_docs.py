"""The documentation keeps up: links lead somewhere, commands exist, code can be read."""

import ast
import importlib
import importlib.util
import re
import runpy
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
COMMAND = re.compile(r"(?:^|[`|\s/])custodes ([a-z][a-z-]*(?: [^\n`|#<>]*)?)", re.M)


def page_name(page):
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def generator():
    path = ROOT / "docs" / "generate_cli.py"
    spec = importlib.util.spec_from_file_location("generate_cli", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def known(generator):
    """Command, as it is typed -> its flags."""
    return {
        path.removeprefix("custodes").strip(): {
            flag for option in context.command.params for flag in option.opts
        }
        for path, context in generator.commands()
    }


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_relative_link_leads_somewhere(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for target in LINK.findall(text):
        place, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / place).resolve() if place else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def anchors(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


WRITTEN = [page for page in PAGES if page.name != "cli.md"]  # which is generated, and compared


@pytest.mark.parametrize("page", WRITTEN, ids=page_name)
def test_every_command_and_flag_exists(page, known):
    """`custodes VERB ...` in code, with the flags that follow on its line."""
    text = page.read_text(encoding="utf-8")
    blocks = [body.replace("\\\n", " ") for _, body in BLOCK.findall(text)]
    spans = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    for code in (*blocks, *spans):
        for words in COMMAND.findall(code):
            assert unknown(words, known) == [], f"custodes {words}"


def unknown(words, known):
    """The verb, or the flags, that there are not."""
    given = shlex.split(words.split(" | ")[0].replace("'", ""))
    if not known.keys() & {given[0]}:
        return [given[0]]
    path = given[0]
    for word in given[1:]:
        if f"{path} {word}" not in known:
            break
        path = f"{path} {word}"
    flags = {word.partition("=")[0] for word in given if word.startswith("--")}
    return sorted(flags - known[path] - {"--help"})


def test_an_unknown_command_or_flag_would_be_found(known):
    assert unknown("train --out run", known) == []
    assert unknown("tame --out run", known) == ["tame"]
    assert unknown("train --hout run", known) == ["--hout"]
    assert unknown("constitution check rules.yaml --hout", known) == ["--hout"]
    assert COMMAND.findall("$ .venv/bin/custodes train --out a | x") == ["train --out a "]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_python_in_the_pages_imports_what_exists(page):
    for language, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("custodes"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


def test_the_index_names_every_chapter():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    chapters = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in chapters if f"({name})" not in index} == set()


def test_the_reference_of_commands_is_up_to_date(generator):
    page = generator.PAGE.read_text(encoding="utf-8")
    if f"typer {version('typer')}." not in page:
        pytest.skip("written with another version of typer, which words help differently")
    assert page == generator.reference(), f"run {Path(sys.executable).name} docs/generate_cli.py"


def test_the_reference_does_not_depend_on_the_terminal(generator, monkeypatch):
    wide = generator.reference()
    monkeypatch.setenv("COLUMNS", "40")
    assert generator.reference() == wide


def test_the_table_of_the_gateways_settings_is_up_to_date():
    page = runpy.run_path(str(ROOT / "docs" / "generate_gateway.py"))["page"]
    written = (ROOT / "docs" / "gateway_settings.md").read_text(encoding="utf-8")
    assert written == page(), "run: python docs/generate_gateway.py"


def test_the_chapter_names_every_metric_and_every_path():
    from custodes.server.app import build_app, build_parts
    from custodes.server.config import GatewayConfig

    chapter = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    config = GatewayConfig(guard=None, no_auth=True)
    parts = build_parts(config)
    exposed = set(
        re.findall(r"^# TYPE (custodes_\w+?)(?:_created)? ", parts.metrics.page().decode(), re.M)
    )
    assert {name for name in exposed if name not in chapter} == set()
    paths = set(build_app(config, parts).openapi()["paths"])
    assert {path for path in paths if path not in chapter} == set()
