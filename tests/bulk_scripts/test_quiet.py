"""What other processes compute is seen; what one's own do is not counted."""

import time

from bulk.quiet import Watch


def test_ones_own_work_is_not_that_of_others() -> None:
    watch = Watch()
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    watch.stop()
    assert watch.seconds >= 0.29
    assert 0 <= watch.others < 0.98
