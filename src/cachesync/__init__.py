"""Keep a search index equal to a tree of Spack build-cache pages."""

from typing import Any

__version__: str


def __getattr__(name: str) -> Any:
    """Look up ``__version__`` on first use: the lookup takes longer than most of the work that doesn't need it."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415  see above

    globals()[name] = version("cachesync")
    return globals()[name]
