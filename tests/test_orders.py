"Option orders: a planted model that picks A with probability 0.6, and orders that take it away again."
import numpy as np, pandas as pd, pytest

from alignsurvey.evaluation.orders import average_orders, favoured_position, position_bias
from alignsurvey.records.reading import make_records, read_records, write_records
from alignsurvey.records.orders import reorder

OPTIONS = ['none', 'some', 'much', 'all']


def survey(n, pin=()):
    block = '\n'.join(f'{l}. {o}' for l, o in zip('ABCD', OPTIONS))
    return make_records([dict(respondent_id=f'p{i}', question_id='q', instruction=f'You are {i}.\n{block}', output='A. none') for i in range(n)], source='made')


def planted(records, seed):
    "Picks the first position with probability 0.6, else any other."
    rng = np.random.default_rng(seed)
    picks = [0 if rng.random() < .6 else int(rng.integers(1, len(o))) for o in records['options']]
    return pd.DataFrame(dict(record_id=records['record_id'], status='ok', value=picks, elicitation='greedy'))


def test_the_interval_holds_the_planted_share():
    records = reorder(survey(150), seed=1)
    held = 0
    for seed in range(200):
        first = position_bias(records, planted(records, seed), n_boot=200, seed=seed).iloc[0]
        held += first.ci_low <= .6 <= first.ci_high
    assert held >= 180, held


@pytest.mark.parametrize('how, orders', [('cyclic', 4), ('all', 24)])
def test_orders_remove_the_planted_effect_from_shares(how, orders):
    asked = reorder(survey(3_000 if how == 'cyclic' else 500), how)
    got = average_orders(asked, planted(asked, 0))
    assert set(got.orders) == {orders} and np.abs(np.mean(got.probs.tolist(), 0) - .25).max() <= .01
    alone = asked.filter(lambda r: r.endswith('#0'), input_columns='record_id')
    assert abs((planted(alone, 0).value == 0).mean() - .25) > .3


@pytest.mark.parametrize('how, n', [('cyclic', 3), ('all', 6)])
def test_pinned_options_stay_and_every_answer_is_kept(how, n):
    records = survey(2)
    asked = reorder(records, how, pin_last=['all'])
    assert len(asked) == 2*n and {o[-1] for o in asked['options']} == {'all'}
    assert {r['options'][r['answer_index']] for r in asked} == {'none'} and len(set(asked['record_id'])) == 2*n
    assert all(f"{'ABCD'[r['answer_index']]}. none" == r['output'] and r['output'] in r['instruction'] for r in asked)
    counts = pd.Series([r['options'].index('some') for r in asked]).value_counts()
    assert set(counts.index) == {0, 1, 2} and counts.nunique() == 1


def test_failed_orders_are_told_and_left_out():
    asked = reorder(survey(2), 'cyclic')
    p = planted(asked, 0)
    p.loc[[1, *range(4, 8)], ['status', 'why']] = ['refused', 'refused']
    got = average_orders(asked, p)
    assert list(got.status) == ['ok', 'refused'] and got.why[0] == '1 of 4 orders failed' and list(got.orders) == [3, 0]
    with pytest.raises(ValueError, match='has no prediction'): average_orders(asked, p.iloc[1:])
    with pytest.raises(ValueError, match='use flip, shuffle, reverse, keep, cyclic or all'): reorder(survey(1), 'random')


def test_five_options_have_too_many_orders():
    five = make_records([dict(instruction='?\n' + '\n'.join(f'{l}. {o}' for l, o in zip('ABCDE', 'vwxyz')), output='A')], source='made')
    with pytest.raises(ValueError, match='its 5 options have 120 orders: use cyclic, or pin some last'): reorder(five, 'all')
    assert len(reorder(five, 'all', pin_last=['z'])) == 24


@pytest.mark.parametrize('scale', ['ordinal', 'unknown', 'nominal'])
def test_a_scale_is_turned_for_half_and_only_the_nominal_is_shuffled(scale):
    records = survey(400).map(lambda r: dict(scale=scale), load_from_cache_file=False)
    shown = pd.Series([tuple(o) for o in reorder(records, pin_last=['none'])['options']]).value_counts()
    up, down = ('some', 'much', 'all', 'none'), ('all', 'much', 'some', 'none')
    assert shown[up] + shown[down] == 400 and abs(shown[up] - 200) <= 40 if scale != 'nominal' else len(shown) == 6
    assert reorder(records.select(range(9))).to_list() == reorder(records).select(range(9)).to_list()


def test_what_a_record_pins_stays_last_in_every_order(tmp_path):
    rows = [dict(r, pinned=['none'] if i else None) for i, r in enumerate(survey(3))]
    records = read_records(write_records(make_records(rows, source='made'), tmp_path/'r.jsonl'))
    for how in 'flip', 'shuffle', 'reverse', 'keep':
        assert [o[-1] for o in reorder(records, how)['options'][1:]] == ['none']*2, how
    assert len(reorder(reorder(records.select([1]), 'keep'), 'all')) == 6
    with pytest.raises(ValueError, match="field 'pinned' is 3: write a list of texts"): make_records([dict(rows[1], pinned=3)])


def test_a_forecast_that_knows_no_order_favours_no_place():
    "What is left of its excess is rounding, whose standard error is rounding, too."
    records = reorder(survey(60), 'shuffle', seed=2)
    says = dict(zip(OPTIONS, (.1, .2, .3, .4)))
    frame = pd.DataFrame(dict(record_id=records['record_id'], status='ok', elicitation='score', probs=[[says[o] for o in options] for options in records['options']]))
    for seed in range(5):
        bias = position_bias(records, frame, n_boot=200, seed=seed)
        assert favoured_position(bias) is None and (abs(bias.excess) < 1e-12).all()
