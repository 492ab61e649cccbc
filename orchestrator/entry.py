"""Where ``orchestrate`` begins: from here on Ctrl-C and SIGTERM end it in a line, also while it is being imported."""

import signal
import sys


def main() -> None:
    """``orchestrator.cli.main``, whenever a signal comes."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        from orchestrator.cli import main as command

        command()
    except KeyboardInterrupt:
        from orchestrator.interrupt import EXIT_CODE

        sys.stderr.write("interrupted\n")
        raise SystemExit(EXIT_CODE) from None
