"Chat templates of the models people train: which tokens are the prompt and which the answer, token by token as TRL has them."
from pathlib import Path
import pytest, torch, yaml
from datasets import Dataset
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from alignsurvey.training.batches import collate_answers
from alignsurvey.models.loading import LM, load_model
from alignsurvey.models.chat import PLAIN, answer_ids, check_template, prompt_ids

HERE = Path(__file__).parent/'templates'
SOURCES = yaml.safe_load((HERE/'sources.yaml').read_text())
TALKS = [('How much do you trust your parliament?', 'a lot'), ('你是否同意？\n1. 同意', 'B. 不同意'), ('Say why.', '{"predict": "中立", "reason": "  it depends\\n"}'), ('x ', ' leading space'), ('1', '1')]
LINES = r"\s*[\r\n]+|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"      # line breaks together, as the tokenizers of Llama 3 and Qwen2 cut a text


def tokenizer_for(name, kind='bytes'):
    "A small tokenizer with a model's special tokens and template; `words` writes the first word of a text as the same word within it is written with a space, as SentencePiece does."
    about = SOURCES[name]
    special = list(dict.fromkeys([t for t in (about['bos'], about['eos']) if t] + about['special'] + ['<unk>']))
    raw = Tokenizer(models.BPE(unk_token='<unk>', byte_fallback=False))
    if kind == 'bytes': raw.pre_tokenizer, raw.decoder = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LINES), 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name == 'smollm2')]), decoders.ByteLevel()
    elif kind == 'words': raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(prepend_scheme='first'), decoders.Metaspace(prepend_scheme='first')
    elif kind == 'words, always': raw.normalizer, raw.decoder = normalizers.Sequence([normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')]), decoders.Metaspace()
    corpus = [t for pair in TALKS for t in pair]*3 + ['user assistant system\n\n\n You are a helpful trust parliament {}":,.']
    alphabet = pre_tokenizers.ByteLevel.alphabet() if kind == 'bytes' else sorted(set(''.join(corpus)) | set('abcdefghijklmnopqrstuvwxyz▁\n'))
    raw.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=about['bos'], eos_token=about['eos'], pad_token=about['eos'], unk_token='<unk>', additional_special_tokens=about['special'])
    tokenizer.chat_template = (HERE/f'{name}.jinja').read_text()
    return tokenizer


def small_lm(tokenizer):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=512,
                                         eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id))
    return LM(model.eval(), tokenizer, 'small', '0')


def ours(lm, talk):
    batch = collate_answers([dict(prompt=prompt_ids(lm, talk[0]), options=[answer_ids(lm, talk[1])])])
    return batch['input_ids'][0].tolist(), batch['labels'][0].tolist()


def trls(lm, folder):
    "What TRL's trainer makes of the same talks: token ids and labels."
    from trl import SFTConfig, SFTTrainer
    parts = [([dict(role='user', content=q)], [dict(role='assistant', content=a)]) for q, a in TALKS]
    data = Dataset.from_list([dict(prompt=q, completion=a) for q, a in parts])
    args = SFTConfig(output_dir=str(folder), use_cpu=True, report_to='none', max_length=None, bf16=False, completion_only_loss=True)
    trainer = SFTTrainer(model=lm.model, args=args, train_dataset=data, processing_class=lm.tokenizer)
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row])
        yield batch['input_ids'][0].tolist(), batch['labels'][0].tolist()


KINDS = [(n, 'bytes') for n in SOURCES] + [('mistral-v0.3', 'words'), ('mistral-v0.3', 'words, always')]


