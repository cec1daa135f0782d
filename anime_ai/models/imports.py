"""One thread at a time imports from libraries that load their parts on demand, in circles. Knows none of them.

transformers puts another module in its own place when it is imported: a thread that waited for the import meanwhile is
handed the old one, which has none of its names. And it imports a part when that is first asked for: where two threads
enter such a circle from two ends, Python gives one of them half a module rather than let both wait for ever.
"""

from __future__ import annotations

import threading

one_at_a_time = threading.RLock()
"""Held while something is imported or loaded by transformers, or by what is built on it: open_clip, PEFT,
sentence-transformers."""
