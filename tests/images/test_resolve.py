import asyncio
import socket
import threading

import pytest

from blip_serve.images.resolve import Resolver


def test_a_name_gives_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def answer(host: object, port: object, **_: object) -> list[object]:
        asked.append((host, port))
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:4700::1111", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert asyncio.run(Resolver(1)("pictures.test")) == ["2606:4700::1111", "1.1.1.1"]
    assert asked == [("pictures.test", None)]


def test_a_look_up_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def answer(host: str, port: object, **_: object) -> list[object]:
        if host == "hangs.test":
            release.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 0))]

    async def two_names() -> list[str]:
        resolver = Resolver(2)
        hanging = asyncio.ensure_future(resolver("hangs.test"))
        await asyncio.sleep(0)
        found = await resolver("answers.test")
        assert not hanging.done()
        release.set()
        await hanging
        return found

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert asyncio.run(two_names()) == ["1.1.1.1"]


def test_a_name_without_addresses_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object, **__: object) -> list[object]:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(OSError, match="no such name"):
        asyncio.run(Resolver(1)("missing.test"))


def test_look_ups_given_up_keep_their_threads_and_hold_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    threads: list[threading.Thread] = []

    def hang(*_: object, **__: object) -> list[object]:
        threads.append(threading.current_thread())
        release.wait(10)
        raise OSError("given up")

    async def run() -> None:
        resolver = Resolver(2)
        for _ in range(4):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(resolver("hangs.test"), 0.02)
        assert len(threads) == 2
        assert all(thread.daemon for thread in threads)
        release.set()
        with pytest.raises(OSError, match="given up"):
            await resolver("hangs.test")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    asyncio.run(run())
