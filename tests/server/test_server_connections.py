"""The gateway's own HTTP client, against servers that do what servers do."""

import asyncio
import datetime
import ipaddress
import ssl
from contextlib import asynccontextmanager

import pytest
import uvloop
from raw_upstream import raw_upstream
from server_doubles import gateway

from custodes.errors import ConfigError, ModelServerError, ModelTimeoutError
from custodes.server.upstreams.connections import Connections
from custodes.server.upstreams.http import HttpUpstream

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"content-length: 2\r\n\r\nhi"
LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)


def run(main):
    """On the loop that the gateway runs on, and on Python's own."""
    for factory in LOOPS:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())


@asynccontextmanager
async def serving(*answers, tls=None, stay=True):
    """A server that gives these answers, one a request; `counted`: connections it has had."""
    left = list(answers)
    counted = []

    async def client(reader, writer):
        counted.append(writer)
        try:
            while left:
                await reader.readuntil(b"\r\n\r\n")
                for part in left.pop(0):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.01)
                if not stay:
                    break
            if stay:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", counted
    finally:
        for writer in counted:
            writer.close()
        server.close()


def connections(url, *, most=4, context=None):
    context = context or ssl.create_default_context()
    return Connections(url, name="main", most=most, context=context)


async def ask(pool, *, patience=2.0, seconds=2.0):
    async with pool.ask("GET", "/x", headers={}, body=b"", seconds=seconds) as reply:
        await reply.head(patience)
        data = b""
        while part := await reply.read(patience):
            data += part
        return reply.status, data


def test_a_connection_is_used_again():
    async def main():
        chunked = OK + b"transfer-encoding: chunked\r\n\r\n"
        parts = [chunked, b"2\r\nhe", b"\r\n3\r\nllo\r", b"\n0\r\n\r\n"]
        async with serving([WHOLE], parts, [WHOLE]) as (url, counted):
            pool = connections(url)
            assert [await ask(pool) for _ in range(3)] == [
                (200, b"hi"),
                (200, b"hello"),
                (200, b"hi"),
            ]
            assert len(counted) == 1
            await pool.close()

    run(main)


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n"),
        WHOLE + WHOLE.replace(b"hi", b"ho"),
        WHOLE.replace(b"1.1", b"1.0"),
    ],
    ids=["close", "two replies", "1.0"],
)
def test_a_connection_that_is_not_clean_is_not_used_again(answer):
    async def main():
        async with serving([answer], [WHOLE]) as (url, counted):
            pool = connections(url)
            assert [await ask(pool) for _ in range(2)] == [(200, b"hi"), (200, b"hi")]
            assert len(counted) == 2
            await pool.close()

    run(main)


def test_a_connection_that_the_server_closed_meanwhile_is_not_used():
    async def main():
        async with serving([WHOLE], [WHOLE], stay=False) as (url, counted):
            pool = connections(url)
            assert await ask(pool) == (200, b"hi")
            await asyncio.sleep(1.0)
            assert await ask(pool) == (200, b"hi")
            assert len(counted) == 2

    run(main)


def test_an_interim_reply_is_passed_over():
    async def main():
        async with serving([b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE]) as (url, _):
            assert await ask(connections(url)) == (200, b"hi")

    run(main)


def test_a_body_that_ends_with_the_connection():
    async def main():
        async with serving([OK + b"\r\n", b"he", b"llo"], stay=False) as (url, _):
            assert await ask(connections(url)) == (200, b"hello")

    run(main)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([WHOLE[:-1]], "connection broke"),
        ([OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"], "connection broke"),
        ([], "connection broke"),
        ([b"I am no web server\r\n"], "not HTTP"),
        ([OK + b"x: " + b"y" * 70_000, b"y" * 70_000], "a head of more than"),
        ([WHOLE.replace(b"OK\r\n", b"OK\r\ncontent-encoding: br\r\n")], "expected identity"),
    ],
    ids=["short", "no last chunk", "silent", "nonsense", "endless head", "encoded"],
)
def test_a_reply_that_is_none_is_an_error(answer, message):
    async def main():
        async with serving(answer, stay=False) as (url, _):
            with pytest.raises(ModelServerError, match=message):
                await ask(connections(url))

    run(main)


@pytest.mark.parametrize("answer", [[], [OK], [OK + b"content-length: 9\r\n\r\nhi"]])
def test_silence_is_given_up_in_time(answer):
    async def main():
        async with serving(answer) as (url, _):
            began = asyncio.get_running_loop().time()
            with pytest.raises(ModelTimeoutError, match="in time"):
                await ask(connections(url), patience=0.2)
            assert asyncio.get_running_loop().time() - began < 5

    run(main)


