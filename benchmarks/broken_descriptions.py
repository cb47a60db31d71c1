"""Mutated files of each format that an importer reads: none may end in anything but a draft or one sentence.

    python benchmarks/broken_descriptions.py [--files 10000] [--only .xml] [--quick]
"""
import resource
import socket
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tests'))
from importer_files import FORMATS, mutated_file    # noqa: E402
from options import Options, nowhere    # noqa: E402

from alignsurvey.surveys import read_metadata    # noqa: E402
from alignsurvey.surveys.survey import draft_codebook_of    # noqa: E402


def no_network(*a, **kw):
    raise AssertionError('the network was asked for')


def outcome(path, raw):
    "read, refused in a sentence, or what went wrong."
    path.write_bytes(raw)
    try:
        read_metadata(path)
        draft_codebook_of(path)
        return 'read'
    except (ValueError, OSError) as e:
        text = str(e)
        return 'refused' if '\n' not in text and path.name in text or 'draft' in text else f'no sentence: {text[:120]!r}'
    except BaseException as e:    # noqa: BLE001: any other end is what is looked for
        return f'{type(e).__name__}: {str(e)[:120]}'


if __name__ == '__main__':
    said = Options(__file__, __doc__)
    said.size('--files', 10_000, quick=100, help='of each format')
    said.add_argument('--only', choices=list(FORMATS))
    given = said.parse_args()
    socket.socket.connect = no_network
    folder, bad = nowhere(), 0
    for ending in [given.only] if given.only else FORMATS:
        start, slowest = time.perf_counter(), 0.
        count = Counter()
        for seed in range(given.files):
            before = time.perf_counter()
            what = outcome(folder/f'f{ending}', mutated_file(ending, seed))
            slowest = max(slowest, time.perf_counter() - before)
            if what not in ('read', 'refused'):
                print(ending, seed, what, flush=True)
            count[what if what in ('read', 'refused') else 'wrong'] += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**10
        bad += count['wrong']
        print(f'{ending}: {given.files} files in {time.perf_counter() - start:.0f} s, slowest {slowest:.2f} s, peak {peak:.0f} MiB: {dict(count)}', flush=True)
    sys.exit(bad > 0)
