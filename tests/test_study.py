"A study from one file: what was stopped ends with the same scores, and what is wrong is said in a sentence."
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alignsurvey.estimation.bootstrap import resamples
from alignsurvey.evaluation import stacking
from alignsurvey.evaluation.matching import match_shares
from alignsurvey.evaluation.stacking import stack
from alignsurvey.files.strict import FileFault
from alignsurvey.models import loading
from alignsurvey.prediction.cost import run_status
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.offsets import baseline_says, offsets_say
from alignsurvey.study import Study, deviations
from alignsurvey.study.askers import answers, asker, brought, calibrates_on, learns_from
from alignsurvey.study.checklists import GUIDE
from alignsurvey.study.multiverse import joint_test
from alignsurvey.study.plan import facts, primary_power
from alignsurvey.study.specifications import read_specifications
from alignsurvey.study.whole import plan_lines
from test_sft import save_tiny

os.environ['TQDM_DISABLE'] = '1'

SMALL = '''
survey: gss2018
items: [natsci, natroad]
background: [age]
sample: 60
predictors:
  zero-shot: {model: smollm2-135m, batch: 2}
baselines: [uniform, marginal]
primary: {predictor: zero-shot, versus: marginal, metric: brier, margin: 0.05}
n_boot: 100
'''

KILLED = '''
import os, signal
from alignsurvey.prediction.journal import Journal
from alignsurvey.study import Study, deviations
from alignsurvey.study.multiverse import joint_test
from alignsurvey.study.plan import facts
from alignsurvey.study.specifications import read_specifications

add = Journal.add

def last(self, answers, run):
    add(self, dict(list(answers.items())[:5]), run)
    os.kill(os.getpid(), signal.SIGKILL)

Journal.add = last
Study.load('study.yaml').run()
'''


def study_in(folder, text=SMALL):
    folder.mkdir(exist_ok=True)
    (folder/'study.yaml').write_text(text)
    return Study.load(folder/'study.yaml')


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    "A study of a random model of a few thousand weights: what is trained, kept and asked again is the same of any."
    model = save_tiny(tmp_path_factory.mktemp('tiny')/'model', positions=2048)
    return SMALL.replace('smollm2-135m', json.dumps(model))


@pytest.fixture(scope='module')
def url():
    "Address of a stub of a server, in a process of its own."
    stub = Path(__file__).with_name('stub_server.py')
    process = subprocess.Popen([sys.executable, stub, '{}'], stdout=subprocess.PIPE, text=True)
    yield f'http://127.0.0.1:{int(process.stdout.readline())}/v1'
    process.kill()
    process.wait()


@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='this system kills otherwise')
def test_a_study_that_was_killed_ends_with_the_same_scores(tmp_path, url):
    asked = SMALL.replace('smollm2-135m, batch: 2', f"stub, server: '{url}'")
    whole = study_in(tmp_path/'whole', asked)
    whole.run()
    killed, kept = study_in(tmp_path/'killed', asked), [0]
    for _ in range(2):    # each time after five answers, or the first bundle of fewer
        done = subprocess.run([sys.executable, '-c', KILLED], cwd=killed.folder, capture_output=True)
        assert done.returncode == -signal.SIGKILL
        assert not (killed.folder/'scores.csv').exists()
        kept.append(run_status(killed.folder/'answers/zero-shot.sqlite')[-1]['answered'])
    assert kept == sorted(set(kept)) and kept[-1] < len(killed.splits()['test'])
    killed.run()
    assert (killed.folder/'scores.csv').read_bytes() == (whole.folder/'scores.csv').read_bytes()


