"Shared prefixes give what one prompt at a time gives: any trie, several model families, adapters, mixed precision, checkpointing, the embedded model."
import sys, time
from functools import partial
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from peft import LoraConfig, get_peft_model
from transformers import (AutoModelForCausalLM, BloomConfig, Gemma2Config, GemmaConfig, LlamaConfig, MambaConfig, MistralConfig, Qwen2Config)
from alignsurvey.models.loading import load_model
from alignsurvey.models.flex import ATTENTION_FORMS, attention_form
from alignsurvey.models.scoring import option_logprobs
from alignsurvey.models.prefix import ancestors, attention_blocks, can_share, grow_trie, plan_parts, read_logprobs, shared_attention, prefix_batch, shared_generate, shared_option_logprobs

SIZES = dict(vocab_size=64, hidden_size=36, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, head_dim=6, max_position_embeddings=256,
             bos_token_id=1, eos_token_id=2, pad_token_id=0)
FAMILIES = dict(llama=LlamaConfig, qwen2=Qwen2Config, mistral=MistralConfig, gemma=GemmaConfig, window=partial(MistralConfig, sliding_window=20))


def tiny(config, seed=0, **changes):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config(**{**SIZES, **changes})).eval()
    for p in model.parameters(): torch.nn.init.normal_(p, std=.3)     # a freshly made model says much the same to everything
    return model


def with_lora(model):
    model = get_peft_model(model, LoraConfig(r=3, target_modules='all-linear', task_type='CAUSAL_LM')).eval()
    for n, p in model.named_parameters():
        if 'lora_B' in n: torch.nn.init.normal_(p, std=.3)
    return model


@pytest.fixture(params=[(f, a) for f in FAMILIES for a in (False, True)], ids=lambda p: p[0] + (' with LoRA' if p[1] else ''))
def model(request): return with_lora(tiny(FAMILIES[request.param[0]])) if request.param[1] else tiny(FAMILIES[request.param[0]])


def questions(seed=0, prompts=7, options=3):
    "Prompts that share beginnings of all lengths: two respondents, one prompt that begins another, one of a single token, a duplicate."
    rng = np.random.default_rng(seed)
    draw = lambda n: rng.integers(3, 64, n).tolist()
    people = draw(40), draw(25)
    rows = [people[i % 2] + draw(1 + 3*i) for i in range(prompts)]
    rows += [rows[0] + draw(5), rows[1], [7]]
    return rows, [[draw(n + 1) for n in range(options)] for _ in rows]


def alone(model, prompts, options):
    return torch.stack([model(torch.tensor([p + a])).logits[0].float().log_softmax(-1)[range(len(p) - 1, len(p + a) - 1), a].sum() for p, o in zip(prompts, options) for a in o])


sequences = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=12)


@given(sequences)
def test_trie_holds_every_sequence_once(rows):
    trie = grow_trie(rows)
    assert [trie.tokens[p].tolist() for p in trie.paths] == rows
    assert all(trie.depth[p].tolist() == list(range(len(p))) for p in trie.paths)
    assert len(trie) == len({tuple(r[:i + 1]) for r in rows for i in range(len(r))})


@given(sequences)
def test_ancestors_are_what_stands_before_in_a_sequence(rows):
    trie, mask = grow_trie(rows), ancestors(grow_trie(rows))
    for p in trie.paths:
        for i, t in enumerate(p): assert np.flatnonzero(mask[t]).tolist() == p[:i + 1].tolist()


@given(sequences, st.integers(1, 9))
def test_blocks_allow_what_the_whole_mask_allows(rows, size):
    trie = grow_trie(rows)
    blocks, allowed, looks = attention_blocks(trie, size=size), np.zeros((len(trie),)*2, int), []
    for look, see, mask in blocks['groups']:
        looks.append(look.flatten())
        for l, s, m in zip(look, see, mask[:, 0]):
            for q in range(len(l)): allowed[l[q], s[m[q]]] = 1
            assert (m.sum(1) >= 1).all()
    assert (allowed == ancestors(trie)).all()
    assert torch.cat(looks)[blocks['place']].tolist() == list(range(len(trie)))


@given(sequences, st.integers(1, 30))
def test_plan_holds_every_prompt_once_and_keeps_to_the_budget(rows, budget):
    plan = plan_parts(rows, budget)
    assert sorted(sum(plan, [])) == list(range(len(rows)))
    for some in plan: assert len(some) == 1 or len(grow_trie([rows[i] for i in some])) <= budget


def test_a_clear_word_for_what_cannot_be_shared():
    with pytest.raises(ValueError, match='there is no sequence'): grow_trie([])
    with pytest.raises(ValueError, match='an empty sequence'): grow_trie([[1], []])
    with pytest.raises(ValueError, match="2 tokens can't be read from place 0"): prefix_batch([[1, 2]], [0])
    with pytest.raises(ValueError, match="2 tokens can't be read from place 2"): prefix_batch([[1, 2]], [2])
    assert plan_parts([], 5) == []