def test_patience_counts_from_the_last_byte():
    async def main():
        parts = [OK + b"content-length: 40\r\n\r\n", *[b"x"] * 40]
        async with serving(parts) as (url, _):
            assert await ask(connections(url), patience=0.3) == (200, b"x" * 40)

    run(main)


def test_no_more_connections_than_allowed():
    async def main():
        async with serving([OK], [WHOLE]) as (url, _):
            pool = connections(url, most=1)
            async with pool.ask("GET", "/", headers={}, body=b"", seconds=1):
                with pytest.raises(ModelTimeoutError, match="no connection in time"):
                    await ask(pool, seconds=0.1)
            assert await ask(pool) == (200, b"hi")

    run(main)


def test_a_reader_who_stops_makes_the_server_wait():
    async def main():
        sent = []

        async def client(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK + b"content-length: 400000000\r\n\r\n")
            for _ in range(4000):
                writer.write(b"x" * 100_000)
                await writer.drain()
                sent.append(1)

        server = await asyncio.start_server(client, "127.0.0.1", 0)
        pool = connections(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with pool.ask("GET", "/", headers={}, body=b"", seconds=1) as reply:
            await reply.head(1)
            await asyncio.sleep(0.5)
            waiting = len(sent)
            await asyncio.sleep(0.3)
            assert len(sent) == waiting < 4000
            for _ in range(20):
                assert await reply.read(1)
        server.close()

    run(main)


def test_a_line_end_in_a_header_is_refused():
    async def main():
        async with serving([WHOLE]) as (url, _):
            pool = connections(url)
            with pytest.raises(ModelServerError, match="line end"):
                async with pool.ask("GET", "/", headers={"a": "b\r\nc: d"}, body=b"", seconds=1):
                    pass

    run(main)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A server's context with a certificate of its own making, and the file that trusts it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


def test_over_tls_a_certificate_must_be_trusted(certificate):
    server, file = certificate

    async def main():
        trusted = ssl.create_default_context(cafile=str(file))
        async with serving([WHOLE], tls=server) as (url, _):
            with pytest.raises(ModelServerError, match="no connection"):
                await ask(connections(url))
            assert await ask(connections(url, context=trusted)) == (200, b"hi")

    run(main)


def test_a_password_in_the_address_is_refused():
    config = HttpUpstream.Config.parse({"url": "http://me:secret@127.0.0.1/v1"})
    with pytest.raises(ConfigError, match="api_key_env"):
        HttpUpstream(config, name="main")


def models_of(**settings):
    async def main():
        upstream = HttpUpstream(HttpUpstream.Config.parse(settings), name="main")
        try:
            return await upstream.models()
        finally:
            await upstream.close()

    return asyncio.run(main())


@pytest.mark.parametrize(("kind", "version"), [("anthropic", "2023-06-01"), ("openai", None)])
def test_models_are_asked_for_as_the_format_wants(kind, version):
    with raw_upstream(body={"data": [{"id": "a"}, {"id": 7}, 7]}) as upstream:
        assert models_of(url=upstream.url, kind=kind) == ["a"]
        ((path, headers),) = upstream.asked
        assert (path, headers.get("anthropic-version")) == ("/v1/models", version)
        upstream.body = {"data": 7}
        assert models_of(url=upstream.url) == []


def test_a_refusal_to_list_models_is_no_empty_list():
    with raw_upstream(body={"error": {}}, status=400) as upstream:
        with pytest.raises(ModelServerError, match="/models answers with status 400"):
            models_of(url=upstream.url)
        with gateway(upstream, None) as running:
            listed = running.http.get(running.url + "/v1/models").json()
            assert listed["data"] == []
            page = running.http.get(running.url + "/metrics").text
            assert 'custodes_upstream_errors_total{kind="ModelServerError"' in page


def test_the_query_of_an_address_goes_with_every_request():
    said = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}
    with raw_upstream(body=said) as upstream:
        azure = {"main": {"url": f"{upstream.url}/?api-version=2024-10-21&x=1"}}
        body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        with gateway(upstream, None, upstreams=azure) as running:
            assert running.post("/v1/chat/completions", body).status_code == 200
            running.http.get(running.url + "/v1/models")
        query = "?api-version=2024-10-21&x=1"
        paths = [path for path, _ in upstream.asked]
        assert paths == [f"/v1/chat/completions{query}", f"/v1/models{query}"]