@pytest.mark.parametrize('old, new, said', [
    ('sample:', 'samples:', 'study.yaml: samples is no key of a study: use one of survey'),
    ('{model: smollm2-135m, batch: 2}', '{batch: 2}', 'study.yaml: predictors.zero-shot.model is missing: give a model'),
    ('natroad', 'natroads', "study.yaml: items names 'natroads', which"),
    ('gss2018', 'gss2081', 'study.yaml: survey: gss2081: no such'),
    ('versus: marginal', 'versus: mrp', "study.yaml: primary.versus is 'mrp': use one of zero-shot, uniform, marginal"),
    ('sample: 60', 'sample: 60\nsample: 17', "'sample' stands twice"),
    ('n_boot: 100', 'n_boot: often', "study.yaml: n_boot is 'often': give a whole number"),
    ('batch: 2}', 'batch: 2, elicitation: guess}', 'study.yaml: predictors.zero-shot.elicitation is'),
    ('n_boot: 100', 'vary: {wording: [rude]}', "study.yaml: vary.wording names 'rude': use some of benchmark"),
    ('n_boot: 100', 'vary: {elicitation: [greedy]}', 'study.yaml: vary.elicitation: greedy gives no probabilities'),
    ('n_boot: 100', 'probes: {guess: {}}', 'study.yaml: probes.guess is no probe: use order, verbatim, shares, reworded'),
    ('batch: 2}', "batch: 2, server: 'http://localhost'}\nprobes: {order: {}}", 'study.yaml: probes.order: no predictor can do it'),
    ('n_boot: 100', 'vary: {tone: [loud]}', "study.yaml: vary.tone: can't be varied: use wording"),
    ('margin: 0.05', 'margin: -1', 'study.yaml: primary.margin is -1: give a number above 0'),
    ('n_boot: 100', 'n_boot: 1', 'study.yaml: n_boot is 1: give a whole number of resamples, 100 or more'),
    ('batch: 2}', 'batch: 0}', 'study.yaml: predictors.zero-shot.batch is 0: give a whole number of records'),
    ('n_boot: 100', 'order: foo', "study.yaml: order is 'foo': use flip, shuffle"),
    ('batch: 2}', 'batch: 2, training: {lrr: 1}}', "study.yaml: predictors.zero-shot.training: 'lrr' is no setting"),
])
def test_a_slip_in_the_file_is_one_sentence(tmp_path, old, new, said):
    assert old in SMALL
    with pytest.raises(FileFault) as fault:
        study_in(tmp_path, SMALL.replace(old, new))
    assert said in str(fault.value) and '\n' not in str(fault.value)


def test_an_adapter_that_is_missing_is_named_before_anybody_is_asked(tmp_path):
    study = study_in(tmp_path, SMALL.replace('baselines:', '  tuned: {model: smollm2-135m, adapter: ../nope}\nbaselines:'))
    with pytest.raises(FileFault, match="study.yaml: predictors.tuned.adapter is '../nope', and there is no"):
        study.run()
    assert not (tmp_path/'answers').exists()


def test_the_commands_make_a_study_in_an_empty_folder(tmp_path, monkeypatch, here, url):
    monkeypatch.chdir(tmp_path)
    for verb in ('new', 'plan', 'run', 'report', 'check'):
        assert f'Example: alignsurvey {verb}' in here(verb, '--help')[1]
    assert here('run')[0] == 2 and 'alignsurvey new SURVEY' in here('plan')[2]
    assert here('new', 'gss2018')[1].strip() == 'study.yaml'
    assert here('new', 'gss2018')[0] == 2
    assert Study.load('study.yaml').settings['primary']['versus'] == 'marginal'
    Path('study.yaml').write_text(SMALL.replace('smollm2-135m, batch: 2', f"stub, server: '{url}'").replace('60', '24'))
    code, said, _ = here('plan')
    assert code == 0 and 'zero-shot: ' in said and 'price 0.0000' in said and 'terms of the data: Public-use data' in said
    assert here('report')[0] == 2    # it was not run
    code, said, _ = here('run')
    assert code == 0 and 'marginal' in said
    code, said, _ = here('report')
    assert code == 0 and 'The run did what was planned' in Path(said.strip()).read_text()
    assert here('check', '--share', '0.5')[:2] == (0, 'zero-shot: equal in everything but seconds\n')
    assert here('report', '--scores', 'scores.csv')[0] == 2


