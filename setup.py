"""Compiles what a text goes through on its way to its findings. All else is in setup.cfg.

Where there is no C compiler the modules stay as they are: Python runs the same lines, only slower.
"""

from collections.abc import Sequence
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

AUDIT = Path("services/audit")
# The Makefile names the same.
COMPILED = sorted(
    [
        *(path for path in (AUDIT / "reading").glob("*.py") if path.stem != "__init__"),
        *(AUDIT / name for name in ("contacts.py", "gate.py", "matcher.py", "search.py")),
    ]
)
DECLARED = [path for path in COMPILED if path.with_suffix(".pxd").exists()]


def compiled(paths: Sequence[Path], **directives: bool) -> list[Extension]:
    """What setup() makes of modules."""
    extensions: list[Extension] = cythonize(
        [Extension(".".join(path.with_suffix("").parts), [str(path)]) for path in paths],
        build_dir="build",
        # Whatever changed: these settings, or Cython itself.
        force=True,
        compiler_directives={"language_level": 3, **directives},
    )
    for extension in extensions:
        # Not told before, for cythonize() forgets it.
        extension.optional = True
        # -O3, which Python asks for, takes the compiler twice as long and makes nothing quicker.
        extension.extra_compile_args = ["-O2" if directives else "-O1", "-g0"]
    return extensions


setup(
    ext_modules=[
        # Where a .pxd file says what the compiler may count on, annotations are mypy's alone.
        *compiled(DECLARED, annotation_typing=False, wraparound=False),
        *compiled([path for path in COMPILED if path not in DECLARED]),
    ]
)
