"""The gateway: a local exchange that replays recordings or runs a simulated market, with faults on demand."""

from recorder.gateway.faults import FaultPlan, parse_faults
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway

__all__ = ["FaultPlan", "Gateway", "GatewayOptions", "parse_faults"]
