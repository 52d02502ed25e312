"""Log lines on stderr: for a person on a terminal, as JSON elsewhere."""

import logging
import sys
from typing import Literal

import structlog

get_logger = structlog.get_logger


def setup(level: str, form: Literal["auto", "console", "json"]) -> None:
    """Send log lines to stderr. ``auto`` is console on a terminal and JSON elsewhere."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", key="@timestamp" if not console else "timestamp"),
            structlog.processors.EventRenamer("message") if not console else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
