"""What a zoo on the hub has beside its shards: a manifest in parquet, which the hub's viewer shows, and a card."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rpglib.runtime.files import atomic

MANIFEST = "checkpoints.parquet"

_CARD = """\
---
license: {licence}
library_name: rpglib
tags:
- model-zoo
- weight-space-learning
configs:
- config_name: default
  data_files: {manifest}
---

# {name}

{count} checkpoints{of}, {values:,} values each, of {runs} runs. `{manifest}` has a row for each of them.

```python
from rpglib import Zoo

zoo = Zoo.read("datasets/{name}")
network = zoo[0]  # a state dict
```
"""


def write_manifest(folder: Path, rows: Sequence[dict]) -> None:
    """Write a row for each checkpoint; what is no number or text is written as JSON."""

    def plain(value):
        return value if value is None or type(value) in (bool, int, float, str) else json.dumps(value)

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        values = [plain(row.get(name)) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        columns[name] = values if len(kinds) <= 1 else [None if value is None else str(value) for value in values]
    with atomic(folder / MANIFEST) as part:
        pq.write_table(pa.table(columns), part)


def write_card(folder: Path, name: str, licence: str, **facts) -> None:
    with atomic(folder / "README.md") as part:
        part.write_text(_CARD.format(name=name, licence=licence, manifest=MANIFEST, **facts), encoding="utf-8")
