"A loss of a user's own: one entry in LOSSES, and it trains, is estimated and drawn; a mistake in it is said in a sentence."
import re

import pandas as pd
import pytest
import torch
from dataclasses import replace

from alignsurvey.models.loading import load_model
from alignsurvey.models.scoring import option_logprobs
from alignsurvey.training.batches import tokenised
from alignsurvey.training.losses import ANSWER, LOSSES, OPTION, Loss, check_option, option_texts
from alignsurvey.training.recipe import make_recipe
from alignsurvey.training.trainer import loss_curve, sft
from test_sft import SMALL, card, people, save_tiny, weights


def margin(logprobs, sizes, wanted, recipe):
    "By how much the best other option is more likely than the chosen one, softly."
    losses = []
    for p, y in zip(logprobs.split(list(sizes)), wanted['chosen']):
        others = torch.cat([p[:y], p[y + 1:]])
        losses.append(torch.nn.functional.softplus(others.logsumexp(0) - p[y]))
    return torch.stack(losses)


def weighted(logprobs, sizes, wanted, recipe):
    "The same, times a weight of all records and a column of them."
    factor = [w*n for w, n in zip(wanted['weight'], wanted['n'])]
    return margin(logprobs, sizes, wanted, recipe)*torch.tensor(factor)


def milder(logprobs, sizes, wanted, recipe):
    "A loss of tokens: the least likely weigh less than with the answer loss."
    assert sum(sizes) == len(logprobs)
    return (-logprobs).sqrt()


GIVEN = dict(check=check_option, texts=option_texts, value=margin)


@pytest.fixture
def mine(monkeypatch):
    "Puts a loss into LOSSES for one test."
    def put(name='mine', **fields):
        monkeypatch.setitem(LOSSES, name, Loss(name, **{**GIVEN, **fields}))
        return LOSSES[name]
    return put


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp('model')/'tiny')


def first_loss(folder):
    return pd.read_csv(folder/'loss.csv').loss[0]


def logprobs(lm, records):
    rows = list(tokenised(lm, records, 'option'))
    with torch.no_grad():
        return option_logprobs(lm.model, [r['prompt'] for r in rows], [r['options'] for r in rows])


def test_a_loss_from_a_cell_trains_the_embedded_model(mine, tmp_path):
    mine()
    tuned = sft(load_model(), people(1), tmp_path/'a', loss='mine', batch=1, micro=1, epochs=1, lr=1e-3, rank=2, alpha=4)
    assert len(pd.read_csv(tmp_path/'a'/'loss.csv')) == card(tmp_path/'a')['fit']['steps'] == 2
    assert tuned.adapter and any(w.any() for name, w in weights(tmp_path/'a').items() if 'lora_B' in name)
    assert loss_curve(tmp_path/'a').get_ylabel() == 'loss a record'


@pytest.mark.parametrize('share', [True, False])
def test_its_number_is_that_of_the_function(base, mine, tmp_path, share):
    mine()
    lm, records = load_model(base), people()
    whole = {**SMALL, 'loss': 'mine', 'batch': 12, 'micro': 12, 'epochs': 1}
    sft(lm, records, tmp_path/'a', share_prefixes=share, **whole)
    each = margin(logprobs(lm, records), [2]*12, dict(chosen=records['answer_index'][:]), None)
    assert first_loss(tmp_path/'a') == pytest.approx(each.mean().item(), rel=1e-4)


@pytest.mark.parametrize('share', [True, False])
def test_it_is_given_the_columns_and_weights_that_it_names(base, mine, tmp_path, share):
    mine(value=weighted, fields=('n',), weights=lambda records: [2.]*len(records))
    lm, records = load_model(base), people().map(lambda r, i: dict(n=i), with_indices=True)
    whole = {**SMALL, 'loss': 'mine', 'batch': 12, 'micro': 12, 'epochs': 1}
    sft(lm, records, tmp_path/'a', share_prefixes=share, **whole)
    each = margin(logprobs(lm, records), [2]*12, dict(chosen=records['answer_index'][:]), None)
    wanted = (2*each*torch.arange(12)).mean().item()
    assert first_loss(tmp_path/'a') == pytest.approx(wanted, rel=1e-4)


