"""Memory and counters that processes share: what is used is nobody else's, and nothing is taken twice."""

import gc
import os
import threading
import time

import numpy as np
import pytest

from xfer.system.shared import CAN_SHARE, Rooms, SharedBudget

pytestmark = pytest.mark.skipif(not CAN_SHARE, reason="this system has no memory and no counters without a name")


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_a_room_is_anothers_only_when_no_view_of_it_is_left():
    rooms = Rooms()
    room = rooms.take(12)
    pixels = rooms.lend(room, (2, 6))
    view = memoryview(pixels[1:].reshape(3, 2)[:, 0])
    del pixels
    gc.collect()
    assert rooms.take(12) is not room
    os.pwrite(room.handle, b"\7" * 12, 0)
    assert view.tolist() == [7, 7, 7]
    del view
    assert rooms.take(12) is room
    rooms.give_back(room)
    assert rooms.take(13) is not room


def test_what_a_forked_process_may_look_at_is_not_used_again():
    rooms = Rooms()
    room = rooms.take(12)
    pixels = rooms.lend(room, (12,))
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)
    del pixels
    gc.collect()
    assert rooms.take(12) is not room


def test_whoever_keeps_many_batches_gets_copies():
    rooms = Rooms()
    kept, handles = list[np.ndarray](), set[int]()
    for number in range(3 * Rooms.MOST):
        room = rooms.take(8)
        os.pwrite(room.handle, bytes([number] * 8), 0)
        handles.add(room.handle)
        kept.append(rooms.lend(room, (8,)))
        del room
    assert [int(pixels[0]) for pixels in kept] == list(range(3 * Rooms.MOST))
    assert len(handles) == Rooms.MOST + 1
    rooms.close()
    kept.clear()
    assert rooms._unused == []


@pytest.mark.parametrize("most", [0, 1, 2**60])
def test_any_bound_has_its_counter(most):
    budget = SharedBudget.of(most)
    budget.take(1, most)
    budget.give_back(1)
    budget.close()


def test_memory_is_shared_in_whole_units_and_what_is_larger_is_held_alone():
    most = 3 * SharedBudget.UNIT
    budget = SharedBudget.of(most)
    held = []

    def hold(size):
        budget.take(size, most)
        held.append(size)

    hold(1)
    hold(SharedBudget.UNIT + 1)
    waiting = [threading.Thread(target=hold, args=(size,), daemon=True) for size in (100 * most, 2)]
    for thread in waiting:
        thread.start()
        time.sleep(0.05)
    assert len(held) == 2  # the small one does not overtake
    budget.give_back(1)
    time.sleep(0.05)
    assert len(held) == 2
    budget.give_back(SharedBudget.UNIT + 1)
    assert wait_for(lambda: held[2:] == [100 * most])
    budget.give_back(100 * most)
    assert wait_for(lambda: held[3:] == [2])
    for thread in waiting:
        thread.join()
    budget.close()
