"""`python -m secure_delivery`, the same as the `secure-delivery` command."""

from .cli import main

main()