def test_a_loss_of_tokens(base, monkeypatch, tmp_path):
    monkeypatch.setitem(LOSSES, 'mine', replace(ANSWER, name='mine', value=milder, by_trl=False))
    for share in (True, False):
        sft(load_model(base), people(), tmp_path/str(share), share_prefixes=share,
            **{**SMALL, 'loss': 'mine', 'max_tokens': 60})
    a, b = weights(tmp_path/'True'), weights(tmp_path/'False')
    assert all(torch.allclose(a[k], b[k], atol=1e-3) for k in a)
    assert first_loss(tmp_path/'True') == pytest.approx(first_loss(tmp_path/'False'), rel=1e-4)
    assert loss_curve(tmp_path/'True').get_ylabel() == 'loss a token'


@pytest.mark.parametrize('share', [True, False])
def test_the_answer_loss_without_trl_is_the_answer_loss(base, monkeypatch, tmp_path, share):
    monkeypatch.setitem(LOSSES, 'mine', replace(ANSWER, name='mine', by_trl=False))
    for loss in ('answer', 'mine'):
        sft(load_model(base), people(), tmp_path/loss, share_prefixes=share, **{**SMALL, 'loss': loss})
    a, b = (pd.read_csv(tmp_path/loss/'loss.csv').loss for loss in ('answer', 'mine'))
    assert a.to_numpy() == pytest.approx(b.to_numpy(), rel=1e-4)


@pytest.mark.parametrize('fields, said', [
    (dict(value=3), "loss 'mine': value is 3: give a function of logprobs, sizes, wanted and recipe"),
    (dict(check=None), "loss 'mine': check is None: give a function of a record"),
    (dict(texts='options'), "loss 'mine': texts is 'options': give a function of a record"),
    (dict(weights='n'), "loss 'mine': weights is 'n': give a function of all training records"),
    (dict(unit='item'), "loss 'mine': unit is 'item': use one of record, token"),
    (dict(fields='n'), "loss 'mine': fields is 'n': give the names of columns")], ids=lambda v: next(iter(v)) if isinstance(v, dict) else '')
def test_a_mistake_in_a_field(fields, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Loss('mine', **{**GIVEN, **fields})


def test_a_mistake_in_the_entry(monkeypatch):
    for entry, said in {OPTION: "LOSSES['mine'] is the loss 'option': give both the same name", margin: 'give a Loss'}.items():
        monkeypatch.setitem(LOSSES, 'mine', entry)
        with pytest.raises(ValueError, match=re.escape(said)):
            make_recipe('task', dict(loss='mine'))
    with pytest.raises(ValueError, match="loss is 'yours': use one of answer, option, distribution, residual, mine"):
        make_recipe('task', dict(loss='yours'))


@pytest.mark.parametrize('fields, said', [
    (dict(value=lambda *given: margin(*given).mean()), "value gave the shape () where (2,) is needed: give a tensor with a loss for each record"),
    (dict(value=lambda *given: None), "value gave the shape () where (2,) is needed"),
    (dict(texts=lambda r: (r['output'], 0)), "texts gave 'more' for s/0/roads: give a list of texts, none empty"),
    (dict(texts=lambda r: ([], 0)), "texts gave [] for s/0/roads"),
    (dict(unit='token'), "texts gave 2 texts for s/0/roads: a loss of tokens asks about one"),
    (dict(fields=('rank',)), "fields names 'rank', which records do not have: use some of record_id")], ids=range(6))
def test_a_mistake_in_what_a_function_gives(base, mine, tmp_path, fields, said):
    "Before a step is taken, and nothing is saved."
    mine(**fields)
    with pytest.raises(ValueError, match=re.escape(said)):
        sft(load_model(base), people(1), tmp_path/'a', **{**SMALL, 'loss': 'mine'})
    assert not (tmp_path/'a'/'sft.json').exists()


def test_records_that_it_refuses_are_named(base, mine, tmp_path):
    def check(record):
        if record['question_id'] == 'parks':
            raise ValueError(f"{record['record_id']}: parks are not learnt from")
    mine(check=check)
    with pytest.raises(ValueError, match='s/0/parks: parks are not learnt from'):
        sft(load_model(base), people(), tmp_path/'a', **{**SMALL, 'loss': 'mine'})