@pytest.mark.parametrize('max_tokens', [1, 60, 4096])
def test_option_probabilities(model, max_tokens):
    prompts, options = questions()
    with torch.no_grad(): ours, plain = shared_option_logprobs(model, prompts, options, max_tokens=max_tokens), alone(model, prompts, options)
    assert (ours.exp() - plain.exp()).abs().max() <= 1e-5
    assert torch.allclose(ours, plain, rtol=1e-5, atol=1e-4)
    assert torch.allclose(ours, option_logprobs(model, prompts, options).detach(), rtol=1e-5, atol=1e-4)


@pytest.fixture
def flex(monkeypatch):
    "FlexAttention on this processor, as on a GPU; torch refuses gradients there, but its plain operations have them."
    monkeypatch.setitem(ATTENTION_FORMS, 'cpu', 'flex')
    module = sys.modules['torch.nn.attention.flex_attention']
    calls = []
    assert attention_form('cpu') == 'flex'
    monkeypatch.setattr(module, '_validate_device', lambda *states: calls.append(states))
    return calls


@pytest.mark.parametrize('family, lora', [('llama', True), ('window', False)])
def test_flex_attention_gives_the_same_probabilities_and_gradients(family, lora, flex, monkeypatch):
    model = tiny(FAMILIES[family])
    model = with_lora(model) if lora else model
    prompts, options = questions()
    weights = [p for p in model.parameters() if p.requires_grad]
    score = lambda: shared_option_logprobs(model, prompts, options)
    ours = score()
    grads = torch.autograd.grad(ours.sum(), weights)
    assert len(flex) == 2, 'each layer attends once'
    monkeypatch.setitem(ATTENTION_FORMS, 'cpu', 'blocks')
    blocks = score()
    assert len(flex) == 2 and torch.allclose(ours, blocks, rtol=1e-5, atol=1e-4)
    for a, b in zip(grads, torch.autograd.grad(blocks.sum(), weights)): assert (a - b).norm() <= 1e-4*b.norm() + 1e-6


def test_flex_attention_in_half_precision_checkpointed_and_in_replies(flex):
    prompts, options = questions()
    model = tiny(LlamaConfig)
    with torch.no_grad(): fine = shared_option_logprobs(model, prompts, options)
    replies = shared_generate(model, prompts, pad_id=0, do_sample=False, max_new_tokens=4)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
    model.train()
    with shared_attention(model): shared_option_logprobs(model, prompts, options).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    coarse = tiny(LlamaConfig).to(torch.bfloat16)
    with torch.no_grad(): assert (shared_option_logprobs(coarse, prompts, options).exp() - fine.exp()).abs().max() < .03
    ATTENTION_FORMS['cpu'] = 'blocks'
    assert torch.equal(replies, shared_generate(tiny(LlamaConfig), prompts, pad_id=0, do_sample=False, max_new_tokens=4))


@pytest.mark.parametrize('checkpointing', [False, True], ids=['', 'checkpointed'])
def test_loss_and_gradients(model, checkpointing):
    prompts, options = questions(1)
    sequences = [p + o[-1] for p, o in zip(prompts, options)]
    weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
        if hasattr(model, 'enable_input_require_grads'): model.enable_input_require_grads()
        model.train()
    with shared_attention(model):
        ours = -read_logprobs(model, prefix_batch(sequences, list(map(len, prompts)), size=16)).mean()
        grads = torch.autograd.grad(ours, weights.values())
    tokens = sum(len(o[-1]) for o in options)
    plain = -alone(model, prompts, [o[-1:] for o in options]).sum()/tokens
    assert abs(ours.item() - plain.item()) <= 1e-5*abs(plain.item())
    for name, a, b in zip(weights, grads, torch.autograd.grad(plain, weights.values())):
        assert (a - b).norm() <= 1e-4*b.norm() + 1e-7, name


def test_mixed_precision(model):
    prompts, options = questions(2)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16): ours, plain = shared_option_logprobs(model, prompts, options), alone(model, prompts, options)
    with torch.no_grad(): exact = alone(model, prompts, options)
    assert ours.dtype == torch.float32
    assert (ours - plain).abs().mean() <= 2*(plain - exact).abs().mean()       # no further apart than rounding sets either from the truth


def test_gradients_in_mixed_precision(model):
    prompts, options = questions(3)
    weights = [p for p in model.parameters() if p.requires_grad]
    with torch.autocast('cpu', torch.bfloat16):
        ours = torch.autograd.grad(shared_option_logprobs(model, prompts, options).sum(), weights)
        plain = torch.autograd.grad(alone(model, prompts, options).sum(), weights)
    cosine = torch.nn.functional.cosine_similarity(torch.cat([g.flatten().float() for g in ours]), torch.cat([g.flatten().float() for g in plain]), dim=0)
    assert cosine > .99


