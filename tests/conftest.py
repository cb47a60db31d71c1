"Shared by the tests: a command line run as a user would, and where the benchmark's own example files may lie."
import gc, os, subprocess, sys
from pathlib import Path
import pytest

REFERENCE = Path(os.environ.get('ALIGNSURVEY_REFERENCE') or Path(__file__).parents[2]/'shared'/'reference')


LONGEST = 'test_cli', 'test_hostile_servers', 'test_journal', 'test_processes', 'test_server', 'test_sft', 'test_study'


def pytest_collection_modifyitems(items):
    "Files that take longest come first, so that none of them is left alone at the end."
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(scope='session')
def cli():
    "Run `alignsurvey …` in its own process; give (exit code, stdout, stderr)."
    def run(*args, cwd=None, **env):
        done = subprocess.run([sys.executable, '-m', 'alignsurvey', *map(str, args)], capture_output=True, text=True, cwd=cwd,
                              env={**os.environ, 'TQDM_DISABLE': '1', 'COLUMNS': '200', **env})
        return done.returncode, done.stdout, done.stderr
    return run


def pytest_collection_finish(session):
    "What is loaded by now stays: torch alone has so many objects that looking through them all takes seconds, each time."
    gc.collect()
    gc.freeze()


@pytest.fixture
def here():
    "The same in this process, for commands that load a model: a process of its own takes seconds to start."
    from typer.testing import CliRunner
    from alignsurvey.cli.commands import app
    def run(*args):
        done = CliRunner().invoke(app, [str(a) for a in args], env=dict(COLUMNS='200'))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr
    return run


@pytest.fixture
def reference():
    "Folder with published example files of the AlignSurvey benchmark; they are not part of this repository."
    if not REFERENCE.is_dir(): pytest.skip('the published example files are not here')
    return REFERENCE