@pytest.mark.parametrize('old, new, said', [
    ('[natsci, natroad]', '[natsci]', 'items: natroad dropped'),
    ('[natsci, natroad]', '[natsci, natroad, natmass]', 'items: natmass added'),
    ('[age]', '[age, sex]', 'background: sex added'),
    ('sample: 60', 'sample: 50', 'sample: planned 60, run with 50'),
    ('margin: 0.05', 'margin: 0.1', 'primary.margin: planned 0.05, run with 0.1'),
    ('versus: marginal', 'versus: uniform', 'primary.versus: planned marginal, run with uniform'),
    ('metric: brier', 'metric: accuracy', 'primary.metric: planned brier, run with accuracy'),
    ('n_boot: 100', 'n_boot: 100\nseeds: {split: 1}', 'seeds.split: planned 0, run with 1'),
    ('n_boot: 100', 'n_boot: 100\nfailure_rule: wrong', 'failure_rule: planned missing, run with wrong'),
    ('batch: 2', 'batch: 2, elicitation: greedy', 'predictors.zero-shot.elicitation: planned score, run with greedy'),
    ('[uniform, marginal]', '[marginal, uniform, majority]', 'baselines: majority added'),
])
def test_each_edit_after_planning_is_named(tmp_path, old, new, said):
    planned = study_in(tmp_path)
    lock = facts(planned, planned.splits())
    edited = study_in(tmp_path, SMALL.replace(old, new))
    found = deviations(lock, facts(edited, edited.splits()))
    assert said in found
    assert not deviations(lock, lock)


def test_a_specification_that_fails_is_listed_and_the_others_finish(tmp_path, url):
    text = SMALL.replace('smollm2-135m, batch: 2', f"stub, server: '{url}'").replace('60', '24')
    study = study_in(tmp_path, text + 'vary: {wording: [benchmark, no persona], labels: [letters, none]}\n')
    study.run()
    found, failed = read_specifications(study)
    assert set(found.choices.labels) == {'letters'} and len(found.choices) == len(failed) == 2
    assert all('zero-shot' in said for said in failed)
    before = (study.folder/'specifications.csv').read_bytes()
    study.run()
    assert (study.folder/'specifications.csv').read_bytes() == before
    own = found.draws[0][found.choices.wording == 'benchmark'][0]
    scores = study.scores
    row = scores[(scores.metric == 'brier') & scores.question_id.isna() & (scores.versus == 'marginal')
        & (scores.predictor == 'zero-shot')].iloc[0]
    assert abs(row.value - own) < 1e-9    # the study's own specification is the comparison itself
    text = study.report().read_text()
    assert 'in 2 specifications' in text and 'Failed: benchmark, labels none' in text
    assert 'whether another wording' not in text and 'whether another order of questions' in text


def test_the_joint_test_keeps_its_level_and_finds_half():
    "Made-up studies with 12 specifications that share respondents; benchmarks/multiverse.py does it at length."
    rng, rejected = np.random.default_rng(0), []
    for advantage in (0, .15):
        p = []
        for seed in range(100):
            own = rng.normal(0, .3, (80, 1)) + rng.normal(0, .2, (80, 12))
            own[:, :6] -= advantage
            draws = np.vstack([times @ own/80 for times in resamples(80, 200, seed)])
            p.append(joint_test(draws, weight=np.ones(80)))
        rejected.append(np.mean(np.array(p) < .05))
    assert rejected[0] <= .12 and rejected[1] >= .9


def test_probes_are_planned_run_and_reported(tmp_path, small):
    asked = small.replace('sample: 60', 'sample: 16').replace('batch: 2', 'batch: 64')
    study = study_in(tmp_path, asked + 'probes: {order: {texts: 5}, reworded: {}}\n')
    lines = plan_lines(study.plan())
    assert any(line.startswith('zero-shot, probe order: 30 prompts') for line in lines)
    study.run()
    kept = (tmp_path/'probes.json').read_bytes()
    study.run()
    assert (tmp_path/'probes.json').read_bytes() == kept    # nothing is asked twice
    page = study.report().read_text()
    assert 'Traces of the survey in the models' in page and 'In other words, its Brier' in page
    assert 'whether the model saw this survey' not in page and 'The run did what was planned' in page
    assert '2 probes looked for traces' in (tmp_path/'report/statements.md').read_text()


def test_a_server_that_only_the_file_names_is_not_asked(tmp_path, monkeypatch):
    "Nor is it sent a key: a study may come from somebody else."
    monkeypatch.setenv('SOME_SECRET', 'sk-secret')
    path = tmp_path/'study.yaml'
    path.write_text(SMALL.replace('smollm2-135m, batch: 2', "m, server: 'http://192.0.2.1/v1', key_variable: SOME_SECRET"))
    for trusted in None, {'http://192.0.2.1/v1': 'OPENAI_API_KEY'}, {'http://192.0.2.2/v1': 'SOME_SECRET'}:
        study = Study.load(path, trusted)
        with pytest.raises(ValueError, match='study.yaml: predictors.*SOME_SECRET to http://192.0.2.1/v1'):
            study.run()
    assert asker(Study.load(path, {'http://192.0.2.1/v1': 'SOME_SECRET'}), 'zero-shot', {}).base_url == 'http://192.0.2.1/v1'


