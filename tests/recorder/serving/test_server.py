"""The server over real sockets: who gets in, what is refused, who is slow, and that nothing else can be fetched."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

import recorder.serving.door as door_module
import recorder.serving.server as server_module
from recorder.serving.door import FORM_BYTES
from recorder.serving.hub import WINDOW
from recorder.serving.pages import CONTENT_SECURITY_POLICY, HEADERS, load_assets
from recorder.serving.server import WORD_BYTES
from tests.processes import PATIENCE_S
from tests.recorder.serving.pretend import NOW_NS, PretendRecorder, pretend_market
from tests.recorder.serving.served import TOKEN, Served, heard, serving

BOOK = "book/linear/orderbook.50.BTCUSDT"


async def until(condition: Any, what: str) -> None:
    """Wait for a condition, patiently."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {what}") from None


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    (tmp_path / "journal").mkdir()
    async with serving(tmp_path, PretendRecorder(pretend_market(30))) as served:
        yield served


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Served]:
    (tmp_path / "journal").mkdir()
    async with serving(tmp_path, PretendRecorder(pretend_market(3)), token=TOKEN) as served:
        yield served


# What is served


async def test_the_page_and_its_files(served: Served) -> None:
    status, headers, text = await served.ask("/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["Cache-Control"] == "no-store"
    names = set(load_assets()) - {"index.html", "login.html", "wrong.html"}
    assert len(names) >= 14
    for name in names:
        status, headers, _ = await served.ask(f"/static/{name}")
        assert status == 200
        assert headers["Content-Type"].split(";")[0] in ("text/css", "text/javascript", "image/svg+xml")
        assert (await served.ask(f"/static/{name}", headers={"If-None-Match": headers["ETag"]}))[0] == 304
    for name in ("style.css", "app.js", "icon.svg"):
        assert f"/static/{name}" in text


def test_nothing_of_the_page_is_inline_or_from_elsewhere() -> None:
    for name, asset in load_assets().items():
        text = asset.content.decode()
        assert set(re.findall(r"\w+://[\w./]+", text)) <= {"http://www.w3.org/2000/svg"}, name
        if name.endswith(".html"):
            assert "style=" not in text
            assert "<style" not in text
            assert not re.search(r"<[^>]*\son[a-z]+\s*=", text), name
            assert all("src=" in part for part in text.split("<script")[1:]), name
        if name.endswith(".js"):
            for banned in (
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ):
                assert banned not in text, f"{name}: {banned}"


async def test_every_answer_has_the_headers(served: Served) -> None:
    for path, status in (
        ("/", 200), ("/static/style.css", 200), ("/static/nothing", 404), ("/nothing", 404), ("/gaps?at=noon", 400),
        ("/live", 400),
    ):  # fmt: skip
        found, headers, _ = await served.ask(path)
        assert found == status
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
        assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; ")


async def test_no_path_leads_out(served: Served) -> None:
    for path in (
        "/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/server.py", "/static/..\\server.py",
        "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/", "/static", "/static/index.html",
        "/static/login.html", "/static/app.js%00.css", "/static/__init__.py", "/../../etc/passwd", "//etc/passwd",
    ):  # fmt: skip
        reader, writer = await asyncio.open_connection(*served.host.split(":"))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {served.host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 404"), (path, answer[:80])
        assert b"root:" not in answer
        assert b"aiohttp" not in answer


async def test_it_only_reads(served: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert (await served.ask("/", method))[0] == 405
        assert (await served.ask("/gaps", method))[0] == 405


async def test_gaps(served: Served) -> None:
    status, headers, text = await served.ask("/gaps")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert json.loads(text)["sentence"].startswith("Nothing is in the archive yet")
    for query in (
        "at=noon",
        "at=03:12&within=x",
        "at=03:12&within=9999999",
        "at=03:12&within=0",
        "within=-1",
    ):
        status, _, text = await served.ask(f"/gaps?{query}")
        assert status == 400
        assert json.loads(text)["sentence"].startswith("expected a ")
    assert (await served.ask(f"/gaps?feed={'x' * 5000}"))[0] == 200


async def test_questions_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_QUESTIONS", 0)
    assert (await served.ask("/gaps"))[0] == 503


# Who asks


async def test_a_name_that_was_pointed_at_us(served: Served) -> None:
    """DNS rebinding: a page of another name whose name leads here."""
    for host in ("evil.example", "10.0.0.7", "localhost.evil.example:80", "", "127.0.0.1.evil.example"):
        for path in ("/", "/static/app.js", "/live", "/gaps", "/login"):
            status, headers, text = await served.ask(path, headers={"Host": host})
            assert status == 421, (host, path)
            assert "--allow-host" in text
            assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY


async def test_another_sites_page(served: Served) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{served.url}/live", headers=headers)
            assert refused.value.status == 403
        assert (await served.ask("/gaps", headers=headers))[0] == 403
        assert (await served.ask("/login", "POST", headers=headers, data={"token": TOKEN}))[0] == 403
        # to follow a link to the page is all right
        assert (await served.ask("/", headers=headers))[0] == 200


async def test_our_own_page(served: Served) -> None:
    headers = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{served.url}/live", headers=headers) as socket,
    ):
        await socket.send_str('{"listen":["summary"]}')
        assert (await heard(socket, "summary"))["collectors"][0]["collector"] == "linear"


async def test_without_the_token_nothing_is_seen(locked: Served) -> None:
    status, headers, _ = await locked.ask("/")
    assert (status, headers["Location"]) == (303, "/login")
    for path in ("/gaps", "/live", "/nothing"):
        status, _, text = await locked.ask(path)
        assert status == 401
        assert "Bearer" in text
    assert (await locked.ask("/login"))[0] == 200
    assert (await locked.ask("/static/style.css"))[0] == 200
    for cookie in ("", "x", "9999999999.x", TOKEN):
        name = f"tapebook-{locked.url.rpartition(':')[2]}"
        assert (await locked.ask("/gaps", headers={"Cookie": f"{name}={cookie}"}))[0] == 401


async def test_logging_in_and_out(locked: Served) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        async with session.post(f"{locked.url}/login", data={"token": "wrong"}) as answer:
            assert answer.status == 401
            assert "not the token" in await answer.text()
            assert "Set-Cookie" not in answer.headers
        async with session.post(
            f"{locked.url}/login", data={"token": f" {TOKEN}\n"}, allow_redirects=False
        ) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert TOKEN not in cookie
        async with session.get(f"{locked.url}/") as answer:
            assert (answer.status, answer.url.path) == (200, "/")
        async with session.ws_connect(f"{locked.url}/live") as socket:
            await socket.send_str('{"listen":["summary"]}')
            assert (await heard(socket, "summary"))["login"] is True
        async with session.post(f"{locked.url}/logout") as answer:
            assert answer.url.path == "/login"
        async with session.get(f"{locked.url}/gaps") as answer:
            assert answer.status == 401


async def test_a_program_sends_a_header(locked: Served) -> None:
    assert (await locked.ask("/gaps", headers={"Authorization": f"Bearer {TOKEN}"}))[0] == 200
    for header in (f"Bearer {TOKEN}x", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer \udcff\udcfe"):
        assert (await locked.ask("/gaps", headers={"Authorization": header}))[0] == 401, header
    # in an address it would be in histories and logs
    assert (await locked.ask(f"/gaps?token={TOKEN}"))[0] == 401


async def test_guessing_is_slow(locked: Served) -> None:
    for _ in range(10):
        assert (await locked.ask("/login", "POST", data={"token": "guess"}))[0] == 401
    status, _, text = await locked.ask("/login", "POST", data={"token": TOKEN})
    assert status == 429
    assert "wait" in text
    assert (await locked.ask("/gaps", headers={"Authorization": f"Bearer {TOKEN}"}))[0] == 429


async def test_the_token_is_never_logged(locked: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await locked.ask("/login", "POST", data={"token": TOKEN})
        await locked.ask("/login", "POST", data={"token": TOKEN + "x"})
        await locked.ask("/gaps", headers={"Authorization": f"Bearer {TOKEN}"})
        await locked.ask(f"/nothing/{TOKEN}")
    assert TOKEN not in caplog.text


async def test_forms_are_bounded(locked: Served) -> None:
    status, _, _ = await locked.ask("/login", "POST", data={"token": "x" * FORM_BYTES})
    assert status == 413
    for body in (b"\xff\xfe", b"token", b"", b"token=%ff%fe%00", b"token=a&token=" + TOKEN.encode()):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await locked.ask("/login", "POST", data=body, headers=headers))[0] in (400, 401)
    form = aiohttp.FormData()
    form.add_field("token", b"x" * 100, filename="token")
    assert (await locked.ask("/login", "POST", data=form))[0] == 401
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert (await locked.ask("/login", "POST", data=b"--y\r\n", headers=headers))[0] in (400, 401)


async def test_there_is_no_login_where_none_is_needed(served: Served) -> None:
    status, headers, _ = await served.ask("/login")
    assert (status, headers["Location"]) == (303, "/")
    assert (await served.ask("/login", "POST", data={"token": ""}))[0] == 401


# What goes out


async def test_what_changes_is_sent(served: Served) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{served.url}/live") as socket:
        await socket.send_str(json.dumps({"listen": ["feeds", "events", BOOK]}))
        whole = await heard(socket, "feeds")
        assert whole["whole"]
        assert len(whole["fixed"]) == 120
        first = await heard(socket, BOOK)
        assert first["whole"]
        update_id = first["ladder"]["update_id"]
        served.recorder.books["linear", "orderbook.50.BTCUSDT"].move(NOW_NS + 10**9)
        while (changed := await heard(socket, BOOK))["ladder"]["update_id"] == update_id:
            pass
        assert not changed["whole"]
        served.recorder.held = False
        while not (found := await heard(socket, "events"))["events"]:
            pass
        assert found["events"][0]["after"] == "dead"


async def test_who_doesnt_read_is_sent_little_and_harms_nobody(served: Served) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{served.url}/live") as silent,
        session.ws_connect(f"{served.url}/live") as brisk,
    ):
        listen = json.dumps({"listen": ["feeds", BOOK]})
        await silent.send_str(listen)
        await brisk.send_str(listen)
        for step in range(40):
            served.recorder.advance(NOW_NS + step * 10**9)
            await heard(brisk, "feeds")
        counts = sorted(listener.sent for listener in served.server.watching.hub.listeners)
        assert counts[0] == WINDOW
        assert counts[1] >= 40
        # when it looks up again it gets what it missed, in one message a channel
        for _ in range(WINDOW):
            await silent.receive_str()
        await silent.send_str(json.dumps({"seen": WINDOW}))
        message = json.loads(await silent.receive_str())
        assert message["channel"] in ("feeds", BOOK)


async def test_many_browsers_share_one_making(served: Served) -> None:
    hub = served.server.watching.hub
    async with aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(f"{served.url}/live") for _ in range(40)]
        for socket in sockets:
            await socket.send_str('{"listen":["summary"]}')
        first = [await heard(socket, "summary") for socket in sockets]
        made, given = hub.made, hub.given
        second = [await heard(socket, "summary") for socket in sockets]
        assert all(message == first[0] for message in first) or len({m["now_ms"] for m in first}) <= 3
        assert len({message["now_ms"] for message in second}) <= 3
        assert hub.given - given >= 40
        assert hub.made - made <= (hub.given - given) // 8, "made for all, not for each"
        for socket in sockets:
            await socket.close()
    await until(lambda: not hub.listeners, "all browsers were let go")


async def test_too_many_browsers(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_BROWSERS", 2)
    async with aiohttp.ClientSession() as session:
        one = await session.ws_connect(f"{served.url}/live")
        two = await session.ws_connect(f"{served.url}/live")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{served.url}/live")
        assert refused.value.status == 503
        await one.close()
        await until(lambda: len(served.server.watching.hub.listeners) == 1, "its place was free")
        three = await session.ws_connect(f"{served.url}/live")
        await two.close()
        await three.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_too_many_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With the loop that the tests have, and with the one that the command has."""
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 5)
    (tmp_path / "journal").mkdir()
    run(_crowd(tmp_path))
    assert caplog.text == ""


async def _crowd(data: Path) -> None:
    async with serving(data, PretendRecorder(pretend_market(3))) as served:
        host, port = served.host.split(":")
        idle = [await asyncio.open_connection(host, port) for _ in range(5)]
        handler: Any = served.server._runner.server  # type: ignore[union-attr]
        await until(lambda: len(handler.connections) == 5, "all were taken in")
        reader, writer = await asyncio.open_connection(host, port)
        assert (await reader.read()).startswith(b"HTTP/1.1 503")
        for _, each in [*idle, (reader, writer)]:
            each.close()
            await each.wait_closed()
        await until(lambda: not handler.connections, "all were let go")
        assert (await served.ask("/"))[0] == 200


async def test_who_asks_for_nothing_is_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{served.url}/live") as socket:
        await socket.send_str('{"listen":["summary"]}')
        monkeypatch.setattr(door_module, "SILENT_S", 0.0)
        reader, writer = await asyncio.open_connection(*served.host.split(":"))
        writer.write(b"GET / HT")
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        for _ in range(3):
            await heard(socket, "summary")  # who has asked stays, however little he says


async def test_who_does_not_take_answers_is_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever has no token could hold all connections."""
    runner = served.server._runner
    assert runner is not None
    handler = runner.server
    assert handler is not None
    host, _, port = served.host.partition(":")
    with socket.socket() as stubborn:
        stubborn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stubborn.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stubborn, (host, int(port)))
        await until(lambda: handler.connections, "it was taken in")
        (connection,) = handler.connections
        assert connection.transport is not None
        own = connection.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ask = f"GET /static/app.js HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode()
        await loop.sock_sendall(stubborn, ask * 100)
        await until(
            lambda: connection.transport is not None and connection.transport.get_write_buffer_size() > 0,
            "it was answered, and took nothing",
        )
        monkeypatch.setattr(door_module, "SILENT_S", 0.0)
        await until(lambda: not handler.connections, "it was let go")


async def test_a_form_that_does_not_come_is_not_waited_for(
    locked: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever has no token could hold all connections by logging in for ever."""
    monkeypatch.setattr(door_module, "FORM_S", 0.05)
    host, _, port = locked.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    kind = "application/x-www-form-urlencoded"
    head = f"POST /login HTTP/1.1\r\nHost: {locked.host}\r\nContent-Type: {kind}\r\nContent-Length: 50\r\n\r\ntok"
    writer.write(head.encode())
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        await reader.read()  # and it is closed
    writer.close()


async def test_who_talks_nonsense_is_let_go(served: Served) -> None:
    async with aiohttp.ClientSession() as session:
        for word in (
            "x", "[]", '{"listen":["nothing"]}', '{"listen":["book/linear/nothing"]}', '{"seen":[]}', "{" * 3000,
            b"bytes",
        ):  # fmt: skip
            async with session.ws_connect(f"{served.url}/live") as socket:
                await (socket.send_bytes(word) if isinstance(word, bytes) else socket.send_str(word))
                async with asyncio.timeout(PATIENCE_S):
                    message = await socket.receive()
                assert message.type is aiohttp.WSMsgType.CLOSE
                assert socket.close_code in (1003, 1008)
    await until(lambda: not served.server.watching.hub.listeners, "all were let go")


async def test_words_are_bounded(served: Served) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{served.url}/live") as socket:
        await socket.send_str("x" * (WORD_BYTES + 1))
        async with asyncio.timeout(PATIENCE_S):
            message = await socket.receive()
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        assert socket.close_code == 1009
    await until(lambda: not served.server.watching.hub.listeners, "it was let go")


async def test_rubbish_on_the_socket(served: Served) -> None:
    reader, writer = await asyncio.open_connection(*served.host.split(":"))
    writer.write(b"\x00\xff" * 2000 + b"\r\n\r\n")
    assert b"400" in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert (await served.ask("/"))[0] == 200


async def test_a_status_that_makes_no_sense_stops_nothing(served: Served) -> None:
    """What is read once a second may fail once; the page goes on with what it knows."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{served.url}/live") as socket:
        await socket.send_str('{"listen":["summary"]}')
        await heard(socket, "summary")
        status = served.recorder.status
        served.recorder.status = {"feeds": [{"topic": "x"}]}
        await asyncio.sleep(0)
        before = served.server.failures
        await until(lambda: served.server.failures > before, "it was noticed")
        served.recorder.status = status
        assert (await heard(socket, "summary"))["collectors"][0]["collector"] == "linear"


async def test_https(tmp_path: Path) -> None:
    import trustme

    from recorder.serving.access import Access
    from recorder.serving.history import History
    from recorder.serving.server import Options, PageServer
    from recorder.serving.sources import Books
    from recorder.tls import server_context

    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert")
    (tmp_path / "journal").mkdir()
    recorder: Any = PretendRecorder(pretend_market(3))
    options = Options(tmp_path, "127.0.0.1", 0, Access(TOKEN), server_context(tmp_path / "cert"))
    server = PageServer(options, recorder, Books(recorder.shared), History(tmp_path))
    url = await server.start()
    try:
        assert url.startswith("https://")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/login", data={"token": TOKEN}, ssl=context, allow_redirects=False) as answer,
        ):
            assert answer.status == 303
            assert "; Secure" in answer.headers["Set-Cookie"]
    finally:
        await server.stop()
