"What is handed out: locked by hash, under licences that may travel, and built twice the same."
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'nbs/_site'))

from licences import COPYLEFT, brought_along, licence, licence_page  # noqa: E402


def pinned(path):
    "name -> version of the lines `name==version` of a file."
    lines = re.findall(r'^([\w.-]+)==([^\s;\\]+)', path.read_text(encoding='utf-8'), re.MULTILINE)
    return {re.sub('[-_.]+', '-', name).lower(): version for name, version in lines}


def test_the_lock_holds_every_tested_version_with_hashes():
    locked, tested = pinned(ROOT/'requirements.lock'), pinned(ROOT/'constraints.txt')
    differ = sorted(n for n in tested if locked.get(n) != tested[n])
    assert not differ, f'{differ}: not in requirements.lock as in constraints.txt: run make lock'
    entries = re.split(r'\n(?=\S)', (ROOT/'requirements.lock').read_text(encoding='utf-8').strip())
    assert len(entries) >= len(tested)
    assert [e for e in entries if '--hash=sha256:' not in e] == []


def test_nothing_that_comes_along_is_copyleft():
    names = brought_along()
    assert {'torch', 'transformers', 'trl', 'statsmodels'} <= set(names)
    found = {n: licence(n) for n in names}
    assert {n: said for n, said in found.items() if COPYLEFT.search(said)} == {}
    assert [n for n, said in found.items() if said == 'not stated'] == []
    assert '| torch |' in licence_page()


def test_a_copyleft_licence_would_be_seen():
    for said in 'GPL-3.0-only', 'GNU Lesser General Public License v3 (LGPLv3)', 'AGPL-3.0-or-later':
        assert COPYLEFT.search(said)
    assert not COPYLEFT.search('Mozilla Public License 2.0 (MPL 2.0)')


def wheel_hash(folder):
    "Builds a wheel from a copy of the tracked files, gives the hash of its bytes."
    names = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split('\n')
    for name in filter(None, names):
        if not (ROOT/name).exists():
            continue
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/name, folder/name)
    env = dict(os.environ, SOURCE_DATE_EPOCH='1700000000')
    subprocess.run([sys.executable, '-m', 'build', '--no-isolation', '--wheel', '--outdir', 'dist', '.'],
        cwd=folder, env=env, check=True, capture_output=True)
    [wheel] = (folder/'dist').glob('*.whl')
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.mark.skipif(not (ROOT/'.git').exists(), reason='needs the repository')
def test_a_wheel_is_the_same_bytes_twice(tmp_path):
    first = wheel_hash(tmp_path/'a')
    time.sleep(2)
    assert wheel_hash(tmp_path/'b') == first


def test_binder_installs_what_make_installs():
    conda = (ROOT/'.binder/environment.yml').read_text(encoding='utf-8')
    least = re.search(r'^min_python *= *(.+)$', (ROOT/'settings.ini').read_text(encoding='utf-8'), re.M)[1]
    assert f'- python={least}\n' in conda
    steps = re.findall(r'^\$install (.+)$', (ROOT/'.binder/postBuild').read_text(encoding='utf-8'), re.M)
    rule = (ROOT/'Makefile').read_text(encoding='utf-8').partition('$(READY): constraints')[2]
    assert steps == list(dict.fromkeys(re.findall(r'\$\(INSTALL\) ([^;\n]+)', rule)))