@pytest.mark.parametrize('calibrate, parts', [(0, ['test']), (4, ['test', 'fit']), ('shares', ['test', 'train'])])
def test_a_plan_counts_all_respondents_of_whom_a_server_is_told(tmp_path, calibrate, parts):
    "Those too to whom a temperature or averages are fitted."
    asked = SMALL.replace('60', '24').replace('smollm2-135m, batch: 2', f"m, calibrate: {calibrate}, server: 'http://192.0.2.1/v1'")
    study = study_in(tmp_path, asked)
    splits = study.splits()
    splits['fit'] = splits['train'] if calibrate == 'shares' else calibrates_on(dict(calibrate=calibrate), splits)
    people = {who for part in parts for who in splits[part]['respondent_id']}
    trusted = Study.load(study.path, {'http://192.0.2.1/v1': 'OPENAI_API_KEY'})
    assert f'what {len(people)} respondents said of themselves' in trusted.plan()['takes']['zero-shot']['told']


@pytest.mark.parametrize('text, said', [
    ('statements: {sponsors: me}', 'study.yaml: statements.sponsors: no list asks for that (perhaps sponsor): use one of purpose'),
    ('statements: {sponsor: 1}', 'study.yaml: statements.sponsor is 1: give a sentence'),
])
def test_a_statement_that_no_list_asks_for_is_refused(tmp_path, text, said):
    with pytest.raises(FileFault) as fault:
        study_in(tmp_path, SMALL + text)
    assert said in str(fault.value) and '\n' not in str(fault.value)


def test_statements_are_filled_or_said_to_be_missing(tmp_path, url):
    "Each core item of GUIDE-LLM is there; one that is stated later neither deviates from the plan nor asks again."
    asked = SMALL.replace('smollm2-135m, batch: 2', f"stub, server: '{url}'").replace('60', '24')
    study = study_in(tmp_path, asked)
    study.plan()
    study.run()
    study.report()
    core = [name for name in GUIDE.items if name not in GUIDE.optional]
    text = (tmp_path/'report/statements.md').read_text()
    lines = {name: line for line in text.splitlines() for name in core if line.startswith(f'- {GUIDE.items[name]} (')}
    assert len(lines) == len(core) == 14
    assert lines['interests'].endswith('**not stated**')
    assert f'over the API at {url}' in lines['access'] and 'Provider, size and link: not stated' in lines['model']
    page = study_in(tmp_path, asked + 'statements: {interests: None declared.}\n').report().read_text()
    assert 'The run did what was planned' in page and 'None declared.' in page
    assert '**not stated**' not in (tmp_path/'report/statements.md').read_text().split('G1 ')[1].split('\n')[0]


@pytest.mark.skipif(not shutil.which('soffice'), reason='LibreOffice is not installed')
def test_the_statements_open_in_a_word_processor(tmp_path, url):
    study = study_in(tmp_path, SMALL.replace('smollm2-135m, batch: 2', f"stub, server: '{url}'").replace('60', '24'))
    study.run()
    study.report()
    subprocess.run(['soffice', '--headless', '--convert-to', 'pdf', '--outdir', tmp_path,
        f'-env:UserInstallation=file://{tmp_path}/office', tmp_path/'report/statements.docx'], check=True, capture_output=True)
    assert (tmp_path/'statements.pdf').read_bytes().startswith(b'%PDF')


def test_the_plan_says_what_the_comparison_could_find(tmp_path):
    study = study_in(tmp_path)
    found = primary_power(study, study.splits())
    assert 0 < found['power'] < 1 and found['smallest'] > 0 and 'correlate by .5' in found['assumes']
    lock = dict(facts(study, study.splits()), takes={}, suppressed={}, terms='', power=found)
    line = next(line for line in plan_lines(lock) if line.startswith('power: '))
    assert 'to find a difference of 0.05 between zero-shot and marginal in Brier' in line
    unknown = plan_lines(lock | dict(power=dict(unknown='no comparison with a margin is stated')))
    assert 'power: not known: no comparison with a margin is stated' in unknown


