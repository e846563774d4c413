"""Adds the compiled core to what pyproject.toml describes."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).parent))  # setuptools runs this file without its folder

from build_backend import BuildCore, PlatformWheel, libraries

setup(ext_modules=libraries(), cmdclass={"build_ext": BuildCore, "bdist_wheel": PlatformWheel})
