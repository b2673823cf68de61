"""When Python's collector looks for reference cycles, which opening and closing connections does not create.

Python starts a collection for every 700 new objects, and now and then goes through all objects.  With 8,000 open
streams that took a twelfth of the time of opening them, and a pause of 0.2 seconds.
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (10_000, 10, 10)
"""New objects before a collection of the youngest generation, and collections of one before one of the next older.

Until then a cycle keeps its memory: 10,000 objects are some 2 MB.
"""


def collect_rarely() -> None:
    """Exclude the objects that exist now from collections, and collect the later ones less often.

    To be called once per process, when everything is loaded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
