"""What a report costs: seconds until it is written, and bytes of its page, by the number of trials of a search.

python benchmarks/page.py                   5, 50 and 500 trials: half a minute; --trials to choose
python benchmarks/page.py --keep FOLDER     the reports stay in FOLDER/<trials>/report
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from searched_home import NAME, make_searched_home

from orchestrator.home import open_home
from orchestrator.report.write import write_report
from orchestrator.results import load_study


def measured(folder: Path, trials: int) -> str:
    """A line of the table: the search is made there, without a training, then read and reported."""
    home = str(make_searched_home(folder, trials))
    began, busy = time.perf_counter(), time.process_time()
    study = load_study(NAME, home)
    read = time.perf_counter()
    written = write_report(study, open_home(home), str(folder / "report"))
    ended, busy = time.perf_counter(), time.process_time() - busy
    page = (folder / "report" / "index.html").stat().st_size
    seconds = f"{read - began:.1f} | {ended - read:.1f} | {ended - began:.1f} | {busy:.1f}"
    return f"| {trials} | {seconds} | {page / 1e6:.2f} | {len(written.files)} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[5, 50, 500])
    parser.add_argument("--keep", type=Path, help="a folder for the reports")
    asked = parser.parse_args()
    print(
        "| trials | read, s | report, s | together, s | CPU time, s | page, MB | files |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for trials in asked.trials:
            folder = (asked.keep or Path(scratch)) / str(trials)
            folder.mkdir(parents=True)
            print(measured(folder, trials), flush=True)


if __name__ == "__main__":
    main()
