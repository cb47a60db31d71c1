"Cases that are guided by coverage: what is fuzzed, what is noticed and kept; Atheris itself only where it is installed."
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent/'fuzz'))
import guided

RUN = [sys.executable, Path(__file__).parent/'fuzz'/'run.py']


@pytest.mark.parametrize('name', guided.kinds())
def test_what_a_case_starts_from_is_read_and_changed_into_other_cases(name, tmp_path):
    kind = guided.kinds()[name]
    tally, index = guided.Tally(kind, tmp_path), len(kind.seeds) - 1
    start = guided.packed(index, kind.seeds[index][1])
    assert guided.unpacked(kind, start) == kind.seeds[index]
    cases = {guided.changed(kind, lambda data, most: data[:-1], [start], start, guided.MOST, seed) for seed in range(12)}
    assert len(cases) > 1 and all(guided.unpacked(kind, case)[0] in dict(kind.seeds) for case in cases)
    for case in (start, *sorted(cases)[:3], b'', b'\0'):
        tally.run(case)
    assert tally.violations == {} and tally.counts['read'] + tally.counts['refused'] == tally.counts['cases']


def fails(name, data, folder):
    "What a library with four faults would do."
    if b'number' in data:
        assert 1 + 1 == 3, 'a number is another one'
    if b'key' in data:
        json.loads('{}')['a']
    if b'memory' in data:
        b'x'*(guided.GIB + 2**26)
    if b'slow' in data:
        sum(range(10**9//3))
    return 'read'


@pytest.mark.parametrize('what, said', dict(number='another', key="'a'", memory='GiB', slow='seconds').items())
def test_a_fault_is_noticed_once_and_kept_as_a_case(tmp_path, what, said):
    kind = guided.Kind((('x.txt', b'fine'),), None, lambda *file: guided.timely(fails, *file))
    tally = guided.Tally(kind, tmp_path)
    for data in b'fine', what.encode(), b'fine', what.encode() + b'!':
        if what != 'slow' or tally.counts['cases'] < 3:    # once is enough of waiting
            tally.run(guided.packed(0, data))
    (found,) = tally.violations.values()
    assert said in found['said'] and found['case'] == 2 and 'Traceback' in found['trace']
    past = tmp_path/'past.json'
    past.write_text('[]')
    for _ in range(2):
        guided.kept([found | dict(target='guided: texts')], past)
    assert json.loads(past.read_text()) == [['texts', 'x.txt', what, None]]


def test_without_atheris_one_sentence_says_how_to_get_it():
    if guided.is_there():
        pytest.skip('Atheris is installed')
    done = subprocess.run([*RUN, '--only', 'guided: cards', '--cases', '1'], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines() == [guided.HOW_TO_GET] and 'pip install atheris' in guided.HOW_TO_GET


def test_atheris_finds_files_that_reach_new_code(tmp_path):
    pytest.importorskip('atheris')
    done = subprocess.run([*RUN, '--only', 'guided: cards', '--cases', '300', '--out', tmp_path/'fuzz.json'], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = Counter(json.loads((tmp_path/'fuzz.json').read_text())['targets']['guided: cards'])
    assert counts['cases'] == 300 == counts['read'] + counts['refused'] and counts['new_code'] > 5 and counts['violations'] == 0


def test_counts_are_written_after_each_target_and_added_to_those_of_other_runs(tmp_path):
    import run
    told = lambda first, **counts: dict(first=first, cases=5, targets={name: dict(cases=5, read=n, refused=5 - n, violations=0) for name, n in counts.items()})
    out, before = tmp_path/'fuzz.json', None
    for now in told(0, a=2), told(0, a=2, b=3):
        run.add(out, now, before)
        before = now
    for _ in range(2):    # the same numbers again are not counted again
        run.add(out, told(5, a=1), None)
    found = json.loads(out.read_text())
    assert found['total'] == dict(cases=15, read=6, refused=9, violations=0) and len(found['runs']) == 2
    assert {name: counts['cases'] for name, counts in found['targets'].items()} == dict(a=10, b=5)
