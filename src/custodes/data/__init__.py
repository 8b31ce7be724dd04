"""Tables of examples, and the catalogue of public sets.

Knows rows, files and licences; knows nothing of models, rules or scores.
"""

from custodes.data.catalogue import DataSet, Upstream, catalogue, lookup
from custodes.data.duplicates import Deduplication, deduplicate, normalize
from custodes.data.fetching import Places, copy, find, load, locate, present
from custodes.data.records import content_hash, conversation, from_record, to_record
from custodes.data.splitting import split
from custodes.data.tables import iterate, read, write

__all__ = [
    "DataSet",
    "Deduplication",
    "Places",
    "Upstream",
    "catalogue",
    "content_hash",
    "conversation",
    "copy",
    "deduplicate",
    "find",
    "from_record",
    "iterate",
    "load",
    "locate",
    "lookup",
    "normalize",
    "present",
    "read",
    "split",
    "to_record",
    "write",
]
