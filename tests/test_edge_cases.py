"What stands at the edge of what functions expect: rare settings, empty cells, names from elsewhere."
import json

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import constants

from alignsurvey.all import Survey, evaluate, load_model, make_records, predict, rake, sft
from alignsurvey.evaluation.bounds import relative_gain
from alignsurvey.evaluation.calibration import reliability
from alignsurvey.evaluation.groups import evaluate_groups
from alignsurvey.evaluation.judging import judge, lm_judge
from alignsurvey.evaluation.probes import reword
from alignsurvey.models.adapters import lineage, trained_on
from alignsurvey.prediction.batch_api import in_batches
from alignsurvey.prediction.journal import Journal
from alignsurvey.prediction.server import Server
from alignsurvey.surveys.codebook import read_codebook
from alignsurvey.teaching.checks import same_as
from test_sft import save_tiny


def ask(n=6, **fields):
    "Questions of so many people, each with two options."
    return make_records([dict(instruction=f'You are {i}. Roads?\nA. little\nB. much', output='AB'[i % 2], options=['little', 'much'], answer_index=i % 2, answer_form='label',
        respondent_id=f'p{i}', question_id='roads', question='Roads?', source='t', **fields) for i in range(n)])


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    "Folder of a model of random weights."
    return save_tiny(tmp_path_factory.mktemp('model')/'tiny')


def test_what_a_models_files_say_of_penalties_is_left_aside(tiny):
    lm, records = load_model(tiny), ask(4)
    plain = predict(lm, records, elicitation='greedy', max_new_tokens=6)
    lm.model.generation_config.repetition_penalty = 1.9
    lm.model.generation_config.no_repeat_ngram_size = 1
    pd.testing.assert_series_equal(predict(lm, records, elicitation='greedy', max_new_tokens=6).text, plain.text)


def test_memory_is_bounded_where_prompts_share_nothing(tiny, monkeypatch):
    import alignsurvey.prediction.local as local
    lm, records = load_model(tiny), ask(5)
    rows, generate = [], lm.model.generate
    whole = predict(lm, records, elicitation='greedy', max_new_tokens=3, max_tokens=0)
    scored = predict(lm, records, max_tokens=0)
    monkeypatch.setattr(local, '_ROWS', 2)
    monkeypatch.setattr(lm.model, 'generate', lambda **how: rows.append(len(how['input_ids'])) or generate(**how))
    pd.testing.assert_series_equal(predict(lm, records, elicitation='greedy', max_new_tokens=3, max_tokens=0).text, whole.text)
    assert rows == [2, 2, 1]
    assert np.allclose(np.stack(predict(lm, records, max_tokens=0).probs), np.stack(scored.probs), atol=1e-5)


@pytest.fixture(scope='module')
def adapter(tiny, tmp_path_factory):
    "An adapter of one step, whose trainer logs more rarely than it runs."
    out = tmp_path_factory.mktemp('made')/'adapter'
    sft(load_model(tiny), ask(), out, batch=8, epochs=1, trainer_args=dict(logging_steps=50))
    return out


def test_a_run_may_be_shorter_than_its_log(adapter):
    assert json.loads((adapter/'sft.json').read_text())['steps'] == 1
    assert len(pd.read_csv(adapter/'loss.csv')) == 0


def test_an_adapter_of_the_hub_is_as_one_of_a_folder(adapter, tmp_path, monkeypatch):
    kept = tmp_path/'hub'/'models--lab--tuned'
    (kept/'refs').mkdir(parents=True)
    (kept/'refs'/'main').write_text('abc')
    (kept/'snapshots').mkdir()
    (kept/'snapshots'/'abc').symlink_to(adapter)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path/'hub'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert trained_on('lab/tuned') == trained_on(adapter) != []
    assert lineage('lab/tuned') == lineage(adapter)
    assert trained_on('lab/none') == []


def test_an_old_validation_does_not_outlive_its_run(tiny, tmp_path):
    records = ask(4)
    sft(load_model(tiny), records, tmp_path/'a', batch=8, epochs=1, validate=lambda lm: 1., validate_every=1)
    assert (tmp_path/'a'/'validation.csv').exists()
    sft(load_model(tiny), records, tmp_path/'a', batch=8, epochs=1, overwrite=True)
    assert not (tmp_path/'a'/'validation.csv').exists()


