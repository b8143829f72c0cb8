"""From SIGTERM or SIGHUP to exit, and the end of a process whose device is lost: as processes, with a fake model."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import get_args

import httpx
import pytest

from blip_serve.models.fake import Call
from tests.support.raw import connect, read_to_end, status
from tests.support.waiting import STARTED_S, WAIT_S, wait_until

FAKE = json.dumps([{"id": "test/fake", "preload": True}])
CALLS = get_args(Call)
BODY = {"image": "aGVsbG8=", "caption": "a"}


class Process:
    """A server process, and a client of it."""

    def __init__(self, process: subprocess.Popen[str], client: httpx.Client) -> None:
        self.process = process
        self.client = client

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self.client.base_url)

    def ready(self) -> httpx.Response | None:
        """What `/readyz` says; `None` where nobody answers."""
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=WAIT_S)
        except httpx.TransportError:
            return None

    def is_ready(self) -> bool:
        """Whether it is."""
        response = self.ready()
        return response is not None and response.is_success

    def exit_code(self) -> int:
        """Waits for its end."""
        return self.process.wait(WAIT_S)

    def log(self) -> str:
        """All that it has logged, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def running(
    *arguments: str, stderr: int = subprocess.PIPE, prepare: Callable[[], None] | None = None, **settings: object
) -> Iterator[Process]:
    """A process of `tests.support.fake_server`, ready; `prepare` is called in it first."""
    environment = {f"BLIP_SERVE_{key.upper()}": str(value) for key, value in ({"server__port": 0} | settings).items()}
    environment |= {"BLIP_SERVE_MODELS": FAKE, "BLIP_SERVE_CATALOGUE": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fake_server", *arguments],
        stdout=subprocess.PIPE, stderr=stderr, text=True, env=os.environ | environment, preexec_fn=prepare,
    )  # fmt: skip
    assert process.stdout is not None
    with process, httpx.Client(base_url=process.stdout.readline().strip(), trust_env=False, timeout=WAIT_S) as client:
        found = Process(process, client)
        try:
            wait_until(found.is_ready, STARTED_S, every=0.05)
            yield found
        finally:
            process.kill()


class Load:
    """Clients that ask one after the other until they are told to stop, or `/readyz` says so: a balancer's."""

    def __init__(self, server: Process, clients: int) -> None:
        self.statuses: list[int] = []
        self.errors: list[Exception] = []
        self.ended = threading.Event()
        self._server = server
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._server.url, trust_env=False, timeout=WAIT_S) as client:
            while not self.ended.is_set():
                try:
                    self.statuses.append(client.post("/v1/match", json=BODY).status_code)
                except Exception as error:
                    self.errors.append(error)

    def stop(self) -> None:
        """Sends no more, and waits for what is under way."""
        self.ended.set()
        for thread in self._threads:
            thread.join(WAIT_S)


def test_row50_sigterm_is_announced_and_loses_nothing() -> None:
    with running("fine", "launch", "1", "0.01", server__shutdown_delay_s=2) as server:
        load = Load(server, 4)
        wait_until(lambda: len(load.statuses) > 20)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not server.is_ready(), every=0.02)
        announced = server.ready()
        assert announced is not None, "the port closed before /readyz said so"
        assert announced.json() == {"status": "unavailable", "reasons": ["draining"]}
        answer = server.client.post("/v1/match", json=BODY)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        load.stop()
        assert server.exit_code() == 0
        assert set(load.statuses) == {200}
        assert not load.errors


def test_row50_a_request_in_flight_when_the_port_closes_is_answered() -> None:
    with running("fine", "launch", "1", "0.5", server__shutdown_delay_s=0) as server:
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(server.client.post("/v1/match", json=BODY)))
        with connect(server.url) as late:
            late.sendall(b"GET /livez HTTP/1.1\r\n")
            asking.start()
            wait_until(lambda: "blip_serve_queue_requests 1.0" in httpx.get(f"{server.url}/metrics").text)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.ready() is None)
            late.sendall(b"host: localhost\r\n\r\n")
            assert status(read_to_end(late)) == 200
        asking.join(WAIT_S)
        assert [answer.status_code for answer in answers] == [200]
        assert server.exit_code() == 0


