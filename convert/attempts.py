"""Builds that fail again and again are not tried for ever: at most three for the same thing."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from edge.engine_card import DeviceFacts, Precision
from edge.engine_folder import ATTEMPTS_FILE
from models.manifest import Pack
from models.whole_file import write_whole

MOST = 3

_KEYS_KEPT = 50
_log = logging.getLogger("dermedge.convert")


class Attempts:
    """How often one thing was begun and not brought to its end.

    One that a kill, a crash or a power cut ended counts, too: it is noted before it begins.

    Args:
        root: The folder of all engines.
        key: Of what is built; see :func:`key_of`.
    """

    def __init__(self, root: Path, key: str) -> None:
        self._path = root / ATTEMPTS_FILE
        self._key = key

    @property
    def count(self) -> int:
        """Attempts so far."""
        count = self._read().get(self._key, 0)
        return count if isinstance(count, int) else 0

    def begin(self) -> int:
        """Note one more; its number."""
        known = self._read()
        number = self.count + 1
        known.pop(self._key, None)
        self._write({**known, self._key: number})
        return number

    def asked_to_end(self) -> None:
        """The last one does not count: somebody switched the device off meanwhile, say."""
        if (count := self.count) > 0:
            self._write({**self._read(), self._key: count - 1})

    def succeeded(self) -> None:
        """Forget them."""
        known = self._read()
        if known.pop(self._key, None) is not None:
            self._write(known)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _log.warning("%s: %s", self._path, error)
            return {}
        return known if isinstance(known, dict) else {}

    def _write(self, known: dict[str, Any]) -> None:
        newest = dict(list(known.items())[-_KEYS_KEPT:])
        try:
            write_whole(self._path, json.dumps(newest, indent=1).encode())
        except OSError as error:
            _log.warning("attempts are not counted: %s", error)


def key_of(pack: Pack, device: DeviceFacts, precision: Precision) -> str:
    """Differs once the models, the device, its software or the precision do."""
    facts = [
        pack.segmenter.manifest.onnx.sha256,
        pack.classifier.manifest.onnx.sha256,
        device.model_dump(mode="json"),
        precision,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
