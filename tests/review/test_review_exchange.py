"""Files in and out, training rows, and the command line."""

import csv
import json
import re
import zipfile
from pathlib import Path

import pytest
from review_doubles import make_case
from sqlalchemy import text
from typer.testing import CliRunner

from custodes import store
from custodes.cli import app
from custodes.data import read, write
from custodes.errors import ConfigError, CustodesError, DataError, StoreError
from custodes.review.cases import case_to_record
from custodes.review.config import QueueConfig
from custodes.review.exchange import COLUMNS, read_cases, write_labels
from custodes.review.queue import Desk
from custodes.review.routes import read_known
from custodes.review.training import label_rows, training_rows
from custodes.types import Example, Message


def test_csv_rows_become_prompts_replies_and_opinions(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text(
        "id,prompt,reply,ai_answer,ai_confidence,skill\n"
        '1,"How, please?",Like this,benign,0.7,german\n2,Why,,,,\n'
    )
    one, two = read_cases(path)
    assert [m.role for m in one.messages] == ["user", "assistant"]
    assert (one.view.answer, one.view.confidence, one.skill) == ("benign", 0.7, "german")
    assert (two.messages[0].content, two.view) == ("Why", None)


def test_a_cell_may_hold_a_whole_conversation(tmp_path):
    before = csv.field_size_limit()
    long = "sugar " * 40_000
    (tmp_path / "cases.csv").write_text(f'id,text\n1,"{long}"\n')
    (found,) = read_cases(tmp_path / "cases.csv")
    assert found.messages[0].content == long
    assert csv.field_size_limit() == before  # it is everybody's


SAMPLE = {
    "id": 3,
    "epoch": 2,
    "input": "hi",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image"}]},
        {"role": "assistant", "content": "Hello"},
    ],
    "scores": {"judge": {"value": "C", "explanation": "Polite.", "metadata": {"confidence": 0.9}}},
}


