"""What clients notice of replicas that are restarted, killed or frozen behind a balancer."""

import signal
import time

import pytest

from tests.deploy.balancers import Balancer
from tests.deploy.load import Load
from tests.deploy.parts import START_S
from tests.deploy.replicas import Replica
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]
OUT_OF_ROTATION_S = 5.0


def await_all_in(balancer: Balancer) -> None:
    """Waits until HAProxy's checks have found every replica."""
    if balancer.own_url:
        wait_until(lambda: all(state.startswith("UP") for state in balancer.states().values()), every=0.1)


def await_more(load: Load, requests: int) -> None:
    """Waits until so many requests more were answered."""
    wanted = load.count() + requests
    wait_until(lambda: load.count() >= wanted, seconds=START_S, every=0.05)


def test_a_rolling_restart_loses_no_request(balancer: Balancer, three: list[Replica]) -> None:
    await_all_in(balancer)
    with Load(balancer.url) as load:
        await_more(load, 50)
        codes = [replica.restart() for replica in three]
        await_all_in(balancer)
        await_more(load, 50)
    load.report(f"{balancer.name}, rolling restart")
    assert codes == [0, 0, 0]
    assert load.failed() == {"sdk": [], "raw": []}


def test_a_killed_replica_costs_at_most_what_it_was_answering(balancer: Balancer, three: list[Replica]) -> None:
    await_all_in(balancer)
    with Load(balancer.url) as load:
        await_more(load, 50)
        before = time.monotonic()
        three[1].kill()
        dead = time.monotonic()
        await_more(load, 200)
        three[1].start_again()
        await_all_in(balancer)
        await_more(load, 50)
    load.report(f"{balancer.name}, kill -9")
    failed = load.failed()
    assert failed["sdk"] == []
    assert [asked for asked in failed["raw"] if asked.started > dead or asked.ended < before] == []
    elsewhere = three[0].log.read_text() + three[2].log.read_text()
    assert any(asked.id in elsewhere for asked in load.raw)  # ids are told, and the log has them
    assert [asked for asked in failed["raw"] if asked.id in elsewhere] == []


def test_a_frozen_replica_fails_nothing_and_leaves_haproxys_rotation(balancer: Balancer, three: list[Replica]) -> None:
    await_all_in(balancer)
    with Load(balancer.url) as load:
        await_more(load, 50)
        frozen = time.monotonic()
        three[2].send(signal.SIGSTOP)
        try:
            if balancer.own_url:  # nginx checks nothing by itself: it waits, up to proxy_read_timeout
                wait_until(lambda: balancer.states()["replica-3"].startswith("DOWN"), every=0.1)
                noticed = time.monotonic() - frozen
                print(f"{balancer.name}, frozen: out of rotation after {noticed:.1f} s")
                assert noticed < OUT_OF_ROTATION_S
            await_more(load, 100)
        finally:
            three[2].send(signal.SIGCONT)
        await_all_in(balancer)
    load.report(f"{balancer.name}, frozen")
    assert load.failed() == {"sdk": [], "raw": []}
