"The course: no answer is left in what students get, and every check says what it should."
import ast
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from html import unescape
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

from alignsurvey.teaching import edition_for_slides, exercises, leaks, lesson_numbers, lessons, read_lesson, student_edition, write_course, write_otter
from alignsurvey.teaching.lessons import edition_for_students

sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'nbs/_site'))

import slides  # noqa: E402

matplotlib.use('Agg')
LESSONS = lesson_numbers()


def sources(nb):
    "Code of each cell that has any."
    found = [''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'code']
    return [s for s in found if not s.startswith('%')]


def run(nb):
    "Runs a notebook's cells in this process: what each check said, by the exercise's variable."
    space, said = {'__name__': 'lesson'}, {}
    with contextlib.redirect_stdout(io.StringIO()):
        for source in sources(nb):
            check = re.fullmatch(r'(\w+)\.check\(\)', source.strip())
            if check:
                said[space[check[1]].name] = eval(source, space)
            else:
                exec(compile(ast.parse(source), 'cell', 'exec'), space)
    return space, said


@pytest.fixture(scope='module')
def student(tmp_path_factory):
    "Each lesson as a student gets it, run from top to bottom."
    folder, done = tmp_path_factory.mktemp('class'), {}
    old = os.getcwd()
    os.chdir(folder)
    for number in LESSONS:
        done[number] = run(student_edition(read_lesson(number)))
    os.chdir(old)
    return done


@pytest.mark.parametrize('number', LESSONS)
def test_an_untouched_copy_runs_and_has_attempted_nothing(student, number):
    space, said = student[number]
    assert list(said) == [q.name for q in exercises(number)]
    assert {verdict.status for verdict in said.values()} == {'not attempted'}


@pytest.mark.parametrize('number', LESSONS)
def test_typical_mistakes_are_told_what_they_are(number):
    for q in exercises(number):
        assert len(q.mistakes) >= 3, q.name
        for said, mistake in q.mistakes.items():
            verdict = q.judge(mistake())
            assert verdict.status == 'not yet', (q.name, said)
            assert verdict.why.strip('.') == said.strip('.'), (q.name, said, verdict)


