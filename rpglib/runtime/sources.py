"""A fingerprint of code: what code made must not be taken for what changed code would make."""

import functools
import hashlib
from pathlib import Path

LIBRARY = Path(__file__).parents[1]


@functools.cache
def sources_digest(*parts: Path) -> str:
    """16 hexadecimal digits for the sources (.py, .cpp) of files and folders, and for how they are called."""
    found = hashlib.sha256()
    for part in parts:
        files = [part] if part.is_file() else sorted({*part.rglob("*.py"), *part.rglob("*.cpp")})
        for path in files:
            found.update(str(path.relative_to(part.parent)).encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]
