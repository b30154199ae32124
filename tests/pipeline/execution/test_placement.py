"""Which quantum a worker gets next."""

from __future__ import annotations

import random
from uuid import UUID

from pipeline.execution.placement import Placement


def placement(*groups: str) -> Placement:
    """Return one with quanta 0, 1, ... of these groups."""
    made = Placement()
    for number, group in enumerate(groups):
        made.add(UUID(int=number), group)
    return made


def take(made: Placement, worker: str, *, is_idle: bool = True) -> int | None:
    taken = made.next(worker, is_idle=is_idle)
    return None if taken is None else taken.int


def test_a_worker_keeps_to_its_group():
    made = placement("a", "b", "a", "b", "a")
    assert [take(made, "one"), take(made, "two")] == [0, 1]
    assert [take(made, "one"), take(made, "two")] == [2, 3]
    assert [take(made, "one", is_idle=False), take(made, "two", is_idle=False)] == [4, None]
    assert len(made) == 0


def test_what_comes_later_goes_to_the_owner():
    made = placement("a", "b")
    assert [take(made, "one"), take(made, "two")] == [0, 1]
    made.add(UUID(int=2), "b")
    made.add(UUID(int=3), "a")
    assert [take(made, "one"), take(made, "two")] == [3, 2]


def test_only_the_idle_take_from_others_and_from_the_longest_queue():
    made = placement("a", "b", "a", "b", "b")
    assert [take(made, "one"), take(made, "one"), take(made, "one")] == [0, 2, 1]
    made.add(UUID(int=5), "a")
    assert take(made, "two", is_idle=False) is None
    assert [take(made, "two"), take(made, "two", is_idle=False)] == [3, 4]
    assert take(made, "one", is_idle=False) == 5


def test_retries_come_first():
    made = placement("a", "a")
    made.add(UUID(int=7), "a", first=True)
    assert [take(made, "one") for _ in range(4)] == [7, 0, 1, None]


def test_groups_of_a_lost_worker_are_free():
    made = placement("a", "a", "b", "b")
    assert [take(made, "one"), take(made, "two")] == [0, 2]
    made.remove_worker("one")
    made.remove_worker("never seen")
    assert [take(made, "two", is_idle=False), take(made, "two", is_idle=False)] == [3, 1]
    assert take(made, "two") is None


def test_everything_is_handed_out_once():
    random_numbers = random.Random(4)
    made = placement(*(str(random_numbers.randrange(50)) for _ in range(2000)))
    seen = []
    while len(made):
        worker = f"worker {random_numbers.randrange(7)}"
        if random_numbers.random() < 0.02:
            made.remove_worker(worker)
        taken = take(made, worker, is_idle=random_numbers.random() < 0.5)
        if taken is not None:
            seen.append(taken)
    assert sorted(seen) == list(range(2000))
