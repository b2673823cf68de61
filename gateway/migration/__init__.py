"""Settings of other flag gateways, written as settings of this one; pure.

    text of a neighbour ──► its tree ──► its table of rules ──► Draft ──► YAML with comments

Each neighbour is a module with a table: which option a setting becomes, or why it has no equal.
``comparison`` reads the values of a user from a neighbour and from this gateway, so that both can be compared.
"""

from gateway.migration.comparison import PROTOCOLS, Call, Difference, NotComparable, Protocol, differences
from gateway.migration.importing import NEIGHBOURS, Imported, convert
from gateway.migration.neighbour import Neighbour, Unreadable

__all__ = (
    "NEIGHBOURS",
    "PROTOCOLS",
    "Call",
    "Difference",
    "Imported",
    "Neighbour",
    "NotComparable",
    "Protocol",
    "Unreadable",
    "convert",
    "differences",
)
