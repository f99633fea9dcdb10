"""The reference model: the rules of feeds and books, written to be read rather than to be fast.

Property tests and benchmarks hold the core against it, so it shares nothing with the core but ``schemas``:
JSON comes from the standard library, numbers are ``decimal.Decimal``, sides are ``SortedDict``, digests are
recomputed from scratch. It has no limit on memory; use it on test data.

Source: protocol sections 3.1, 3.4, 3.5 and 4.
"""

from engine.reference.books import ReferenceBook, mantissa_of
from engine.reference.feeds import Outcome, ReferenceFeeds

__all__ = ["Outcome", "ReferenceBook", "ReferenceFeeds", "mantissa_of"]
