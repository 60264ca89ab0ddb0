"""`secure-delivery`, and `python -m secure_delivery`: the command line, or what it needs where that is not installed.

Knows: that the command line has libraries of its own. Must not know: commands.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line. Exits with a sentence where only the core of the package is installed."""
    try:
        from .cli import main as command
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("secure_delivery"):
            raise
        needed = "pip install 'secure-delivery[server]'"
        raise SystemExit(f"secure-delivery: the command line needs more than the core: {needed} ({error})") from None
    command()


if __name__ == "__main__":
    main()
