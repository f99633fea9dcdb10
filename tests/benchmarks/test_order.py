"""What is timed is the work that the benchmark speaks of: every order that it times was taken by the gateway."""

from __future__ import annotations

import pytest

from benchmarks.order import order


@pytest.mark.slow
def test_every_figure_is_there() -> None:
    result = order(20, 2)
    assert result["orders"] == 40
    assert {"tapebook_socket", "tapebook_rest"} <= set(result["encode_ns"])
    for figures in (
        result["create_to_socket_ns"],
        result["create_to_socket_processor_ns"],
        *result["encode_ns"].values(),
    ):
        assert 0 < figures["min"] <= figures["median"] <= figures["p99"]
    for peer in ("pybit", "ccxt"):
        assert (f"{peer}_socket" in result["encode_ns"]) != (peer in result["peers_missing"])
