"""Replicate weights, groups of the same people, failures among members, strata with one cluster, answers foretold with probability 0, forms: what was
claimed too often, or crashed."""
import numpy as np, pandas as pd, pytest
from scipy.linalg import hadamard
from alignsurvey.estimation import means, replicate_design, survey_design
from alignsurvey.evaluation import aggregate, evaluate, missing_answers, probe_words
from alignsurvey.records import make_records
from alignsurvey.records.answers import cluster_draws, read_answers
from alignsurvey.reporting import findings
from alignsurvey.reporting.study_report import full_report
from alignsurvey.surveys import Survey

OPTIONS = ('no', 'yes', 'never heard of it')


def asked(y, options=2, item='q', who=None, **fields):
    "Individual records of the answers y to one question."
    of = list(OPTIONS[:options])
    rows = []
    for i, k in zip(range(len(y)) if who is None else who, y):
        rows.append(dict(task='response', level='individual', source='s', lang='en', instruction='Q', input='', output=of[k], record_id=f's/{i}/{item}', respondent_id=str(i),
            question_id=item, question='Q', family=item, options=of, scale='ordinal', positions=list(range(options)), answer=of[k], answer_index=int(k), answer_form='text', weight=1., **fields))
    return make_records(rows, source='s')


def said(records, probs):
    "Predictions with the same probabilities for all, or each record's own."
    each = np.broadcast_to(probs, (len(records), np.shape(probs)[-1]))
    return pd.DataFrame(dict(record_id=records['record_id'][:], probs=[list(map(float, p)) for p in each], status='ok', elicitation='score'))


def replicated(kind, strata=16, people=10, rho=0.):
    "A design of replicate weights: half-samples of strata with two clusters, or each cluster left out once."
    h, c = np.repeat(np.arange(strata), 2*people), np.tile(np.repeat([0, 1], people), strata)
    if kind == 'JK1':
        g = 2*h + c
        reps, how = np.array([np.where(g == k, 0, 2*strata/(2*strata - 1)) for k in range(2*strata)]), {}
    elif kind == 'scales':    # JKn, of three clusters a stratum
        h, c = np.repeat(np.arange(strata), 3*people), np.tile(np.repeat([0, 1, 2], people), strata)
        reps = np.array([np.where(h != s, 1, np.where(c == k, 0, 1.5)) for s in range(strata) for k in range(3)])
        how = dict(scales=np.full(len(reps), 2/3))
    elif kind == 'bootstrap':
        rng, g = np.random.default_rng(5), 2*h + c
        reps, how = np.array([np.bincount(rng.integers(2*strata, size=2*strata), minlength=2*strata)[g] for _ in range(100)]), {}
    else:
        signs = hadamard(1 << int(np.ceil(np.log2(strata + 1))))[:, 1:strata + 1]
        reps, how = np.array([np.where((s[h] == 1) == (c == 0), 2 - rho, rho) for s in signs]), dict(rho=rho)
    names = [f'r{i}' for i in range(len(reps))]
    f = pd.DataFrame(reps.T.astype(float), columns=names, index=[str(i) for i in range(len(h))]).assign(w=1., unit=3*h + c)
    return replicate_design(f, names, weight='w', kind=kind, **how)


KINDS = [('BRR', 0.), ('Fay', .5), ('JK1', 0.), ('scales', 0.), ('bootstrap', 0.)]


@pytest.mark.parametrize('kind, rho', KINDS)
def test_a_rare_option_can_be_scored_with_replicate_weights(kind, rho):
    d = replicated(kind, rho=rho)
    y = np.arange(len(d.weight)) % 2
    y[7] = 2
    r = asked(y, 3)
    s = evaluate(r, dict(A=said(r, [.5, .45, .05])), baselines=False, design=d, n_boot=200)
    own = s[s.predictor.eq('A') & s.versus.isna() & s.question_id.isna()].set_index('metric')
    assert own.ci_low[['wasserstein', 'js_divergence', 'total_variation']].notna().all()


@pytest.mark.parametrize('kind, rho', KINDS)
def test_draws_of_replicate_weights_are_weights_and_have_the_replicates_variance(kind, rho):
    d = replicated(kind, rho=rho)
    rng, unit = np.random.default_rng(0), d.frame.unit.to_numpy()
    y = (rng.random(len(unit)) < .4 + .1*rng.normal(size=unit.max() + 1)[unit]).astype(int)
    a = read_answers(asked(y), strata=d)
    draws = np.vstack(list(cluster_draws(a, 4000, 0)))
    assert draws.min() >= 0
    spread = (draws[1:, a.cluster] @ y/draws[1:, a.cluster].sum(1)).std()
    assert spread == pytest.approx(means(d, y.astype(float)).se.iloc[0], rel=.05)


