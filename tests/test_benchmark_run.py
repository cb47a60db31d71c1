"The benchmark's protocol from end to end on a tiny model: every part is scored, nobody of a test is trained on, and a kill changes nothing."
import json, os, shutil, signal, subprocess, sys
import pandas as pd
import pytest
from test_sft import save_tiny
from alignsurvey.cli.benchmark import PROTOCOL
from alignsurvey.cli.benchmark_run import benchmark_settings, run_benchmark, write_corpora, write_studies
from alignsurvey.models.adapters import adapter_hash, check_unseen, lineage, trained_on
from alignsurvey.prediction.cost import run_status
from alignsurvey.records.reading import read_records
from alignsurvey.study import Study
from alignsurvey.study.askers import learns_from

BOOK = '''
id: {id}
respondent_id: id
background:
  place: {{question: where you live, scale: nominal, options: {{1: town, 2: farm}}}}
items:
  bus:
    question: More buses?
    scale: ordinal
    options: {{1: 'no', 2: 'yes'}}
    stances: {{1: negative, 2: positive}}
'''


def survey_in(folder, id='small', people=80):
    "Two answers in three are yes; nearly all live in the town, so that one group is large enough."
    folder.mkdir()
    (folder/'codebook.yaml').write_text(BOOK.format(id=id))
    pd.DataFrame(dict(id=range(people), place=[1 + (i % 13 == 0) for i in range(people)], bus=[1 + (i % 3 > 0) for i in range(people)])).to_csv(
        folder/'survey.csv', index=False)
    return str(folder)


@pytest.fixture(scope='module')
def how(tmp_path_factory):
    "A survey, interviews and a random model that reads bytes."
    folder = tmp_path_factory.mktemp('given')
    model = save_tiny(folder/'tiny')
    config = json.loads((folder/'tiny'/'config.json').read_text())
    (folder/'tiny'/'config.json').write_text(json.dumps(dict(config, max_position_embeddings=2048)))    # bytes are many
    return dict(surveys=[survey_in(folder/'small')], interviews=['invented_interviews'], models=[model], quick=True)


@pytest.fixture(scope='module')
def done(how, tmp_path_factory):
    "All of it, run once."
    out = tmp_path_factory.mktemp('benchmark')
    with pytest.MonkeyPatch.context() as m:
        m.setenv('TQDM_DISABLE', '1')
        return out, run_benchmark(out, **how)


def parts_of(out): return {p.name: next(out.glob(f'*/{p.name}')) for p in PROTOCOL}


def people(records): return set(zip(records['source'], records['respondent_id']))


def test_every_part_is_scored_for_the_base_and_for_two_stages(done):
    out, table = done
    assert list(table.part) == [p.name for p in PROTOCOL]
    scores = pd.read_csv(out/'scores.csv')
    page = (out/'report.html').read_text(encoding='utf-8')
    for name, folder in parts_of(out).items():
        own = scores[scores.part == name]
        assert {'base', 'two stages'} <= set(own.predictor[own.metric.isin(['failed', 'chrf'])])
        assert f'{name}/report/report.html' in page and 'is not a person' in (folder/'report'/'report.html').read_text(encoding='utf-8')
        assert (folder/'plan.lock.yaml').exists() and (folder/'report'/'statements.md').exists()
    assert table.set_index('part').loc['response', 'two stages'] != '–'


def test_nobody_of_a_test_is_in_a_corpus_or_a_training_split(done):
    out, _ = done
    corpora = set().union(*(people(read_records(file)) for file in (out/'corpus').glob('*.jsonl')))
    assert {source for source, _ in corpora} == {'small', 'invented_interviews'}
    for name, folder in parts_of(out).items():
        if name.endswith('_groups'):
            continue
        test, train = (read_records(folder/'records'/f'{side}.jsonl') for side in ('test', 'train'))
        assert people(test) and not people(test) & (corpora | people(train))
        stages = trained_on(folder/'adapters'/'two stages')
        assert [stage['stage'] for stage in stages] == ['foundation', 'task']
        check_unseen(stages, test)


def test_stage_two_begins_at_the_adapter_of_stage_one(done):
    out, _ = done
    first = next(out.glob('*/foundation'))
    for task in 'role', 'interview', 'stance', 'response':
        before, last = lineage(parts_of(out)[task]/'adapters'/'two stages')
        assert before['adapter_hash'] == adapter_hash(first) and (last['stage'], last['policy']) == ('task', 'continue')
        made = json.loads((first/'study.json').read_text())['settings']
        assert (made['stage'], before['records']) == ('foundation', sum(map(len, map(read_records, (out/'corpus').glob('*.jsonl')))))


