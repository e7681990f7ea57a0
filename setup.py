"""Compiles what goes through texts character by character: the modules with a .pxd file. All else is in setup.cfg.

Where there is no C compiler they stay as they are: Python runs the same lines, only slower.
"""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

COMPILED = [path.with_suffix(".py") for path in sorted(Path("services").rglob("*.pxd"))]

extensions = cythonize(
    [Extension(".".join(path.with_suffix("").parts), [str(path)]) for path in COMPILED],
    build_dir="build",
    # Whatever changed: these settings, or Cython itself.
    force=True,
    # Annotations are mypy's; what the compiler may count on stands in the .pxd files.
    compiler_directives={"language_level": 3, "annotation_typing": False, "wraparound": False},
)
for extension in extensions:
    # Not told before, for cythonize() forgets it.
    extension.optional = True

setup(ext_modules=extensions)
