import threading
from concurrent.futures import ThreadPoolExecutor

from blip_serve.images.budget import PixelBudget


class Holder:
    """A thread that asks for pixels, and holds them until told."""

    def __init__(self, budget: PixelBudget, pixels: int) -> None:
        self.holds = threading.Event()
        self.asks = threading.Event()
        self.drop = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(budget, pixels), daemon=True)
        self.thread.start()
        self.asks.wait(5)

    def _run(self, budget: PixelBudget, pixels: int) -> None:
        self.asks.set()
        with budget.reserve(pixels):
            self.holds.set()
            self.drop.wait(5)

    def stop(self) -> None:
        self.drop.set()
        self.thread.join(5)


def test_pixels_are_shared_up_to_the_budget() -> None:
    budget = PixelBudget(100)
    first, second = Holder(budget, 50), Holder(budget, 50)
    assert first.holds.wait(5)
    assert second.holds.wait(5)
    third = Holder(budget, 1)
    assert not third.holds.wait(0.05)
    first.stop()
    assert third.holds.wait(5)
    second.stop()
    third.stop()


def test_a_large_image_is_not_passed_over_by_small_ones() -> None:
    budget = PixelBudget(100)
    small = Holder(budget, 10)
    assert small.holds.wait(5)
    large = Holder(budget, 100)
    assert not large.holds.wait(0.05)
    late = Holder(budget, 10)
    assert not late.holds.wait(0.05)  # there would be room, but the large one came first
    small.stop()
    assert large.holds.wait(5)
    assert not late.holds.wait(0.05)
    large.stop()
    assert late.holds.wait(5)
    late.stop()


def test_the_budget_is_never_exceeded() -> None:
    budget, lock = PixelBudget(10), threading.Lock()
    held = most = 0

    def hold(pixels: int) -> None:
        nonlocal held, most
        with budget.reserve(pixels):
            with lock:
                held += pixels
                most = max(most, held)
            with lock:
                held -= pixels

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [1, 10, 3, 7, 5] * 100))
    assert held == 0
    assert most <= 10