@pytest.mark.parametrize("form", ["json", "eval"])
def test_inspect_logs_are_read_without_inspect(tmp_path, form):
    path = tmp_path / f"log.{form}"
    if form == "json":
        path.write_text(json.dumps({"samples": [SAMPLE, {"id": "4", "input": "yo"}]}))
    else:
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("header.json", "{}")
            packed.writestr("samples/3_epoch_2.json", json.dumps(SAMPLE))
            packed.writestr("samples/4_epoch_1.json", json.dumps({"id": "4", "input": "yo"}))
    one, two = read_cases(path)
    assert one.ref == "3 epoch 2"
    assert [m.content for m in one.messages] == ["Hi", "Hello"]
    assert (one.view.source, one.view.answer, one.view.reasoning) == ("judge", "C", "Polite.")
    assert two.messages == (Message("user", "yo"),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cases.txt", "x", "expected .jsonl"),
        ("cases.jsonl", "", "holds no case"),
        ("cases.jsonl", '{"id": 1, "text": "x"}\n{"id": 1, "text": "y"}\n', "comes twice"),
        ("cases.jsonl", '{"id": 1}\n', "cases.jsonl:1"),
        ("log.eval", "no zip", "no Inspect log"),
        ("log.json", "{}", "no Inspect log"),
        ("cases.csv", "id,text\n1,x\n2,\n", "cases.csv:3"),
        ("cases.csv", 'id,text\n1,"x\ny"\n2,hello,extra\n', "cases.csv:4: got more cells"),
        ("cases.jsonl", '{"id": 1, "text": "x", "opinion": []}\n', "unknown field 'opinion'"),
        ("cases.jsonl", '{"id": 1, "text": "x", "messages": []}\n', "both text and messages"),
        ("log.json", '{"samples": ["x"]}', "sample 0: is no sample"),
        ("log.json", '{"samples": [{"messages": [{"content": "x"}]}]}', "sample 0: is no sample"),
    ],
)
def test_a_bad_file_says_where_and_what(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_cases(tmp_path / name)


def test_rows_of_a_table_are_cases_too(tmp_path):
    row = {"id": "a", "source": "custodes attack", "kind": "moderation", "licence": "own",
           "text": None, "messages": [{"role": "user", "content": "Cake?"}], "label": None,
           "category": "cake", "meta": {"attack": "direct"}}  # fmt: skip
    (tmp_path / "for_people.jsonl").write_text(json.dumps(row) + "\n")
    (case,) = read_cases(tmp_path / "for_people.jsonl")
    assert (case.ref, case.meta["attack"]) == ("a", "direct")


def judged(desk):
    """Six cases by two raters: four agreed, one ruled on, one unsure."""
    for n in range(6):
        for rater in ("ann", "bob"):
            claim = desk.next("cakes", rater)
            answer = {0: "harmful", 5: "unsure"}.get(n, "benign")
            if n == 1 and rater == "bob":
                answer = "harmful"
            desk.submit("cakes", rater, claim.stored.id, answer, note="=1+1" if n == 0 else "")
    claim, _ = desk.next_conflict("cakes", "chief")
    desk.rule("cakes", "chief", claim.stored.id, "harmful")


def test_labels_go_out_whole_and_safe(filled, tmp_path):
    desk = filled(6, raters=2)
    judged(desk)
    path = tmp_path / "labels.csv"
    assert write_labels(path, label_rows(desk, "cakes")) == 13
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["note"] == "'=1+1"  # no formula for a spreadsheet
    assert [row["part"] for row in rows].count("ruling") == 1
    write_labels(tmp_path / "labels.jsonl", label_rows(desk, "cakes"))
    lines = (tmp_path / "labels.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["note"] == "=1+1"
    with pytest.raises(DataError, match="expected"):
        write_labels(tmp_path / "labels.txt", [])


def test_settled_cases_become_training_rows(filled, tmp_path):
    exchange = (Message("user", "Cake?"), Message("assistant", "Here."))
    cases = [make_case(n) for n in range(5)] + [make_case(5, messages=exchange)]
    desk = filled(0, cases=cases, raters=2, choices=QueueConfig().choices)
    judged(desk)
    rows = training_rows(desk, "cakes")
    assert sorted(row.label for row in rows) == [0, 0, 0, 1, 1]  # the unsure one teaches nothing
    assert {row.source for row in rows} == {"review/cakes"}
    assert {row.meta["ref"] for row in rows} == {case.ref for case in cases[:5]}
    assert all(row.messages is None for row in rows)
    path = tmp_path / "rows.parquet"
    write(path, rows)
    assert read(path) == rows


def test_cases_of_one_conversation_are_split_together(filled):
    talk = (Message("system", "Bake."), Message("user", "Cake?"), Message("assistant", "Here."))
    other = (Message("system", "Bake."), Message("user", "Pie?"))
    cases = [
        make_case(1, messages=talk[:2]),
        make_case(2, messages=talk),
        make_case(3, messages=other),
    ]
    desk = filled(0, cases=cases)
    while (claim := desk.next("cakes", "ann")) is not None:
        desk.submit("cakes", "ann", claim.stored.id, "benign")
    groups = {row.meta["case"]: row.group for row in training_rows(desk, "cakes")}
    one, two, three = (groups[number] for number in sorted(groups))
    assert one == two != three


@pytest.fixture
def run(tmp_path):
    """Run a command on a database of its own."""
    url = f"sqlite:///{tmp_path / 'cli.db'}"

    def run_(*words, database=True):
        extra = ["--database", url] if database else []
        result = CliRunner().invoke(app, ["review", *words, *extra])
        if isinstance(result.exception, CustodesError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    run_.url = url
    return run_


def put(path, cases, **extra):
    path.write_text("".join(json.dumps({**case_to_record(c), **extra}) + "\n" for c in cases))
    return str(path)


def desk_of(run):
    return Desk(store.connect(run.url), now=lambda: 1_700_000_000.0)


def test_a_queue_is_made_filled_listed_and_exported(run, tmp_path):
    assert '"raters": 2' in run("queue", "cakes", "--set", "raters=2")
    file = put(tmp_path / "cases.jsonl", [make_case(n) for n in range(6)])
    assert "6 new of 6" in run("add", "cakes", file)
    assert "0 new of 6" in run("add", "cakes", file)
    assert "0 done, 6 open" in run("list")
    assert json.loads(run("list", "--json"))["cakes"]["open"] == 6
    assert "adjudicate, german" in run("skills", "ann", "german", "adjudicate")
    judged(desk_of(run))
    assert "13 rows" in run("export", "cakes", str(tmp_path / "out.jsonl"))
    assert "5 rows" in run("export", "cakes", str(tmp_path / "out.parquet"))
    page = run("agreement", "cakes", "--out", str(tmp_path / "agreement"))
    assert "Krippendorff" in Path(page.strip()).read_text()
    with pytest.raises(DataError, match="expected one that"):
        run("export", "pies", str(tmp_path / "x.csv"))


def test_who_only_reads_leaves_an_older_database_as_it_is(run, tmp_path):
    run("queue", "cakes")
    engine = store.connect(run.url)
    with store.writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    for words in (["list"], ["export", "cakes", str(tmp_path / "x.csv")],
                  ["agreement", "cakes", "--out", str(tmp_path / "x")]):  # fmt: skip
        with pytest.raises(StoreError, match="custodes review queue"):
            run(*words)
    run("queue", "cakes")
    assert "cakes" in run("list")
    engine.dispose()


def test_skills_of_a_rater_whom_no_key_names_are_warned_of(run, caplog):
    run("queue", "cakes")
    engine = store.connect(run.url)
    with store.writing(engine) as connection:
        key, _ = store.create_key(connection, "Ann", role=store.KeyRole.REVIEWER, now=0)
    engine.dispose()
    assert "adjudicate" in run("skills", key.id, "adjudicate")
    assert caplog.text == ""
    run("skills", "Ann", "adjudicate")  # the name, where the id is asked for
    assert "no key of this database has the id 'Ann'" in caplog.text
    assert "custodes keys list" in caplog.text


def test_settings_that_are_not_named_stay(run, tmp_path):
    run("queue", "cakes", "--set", "raters=2", "--set", "question='Is it cake?'")
    run("queue", "cakes", "--set", "confidence=true")
    file = tmp_path / "queue.yaml"
    file.write_text("checks: 0.25\nraters: 4\n")
    said = json.loads(run("queue", "cakes", "--config", str(file), "--set", "raters=3"))
    assert (said["raters"], said["question"], said["confidence"]) == (3, "Is it cake?", True)
    assert desk_of(run).config("cakes").checks == 0.25


def test_an_agreement_of_another_seed_resamples_otherwise(run, tmp_path):
    run("queue", "cakes", "--set", "raters=2")
    run("add", "cakes", put(tmp_path / "cases.jsonl", [make_case(n) for n in range(12)]))
    desk = desk_of(run)
    for rater, every in (("ann", 2), ("bob", 3)):
        while (claim := desk.next("cakes", rater)) is not None:
            answer = "harmful" if claim.stored.id % every else "benign"
            desk.submit("cakes", rater, claim.stored.id, answer)

    def figures(seed, name):
        run("agreement", "cakes", "--out", str(tmp_path / name), "--seed", seed)
        return json.loads((tmp_path / name / "report.json").read_text())["sections"][0]

    assert figures("1", "a") == figures("1", "b") != figures("2", "c")


def known_cases(path, count=240):
    with path.open("w") as file:
        for n in range(count):
            sure = 0.5 + (n % 50) / 100
            right = (n * 7919 % 100) / 100 < sure
            truth = "harmful" if n % 2 else "benign"
            other = "benign" if n % 2 else "harmful"
            view = {"answer": truth if right else other, "confidence": sure}
            people = [truth if n % 4 else other]
            row = {"id": str(n), "truth": truth, "people": people, "opinions": [view]}
            file.write(json.dumps(row) + "\n")
    return str(path)


def test_new_cases_are_routed_by_what_known_ones_teach(run, tmp_path):
    run("queue", "cakes")
    known = known_cases(tmp_path / "known.jsonl")
    new = put(tmp_path / "new.jsonl", [make_case(n, confidence=0.5 + n / 100) for n in range(49)])
    said = run("route", known, "--out", str(tmp_path / "route"), "--cases", new, "--queue",
               "cakes", "--audit", "0.5")  # fmt: skip
    assert "T = " in said
    accepted = (tmp_path / "route/artifacts/accepted.jsonl").read_text().splitlines()
    progress = desk_of(run).progress("cakes")
    audited = len(accepted) + progress.open - 49
    assert 0 < len(accepted) < 49
    assert 0 < audited < len(accepted)
    assert "complementarity" in (tmp_path / "route/report.html").read_text().lower()
    with pytest.raises(CustodesError, match="belong together"):
        run("route", known, "--out", str(tmp_path / "x"), "--queue", "cakes")
    with pytest.raises(DataError, match="at least 20"):
        run("route", known_cases(tmp_path / "few.jsonl", 8), "--out", str(tmp_path / "x"))


def test_known_answers_are_lists_and_a_group_may_be_called_0(tmp_path):
    path = tmp_path / "known.jsonl"
    row = {"id": "7", "truth": "harmful", "people": ["harmful", "benign"], "group": 0,
           "opinions": [{"answer": "harmful", "confidence": 0.9}]}  # fmt: skip
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "group": None}))
    assert read_known(path).groups == ["0", "0", "7", "7"]
    path.write_text(json.dumps({**row, "people": "harmful"}))
    with pytest.raises(DataError, match=r"known\.jsonl:1.*got 'harmful'.*a list of their answers"):
        read_known(path)


