"The benchmark for GPUs runs in tiny sizes on any machine, so that nothing is found out on a GPU that could have been found out here."
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1]/'benchmarks'/'gpu.py'
TRAINING = {'shared, blocks', 'packed', 'padded'}


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    "What a rehearsal measures; it leaves no file."
    folder, before = tmp_path_factory.mktemp('gpu'), sorted(SCRIPT.parent.iterdir())
    done = subprocess.run([sys.executable, SCRIPT, '--rehearse'], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(SCRIPT.parent.iterdir()) == before and not any(folder.iterdir())
    return json.loads(done.stdout.splitlines()[-1])


def check_ways(row, asked):
    "Every way has a speed and a peak, and what is shared is computed once."
    assert set(row['training']) == TRAINING and set(row[asked]) == {'shared', 'padded'}
    for what in 'training', asked:
        assert all(way['tokens_per_second'] > 0 and way['peak_gib'] > 0 for way in row[what].values())
    training = row['training']
    assert training['shared, blocks']['tokens'] < training['padded']['tokens'] == training['packed']['tokens']
    assert row[asked]['shared']['tokens'] < row[asked]['padded']['tokens']


def test_survey_records_are_measured(found):
    assert [row['model'] for row in found['results']] == ['tiny, float32', 'tiny, bfloat16']
    assert found['server']['scorer'] == '/v1/score'
    for row in found['results']:
        check_ways(row, 'scoring')
    assert found['results'][1]['from_float32'] < .01


def test_interviews_are_measured(found):
    assert [row['model'] for row in found['interviews']] == ['tiny, float32', 'tiny, bfloat16']
    for row in found['interviews']:
        check_ways(row, 'asking')
    assert found['interviews'][0]['asking']['shared']['same_replies'] == 1


def test_a_base_in_four_bits_is_measured_where_bitsandbytes_is_installed(found):
    row, = found['qlora']
    if importlib.util.find_spec('bitsandbytes'):
        check_ways(row, 'scoring')
        assert row['model'] == 'tiny, 4 bits'
    else:
        assert row['skipped'] == 'bitsandbytes is not installed: run pip install bitsandbytes'


def test_what_else_a_gpu_is_for_is_begun(found):
    assert [row['passed'] for row in found['tests'] + found['curve']] == [True, True]
    assert 'passed' in found['tests'][0]['said']