def test_row50_a_request_that_outlives_the_drain_is_told_so_and_the_exit_is_in_time() -> None:
    with running("hang", server__shutdown_delay_s=0, server__drain_timeout_s=0.2) as server:
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(server.client.post("/v1/match", json=BODY)))
        asking.start()
        wait_until(lambda: "blip_serve_queue_requests 1.0" in httpx.get(f"{server.url}/metrics").text)
        server.process.send_signal(signal.SIGTERM)
        assert server.exit_code() == 0
        asking.join(WAIT_S)
        assert [answer.status_code for answer in answers] == [503]
        assert answers[0].json()["error"]["message"] == "The service is shutting down."


def test_a_terminal_that_closes_loses_nothing() -> None:
    """SIGHUP comes twice then, from the system and from the shell, and what is logged has nowhere to go."""

    def as_in_a_shell() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests were started by

    terminal, process_end = pty.openpty()
    with running(
        "fine", "launch", "1", "0.5", stderr=process_end, prepare=as_in_a_shell, server__shutdown_delay_s=1
    ) as server:
        os.close(process_end)
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(server.client.post("/v1/match", json=BODY)))
        asking.start()
        wait_until(lambda: "blip_serve_queue_requests 1.0" in httpx.get(f"{server.url}/metrics").text)
        os.close(terminal)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not server.is_ready(), every=0.02)
        server.process.send_signal(signal.SIGHUP)
        asking.join(WAIT_S)
        assert [answer.status_code for answer in answers] == [200]
        assert server.exit_code() == 0


def test_a_process_told_to_outlive_its_terminal_does() -> None:
    def as_nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with running("fine", prepare=as_nohup, server__shutdown_delay_s=0) as server:
        server.process.send_signal(signal.SIGHUP)
        server.process.send_signal(signal.SIGTERM)
        assert server.exit_code() == 0, "SIGTERM was a second signal"


def test_an_interrupt_waits_for_no_balancer() -> None:
    with running("fine", server__shutdown_delay_s=1000) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.exit_code() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(second: signal.Signals) -> None:
    with running("fine", server__shutdown_delay_s=1000, server__drain_timeout_s=1000) as server:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not server.is_ready(), every=0.02)
        with connect(server.url) as held:
            held.sendall(b"GET /livez HTTP/1.1\r\n")
            server.process.send_signal(second)
            assert server.exit_code() == 1


def test_row51_the_death_of_the_device_thread_answers_its_waiter_and_ends_the_process_with_1() -> None:
    with running("die") as server:
        answer = server.client.post("/v1/match", json=BODY)
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
        assert server.exit_code() == 1
        assert "device_lost" in server.log()


@pytest.mark.parametrize("call", ["admit", "release"])
def test_row51_a_device_that_is_lost_answers_its_waiter_and_ends_the_process_with_1(call: str) -> None:
    with running("lose", call) as server:
        answer = server.client.post("/v1/match", json=BODY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert server.exit_code() == 1
        assert "device_lost" in server.log()


@pytest.mark.parametrize("depth", ["1", "2"])
def test_row51_a_hang_in_any_call_is_not_ready_then_answers_its_waiters_and_ends_the_process_with_1(depth: str) -> None:
    with ThreadPoolExecutor() as processes:  # side by side: they mostly wait
        list(processes.map(hangs_in, CALLS, [depth] * len(CALLS)))


def hangs_in(call: str, depth: str) -> None:
    with running("hang", call, depth, engine__stall_after_s=0.2, engine__exit_after_s=4) as server:
        with ThreadPoolExecutor() as clients:
            asked = [clients.submit(server.client.post, "/v1/match", json=BODY) for _ in range(3)]
            wait_until(lambda: not server.is_ready(), every=0.02)
            response = server.ready()
            assert response is not None
            assert response.json() == {"status": "unavailable", "reasons": ["the device makes no progress"]}
            assert httpx.get(f"{server.url}/livez", trust_env=False, timeout=WAIT_S).status_code == 200
            assert server.exit_code() == 1
            assert [answer.result(WAIT_S).status_code for answer in asked] == [503] * 3
        assert "the device hangs" in server.log()