def test_a_journal_never_lacks_the_card_of_what_is_paid(tmp_path):
    log = Journal(tmp_path/'j.sqlite')
    log.begin('run', dict(sources=['t']))
    log.note('run', submitting='paid')
    def fails():
        yield 0, 'r0', 'k0', 2
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        log.begin('run', dict(sources=['t']), fails())
    assert log.runs()['run']['submitting'] == 'paid'
    log.close()


def test_a_file_of_requests_is_cut_by_its_size(monkeypatch):
    import alignsurvey.prediction.batch_api as batch_api
    server = Server('m', 'http://127.0.0.1:1/v1', options=dict(extra_body=dict(top_k=-1)))
    batched = in_batches(server, per_file=3)
    requests = [(str(i), None, dict(messages=['x'*50], **server.options)) for i in range(7)]
    assert [len(lines) for lines in batch_api.request_files(batched, requests)] == [3, 3, 1]
    monkeypatch.setattr(batch_api, '_MOST_BYTES', 400)
    files = list(batch_api.request_files(batched, requests))
    assert sum(map(len, files)) == 7 and all(len(b'\n'.join(lines)) <= 400 for lines in files)
    body = json.loads(files[0][0])['body']
    assert body['top_k'] == -1 and 'extra_body' not in body
    with pytest.raises(ValueError, match='extra_headers'):
        in_batches(Server('m', 'http://127.0.0.1:1/v1', options=dict(extra_headers=dict(a='b'))))


def test_a_judge_that_says_nothing_is_kept_as_that(tmp_path):
    turns = make_records([dict(task='interview', instruction='…', output='I like it.', history='Q: well?', respondent_id='p', source='t', lang='en')])
    said = pd.DataFrame(dict(record_id=turns['record_id'][:], text=['Fine.'], status='ok'))
    first = judge(turns, said, {'mute': lambda prompt: None}, journal=tmp_path/'j.sqlite')
    again = judge(turns, said, {'mute': lambda prompt: None}, journal=tmp_path/'j.sqlite')
    assert list(first.status) == list(again.status)
    assert (again.status != 'ok').all()


def test_a_tuned_judge_has_a_name_of_its_own(tiny, adapter):
    names = {lm_judge(load_model(tiny)).__name__, lm_judge(load_model(tiny, adapter=adapter)).__name__}
    assert len(names) == 2


def test_blank_cells_of_the_design_are_none_and_codes_have_one_spelling():
    book = read_codebook(dict(id='t', respondent_id='id', stratum='s', psu='c', items=dict(q=dict(question='Q?', options={1: 'a', 2: 'b'}))), 'b.yaml')
    frame = pd.DataFrame(dict(id=[1., 2., 3.], s=['x', None, 'y'], c=[1., 2., np.nan], q=[1, 2, 1]))
    records = Survey(frame, book, 't.csv').records(verbose=False)
    assert records['respondent_id'][:] == ['1', '2', '3']
    assert records['stratum'][:] == ['x', None, 'y']
    assert records['psu'][:] == ['1', '2', None]


def test_a_part_that_is_saved_keeps_whose_rows_they_are(tmp_path):
    book = read_codebook(dict(id='t', items=dict(q=dict(question='Q?', options={1: 'a', 2: 'b'}))), 'b.yaml')
    part = Survey(pd.DataFrame(dict(q=[1, 2, 1, 2])), book, 't.csv').where(q=2)
    ids = part.records(verbose=False)['respondent_id'][:]
    assert ids == ['2', '4']
    assert Survey.load(part.save(tmp_path/'part')).records(verbose=False)['respondent_id'][:] == ids


