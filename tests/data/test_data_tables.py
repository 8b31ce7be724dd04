"""Tables: what is written is read again, whatever it holds; what is wrong is named by its place."""

import gzip
import json
import string
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.data import from_record, iterate, read, write
from custodes.errors import DataError
from custodes.types import Example, Message

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz")

# every code point, lone surrogates among them
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def joined(value):
    """What JSON makes of a text: a high surrogate followed by a low one is one character."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if isinstance(value, dict):
        return {joined(key): joined(item) for key, item in value.items()}
    return [joined(item) for item in value] if isinstance(value, list) else value


@st.composite
def examples(draw):
    text = ANY_TEXT.map(joined)
    turns = st.builds(Message, st.sampled_from(["user", "assistant", "system", "tool"]), text)
    spoken = (
        {"text": draw(text)}
        if draw(st.booleans())
        else {"messages": tuple(draw(st.lists(turns, min_size=1, max_size=3)))}
    )
    return Example(
        id=draw(text.filter(bool)),
        source=draw(text),
        kind="k",
        label=draw(st.sampled_from([0, 1, None])),
        category=draw(st.none() | text),
        review=draw(st.booleans()),
        meta=draw(st.dictionaries(ANY_TEXT, JSON_VALUE, max_size=3).map(joined)),
        transforms=tuple(draw(st.lists(text, max_size=2))),
        seed=draw(st.none() | st.integers(-(2**63), 2**63 - 1)),
        **spoken,
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=60, deadline=None)
@given(rows=st.lists(examples(), max_size=4, unique_by=lambda row: row.id))
def test_what_is_written_is_read_again(tmp_path_factory, suffix, rows):
    path = tmp_path_factory.mktemp("table") / f"rows{suffix}"
    assert write(path, rows) == len(rows)
    assert read(path) == rows


def row(number: int, **fields) -> Example:
    return Example(id=f"r{number}", source="s", kind="k", text=f"text {number}", **fields)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tables_are_streamed_in_order_and_made_alike(tmp_path, suffix):
    first, second = tmp_path / f"a{suffix}", tmp_path / "deeper" / f"b{suffix}"
    rows = [row(number) for number in range(5000)]  # more than one batch
    for path in (first, second):
        assert write(path, iter(rows)) == 5000
    assert first.read_bytes() == second.read_bytes()
    stream = iterate(first)
    assert next(stream) == rows[0]
    assert list(stream) == rows[1:]


def test_a_path_may_be_text(tmp_path):
    place = str(tmp_path / "rows.jsonl")
    assert write(place, [row(1)]) == 1
    assert read(place) == list(iterate(place)) == [row(1)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_write_that_fails_leaves_the_old_table(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    write(path, [row(1)])
    with pytest.raises(DataError, match="'r2' comes twice"):
        write(path, [row(2), row(3), row(2)])
    for meta in ({"x": {1, 2}}, {"x": float("nan")}):
        with pytest.raises(DataError, match="row 'r4': cannot be written as JSON"):
            write(path, [row(4, meta=meta)])
    assert read(path) == [row(1)]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_seed_too_large_for_parquet_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not fit its Parquet column"):
        write(tmp_path / "rows.parquet", [row(1, seed=2**70)])


def test_parquet_with_lone_surrogates_is_open_to_other_readers(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = [row(1), Example(id="r2", source="s", kind="k", text="a\ud800b\0")]
    write(path, rows)
    table = pq.read_table(path)
    assert table["text"].to_pylist() == ["text 1", "a\ufffdb\0"]
    assert [exact is None for exact in table["exact"].to_pylist()] == [True, False]
    assert read(path) == rows


def lines(path: Path, *content: str | bytes) -> Path:
    raw = [line.encode() if isinstance(line, str) else line for line in content]
    path.write_bytes(b"\n".join(raw))
    return path


GOOD = json.dumps({"id": "a", "source": "s", "kind": "k", "text": "t"})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", ":3: not JSON"),
        ('{"id": NaN}', ":3: not JSON: NaN"),
        ("[" * 100_000, ":3: not JSON"),
        (b"\xff", ":3: not UTF-8"),
        ("[1]", ":3: got [1], expected an object"),
        (GOOD.replace('"t"', "5"), ":3: text: got 5"),
        (GOOD.replace("source", "sauce"), ":3: source: missing"),
        (GOOD[:-1] + ', "stars": 1}', ":3: unknown field 'stars'"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, said):
    path = lines(tmp_path / "rows.jsonl", GOOD, "", line)
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"{path}{said}" in str(caught.value)


def test_a_table_of_others_may_be_read(tmp_path):
    path = lines(
        tmp_path / "rows.jsonl", '\ufeff{"id": "a", "source": "s", "text": "t", "stars": 1}'
    )
    (only,) = read(path, unknown="keep", defaults={"kind": "document"})
    assert (only.kind, only.meta) == ("document", {"stars": 1})


def test_an_id_that_comes_twice_is_refused_by_read_alone(tmp_path):
    path = lines(tmp_path / "rows.jsonl", GOOD, GOOD)
    assert len(list(iterate(path))) == 2
    with pytest.raises(DataError, match="'a' comes twice"):
        read(path)


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"expected \.parquet, \.jsonl"):
        read(tmp_path / "rows.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path / "file" / "rows.jsonl", [row(1)])


def test_damaged_files(tmp_path):
    packed = gzip.compress((GOOD + "\n").encode() * 1000)
    for name, content in (("a.jsonl.gz", packed[:-20]), ("b.jsonl.gz", b"plain")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}:.*cannot be read further"):
            list(iterate(tmp_path / name))
    (tmp_path / "c.parquet").write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read(tmp_path / "c.parquet")


def test_parquet_of_another_form(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": list(string.ascii_lowercase), "text": ["t"] * 26}), path)
    with pytest.raises(DataError, match=r"rows\.parquet: row 0: source: missing"):
        read(path)
    record = json.loads(GOOD)
    pq.write_table(pa.Table.from_pylist([{**record, "meta": "{"}]), path)
    with pytest.raises(DataError, match=r"row 0: meta, exact: not JSON"):
        read(path)
    pq.write_table(pa.Table.from_pylist([{**record, "meta": '{"a": 1}'}]), path)
    assert read(path) == [from_record({**record, "meta": {"a": 1}})]


def test_a_column_exact_of_other_makers_is_one_of_their_fields(tmp_path):
    path = tmp_path / "theirs.parquet"
    plain = {"id": ["1", "2"], "source": ["s"] * 2, "kind": ["k"] * 2, "text": ["a", "b"]}
    for theirs in (["1", "0.5"], [True, False], ["{}", None]):
        pq.write_table(pa.table({**plain, "exact": theirs}), path)
        found = read(path, unknown="keep")
        assert [row.text for row in found] == ["a", "b"]
        assert [row.meta.get("exact") for row in found] == theirs


def test_our_column_exact_must_hold_a_row(tmp_path):
    write(tmp_path / "ours.parquet", [Example(id="1", source="s", kind="k", text="\ud800")])
    table = pq.read_table(tmp_path / "ours.parquet")
    place = table.schema.get_field_index("exact")
    pq.write_table(
        table.set_column(place, table.schema.field(place), [["[1]"]]), tmp_path / "bad.parquet"
    )
    with pytest.raises(DataError, match=r"row 0: meta, exact: not JSON: exact is '\[1\]'"):
        read(tmp_path / "bad.parquet")


def test_an_error_of_where_rows_come_from_is_not_one_of_the_file(tmp_path):
    def rows():
        yield Example(id="1", source="s", kind="k", text="t")
        raise ConnectionError("the model server refused")

    for suffix in (".parquet", ".jsonl", ".jsonl.gz"):
        with pytest.raises(ConnectionError, match="model server"):
            write(tmp_path / f"t{suffix}", rows())
    assert list(tmp_path.iterdir()) == []
