"Models whose layers keep a state instead of a cache of tokens: asked in each way, with the numbers of one sequence at a time."
import pytest, torch
from transformers import FalconMambaConfig, FalconMambaForCausalLM, Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM

from alignsurvey.models.loading import LM, load_model
from alignsurvey.models.scoring import option_logprobs
from alignsurvey.prediction.elicitation import predict
from test_server import prompts

SHAPE = dict(hidden_size=16, num_hidden_layers=2, state_size=4)
KINDS = {MambaForCausalLM: MambaConfig(vocab_size=50_000, **SHAPE), FalconMambaForCausalLM: FalconMambaConfig(vocab_size=50_000, **SHAPE),
    Mamba2ForCausalLM: Mamba2Config(vocab_size=50_000, num_heads=4, head_dim=8, n_groups=2, chunk_size=8, **SHAPE)}


@pytest.mark.parametrize('kind', KINDS, ids=lambda k: k.__name__)
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_a_model_with_a_state_is_scored_and_writes(kind):
    torch.manual_seed(0)
    model = kind(KINDS[kind]).eval()
    asked, options = [[5, 6, 7, 8], [9, 3]], [[[1, 2], [3]], [[4], [5, 6, 7], [8, 9]]]
    with torch.no_grad():
        found, each = option_logprobs(model, asked, options), []
        for prompt, texts in zip(asked, options):
            for text in texts:
                logp = model(input_ids=torch.tensor([prompt + text])).logits[0].log_softmax(-1)
                each.append(sum(logp[len(prompt) - 1 + i, token] for i, token in enumerate(text)))
    assert torch.allclose(found, torch.stack(each), atol=1e-4)
    lm = LM(model, load_model().tokenizer, kind.__name__, kind.__name__)
    for how in 'score', 'greedy', 'sample': assert len(predict(lm, prompts(3), elicitation=how, max_new_tokens=3, draws=2)) == 3
