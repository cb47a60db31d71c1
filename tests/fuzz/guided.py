"""Guided by coverage: files of all kinds that are read in this process, changed by Atheris, which keeps what reaches new code.

    python tests/fuzz/run.py --only 'guided: records' --cases 10000 --first 0 [--out benchmarks/fuzz.json]

Cases start from the files of targets.py and talk.py and are held to the same rule. Half of them are changed there, half by
Atheris in their bytes. Only alignsurvey is instrumented. A violation is written into past.json, and `make test` runs it again
until it is mended; `end` is then filled in by hand. A case is a file: two bytes that choose the name, and what it holds.
"""
import argparse
import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
PAST = HERE/'past.json'
LEAD = 'guided: '
GIB = 2**30
MOST = 2**16    # bytes of a case
MANY = 500      # cases that were read, to start others from
HOW_TO_GET = 'guided by coverage: left out, for it needs Atheris, which is made for Linux: .venv/bin/pip install atheris==3.0.0'
APART = {'labelled files', 'SPSS data', 'Stata data', 'SPSS portable', 'SPSS compressed'}    # read by another process, which is not measured


def is_there():
    return find_spec('atheris') is not None


def run_again(name, file, data, folder):
    "How a kept case ends: 'read' or 'refused'."
    from targets import run_case, targets
    return run_case(targets()[name], file, data, folder) if name in targets() else kinds()[name].run(file, data, folder)


# --- what is fuzzed

@dataclass(frozen=True)
class Kind:
    seeds: tuple      # (name of the file, its bytes)
    mutate: object    # (random, bytes) -> bytes
    run: object       # (name, bytes, folder) -> 'read' or 'refused'; raises where it was neither


@cache
def kinds():
    "All kinds of files by name."
    from targets import run_case, targets
    found = {t.name: Kind(t.seeds, t.mutate, partial(run_case, t)) for t in targets().values() if t.name not in APART}
    return found | {name: Kind(kind.seeds, kind.mutate, partial(timely, kind.run)) for name, kind in outside().items()}


def outside():
    "What comes from outside while a model is asked, as files."
    import talk
    reply = json.dumps(talk.FINE).encode()
    texts = tuple((f'{i}.txt', (case['reply'] or '').encode('utf-8', 'surrogatepass')) for i, case in enumerate(talk.corpus()))
    waits = tuple(('headers.json', json.dumps([status, {'retry-after': wait}, {'code': 'busy'}]).encode())
        for status in (302, 400, 429, 503) for wait in ('1', 'inf', 'Fri, 31 Dec 9999 23:59:59 GMT'))
    return dict(
        replies=Kind(tuple((f'{how}.json', reply) for how in ('score', 'greedy', 'sample')), changed_json,
            lambda name, data, folder: talk.reply_read(data, name.partition('.')[0])),
        texts=Kind(texts, lambda r, data: talk.text_changed(r, data.decode('utf-8', 'replace')).encode('utf-8', 'surrogatepass'), read_text),
        headers=Kind(waits, changed_json, read_headers),
        journals=Kind(tuple(('run.sqlite', talk.whole_journal(draws)) for draws in (None, 3)), changed_journal,
            lambda name, data, folder: talk.journal_read(talk.placed(folder, name, data), True)),
        cards=Kind((('p.card.json', json.dumps(talk.whole_card()).encode()),), changed_json,
            lambda name, data, folder: talk.card_read(talk.placed(folder, name, data))))


def changed_json(r, data):
    import talk
    return json.dumps(talk.changed(r, json.loads(data))).encode()


def changed_journal(r, data):
    import tempfile
    import talk
    with tempfile.TemporaryDirectory() as folder:
        path = talk.placed(folder, 'run.sqlite', data)
        talk.spoil_rows(r, path)
        return path.read_bytes()


def read_text(name, data, folder):
    import talk
    return talk.text_read(data.decode('utf-8', 'replace'), talk.corpus()[int(name.partition('.')[0])])


