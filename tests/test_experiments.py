"Experiments in a survey: arms that share a column, the design behind an effect, and what a file must keep."
import numpy as np, pandas as pd, pytest
from alignsurvey.all import Codebook, Survey, evaluate, experiment_effects
from alignsurvey.surveys.codebook import read_codebook
from alignsurvey.surveys.survey import coded

ARMS = ['poor', 'welfare']


def codebook(**changes):
    aid = dict(scale='ordinal', options={1: 'too much', 2: 'right', 3: 'too little'}, column='spend', blank='not_asked')
    items = {name: dict(aid, question=f'Spending on {name}?', asked_if={'form': code}) for name, code in zip(ARMS, 'AB')}
    spec = dict(id='aid', respondent_id='id', other={'form': 'paradata'}, items=items, sets={'words': dict(kind='experiment', columns=ARMS)},
        background={'sex': dict(question='your sex', scale='nominal', options={1: 'man', 2: 'woman'})})
    return read_codebook({**spec, **changes}, 'aid.yaml')


@pytest.fixture(scope='module')
def survey():
    rng = np.random.default_rng(3)
    n = 900
    form = rng.permutation(['A', 'B', 'B']*(n//3))
    answer = np.where(form == 'A', rng.choice([1, 2, 3], n, p=[.2, .3, .5]), rng.choice([1, 2, 3], n, p=[.5, .3, .2]))
    return Survey(pd.DataFrame(dict(id=range(n), form=form, spend=answer, sex=rng.integers(1, 3, n))), codebook(), 'aid.csv')


def test_each_is_asked_in_their_own_arm(survey):
    "Nobody is asked in the other arm, and no prompt tells the form."
    for name, code in zip(ARMS, 'AB'):
        index, kind = coded(survey, name)
        mine = (survey.frame.form == code).to_numpy()
        assert (index[mine] == survey.frame.spend[mine] - 1).all()
        assert (index[~mine] == -1).all() and (kind[~mine] == 'not_asked').all()
    records = survey.records('response', verbose=False)
    assert len(records) == len(survey)
    assert not any('form' in prompt for prompt in records['instruction'][:])
    groups = survey.records('response', level='group', by='sex', verbose=False)
    assert set(groups['question_id'][:]) == set(ARMS)


def test_files_keep_an_experiment(survey, tmp_path):
    "As YAML, as a spreadsheet, and with the data."
    book = survey.codebook
    for name in 'book.yaml', 'book.xlsx':
        again = Codebook.load(book.save(tmp_path/name))
        assert again.questions == book.questions and again.sets == book.sets
        assert again.columns == book.columns
    back = Survey.load(survey.save(tmp_path/'whole'))
    assert back.records('response', verbose=False)['record_id'][:] == survey.records('response', verbose=False)['record_id'][:]
    survey.frame[['id', 'form', 'spend', 'sex']].to_csv(tmp_path/'aid.csv', index=False)
    assert len(Survey.load(tmp_path/'aid.csv', book).records('response', verbose=False)) == len(survey)


def test_a_filter_on_what_is_ignored_is_refused():
    "A column that is not read can't say who was asked."
    with pytest.raises(ValueError, match="'form' is neither item nor background.*paradata"):
        codebook(other={'form': 'ignore'})


def test_effect_and_its_error_are_those_of_two_samples(survey):
    "Without clusters and weights: the difference of means, and Welch's standard error."
    records = survey.records('response', verbose=False)
    uniform = pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=[[1/3]*3]*len(records), elicitation='score'))
    found = experiment_effects(records, dict(uniform=uniform), ARMS, n_boot=4000)
    one, other = (survey.frame.spend[survey.frame.form == code] - 1 for code in 'AB')
    people, model, miss = (found.iloc[i] for i in range(3))
    assert people.value == pytest.approx(other.mean() - one.mean(), abs=1e-12)
    assert model.value == pytest.approx(0, abs=1e-12) and miss.value == pytest.approx(-people.value, abs=1e-12)
    welch = np.sqrt(one.var(ddof=1)/len(one) + other.var(ddof=1)/len(other))
    assert (people.ci_high - people.ci_low)/2/1.963 == pytest.approx(welch, rel=.04)
    assert miss.p_adj < .001 and people.n == len(survey)


def test_what_failed_is_left_out_of_the_model_alone(survey):
    "A failed answer takes nothing from people's effect."
    records = survey.records('response', verbose=False)
    frame = pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=[[1/3]*3]*len(records), elicitation='score'))
    frame.loc[:99, ['status', 'probs']] = ['error', None]
    found = experiment_effects(records, dict(model=frame), ARMS, n_boot=20)
    assert found.n.tolist() == [900, 800, 800]


def test_predictions_without_ids_are_refused_in_a_sentence(survey):
    "As every table here refuses them."
    records = survey.records('response', verbose=False)
    with pytest.raises(ValueError, match="predictor 'model'.*record_id"):
        experiment_effects(records, dict(model=pd.DataFrame(dict(status=['ok'], probs=[[1/3]*3]))), ARMS)


def test_forms_are_one_item_and_each_is_shown_their_wording(survey, tmp_path):
    "Scores and groups know one item; the prompt has the words that the respondent had."
    forms = {'spending': dict(kind='forms', columns=ARMS)}
    merged = Survey(survey.frame, codebook(sets=forms), 'aid.csv')
    records = merged.records('response', verbose=False)
    assert set(records['question_id'][:]) == set(records['family'][:]) == {'spending'} and len(records) == len(survey)
    own = dict(zip(survey.frame.id.astype(str), survey.frame.form.map(dict(zip('AB', ARMS)))))
    for r in records.select(range(0, len(records), 50)):
        assert r['wording'] == own[r['respondent_id']] and f"Spending on {r['wording']}?" in r['instruction']
    scores = evaluate(records, {}, n_boot=100)
    shares = scores[(scores.metric == 'share') & (scores.predictor == 'human')]
    assert set(shares.question_id) == {'spending'} and shares.value.sum() == pytest.approx(1)
    assert merged.records('response', items=['spending'], verbose=False)['record_id'][:] == records['record_id'][:]
    groups = merged.records('response', level='group', by='sex', verbose=False)
    assert set(groups['question_id'][:]) == {'spending'} and len(groups) == 4
    assert Codebook.load(merged.codebook.save(tmp_path/'forms.xlsx')).forms == merged.codebook.forms == dict.fromkeys(ARMS, 'spending')
    with pytest.raises(ValueError, match="'poor' is the name of a question too"):
        codebook(sets={'poor': dict(kind='forms', columns=ARMS)})
