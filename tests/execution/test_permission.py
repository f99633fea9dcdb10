from __future__ import annotations

import pytest

from execution.permission import ACKNOWLEDGEMENT, check_permission, is_real
from schemas.errors import ConfigError


@pytest.mark.parametrize(
    "root", ["ws://127.0.0.1:9001", "ws://127.9.9.9:1", "wss://localhost:9001", "ws://[::1]:9001",
             "wss://stream-testnet.bybit.com"],
)  # fmt: skip
def test_the_testnet_and_this_machine_cost_nothing(root: str) -> None:
    assert not is_real(root)
    check_permission(root, live=False, acknowledgement="")


@pytest.mark.parametrize(
    "root", ["wss://stream.bybit.com", "wss://stream.bybit.tr", "wss://stream.bytick.com", "wss://mm.example.org",
             "ws://192.168.1.5:9001", "wss://localhost.example.org", "wss://stream-testnet.bybit.com.example.org"],
)  # fmt: skip
def test_everything_else_needs_both(root: str) -> None:
    assert is_real(root)
    for live, words in ((False, ""), (True, ""), (False, ACKNOWLEDGEMENT), (True, ACKNOWLEDGEMENT.lower())):
        with pytest.raises(ConfigError, match="trades real money") as caught:
            check_permission(root, live=live, acknowledgement=words)
        assert ("--live" in str(caught.value)) == (not live)
        assert ("acknowledgement =" in str(caught.value)) == (words != ACKNOWLEDGEMENT)
    check_permission(root, live=True, acknowledgement=ACKNOWLEDGEMENT)