def test_a_rule_or_rival_that_there_is_not_is_refused():
    records, said = ask(), pd.DataFrame(dict(record_id=ask()['record_id'][:], probs=[[.5, .5]]*6, status='ok'))
    for rule in (lambda how: evaluate(records, said, n_boot=100, **how), lambda how: reliability(records, dict(m=said), n_boot=100, **how)):
        with pytest.raises(ValueError, match="failure_rule is 'typo'"):
            rule(dict(failure_rule='typo'))
    talk = make_records([dict(task='interview', instruction='…', output='Yes.', history='Q: well?', respondent_id='p', source='t', lang='en')])
    reply = pd.DataFrame(dict(record_id=talk['record_id'][:], text=['No.']))
    for how, said_so in ((dict(failure_rule='typo'), "failure_rule is 'typo'"), (dict(versus='typo'), "versus names 'typo'")):
        with pytest.raises(ValueError, match=said_so):
            evaluate(talk, reply, n_boot=100, **how)


def test_groups_of_two_surveys_are_two_items():
    def group(source, id, target, **more):
        return dict(record_id=f'{source}/{id}/{len(target)}{target[0]}', level='group', source=source, question_id='q', options=['a', 'b'], target=target, n=100, n_eff=100., groups={'sex': id}, instruction='?', output='',
            answer_form='shares', scale='nominal', **more)
    train = make_records([group('s1', 'm', [.9, .1]), group('s2', 'm', [.1, .9])])
    test = make_records([group('s1', 'f', [.8, .2]), group('s2', 'f', [.2, .8])])
    scores = evaluate_groups(test, {}, train=train, baselines=['marginal'], n_boot=100)
    distance = scores[(scores.predictor == 'marginal') & scores.metric.str.contains('tv|TV|total', na=False) & scores.question_id.isna() & scores.versus.isna()]
    assert len(distance) and np.isclose(distance.value.iloc[0], .1)
    odd = make_records([dict(group('s1', 'f', [.8, .2]), options=['a', 'c'])])
    with pytest.raises(ValueError, match="no training group has its option 'c'"):
        evaluate_groups(odd, {}, train=train, baselines=['marginal'], n_boot=100)


def test_a_question_in_the_input_is_reworded_there():
    records = ask(2, input='')
    moved = records.map(lambda r: dict(instruction='You are one.', input='Roads?\nA. little\nB. much'))
    assert 'Streets?' in reword(moved, questions={'roads': 'Streets?'})[0]['input']
    lost = records.map(lambda r: dict(question='Something else?'))
    with pytest.raises(ValueError, match='does not hold its question'):
        reword(lost, questions={'roads': 'Streets?'})


def test_gains_are_of_the_records_that_both_answered():
    rng = np.random.default_rng(1)
    y = rng.choice(2, p=[.8, .2], size=200)
    records = make_records([dict(instruction='?', output='ab'[k], options=['a', 'b'], answer_index=int(k), answer_form='text', scale='ordinal', positions=[0., 1.], source='t', respondent_id=f'p{i}',
        question_id='q') for i, k in enumerate(y)])
    ids = records['record_id'][:]
    base = pd.DataFrame(dict(record_id=ids, probs=[[.2, .8]]*200, status=np.where(y == 0, 'ok', 'refused')))
    base['probs'] = [p if s == 'ok' else None for p, s in zip(base.probs, base.status)]
    model = pd.DataFrame(dict(record_id=ids, probs=[[.2, .8]]*200, status='ok'))
    gains = relative_gain(records, dict(base=base, model=model), base='base', n_boot=100)
    assert set(gains.n) == {int((y == 0).sum())}
    assert np.allclose(gains.value.dropna(), 0)


def test_margins_may_not_be_empty_and_draws_any_number():
    from alignsurvey.estimation.partial_pooling import multilevel_counts, share_draws
    with pytest.raises(ValueError, match='margins is empty'):
        rake(pd.DataFrame(dict(a=[1, 2])), {})
    x = pd.DataFrame(dict(sex=['m', 'f', 'm', 'f']))
    model = multilevel_counts(x, np.array([[8., 2], [3, 7], [6, 4], [5, 5]]))
    assert [len(share_draws(model, x, draws=n)) for n in (1, 30, 120)] == [1, 30, 120]


def test_numpys_true_is_true():
    assert same_as()(np.True_, True) == '' and same_as()(np.str_('a'), 'a') == ''
    assert same_as()(1, True) != ''


