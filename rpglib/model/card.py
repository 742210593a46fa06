"""The model card of a generator: what it writes, how to load it, and what it is not; YAML on top, as on the hub."""

from pathlib import Path

_FRONT = """\
---
license: {licence}
library_name: rpglib
tags:
- weight-generation
- hypernetworks
- diffusion
- recurrent-diffusion
---"""


def front(licence: str = "mit") -> str:
    """What the hub reads of a card."""
    return _FRONT.format(licence=licence)


def is_card(path: Path) -> bool:
    """Whether a file is a model card of this library."""
    try:
        return "\nlibrary_name: rpglib\n" in path.read_text(encoding="utf-8").partition("\n---")[0]
    except (OSError, ValueError):
        return False


def card(name: str, facts: str, numbers: str = "", licence: str = "mit", asked: str = "") -> str:
    """The text of a card. facts: what the generator is, in a sentence; numbers: what was measured, as Markdown.

    asked: the arguments of `RPG.generate` that say what a network is for, such as ", task=[0, 1]".
    """
    measured = (
        numbers or "Nothing was measured when it was saved: compare its networks with the mean of the checkpoints."
    )
    return f"""{front(licence)}

# {name}

{facts}

```python
from rpglib import RPG

networks = RPG.from_pretrained("{name}").generate(3{asked})  # state dicts
```

## What was measured

{measured}

## Limits

A generator writes networks of the one architecture that it saw. A generated network that lies nearer to a checkpoint
than checkpoints lie to each other is no new solution. The licence is that of this card; what the checkpoints were
trained on may have another.
"""
