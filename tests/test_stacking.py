"A blend finds the weights of what answers come from, and is never worse than its best part by more than its interval."
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alignsurvey.evaluation.stacking import mixture_weights, stack, stacking_weights
from alignsurvey.prediction.predictions import PREDICTION
from alignsurvey.records.orders import reorder
from test_sft import people

sys.path.append(str(Path(__file__).parent.parent/'benchmarks'))
from stacking import recovered, studies


def test_weights_of_a_blend_are_recovered():
    assert max(recovered(n=6)) < .05


def test_a_blend_is_never_worse_than_its_best_part_by_more_than_its_interval():
    found = studies(n=20, seed=5)
    assert not any(row['ci_low'] > 0 for row in found)
    assert all(row['weight'] > .8 for row in found if row['truth'] == 'the first')
    assert all(row['difference'] < 0 for row in found if row['truth'] == 'neither')


def test_weights_are_the_best_on_a_grid():
    rng = np.random.default_rng(0)
    chosen, weight = rng.beta(2, 2, (200, 2)), rng.uniform(.1, 3, 200)
    grid = np.linspace(0, 1, 2001)
    loss = [-weight @ np.log(chosen @ [w, 1 - w]) for w in grid]
    assert mixture_weights(chosen, weight)[0] == pytest.approx(grid[np.argmin(loss)], abs=.001)


def test_a_predictor_that_was_certain_and_wrong_gets_nothing():
    chosen = np.c_[np.full(50, .4), np.r_[np.ones(25), np.zeros(25)]]
    found = mixture_weights(chosen, np.ones(50))
    assert np.isfinite(found).all() and found[0] > .5
    assert mixture_weights(np.c_[np.full(50, .4), np.zeros(50)], np.ones(50)) == pytest.approx([1, 0], abs=1e-6)


def said(records, share):
    "A predictor that gives the first displayed option this probability."
    frame = pd.DataFrame({**dict.fromkeys(PREDICTION), 'record_id': records['record_id'][:], 'status': 'ok'})
    return frame.assign(probs=[[share, 1 - share]]*len(records))


def test_options_stay_where_they_were_displayed_and_failures_are_even():
    lettered = people(6).map(lambda r: dict(instruction=f"{r['instruction']}\nA. more\nB. less"))
    validation = lettered.filter(lambda r: int(r['respondent_id']) < 3)
    test = reorder(lettered.filter(lambda r: int(r['respondent_id']) >= 3), 'shuffle', seed=1)
    sure, even = ({part: said(records, share) for part, records in dict(v=validation, t=test).items()} for share in (.9, .5))
    blend = stack(validation, dict(a=sure['v'], b=even['v']), test, dict(a=sure['t'], b=even['t']))
    w = blend.attrs['weights']
    assert blend.probs.tolist() == [pytest.approx([.9*w['a'] + .5*w['b'], .1*w['a'] + .5*w['b']])]*len(test)
    failed = sure['t'].assign(status='unparsed', probs=None, value=None)
    assert stack(validation, dict(a=sure['v'], b=even['v']), test, dict(a=failed, b=even['t'])).probs.tolist() == [pytest.approx([.5, .5])]*len(test)


def test_an_answer_that_nobody_thinks_possible_is_refused_by_name():
    records = people(4)
    never = dict(a=said(records, 1.), b=said(records, 1.))
    with pytest.raises(ValueError, match="record 's/1/roads' has an answer to which every predictor gives probability 0"):
        stacking_weights(records, never)
