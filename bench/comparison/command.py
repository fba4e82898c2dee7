"""What the commands here have in common: arguments, results that are kept, and where they are shown."""

import argparse
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from .cluster import Failed
from .report import fill, plot


def parser_of(name, doc, text, examples):
    return argparse.ArgumentParser(
        prog=name,
        description=doc + "\n\n" + text,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def amount(text):
    if not text.strip().isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def add_output_arguments(parser, out, docs):
    """Where results go; `docs` names the folder for them in the documents."""
    add = parser.add_argument
    shown = "/".join(out.parts[-2:])
    add("--out", type=Path, metavar="DIR", default=out, help=f"(default: {shown})")
    add("--write-docs", action="store_true", help=f"write to {docs} and docs/performance.md too")
    add("--report-only", action="store_true", help="measure nothing: tables and plots of the results in DIR")
    add("--no-plots", action="store_true", help="make no plots")


def results_of(arguments, measure):
    """Those in the folder, or new ones, which are put there."""
    path = arguments.out / "results.json"
    if arguments.report_only:
        if not path.exists():
            raise Failed(f"no results in {arguments.out}")
        return json.loads(path.read_text())
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = measure(arguments)
    path.write_text(json.dumps(results, indent=1) + "\n")
    return results


def publish(arguments, root, command, tables, docs, plots):
    """Tables and plots beside the results and, where they are to, in the documents."""
    (arguments.out / "tables.md").write_text(tables + "\n")
    folders = [arguments.out]
    if arguments.write_docs:
        docs.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(arguments.out / "results.json", docs / "results.json")
        fill(root / "docs" / "performance.md", command, tables)
        folders.append(docs)
    print(tables)
    if not arguments.no_plots:
        plot(root, plots, folders)


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_main(name, main):
    """Runs it, and exits."""
    # As an exception, so that all that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except Failed as error:
        say(f"{name}: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        os._exit(130)