@pytest.mark.parametrize('number', LESSONS)
def test_the_solutions_are_correct_in_a_students_notebook(student, number, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    space, _ = student[number]
    space = dict(space)
    for q in exercises(number):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            q.solution()
        plt.close('all')    # as a notebook does after each cell
        exec(shown.getvalue(), space)
        verdict = eval('q.check()', space, dict(q=q))
        assert verdict.status == 'correct', (q.name, verdict)


@pytest.mark.parametrize('number', LESSONS)
def test_nothing_that_is_an_answer_is_left_in(number, tmp_path):
    nb = read_lesson(number)
    mine = student_edition(nb)
    assert leaks(mine, nb) == []
    text = json.dumps(mine)
    assert '# solution' not in text and '"solution"' not in text
    assert text.count('# your code here') == len(exercises(number))
    kept = [c for c in mine['cells'] if c.get('outputs')]
    assert len(kept) <= 3    # the first page


@pytest.mark.parametrize('number', LESSONS)
def test_a_lesson_says_what_it_asks_for_and_what_comes_of_it(number):
    text = '\n'.join(''.join(c['source']) for c in read_lesson(number)['cells'] if c['cell_type'] == 'markdown')
    for part in '**Before**', '**Afterwards**', '**Data**', '**Planned time**', '## Quiz', '## To take away', '## Further questions':
        assert part in text, part
    asked = re.findall(r'\*\*Exercise (\d+)\.', text)
    assert asked == [str(i + 1) for i in range(len(asked))] and 5 <= len(asked) <= 8
    assert len(exercises(number)) == len(asked) + 1


def test_an_answer_that_is_left_in_is_found():
    nb = read_lesson(1)
    mine = student_edition(nb)
    answer = next(c for c in nb['cells'] if '# solution' in ''.join(c['source']))
    line = ''.join(answer['source']).split('\n')[-1]
    for where in (dict(mine, metadata=dict(note=line)), dict(mine, cells=[*mine['cells'], dict(outputs=[dict(text=[line])])])):
        assert leaks(where, nb) == [line]


def test_a_right_number_that_a_lesson_tells_is_found(monkeypatch):
    nb = read_lesson(6)
    truth = next(q for q in exercises(6) if q.name == 'model_gap').truth()
    nb['cells'][0]['source'].append(f' It is {truth:.4f}.')
    monkeypatch.setattr(lessons, 'read_lesson', lambda number: nb)
    with pytest.raises(ValueError, match=f"lesson_06.ipynb: '{truth:.4f}' is left in the edition for students"):
        edition_for_students(6)


def test_lessons_are_copied_without_working_out_what_they_ask(tmp_path, monkeypatch):
    "Right numbers take half a minute; what came installed was searched for them when it was made."
    monkeypatch.setattr(lessons, 'exercises', None)
    assert len(write_course(tmp_path/'class')) == len(LESSONS)


def test_links_of_a_copy_lead_somewhere(tmp_path):
    paths = write_course(tmp_path/'class', teacher=True)
    assert len(paths) == 2*len(LESSONS)
    for path in paths:
        text = '\n'.join(''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'])
        assert '](' in text
        for to in re.findall(r'\]\(([^)\s]+\.ipynb)', text):
            assert (path.parent/to).exists(), (path.name, to)


def test_a_rounded_number_is_told_to_be_rounded():
    share = next(q for q in exercises(1) if q.name == 'share_too_little')
    truth = share.truth()
    assert share.judge(round(truth, 4)).status == 'correct'
    said = share.judge(round(truth, 2))
    assert said.status == 'not yet' and said.why == f'{round(truth, 2)} is rounded: leave the number as it was computed.', said
    assert share.judge(round(truth, 2) + .01).why.endswith('is not it.')


def test_no_work_of_a_student_is_overwritten(tmp_path):
    paths = write_course(tmp_path/'class')
    mine = paths[0]
    mine.write_text('my work', encoding='utf-8')
    with pytest.raises(FileExistsError, match='lesson_01.ipynb: exists already'):
        write_course(tmp_path/'class')
    assert mine.read_text(encoding='utf-8') == 'my work'


def test_the_command_copies_lessons_and_packs_them(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = here('course', 'class', '--teacher', '--bundle')
    assert code == 0 and 'jupyter lab "class"' in out, err
    for number in LESSONS:
        assert (tmp_path/'class'/f'lesson_{number:02d}.ipynb').exists()
        assert '# solution' in (tmp_path/'class_solutions'/f'lesson_{number:02d}.ipynb').read_text(encoding='utf-8')
    with zipfile.ZipFile(tmp_path/'class.zip') as packed:
        assert 'lesson_01.ipynb' in packed.namelist()
    code, out, err = here('course', 'class')
    assert code == 2 and 'exists already' in err


def test_what_is_handed_to_students_holds_no_solution(here, tmp_path, monkeypatch):
    "A teacher who asks for everything at once gets a folder and a .zip that can be given away."
    monkeypatch.chdir(tmp_path)
    code, out, err = here('course', 'class', '--teacher', '--bundle')
    assert code == 0, err
    given = [p.read_text(encoding='utf-8') for p in (tmp_path/'class').rglob('*.ipynb')]
    with zipfile.ZipFile(tmp_path/'class.zip') as packed:
        given += [packed.read(name).decode('utf-8') for name in packed.namelist() if name.endswith('.ipynb')]
    assert len(given) == 2*len(LESSONS)
    assert not [text for text in given if '# solution' in text]
    assert 'class_solutions' in out, out


def test_solutions_stand_beside_a_folder_of_any_name(tmp_path, monkeypatch):
    "'.' has no name of its own to build on."
    here = tmp_path/'room'
    here.mkdir()
    monkeypatch.chdir(here)
    paths = write_course('.', teacher=True)
    assert {p.resolve().parent for p in paths} == {here, tmp_path/'room_solutions'}


@pytest.mark.parametrize('number', [1, 2])
def test_otter_grades_a_solution_full_and_an_untouched_copy_not_at_all(number, tmp_path):
    otter = shutil.which('otter')
    if not otter:
        pytest.skip('otter-grader is not installed: pip install otter-grader, in an environment that sees this library')
    write_otter(number, tmp_path)
    beside = [p.name for p in tmp_path.iterdir() if p.is_dir() and p.name != 'tests']
    for command in (['generate', '-t', 'tests', '-o', 'grader.zip', '--no-environment', *beside], ['run', '-a', 'grader.zip', '-o', 'own', 'solution.ipynb'],
            ['run', '-a', 'grader.zip', '-o', 'untouched', f'lesson_{number:02d}.ipynb']):
        (tmp_path/command[-2]).mkdir(exist_ok=True) if command[0] == 'run' else None
        done = subprocess.run([otter, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    marks = {name: [t.get('score') or 0 for t in json.loads((tmp_path/name/'results.json').read_text())['tests']] for name in ('own', 'untouched')}
    assert sum(marks['own']) == len(exercises(number)) and sum(marks['untouched']) == 0, marks


def pictures(nb):
    return {o['data']['image/png'] for c in nb['cells'] for o in c.get('outputs', []) if 'image/png' in o.get('data', {})}


@pytest.mark.parametrize('number', LESSONS)
def test_slides_show_no_answer_and_no_picture_that_needs_one(number):
    nb, shown = read_lesson(number), edition_for_slides(number)
    assert leaks(shown, nb) == []
    asked = [c for c in nb['cells'] if '# solution' in ''.join(c['source'])]
    told = pictures(dict(cells=asked))
    assert not told & pictures(shown)
    kept = [c['id'] for c in shown['cells'] if c.get('outputs')]
    assert kept and not set(kept) & {c['id'] for c in asked}


def test_slides_fetch_nothing():
    html = slides.page(2)
    text = unescape(html)
    assert '<section' in html and 'Samples and how far they are off' in text
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*?(?:src|href)="([^"]*)"', html)
    assert loaded and {to for to in loaded if not to.startswith(('reveal/', 'data:'))} == set()
    assert not re.search(r'url\([\'"]?http|import [^;]*http', html)
    assert '# solution' not in html and 'mean_by_hand' not in html
