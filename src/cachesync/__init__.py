"""Keep a search index equal to a tree of Spack build-cache pages."""

from importlib.metadata import version

__version__ = version("cachesync")
