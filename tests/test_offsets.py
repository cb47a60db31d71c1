"A model that is trained on what a table leaves open: it starts at the table, and nobody can ask it without one."
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from alignsurvey.models.export import merge
from alignsurvey.models.loading import load_model
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.offsets import with_offsets
from alignsurvey.records.orders import reorder
from alignsurvey.records.reading import make_records, read_records, write_records
from alignsurvey.training.losses import OPTION, RESIDUAL
from alignsurvey.training.trainer import learning_rates, sft
from test_sft import SMALL, card, people, save_tiny

RUN = {**SMALL, 'loss': 'residual'}


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return load_model(save_tiny(tmp_path_factory.mktemp('model')/'tiny'))


@pytest.fixture(scope='module')
def made(base):
    "Training and other records with offsets."
    return with_offsets(people(8), people(4, 20), lm=base)


@pytest.fixture(scope='module')
def tuned(base, made, tmp_path_factory):
    out = tmp_path_factory.mktemp('runs')/'a'
    return sft(base, made[0], out, validate=made[1], validate_every=1, **RUN)


def test_training_starts_at_the_table(base, made, tmp_path):
    table = with_offsets(people(8))[0]
    expected = -np.mean([o[y] for o, y in zip(table['offset'], table['answer_index'])])
    one = {**RUN, 'epochs': 1, 'batch': 16, 'micro': 16}
    for share in (True, False):
        sft(base, made[0], tmp_path/str(share), share_prefixes=share, **one)
        assert pd.read_csv(tmp_path/str(share)/'loss.csv').loss[0] == pytest.approx(expected, abs=1e-4)


def test_validation_and_predictions_add_the_same(made, tuned):
    other = made[1]
    frame = predict(load_model(tuned.name, adapter=tuned.adapter), other)
    score = -np.mean([np.log(p[y]) for p, y in zip(frame.probs, other['answer_index'])])
    assert card(tuned.adapter)['held_out']['log_score'] == pytest.approx(score, abs=1e-5)
    assert card(tuned.adapter)['best_score'] == pytest.approx(score, abs=1e-5)


def test_an_order_moves_offsets_with_their_options(base, made):
    lm = replace(base, offset=True)
    lettered = made[1].map(lambda r: dict(instruction=f"{r['instruction']}\nA. more\nB. less", offset=[5., -5.]))
    turned = reorder(lettered, 'reverse')
    assert turned['offset'][:] == [[-5., 5.]]*len(turned)
    assert all(p[1] > .9 for p in predict(lm, turned).probs)


def test_it_cannot_be_asked_without_them(made, tuned, tmp_path):
    without = made[1].remove_columns('offset')
    with pytest.raises(ValueError, match='s/20/.*: has no offset for each of its 2 options'):
        predict(tuned, without)
    with pytest.raises(ValueError, match="use elicitation='score'"):
        predict(tuned, made[1], elicitation='greedy')
    with pytest.raises(ValueError, match="use elicitation='score', without per_token"):
        predict(tuned, made[1], per_token=True)
    with pytest.raises(ValueError, match='which only `predict` adds'):
        merge(tuned, tmp_path/'merged')


def test_it_cannot_be_trained_without_them(base, made, tuned, tmp_path):
    with pytest.raises(ValueError, match='s/0/roads: has no offset'):
        sft(base, people(8), tmp_path/'a', **RUN)
    with pytest.raises(ValueError, match='s/20/.*: has no offset'):
        sft(base, made[0], tmp_path/'a', validate=people(4, 20), **RUN)
    for policy in ('continue', 'merge'):
        with pytest.raises(ValueError, match="can't be trained further with loss='option'"):
            sft(tuned, people(4, 40), tmp_path/'a', adapter_policy=policy, **{**RUN, 'loss': 'option'})
    fresh = sft(tuned, people(4, 40), tmp_path/'b', adapter_policy='fresh', **{**RUN, 'loss': 'option'})
    assert not fresh.offset and 'offset' not in card(tmp_path/'b')