def test_the_plan_says_that_a_predictor_begins_at_its_rival(tmp_path):
    "Scores of the two then hardly differ, so that a correlation of .5 is far off."
    study = study_in(tmp_path)
    for offset, told in ((None, False), ('logistic', False), ('marginal', True)):
        how = dict(study.settings['predictors']['zero-shot'], offset=offset)
        begun = Study(study.path, dict(study.settings, predictors={'zero-shot': how}), study.survey)
        assumes = primary_power(begun, study.splits())['assumes']
        assert ('but zero-shot begins at the probabilities of marginal' in assumes) == told, assumes


def test_seed_system_prompt_examples_and_model_vary(tmp_path, small):
    "Planned, run and reported; another seed is another training, a model that is not there is listed."
    asked = small.replace('natsci, natroad', 'natsci').replace('sample: 60', 'sample: 12').replace('batch: 2', 'training: {rank: 2, epochs: 1}, batch: 16')
    named = [{}, {'training_seed': 1}, {'system': 'respondent'}, {'examples': 1}, {'model': 'no/such/model'}]
    study = study_in(tmp_path, asked + f'vary: {{named: {named}}}\n')
    lines = plan_lines(study.plan())
    line = next(line for line in lines if line.startswith('zero-shot, 5 specifications: '))
    assert f"{4*len(set(study.splits()['test']['instruction'][:]))} prompts" in line and '1 more training' in line
    assert any('zero-shot, no/such/model: can not be asked: ' in line for line in lines), lines
    study.run()
    found, failed = read_specifications(study)
    assert len(found.choices) == 4 and 'no such model folder' in failed[0] and len(failed) == 1
    cards = [json.loads((folder/'sft.json').read_text()) for folder in sorted((tmp_path/'adapters').iterdir())]
    assert [card['recipe']['seed'] for card in cards] == [0, 1] and cards[0]['adapter_hash'] != cards[1]['adapter_hash']
    assert len(set(found.draws[0].round(9))) == 4    # each is a specification of its own
    page = study.report().read_text()
    assert 'in 4 specifications' in page and 'training_seed' in page and 'Failed: no/such/model' in page
    said = (tmp_path/'report/statements.md').read_text()
    assert 'You take part in a survey as the person described' in said and 'answers of training respondents' in said


@pytest.mark.parametrize('vary, said', [
    ('training_seed: [0, 1]', 'study.yaml: vary.training_seed: the study does not train zero-shot, so that no model'),
    ('system: [rude]', "study.yaml: vary.system names 'rude': use some of none, respondent"),
    ('examples: [some]', "study.yaml: vary.examples names 'some': use some of 0 or whole numbers"),
    ('model: [1]', 'study.yaml: vary.model names 1: use some of study or names of models'),
])
def test_what_no_model_can_do_is_refused_with_the_file(tmp_path, vary, said):
    with pytest.raises(FileFault) as fault:
        study_in(tmp_path, SMALL + f'vary: {{{vary}}}\n')
    assert said in str(fault.value) and '\n' not in str(fault.value)


BEGUN = """
  tuned: {begin: zero-shot, offset: marginal, training: {loss: residual, rank: 2, epochs: 1, batch: 4, micro: 4}}
  calm: {begin: zero-shot, calibrate: 5}
baselines"""


def test_what_begins_at_the_shares_is_planned_run_varied_and_checked(tmp_path, small, monkeypatch):
    "The offset goes along wherever the predictor is asked, and nothing is trained, asked or loaded twice."
    loads, load = [], loading.load_model
    monkeypatch.setattr(loading, 'load_model', lambda *a, **k: loads.append(a) or load(*a, **k))
    asked = small.replace('natsci, natroad', 'natsci').replace('sample: 60', 'sample: 12').replace('batch: 2', 'batch: 64')
    asked = asked.replace('\nbaselines', BEGUN).replace('predictor: zero-shot', 'predictor: tuned')
    study = study_in(tmp_path, asked + 'vary: {labels: [letters, numbers]}\n')
    takes = study.plan()['takes']
    splits = study.splits()
    assert len(loads) == 1 and study.loaded == []
    assert takes['tuned']['before']['prompts'] == len(set(splits['train']['instruction'][:]))
    assert takes['calm']['prompts'] == 0 and takes['calm']['calibration']['prompts'] <= 5 and 'training' in takes['tuned']
    study.run()
    adapter = tmp_path/'adapters'/'tuned'/'adapter_model.safetensors'
    made, scores = adapter.stat().st_mtime_ns, (tmp_path/'scores.csv').read_bytes()
    study.run()
    assert adapter.stat().st_mtime_ns == made and (tmp_path/'scores.csv').read_bytes() == scores
    assert len(loads) == 3    # plan, run and run again: one each
    assert {f.stem for f in (tmp_path/'answers').glob('*.sqlite')} == {'zero-shot', 'tuned'}
    answers = study.answers()
    assert answers['calm'].probs.tolist() != answers['zero-shot'].probs.tolist()
    found, failed = read_specifications(study)
    assert not failed and list(found.choices.labels) == ['letters', 'numbers']
    assert study.check() == dict.fromkeys(['zero-shot', 'tuned', 'calm'], [])
    assert 'The run did what was planned' in study.report().read_text()
    said = (tmp_path/'report/statements.md').read_text()
    assert 'tuned: the model of zero-shot, fine-tuned by LoRA on 5 training respondents with loss residual' in said
    assert 'beginning at the probabilities of marginal; calm: the model of zero-shot, with one temperature' in said