@pytest.mark.parametrize('name,kind', KINDS, ids=[' '.join(k) for k in KINDS])
def test_masks_are_trls_completion_only_masks(name, kind, tmp_path):
    "Token by token; where a template ends the turn with a line break, TRL's mask has that too, and ours ends with the turn."
    lm = small_lm(tokenizer_for(name, kind))
    longer = 0
    for talk, (ids, labels) in zip(TALKS, trls(lm, tmp_path), strict=True):
        own_ids, own_labels = ours(lm, talk)
        n = len(own_ids)
        assert (ids[:n], labels[:n]) == (own_ids, own_labels)
        assert own_labels[-1] == lm.tokenizer.eos_token_id and own_labels.count(-100) == len(prompt_ids(lm, talk[0]))
        assert lm.tokenizer.decode(ids[n:]).strip() == ''
        longer += len(ids) - n
    assert longer == (len(TALKS) if name in ('qwen2.5', 'smollm2') else 0)


@pytest.mark.parametrize('name', SOURCES)
def test_what_the_check_says(name):
    said = check_template(small_lm(tokenizer_for(name)))
    assert said['whole'] and said['stops'] and said['end'] == SOURCES[name]['eos'] and said['template'] == 'own'
    assert ('You are Qwen' in said['before'], 'Today Date' in said['before']) == (name == 'qwen2.5', name == 'llama-3.1')


def test_a_template_whose_answer_does_not_end_where_the_model_stops():
    lm = small_lm(tokenizer_for('qwen2.5'))
    lm.tokenizer.chat_template = lm.tokenizer.chat_template.replace("message.content + '<|im_end|>'", "message.content + '</turn>'")
    assert not check_template(lm)['stops']


def test_texts_are_what_their_source_says():
    "The copies are the originals; the one written for these tests renders what the model's own would."
    import trl
    own = Path(trl.__file__).parent/'chat_templates'
    assert (HERE/'qwen2.5.jinja').read_text() == (own/'qwen2_5.jinja').read_text()
    assert (HERE/'smollm2.jinja').read_text() == load_model().tokenizer.chat_template
    tokenizer = tokenizer_for('llama-3.1')
    for q, a in TALKS:
        for talk, ask in ([dict(role='user', content=q)], True), ([dict(role='user', content=q), dict(role='assistant', content=a)], False):
            render = lambda template: tokenizer.apply_chat_template(talk, chat_template=template, tokenize=False, add_generation_prompt=ask)
            assert render(tokenizer.chat_template) == render((own/'llama3_1.jinja').read_text())


def test_the_first_word_of_an_answer():
    "SentencePiece writes a word at the start of a text as it writes it after a space, so an answer's tokens must be read from the whole talk."
    lm = small_lm(tokenizer_for('mistral-v0.3', 'words'))
    lm.tokenizer.chat_template = lm.tokenizer.chat_template.replace('{% else %} ', '{% else %}')      # as later Mistrals have it
    assert lm.tokenizer.decode(prompt_ids(lm, 'x') + answer_ids(lm, 'a lot')) == '<s>[INST] x[/INST]a lot</s>'
    apart = lm.tokenizer('a lot</s>', add_special_tokens=False)['input_ids']
    assert apart != answer_ids(lm, 'a lot')      # what tokenising it alone would give


def test_a_model_without_a_template(tmp_path):
    tokenizer = tokenizer_for('smollm2')
    tokenizer.chat_template = None
    lm = small_lm(tokenizer)
    lm.model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match='has no chat template: the default named plain is used'): lm = load_model(tmp_path)
    assert lm.tokenizer.chat_template == PLAIN and check_template(lm)['template'] == 'plain' and check_template(lm)['whole']
    assert lm.tokenizer.decode(prompt_ids(lm, 'Q?') + answer_ids(lm, 'a lot')) == '<|im_start|>Q?\nAnswer: a lot<|im_end|>'
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='neither a chat template nor an end-of-text token'): load_model(tmp_path)


def test_four_bits_are_refused_where_they_cannot_be(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="quantise='4bit' needs an NVIDIA GPU, and the device is cpu"): load_model(tmp_path, quantise='4bit', device='cpu')
    with pytest.raises(ValueError, match="quantise is '3bit': use '4bit' or None"): load_model(tmp_path, quantise='3bit')
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(ValueError, match='needs bitsandbytes, which is not installed: run `pip install bitsandbytes`'): load_model(tmp_path, quantise='4bit', device='cuda')
