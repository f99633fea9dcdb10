"""What is timed is the work that the benchmark speaks of: every order that it times was taken by the gateway."""

from __future__ import annotations

import os

import pytest

from benchmarks.order import order
from recorder import transport


@pytest.mark.slow
def test_every_figure_is_there() -> None:
    result = order(20, 2)
    assert vars(transport)["os"] is os
    assert result["orders"] == 40
    assert {"tapebook_socket", "tapebook_rest"} <= set(result["encode_ns"])
    for figures in (
        result["create_to_socket_ns"],
        result["create_to_socket_processor_ns"],
        result["create_after_pause_ns"],
        result["socket_write_ns"],
        result["plain_write_ns"],
        result["new_order_ns"],
        *result["encode_ns"].values(),
    ):
        assert 0 < figures["min"] <= figures["median"] <= figures["p99"]
    create, write = result["create_to_socket_ns"], result["socket_write_ns"]
    assert write["min"] < create["min"] <= create["quietest_median"] <= create["p99"]
    assert result["frame_bytes"] > 200
    for peer in ("pybit", "ccxt"):
        assert (f"{peer}_socket" in result["encode_ns"]) != (peer in result["peers_missing"])
