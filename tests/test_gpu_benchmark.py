"The benchmark for GPUs runs in tiny sizes on any machine, so that nothing is found out on a GPU that could have been found out here."
import json, subprocess, sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1]/'benchmarks'/'gpu.py'


def test_the_benchmark_for_gpus_is_rehearsed(tmp_path):
    before = sorted(SCRIPT.parent.iterdir())
    done = subprocess.run([sys.executable, SCRIPT, '--rehearse'], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert [r['model'] for r in found['results']] == ['tiny, float32', 'tiny, bfloat16'] and found['server']['scorer'] == '/v1/score'
    for each in found['results']:
        assert set(each['training']) == {'shared, blocks', 'packed', 'padded'} and set(each['scoring']) == {'shared', 'padded'}
        for what in 'training', 'scoring':
            assert all(way['tokens_per_second'] > 0 and way['peak_gib'] > 0 for way in each[what].values())
        shared = each['training']['shared, blocks']
        assert shared['tokens'] < each['training']['padded']['tokens'] == each['training']['packed']['tokens']
    assert found['results'][1]['from_float32'] < .01 and sorted(SCRIPT.parent.iterdir()) == before and not any(tmp_path.iterdir())
