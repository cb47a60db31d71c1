"Models, tokenizers and templates as others make them: the numbers of each record are its own, or a sentence says why not."
import datetime as dt
import json

import pytest
import torch
from tokenizers import normalizers
from transformers import AutoTokenizer

from alignsurvey.models.chat import answer_ids, option_ids, prompt_ids
from alignsurvey.models.loading import load_model
from alignsurvey.prediction.elicitation import predict
from alignsurvey.records.reading import make_records
from alignsurvey.training.batches import tokenised
from test_server import prompts
from test_sft import TEMPLATE, save_tiny

OPEN = TEMPLATE.replace('{{ m.content }}<|end|>', '{{ m.content }}\n')    # ends an answer with nothing


def asked(options, form='text', n=2, **fields):
    "Questions of so many people, all with these options."
    return make_records([dict(record_id=f'r{i}', respondent_id=f'p{i}', source='s', question_id='q', task='response', instruction=f'I am {i}. Roads?',
        options=options, output='A' if form == 'label' else options[0], answer_index=0, answer_form=form, **fields) for i in range(n)])


def changed(folder, change):
    "A tiny random model whose tokenizer was changed."
    save_tiny(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (change(tokenizer) or tokenizer).save_pretrained(folder)
    return load_model(folder)


def with_template(text):
    def change(tokenizer): tokenizer.chat_template = text
    return change


def test_an_option_that_begins_another_ends_where_the_template_says_nothing(tmp_path):
    lm, usual = changed(tmp_path/'open', with_template(OPEN)), load_model(save_tiny(tmp_path/'usual'))
    records = asked(['Yes', 'Yes, definitely'])
    yes, more = option_ids(lm, records[0])
    assert yes == option_ids(usual, records[0])[0] and yes != more[:len(yes)]
    assert answer_ids(lm, '')[-1:] == answer_ids(lm, 'Yes')[-1:] == [lm.tokenizer.eos_token_id]
    assert [r['options'][0][-1] for r in tokenised(lm, records, 'option')] == [lm.tokenizer.eos_token_id]*2


def test_an_option_that_begins_another_is_refused_where_nothing_can_end_it(tmp_path):
    def change(tokenizer): tokenizer.chat_template, tokenizer.eos_token = OPEN, None
    lm = changed(tmp_path, change)
    for ask in predict, lambda lm, records: list(tokenised(lm, records, 'option')):
        with pytest.raises(ValueError, match="its template does not end an answer, so option '1' is the beginning of '10': use answer_form='label'"): ask(lm, asked(['10', '1']))
    assert predict(lm, asked(['yes', 'no'])).status.eq('ok').all()


@pytest.mark.parametrize('normal, options', [(normalizers.Lowercase(), ['US', 'us']), (normalizers.NFKC(), ['10²', '102'])], ids=str)
def test_options_of_the_same_tokens_are_refused(normal, options, tmp_path):
    def change(tokenizer): tokenizer.backend_tokenizer.normalizer = normal
    lm = changed(tmp_path, change)
    for ask in predict, lambda lm, records: list(tokenised(lm, records, 'option')):
        with pytest.raises(ValueError, match=f"writes {options[0]!r} and {options[1]!r} with the same tokens: use answer_form='label', or another model"): ask(lm, asked(options))
    assert predict(lm, asked(options, 'label')).status.eq('ok').all()


def test_it_is_the_same_day_for_a_template_whenever_it_is_asked(tmp_path, monkeypatch):
    "Llama 3.2's own template writes today's date."
    from transformers.utils import chat_template_utils

    def on(day):
        class Clock(dt.datetime):
            @classmethod
            def now(cls, *zone): return cls(2031, 5, day)
        monkeypatch.setattr(chat_template_utils, 'datetime', Clock)
    lm = changed(tmp_path/'m', with_template("<|user|>{{ strftime_now('%d %b %Y') }}{% if strftime_now is defined %}.{% endif %}<|end|>" + TEMPLATE))
    records = prompts(4)
    on(1)
    first, ids = predict(lm, records).probs.tolist(), prompt_ids(lm, 'Q?')
    predict(lm, records.select(range(2)), journal=tmp_path/'j.sqlite', batch=2)
    on(12)
    assert '26 Jul 2024.' in lm.tokenizer.decode(ids) and prompt_ids(lm, 'Q?') == ids
    assert predict(lm, records, journal=tmp_path/'j.sqlite', batch=2).probs.tolist() == [pytest.approx(p) for p in first]


FREE = make_records([dict(record_id=f'r{i}', respondent_id=f'p{i}', source='s', question_id='q', instruction=f'I am {i*7919}. Q?', output='x', answer_form='free', task='interview') for i in range(4)])
RANGE = list(range(3, 130))
SAID = [dict(suppress_tokens=RANGE), dict(begin_suppress_tokens=RANGE), dict(bad_words_ids=[[i] for i in RANGE]), dict(sequence_bias=[[[50], 100.]]), dict(guidance_scale=3.),
    dict(encoder_repetition_penalty=3.), dict(exponential_decay_length_penalty=[1, 5.]), dict(forced_eos_token_id=0), dict(max_time=1e-9), dict(num_return_sequences=2, do_sample=True),
    dict(watermarking_config=dict(bias=20.)), dict(stop_strings=['a']), dict(cache_implementation='static'), dict(return_dict_in_generate=True), dict(use_cache=False), dict(penalty_alpha=.6, top_k=4)]


@pytest.fixture(scope='module')
def tiny(tmp_path_factory): return save_tiny(tmp_path_factory.mktemp('tiny')/'m')


@pytest.fixture(scope='module')
def usual(tiny): return {(how, tokens): written(load_model(tiny), how, tokens) for how in ('greedy', 'sample') for tokens in (0, 4096)}


def written(lm, how, tokens, **given):
    return predict(lm, FREE if how == 'greedy' else asked(['yes', 'no'], n=4), elicitation=how, max_new_tokens=5, max_tokens=tokens, draws=2, **given).text.tolist()


@pytest.mark.parametrize('said', SAID, ids=lambda s: next(iter(s)))
def test_what_a_models_files_say_of_writing_is_left_aside(said, tiny, usual):
    from transformers import GenerationConfig
    lm = load_model(tiny)
    own = lm.model.generation_config = GenerationConfig(**{**lm.model.generation_config.to_dict(), **said})
    for (how, tokens), texts in usual.items(): assert written(lm, how, tokens) == texts, (how, tokens)
    assert lm.model.generation_config is own


def test_replies_end_at_the_tokens_that_the_models_files_name_and_the_journal_knows_them(tiny, usual, tmp_path):
    lm, journal = load_model(tiny), tmp_path/'j.sqlite'
    first = written(lm, 'greedy', 4096, journal=journal)
    assert first == usual['greedy', 4096]
    lm.model.generation_config.eos_token_id = [0, *lm.tokenizer(first[0][-1], add_special_tokens=False)['input_ids']]
    again = written(lm, 'greedy', 4096, journal=journal)
    assert len(again[0]) < len(first[0]) and again == written(lm, 'greedy', 0)
