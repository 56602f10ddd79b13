"""Structured logs: one event name and fields. Speech, text and keys never go in."""

import logging
import sys
from typing import TextIO

import structlog

get_logger = structlog.get_logger


def configure(service: str, *, level: str = "info", fmt: str = "auto", stream: TextIO | None = None) -> None:
    """Sets up logging for the process.

    Args:
        service: name every line carries.
        level: debug, info, warning or error.
        fmt: json, text, or auto (text on a terminal, JSON lines elsewhere).
    """
    out = stream or sys.stdout
    human = fmt == "text" or (fmt == "auto" and out.isatty())
    numeric = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_service(service),
            _exception_type_only,
            structlog.dev.ConsoleRenderer(colors=out.isatty())
            if human
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,  # a logger made at import must follow later settings,
    )
    # Libraries log through the standard module; only what they think is wrong is of interest.
    logging.basicConfig(
        stream=out,
        level=max(numeric, logging.WARNING),
        format=f"{service} %(levelname)s %(name)s %(message)s",
    )


def announce(line: str) -> None:
    """A milestone for the person who watches the start, e.g. "✓ Server ready on port 2233"."""
    print(line, flush=True)


def _add_service(service: str) -> structlog.typing.Processor:
    def add(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    return add


def _exception_type_only(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Where an exception happened, without its message: messages may quote what a caller said."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if not isinstance(error, BaseException):
        return event
    event["error_type"] = type(error).__name__
    trace = error.__traceback__
    frames = []
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename.rsplit('/', 2)[-1]}:{trace.tb_lineno}")
        trace = trace.tb_next
    event["error_at"] = " < ".join(reversed(frames[-6:]))
    return event