def test_a_function_that_validates_must_bring_them_too(base, made, tmp_path):
    with pytest.raises(ValueError, match='s/20/.*: has no offset'):
        sft(base, made[0], tmp_path/'a', validate_every=1,
            validate=lambda lm: predict(lm, people(4, 20)).coverage.mean(), **RUN)


def test_other_offsets_are_another_run_and_other_answers(base, made, tuned, tmp_path):
    def stop(lm):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        sft(base, made[0], tmp_path/'a', validate=stop, validate_every=1, **RUN)
    others = with_offsets(people(8), folds=2, lm=base)[0]
    with pytest.raises(ValueError, match='holds an unfinished run with another tokens_hash'):
        sft(base, others, tmp_path/'a', validate=stop, validate_every=1, **RUN)
    journal = tmp_path/'j.sqlite'
    level = made[1].remove_columns('offset').add_column('offset', [[0., 0.]]*len(made[1]))
    one, two = (predict(tuned, records, journal=journal) for records in (made[1], level))
    assert not np.allclose(np.stack(one.probs), np.stack(two.probs))


def test_offsets_survive_a_file(made, tmp_path):
    write_records(made[1], tmp_path/'r.jsonl')
    back = read_records(tmp_path/'r.jsonl')
    assert back['offset'][:] == made[1]['offset'][:]
    bad = made[1][0] | dict(offset=[.5])
    with pytest.raises(ValueError, match="field 'offset' has 1 numbers for 2 options"):
        make_records([bad])


def test_a_table_that_knows_nothing_changes_nothing():
    logprobs, wanted = torch.randn(4), dict(chosen=[0, 1], offset=[[0., 0.]]*2)
    recipe = type('R', (), dict(answer_share=.3))
    assert torch.equal(RESIDUAL.value(logprobs, [2, 2], wanted, recipe), OPTION.value(logprobs, [2, 2], wanted, recipe))


def test_a_sweep_of_learning_rates_starts_at_the_table(base, made, tmp_path):
    table = with_offsets(people(8), people(4, 20))[1]
    expected = -np.mean([o[y] for o, y in zip(table['offset'], table['answer_index'])])
    settings = {k: v for k, v in RUN.items() if k not in ('lr', 'epochs')}
    found = learning_rates(base, *made, steps=3, rates=[1e-9, 1e-2], **settings)
    assert found.steps.tolist() == [0, 3, 3]
    assert found.score[:2].tolist() == pytest.approx([expected]*2, abs=1e-4)
    sft(base, made[0], tmp_path/'a', validate=made[1], validate_every=3, warmup=0., **{**RUN, 'epochs': 3/4})
    assert card(tmp_path/'a')['best_score'] == pytest.approx(found.score[2], abs=1e-6)
    with pytest.raises(ValueError, match='is in the training data'):
        learning_rates(base, made[0], made[0], steps=3, **settings)


def test_offsets_on_the_command_line(here, tmp_path):
    "The offsets that a call gives, in files beside which nothing is lost; a baseline that there is not is refused by name."
    convert = ['convert', 'gss2018', tmp_path/'gss.jsonl', '--items', 'natroad,natsci', '--variables', 'age,sex', '--answer-form', 'text', '--respondents', 40]
    for step in convert, ['split', tmp_path/'gss.jsonl', tmp_path/'splits', '--test', .4], ['offsets', tmp_path/'splits', tmp_path/'known']:
        code, _, err = here(*step)
        assert code == 0, err
    parts = [read_records(tmp_path/'splits'/f'{name}.jsonl') for name in ('train', 'test')]
    for name, records in zip(('train', 'test'), with_offsets(*parts)):
        assert read_records(tmp_path/'known'/f'{name}.jsonl')['offset'][:] == records['offset'][:]
    code, _, err = here('offsets', tmp_path/'splits', tmp_path/'known')
    assert code == 2 and 'exists already' in err
    code, _, err = here('offsets', tmp_path/'splits', tmp_path/'other', '--baseline', 'oracle')
    assert code == 2 and 'oracle' in err and 'marginal' in err
    code, _, err = here('offsets', tmp_path/'nowhere', tmp_path/'other')
    assert code == 2 and 'no such file' in err
