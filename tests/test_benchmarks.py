"Every benchmark can be tried in a minute, and leaves nothing where it was tried."
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1]/'benchmarks'
SCRIPTS = sorted(str(p) for p in FOLDER.glob('*.py') if p.name != 'options.py')
HELP = '''
import contextlib, io, json, runpy, sys
sys.path.insert(0, sys.argv[1])
said = {}
for script in sys.argv[2:]:
    sys.argv = [script, '--help']
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        runpy.run_path(script, run_name='__main__')
    said[script] = out.getvalue()
print(json.dumps(said))
'''


def run(*asked):
    done = subprocess.run([sys.executable, *asked], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_benchmark_says_that_it_can_be_quick():
    said = json.loads(run('-c', HELP, FOLDER, *SCRIPTS).splitlines()[-1])
    assert len(said) > 30 and not [script for script, text in said.items() if '--quick' not in text]


@pytest.mark.parametrize('name', ['simulators', 'stacking'])
def test_a_quick_benchmark_keeps_no_file(name):
    def there():
        return {p.name: p.stat().st_mtime_ns for p in FOLDER.iterdir() if p.is_file()}
    before = there()
    assert run(FOLDER/f'{name}.py', '--quick')
    assert there() == before