def read_headers(name, data, folder):
    "A status, headers and a body, as JSON; what no server can send is not asked."
    import talk
    try:
        status, given, body = json.loads(data)
        given = {name.encode().decode('ascii').lower(): value.encode().decode('latin-1') for name, value in given.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return 'refused'
    return talk.headers_read(300 + status % 300 if type(status) is int else 429, given, body, len(data) % 9)


def timely(run, name, data, folder):
    from targets import SLOW
    start = time.process_time()
    end = run(name, data, folder)
    took = time.process_time() - start
    assert took < SLOW, f'took {took:.1f} seconds'
    return end


# --- cases as bytes, and what becomes of them

def packed(index, data):
    return index.to_bytes(2, 'big') + data


def unpacked(kind, case):
    "The file of a case: its name and bytes."
    return kind.seeds[int.from_bytes(case[:2], 'big') % len(kind.seeds)][0], bytes(case[2:])


def changed(kind, mutate_bytes, good, case, most, seed):
    "Another case, from this one or from one that was read: changed as its kind is in runs without coverage, or in its bytes."
    r = random.Random(seed)
    if r.random() < .5:    # most of what reaches new code is refused, and what is changed further is refused too
        case = r.choice(good)
    head, body = bytes(case[:2]), bytes(case[2:])
    if r.random() < .05:
        head = r.randrange(len(kind.seeds)).to_bytes(2, 'big')
    if r.random() < .5:
        with contextlib.suppress(Exception):    # what is no longer a whole file can't be changed as one
            return (head + kind.mutate(r, body))[:most]
    return head + mutate_bytes(body, most - 2)


def resident():
    "Bytes of memory that this process has."
    return int(Path('/proc/self/statm').read_text().split()[1])*resource.getpagesize()


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024


class Tally:
    "Runs cases, counts how they ended, and holds one violation of each place in the code."

    def __init__(self, kind, folder):
        self.kind, self.folder, self.good = kind, folder, []
        self.counts, self.violations = dict(cases=0, read=0, refused=0), {}

    def run(self, case):
        name, data = unpacked(self.kind, case)
        self.counts['cases'] += 1
        before, most = resident(), peak()
        try:
            end = self.kind.run(name, data, self.folder)
            assert peak() == most or peak() < before + GIB, f'took {(peak() - before)/GIB:.1f} GiB'
            self.counts[end] += 1
            if end == 'read':
                self.good = self.good[-MANY:] + [case]
        except Exception as e:
            said = dict(case=self.counts['cases'], said=str(e)[:300], trace=traceback.format_exc(), name=name, data=data.decode('latin-1'))
            self.violations.setdefault(place(e), said)


def place(error):
    "What an error is and where in the library it came up; a check's own words where that holds no number."
    import alignsurvey
    home, origin = str(Path(alignsurvey.__file__).parent), error.__cause__ or error
    frames = [f for f in traceback.extract_tb(origin.__traceback__) if f.filename.startswith(home)]
    return type(origin).__name__, f'{frames[-1].filename}:{frames[-1].lineno}' if frames else str(error)[:40]


def kept(found, file=PAST):
    "Violations among the cases that are run again; `end` is null until they are mended."
    rows = json.loads(file.read_text())
    new = [[v['target'].removeprefix(LEAD), v['name'], v['data'], None] for v in found]
    rows += [row for row in new if row[:3] not in [r[:3] for r in rows]]
    file.write_text(json.dumps(rows, indent=0) + '\n')


# --- one run in a process of its own, for Atheris ends the process that it runs in

def fuzz(name, numbers, folder):
    "Counts of one kind, and its violations, which are kept."
    (Path(folder)/'files').mkdir()
    given = [name.removeprefix(LEAD), '--cases', str(len(numbers)), '--seed', str(numbers[0] + 1), '--folder', folder]
    done = subprocess.run([sys.executable, __file__, *given], capture_output=True, text=True, errors='replace')
    told = Path(folder)/'told.json'
    if not told.exists():
        return crashed(name, done, Path(folder))
    counts, violations = json.loads(told.read_text())
    found = [v | dict(target=name) for v in violations]
    kept(found)
    return counts, found


def crashed(name, done, folder):
    "A run that did not come to its end: at which case, and how."
    said = done.stderr[-1500:]
    cases = [f for f in folder.iterdir() if f.name.partition('-')[0] in ('crash', 'timeout', 'oom')]
    if not cases:
        raise ChildProcessError(f'{name}: Atheris ended with {done.returncode}: {said}')
    file, data = unpacked(kinds()[name.removeprefix(LEAD)], cases[0].read_bytes())
    found = [dict(target=name, case=0, said=cases[0].name, trace=said, name=file, data=data.decode('latin-1'))]
    kept(found)
    return dict(cases=1, read=0, refused=0, new_code=0), found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('kind')
    parser.add_argument('--cases', type=int, required=True)
    parser.add_argument('--seed', type=int, required=True)
    parser.add_argument('--folder', type=Path, required=True)
    given = parser.parse_args()
    import atheris
    with atheris.instrument_imports(include=['alignsurvey']):
        kind = kinds()[given.kind]
        corpus = given.folder/'corpus'
        corpus.mkdir()
        seeds = [packed(i, data) for i, (_, data) in enumerate(kind.seeds)]
        for i, case in enumerate(seeds):
            Tally(kind, given.folder/'files').run(case)    # what is loaded once is loaded now
            (corpus/f'seed {i}').write_bytes(case)
        tally = Tally(kind, given.folder/'files')

        def one(case):
            tally.run(case)
            if tally.counts['cases'] == given.cases:
                new = sum(not f.name.startswith('seed') for f in corpus.iterdir())
                (given.folder/'told.json').write_text(json.dumps([tally.counts | dict(new_code=new), list(tally.violations.values())]))
                os._exit(0)
        most = resident()//2**20 + 3*1024    # MiB; a case that takes more ends the run
        atheris.Setup([sys.argv[0], str(corpus), f'-seed={given.seed}', f'-max_len={MOST}', '-len_control=0', '-timeout=60',
            f'-rss_limit_mb={most}', f'-artifact_prefix={given.folder}/', '-print_final_stats=0'], one,
            custom_mutator=lambda case, most, seed: changed(kind, atheris.Mutate, tally.good or seeds, case, most, seed))    # `Mutate` is another once it runs
        atheris.Fuzz()


if __name__ == '__main__':
    main()