def test_a_bound_on_risk_is_chosen_on_other_cases_than_the_calibration(run, tmp_path):
    known = known_cases(tmp_path / "known.jsonl", 300)
    said = run("route", known, "--out", str(tmp_path / "route"), "--aim", "risk", "--risk", "0.4")
    assert "T = " in said
    summary = json.loads((tmp_path / "route/report.json").read_text())["summary"]
    assert "from one third of the groups, T from another" in summary


PROTOCOL = """
name: pilot
items: items.jsonl
arms: [none, judgment]
raters_an_item: 2
checks: 0.2
contrasts:
  - {arm: judgment, where: ai_wrong, expects: lower}
"""


def test_a_study_goes_from_its_protocol_to_its_report(run, tmp_path):
    (tmp_path / "pilot.yaml").write_text(PROTOCOL)
    items = []
    for n in range(24):
        truth = "benign" if n % 2 else "harmful"
        answer = "harmful" if n % 3 else "benign"
        items.append(make_case(n, answer=answer, meta={"truth": truth}))
    put(tmp_path / "items.jsonl", [*items, *(make_case(90 + n, gold="benign") for n in range(4))])
    protocol = str(tmp_path / "pilot.yaml")
    said = run("study", "start", protocol)
    assert "28 items" in said
    noted = re.search("protocol ([0-9a-f]{64})", said)[1]
    desk = desk_of(run)
    for rater in ("ann", "bob"):
        while (claim := desk.next("pilot", rater)) is not None:
            follows = str(claim.arm) == "judgment"
            answer = claim.case.view.answer if follows else "harmful"
            desk.submit("pilot", rater, claim.stored.id, answer, confidence=0.8)
    run("study", "analyze", protocol, "--out", str(tmp_path / "study"))
    report = json.loads((tmp_path / "study/report.json").read_text())
    assert "48 trials of 2 raters on 24 items" in report["summary"]
    assert report["facts"]["simulated"] is False
    assert report["facts"]["protocol"] == noted
    assert "truth" not in json.dumps([c.title for c in desk.listed("pilot", limit=9, room=9).cases])
    with pytest.raises(DataError, match="other settings"):
        (tmp_path / "pilot.yaml").write_text(PROTOCOL.replace("checks: 0.2", "checks: 0.3"))
        run("study", "start", protocol)
    (tmp_path / "pilot.yaml").write_text(PROTOCOL)
    known = (tmp_path / "items.jsonl").read_text()
    (tmp_path / "items.jsonl").write_text(known.replace('"truth": "benign"', '"truth": "harmful"'))
    with pytest.raises(DataError, match="the file of items that the study was started with"):
        run("study", "analyze", protocol, "--out", str(tmp_path / "again"))
    with pytest.raises(DataError, match="or items"):
        run("study", "start", protocol)
    (tmp_path / "items.jsonl").write_text(known)
    assert noted in run("study", "start", protocol)


