"Partial pooling against R's lme4, and what its simulation found."
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alignsurvey.estimation.partial_pooling import cell_shares, multilevel, mrp

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT/'benchmarks'
VARIABLES = ['age', 'degree', 'race']


def welfare():
    "Who said what of spending on welfare, as benchmarks/mrp.R reads it."
    people = pd.read_csv(ROOT/'data/gss2018/gss2018.csv').dropna(subset=['natfare', *VARIABLES])
    labels = ['18-29', '30-44', '45-59', '60-89']
    age = pd.cut(people.age, [18, 30, 45, 60, 90], right=False, labels=labels)
    people = people.assign(age=age.astype(str), degree=people.degree.astype(int), race=people.race.astype(int))
    return people, people.natfare.rank(method='dense').to_numpy(int) - 1


@pytest.mark.parametrize('sample, step', [('all', 1), ('sixth', 6)])
def test_cells_are_those_of_lme4(sample, step):
    "Each cell's shares within .002 of what `glmer` predicts, where there are many answers and where there are few."
    people, y = welfare()
    cells = pd.read_csv(BENCHMARKS/'mrp_lme4.csv')
    cells = cells[cells['sample'] == sample]
    model = multilevel(people[VARIABLES].iloc[::step], y[::step], 3, prior=False)
    first, second = cells.split1.to_numpy(), cells.split2.to_numpy()
    theirs = np.column_stack([first, (1 - first)*second, (1 - first)*(1 - second)])
    assert len(cells) > 45 and abs(cell_shares(model, cells[VARIABLES]) - theirs).max() < .002


def test_a_prior_moves_many_answers_little():
    "With 2,300 answers the default is near the likelihood's own estimate; with a sixth of them groups still differ."
    people, y = welfare()
    cells = people[VARIABLES].drop_duplicates()
    with_prior, without = (cell_shares(multilevel(people[VARIABLES], y, 3, prior=p), cells) for p in (True, False))
    assert np.sqrt(((with_prior - without)**2).mean()) < .01
    few = cell_shares(multilevel(people[VARIABLES].iloc[::6], y[::6], 3), cells)
    alike = cell_shares(multilevel(people[VARIABLES].iloc[::6], y[::6], 3, prior=False), cells)
    assert few.std(0).min() > 2*alike.std(0).min()


def test_a_population_from_cells():
    "By hand: with one variable and much data, the shares of its values weighted by the population."
    people = pd.DataFrame(dict(sex=['f']*4000 + ['m']*1000, said=['yes']*3000 + ['no']*1000 + ['yes']*200 + ['no']*800))
    cells = pd.DataFrame(dict(sex=['f', 'm'], n=[50., 50.]))
    found = mrp(people, 'said', ['sex'], cells=cells).set_index('option').share
    assert found['yes'] == pytest.approx((.75 + .2)/2, abs=.003)
    with pytest.raises(ValueError, match='no column n'):
        mrp(people, 'said', ['sex'], cells=cells.drop(columns='n'))


def test_all_of_one_mind():
    "An answer that nobody gave has a small share, and no error."
    people = pd.DataFrame(dict(sex=list('fm')*50, said='yes'))
    found = mrp(people, 'said', ['sex'], options=['no', 'yes'], margins=dict(sex=dict(f=.5, m=.5))).set_index('option')
    assert 0 < found.share['no'] < .03 and found.ci_high['no'] < .1


def test_its_intervals_held_in_simulation():
    found = pd.DataFrame(json.loads((BENCHMARKS/'mrp.json').read_text()))
    assert len(found) == 8 and found.populations.min() >= 150
    assert (found.coverage > 93 - 2*found.simulation_error).all() and (found.coverage < 97 + 2*found.simulation_error).all()
    assert found[found.of == 'cells'].coverage.between(93, 97).all()