def test_successive_differences_score_a_rare_option_with_their_own_variance():
    reps = hadamard(32)[:, 1:21]
    factor = 1 + (np.roll(reps, 1, 1) - reps)/2**1.5    # as of the American Community Survey
    unit = np.repeat(np.arange(20), 10)
    names = [f'r{i}' for i in range(32)]
    f = pd.DataFrame(factor[:, unit].T, columns=names, index=[str(i) for i in range(200)]).assign(w=1.)
    d = replicate_design(f, names, weight='w', kind='scales', scales=np.full(32, 4/32))
    y = np.arange(200) % 2
    y[7] = 2
    r = asked(y, 3)
    s = evaluate(r, dict(A=said(r, [.5, .45, .05]), B=said(r, [.3, .5, .2])), baselines=False, design=d, n_boot=4000)
    row = s[s.metric.eq('brier') & s.predictor.eq('B') & s.versus.eq('A') & s.question_id.isna()].iloc[0]
    gap = ((np.array([.3, .5, .2]) - np.eye(3)[y])**2).sum(1) - ((np.array([.5, .45, .05]) - np.eye(3)[y])**2).sum(1)
    want = means(d, gap).iloc[0]
    assert row.ci_high - row.ci_low == pytest.approx(want.ci_high - want.ci_low, rel=.06)


def grouped(y, variables, item='q'):
    "Group records of the answers y of the same people: a row for each value of each variable by itself."
    rows = []
    for name, values in variables.items():
        for v in np.unique(values):
            m = y[values == v]
            rows.append(dict(task='response', level='group', source='s', lang='en', instruction='Q', input='', output='', record_id=f's/{name}={v}/{item}', respondent_id=f'{name}={v}',
                question_id=item, question='Q', family=item, options=['no', 'yes'], scale='ordinal', positions=[0, 1], target=[1 - m.mean(), m.mean()], n=len(m), n_eff=float(len(m)), weight=1.,
                groups={name: str(v)}))
    return make_records(rows, source='s')


def overall(scores, **where):
    "The row over all questions of one comparison or score."
    kept = scores[scores.question_id.isna()]
    for column, value in where.items():
        kept = kept[kept[column].isna() if value is None else kept[column] == value]
    assert len(kept) == 1, kept
    return kept.iloc[0]


def test_people_count_once_however_many_variables_group_them():
    rng = np.random.default_rng(3)
    claims = []
    for seed in range(24):
        y = (rng.random(900) < .5).astype(int)
        r = grouped(y, {f'v{k}': rng.integers(3, size=900) for k in range(5)})
        s = evaluate(r, dict(A=said(r, [.38, .62]), B=said(r, [.62, .38])), baselines=False, n_boot=100, seed=seed)
        claims.append(overall(s, metric='wasserstein', versus='A').p_adj < .05)
    assert np.mean(claims) <= .25    # 5 % in the long run; 43 % where each variable counts as other people
    assert 'the same people' in overall(s, metric='wasserstein', versus='A').note


def test_a_variable_that_repeats_another_leaves_the_interval_as_it_is():
    rng = np.random.default_rng(3)
    y, g = (rng.random(600) < .4).astype(int), rng.integers(3, size=600)
    reach = []
    for variables in dict(a=g), dict(a=g, b=g, c=g):
        r = grouped(y, variables)
        s = evaluate(r, dict(A=said(r, [.38, .62])), baselines=False, n_boot=2000)
        row = overall(s, metric='wasserstein', predictor='A', versus=None)
        reach.append(row.ci_high - row.ci_low)
    assert reach[1] == pytest.approx(reach[0], rel=.06)


def women(n=60):
    "Answers of women, a predictor that refused to say no, and their group."
    y = np.arange(n) % 2
    r = asked(y, groups=dict(sex='women'))
    f = said(r, np.where(y[:, None] == 1, [.1, .9], [.9, .1]))
    f.loc[y == 0, 'status'] = 'refused'
    f['probs'] = f.probs.where(f.status == 'ok', None)
    return r, f, grouped(y, dict(sex=np.full(n, 'women')))


def test_what_failed_among_members_is_told_of_their_group():
    r, f, g = women()
    added = aggregate(r, f, g)
    s = evaluate(g, dict(added=added), baselines=False, n_boot=100)
    assert overall(s, metric='failed').value == .5
    assert "30 of 60 members' predictions failed: left out" in overall(s, metric='wasserstein', predictor='added').note
    assert added.probs[0] == pytest.approx([.1, .9])


