"""`python -m blip_serve`."""

from blip_serve.cli import main

main()