def test_a_study_that_cannot_start_leaves_no_queue(run, tmp_path):
    protocol = tmp_path / "pilot.yaml"
    protocol.write_text(PROTOCOL.replace("checks: 0.2", "checks: 0"))
    items = [make_case(n, meta={"truth": "benign"}) for n in range(4)]
    put(tmp_path / "items.jsonl", [*items, make_case(90, gold="benign")])
    with pytest.raises(DataError, match="in its protocol"):
        run("study", "start", str(protocol))
    put(tmp_path / "items.jsonl", [*items, make_case(90, gold="tasty")])
    with pytest.raises(DataError, match="none of the queue's"):
        run("study", "start", str(protocol))
    assert desk_of(run).queues() == []
    put(tmp_path / "items.jsonl", [*items, make_case(90, gold="benign")])
    protocol.write_text(PROTOCOL)
    assert "5 items" in run("study", "start", str(protocol))


def test_simulated_trials_are_called_so(run, tmp_path):
    out = tmp_path / "trials.jsonl"
    said = run("study", "simulate", "--out", str(out), "--set", "items=24", database=False)
    assert "SIMULATED" in said
    (tmp_path / "pilot.yaml").write_text(PROTOCOL)
    said = run("study", "power", str(tmp_path / "pilot.yaml"), "--studies", "10", "--set",
               "items=24", database=False)  # fmt: skip
    assert "SIMULATED" in said
    assert "judgment against none" in said
    assert "20 raters and 24 items, 2 raters an item" in said
    run("study", "analyze", str(tmp_path / "pilot.yaml"), "--trials", str(out), "--out",
        str(tmp_path / "study"))  # fmt: skip
    assert "SIMULATED RATERS" in (tmp_path / "study/report.html").read_text()


