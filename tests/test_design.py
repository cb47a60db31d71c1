"""Design-based estimates against R's `survey` package, really run, on its own `api` data: every estimate, standard error, design effect and
interval under simple, stratified, one- and two-stage cluster designs and replicate weights. Skipped where Rscript or the package is missing
(Debian and Ubuntu: apt-get install r-cran-survey)."""
import shutil, subprocess
import numpy as np, pandas as pd, pytest
from scipy.stats import t as student
from alignsurvey.estimation.design import kish_n, means, ratios, replicate_design, shares, survey_design
from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.records.reading import make_records

R = r'''
suppressMessages(library(survey)); data(api); set.seed(1); out <- commandArgs(TRUE)[1]
designs <- list(srs=svydesign(id=~1, fpc=~fpc, data=apisrs), strat=svydesign(id=~1, strata=~stype, fpc=~fpc, weights=~pw, data=apistrat),
  clus1=svydesign(id=~dnum, fpc=~fpc, weights=~pw, data=apiclus1), clus2=svydesign(id=~dnum+snum, fpc=~fpc1+fpc2, data=apiclus2),
  clus2wr=svydesign(id=~dnum, weights=~pw, data=apiclus2))
for (n in c('JK1', 'bootstrap', 'mse')) {
  d <- as.svrepdesign(designs$clus1, type=if (n == 'mse') 'JK1' else n, mse=n == 'mse', compress=FALSE); designs[[n]] <- d }
designs$JKn <- as.svrepdesign(designs$strat, type='JKn', compress=FALSE)
brr <- apistrat[apistrat$stype != 'E',]; brr <- brr[order(brr$stype, brr$snum),]; brr$pair <- rep(1:(nrow(brr)/2), each=2)
b <- svydesign(id=~1, strata=~pair, weights=~pw, data=brr)
designs$BRR <- as.svrepdesign(b, type='BRR', compress=FALSE); designs$Fay <- as.svrepdesign(b, type='Fay', fay.rho=.3, compress=FALSE)
rows <- list()
add <- function(d, what, domain, est, deff, low=NA, high=NA) rows[[length(rows) + 1]] <<-
  data.frame(design=d, what=what, domain=domain, estimate=as.numeric(coef(est)), se=as.numeric(SE(est)), deff=deff, low=low, high=high)
for (n in names(designs)) {
  d <- designs[[n]]; v <- d$variables; is.rep <- inherits(d, 'svyrep.design')
  write.csv(v[, intersect(names(v), c('api00','api99','enroll','api.stu','awards','stype','sch.wide','dnum','snum','fpc','fpc1','fpc2','pw','pair'))], file.path(out, paste0(n, '.csv')), row.names=FALSE)
  if (is.rep) { write.csv(weights(d, 'analysis'), file.path(out, paste0(n, '_rep.csv')), row.names=FALSE)
    write.csv(data.frame(w=weights(d, 'sampling')), file.path(out, paste0(n, '_w.csv')), row.names=FALSE)
    write.csv(data.frame(scale=d$scale*d$rscales), file.path(out, paste0(n, '_scale.csv')), row.names=FALSE) }
  for (dom in c('all', unique(as.character(v$stype)))) {
    s <- if (dom == 'all') d else subset(d, stype == dom)
    m <- svymean(~api00, s, deff='replace'); ci <- confint(m, df=degf(s)); add(n, 'mean', dom, m, deff(m)[[1]], ci[1], ci[2])
    m <- svymean(~I(api00 - api99), s, deff='replace'); add(n, 'paired', dom, m, deff(m)[[1]])
    q <- svyciprop(~I(awards == 'Yes'), s, method='logit', df=degf(s)); m <- svymean(~I(as.numeric(awards == 'Yes')), s, deff='replace')
    add(n, 'share', dom, m, deff(m)[[1]], attr(q, 'ci')[1], attr(q, 'ci')[2])
    b <- try(svyciprop(~I(awards == 'Yes'), s, method='beta', df=degf(s)), silent=TRUE)
    if (!inherits(b, 'try-error')) add(n, 'few', dom, m, deff(m)[[1]], attr(b, 'ci')[1], attr(b, 'ci')[2])
    r <- svyratio(~api.stu, ~enroll, s); add(n, 'ratio', dom, r, NA)
  }
}
write.csv(do.call(rbind, rows), file.path(out, 'r.csv'), row.names=FALSE)
'''
COLUMNS = dict(srs=dict(fpc='fpc'), strat=dict(stratum='stype', fpc='fpc', weight='pw'), clus1=dict(psu='dnum', fpc='fpc', weight='pw'),
    clus2=dict(psu=['dnum', 'snum'], fpc=['fpc1', 'fpc2']), clus2wr=dict(psu='dnum', weight='pw'))
REPLICATED = ['JK1', 'mse', 'bootstrap', 'JKn', 'BRR', 'Fay']


