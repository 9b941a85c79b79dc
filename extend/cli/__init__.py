"""The command line: parse, call the recipe, show. No arithmetic, nothing heavy imported at start."""

from extend.cli.main import main as main
