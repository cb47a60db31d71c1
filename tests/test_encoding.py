"What Windows does otherwise: text files are UTF-8 whatever the machine's own encoding, and processes are started, not forked."
import ast
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOWN = [p for p in sorted(ROOT.glob('nbs/*/*.ipynb')) if p.parent.name in ('course', 'tutorials', 'recipes')]
CODE = [*sorted(ROOT.glob('alignsurvey/**/*.py')), *sorted(ROOT.glob('nbs/_site/*.py')), ROOT/'setup.py']
NOT_TEXT = {'os', 'zipfile', 'z', 'Image', 'gzip'}    # what else has an `open`


def leaves_it_open(call):
    "Whether a call reads or writes text in whatever encoding the machine prefers."
    name = getattr(call.func, 'attr', getattr(call.func, 'id', ''))
    named = {k.arg for k in call.keywords}
    if 'encoding' in named:
        return False
    if name in ('read_text', 'write_text'):    # the methods of a path; functions of the same name take the path first
        return isinstance(call.func, ast.Attribute) and len(call.args) == (name == 'write_text')
    if name in ('open', 'fdopen') and getattr(getattr(call.func, 'value', None), 'id', '') not in NOT_TEXT - {'os'*(name == 'fdopen')}:
        modes = [a.value for a in [*call.args[1:], *(k.value for k in call.keywords)] if isinstance(a, ast.Constant)]
        return not any(isinstance(m, str) and 'b' in m for m in modes)
    return bool({'text', 'universal_newlines'} & named) and name in ('run', 'Popen', 'check_output')


def found_in(source):
    return [f'line {n.lineno}: {ast.unparse(n)[:80]}' for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and leaves_it_open(n)]


def cells(path):
    return [''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']


def test_such_calls_are_found():
    for bad in ('open(p)', "open(p, 'w')", 'p.read_text()', 'p.write_text(t)', "os.fdopen(n, 'w')", 'subprocess.run(c, text=True)', "p.open(mode='r')"):
        assert found_in(bad), bad
    for good in ("open(p, 'rb')", "open(p, encoding='utf-8')", 'write_text(p, t)', 'read_text(p)', 'os.open(p, os.O_EXCL)', 'subprocess.run(c)'):
        assert not found_in(good), good


def test_every_text_file_says_its_encoding():
    found = [f'{p.relative_to(ROOT)}, {said}' for p in CODE for said in found_in(p.read_text(encoding='utf-8'))]
    found += [f'{p.relative_to(ROOT)}, {said}' for p in SHOWN for cell in cells(p) if not cell.startswith('%') for said in found_in(cell)]
    assert not found, '\n'.join(found)


WORK = '''
import sys, warnings
warnings.filterwarnings('error', category=EncodingWarning, module='alignsurvey')
from pathlib import Path
from alignsurvey.all import *
from alignsurvey.cli.commands import main

if __name__ == '__main__':
    survey = Survey.load('invented_interviews')
    records = survey.records('response', lang='zh', verbose=False)
    survey.codebook.save('codebook.yaml')
    export_records(records, 'records')
    [path] = {*Path('records').glob('*.json')} - {Path('records')/'dataset_info.json'}
    assert read_records(path)['question'][:] == records['question'][:]
    sys.argv = ['alignsurvey', 'convert', 'invented_interviews', '\\u8bb0\\u5f55.json', '--lang', 'zh']
    main()
'''


def test_work_is_the_same_where_text_is_cp1252_unless_said(tmp_path):
    "A file that the library opens in the machine's own encoding is an error here; what a pipe cannot show is shown otherwise."
    (tmp_path/'work.py').write_text(WORK, encoding='utf-8')
    env = dict(os.environ, PYTHONUTF8='0', PYTHONCOERCECLOCALE='0', LC_ALL='C.UTF-8', PYTHONIOENCODING='cp1252')
    ask = [sys.executable, '-X', 'warn_default_encoding', 'work.py']
    done = subprocess.run(ask, cwd=tmp_path, env=env, capture_output=True, encoding='cp1252', timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert '\\u8bb0\\u5f55.json' in done.stdout
    assert (tmp_path/'\u8bb0\u5f55.json').exists()
