"""Fuzz for as long as one likes, and count.

    python tests/fuzz/run.py --cases 10000 --first 0 [--only records] [--out benchmarks/fuzz.json]

Each case is made from its target's name and a number (its seed), so any of them can be run again alone:

    python tests/fuzz/run.py --only records --first 4711 --cases 1

Names that start with 'guided: ' are changed by Atheris (guided.py), which is left out where it is not installed.
Counts are added to what the file holds of earlier runs with other numbers. Ends with 1 at a violation.
"""
import argparse
import json
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))
import guided
import talk
from targets import Violation, case, run_case, targets

NAMES = [*targets(), *talk.TARGETS]
GUIDED = [guided.LEAD + name for name in guided.kinds()]


def fuzz(name, numbers, folder):
    "Counts of one target, and its violations."
    if name in GUIDED:
        return guided.fuzz(name, numbers, folder)
    return talk.fuzz(name, numbers, folder) if name in talk.TARGETS else fuzz_file(targets()[name], numbers, folder)


def fuzz_file(target, numbers, folder):
    "The same for a kind of file."
    counts, violations = dict(cases=0, read=0, refused=0), []
    for i in numbers:
        name, data = case(target, i)
        counts['cases'] += 1
        try:
            counts[run_case(target, name, data, folder)] += 1
        except Violation as e:
            violations.append(dict(target=target.name, case=i, said=str(e)[:300], trace=traceback.format_exc()))
    return counts, violations


def peak_of(child):
    "The most memory that a process which still runs has had, in GiB; 0 where the system does not say."
    status = Path(f'/proc/{child.pid}/status')
    told = [line.split()[1] for line in status.read_text().splitlines() if line.startswith('VmHWM')] if status.exists() else []
    return int(told[0])/2**20 if told else 0


def peak():
    "The most memory that this process and those it started have had, in GiB."
    ended = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))/2**20
    return max([ended, *map(peak_of, psutil.Process().children())])


def add(out, told, before):
    "Write runs with this one among them, in place of what it had come to `before`, and what all come to."
    held = json.loads(out.read_text())['runs'] if out.exists() else []
    runs = [r for r in held if r != before and (r['first'] != told['first'] or r['targets'].keys() != told['targets'].keys())] + [told]
    total = {}
    for r in runs:
        for name, counts in r['targets'].items():
            sums = total.setdefault(name, dict.fromkeys(counts, 0))
            for k, n in counts.items():
                sums[k] += n
    every = {k: sum(t[k] for t in total.values()) for k in ('cases', 'read', 'refused', 'violations')}
    out.write_text(json.dumps(dict(total=every, targets=total, runs=runs), indent=1) + '\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cases', type=int, default=1000, help='of each target')
    parser.add_argument('--first', type=int, default=0, help='number of the first case')
    parser.add_argument('--only', choices=NAMES + GUIDED, action='append', help='targets; default all')
    parser.add_argument('--out', type=Path, help='file to which the counts are added')
    given = parser.parse_args()
    names = given.only or NAMES + GUIDED
    if not guided.is_there():
        print(guided.HOW_TO_GET)
        names = [name for name in names if name not in GUIDED]
    run, found, start, before = {}, [], time.perf_counter(), None
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            counts, violations = fuzz(name, range(given.first, given.first + given.cases), folder)
        run[name] = counts | dict(violations=len(violations))
        found += violations
        print(f'{name}: {run[name]}', flush=True)
        for v in violations[:5]:
            print(f"  case {v['case']}: {v['said']}", flush=True)
        if given.out:    # what follows takes long, and may be stopped
            told = dict(first=given.first, cases=given.cases, seconds=round(time.perf_counter() - start), peak_gib=round(peak(), 2), targets=dict(run))
            add(given.out, told, before)
            before = told
    if found:
        print(found[0]['trace'])
        sys.exit(1)


if __name__ == '__main__':
    main()
