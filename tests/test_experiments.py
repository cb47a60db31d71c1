"Experiments in a survey: arms that share a column, the design behind an effect, and what a file must keep."
import numpy as np, pandas as pd, pytest
from scipy.stats import t
from alignsurvey.all import Codebook, Survey, conjoint_effects, evaluate, experiment_effects
from alignsurvey.surveys.codebook import plain_codebook, read_codebook
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


# --- Conjoint: several attributes drawn at once

LEVELS = dict(price={1: 'low', 2: 'high'}, maker={1: 'firm', 2: 'state', 3: 'friends'})


def shop(people=240, seed=0, profiles=2):
    "People who rate profiles: two items of three steps, weights, and clusters larger than one."
    rng = np.random.default_rng(seed)
    items, attributes, frame = {}, {n: dict(columns=[], levels=levels) for n, levels in LEVELS.items()}, dict(person=range(people))
    lean = rng.normal(0, .08, people)
    for i in range(profiles):
        items[f'buy{i}'] = dict(scale='ordinal', question='Buy one by {maker} at a {price} price?', options={0: 'no', 1: 'perhaps', 2: 'yes'})
        for name, levels in LEVELS.items():
            attributes[name]['columns'].append(f'{name}{i}')
            frame[f'{name}{i}'] = rng.integers(1, len(levels) + 1, people)
        chance = np.clip(.55 - .2*(frame[f'price{i}'] == 2) + .1*(frame[f'maker{i}'] == 3) + lean, 0, 1)
        frame[f'buy{i}'] = rng.binomial(2, chance)
    frame['w'] = rng.uniform(.5, 2, people)
    spec = dict(id='shop', respondent_id='person', weight='w', items=items, sets=dict(one=dict(kind='conjoint', columns=list(items), attributes=attributes)))
    return Survey(pd.DataFrame(frame), read_codebook(spec, 'shop.yaml'), 'shop.csv')


def said_of(records, effect):
    p = [.55 - effect*(g['price'] == 'high') for g in records['groups'][:]]
    return pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=[[(1 - x)**2, 2*x*(1 - x), x**2] for x in p]))


def test_each_is_shown_their_own_profile():
    survey = shop()
    records = survey.records(verbose=False)
    for r in records:
        row, i = survey.frame.iloc[int(r['respondent_id'])], r['question_id'][-1]
        price, maker = (LEVELS[n][row[n + i]] for n in ('price', 'maker'))
        assert r['groups'] == dict(price=price, maker=maker)
        assert f'Buy one by {maker} at a {price} price?' == r['question'] and r['question'] in r['instruction']


def by_hand(x, y, w, who):
    "Slopes and errors of weighted least squares, the sandwich summed within respondents (as lm with vcovCL has it)."
    x = np.column_stack([np.ones(len(y)), x]).astype(float)
    bread = np.linalg.inv(x.T @ (x*w[:, None]))
    b = bread @ x.T @ (w*y)
    groups, who = np.unique(who, return_inverse=True)
    meat = np.zeros((len(groups), x.shape[1]))
    np.add.at(meat, who, x*(w*(y - x @ b))[:, None])
    g, n, k = len(groups), *x.shape
    return b[1:], np.sqrt(np.diag(bread @ meat.T @ meat @ bread)*g/(g - 1)*(n - 1)/(n - k))[1:]


def reach_by_hand(records):
    "Standard errors to each side, of those who saw a level and those who saw the first one: as the weights of either leave, and a sum of squares of weighted residuals has."
    shown = pd.DataFrame(dict(who=r['respondent_id'], w=r['weight'], **r['groups']) for r in records)
    out = []
    for name, level, first in (('price', 'high', 'low'), ('maker', 'state', 'firm'), ('maker', 'friends', 'firm')):
        plain = second = fourth = 0
        for text in (level, first):
            saw = shown[(shown[[c for c in shown if c.startswith(name)]] == text).any(axis=1)]
            w = saw.groupby('who').w.sum().to_numpy()
            w = w/w.sum()
            n = 1/(w**2).sum()
            wider = 1/(1 - 2*(w**3).sum()*n + 1/n)
            plain, second, fourth = plain + 1/n, second + wider/n, fourth + (w**4).sum()*wider**2
        out.append(t.ppf(.975, second**2/fourth)*np.sqrt(second/plain))
    return np.array(out)


def test_component_effects_and_errors_are_those_of_clustered_least_squares():
    "By hand: weighted least squares and its sandwich, summed within respondents (as lm with vcovCL has it)."
    survey = shop()
    records = survey.records(verbose=False)
    found = conjoint_effects(records, dict(m=said_of(records, .1)), survey.codebook.sets['one']['attributes'], margin=.1)
    groups = pd.DataFrame(records['groups'][:])
    x = np.column_stack([groups.price == 'high', groups.maker == 'state', groups.maker == 'friends'])
    b, se = by_hand(x, np.array(records['answer_index'][:], float), np.array(records['weight'][:]), np.array(records['respondent_id'][:]))
    people = found[(found.predictor == 'people') & (found.metric == 'effect')]
    assert np.abs(people.value - b).max() < 1e-9
    half = reach_by_hand(records)*se
    assert np.abs(people.ci_high - (b + half)).max() < 1e-9 and np.abs(people.ci_low - (b - half)).max() < 1e-9
    model, miss = (found[(found.predictor == 'm') & (found.metric == m)].value.to_numpy() for m in ('effect', 'effect_miss'))
    assert np.abs(model - [-.2, 0, 0]).max() < 1e-9 and np.abs(miss - (model - b)).max() < 1e-9


