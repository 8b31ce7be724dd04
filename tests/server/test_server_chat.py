"""Chat completions through a real gateway: let through, cut, never leaked."""

from server_doubles import finishes, said

from custodes.server.scripted import Script


def test_a_benign_stream_goes_through_untouched(running):
    chunks = running.chat(Script(pieces=("Hello", " there", ", you.")))
    assert said(chunks) == "Hello there, you."
    assert finishes(chunks) == ["stop"]
    assert all(chunk["unknown_number"] == 7 for chunk in chunks)
    assert all(chunk["choices"][0]["unknown_flag"] for chunk in chunks)


def test_a_harmful_stream_is_cut_where_the_harm_begins(running):
    chunks = running.chat(Script(pieces=("Here is the ", "forbid", "den cake", " recipe", " now")))
    assert said(chunks) == "Here is the "
    assert finishes(chunks) == ["content_filter"]
