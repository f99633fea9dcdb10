"""The Cython extensions and their compile switches, nothing else; all metadata is in pyproject.toml.

Switches, by environment variable:
    TAPEBOOK_ANNOTATE=1   write Cython's annotated HTML beside the sources
    TAPEBOOK_TRACE=1      line tracing, for coverage of the .pyx files
    TAPEBOOK_SANITIZE=1   address and undefined-behaviour sanitizers on the C core
"""

import os
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup


def switch(name: str) -> bool:
    """Tell whether a compile switch is on."""
    return os.environ.get(name, "") not in ("", "0")


CORE = Path("engine/core/src")
HEADERS = sorted(map(str, CORE.glob("*.h")))
FLAGS = ["-O3", "-std=c11", "-Wall", "-Wno-unused-function"]
LINK: list[str] = []
if "gcc" in (os.environ.get("CC") or sysconfig.get_config_var("CC") or "") and not switch(
    "TAPEBOOK_SANITIZE"
):
    # A frame passes through seven files of the core: one unit of optimisation makes that a tenth faster, and a
    # single partition of it (-flto-partition=one) that much slower again.
    FLAGS += ["-flto=auto", "-fvisibility=hidden"]
    LINK += ["-flto=auto", "-O3"]
if switch("TAPEBOOK_SANITIZE"):
    FLAGS += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g"]
    LINK += ["-fsanitize=address,undefined"]
MACROS = [("CYTHON_TRACE_NOGIL", "1")] if switch("TAPEBOOK_TRACE") else []


# A book, and how places in it are found.
BOOK = ("tb_book.c", "tb_find.c")
# What takes the archive's rows and never sees a frame.
REPLAYED = ("tb_loose.c", "tb_replay.c", "tb_sample.c")
# What looks at rows, or at columns.
ARCHIVED = ("tb_wire.c", "tb_pages.c", "tb_columns.c")
# What takes frames.
ENGINE = sorted({path.name for path in CORE.glob("*.c")} - {*REPLAYED, *ARCHIVED})


def extension(name: str, *sources: str) -> Extension:
    """One extension module of engine.core over sources of the C core."""
    return Extension(
        f"engine.core.{name}",
        [f"engine/core/{name}.pyx", *(str(CORE / source) for source in sources)],
        include_dirs=[str(CORE)],
        depends=HEADERS,
        extra_compile_args=FLAGS,
        extra_link_args=LINK,
        define_macros=MACROS,
    )


# Orders leave through this one; it needs nothing of the core.
PLAIN_ORDERS = Extension(
    "execution.desk.plain_orders",
    ["execution/desk/plain_orders.pyx"],
    extra_compile_args=FLAGS,
    extra_link_args=LINK,
    define_macros=MACROS,
)

setup(
    ext_modules=cythonize(
        [
            extension("decimals"),
            extension("delays"),
            extension("merge"),
            extension("readings"),
            extension("checkpoints"),
            extension("rows"),
            extension("book", *BOOK, "tb_measure.c"),
            extension("replay", *BOOK, *REPLAYED[:2]),
            extension("sample", *BOOK, *REPLAYED),
            extension("wire", ARCHIVED[0]),
            extension("pages", ARCHIVED[1]),
            extension("columns", ARCHIVED[2]),
            extension("shared"),
            extension("publisher", *BOOK, "tb_shared.c"),
            extension("feeds", *ENGINE),
            extension("drive", *ENGINE),
            PLAIN_ORDERS,
        ],
        annotate=switch("TAPEBOOK_ANNOTATE"),
        compiler_directives={
            "language_level": "3",
            "binding": False,  # a call through Cython's own function objects costs some 20 ns more
            "embedsignature": True,
            "linetrace": switch("TAPEBOOK_TRACE"),
        },
    )
)
