"Drafts of tables as people have them: with gaps, codes in words, panels, headings that someone typed anew."
import re

import pandas as pd
import pytest

from alignsurvey.surveys import Codebook, Metadata, Survey, Variable, draft_codebook, from_sheets, guess_roles, to_sheets
from alignsurvey.surveys.draft import missing_kind
from alignsurvey.surveys.survey import draft_codebook_of

LABELS = {'1': {'en': 'no'}, '2': {'en': 'yes'}}


def drafted(**columns):
    "The entries of a draft by column, and its doubts; `id` is put in front."
    n = len(next(iter(columns.values())))
    spec, _ = draft_codebook(pd.DataFrame({'id': range(100, 100 + n), **columns}))
    return {**spec['background'], **spec['items']}, spec.get('doubts', {})


def described(values, labels, name='q', **more):
    "One column's entry and doubts, where a source labels its codes."
    said = Metadata('said', {name: Variable(name, {'en': 'What do you think of it?'},
        options={str(c): {'en': text} for c, text in labels.items()}, **more)})
    spec, _ = draft_codebook(pd.DataFrame({'id': range(len(values)), name: values}), said)
    return spec['items'][name], spec.get('doubts', {}).get(name, [])


def roles_of(frame, **said):
    return guess_roles(frame, Metadata('said', {c: Variable(c, {'en': text}) for c, text in said.items()}))


@pytest.mark.parametrize('name, label', [('weight', 'Design weight'), ('pspwght', ''), ('v9', 'Weighting factor')])
def test_a_weight_with_an_empty_cell_is_still_the_weight_and_looked_at(name, label):
    frame = pd.DataFrame({'id': range(5), name: [.8, 1.2, None, .9, 1.1], 'q': [1, 2, 1, 2, 2]})
    role, why, sure = roles_of(frame, **{name: label} if label else {})[name]
    assert role == 'weight' and not sure and 'empty' in why


def test_a_survey_whose_weight_has_an_empty_cell_is_not_taken_as_unweighted(tmp_path):
    frame = pd.DataFrame({'id': range(5), 'weight': [.8, 1.2, None, .9, 1.1], 'q': [1, 2, 1, 2, 2]})
    frame.to_csv(tmp_path/'s.csv', index=False)
    book = draft_codebook_of(tmp_path/'s.csv')
    assert book.design['weight'] == 'weight' and book.doubts['weight'] == ['design']
    with pytest.raises(ValueError, match="row 4, column 'weight': an empty cell is no weight"):
        Survey.load(tmp_path/'s.csv', book)


def test_a_weight_with_words_among_its_numbers_is_looked_at(tmp_path):
    (tmp_path/'s.csv').write_text('id,weight,q\n1,0.8,1\n2,n/a,2\n3,1.2,1\n4,1.1,2\n')
    book = draft_codebook_of(tmp_path/'s.csv')
    assert book.design['weight'] == 'weight' and book.doubts['weight'] == ['design']
    with pytest.raises(ValueError, match="row 3, column 'weight': 'n/a' is not a number"):
        Survey.load(tmp_path/'s.csv', book)


def test_an_item_or_a_body_with_gaps_is_no_weight():
    frame = pd.DataFrame({'id': range(5), 'w2': [1, 2, None, 4, 2], 'weight': [61, 75, None, 80, 90], 'q': [1, 2, 1, 2, 2]})
    roles = guess_roles(frame)
    assert roles['w2'][0] == roles['weight'][0] == 'item'


def test_a_weight_without_gaps_goes_before_one_with_gaps():
    frame = pd.DataFrame({'id': range(4), 'w_wave2': [.5, None, 1.5, 1], 'w_wave1': [.5, 1, 1.5, 1], 'q': [1, 2, 1, 2]})
    roles = guess_roles(frame)
    assert (roles['w_wave1'][0], roles['w_wave2'][0]) == ('weight', 'spare_weight')
