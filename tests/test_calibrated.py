"""Weights that were calibrated, replicate weights and finite populations: standard errors against R's `survey` package (tests/calibrated.R wrote
tests/calibrated.json; where R is installed it runs again, on its own NHANES data too), and the same designs in scores."""
import json, shutil, subprocess
from pathlib import Path
import numpy as np, pandas as pd, pytest
from alignsurvey.estimation import means, rake, replicate_design, survey_design
from alignsurvey.evaluation import evaluate
from alignsurvey.evaluation.scoring import declared_design
from alignsurvey.records import make_records
from alignsurvey.records.answers import cluster_sums, read_answers
from alignsurvey.reporting.study_report import full_report
from alignsurvey.surveys import Survey
from alignsurvey.surveys.codebook import read_codebook

HERE = Path(__file__).parent
ESS = HERE.parent/'data'/'ess10no'/'ess10no.csv'


def people():
    "Norwegians who answered what the margins are about."
    f = pd.read_csv(ESS)
    return f[f.lrscale.notna() & f.female.notna() & f.polint.notna()].assign(one=1.)


def linear(f, weight, margins):
    "Weights that linear calibration makes (Deville & Sarndal 1992)."
    d = f[weight].to_numpy()
    z = np.column_stack([(f[v] == k).to_numpy(float) for v, shares in margins.items() for k in shares])
    want = np.array([p*d.sum() for shares in margins.values() for p in shares.values()])
    return d*(1 + z @ np.linalg.lstsq(z.T @ (d[:, None]*z), want - d @ z, rcond=None)[0])


def test_standard_errors_of_raked_and_calibrated_weights_are_rs():
    f, said = people(), json.loads((HERE/'calibrated.json').read_text())
    keen = sorted(f.polint.unique())
    margins = dict(female={0: .45, 1: .55}, polint={k: 1/len(keen) for k in keen})
    assert len(f) == said['n']
    made = dict(rake=rake(f, margins, weight=f.pspwght.to_numpy(), tol=1e-12), calibrate=linear(f, 'pspwght', margins))
    for kind, base in ('rake', 'one'), ('calibrate', 'pspwght'):    # R's rake takes the regression unweighted
        g = f.assign(w=made[kind])
        for x in 'lrscale', 'imwbcnt':
            want = said[f'{kind} {x}']
            assert np.isclose((g.w**2).sum(), want['sum_of_squares'], rtol=1e-6)
            mine, fixed, plain = (means(survey_design(g, weight='w', **how), x).iloc[0] for how in (dict(calibrated_to=list(margins), base=base), {}, dict(calibrated_to=list(margins))))
            assert np.isclose(mine.estimate, want['estimate'], rtol=1e-6) and np.isclose(mine.se, want['se'], rtol=1e-4), (kind, x, mine.se, want['se'])
            assert np.isclose(plain.se, want['se'], rtol=.03)    # without the earlier weights it is close


def linearised(sums):
    "Standard error of a ratio from its sums by respondent."
    top, bottom = sums.T
    e = (top - top.sum()/bottom.sum()*bottom)/bottom.sum()
    return np.sqrt(len(e)*e.var(ddof=1))


def test_those_who_answered_are_a_part_of_the_calibrated_sample_as_in_r():
    f, said = people(), json.loads((HERE/'calibrated.json').read_text())
    f['some'] = np.where((np.arange(1, len(f) + 1) % 3 == 0) & (f.polint <= 2), np.nan, f.lrscale)
    keen, has = sorted(f.polint.unique()), f.some.notna().to_numpy()
    margins = dict(female={0: .45, 1: .55}, polint={k: 1/len(keen) for k in keen})
    f.index = [f'p{i}' for i in range(len(f))]
    rows = [dict(task='response', instruction='?', options=['A', 'B'], output='A', answer_index=0, source='ess', respondent_id=i, question_id='q') for i in f.index[has]]
    made = dict(rake=rake(f, margins, weight=f.pspwght.to_numpy(), tol=1e-12), calibrate=linear(f, 'pspwght', margins))
    for kind, base in ('rake', 'one'), ('calibrate', 'pspwght'):
        d = survey_design(f.assign(w=made[kind]), weight='w', calibrated_to=list(margins), base=base)
        a, want = read_answers(make_records(rows), strata=d), said[f'{kind} some']
        x = f.some[has].to_numpy()[[int(np.flatnonzero(f.index[has] == i.split('/')[1])[0]) for i in a.ids]]
        sums = cluster_sums(a, np.arange(len(x)), a.weight, x[:, None])
        assert np.isclose(sums[:, 0].sum()/sums[:, 1].sum(), want['estimate'], rtol=1e-6) and np.isclose(linearised(sums), want['se'], rtol=1e-4)
        assert np.isclose(means(d, 'some').iloc[0].se, want['se'], rtol=1e-4)


