"Scores of the other tasks: attributes, stances with reasons, turns; what is left out, and what no baseline may see."
import numpy as np, pandas as pd, pytest
from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.records.reading import make_records
from alignsurvey.evaluation.free_answers import read_replies

QUICK = dict(n_boot=100)


def one(table, **where):
    hit = np.logical_and.reduce([table[k].isna() if v is None else table[k] == v for k, v in dict(dict(question_id=None, group_var=None, versus=None), **where).items()])
    assert hit.sum() == 1, (where, hit.sum())
    return table[hit].iloc[0]


def roles(n, attributes):
    rng, rows = np.random.default_rng(0), []
    for i in range(n):
        for name, values in attributes.items():
            y = int(rng.integers(len(values)))
            rows.append(dict(task='role', instruction=f'{i} {name}?', output=repr([values[y]]), options=values, answer_index=y, answer=values[y], answer_form='list', rule='exact', scale='nominal',
                source='toy', respondent_id=f'p{i}', question_id=name, groups={name: values[y]}))
    return make_records(rows)


def test_an_attribute_is_not_predicted_from_itself():
    records = roles(60, dict(sex=['male', 'female', 'other']))
    table = evaluate(records.select(range(30, 60)), {}, train=records.select(range(30)), **QUICK)
    assert one(table, predictor='logistic', metric='log_score').value > .8
    assert one(table, predictor='uniform', metric='accuracy').value == pytest.approx(1/3)


def test_exact_attributes_are_choices_and_others_go_by_their_rule():
    exact = roles(8, dict(sex=['male', 'female']))
    other = make_records([dict(task='role', instruction=f'{i} home?', output="['partner', 'children']", answer='partner、children', rule='any_overlap', source='toy', respondent_id=f'p{i}', question_id='home') for i in range(8)])
    both = make_records(exact.to_list() + other.to_list())
    said = pd.DataFrame(dict(record_id=both['record_id'][:], text=list(exact['output']) + ['children']*4 + ['nobody']*4))
    table = evaluate(both, said, baselines=False, **QUICK)
    assert one(table, metric='accuracy', question_id='sex').value == 1 and one(table, metric='accuracy', question_id='home').value == .5
    assert one(table, metric='accuracy').value == .75 and one(table, metric='macro_f1', question_id='sex').value == 1
    assert set(table.task) == {'role'}


STANCES = ['positive', 'neutral', 'negative']


def stances(answers, reasons):
    return make_records([dict(task='stance', instruction=f'{i}?', output='{}', options=STANCES, positions=[0, 1, 2], scale='ordinal', answer=a, answer_index=STANCES.index(a) if a in STANCES else None,
        answer_form='json', reason=r, source='toy', respondent_id=f'p{i}', question_id='tax') for i, (a, r) in enumerate(zip(answers, reasons))])


def test_stances_are_choices_and_their_reasons_are_texts():
    records = stances(['positive', 'negative', "don't know", 'neutral'], ['it is fair', 'it costs jobs', None, None])
    said = pd.DataFrame(dict(record_id=records['record_id'][:], text=['{"predict": "positive", "reason": "fair it is"}', '{"predict": "neutral", "reason": "no view"}', 'neutral', 'perhaps']))
    table = evaluate(records, said, failure_rule='wrong', baselines=False, **QUICK)
    assert one(table, metric='accuracy', predictor='model').value == pytest.approx(1/3)    # one right, one wrong, one not parsed; the don't know is out
    assert one(table, metric='failed', predictor='model').value == pytest.approx(1/3)
    assert one(table, metric='jaccard', predictor='model').value == pytest.approx(.5) and one(table, metric='jaccard', predictor='model').n == 2
    left = one(table, metric='nonresponse', predictor='human')
    assert left.value == .25 and left.n == 4 and 'left out of every score' in left.note
    assert one(table, metric='wasserstein', predictor='model').task == 'stance'


def test_turns_are_compared_as_texts():
    records = make_records([dict(task='interview', instruction=f'{i}?', output=t, answer=t, answer_form='free', source='toy', respondent_id=f'p{i}', question_id=f'q{i}') for i, t in enumerate(['我觉得很好', '不好说', ''])])
    said = {'echo': pd.DataFrame(dict(record_id=records['record_id'][:], text=['我觉得很好', '不好说', '好'])), 'other': pd.DataFrame(dict(record_id=records['record_id'][:], text=['天气冷', '天气冷', '天气冷']))}
    table = evaluate(records, said, **QUICK)
    assert one(table, metric='rouge_l', predictor='echo').value == one(table, metric='chrf', predictor='echo').value == 1
    assert one(table, metric='chrf', predictor='echo').n == 2, 'an empty human turn is nothing to compare with'
    gap = one(table, metric='chrf', predictor='other', versus='echo')
    assert gap.value == -1 and "differ alike" in gap.note, "two people say nothing of a third"


def test_tasks_and_levels_are_not_mixed():
    mixed = make_records(roles(2, dict(sex=['m', 'f'])).to_list() + stances(['neutral'], [None]).to_list())
    with pytest.raises(ValueError, match='records are of the tasks role, stance: score each task by itself'): evaluate(mixed, {}, **QUICK)
    with pytest.raises(ValueError, match="all said that they don't know"): evaluate(stances(["don't know"], [None]), {}, **QUICK)


def test_a_prediction_with_a_status_is_not_parsed_again():
    records = stances(['positive'], [None])
    frame = pd.DataFrame(dict(record_id=records['record_id'][:], text=['neutral'], status=['error'], why=['cut off'], value=[None]))
    assert read_replies(records, frame).status.tolist() == ['error']


@pytest.mark.parametrize('rule, log_score', [('missing', None), ('uniform', np.log(3)), ('wrong', None)])
def test_a_predictor_that_always_fails_is_scored_as_such(rule, log_score):
    records = stances(['positive', 'negative', 'neutral'], [None]*3)
    said = pd.DataFrame(dict(record_id=records['record_id'][:], text=['hm']*3))
    table = evaluate(records, {'lost': said}, failure_rule=rule, **QUICK)
    row = one(table, predictor='lost', metric='failed')
    assert row.value == 1 and row.n == 3
    accuracy = one(table, predictor='lost', metric='accuracy')
    assert np.isnan(accuracy.value) if rule == 'missing' else accuracy.value == pytest.approx(1/3 if rule == 'uniform' else 0)
    assert '3 unparsed' in accuracy.note