def test_a_device_may_be_an_object():
    assert load_model(device=torch.device('cpu')).dtype == torch.float32


def test_regressions_read_what_the_model_is_told():
    rng = np.random.default_rng(0)
    party, sex = rng.choice(['1', '2'], (2, 300))
    book = read_codebook(dict(id='t', background=dict(party=dict(question='Party?', options={1: 'Reds', 2: 'Blues'}), sex=dict(question='Sex?', options={1: 'f', 2: 'm'})),
        items=dict(vote=dict(question='Vote?', options={1: 'yes', 2: 'no'}))), 'b.yaml')
    survey = Survey(pd.DataFrame(dict(party=party, sex=sex, vote=party)), book, 't.csv')
    for variables, known in (['sex'], False), (['sex', 'party'], True), (None, True):
        records = survey.records(variables=variables, verbose=False)
        train, test = records.select(range(200)), records.select(range(200, 300))
        scores = evaluate(test, {}, train=train, baselines=['logistic', 'mrp'], n_boot=100)
        right = scores[(scores.metric == 'accuracy') & scores.versus.isna() & scores.question_id.isna()].set_index('predictor').value
        assert (right > .95).all() if known else (right < .7).all()


def test_a_predictor_may_not_be_named_as_people_are_nor_give_texts_for_numbers():
    records = ask()
    said = pd.DataFrame(dict(record_id=records['record_id'][:], probs=[[.5, .5]]*6, status='ok'))
    with pytest.raises(ValueError, match="named 'human'"):
        evaluate(records, dict(human=said), n_boot=100)
    with pytest.raises(ValueError, match='probs that are text'):
        evaluate(records, dict(m=said.assign(probs=said.probs.map(str))), n_boot=100)


def test_the_last_word_of_a_reply_that_was_cut_off_says_nothing():
    from alignsurvey.prediction.predictions import read_reply
    record = dict(task='number', record_id='r', answer_form='number', options=[str(k) for k in range(101)], positions=list(map(float, range(101))), lang='en')
    assert read_reply('The survey was conducted in 20', record)['status'] == 'ok'
    assert read_reply('The survey was conducted in 20', record, cut=True)['status'] != 'ok'
    assert read_reply('42', record, cut=True)['value'] == 42


def test_a_series_is_put_into_the_order_of_the_respondents():
    from alignsurvey.estimation.design import means, survey_design
    f = pd.DataFrame(dict(y=[1., 2, 9, 4], sex=list('aabb')))
    design = survey_design(f)
    by = means(design, 'y', by='sex')
    assert np.allclose(means(design, f.y.sample(frac=1, random_state=1), by=f.sex.sample(frac=1, random_state=2)).estimate, by.estimate)
    with pytest.raises(ValueError, match='in another order'):
        means(design, f.y.set_axis([40, 30, 20, 10]))


def test_an_empty_wording_is_none():
    book = read_codebook(dict(id='t', items=dict(q=dict(question=' ', options={1: 'a', 2: 'b'}))), 'b.yaml')
    assert book.items['q'].question == {'en': 'q'}
    with pytest.raises(ValueError, match='question is empty in zh'):
        read_codebook(dict(id='t', items=dict(q=dict(question={'en': 'Q?', 'zh': ''}, options={1: 'a', 2: 'b'}))), 'b.yaml')


def test_groups_are_not_compared_in_accuracy():
    from alignsurvey.evaluation.subgroups import subgroup_excess
    rng = np.random.default_rng(0)
    records = make_records([dict(instruction='?', output='ab'[k], options=['a', 'b'], answer_index=int(k), answer_form='text', scale='ordinal', positions=[0., 1.], source='t', respondent_id=f'p{i}',
        question_id='q', groups=dict(sex='fm'[i % 2])) for i, k in enumerate(rng.choice(2, size=200))])
    said = pd.DataFrame(dict(record_id=records['record_id'][:], probs=[[.6, .4]]*200, status='ok'))
    assert not (subgroup_excess(records, dict(m=said), by='sex', metric='accuracy', n_boot=100).group == 'gap').any()
    assert (subgroup_excess(records, dict(m=said), by='sex', metric='brier', n_boot=100).group == 'gap').any()