def test_planted_components_are_found():
    "How often intervals hold the truth is for a larger simulation."
    survey = shop(people=3000)
    rows = conjoint_effects(survey.records(verbose=False), {}, survey.codebook.sets['one']['attributes'])
    se = (rows.ci_high - rows.ci_low)/2/1.96
    assert (abs(rows.value - [-.4, 0, .2]) < 3.3*se).all() and (se < .04).all()


@pytest.mark.parametrize('how, said', [(dict(level='group'), "item 'buy0' shows each respondent a profile of their own: ask individuals"),
    (dict(task='stance', stances='thirds', items=['buy0']), 'a profile of their own')])
def test_a_profile_of_nobody_is_refused(how, said):
    survey = shop()
    plain = plain_codebook(survey.codebook) | dict(background=dict(sex=dict(question='Gender', options={1: 'man', 2: 'woman'})))
    told = Survey(survey.frame.assign(sex=[1, 2]*120), read_codebook(plain, 'shop.yaml'), 'shop.csv')
    with pytest.raises(ValueError, match=said):
        told.records(**how, verbose=False)


def test_a_level_that_the_codebook_lacks_is_named():
    survey = shop()
    survey.frame.loc[4, 'maker1'] = 7
    with pytest.raises(ValueError, match="shop.csv: row 6, column 'maker1': '7' is no level of 'maker': add it to its levels in shop.yaml"):
        survey.records(verbose=False)


# --- One profile chosen of several side by side

LABELS = ['A', 'B']


def market(people=400, seed=0, tasks=2):
    "People who choose between two profiles, twice each."
    rng = np.random.default_rng(seed)
    items, frame = {}, dict(person=range(people), sex=rng.integers(1, 3, people), w=rng.uniform(.5, 2, people))
    attributes = {n: dict(columns=[], levels=levels) for n, levels in LEVELS.items()}
    for i in range(tasks):
        items[f'pick{i}'] = dict(scale='nominal', question='A: {maker_1}, {price_1}. B: {maker_2}, {price_2}. Which?', options=dict(zip((1, 2), LABELS)))
        for name, levels in LEVELS.items():
            columns = [f'{name}{i}{side}' for side in (1, 2)]
            attributes[name]['columns'].append(columns)
            frame |= {c: rng.integers(1, len(levels) + 1, people) for c in columns}
        lead = sum(sign*(-.2*(frame[f'price{i}{side}'] == 2) + .1*(frame[f'maker{i}{side}'] == 3)) for side, sign in ((1, 1), (2, -1)))
        frame[f'pick{i}'] = 2 - rng.binomial(1, .5 + lead)
    spec = dict(id='market', respondent_id='person', weight='w', items=items, background=dict(sex=dict(question='Gender', options={1: 'man', 2: 'woman'})),
        sets=dict(one=dict(kind='conjoint', columns=list(items), attributes=attributes)))
    return Survey(pd.DataFrame(frame), read_codebook(spec, 'market.yaml'), 'market.csv')


def stacked(records, labels):
    "By hand, a row a profile: whether it was chosen."
    rows = [(r['respondent_id'], r['weight'], r['groups'][f'price_{s}'] == 'high', r['groups'][f'maker_{s}'] == 'state', r['groups'][f'maker_{s}'] == 'friends', r['output'] == label)
        for r in records for s, label in enumerate(labels, 1)]
    who, w, *x, y = (np.array(v) for v in zip(*rows))
    return by_hand(np.column_stack(x), y.astype(float), w, who)


@pytest.mark.parametrize('by', [None, 'sex'])
def test_effects_on_a_choice_are_those_of_stacked_profiles(by):
    survey = market()
    records = survey.records(answer_form='text', verbose=False)
    people = conjoint_effects(records, {}, survey.codebook.sets['one']['attributes'], option=LABELS, by=by)
    for group in ('man', 'woman') if by else (None,):
        own = records.filter(lambda r: group in (None, r['groups']['sex']))
        b, se = stacked(own, LABELS)
        found = people[people.group.str.endswith(f'/ {group}')] if group else people
        assert np.abs(found.value - b).max() < 1e-9 and np.abs((found.ci_high - found.ci_low)/2 - se*reach_by_hand(own)).max() < 1e-9
    assert people.group_var.unique() == ('attribute × sex' if by else 'attribute')


def test_labels_say_which_option_is_which_profile():
    "Turned round, every effect has the other sign."
    survey = market()
    records, attributes = survey.records(verbose=False), survey.codebook.sets['one']['attributes']
    one, other = (conjoint_effects(records, {}, attributes, option=labels).value for labels in (LABELS, LABELS[::-1]))
    assert np.abs(one + other).max() < 1e-9 and (abs(one) > .02).any()
    for bad in None, 'A', ['A']:
        with pytest.raises(ValueError, match=r"one of 2 profiles is chosen: name the label of each, in their order, as in option=\['A', 'B'\]"):
            conjoint_effects(records, {}, attributes, option=bad)
    with pytest.raises(ValueError, match="no group variable 'price_1'"):
        conjoint_effects(records, {}, attributes, option=LABELS, by='price_1')
