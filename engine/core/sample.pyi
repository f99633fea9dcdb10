from typing import Any, Literal

import numpy as np
import pyarrow as pa

class Sampler:
    def __init__(
        self,
        kind: Literal["levels", "flow", "bands", "fill"],
        depth: int,
        clock: str,
        *,
        every_ns: int = 0,
        origin_ns: int = 0,
        every_messages: int = 0,
        start_ns: int = ...,
        end_ns: int = ...,
        levels: int = 1,
        bands: tuple[int, ...] = (),
        fill: tuple[int, int, int] = (0, 0, 0),
        capacity: int = 65536,
        begin_ns: int | None = None,
    ) -> None: ...
    def begin(self, batch: pa.RecordBatch | None) -> None: ...
    def more(self) -> dict[str, np.ndarray[Any, Any]] | None: ...
    @property
    def over(self) -> bool: ...