KEPT = """
  tuned: {begin: zero-shot, offset: marginal, training: {loss: residual, rank: 2, epochs: 1, batch: 4, micro: 4}}
  if better: {begin: tuned, keep: marginal}
baselines"""


def kept(small):
    "A study with validation respondents, whose tuned model answers where it is better than the shares."
    asked = small.replace('natsci, natroad', 'natsci').replace('batch: 2', 'batch: 64').replace('\nbaselines', KEPT)
    return asked.replace('sample: 60', 'sample: 30\nsplit: {by: respondent, test: 0.4, validation: 0.3}')


@pytest.mark.parametrize('shown', [True, False])
def test_a_baseline_stays_unless_validation_respondents_show_more(tmp_path, small, monkeypatch, shown):
    "The answers are those of the blend, or the baseline's own; the plan, the scores and the statements say which."
    asked = kept(small).replace('predictor: zero-shot, versus', 'predictor: if better, versus')
    study = study_in(tmp_path, asked)
    splits = study.splits()
    if shown:    # validation respondents who say what the model says
        gain = dict(difference=-.1, ci_low=-.15, ci_high=-.05)
        monkeypatch.setattr(stacking, 'blend_gain', lambda *given: gain)
    plan = study.plan()
    assert plan['takes']['if better']['prompts'] == 0
    assert plan['takes']['if better']['calibration']['prompts'] == len(set(splits['validation']['instruction'][:]))
    assert 'but if better is marginal itself, unless validation respondents show' in plan['power']['assumes']
    scores = study.run()
    note = set(scores[scores.predictor == 'if better'].note.dropna())
    assert any(('is better than' if shown else 'is not shown to be better than') in n for n in note), note
    found = study.answers()
    weights = stack(*both_said(study, splits)).attrs['weights']
    table = baseline_says(splits['train'], splits['test'], 'marginal')
    w = weights['if better'] if shown else 0
    blend = [w*np.array(p) + (1 - w)*np.array(q) for p, q in zip(found['tuned'].probs, table.probs)]
    np.testing.assert_allclose(np.stack(found['if better'].probs.tolist()), np.stack(blend), atol=1e-9)
    assert study.check() == dict.fromkeys(['zero-shot', 'tuned', 'if better'], [])
    assert 'The run did what was planned' in study.report().read_text()
    said = (tmp_path/'report/statements.md').read_text()
    people = len(set(splits['validation']['respondent_id'][:]))
    assert f'if better: the model of tuned, blended with marginal as {people} validation respondents weigh it' in said


