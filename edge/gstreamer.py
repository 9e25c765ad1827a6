"""Loads GStreamer through gi, where a display or a camera needs it; only in child processes."""

from __future__ import annotations

import os
from typing import Any

from edge.errors import RequestError
from edge.pages import page
from edge.system_packages import how_to_install

GI_PACKAGES = "python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0"
"""Of Debian: what every feature needs besides its own elements."""

_NEXT = f"see {page('cameras-and-screens.md')}"


def load_gstreamer(feature: str, elements: dict[str, str]) -> Any:
    """The module ``gi.repository.Gst``, initialized.

    Args:
        feature: What it is for, in words.
        elements: Name of each element that is needed to what brings it (an apt package).

    Raises:
        RequestError: gi, GStreamer or an element is not installed; says what to install.
    """
    try:
        os.environ.setdefault("GST_REGISTRY_FORK", "no")
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError) as error:
        raise RequestError(
            f"GStreamer's Python module gi, for {feature}",
            got=str(error),
            next_step=f"{how_to_install(GI_PACKAGES)}; {_NEXT}",
        ) from error
    Gst.init(None)
    for element, bringer in elements.items():
        if Gst.ElementFactory.find(element) is None:
            raise RequestError(
                f"GStreamer's element {element}, for {feature}",
                got="none of that name",
                next_step=f"install {bringer}; {_NEXT}",
            )
    return Gst
