"A head finds what states say of a person, is its offset where they say nothing, and keeps whom it has met."
import numpy as np
import pytest

from alignsurvey.models.loading import load_model
from alignsurvey.models.states import option_states
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.heads import fit_head, load_head, save_head
from alignsurvey.prediction.offsets import with_offsets
from alignsurvey.prediction.runs import predictor_of
from alignsurvey.records.reading import make_records
from alignsurvey.training.trainer import sft
from test_sft import SMALL, people, save_tiny

WIDTH = 12


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return load_model(save_tiny(tmp_path_factory.mktemp('model')/'tiny'))


def made_up(n, first, told, rng):
    "Records whose answers follow a trait; states that tell of it among other things, or of nothing."
    rows, states = people(n, first).to_list(), []
    trait = {row['respondent_id']: rng.normal() for row in rows}
    for row in rows:
        own = trait[row['respondent_id']]
        y = int(rng.random() > 1/(1 + np.exp(-4*own - 1)))
        row |= dict(answer_index=y, answer=row['options'][y], output=row['options'][y])
        noise = rng.normal(size=(2, WIDTH))
        if told:
            noise[:, 0] = own, -own
        states.append(noise + np.arange(2)[:, None])
    return make_records(rows), states


def scored(head, records, states):
    rows = records.to_list()
    return -np.mean([np.log(head.head.probabilities(r, s)[r['answer_index']]) for r, s in zip(rows, states)])


def fitted(base, told, seed):
    "Log scores of new people: of a head, and of the shares it started from."
    rng = np.random.default_rng(seed)
    parts = [made_up(n, first, told, rng) for n, first in ((60, 0), (40, 100), (60, 200))]
    known = with_offsets(*(records for records, _ in parts))
    states = [own for _, own in parts]
    head, alone = (fit_head(base, *known[:2], states=states[:2], penalties=p) for p in ([np.inf, 1., .1, .01], [np.inf]))
    return scored(head, known[2], states[2]), scored(alone, known[2], states[2])


def test_a_head_finds_a_trait_that_states_tell_of(base):
    head, shares = np.mean([fitted(base, True, seed) for seed in range(3)], 0)
    assert head < shares - .05


def test_a_head_without_anything_to_find_stays_at_its_offset(base):
    lost = [np.subtract(*fitted(base, False, seed)) for seed in range(10)]
    assert np.mean(lost) < .01


def test_states_of_a_tuned_model_are_its_own(base, tmp_path):
    records = people(4)
    tuned = sft(base, records, tmp_path/'a', **SMALL)
    rows = records.to_list()
    own, shared = option_states(tuned, rows, max_tokens=0), option_states(tuned, rows)
    assert np.allclose(np.concatenate(own), np.concatenate(shared), atol=1e-4)
    assert not np.allclose(own[0], option_states(base, rows)[0])
    train, other = with_offsets(people(8, 20), people(4, 40))
    head = fit_head(tuned, train, other)
    save_head(head, tmp_path/'head.json')
    with pytest.raises(ValueError, match='was fitted with'):
        load_head(base, tmp_path/'head.json')


def test_a_head_is_not_asked_again_as_the_model_alone(base):
    train, other = with_offsets(people(8), people(4, 20))
    head = fit_head(base, train, other)
    with pytest.raises(ValueError, match='give it as lm'):
        predictor_of(head.card())
    with pytest.raises(ValueError, match='in the training data'):
        predict(head, train)


def test_states_know_what_stands_before_a_question(base):
    rows = people(2).to_list()
    told = [row | dict(before=[dict(role='user', content='parks?'), dict(role='assistant', content='less')]) for row in rows]
    assert not np.allclose(option_states(base, told)[0], option_states(base, rows)[0])