def test_averages_are_matched_to_the_shares_of_training_respondents(tmp_path, small):
    "As by hand, from what the model says of training respondents as the test is asked; also where a baseline may stay."
    asked = kept(small).replace('  if better: {begin: tuned,', '  matched: {begin: tuned, calibrate: shares}\n  if better: {begin: tuned, calibrate: shares,')
    study = study_in(tmp_path, asked)
    splits = study.splits()
    takes = study.plan()['takes']
    distinct = {name: len(set(part['instruction'][:])) for name, part in splits.items()}
    assert takes['matched']['calibration']['prompts'] == distinct['train'] and takes['matched']['prompts'] == 0
    assert takes['if better']['calibration']['prompts'] == len({*splits['train']['instruction'][:], *splits['validation']['instruction'][:]})
    scores = study.run()
    found = study.answers()
    lm = asker(study, 'tuned', splits)
    put = dict(test=brought(study, 'tuned', splits, splits['test']), train=learns_from(study, 'tuned', splits, asker(study, 'zero-shot', splits)))
    own = {part: predict(lm, records, unseen=None, batch=64) for part, records in put.items()}
    began = offsets_say(learns_from(study, 'tuned', splits))
    by_hand = match_shares(splits['train'], own['train'], splits['test'], own['test'], began)
    np.testing.assert_allclose(np.stack(found['matched'].probs.tolist()), np.stack(by_hand.probs.tolist()), atol=1e-6)
    assert abs(np.stack(found['matched'].probs.tolist()) - np.stack(found['tuned'].probs.tolist())).max() > 1e-3
    assert f"averages matched to {len(splits['train'])} training answers" in ' '.join(scores[scores.predictor == 'matched'].note.dropna())
    assert study.check() == {name: [] for name in ('zero-shot', 'tuned', 'matched', 'if better')}
    study.report()
    said = (tmp_path/'report/statements.md').read_text()
    assert 'matched: the model of tuned, its averages matched to what marginal says of training respondents' in said


def both_said(study, splits):
    "What a tuned model and the shares say of validation respondents and, for `stack`, of the test."
    lm = asker(study, 'tuned', splits)
    for part in 'validation', 'test':
        yield splits[part]
        yield {'if better': answers(study, 'tuned', lm, splits, splits[part]), 'marginal': baseline_says(splits['train'], splits[part], 'marginal')}


def test_the_same_adapter_is_not_taken_for_another_offset(tmp_path, small):
    "Prompts and answers are the same, and what is left to learn is not."
    asked = small.replace('natsci, natroad', 'natsci').replace('sample: 60', 'sample: 12').replace('\nbaselines', BEGUN)
    study, adapters = study_in(tmp_path, asked), []
    for offset in 'marginal', 'uniform':
        study.settings['predictors']['tuned']['offset'] = offset
        asker(study, 'tuned', study.splits())
        adapters.append(json.loads((tmp_path/'adapters'/'tuned'/'sft.json').read_text())['adapter_hash'])
    assert adapters[0] != adapters[1]


def test_validation_respondents_say_when_to_stop_and_at_which_rate(tmp_path, small):
    asked = small.replace('natsci, natroad', 'natsci').replace('sample: 60', 'sample: 16').replace('batch: 2', 'batch: 64')
    asked = asked.replace('\nbaselines', BEGUN).replace('epochs: 1', 'epochs: 2, lr: auto, minutes: 3, patience: 1, validate_every: 1')
    with pytest.raises(FileFault, match='tuned.training: lr auto, patience and validate_every look at validation respondents'):
        study_in(tmp_path, asked)
    asked = asked.replace('sample: 16', 'sample: 16\nsplit: {by: respondent, test: 0.5, validation: 0.25}')
    with pytest.raises(FileFault, match='tuned.training.minutes: they are for finding the learning rate: give lr: auto'):
        study_in(tmp_path, asked.replace('lr: auto, ', ''))
    study = study_in(tmp_path, asked)
    assert study.plan()['takes']['tuned']['training']['seconds'] > 180    # the minutes are among them
    study.run()
    card = json.loads((tmp_path/'adapters'/'tuned'/'sft.json').read_text())
    assert card['validation_hash'] and card['rates']['best'] == card['recipe']['lr']
    made = (tmp_path/'adapters'/'tuned'/'adapter_model.safetensors').stat().st_mtime_ns
    study.run()
    assert (tmp_path/'adapters'/'tuned'/'adapter_model.safetensors').stat().st_mtime_ns == made


def test_answers_that_were_changed_after_their_run_are_in_no_report(tmp_path, url):
    study = study_in(tmp_path/'a', SMALL.replace('smollm2-135m, batch: 2', f"stub, server: '{url}'"))
    study.run()
    file = study.folder/'answers'/f"{next(iter(study.settings['predictors']))}.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding='utf-8').splitlines()]
    for row in rows:
        row.update(probs=[1.] + [0.]*(len(row['probs']) - 1), value=0)
    file.write_text(''.join(json.dumps(row) + '\n' for row in rows), encoding='utf-8')
    with pytest.raises(ValueError, match='are not the answers that its run wrote'):
        study.report()
