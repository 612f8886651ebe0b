"""`lossviz-tui serve`: for those who know the token, by this machine's name, no others."""

import asyncio
import shlex
import socket
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from lossviz_tui import serving
from lossviz_tui.cli import serve as command_module
from lossviz_tui.cli.serve import app_command

TOKEN = "a-secret"


@pytest.fixture
async def client():
    """Asks a server by a name that means this machine; no app is started."""
    server = serving.TokenServer("false", TOKEN)
    made = TestServer(await server.make_app(), host="127.0.0.1")
    async with TestClient(made, cookie_jar=aiohttp.CookieJar(unsafe=True)) as found:
        yield found


async def test_the_page_is_given_to_those_who_know_the_token(client):
    for words in ("", "?token=", "?token=another"):
        assert (await client.get(f"/{words}")).status == 403
        assert (await client.get(f"/ws{words}")).status == 403
    page = await client.get(f"/?token={TOKEN}")
    assert page.status == 200
    assert f"ws://127.0.0.1:{client.port}/ws" in await page.text()
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    (cookie,) = page.cookies.values()
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert (await client.get("/")).status == 200  # by the cookie from here on
    assert (await client.get("/static/js/textual.js")).status == 200


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example:8000"}, {"Host": "evil"}, {"Origin": "http://evil.example"}],
)
async def test_other_names_and_other_pages_are_refused(client, headers):
    assert (await client.get(f"/?token={TOKEN}", headers=headers)).status == 403
    assert (await client.get(f"/ws?token={TOKEN}", headers=headers)).status == 403


def test_the_browser_looks_only_unless_it_is_let_work():
    path = Path("/runs/a b.zarr")
    words = app_command(path, work=False, color="16", light=True, config=path)
    assert words[:6] == [sys.executable, "-P", "-m", "lossviz_tui", "watch", "/runs/a b.zarr"]
    assert {"--readonly", "--no-export"} <= set(words)
    working = app_command(path, work=True, color="16", light=False, config=None)
    assert not {"--readonly", "--no-export"} & set(working)


@pytest.mark.parametrize(
    ("host", "port"),
    [("localhost", 80), ("127.0.0.1", 80), ("[::1]", 80), ("[::1]:81", 81), ("localhost:9", 9)],
)
async def test_this_machine_is_known_by_its_names_with_and_without_a_port(client, host, port):
    headers = {"Host": host, "Origin": f"http://{host}"}
    page = await client.get(f"/?token={TOKEN}", headers=headers)
    assert page.status == 200  # a browser names no port where it is the usual one
    assert f"ws://{host}/ws" in await page.text()
    assert list(page.cookies) == [f"{serving.COOKIE}-{port}"]


@pytest.mark.parametrize("host", ["", "[::1", "localhost:", "localhost.evil", "localhost:80:1"])
async def test_what_is_no_name_of_this_machine_is_refused(client, host):
    assert (await client.get(f"/?token={TOKEN}", headers={"Host": host})).status == 403


def test_the_address_is_printed_and_only_loopback_listens(cli, monkeypatch, tmp_path):
    served = {}

    def serve(command, listener, token):
        served.update(command=command, address=listener.getsockname(), token=token)
        listener.close()

    monkeypatch.setattr(serving, "serve", serve)
    found = cli("serve", tmp_path, "--port", 0)
    assert found.code == 0
    host, port = served["address"]
    assert host == "127.0.0.1"
    assert found.out.strip() == f"http://localhost:{port}/?token={served['token']}"
    assert f"ssh -L {port}:localhost:{port}" in found.err
    assert "--readonly" in shlex.split(served["command"])
    assert served["token"] not in served["command"]  # which every user can see


def test_a_port_that_is_taken_or_none_is_one_sentence(cli):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = cli("serve", "--port", taken.getsockname()[1])
    assert found.code == 1
    assert "cannot be had" in found.err
    assert "give another with --port" in found.err
    assert "from 0 to 65535" in cli("serve", "--port", 70_000).err


def test_without_the_extra_it_is_said_how_to_get_it(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "lossviz_tui.serving", None)
    found = cli("serve")
    assert found.code == 1
    assert "pip install 'lossviz-tui[serve]'" in found.err
    assert command_module.HOST == "127.0.0.1"


async def test_the_app_comes_through_the_socket_and_a_signal_ends_it(start_program, tmp_path):
    process = start_program("serve", tmp_path, "--port", 0)
    address = (await asyncio.to_thread(process.stdout.readline)).strip()
    seen = b""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(address) as page:
            assert page.status == 200
        async with session.ws_connect(f"{page.url.origin()}/ws?width=80&height=24") as line:
            while b"no runs below" not in seen:
                message = await line.receive(timeout=30)
                assert message.type == aiohttp.WSMsgType.BINARY, message
                seen += message.data
    process.terminate()
    assert await asyncio.to_thread(process.wait, 20) == 0
    assert "Traceback" not in process.stderr.read()
