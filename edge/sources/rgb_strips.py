"""Turns strips of a picture of any colour mode into RGB strips in sRGB, and says what that took."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageCms

from edge.sources.integrity import printable

MODES = frozenset({"1", "L", "RGB", "P", "PA", "LA", "RGBA", "CMYK", "YCbCr", "HSV"})
"""Pillow's names of the modes that can be converted."""


class RgbConverter:
    """Turns strips of one picture into RGB strips, and notes what that took.

    Args:
        image: The picture, for its mode and metadata.
        notes: Appended to.
    """

    def __init__(self, image: Image.Image, notes: list[str]) -> None:
        self._transparency = image.info.get("transparency")
        self._profile: bytes | None = image.info.get("icc_profile")
        self._notes = notes
        self._transform: Any = None
        self._transform_made = False
        self._alpha = "none"

    def __call__(self, strip: Image.Image) -> Image.Image:
        has_alpha = strip.mode in ("LA", "PA", "RGBA") or self._transparency is not None
        if has_alpha:
            if strip.mode != "RGBA":
                strip = strip.convert("RGBA")
            strip = self._over_white(strip)
        elif strip.mode not in ("L", "RGB", "CMYK"):
            strip = strip.convert("L" if strip.mode == "1" else "RGB")
        if not self._transform_made:
            self._transform_made = True
            self._note_mode(strip.mode)
            self._transform = self._transform_to_srgb(strip.mode)
        if self._transform is not None:
            return self._transform.apply(strip)  # type: ignore[no-any-return]
        return strip if strip.mode == "RGB" else strip.convert("RGB")

    def finish(self) -> None:
        """Add the notes that only the whole picture tells."""
        if self._alpha == "used":
            self._notes.append("transparent parts laid over white")
        elif self._alpha == "opaque":
            self._notes.append("alpha channel without effect dropped")

    def _over_white(self, strip: Image.Image) -> Image.Image:
        alpha = strip.getchannel("A")
        if alpha.getextrema()[0] == 255:
            self._alpha = "opaque" if self._alpha == "none" else self._alpha
            return strip.convert("RGB")
        self._alpha = "used"
        white = Image.new("RGB", strip.size, (255, 255, 255))
        white.paste(strip, mask=alpha)
        return white

    def _note_mode(self, mode: str) -> None:
        if mode == "CMYK":
            self._notes.append("CMYK converted to RGB")

    def _transform_to_srgb(self, mode: str) -> Any:
        """A colour transform, or ``None`` where the picture is in sRGB or says nothing usable."""
        if self._profile is None:
            return None
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(self._profile))
            name = printable(ImageCms.getProfileDescription(profile).strip()) or "without a name"
            if mode == "RGB" and "srgb" in name.lower():
                return None
            transform = ImageCms.buildTransform(
                profile, ImageCms.createProfile("sRGB"), mode, "RGB"
            )
        except (ImportError, OSError, ImageCms.PyCMSError) as error:  # or Pillow built without it
            self._notes.append(f"colour profile not usable, taken as sRGB ({error})")
            return None
        self._notes.append(f"colour profile {name!r} converted to sRGB")
        return transform