def test_power_is_of_a_study_of_the_protocol_s_size(run, tmp_path):
    (tmp_path / "pilot.yaml").write_text(PROTOCOL)
    items = [make_case(n, answer="benign", meta={"truth": "benign"}) for n in range(12)]
    put(tmp_path / "items.jsonl", [*items, make_case(90, gold="benign")])
    power = ("study", "power", str(tmp_path / "pilot.yaml"), "--studies", "10")
    assert "20 raters and 12 items" in run(*power, database=False)
    said = run(*power, "--set", "items=16", "--set", "raters=2", database=False)
    assert "2 raters and 16 items" in said
    (tmp_path / "items.jsonl").unlink()
    with pytest.raises(DataError, match=r"items\.jsonl"):
        run(*power, database=False)


def test_labels_retrain_a_guard_and_the_report_says_what_changed(run, tmp_path):
    rows = [
        Example(id=str(n), source="t", kind="x", label=int(n % 2 == 0),
                text=f"Steal the cake number {n}" if n % 2 == 0 else f"Bake a cake number {n}")
        for n in range(60)
    ]  # fmt: skip
    write(tmp_path / "rows.parquet", rows)
    (tmp_path / "guard.yaml").write_text(
        "stages: [{name: hashed, features: hashed, learning_rate: 0.05, "
        "windows: {input: 4, output: 4, exchange: 4}}]\n"
    )
    trained = CliRunner().invoke(app, ["train", "--examples", str(tmp_path / "rows.parquet"),
        "--out", str(tmp_path / "run"), "--config", str(tmp_path / "guard.yaml")])  # fmt: skip
    assert trained.exit_code == 0, trained.output
    run("queue", "cakes")
    texts = [f"Borrow the bicycle number {n} without asking" if n % 2 else
             f"Paint the bicycle number {n}" for n in range(40)]  # fmt: skip
    cases = [make_case(n, messages=(Message("user", text),)) for n, text in enumerate(texts)]
    put(tmp_path / "cases.jsonl", cases)
    assert "40 new" in run("add", "cakes", str(tmp_path / "cases.jsonl"), "--guard",
                           str(tmp_path / "run/guard"))  # fmt: skip
    desk = desk_of(run)
    while (claim := desk.next("cakes", "ann")) is not None:
        bad = "without asking" in claim.case.messages[0].content
        desk.submit("cakes", "ann", claim.stored.id, "harmful" if bad else "benign")
    said = run("retrain", "cakes", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "new"))
    assert "report" in said
    report = json.loads((tmp_path / "new/report.json").read_text())
    kept_out = report["sections"][0]["blocks"][1]["rows"][0]
    assert kept_out[0] == "reviewed cases kept out"
    # The labels taught it what taking a bicycle is; where it stops, 26 rows do not move for sure.
    assert kept_out[6] > kept_out[5]
    (tmp_path / "same").symlink_to(tmp_path / "run")
    with pytest.raises(ConfigError, match="which is the run itself"):
        run("retrain", "cakes", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "same"))
    with pytest.raises(DataError, match="--budget"):
        run("retrain", "cakes", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "new2"),
            "--budget", "0.1")  # fmt: skip
