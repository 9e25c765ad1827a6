"""Every structure, number and flag of our V4L2 interface, against the kernel's own header."""

from __future__ import annotations

import ctypes
import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from edge.sources import v4l2_abi

C_NAMES = {
    "Capability": "v4l2_capability",
    "FormatDescription": "v4l2_fmtdesc",
    "SizeStepwise": "v4l2_frmsize_stepwise",
    "SizeDiscrete": "v4l2_frmsize_discrete",
    "FrameSize": "v4l2_frmsizeenum",
    "Fraction": "v4l2_fract",
    "IntervalStepwise": "v4l2_frmival_stepwise",
    "FrameInterval": "v4l2_frmivalenum",
    "PixelFormat": "v4l2_pix_format",
    "Format": "v4l2_format",
    "CaptureParameters": "v4l2_captureparm",
    "StreamParameters": "v4l2_streamparm",
    "RequestBuffers": "v4l2_requestbuffers",
    "Timeval": "timeval",
    "Buffer": "v4l2_buffer",
    "ExtControl": "v4l2_ext_control",
    "ExtControls": "v4l2_ext_controls",
    "QueryExtControl": "v4l2_query_ext_ctrl",
}


def structures() -> dict[str, type[ctypes.Structure]]:
    """The public structures of the module by their names in C."""
    found = {
        name: value
        for name, value in vars(v4l2_abi).items()
        if isinstance(value, type) and issubclass(value, ctypes.Structure)
    }
    assert found.keys() == C_NAMES.keys()  # a new one must be compared as well
    return {C_NAMES[name]: value for name, value in found.items()}


def fields(structure: type[ctypes.Structure]) -> list[str]:
    """Names that C knows too: in place of an anonymous union, those of its members."""
    names = []
    for name, kind in structure._fields_:
        anonymous = name in getattr(structure, "_anonymous_", ())
        names += [inner for inner, _ in kind._fields_] if anonymous else [name]
    return names


def constants() -> dict[str, int]:
    return {
        name: value
        for name, value in vars(v4l2_abi).items()
        if name.startswith(("V4L2_", "VIDIOC_")) and isinstance(value, int)
    }


def program() -> str:
    """C that prints sizes, offsets and numbers as JSON."""
    lines = []
    for c_name, structure in structures().items():
        lines.append(f'out("{c_name}", sizeof(struct {c_name}));')
        for field in fields(structure):
            lines.append(f'out("{c_name}.{field}", offsetof(struct {c_name}, {field}));')
            lines.append(f'out("{c_name}.{field}#", sizeof(((struct {c_name} *)0)->{field}));')
    lines += [f'out("{name}", (unsigned long long)({name}));' for name in constants()]
    body = "\n".join(lines)
    return f"""
#include <stddef.h>
#include <stdio.h>
#include <sys/time.h>
#include <linux/videodev2.h>
static void out(const char *name, unsigned long long value) {{
    printf("\\"%s\\": %llu,\\n", name, value);
}}
int main(void) {{
printf("{{");
{body}
printf("\\"end\\": 0}}");
return 0;
}}
"""


@pytest.fixture(scope="module")
def by_compiler(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("gcc is not installed")
    if not Path("/usr/include/linux/videodev2.h").exists():
        pytest.skip("linux/videodev2.h is not installed (Debian: linux-libc-dev)")
    if struct.calcsize("P") != 8:
        pytest.skip("a 32-bit Python")
    folder = tmp_path_factory.mktemp("abi")
    (folder / "abi.c").write_text(program())
    subprocess.run(
        [gcc, "-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64", "-o", folder / "abi", folder / "abi.c"],
        check=True,
        timeout=60,
    )
    printed = subprocess.run([folder / "abi"], check=True, capture_output=True, timeout=10).stdout
    return json.loads(printed)


def test_structures_have_the_sizes_and_offsets_of_the_header(by_compiler: dict[str, int]):
    for c_name, structure in structures().items():
        assert ctypes.sizeof(structure) == by_compiler[c_name], c_name
        for field in fields(structure):
            ours = getattr(structure, field)
            assert ours.offset == by_compiler[f"{c_name}.{field}"], f"{c_name}.{field}"
            assert ours.size == by_compiler[f"{c_name}.{field}#"], f"{c_name}.{field}"


def test_numbers_and_flags_are_those_of_the_header(by_compiler: dict[str, int]):
    ours = constants()
    assert len(ours) > 70
    assert {name: by_compiler[name] for name in ours} == ours