def test_a_second_call_trains_and_asks_nothing(done, how, capsys):
    out, table = done
    files = {f: f.stat().st_mtime_ns for f in out.rglob('*') if f.is_file()}
    again = run_benchmark(out, **how)
    changed = {f.name for f in files if f.stat().st_mtime_ns != files[f]}
    assert changed == {'scores.csv', 'report.html'} and set(out.rglob('*.*')) >= set(files)
    pd.testing.assert_frame_equal(again, table)
    assert 'steps of' not in capsys.readouterr().out
    with pytest.raises(ValueError, match='was begun with other settings'):
        run_benchmark(out, **dict(how, seed=1))


KILLED = '''
import json, os, signal, sys
from alignsurvey.cli.benchmark_run import run_benchmark
from alignsurvey.prediction.journal import Journal

add, calls = Journal.add, []

def second(self, answers, run):
    calls.append(run)
    add(self, dict(list(answers.items())[:1]), run)    # of all who live alike
    if len(calls) > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, answers, run)

Journal.add = second
run_benchmark(sys.argv[1], **json.loads(sys.argv[2]))
'''


@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='this system kills otherwise')
def test_a_killed_run_goes_on_to_the_same_table(done, how, tmp_path):
    "The last task is taken away, and killed while the model of two stages answers."
    out, table = done
    copy = tmp_path/'benchmark'
    shutil.copytree(out, copy)
    for name in 'response', 'response_groups':
        for made in parts_of(copy)[name].iterdir():
            if made.name not in ('study.yaml', 'plan.lock.yaml'):
                shutil.rmtree(made) if made.is_dir() else made.unlink()
    killed = subprocess.run([sys.executable, '-c', KILLED, str(copy), json.dumps(how)], capture_output=True, env=dict(os.environ, TQDM_DISABLE='1'))
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    response = parts_of(copy)['response']
    adapter = response/'adapters'/'two stages'/'adapter_model.safetensors'
    before = adapter.stat().st_mtime_ns
    assert run_status(response/'answers'/'two stages.sqlite')[-1]['answered'] < 40 and not (response/'scores.csv').exists()
    pd.testing.assert_frame_equal(run_benchmark(copy, **how), table)
    assert (copy/'scores.csv').read_bytes() == (out/'scores.csv').read_bytes() and adapter.stat().st_mtime_ns == before


def test_groups_are_not_asked_of_a_model_that_was_trained_on_their_members(done, tmp_path):
    shutil.copytree(done[0], tmp_path/'other')
    path = parts_of(tmp_path/'other')['response_groups']/'study.yaml'
    path.write_text(path.read_text().replace('  split: 0', '  split: 1'))
    with pytest.raises(ValueError, match='of the members is in the training data of stage'):
        Study.load(path).run()


def test_a_survey_with_too_few_respondents_for_groups_is_told_what_can_be_changed(how, tmp_path):
    few = dict(how, surveys=[survey_in(tmp_path/'few', people=40)])
    with pytest.raises(ValueError, match='40 respondents are too few for the groups of 30 that .*larger --sample'):
        run_benchmark(tmp_path/'out', only_plan=True, **few)


def test_a_task_of_several_surveys_is_trained_once_on_all_of_them(how, tmp_path):
    surveys = [*how['surveys'], survey_in(tmp_path/'other', 'other', 30)]
    settings = benchmark_settings(surveys, models=['one', 'two'], quick=True)
    studies = write_studies(tmp_path/'out', settings)
    write_corpora(tmp_path/'out', studies)
    assert [one.trains for one in studies] == 2*[True, False, False, False]*2
    first, second = (Study.load(tmp_path/'out'/'one'/f'response_{id}'/'study.yaml') for id in ('small', 'other'))
    pooled = learns_from(first, 'two stages', first.splits())
    assert people(pooled) == people(first.splits()['train']) | people(second.splits()['train'])
    named = second.settings['predictors']['two stages']
    assert (second.folder/named['adapter']).resolve() == first.folder/'adapters'/'two stages' and named['training'] is None
    with pytest.raises(ValueError, match='two surveys have the same id'):
        write_studies(tmp_path/'twice', benchmark_settings(2*how['surveys'], quick=True))