@pytest.fixture(scope='module')
def r(tmp_path_factory):
    "What R says, and the folder with its data."
    if not shutil.which('Rscript'): pytest.skip('Rscript is not installed')
    if subprocess.run(['Rscript', '-e', 'library(survey)'], capture_output=True).returncode: pytest.skip("R's survey package is not installed")
    out = tmp_path_factory.mktemp('r')
    (out/'run.R').write_text(R)
    done = subprocess.run(['Rscript', str(out/'run.R'), str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, pd.read_csv(out/'r.csv')


def ours(name, out):
    "The same design here."
    f = pd.read_csv(out/f'{name}.csv')
    if name in COLUMNS: return survey_design(f, **COLUMNS[name])
    reps = pd.read_csv(out/f'{name}_rep.csv').set_axis(range(pd.read_csv(out/f'{name}_rep.csv', nrows=0).shape[1]), axis=1)
    f = pd.concat([f.assign(w=pd.read_csv(out/f'{name}_w.csv').w), reps], axis=1)
    scales = pd.read_csv(out/f'{name}_scale.csv').scale
    return replicate_design(f, reps.columns, weight='w', kind='scales', scales=scales, mse=name == 'mse')


@pytest.mark.parametrize('name', [*COLUMNS, *REPLICATED])
def test_agrees_with_r(r, name):
    out, said = r
    said, d = said[said.design == name], ours(name, out)
    assert len(said) >= 12
    worst, seen = 0, set()
    for row in said.itertuples():
        where = None if row.domain == 'all' else d.frame.stype == row.domain
        if row.what == 'ratio': mine = ratios(d, 'api.stu', bottom='enroll', where=where).iloc[0]
        elif row.what in ('share', 'few'): mine = shares(d, 'awards', where=where).set_index('answer').loc['Yes']
        else: mine = means(d, 'api00' if row.what == 'mean' else (d.frame.api00 - d.frame.api99).to_numpy(), where=where).iloc[0]
        if row.what in ('share', 'few') and name in COLUMNS:    # limits of Korn and Graubard below ten effective answers, logit above
            n = mine.estimate*(1 - mine.estimate)/mine.se**2
            people = kish_n(d.weight if where is None else d.weight[where])
            few = min(n, people)*min(mine.estimate, 1 - mine.estimate) < 10
            if few != (row.what == 'few') or (few and n > people): continue    # R does not hold it to the number of respondents
            seen.add(row.what)
        pairs = [('estimate', row.estimate), ('se', row.se), ('deff', row.deff), ('ci_low', row.low), ('ci_high', row.high)]
        for column, theirs in pairs:
            # with replicate weights R refits the logit in each replicate; ours is the delta method's, as with linearisation
            if np.isnan(theirs) or (row.what in ('share', 'few') and column.startswith('ci') and name in REPLICATED): continue
            assert np.isclose(mine[column], theirs, rtol=5e-5, atol=1e-12), (name, row.what, row.domain, column, mine[column], theirs)
            worst = max(worst, abs(mine[column]/theirs - 1) if theirs else 0)
    assert name not in COLUMNS or seen
    print(f'{name}: largest relative difference {worst:.1e}; limits of shares compared: {seen}')


def test_kinds_of_replicate_weights_have_rs_scales(r):
    out, _ = r
    for name, kind, rho in [('JK1', 'JK1', 0), ('BRR', 'BRR', 0), ('Fay', 'Fay', .3)]:
        d = ours(name, out)
        columns = [c for c in d.frame if isinstance(c, int)]
        scales = replicate_design(d.frame, columns, weight='w', kind=kind, rho=rho).scales
        n = len(columns)    # R keeps the finite population correction of the design in JK1's scale
        assert np.allclose(scales/d.scales, 1/(1 - 15/757) if kind == 'JK1' else 1), (name, scales[0], d.scales[0])


# resamples within strata

def stratified(n_strata=8, psus=3, people=12, seed=0):
    "Made-up records of a stratified cluster sample whose strata differ much, and two predictors."
    rng = np.random.default_rng(seed)
    f = pd.DataFrame([(h, c, i) for h in range(n_strata) for c in range(psus) for i in range(people)], columns=['stratum', 'psu', 'person'])
    f['yes'] = (rng.random(len(f)) < .1 + .8*f.stratum/n_strata + .1*rng.normal(size=n_strata*psus)[f.stratum*psus + f.psu]).astype(int)
    f['w'] = rng.uniform(.5, 2, len(f))
    records = make_records([dict(task='response', instruction=f'{i}?', output='AB'[r.yes], options=['A', 'B'], answer='AB'[r.yes], answer_index=r.yes, scale='nominal',
        source='made_up', respondent_id=str(i), question_id='q', weight=r.w, stratum=str(r.stratum), psu=str(r.psu)) for i, r in enumerate(f.itertuples())])
    said = lambda p: pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=[[1 - x, x] for x in p]))
    return f, records, dict(one=said(np.full(len(f), .7)), two=said(.21 + .6*f.stratum/n_strata))


