"""The Cython core: exact decimals, the order book, and the feeds that frames drive.

``decimals``, ``book`` and ``feeds`` are thin faces over the C sources in ``src/``; Cython code may cimport the same C
functions through ``engine.core.core``.
"""