def test_what_failed_among_members_enters_by_the_rule_that_was_asked_for():
    r, f, g = women()
    added = aggregate(r, f, g, failure_rule='uniform')
    assert added.probs[0] == pytest.approx([.3, .7])
    assert added.attrs['note'] == "30 of 60 members' predictions failed: given equal probabilities"
    with pytest.raises(ValueError, match="failure_rule is 'wrong': use missing or uniform"):
        aggregate(r, f, g, failure_rule='wrong')
    assert not aggregate(r, said(r, [.5, .5]), g).attrs.get('note')


@pytest.mark.parametrize('how', ['adjust', 'certainty', 'fpc'])
def test_a_stratum_with_one_cluster_is_scored_as_it_is_estimated(how):
    stratum = np.repeat(np.arange(10), 20)
    f = pd.DataFrame(dict(st=stratum, psu=np.where(stratum == 9, 39, np.arange(200)//5), N=np.where(stratum == 9, 1, 100)), index=[str(i) for i in range(200)])
    more = dict(fpc='N') if how == 'fpc' else dict(lonely=how)
    d = survey_design(f.assign(w=1.), weight='w', stratum='st', psu='psu', **more)
    rng = np.random.default_rng(1)
    y = (rng.random(200) < .4 + .2*(stratum == 9)).astype(int)
    r = asked(y)
    a = read_answers(r, strata=d)
    draws = np.vstack(list(cluster_draws(a, 4000, 0)))[1:, a.cluster]
    assert (draws @ y/draws.sum(1)).std() == pytest.approx(means(d, y.astype(float)).se.iloc[0], rel=.05)
    row = overall(evaluate(r, dict(A=said(r, [.5, .5])), baselines=False, design=d, n_boot=200), metric='accuracy', predictor='A', versus=None)
    assert np.isfinite(row.ci_low)


def test_a_lone_cluster_that_stands_for_many_moves_both_ways_in_a_design_of_stages():
    f = pd.DataFrame(dict(st=np.repeat([0, 1, 2], 20), psu=np.r_[np.arange(40)//5, np.full(20, 8)], N=np.repeat([100, 100, 1], 20), M=500, person=np.arange(60)), index=[str(i) for i in range(60)])
    d = survey_design(f, stratum='st', psu=['psu', 'person'], fpc=['N', 'M'])
    draws = np.vstack(list(cluster_draws(read_answers(asked(np.arange(60) % 2), strata=d), 500, 0)))
    lone = read_answers(asked(np.arange(60) % 2), strata=d).cluster[-1]
    assert set(draws[1:, lone]) == {0, 2}    # errs on the wide side: later stages are not drawn


def test_strata_of_one_cluster_each_are_scored_where_the_design_says_how():
    f = pd.DataFrame(dict(st=np.arange(80)//2), index=[str(i) for i in range(80)]).assign(w=1., psu=np.arange(80)//2)
    d = survey_design(f, weight='w', stratum='st', psu='psu', lonely='adjust')
    y = np.random.default_rng(1).integers(2, size=80)
    a = read_answers(asked(y), strata=d)
    draws = np.vstack(list(cluster_draws(a, 4000, 0)))[1:, a.cluster]
    assert (draws @ y/draws.sum(1)).std() == pytest.approx(means(d, y.astype(float)).se.iloc[0], rel=.1)


def surprised(n=200):
    "A good predictor to which three answers were impossible, and a poor one that is never surprised."
    y = np.random.default_rng(0).integers(2, size=n)
    p = np.where(y[:, None] == 1, [.2, .8], [.8, .2])
    p[:3] = np.eye(2)[1 - y[:3]]
    r = asked(y)
    return r, dict(rival=said(r, [.45, .55]), model=said(r, p))


WORSE = 'In log score, model is infinitely worse than rival (3 of 200 answers foretold with probability 0).'


def test_an_infinite_log_score_is_told_before_another_score_is():
    r, frames = surprised()
    s = evaluate(r, frames, baselines=False, n_boot=100)
    assert findings(s)[0] == WORSE
    assert not any('infinitely' in line for line in findings(s, ['accuracy']))
    assert [line[:13] for line in findings(s, ['log_score', 'brier'])] == ['In log score,', 'model is bett']
    turned = evaluate(r, frames, baselines=False, versus='model', n_boot=100)
    assert findings(turned)[0].startswith('In log score, rival is infinitely better than model (3 of 200')


def test_scores_that_are_both_infinite_are_said_to_decide_nothing():
    r, frames = surprised()
    s = evaluate(r, dict(model=frames['model'], other=frames['model']), baselines=False, n_boot=100)
    assert findings(s)[0] == 'In log score, other and model are both infinite (3 of 200 answers foretold with probability 0), which decides nothing.'
    assert not any('infinite' in line for line in findings(evaluate(r, dict(a=frames['rival'], b=frames['rival']), baselines=False, n_boot=100)))


def test_the_first_screen_of_a_report_says_that_the_log_score_is_infinite(tmp_path):
    r, frames = surprised(80)
    page = full_report(r, frames, tmp_path, n_boot=100).read_text()
    first = page[page.index('<ol id="answers">'):page.index('</ol>')]
    assert WORSE.replace('of 200', 'of 80') in first and 'In Brier, model is better than rival' in first


def forms(tmp_path):
    "A hundred people who were each asked one of two forms; five said nothing to theirs."
    half = np.arange(100) % 2
    f = pd.DataFrame(dict(id=np.arange(100), both=1, form1=np.where(half == 0, '1', ''), form2=np.where(half == 1, '2', '')))
    f.loc[:8:2, 'form1'] = '9'
    f.to_csv(tmp_path/'forms.csv', index=False)
    item = "{question: '%s?', scale: ordinal, options: {1: no, 2: yes}, missing: {9: no_answer}, blank: not_asked}"
    items = ''.join(f'  {name}: {item % name}\n' for name in ('both', 'form1', 'form2'))
    (tmp_path/'forms.yaml').write_text(f'id: s\nrespondent_id: id\nitems:\n{items}')
    s = Survey.load(tmp_path/'forms.csv', tmp_path/'forms.yaml')
    return s, s.records('response', verbose=False)


def test_who_was_not_asked_did_not_refuse(tmp_path):
    s, r = forms(tmp_path)
    rows = missing_answers(r, dict(A=said(r, [.5, .5])), survey=s, n_boot=100)
    human = rows[rows.predictor == 'human']
    each = human[human.metric == 'unanswered'].set_index('question_id')
    assert each.value[['both', 'form1', 'form2']].tolist() == pytest.approx([0, .1, 0]) and each.n['form1'] == 50
    assert human[human.metric == 'items_unanswered'].value.tolist() == pytest.approx([.95, .05, 0])


def test_records_alone_do_not_say_who_was_asked(tmp_path):
    _, r = forms(tmp_path)
    rows = missing_answers(r, dict(A=said(r, [.5, .5])), n_boot=100)
    human = rows[rows.predictor == 'human']
    each = human[human.metric == 'unanswered'].set_index('question_id')
    assert each.value['both'] == 0 and each.value[['form1', 'form2']].isna().all()
    assert each.note['form1'].startswith('not everybody has a record of it') and 'survey' in each.note['form1']
    assert human[human.metric == 'items_unanswered'].note.str.contains('1 of 3 items').all()
    alone = r.filter(lambda x: x['question_id'] != 'both')
    rows = missing_answers(alone, dict(A=said(alone, [.5, .5])), n_boot=100)
    assert rows[rows.predictor.eq('human')].value.isna().all() and rows[rows.predictor.eq('A')].value.notna().all()


def test_a_survey_without_a_respondent_is_refused(tmp_path):
    s, r = forms(tmp_path)
    other = Survey(s.frame[:50], s.codebook)
    with pytest.raises(ValueError, match="record 's/50/both' is of a respondent whom the survey does not have"):
        missing_answers(r, {}, survey=other, n_boot=100)


def test_ids_that_are_row_numbers_are_those_of_the_records(tmp_path):
    s, _ = forms(tmp_path)
    (tmp_path/'forms.yaml').write_text((tmp_path/'forms.yaml').read_text().replace('respondent_id: id\n', ''))
    s = Survey.load(tmp_path/'forms.csv', tmp_path/'forms.yaml')
    r = s.records('response', verbose=False)
    rows = missing_answers(r, {}, survey=s, n_boot=100)
    assert rows[rows.question_id == 'form1'].value.tolist() == pytest.approx([.1])


def test_a_trace_in_shares_may_follow_from_who_was_interviewed():
    found = dict(probe='shares', value=1., limit=.3, p=.001, n=20)
    assert probe_words(found).startswith("There is a trace of this year's shares of 20 items, or they follow from who was interviewed (")
    assert 'how backgrounds answer' in probe_words(found) and 'how backgrounds answer' in probe_words(found | dict(p=.5))
    assert 'interviewed' not in probe_words(found | dict(probe='order'))


def test_scores_of_groups_say_that_clusters_are_not_counted():
    r = grouped(np.arange(300) % 2, dict(sex=np.arange(300)//150))
    s = evaluate(r, dict(A=said(r, [.4, .6]), B=said(r, [.6, .4])), baselines=False, n_boot=100)
    for row in overall(s, metric='wasserstein', predictor='A', versus=None), overall(s, metric='wasserstein', predictor='B', versus='A'):
        assert 'drawn one by one' in row.note and 'n_eff' in row.note