@pytest.mark.parametrize('metric', ['brier', 'accuracy'])
def test_resamples_within_strata_have_the_linearised_standard_error(metric):
    f, records, said = stratified()
    score = lambda p: 2*(p - f.yes)**2 if metric == 'brier' else ((p > .5) == f.yes).astype(float)
    one, two = score(np.full(len(f), .7)), score(.21 + .6*f.stratum/8)
    se = means(survey_design(f, weight='w', stratum='stratum', psu='psu'), (one - two).to_numpy()).iloc[0]
    widths = {}
    for strata in (True, False):
        table = evaluate(records, said, baselines=False, n_boot=4000, strata=strata)
        row = table[(table.metric == metric) & (table.predictor == 'two') & (table.versus == 'one') & table.question_id.isna()].iloc[0]
        assert np.isclose(row.value, -se.estimate)
        widths[strata] = row.ci_high - row.ci_low
    want = 2*student(se.df).ppf(.975)*se.se
    assert np.isclose(widths[True], want, rtol=.03), (widths, se.se)
    assert not np.isclose(widths[False], want, rtol=.08)    # this test would see it if strata were forgotten


def test_strata_that_cannot_be_resampled_are_named():
    _, records, said = stratified(2, 2, 2)
    with pytest.raises(ValueError, match="is in a stratum with one psu"):
        some = records.select([0, 1, 4, 5, 6, 7])
        evaluate(some, {n: f[f.record_id.isin(some['record_id'])] for n, f in said.items()}, baselines=False, strata=True)
    with pytest.raises(ValueError, match="has no stratum: name its column"):
        evaluate(records.remove_columns('stratum').add_column('stratum', [None]*len(records)), said, baselines=False, strata=True)


# hostile input: a sentence, or a number that is missing with a reason

def hostile():
    return pd.DataFrame(dict(y=[1., 2, 3, 4, 5, np.nan], said=[*'ababab'], empty=np.nan, zero=0., w=[1.5, 2, .5, 1, 1, 1], h=[*'aaabbc'], group=['x', 'x', 'x', 'y', 'y', 'z'],
        r1=[2.25, 0, .75, 1.25, .8, 1.1], r2=[.7, 3.1, .2, 1.9, .4, 1.3], r3=[1.1, 2.2, 1.3, .3, 1.7, .6]))


@pytest.mark.parametrize('call, message', [
    (lambda f: survey_design(f, stratum='h'), r"stratum c has one psu \(1 such\): one unit shows no variance; merge it"),
    (lambda f: survey_design(f, weight='zero'), "weight 'zero' is 0 in all rows: fill it in, or leave it out"),
    (lambda f: replicate_design(f, ['r1', 'r2'], weight='zero', kind='JK1'), "weight 'zero' is 0 in all rows"),
    (lambda f: shares(survey_design(f), 'empty'), "nobody answered 'empty': leave it out"),
    (lambda f: means(survey_design(f), 'y', where=f.w > 9), "the domain is empty"),
])
def test_a_design_that_can_not_be_gets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message): call(hostile())


def test_what_can_not_be_known_is_null_and_says_why():
    f = hostile()
    for d in (survey_design(f, weight='w'), survey_design(f, weight='w', stratum='h', lonely='certainty'), replicate_design(f, ['r1', 'r2', 'r3'], weight='w', kind='bootstrap')):
        t = pd.concat([means(d, 'y', by='group'), means(d, 'empty', by='group'), shares(d, 'said', by='group'), ratios(d, 'y', bottom='zero')])
        for column in ('estimate', 'se', 'ci_low', 'ci_high'): assert t.note[t[column].isna()].notna().all(), t
        assert means(d, 'empty').note[0] == 'nobody answered' and ratios(d, 'y', bottom='zero').note[0] == 'the denominator is 0'
        z = means(d, 'y', by='group').set_index('domain')
        assert z.note['z'] == 'nobody answered' and np.isfinite(z.estimate[['x', 'y']]).all()


def test_replicate_weights_need_not_be_whole():
    f = hostile().dropna(subset='y')
    d = replicate_design(f, ['r1', 'r2', 'r3'], weight='w', kind='bootstrap')
    values = [np.average(f.y, weights=f[r]) for r in ('r1', 'r2', 'r3')]
    assert np.isclose(means(d, 'y').se[0], np.std(values, ddof=1)*np.sqrt(2/2))    # scale 1/(R - 1) of squared deviations


def test_identical_answers_have_no_spread():
    f = pd.DataFrame(dict(a=[1., 2, 3, 4]*10))
    row = means(survey_design(f), (f.a - f.a).to_numpy()).iloc[0]
    assert (row.estimate, row.se, row.ci_low, row.ci_high) == (0, 0, 0, 0) and row.isna()['deff']


def test_few_clusters_are_warned_of():
    f = pd.DataFrame(dict(y=np.arange(120.), c=np.arange(120)//10, w=[50.]*3 + [1.]*117))
    assert means(survey_design(f, psu='c'), 'y').note[0] == 'rests on 12 clusters or respondents: interval is rough'
    assert 'interval is rough' in means(survey_design(f, weight='w'), 'y').note[0] and pd.isna(means(survey_design(f), 'y').note[0])
