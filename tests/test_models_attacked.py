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


SHAPE = dict(vocab_size=259, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, bos_token_id=0, eos_token_id=0, pad_token_id=0)


def model_of(folder, kind, config):
    "A random model of some class, with the tokenizer that reads bytes."
    save_tiny(folder)
    torch.manual_seed(1)
    model = kind(config)
    for p in model.parameters():
        if p.ndim > 1: torch.nn.init.normal_(p, std=.4)
    model.save_pretrained(folder)
    return load_model(folder)


def lengths(long):
    "Questions of which every second one is long."
    told = {True: long, False: ''}
    return make_records([dict(record_id=f'r{i}', respondent_id=f'p{i}', source='s', question_id='q', instruction=f'I am {i}. {told[i % 2 == 1]} Roads?\nA. too little\nB. too much',
        options=['too little', 'too much'], output='A', answer_index=0, answer_form='label', task='response') for i in range(4)])


def by_length():
    import transformers as t
    shape = dict(SHAPE, num_key_value_heads=2)
    wide = dict(rope_type='longrope', short_factor=[1.]*4, long_factor=[8.]*4, original_max_position_embeddings=256, rope_theta=1e4)
    yield t.Phi3ForCausalLM, t.Phi3Config(**shape, max_position_embeddings=2048, original_max_position_embeddings=256, rope_parameters=wide)
    yield t.LlamaForCausalLM, t.LlamaConfig(**shape, max_position_embeddings=256, rope_parameters=dict(rope_type='dynamic', factor=4., rope_theta=1e4))


@pytest.mark.parametrize('kind, config', list(by_length()), ids=['longrope', 'dynamic'])
def test_positions_that_depend_on_length_do_not_depend_on_company(kind, config, tmp_path):
    lm, records = model_of(tmp_path, kind, config), lengths('I said so. '*30)
    near = lengths('x'*190)    # some options end beyond the border, and replies cross it
    for asked_of in records, near:
        for how in 'score', 'greedy':
            field = 'probs' if how == 'score' else 'text'
            ask = lambda some, **more: predict(lm, some, elicitation=how, max_new_tokens=8, **more)[field].tolist()
            alone = [ask(asked_of.select([i]), share_prefixes=False)[0] for i in (0, 1, 2, 3)]
            if how == 'score': alone = [pytest.approx(p, abs=1e-5) for p in alone]
            for more in dict(), dict(share_prefixes=False), dict(batch=2): assert ask(asked_of, **more) == alone, (how, more)


@pytest.mark.parametrize('kind, config', list(by_length()), ids=['longrope', 'dynamic'])
def test_a_long_sequence_is_scored_as_the_model_reads_it_by_itself(kind, config, tmp_path):
    from alignsurvey.models.scoring import length_border, option_logprobs
    from alignsurvey.models.prefix import shared_option_logprobs
    lm = model_of(tmp_path, kind, config)
    assert length_border(lm.model) == 256 and length_border(load_model().model) == float('inf')
    asked_, options = [[5]*300, [5, 6], [5]*256], [[[7, 8], [9]], [[7], [9, 9]], [[7], [8, 9]]]
    with torch.no_grad():
        known = []
        for prompt, texts in zip(asked_, options):
            for text in texts:
                for module in lm.model.modules():
                    if hasattr(module, 'max_seq_len_cached'): module.max_seq_len_cached = 0
                logits = lm.model(input_ids=torch.tensor([prompt + text])).logits[0].log_softmax(-1)
                known.append(sum(logits[len(prompt) - 1 + i, token] for i, token in enumerate(text)))
        for score in option_logprobs, shared_option_logprobs: assert torch.allclose(score(lm.model, asked_, options), torch.stack(known), atol=1e-4), score


def keepers():
    import transformers as t
    yield t.RwkvForCausalLM, t.RwkvConfig(vocab_size=259, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32, bos_token_id=0, eos_token_id=0)
    yield t.RecurrentGemmaForCausalLM, t.RecurrentGemmaConfig(**dict(SHAPE, num_hidden_layers=3), attention_window_size=2048, lru_width=32)
    yield t.Lfm2ForCausalLM, t.Lfm2Config(**SHAPE, num_key_value_heads=2, layer_types=['conv', 'full_attention'])


@pytest.mark.parametrize('kind, config', list(keepers()), ids=lambda c: getattr(c, '__name__', ''))
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_what_layers_remember_is_of_one_prompt_alone(kind, config, tmp_path):
    "Filling up on the left would enter the state of a recurrent layer."
    lm, records = model_of(tmp_path, kind, config), make_records([*lengths('Yes. '*8), dict(lengths('No. '*10)[1], record_id='r9', respondent_id='p9')])
    alone = [records.select([i]) for i in range(len(records))]
    assert predict(lm, records, elicitation='greedy', max_new_tokens=6).text.tolist() == [predict(lm, r, elicitation='greedy', max_new_tokens=6).text[0] for r in alone]
    assert predict(lm, records).probs.tolist() == [pytest.approx(predict(lm, r).probs[0], abs=1e-5) for r in alone]


@pytest.mark.parametrize('share', [True, False])
def test_a_tokenizer_that_names_no_end_and_no_filling(share, tmp_path):
    from transformers import PreTrainedTokenizerFast

    def bare(tokenizer):
        plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, additional_special_tokens=['<|user|>', '<|assistant|>', '<|end|>'])
        plain.chat_template = TEMPLATE
        return plain
    lm, records = changed(tmp_path/'bare', bare), asked(['Yes', 'No'], n=3)
    usual = load_model(save_tiny(tmp_path/'usual'))
    assert lm.tokenizer.pad_token_id is None and lm.pad_id == usual.pad_id == 0
    for how in 'score', 'greedy':
        ask = lambda lm: predict(lm, records, elicitation=how, max_new_tokens=5, share_prefixes=share)
        assert ask(lm).drop(columns='seconds').equals(ask(usual).drop(columns='seconds')), how
    assert len(predict(lm, records, elicitation='sample', max_new_tokens=5, draws=2, share_prefixes=share)) == 3


@pytest.mark.parametrize('kind, config', list(by_length()), ids=['longrope', 'dynamic'])
def test_states_and_training_keep_to_the_border(kind, config, tmp_path):
    from alignsurvey.models.states import option_states
    from alignsurvey.training.cost import estimate_training
    lm, records = model_of(tmp_path, kind, config), lengths('I said so. '*30)
    apart = [option_states(lm, records.select([i]), max_tokens=0)[0] for i in range(4)]
    for size in 0, 4096:
        for one, other in zip(apart, option_states(lm, records, max_tokens=size)): assert abs(one - other).max() < 1e-4
    with pytest.warns(UserWarning, match='2 of 4 records have more than 256 tokens and are left out'): estimate_training(lm, records)