def test_a_codebook_that_declares_margins_makes_the_same_design():
    f, margins = people(), dict(female={0: .45, 1: .55}, polint={0: .5, 1: .5})
    g = f.assign(w=linear(f, 'pspwght', margins), person=[f'p{i}' for i in range(len(f))])
    spec = dict(id='ess', respondent_id='person', weight='w', base_weight='pspwght', calibrated_to=['female', 'polint'],
        items={'lrscale': dict(scale='numeric'), 'female': dict(scale='nominal', options={0: 'no', 1: 'yes'})})
    book = read_codebook(spec, 'ess.yaml')
    declared = Survey(g[book.columns], book, 'ess.csv').design()
    by_hand = survey_design(g, weight='w', base='pspwght', calibrated_to=['female', 'polint'])
    mine, want = means(declared, 'lrscale').iloc[0], means(by_hand, 'lrscale').iloc[0]
    assert np.isclose(mine.se, want.se, rtol=1e-12)
    assert not np.isclose(mine.se, means(survey_design(g, weight='w'), 'lrscale').iloc[0].se, rtol=1e-3)


def test_nhanes_agrees_where_r_is_installed(tmp_path):
    if not shutil.which('Rscript'): pytest.skip('Rscript is not installed')
    if subprocess.run(['Rscript', '-e', 'library(survey)'], capture_output=True).returncode: pytest.skip("R's survey package is not installed")
    done = subprocess.run(['Rscript', HERE/'calibrated.R', ESS, tmp_path/'calibrated.json', tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    old, new = (json.loads(p.read_text()) for p in (HERE/'calibrated.json', tmp_path/'calibrated.json'))
    assert all(np.isclose(new[k]['se'], v['se']) for k, v in old.items() if k != 'n')
    f, said = pd.read_csv(tmp_path/'nhanes.csv').assign(one=1.), pd.read_csv(tmp_path/'r.csv').set_index(['kind', 'what'])
    drawn = dict(stratum='SDMVSTRA', psu='SDMVPSU')
    for kind, base in ('plain', None), ('calibrate', 'WTMEC2YR'), ('rake', 'one'):
        how = dict(calibrated_to=['race', 'agecat', 'sex'], base=base) if base else {}
        d = survey_design(f, weight=kind, **drawn, **how)
        for x, name in ('HI_CHOL', 'HI_CHOL'), ('age', 'I(as.numeric(agecat))'):
            mine, want = means(d, x).iloc[0], said.loc[(kind, name)]
            assert np.isclose(mine.estimate, want.estimate) and np.isclose(mine.se, want.se, rtol=1e-4, atol=1e-9), (kind, x, mine.se, want.se)
    as_fixed = means(survey_design(f, weight='rake', **drawn), 'age').iloc[0].se
    assert as_fixed > .01    # what a margin foretells has no sampling error; weights taken as fixed say that it does


# ---- scores

def survey(n=240, seed=0):
    "Made-up people in 6 strata of 4 clusters, answers that follow age, and a model that knows nothing of it."
    rng = np.random.default_rng(seed)
    f = pd.DataFrame(dict(age=rng.integers(0, 2, n), stratum=np.arange(n)*6//n, psu=np.arange(n)*24//n, w=rng.uniform(.5, 2, n)), index=[f'p{i}' for i in range(n)])
    f['y'] = (rng.random(n) < .15 + .7*f.age).astype(int)
    f['w'] = rake(f, dict(age={0: .5, 1: .5}), weight=f.w.to_numpy(), tol=1e-12)
    records = make_records([dict(task='response', instruction='?', output='AB'[r.y], options=['A', 'B'], answer_index=r.y, scale='nominal', source='toy', respondent_id=r.Index, question_id='q', weight=r.w,
        stratum=str(r.stratum), psu=str(r.psu), groups=dict(age=str(r.age))) for r in f.itertuples()])
    return f, records, dict(model=pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', elicitation='score', probs=[[.6, .4]]*n)))


def width(records, said, n_boot=3000, **how):
    "Half the interval of the share of A, over t."
    from scipy.stats import t as student
    from alignsurvey.estimation.bootstrap import small_sample
    from alignsurvey.records.answers import clusters_of
    t = evaluate(records, said, baselines=False, n_boot=n_boot, **how)
    row = t[(t.metric == 'brier') & t.question_id.isna() & t.versus.isna()].iloc[0]
    a = read_answers(records, strata=how['design'])
    return (row.ci_high - row.ci_low)/2/student(small_sample(**clusters_of(a, slice(None)))['df']).ppf(.975)


def test_scores_have_the_errors_of_their_design():
    f, records, said = survey()
    score = np.where(f.y == 0, 2*.4**2, 2*.6**2)
    f['of'] = 8    # clusters there were in each stratum
    drawn = dict(weight='w', stratum='stratum', psu='psu')
    designs = dict(plain=survey_design(f, **drawn), fpc=survey_design(f, **drawn, fpc='of'), calibrated=survey_design(f, **drawn, calibrated_to='age'))
    for h in range(12): f[f'r{h}'] = f.w*np.where(f.psu == 2*h, 0, np.where(f.psu == 2*h + 1, 2, 1))
    designs['replicates'] = replicate_design(f, [f'r{h}' for h in range(12)], weight='w', kind='scales', mse=True)
    got, want = ({k: g(d) for k, d in designs.items()} for g in (lambda d: width(records, said, design=d), lambda d: means(d, score).iloc[0].se))
    for k in designs: assert np.isclose(got[k], want[k], rtol=.12 if k != 'calibrated' else .15), (k, got, want)
    assert got['fpc'] < .8*got['plain'] and got['calibrated'] < .8*got['plain']


def test_who_did_not_answer_still_was_in_the_calibrated_sample():
    "Seen: a survey with declared margins was refused where those who answered missed one by .001."
    f, records, said = survey()
    answered = np.random.default_rng(1).random(len(f)) < np.where(f.age == 1, .95, .6)
    score = np.where(answered, np.where(f.y == 0, 2*.4**2, 2*.6**2), np.nan)
    d = survey_design(f, weight='w', stratum='stratum', psu='psu', calibrated_to='age')
    some = records.select(np.flatnonzero(answered))
    got = width(some, dict(model=said['model'][answered]), design=d)
    assert np.isclose(got, means(d, score).iloc[0].se, rtol=.15)


def test_a_survey_is_scored_whose_items_some_did_not_answer():
    f, records, said = survey()
    f.loc[f.index[:20], 'y'] = 2
    spec = dict(id='toy', respondent_id='person', weight='w', stratum='stratum', psu='psu', calibrated_to=['age'],
        items={'y': dict(scale='nominal', options={0: 'A', 1: 'B'}, missing={2: 'dont_know'}), 'age': dict(scale='nominal', options={0: 'young', 1: 'old'})})
    book = read_codebook(spec, 'toy.yaml')
    toy = Survey(f.assign(person=f.index)[book.columns], book, 'toy.csv')
    records = toy.records(items=['y'], verbose=False)
    scores = evaluate(records, {}, predictors=dict(even=lambda r: [.5, .5]), baselines=False, design=declared_design(toy, records), n_boot=100)
    assert declared_design(toy, records).margins is not None and (scores[scores.metric == 'share'].n == 220).all()
    assert not toy.where(age='old').codebook.variance    # a part of the sample alone does not meet them


def test_a_full_report_takes_a_design_and_says_what_it_does_not_know(tmp_path):
    f, records, said = survey()
    d = survey_design(f, weight='w', stratum='stratum', psu='psu', calibrated_to='age')
    knows = full_report(records, said, tmp_path/'a', design=d, n_boot=100).read_text()
    plain = full_report(records, said, tmp_path/'b', strata=True, n_boot=100).read_text()
    assert 'taken as fixed' in plain and 'mostly too wide, seldom too narrow' in plain and 'taken as fixed' not in knows
    assert 'residuals of a regression on these margins' in knows and 'residuals of a regression' not in plain