def test_greedy_replies(model):
    prompts, _ = questions(4)
    replies = shared_generate(model, prompts, pad_id=0, do_sample=False, max_new_tokens=9)
    for p, reply in zip(prompts, replies):
        own = model.generate(input_ids=torch.tensor([p]), attention_mask=torch.ones(1, len(p)), do_sample=False, max_new_tokens=9, pad_token_id=0)[0, len(p):]
        assert reply[:len(own)].tolist() == own.tolist() and not reply[len(own):].any()
    assert shared_generate(model, [[7], [8]], pad_id=0, do_sample=False, max_new_tokens=2).shape[0] == 2


def test_replies_of_a_model_whose_files_say_that_it_keeps_nothing():
    "Checkpoints of training runs often say `use_cache: false`; the keys and values that prompts share are kept all the same."
    model, (prompts, _) = tiny(LlamaConfig), questions()
    how = dict(pad_id=0, do_sample=False, max_new_tokens=6, min_new_tokens=6)
    usual = shared_generate(model, prompts, **how)
    model.config.use_cache = model.generation_config.use_cache = False
    assert torch.equal(shared_generate(model, prompts, **how), usual)


def test_the_mask_as_transformers_takes_it(model):
    "The trie's own mask, handed to plain attention, says the same: an answer by another way."
    prompts, options = questions(5)
    batch = prefix_batch([p + o[0] for p, o in zip(prompts, options)], list(map(len, prompts)))
    trie = grow_trie([(p + o[0])[:-1] for p, o in zip(prompts, options)])
    with torch.no_grad(), shared_attention(model): ours = read_logprobs(model, batch)
    if model.config.get_text_config().to_dict().get('sliding_window') == 20: pytest.skip('the mask has no window')
    inputs = {k: v for k, v in batch['inputs'].items() if k != 'prefix_blocks'}
    with torch.no_grad(): masked = read_logprobs(model, {**batch, 'inputs': {**inputs, 'attention_mask': torch.from_numpy(ancestors(trie))[None, None]}})
    assert torch.allclose(ours, masked, rtol=1e-5, atol=1e-4)


def test_attention_is_put_back(model):
    before = model.config._attn_implementation
    with pytest.raises(KeyError), shared_attention(model): raise KeyError
    assert model.config._attn_implementation == before
    ids = torch.tensor([[0, 0, 5, 6], [5, 6, 7, 8]])
    mask = (ids > 0).long()
    plain = model(ids, attention_mask=mask).logits
    with shared_attention(model): assert torch.equal(model(ids, attention_mask=mask).logits, plain)    # an ordinary batch is an ordinary batch inside, too


def test_who_can_share(model):
    assert can_share(model) == (True, '')
    assert not model.training


def test_who_cannot():
    small = dict(vocab_size=64, hidden_size=32)
    reasons = {'takes no position_ids': BloomConfig(**small, n_head=2, n_layer=1), 'remember in another way': MambaConfig(**small, num_hidden_layers=1),
               'caps attention scores': Gemma2Config(**SIZES)}
    for reason, config in reasons.items():
        ok, why = can_share(AutoModelForCausalLM.from_config(config))
        assert not ok and reason in why and why.count('\n') == 0


def test_a_model_that_gives_other_numbers_is_found_out():
    "What no rule foresees: positions that come from the place in the batch."
    model = tiny(LlamaConfig)
    rotate = model.model.rotary_emb.forward
    model.model.rotary_emb.forward = lambda x, position_ids: rotate(x, torch.arange(x.shape[1])[None])
    ok, why = can_share(model)
    assert not ok and 'gave other numbers' in why


def test_embedded_model():
    from alignsurvey.models.chat import answer_ids, prompt_ids
    from alignsurvey.models.loading import load_model
    lm = load_model()
    person = 'Age: 42. Sex: female. Degree: bachelor. '
    prompts = [prompt_ids(lm, person + q) for q in ('Do you trust your parliament?', 'Are taxes too high, would you say, or too low?', 'Do you own a gun?')]
    options = [[answer_ids(lm, o) for o in ('not at all', 'a lot', 'it depends on who is in power')] for _ in prompts]
    with torch.no_grad(): ours, plain = shared_option_logprobs(lm.model, prompts, options), alone(lm.model, prompts, options)
    assert (ours.exp() - plain.exp()).abs().max() <= 1e-5 and (ours - plain).abs().max() <= 1e-3
    assert can_share(lm.model) == (True, '')


@pytest.mark.timing
def test_products_use_the_whole_processor():
    "Where a processor has its products from oneDNN, a matrix of a model's shape takes clearly less time."
    load_model()
    if torch.get_float32_matmul_precision() != 'medium':
        pytest.skip('products stay as they are on this processor')
    x, w = torch.randn(1000, 576), torch.randn(1536, 576)
    def seconds(precision):
        torch.set_float32_matmul_precision(precision)
        start = time.perf_counter()
        x @ w.T
        return time.perf_counter() - start
    try:
        taken = [(seconds('medium'), seconds('highest')) for _ in range(60)]    # in turn: a busy moment meets both
        quick, slow = map(min, zip(*taken))
        assert quick < .85*slow
    finally:
        torch.set_float32_matmul_precision('medium')
