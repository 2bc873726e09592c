"""Say in one sentence what went wrong."""

from __future__ import annotations


def error_text(error: Exception) -> str:
    """Say in one sentence what went wrong."""
    if isinstance(error, MemoryError) and (type(error) is not MemoryError or not str(error)):
        detail = f" ({error})" if str(error) else ""
        return (
            f"Memory ran out{detail}: close what you do not need, or take a larger working "
            "reduction or a smaller crop"
        )
    if isinstance(error, OSError) and error.errno is None and str(error):
        return str(error)  # a sentence of ours; those of the system have a number
    if isinstance(error, ValueError | TypeError | MemoryError):
        return str(error)
    return f"The run failed with {type(error).__name__}: {error}"
