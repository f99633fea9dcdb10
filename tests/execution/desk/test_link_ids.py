from __future__ import annotations

from random import Random

import pytest

from execution.desk.link_ids import LinkIds, is_link_id
from schemas.errors import ConfigError


def test_no_name_is_given_twice_in_bursts_and_across_restarts() -> None:
    random = Random(5)
    runs = [LinkIds(random.getrandbits(65)) for _ in range(20)]
    names = [ids.next() for _ in range(2_000) for ids in runs]
    assert len(set(names)) == 40_000
    assert all(is_link_id(name) for name in names)


def test_the_longest_name_still_fits() -> None:
    ids = LinkIds((1 << 65) - 1, "a" * 8)
    ids._given = (1 << 48) - 1
    assert len(ids.next()) == 36
    assert is_link_id(ids.next())


@pytest.mark.parametrize("prefix", ["", "a" * 9, "ä", "a b", "a-b"])
def test_a_prefix_that_no_name_can_have(prefix: str) -> None:
    with pytest.raises(ConfigError, match="order prefix"):
        LinkIds(0, prefix)


@pytest.mark.parametrize("name", ["", "a" * 37, "a b", "a.b", "ä"])
def test_what_the_exchange_would_refuse(name: str) -> None:
    assert not is_link_id(name)