def test_what_a_model_gives_everybody_alike_counts_in_its_variance():
    from alignsurvey.evaluation.structure import variance_ratio
    rng = np.random.default_rng(0)
    records = make_records([dict(instruction='?', output='ab'[k], options=['a', 'b'], answer_index=int(k), answer_form='text', scale='ordinal', positions=[0., 1.], source='t', respondent_id=f'p{i}',
        question_id=f'q{j}') for i in range(80) for j, k in enumerate(rng.choice(2, size=4))])
    said = [[.5, .5] if q == 'q0' else [1., 0.] for q in records['question_id'][:]]
    rows = variance_ratio(records, dict(m=pd.DataFrame(dict(record_id=records['record_id'][:], probs=said, status='ok'))), n_boot=100)
    whole = rows[rows.question_id.isna()].iloc[0]
    assert .2 < whole.value < .3 and '3 of 4 items do not vary at all' in whole.note


def test_later_stages_leave_no_part_of_the_first_out(tmp_path):
    from alignsurvey.estimation.design import survey_design
    rng = np.random.default_rng(0)
    schools = np.repeat(np.arange(10), 5)
    y = (rng.random(50) < .3 + .4*(schools % 2)).astype(int)
    frame = pd.DataFrame(dict(school=schools, all_schools=10, pupil=np.arange(50), all_pupils=100), index=[f'p{i}' for i in range(50)])
    records = make_records([dict(instruction='?', output='ab'[k], options=['a', 'b'], answer_index=int(k), answer_form='text', scale='ordinal', positions=[0., 1.], source='t', respondent_id=f'p{i}',
        question_id='q') for i, k in enumerate(y)])
    said = pd.DataFrame(dict(record_id=records['record_id'][:], probs=[[.5, .5]]*50, status='ok'))
    design = survey_design(frame, psu=['school', 'pupil'], fpc=['all_schools', 'all_pupils'])
    row = evaluate(records, said, baselines=False, n_boot=200, design=design).query("metric == 'share' and predictor == 'human'").iloc[0]
    assert row.ci_high - row.ci_low > .05


@pytest.mark.parametrize('frame, said', [
    (dict(id=['a', 'a'], q=[1, 2]), "'a' stands twice as respondent id"), (dict(id=[], q=[]), 'has no respondents'), (dict(q=[1]), "has no column 'id'"), (dict(id=['a', ' '], q=[1, 2]), 'is no respondent id')])
def test_a_survey_made_of_a_frame_has_people_each_once(frame, said):
    book = read_codebook(dict(id='t', respondent_id='id', items=dict(q=dict(question='Q?', options={1: 'a', 2: 'b'}))), 'b.yaml')
    with pytest.raises(ValueError, match=said):
        Survey(pd.DataFrame(frame), book, 't.csv').records(verbose=False)


def test_what_is_told_is_named_where_it_is_not_all():
    from alignsurvey.all import Interviews
    from alignsurvey.surveys.bundled import data_folder
    folder = data_folder('invented_interviews')
    people = Survey.load('invented_interviews')
    talks = Interviews.load(folder/'turns_en.jsonl', people)
    assert talks.records('role', verbose=False)['told'][0] == []
    assert 'told' not in talks.records('interview', verbose=False).column_names
    profile = dict(id='t', background=dict(sex=dict(question='Sex?', options={1: 'f', 2: 'm'}), age=dict(question='Age?', options={1: 'young', 2: 'old'})),
        items=dict(buy=dict(question='A phone for {price}. Buy it?', options={1: 'yes', 2: 'no'})),
        sets=dict(phones=dict(kind='conjoint', columns=['buy'], attributes=dict(price=dict(columns=['p'], levels={1: '100 euros', 2: '400 euros'})))))
    shop = Survey(pd.DataFrame(dict(sex=['1', '2'], age=['1', '2'], buy=['1', '2'], p=['1', '2'])), read_codebook(profile, 'shop.yaml'), 's.csv')
    assert shop.records(variables=['sex'], verbose=False)['told'][0] == ['sex', 'price']
    assert 'told' not in shop.records(verbose=False).column_names
